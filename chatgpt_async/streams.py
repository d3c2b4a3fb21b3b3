"""`MessageStream`: a reply as it grows.

Rules, beside those of `core.streaming`:

1. Nothing is sent before the stream is entered, and it is iterated inside `async with` only: there
   is no other moment at which its connection could be closed.
2. Leaving the `async with` block early has closed the connection before the next line runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

from chatgpt.core.messages import ChatMessage
from chatgpt.core.streaming import StreamState
from chatgpt_async.transport import Call


class MessageStream(StreamState, AsyncIterator[ChatMessage]):
    """The parts of a reply, each a `ChatMessage` with what is new in `delta`.

    Made by `stream_message`; used as `async with client.stream_message(...) as stream: async for
    part in stream: ...`.
    """

    def __init__(self, start: Callable[[], Call[ChatMessage]]) -> None:
        super().__init__()
        self._start = start
        self._call: Call[ChatMessage] | None = None

    async def __aenter__(self) -> Self:
        """Send the message, and wait for the first part of the reply."""
        if self._begin():
            await self._advance()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        self._require_entered()
        return self

    async def __anext__(self) -> ChatMessage:
        if self._waiting:  # most of them
            self._last = taken = self._waiting.popleft()
            return taken
        self._require_entered()
        if self._is_waited_for:
            await self._advance()
        part = self._take()
        if part is None:
            raise StopAsyncIteration
        return part

    async def aclose(self) -> None:
        """Leave the stream; its connection is closed if it was not read to its end."""
        self._leave()
        if self._call is not None:
            await self._call.aclose()

    async def close(self) -> None:
        """The same as `aclose`."""
        await self.aclose()

    async def _advance(self) -> None:
        self._claim()
        try:
            if self._call is None:
                self._call = self._start()
            parts = await self._call.advance()
        except BaseException as error:
            problem = self._failed(error)
            if problem is error:
                raise
            raise problem from error
        if parts:
            self._came(parts)
        else:
            self._ended(self._call.result)

    def _require_entered(self) -> None:
        if self._is_new:
            raise RuntimeError(
                "A stream is iterated inside `async with`: "
                "`async with client.stream_message(...) as stream: async for part in stream: ...`."
            )
