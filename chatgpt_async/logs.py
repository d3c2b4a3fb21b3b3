"""Masks the secrets of a call in what httpx2 logs: servers repeat them in their headers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextvars import ContextVar

from chatgpt.core.secrets import Secret, redactor

sent_secrets: ContextVar[Sequence[Secret]] = ContextVar("sent_secrets", default=())
"""Those of the request that is on its way in this task."""


class _Masking(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        secrets = sent_secrets.get()
        if secrets:
            record.msg, record.args = redactor(secrets)(record.getMessage()), ()
        return True


for _name in ("httpx2", *(f"httpcore2.{part}" for part in ("connection", "http11", "proxy"))):
    logging.getLogger(_name).addFilter(_Masking())
