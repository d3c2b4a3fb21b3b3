"""`CancelToken`: how a caller stops a call from elsewhere.

Strategy: a token only knows that it was cancelled, and whom to tell. Whoever waits for something has itself
told (`tell`) and stops waiting; what that means for the call is the exchange's to say (`AbortedError`).

Rules:

1. It may be cancelled from any thread, a signal handler included, also one that interrupts this very code. So
   there is no lock: each step is one operation on a dictionary, and who is told may be told twice.
2. It stays cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn


class CancelToken:
    """Stops the calls that it is given to: `client.send_message("Hi", abort=token)`.

    `token.cancel()` may come from any thread or signal handler, and at any time: while a call connects, waits for the answer or
    between two tries, reads a stream, or before it begins. The call raises `AbortedError` within a moment, with
    the text so far in `partial`, and its connection is closed; nothing is stored. One token may be given to
    several calls, one after the other or at the same time. It cannot be used again once it is cancelled, and holds
    in one process: it is no way to stop the child of a fork, and cannot be pickled.
    """

    __slots__ = ("_is_cancelled", "_told")

    def __init__(self) -> None:
        self._is_cancelled = False
        self._told: dict[object, Callable[[], None]] = {}

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._is_cancelled

    def cancel(self, *_: object) -> None:
        """Stop the calls that have this token, and those that will have it. May be called again.

        Arguments are not looked at, so that it can be a handler itself: `signal.signal(SIGTERM, token.cancel)`.

        Raises:
            Exception: what a function raised that was to be told (`tell`); all others were told.
        """
        self._is_cancelled = True
        problem: Exception | None = None
        for function in list(self._told.values()):
            try:
                function()
            except Exception as error:  # noqa: BLE001 - the others are to be told all the same
                problem = error
        if problem is not None:
            raise problem

    def tell(self, function: Callable[[], None]) -> Callable[[], None]:
        """Have a function called when the token is cancelled: now, if it is already.

        Args:
            function: called in the thread that cancels. It must not wait, and may be called twice; what it raises
                is raised by `cancel`, after everybody was told.

        Returns:
            A function that takes it back; it may be called again.
        """
        key = object()
        self._told[key] = function
        if self._is_cancelled:
            function()

        def take_back() -> None:
            self._told.pop(key, None)

        return take_back

    def __reduce__(self) -> NoReturn:
        raise TypeError("A CancelToken holds in one process: it cannot be pickled or copied.")

    def __repr__(self) -> str:
        return f"<CancelToken, {'cancelled' if self._is_cancelled else 'not cancelled'}>"
