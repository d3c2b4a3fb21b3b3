"""`chatgpt.archives` and `chatgpt.imports` for async stores: files are read and written in a worker thread.

Strategy: the work is that of the sync twin, in a worker thread; there, an async store has the face of a plain one,
whose methods are awaited in the event loop. Messages go through it in batches.

Rules:

1. A cancelled call ends at the next thing that it asks of the store, and is waited for until then; a file that was to
   be written is not there.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, from_thread, to_thread

from chatgpt import archives, imports
from chatgpt.archives import ArchiveFormat, ArchivePath
from chatgpt.core.messages import ChatMessage
from chatgpt.import_reports import ImportReport
from chatgpt.imports import DEFAULT_MAX_CONVERSATION_BYTES
from chatgpt.stores.asking import BATCH
from chatgpt.stores.protocol import MessageStore as PlainStore
from chatgpt_async.stores.asking import ask_store
from chatgpt_async.stores.protocol import MessageStore, awaitable_store

T = TypeVar("T")


async def export_messages(
    store: MessageStore | PlainStore,
    destination: ArchivePath,
    *,
    format: ArchiveFormat | None = None,  # noqa: A002 - what everybody calls it
    message_id: str | None = None,
    conversation_id: str | None = None,
) -> int:
    """Write the messages of a store into a file: all of them, a thread, or a conversation.

    What the store cannot read is left out (`unreadable_messages`). In HTML, replies are shown as the Markdown that
    they are, if the extra `markdown` is installed.

    Args:
        store: holds the messages.
        destination: the path of the file, or a binary file that is open.
        format: `"jsonl"`, `"markdown"` or `"html"`; by default what the path ends with says.
        message_id: the newest message of a thread, which alone is written.
        conversation_id: the conversation that alone is written, with all its branches.

    Returns:
        How many messages were written. Documents leave hidden ones out.

    Raises:
        MessageNotFoundError: the store does not hold `message_id`, or nothing of `conversation_id`.
        ConfigurationError: both are given; or the store cannot list its messages (a thread can be written all the
            same).
        ValueError: the format cannot be told from the path, or is none.
        OSError: the file cannot be written.
    """
    work = archives.exporting(destination, format, message_id, conversation_id)
    return await ask_store(work, awaitable_store(store))


async def import_messages(source: ArchivePath, store: MessageStore | PlainStore) -> ImportReport:
    """Read messages from a file of JSON Lines, as `export_messages` writes it, into a store.

    Args:
        source: the path of the file, or a binary file that is open.
        store: where they are saved, 500 at a time.

    Returns:
        How many messages were saved, in place of those that are there already; and which lines were not: they hold
        no message, or one whose id belongs to another message in the store.

    Raises:
        ValueError: it is another kind of file.
        OSError: the file cannot be read.
        StoreError: the store failed. What was saved is there; import the file again.
    """
    return await ask_store(archives.importing(source), awaitable_store(store))


async def import_chatgpt_export(
    path: str | os.PathLike[str],
    store: MessageStore | PlainStore,
    *,
    max_conversation_bytes: int = DEFAULT_MAX_CONVERSATION_BYTES,
) -> ImportReport:
    """Save the conversations of a data export.

    Args:
        path: the zip that ChatGPT sent, one of its `conversations.json`, `conversations-000.json`, ..., or a
            folder that holds these.
        store: where the messages are saved, one conversation at a time.
        max_conversation_bytes: a conversation that takes more of the file is passed over.

    Returns:
        What was saved, and what could not be read.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it holds no conversations.
        ConfigurationError: the extra `import` is not installed.
        Exception: what the store raises.
    """
    read = partial(imports.import_chatgpt_export, max_conversation_bytes=max_conversation_bytes)
    return await _in_thread(lambda plain: read(path, plain), store)


async def _in_thread(work: Callable[[PlainStore], T], store: MessageStore | PlainStore) -> T:
    plain = _PlainFace(awaitable_store(store))

    def done() -> T:
        with closing(plain):
            return work(plain)

    # A limit of its own: this thread waits for others, which a store takes from the common ones.
    return await to_thread.run_sync(done, limiter=CapacityLimiter(1))


class _PlainFace(PlainStore):
    """An async store for a worker thread, whose methods are awaited in the event loop."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self._listings: list[AsyncIterator[ChatMessage]] = []

    def get(self, message_id: str) -> ChatMessage | None:
        return from_thread.run(self._store.get, message_id)

    def save(self, messages: Sequence[ChatMessage]) -> None:
        from_thread.run(self._store.save, messages)

    def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        return from_thread.run(self._store.path, message_id, limit)

    def all_messages(self) -> Iterator[ChatMessage]:
        messages = from_thread.run_sync(lambda: aiter(self._store.all_messages()))
        self._listings.append(messages)
        while batch := from_thread.run(_next_of, messages):
            yield from batch

    def close(self) -> None:
        """End the listings that were left: an event loop must not find them as garbage."""
        from_thread.run(_close, self._listings)


async def _close(listings: Sequence[AsyncIterator[ChatMessage]]) -> None:
    with CancelScope(shield=True):
        for messages in listings:
            if isinstance(messages, AsyncGenerator):
                await messages.aclose()


async def _next_of(messages: AsyncIterator[ChatMessage]) -> list[ChatMessage]:
    batch: list[ChatMessage] = []
    async for message in messages:
        batch.append(message)
        if len(batch) == BATCH:
            break
    return batch
