"""Masks the secrets of a call in what httpx2 logs: servers repeat them, and httpcore2 shows some.

Of the dealings with a SOCKS proxy nothing is logged: the user and the password are shown there, and a
short password has no mask.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextvars import ContextVar

from chatgpt.core.secrets import Secret, SecretMask

sent_secrets: ContextVar[Sequence[Secret]] = ContextVar("sent_secrets", default=())
"""Those of the request that is on its way in this task."""


def _mask(record: logging.LogRecord) -> bool:
    secrets = sent_secrets.get()
    if secrets:
        record.msg, record.args = SecretMask(secrets)(record.getMessage()), ()
    return True


def _is_shown(_: logging.LogRecord) -> bool:
    return not sent_secrets.get()


for _part in ("connection", "http11", "http2", "proxy"):
    logging.getLogger(f"httpcore2.{_part}").addFilter(_mask)
logging.getLogger("httpx2").addFilter(_mask)
logging.getLogger("httpcore2.socks").addFilter(_is_shown)
