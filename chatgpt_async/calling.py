"""How the clients of the async twin run their exchanges: over one transport, which can be closed."""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Self

from attrs import evolve

from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange
from chatgpt.surroundings import SURROUNDINGS
from chatgpt_async.stores.protocol import MessageStore
from chatgpt_async.streams import MessageStream
from chatgpt_async.transport import SOCKS_PACKAGE, Call, T, Transport


class Caller:
    """A client with a transport and a store, both made by its constructor."""

    _surroundings = evolve(SURROUNDINGS, may_block=False)
    _socks_package = SOCKS_PACKAGE
    _transport: Transport
    _store: MessageStore

    async def aclose(self) -> None:
        """Close the connections of this event loop; those of running calls when these have ended.

        A client that is used again opens new ones.
        """
        await self._transport.aclose()

    async def close(self) -> None:
        """The same as `aclose`."""
        await self.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _call(self, exchange: Exchange[T]) -> Call[T]:
        return Call(exchange, self._transport, self._store)

    def _stream(self, exchange: Exchange[ChatMessage]) -> MessageStream:
        return MessageStream(partial(self._call, exchange))
