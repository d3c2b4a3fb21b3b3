"""Masks the secrets of a call in what the network libraries log: servers repeat them, and libraries tell.

urllib3 warns of a header that it cannot parse, and shows it; httpcore2 shows the head of every answer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextvars import ContextVar

from chatgpt.core.secrets import MASK, Secret, SecretMask, tokens_in

# Whatever a server keeps there may be a credential; libraries show it as the pair of header and value.
_SET_COOKIE = re.compile(r"(set-cookie\W{1,8}?b?['\"])[^'\"]+", re.IGNORECASE)

sent_secrets: ContextVar[Sequence[Secret]] = ContextVar("sent_secrets", default=())
"""Those of the request that is on its way in this task or thread."""


def mask_logs_of(*names: str) -> None:
    """Mask, in what these loggers say during a call, the secrets of the call."""
    for name in names:
        logging.getLogger(name).addFilter(_mask)


def silence_logs_of(*names: str) -> None:
    """Let these loggers say nothing during a call that has secrets."""
    for name in names:
        logging.getLogger(name).addFilter(_is_shown)


def _mask(record: logging.LogRecord) -> bool:
    secrets = sent_secrets.get()
    if secrets:
        text = _SET_COOKIE.sub(rf"\1{MASK}", record.getMessage())
        # A server may send new ones, as cookies of which nobody knows yet.
        record.msg, record.args = SecretMask((*secrets, *tokens_in(text)))(text), ()
        record.exc_info = record.exc_text = None  # it says the same, and cannot be masked
    return True


def _is_shown(_: logging.LogRecord) -> bool:
    return not sent_secrets.get()
