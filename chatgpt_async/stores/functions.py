"""A store made of two functions, plain or async (`chatgpt.stores.functions`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from chatgpt.core.messages import ChatMessage
from chatgpt.core.validation import function_of
from chatgpt.stores.functions import Sources, found_message, sources_of
from chatgpt_async.callbacks import completed
from chatgpt_async.stores.protocol import MessageStore

GetMessageByIdFunction: TypeAlias = Callable[
    [str], ChatMessage | Awaitable[ChatMessage | None] | None
]
"""Returns the message of an id, or `None` where there is none; plain or async."""

UpsertMessageFunction: TypeAlias = Callable[[ChatMessage], object]
"""Saves a message, in place of one with the same id; plain or async. What it returns is awaited where
it has to be, and not looked at."""


class FunctionStore(MessageStore):
    """A store made of two functions; where one is missing, another store does its part.

    Args:
        fallback: holds the messages that only one of the functions knows of.
        get_message_by_id: looks a message up.
        upsert_message: saves a message.

    A plain function is called in the event loop and must not block it. A store of plain methods may:
    it works in a worker thread.
    """

    def __init__(
        self,
        fallback: MessageStore,
        get_message_by_id: GetMessageByIdFunction | None = None,
        upsert_message: UpsertMessageFunction | None = None,
    ) -> None:
        self._sources: Sources[ChatMessage | Awaitable[ChatMessage | None] | None, object]
        self._sources = sources_of(
            fallback.get,
            fallback.save,
            function_of("get_message_by_id", get_message_by_id),
            function_of("upsert_message", upsert_message),
        )
        self._fallback = fallback

    async def get(self, message_id: str) -> ChatMessage | None:
        """Return a message, or `None` where the store does not hold it."""
        for read in self._sources.readers:
            message = found_message(await completed(read(message_id)))
            if message is not None:
                return message
        return None

    async def save(self, messages: Sequence[ChatMessage]) -> None:
        """Save messages one by one, the question before the answer."""
        for upsert in self._sources.upserters:
            for message in messages:
                await completed(upsert(message))
        for save in self._sources.savers:
            await completed(save(messages))

    async def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return a thread, newest first: as the other store does where it holds every message."""
        if self._sources.holds_all:
            return await self._fallback.path(message_id, limit)
        return await super().path(message_id, limit)

    async def replies(self, message_id: str) -> Sequence[ChatMessage]:
        """Return the messages that reply to one, oldest first, where the other store holds them all."""
        found: Sequence[ChatMessage] = await self._sources.replies_method(self._fallback)(
            message_id
        )
        return found
