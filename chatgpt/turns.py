"""What one call of a client at a time has, in the sync twin: the turn to renew a token."""

from __future__ import annotations

import threading
from time import monotonic

from chatgpt.core.needs import TransportFailure
from chatgpt.failures import NO_TURN
from chatgpt.interruptions import Alarm, Interruption


class Turn:
    """What one call at a time has; it knows whose it is.

    So a call can pass on what it may have: Ctrl-C may come between taking the turn and noting it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._owner: object = None
        self._waiting: list[Alarm] = []

    def take(self, owner: object, seconds: float, call: Interruption) -> None:
        """Wait until nobody has the turn, and take it.

        Raises:
            TransportFailure: it took too long, or the call was stopped.
        """
        end = monotonic() + seconds
        call.forget_deadline()
        call.check()
        while True:
            alarm = Alarm()
            with self._lock:
                if self._owner is None:
                    self._owner = owner
                    return
                self._waiting.append(alarm)
            with call.woken_by(alarm.set):
                is_set = alarm.wait(end - monotonic())
            if not is_set:
                raise TransportFailure("timeout", NO_TURN)

    def pass_on(self, owner: object) -> None:
        """Let another one have it, if it is the owner's."""
        with self._lock:
            if self._owner is not owner:
                return
            self._owner = None
            waiting, self._waiting = self._waiting, []
        for alarm in waiting:
            alarm.set()
