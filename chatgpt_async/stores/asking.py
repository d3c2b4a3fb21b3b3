"""Work that asks a store (`chatgpt.stores.asking`), with a store of async methods.

Rules, beside those of `chatgpt.stores.asking`:

1. A step is taken in a worker thread, and is waited for even if the call is cancelled; then the work is closed there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from anyio import CancelScope, to_thread

from chatgpt.core.errors import MessageIdTakenError
from chatgpt.core.messages import ChatMessage
from chatgpt.stores.asking import (
    BATCH,
    Asking,
    GetEach,
    NextMessages,
    Question,
    ReadPath,
    Save,
    Steps,
)
from chatgpt_async.stores.protocol import MessageStore

T = TypeVar("T")


async def ask_store(work: Asking[T], store: MessageStore) -> T:
    """Do some work with a store of async methods."""
    steps, listing = Steps(work), _Listing(store)
    try:
        question = await to_thread.run_sync(steps.next)
        while question is not None:
            try:
                answer = await _answer(question, store, listing)
            except MessageIdTakenError as error:
                question = await to_thread.run_sync(steps.refuse, error)
            else:
                question = await to_thread.run_sync(steps.next, answer)
        return steps.result
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(steps.close)
            await listing.aclose()


async def _answer(question: Question, store: MessageStore, listing: _Listing) -> object:
    match question:
        case GetEach(message_ids):
            found = [await store.get(message_id) for message_id in message_ids]
            return [message for message in found if message is not None]
        case ReadPath(message_id):
            return await store.path(message_id)
        case NextMessages():
            return await listing.next()
        case Save(messages):
            await store.save(messages)
            return None


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
