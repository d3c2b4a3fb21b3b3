"""What is tried again, and after how long.

Rules:

1. Tried again are 408, 409, 429, 5xx, and connections that failed before the first byte of an
   answer, `max_retries` times.
2. `x-should-retry: true | false` overrules the status.
3. Never: a quota that is used up (asking again does not fill it), and an answer that has begun
   (the caller has seen a part of it, and the server has done the work).
4. `retry-after-ms` and `retry-after` (seconds or a date) are obeyed. Otherwise the wait doubles
   from 0.5 s up to 8 s and is shortened by up to a quarter, so that clients do not come back all
   at once. It is as long as an empty bucket takes to fill (`x-ratelimit-remaining-*: 0`,
   `x-ratelimit-reset-*`), if that is no more than 8 s: a bucket is of use before it is full.
5. A wait that outlasts the call's deadline is not begun: the error is raised at once.
6. A message of the web flow is not sent twice: the server keeps the thread, and may have taken it.
   Only where no connection was made is it tried again.
7. A connection that the server had closed while it was idle is no failure: the request is sent again
   at once, and not counted.
8. Waits are measured by a clock that only grows. A date is compared with the server's own (`date`),
   where it tells it, so that a clock that is wrong or jumps here does no harm.
"""

from __future__ import annotations

import re
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
LONGEST_BACKOFF: Final = 8.0
RETRIED_STATUSES: Final = frozenset({408, 409, 429})

# OpenAI writes `6ms`, `1m0.052s`, `6m0s`; Azure whole seconds, and -1 or 0 for nothing.
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s|us|µs|μs|ns))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|μs|ns)")
_UNITS: Final = {
    "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9,
}  # fmt: skip
_REMAINING: Final = "x-ratelimit-remaining-"
_RESET: Final = "x-ratelimit-reset-"


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
        self,
        retries: int,
        error: ChatGPTError,
        *,
        chance: float,
        was_sent: bool = True,
        refill: float = 0.0,
    ) -> float | None:
        """How long to wait before the next try.

        Args:
            retries: how often the request was repeated already.
            error: what happened; `is_final` says whether it may be tried again.
            chance: a number from 0 up to 1.
            was_sent: whether the request may have reached the server.
            refill: seconds until a bucket of the server is full again that is empty now.

        Returns:
            Seconds, or `None` when the error is to be raised.
        """
        if retries >= self.max_retries or error.is_final or (was_sent and not self.repeats_sent):
            return None
        if error.retry_after is not None and error.retry_after > 0:
            return error.retry_after
        # 2 ** 10 is far beyond the longest wait already; a larger power only risks an overflow.
        wait = min(FIRST_WAIT * 2.0 ** min(retries, 10), LONGEST_BACKOFF) * (1 - 0.25 * chance)
        return max(wait, min(refill, LONGEST_BACKOFF))


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
        now: the date and time, for a `retry-after` that is a date and an answer without one.

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
    date = _date(value)
    return (
        None
        if date is None
        else max((date - (_date(headers.get("date")) or now)).total_seconds(), 0.0)
    )


def refill_seconds(headers: Mapping[str, str]) -> float:
    """The seconds until the buckets are full that are empty now; 0 where none is, or nothing is said.

    Args:
        headers: those of the answer, names in lower case.
    """
    kinds = [
        name.removeprefix(_REMAINING)
        for name, value in headers.items()
        if name.startswith(_REMAINING) and value.strip() == "0"
    ]
    return max((_duration(headers.get(f"{_RESET}{kind}", "")) for kind in kinds), default=0.0)


def _duration(value: str) -> float:
    """Seconds, from a duration as Go writes it or a number of seconds; 0 for anything else."""
    value = value.strip()
    if _DURATION.fullmatch(value):
        return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(value))
    return _number(value) or 0.0


def _date(value: str | None) -> datetime | None:
    """A date in any of the three forms of HTTP (RFC 9110, 5.6.7)."""
    if value is None:
        return None
    # Here, because the module takes a while to load and a date is rare.
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date


def _number(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if isfinite(number) and number >= 0 else None
