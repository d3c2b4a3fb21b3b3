"""What one call of a client at a time has, in the sync twin: the turn to renew a token."""

from __future__ import annotations

import threading

from chatgpt.core.needs import TransportFailure
from chatgpt.failures import NO_TURN
from chatgpt.interruptions import Interruption


class Turn:
    """What one call at a time has; it knows whose it is.

    So a call can pass on what it may have: Ctrl-C may come between taking the turn and noting it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._owner: object = None

    def take(self, owner: object, seconds: float, call: Interruption) -> None:
        """Wait until nobody has the turn, and take it.

        Raises:
            TransportFailure: it took too long, or the call was stopped.
        """
        call.forget_deadline()
        with call.woken_by(self._look_again), self._changed:
            wait = min(seconds, threading.TIMEOUT_MAX)
            if not self._changed.wait_for(lambda: self._owner is None or call.cause, wait):
                raise TransportFailure("timeout", NO_TURN)
            call.check()
            self._owner = owner

    def _look_again(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def pass_on(self, owner: object) -> None:
        """Let the next one have it, if it is the owner's."""
        with self._changed:
            if self._owner is owner:
                self._owner = None
                self._changed.notify()
