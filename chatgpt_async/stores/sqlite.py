"""Conversations in a SQLite file, as `chatgpt.SQLiteStore` keeps them, in worker threads."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from chatgpt.core.messages import ChatMessage
from chatgpt.stores.conversations import StoredConversation
from chatgpt.stores.sqlite import SQLiteStore as PlainSQLiteStore
from chatgpt.stores.sqlite_connections import DEFAULT_TIMEOUT
from chatgpt.stores.unreadable import UnreadableMessage
from chatgpt_async.stores.protocol import MessageStore, WorkerThreadStore, in_batches, in_thread


class SQLiteStore(MessageStore):
    """A store in a SQLite file, which many tasks, threads and processes of a machine may share.

    Args:
        path: the file; it is made where there is none, in a folder that is there.
        timeout: seconds to wait for other processes that are writing; by default 60.

    Raises:
        StoreError: the file cannot be opened, is damaged, belongs to another program, or to a newer version of
            chatgpt-sdk.

    It is opened here, which takes some milliseconds; everything else is done in worker threads. What was
    saved is there after a crash of the process or of the machine. Put the file on a disk of the machine:
    SQLite's locks do not work on every network drive. A pickle holds the path.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._plain = PlainSQLiteStore(path, timeout=timeout)
        self._timeout = timeout
        self._in_threads = WorkerThreadStore(self._plain)

    @property
    def file(self) -> Path:
        """Where the file is."""
        return self._plain.file

    async def get(self, message_id: str) -> ChatMessage | None:
        """Return a message, or `None` where the store does not hold it, or cannot read it.

        Raises:
            StoreError: the file cannot be read.
            TypeError: the id is no text.
        """
        return await self._in_threads.get(message_id)

    async def save(self, messages: Sequence[ChatMessage]) -> None:
        """Save messages in one transaction.

        Raises:
            MessageIdTakenError: it holds other messages under some of the ids; none is saved.
            StoreError: they could not be saved; none is.
            TypeError: a message holds what JSON has no form for.
            ValueError: an id is empty, or no valid Unicode.
        """
        await self._in_threads.save(messages)

    async def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return a thread from one of its messages to the root, newest first, by one statement.

        A message that cannot be read is passed over.

        Raises:
            StoreError: the file cannot be read.
            TypeError: the id is no text.
        """
        return await self._in_threads.path(message_id, limit)

    async def replies(self, message_id: str) -> list[ChatMessage]:
        """Return the messages that reply to one, oldest first.

        Raises:
            StoreError: the file cannot be read.
            TypeError: the id is no text.
        """
        return await in_thread(self._plain.replies, message_id)

    async def all_messages(self) -> AsyncIterator[ChatMessage]:
        """Go through all messages, in the order in which they were first saved.

        What cannot be read is passed over (`unreadable_messages`).

        Raises:
            StoreError: the file cannot be read.
        """
        async for message in in_batches(self._plain.all_messages):
            yield message

    async def conversations(self, *, limit: int | None = None) -> list[StoredConversation]:
        """List the conversations, the last used one first, those without a time at the end.

        A conversation is what messages with the same `conversation_id` are.

        Args:
            limit: how many at most; by default all.

        Raises:
            StoreError: the file cannot be read.
            TypeError: the limit is no int.
            ValueError: it is negative.
        """
        return await in_thread(lambda: self._plain.conversations(limit=limit))

    async def find_conversations(self, name_or_id: str) -> list[StoredConversation]:
        """Find the conversation of a name; else that of an id; else all whose ids begin so, last used first.

        Args:
            name_or_id: a name, an id, or how ids begin.

        Returns:
            What was found: nothing, one, or several whose ids begin so.

        Raises:
            StoreError: the file cannot be read.
            TypeError: it is no text.
        """
        return await in_thread(self._plain.find_conversations, name_or_id)

    async def conversation_messages(self, conversation_id: str) -> list[ChatMessage]:
        """Return the messages of a conversation, in the order in which they were first saved.

        All branches, hidden messages too; what cannot be read is passed over. None where it is unknown.

        Args:
            conversation_id: its id.

        Raises:
            StoreError: the file cannot be read.
            TypeError: the id is no text.
        """
        return await in_thread(self._plain.conversation_messages, conversation_id)

    async def name_conversation(self, conversation_id: str, name: str | None) -> None:
        """Name a conversation, or take its name away.

        Args:
            conversation_id: which one.
            name: one line of at most 100 characters, which no other conversation has; `None` for none.

        Raises:
            MessageNotFoundError: the store has no such conversation.
            StoreError: it could not be written.
            TypeError: an argument is of the wrong type.
            ValueError: the name is blank, too long, has control characters, begins with `-`, or is that of another
                conversation.
        """
        await in_thread(self._plain.name_conversation, conversation_id, name)

    async def use_conversation(self, conversation_id: str, last_message_id: str) -> None:
        """Note that a conversation is used now, and that it stands at a message, which the next one replies to.

        Saving an exchange does so, too; this is for going to another branch.

        Args:
            conversation_id: which one.
            last_message_id: the id of one of its messages.

        Raises:
            MessageNotFoundError: the store has no such message, or it is not of that conversation.
            StoreError: it could not be written.
            TypeError: an argument is of the wrong type.
        """
        await in_thread(self._plain.use_conversation, conversation_id, last_message_id)

    async def delete_conversation(self, conversation_id: str) -> int:
        """Delete all messages of a conversation, for good.

        The index of the search is written anew, which takes its time where the store is large. Nothing of what was said
        is left in the file and beside it; while others read, this holds once they have closed it.

        Args:
            conversation_id: which one.

        Returns:
            How many messages it had, hidden ones too; 0 where it is unknown.

        Raises:
            StoreError: it could not be done as a whole; calling it again goes on.
            TypeError: the id is no text.
        """
        return await in_thread(self._plain.delete_conversation, conversation_id)

    async def clear(self) -> int:
        """Delete everything, for good, and make the file small.

        Returns:
            How many messages there were, hidden ones too.

        Raises:
            StoreError: it could not be done as a whole; calling it again goes on.
        """
        return await in_thread(self._plain.clear)

    async def search(
        self, query: str, *, limit: int = 20, conversation_id: str | None = None
    ) -> list[ChatMessage]:
        """Find the messages that say all the words of a query, the best ones first.

        Upper and lower case, and accents, are the same; the last letters of a word may be missing. Words of
        languages that are written without spaces are found anywhere in a text, newest first, and words with signs,
        like C++, as they are written.

        Args:
            query: words; those between quotation marks stand beside each other.
            limit: how many messages at most.
            conversation_id: where to look; by default in all conversations.

        Raises:
            StoreError: the file cannot be read.
            TypeError: an argument is of the wrong type.
            ValueError: the query has no word, or the limit is negative.
        """
        return await in_thread(
            lambda: self._plain.search(query, limit=limit, conversation_id=conversation_id)
        )

    async def unreadable_messages(self) -> AsyncIterator[UnreadableMessage]:
        """Go through what the store holds and cannot read, as it is; every message is looked at.

        Raises:
            StoreError: the file cannot be read.
        """
        async for unreadable in in_batches(self._plain.unreadable_messages):
            yield unreadable

    async def close(self) -> None:
        """Close the connections, those of running calls when these have ended. The store can be used again."""
        await in_thread(self._plain.close)

    async def aclose(self) -> None:
        """Do what `close` does, under the name that async libraries give it."""
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._plain)

    def __reduce__(self) -> tuple[Callable[[Path], SQLiteStore], tuple[Path]]:
        return partial(SQLiteStore, timeout=self._timeout), (self.file,)
