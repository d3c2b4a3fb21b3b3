"""How the clients of the sync twin run their exchanges: over one transport, which can be closed."""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Self

from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange
from chatgpt.stores.protocol import MessageStore
from chatgpt.streams import MessageStream
from chatgpt.surroundings import SURROUNDINGS
from chatgpt.transport import SOCKS_PACKAGE, Call, T, Transport


class Caller:
    """A client with a transport and a store, both made by its constructor."""

    _surroundings = SURROUNDINGS
    _socks_package = SOCKS_PACKAGE
    _transport: Transport
    _store: MessageStore

    def close(self) -> None:
        """Close the connections; those of running calls when these have ended.

        A client that is used again opens new ones.
        """
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, exchange: Exchange[T]) -> Call[T]:
        return Call(exchange, self._transport, self._store)

    def _stream(self, exchange: Exchange[ChatMessage]) -> MessageStream:
        return MessageStream(partial(self._call, exchange))
