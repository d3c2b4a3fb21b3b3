"""Deadlines of one call: the whole of it, silence, connecting.

Strategy: the clock is handed in and read when a network need is made; the need carries the seconds
that are left. When one passes, the limit that was the nearest is named in the error.

Rules:

1. `total` bounds the whole call: connecting, sending, retries, sleeps, the consumer's own time
   between parts, and the last byte.
2. `idle` bounds the silence of a stream: the time spent waiting for bytes, not the consumer's own.
   Comments and blank lines are silence: a server may send them for ever. An answer that is not
   streamed has no idle limit: it is silent until it is done.
3. Times are in seconds, by a clock that only grows.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from chatgpt.core.cancelling import CancelToken
from chatgpt.core.errors import AbortedError, APITimeoutError, ChatGPTError, TimeoutLimit
from chatgpt.core.needs import TransportFailure

LONGEST_WAIT: Final = 365 * 24 * 3600.0
"""Seconds that stand for no limit: sockets take no infinite number, and none beyond some 10**9."""


class Limits:
    """The deadlines of one call.

    Args:
        clock: seconds that only grow.
        total: for the whole call, from now on.
        idle: for the longest silence; `math.inf` for none.
        connect: for connecting.

    Attributes:
        token: the caller's, which ends it, too; by default none.
    """

    __slots__ = (
        "_began",
        "_clock",
        "_connect",
        "_end",
        "_idle",
        "_last",
        "_nearest",
        "_patience",
        "_total",
        "token",
    )

    def __init__(
        self, clock: Callable[[], float], *, total: float, idle: float, connect: float
    ) -> None:
        self.token: CancelToken | None = None
        self._clock = clock
        self._total = total
        self._idle = idle
        self._connect = connect
        self._began = clock()
        self._last = self._end = self._began + min(total, LONGEST_WAIT)
        self._patience = min(idle, LONGEST_WAIT)
        self._nearest: TimeoutLimit = "total"

    @property
    def remaining(self) -> float:
        """Seconds until the end of the call; negative when it is over."""
        return self._end - self._clock()

    def bear_silence(self) -> None:
        """Have no limit for silence: the answer is not streamed after all."""
        self._idle = self._patience = inf

    def end_within(self, seconds: float) -> None:
        """Bring the end of the call nearer: there is little left to wait for."""
        self._end = min(self._end, self._clock() + seconds)

    def go_on(self) -> None:
        """Take `end_within` back: there is more to wait for than it seemed."""
        self._end = self._last

    def connect_timeout(self) -> float:
        """Seconds for connecting.

        Raises:
            APITimeoutError: the call is over.
        """
        seconds = min(self._connect, self.remaining)
        if seconds <= 0:
            raise self.total_passed()
        return seconds

    def read_timeout(self) -> float:
        """Seconds of silence until the nearest limit; the wait for bytes begins.

        Raises:
            APITimeoutError: it has passed already.
        """
        self._began = self._clock()
        total = self._end - self._began
        self._nearest = "idle" if self._patience < total else "total"
        seconds = min(total, self._patience)
        if seconds <= 0:
            raise self.passed()
        return seconds

    def has_waited(self) -> None:
        """The wait for bytes is over, whatever came of it."""
        self._patience -= self._clock() - self._began

    def progress(self) -> None:
        """Something came: the silence begins anew."""
        self._patience = min(self._idle, LONGEST_WAIT)

    def check_token(self) -> None:
        """See whether the caller goes on.

        Raises:
            AbortedError: his token is cancelled.
        """
        if self.token is not None and self.token.is_cancelled:
            raise self.end_of_wait(TransportFailure("aborted", ""))

    def passed(self) -> APITimeoutError:
        """The error for the limit that ended the last wait."""
        if self._nearest == "idle":
            return self._error(
                "idle", f"The server was silent for {self._idle:g} s (idle_timeout)."
            )
        return self.total_passed()

    def total_passed(self, reason: str = "") -> APITimeoutError:
        """The error for a call that is over, and why it took so long, where that is known."""
        message = f"The call was not done after {self._total:g} s (timeout)"
        return self._error("total", f"{message}: {reason}." if reason else f"{message}.")

    def connect_passed(self) -> APITimeoutError:
        """The error for a connection that was not made in time."""
        if self.remaining <= 0:
            return self.total_passed()
        return self._error(
            "connect", f"No connection was made within {self._connect:g} s (connect_timeout)."
        )

    def ended_by(self, failure: TransportFailure, reason: str | None = None) -> ChatGPTError | None:
        """The error for a failure that is the end of the call: a limit, or the caller's token.

        Args:
            failure: what happened; `None` is returned where it is something else.
            reason: why the call took so long, in place of what the transport says.
        """
        match failure.kind:
            case "connect_timeout":
                return self.connect_passed()
            case "read_timeout":
                return self.passed()
            case "timeout":
                return self.total_passed(failure.reason if reason is None else reason)
            case "aborted":
                return AbortedError("The call was stopped by its CancelToken.")
            case _:
                return None

    def end_of_wait(self, failure: TransportFailure, reason: str | None = None) -> ChatGPTError:
        """The same of a wait that nothing else can end: for a turn, a token, another try."""
        error = self.ended_by(failure, reason)
        assert error is not None, "such a wait ends by a limit or by the caller's token"
        return error

    @staticmethod
    def _error(limit: TimeoutLimit, message: str) -> APITimeoutError:
        error = APITimeoutError(message)
        error.limit = limit
        return error
