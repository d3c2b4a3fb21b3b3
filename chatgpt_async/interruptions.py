"""What ends the waits of a call in the async twin from outside: its token. Its limits are cancel scopes."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import current_token

from chatgpt.core.cancelling import CancelToken
from chatgpt.core.needs import TransportFailure

T = TypeVar("T")


def call_soon() -> Callable[[Callable[[], object]], object]:
    """What calls a function soon in the running event loop, from any thread.

    It raises `RuntimeError` when the loop has ended.
    """
    loop: Any = current_token().native_token
    # Of asyncio, and of trio.
    soon: Callable[[Callable[[], object]], object] = (
        getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon
    )
    return soon


class Interruption:
    """What may end the waits of one call."""

    __slots__ = ("_soon", "_take_back", "_token", "_wait")

    def __init__(self) -> None:
        self._token: CancelToken | None = None
        self._wait: anyio.CancelScope | None = None

    def obey(self, token: CancelToken) -> None:
        """Be stopped by a token from now on; it may be cancelled in any thread."""
        self._soon = call_soon()
        self._token = token
        self._take_back = token.tell(self._tell)

    @property
    def has_token(self) -> bool:
        """Whether there is a token that may stop a wait."""
        return self._token is not None

    async def during(self, waiting: Awaitable[T]) -> T:
        """Wait for something, unless the token is cancelled before or meanwhile.

        Raises:
            TransportFailure: it was.
        """
        assert self._token is not None, "there is a token"
        with anyio.CancelScope() as self._wait:
            if self._token.is_cancelled:
                self._wait.cancel()
            return await waiting
        raise TransportFailure("aborted", "the token was cancelled")

    def close(self) -> None:
        """The call is over."""
        if self._token is not None:
            self._take_back()

    def _tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._soon(self._cancel)

    def _cancel(self) -> None:
        if self._wait is not None:
            self._wait.cancel()
