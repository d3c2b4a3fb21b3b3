"""Work that asks a store (`chatgpt.stores.asking`), with a store of async methods.

Rules, beside those of `chatgpt.stores.asking`:

1. A step is taken in a worker thread, and is waited for even if the call is cancelled; then the work is closed there.
2. A function that is told of the work is called in the event loop, and may be async.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from anyio import CancelScope, to_thread

from chatgpt.core.errors import MessageIdTakenError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.validation import is_asynchronous
from chatgpt.stores.asking import (
    BATCH,
    Asking,
    GetEach,
    NextMessages,
    Question,
    ReadConversation,
    ReadPath,
    Save,
    Steps,
    Tell,
)
from chatgpt.stores.protocol import MessageStore as PlainStore
from chatgpt.stores.protocol import conversation_method
from chatgpt_async.callbacks import completed
from chatgpt_async.stores.protocol import MessageStore, awaitable_store, in_thread

T = TypeVar("T")


async def ask_store(work: Asking[T], given: MessageStore | PlainStore) -> T:
    """Do some work with a store of async methods, or of plain ones, which run in worker threads.

    Raises:
        TypeError: it is no store.
    """
    store = awaitable_store(given)
    steps, listing = Steps(work), _Listing(store)
    try:
        question = await to_thread.run_sync(steps.next)
        while question is not None:
            try:
                answer = await _answer(question, given, store, listing)
            except MessageIdTakenError as error:
                question = await to_thread.run_sync(steps.refuse, error)
            else:
                question = await to_thread.run_sync(steps.next, answer)
        return steps.result
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(steps.close)
            await listing.aclose()


async def _answer(
    question: Question, given: MessageStore | PlainStore, store: MessageStore, listing: _Listing
) -> object:
    match question:
        case GetEach(message_ids):
            found = [await store.get(message_id) for message_id in message_ids]
            return [message for message in found if message is not None]
        case ReadPath(message_id):
            return await store.path(message_id)
        case ReadConversation(conversation_id):
            return await _conversation(given, conversation_id)
        case NextMessages():
            return await listing.next()
        case Save(messages):
            await store.save(messages)
            return None
        case Tell(function, progress):
            await completed(function(progress))
            return None


async def _conversation(given: MessageStore | PlainStore, conversation_id: str) -> object:
    method = conversation_method(given)
    if method is None:
        return None
    if is_asynchronous(method):
        return await method(conversation_id)
    return await in_thread(method, conversation_id)


class _Listing:
    """The list of all messages, on its way."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self._messages: AsyncIterator[ChatMessage] | None = None

    async def next(self) -> list[ChatMessage]:
        if self._messages is None:
            self._messages = aiter(self._store.all_messages())
        batch: list[ChatMessage] = []
        async for message in self._messages:
            batch.append(message)
            if len(batch) == BATCH:
                break
        return batch

    async def aclose(self) -> None:
        # An event loop must not find it as garbage.
        if isinstance(self._messages, AsyncGenerator):
            await self._messages.aclose()
