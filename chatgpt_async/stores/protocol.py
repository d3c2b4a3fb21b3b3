"""What an async client asks of a store; a store of plain methods works in a worker thread.

Rules, beside those of `chatgpt.stores.protocol`:

1. A cancelled call does not wait for a worker thread. What such a thread has begun to save, it may
   still finish: question and answer together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Final, Protocol, TypeVar, cast

from anyio import to_thread

from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import LoadMessage, Running
from chatgpt.core.threads import walk
from chatgpt.stores.protocol import MessageStore as PlainStore
from chatgpt.stores.protocol import (
    conversation_method,
    listing_method,
    methods_of,
    no_listing,
    no_replies,
    replies_method,
)
from chatgpt_async.callbacks import completed

T = TypeVar("T")

BATCH: Final = 500
"""How many messages a worker thread hands over at a time."""


class MessageStore(Protocol):
    """A store of messages. Derive from it and write `get` and `save`; `path` has a default.

    `client.branches` needs `replies`, too. With a method `conversation_messages(conversation_id)`, which returns all messages of a
    conversation, `chat.tree()` holds them all, and exporting one conversation need not go through all of them.
    """

    @abstractmethod
    async def get(self, message_id: str) -> ChatMessage | None:
        """Return a message, or `None` where the store does not hold it.

        Args:
            message_id: its id.
        """
        ...

    @abstractmethod
    async def save(self, messages: Sequence[ChatMessage]) -> None:
        """Save messages in one write, in place of those that have the same ids.

        Args:
            messages: the messages; all of them are there afterwards, or none.

        Raises:
            MessageIdTakenError: it holds another message under one of the ids, and has saved none. (A store
                need not look.)
        """
        ...

    async def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return a thread from one of its messages to the root, newest first.

        Args:
            message_id: where to begin.
            limit: how many messages at most, `None` for all.

        Returns:
            The messages, ending where a parent is missing; empty where `message_id` is unknown.

        Raises:
            TypeError: `get` returned something that is no message.
        """
        walking = Running(walk(message_id, limit))
        while isinstance(need := walking.need, LoadMessage):
            walking.resume(await self.get(need.message_id))
        return walking.result()

    async def replies(self, message_id: str) -> Sequence[ChatMessage]:  # noqa: ARG002 - see below
        """Return the messages that reply to one, oldest first by `created_at`. `branches` alone asks for them.

        Args:
            message_id: the id of that one.

        Raises:
            ConfigurationError: this store cannot find them; write the method to let it.
        """
        raise no_replies(self)

    def all_messages(self) -> AsyncIterator[ChatMessage]:
        """Go through all messages, in the order in which they were first saved. Exporting asks for it.

        Raises:
            ConfigurationError: this store cannot list them; write the method to let it.
        """
        raise no_listing(self)


class WorkerThreadStore(MessageStore):
    """A store of plain methods, which run in a worker thread: they may block.

    Args:
        store: the store of plain methods; it is used from several threads at the same time.
    """

    def __init__(self, store: PlainStore) -> None:
        self._store = store

    async def get(self, message_id: str) -> ChatMessage | None:
        """Return a message, or `None` where the store does not hold it."""
        return await in_thread(self._store.get, message_id)

    async def save(self, messages: Sequence[ChatMessage]) -> None:
        """Save messages in one write."""
        await in_thread(self._store.save, messages)

    async def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return a thread from one of its messages to the root, newest first."""
        return await in_thread(self._store.path, message_id, limit)

    async def replies(self, message_id: str) -> Sequence[ChatMessage]:
        """Return the messages that reply to one, oldest first."""
        found: Sequence[ChatMessage] = await in_thread(replies_method(self._store), message_id)
        return found

    async def conversation_messages(self, conversation_id: str) -> Sequence[ChatMessage] | None:
        """Return the messages of a conversation, in the order of first saving; `None` where the store does not know."""
        method = conversation_method(self._store)
        if method is None:
            return None
        found: Sequence[ChatMessage] = await in_thread(method, conversation_id)
        return found

    async def all_messages(self) -> AsyncIterator[ChatMessage]:
        """Go through all messages, in the order in which they were first saved."""
        async for message in in_batches(listing_method(self._store)):
            yield message


async def in_thread(method: Callable[..., T | Awaitable[T]], *given: object) -> T:
    """Call a plain method in a worker thread, which a cancelled call does not wait for."""
    # A decorator may hide that a method is async. (In a tuple, because trio returns no coroutine.)
    (result,) = await to_thread.run_sync(lambda: (method(*given),), abandon_on_cancel=True)
    return await completed(result)


async def in_batches(method: Callable[[], Iterable[T]]) -> AsyncIterator[T]:
    """Go through what a plain method lists; a worker thread does so, some at a time."""
    listed = await in_thread(lambda: iter(method()))
    while batch := await in_thread(lambda: list(islice(listed, BATCH))):
        for one in batch:
            yield one


def awaitable_store(store: object) -> MessageStore:
    """Check that a store offers what a client asks of it, and make it one that is awaited.

    Raises:
        TypeError: it does not, or only some of its methods are async.
    """
    plain, awaited = methods_of(store, "chatgpt_async.MessageStore")
    if plain and awaited:
        raise TypeError(
            f"message_store must be a MessageStore of async or of plain methods; {type(store).__name__} has both. "
            f"Async: {', '.join(awaited)}; plain: {', '.join(plain)}. Derive it from chatgpt_async.MessageStore, "
            "which brings an async `path`."
        )
    if plain:
        return WorkerThreadStore(cast("PlainStore", store))
    return cast("MessageStore", store)
