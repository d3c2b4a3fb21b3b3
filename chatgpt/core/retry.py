"""What is tried again, and after how long.

Rules:

1. Tried again are 408, 409, 429, 5xx, and connections that failed before the first byte of an
   answer, `max_retries` times.
2. `x-should-retry: true | false` overrules the status.
3. Never: a quota that is used up (asking again does not fill it), and an answer that has begun
   (the caller has seen a part of it, and the server has done the work).
4. `retry-after-ms` and `retry-after` (seconds or a date) are obeyed. Otherwise the wait doubles
   from 0.5 s up to 8 s and is shortened by up to a quarter, so that clients do not come back all
   at once.
5. A wait that outlasts the call's deadline is not begun: the error is raised at once.
6. A message of the web flow is not sent twice: the server keeps the thread, and may have taken it.
   Only where no connection was made is it tried again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Final

from attrs import frozen

from chatgpt.core.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ChatGPTError,
    QuotaExceededError,
)

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 8.0
RETRIED_STATUSES: Final = frozenset({408, 409, 429})


@frozen
class RetryPolicy:
    """When to try again.

    Attributes:
        max_retries: how often a request is repeated at most.
        repeats_sent: whether a request that may have reached the server is repeated.
    """

    max_retries: int
    repeats_sent: bool = True

    def delay(
        self, retries: int, error: ChatGPTError, *, chance: float, was_sent: bool = True
    ) -> float | None:
        """How long to wait before the next try.

        Args:
            retries: how often the request was repeated already.
            error: what happened; `is_final` says whether it may be tried again.
            chance: a number from 0 up to 1.
            was_sent: whether the request may have reached the server.

        Returns:
            Seconds, or `None` when the error is to be raised.
        """
        if retries >= self.max_retries or error.is_final or (was_sent and not self.repeats_sent):
            return None
        if error.retry_after is not None and error.retry_after > 0:
            return error.retry_after
        # 2 ** 10 is far beyond the longest wait already; a larger power only risks an overflow.
        return min(FIRST_WAIT * 2.0 ** min(retries, 10), LONGEST_WAIT) * (1 - 0.25 * chance)


def is_final(error: ChatGPTError, headers: Mapping[str, str]) -> bool:
    """Whether the same request is not worth sending again, or must not be.

    Args:
        error: what happened.
        headers: those of the answer, names in lower case; empty where there was none.
    """
    if isinstance(error, QuotaExceededError):
        return True
    if isinstance(error, APITimeoutError):
        # The server may have done the work already: asking again might pay twice.
        return error.limit != "connect"
    if isinstance(error, APIConnectionError):
        return False
    if not isinstance(error, APIStatusError) or error.status_code is None:
        return True
    advice = headers.get("x-should-retry", "").strip().lower()
    if advice in ("true", "false"):
        return advice == "false"
    return error.status_code not in RETRIED_STATUSES and error.status_code < 500


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds that a server asks to wait.

    Args:
        headers: those of the answer, names in lower case.
        now: the date and time, for a `retry-after` that is a date.

    Returns:
        Seconds, not negative, or `None` where the headers do not say or say nonsense.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    # Here, because the module takes a while to load and a date is rare.
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max((date - now).total_seconds(), 0.0)


def _number(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if isfinite(number) and number >= 0 else None
