"""Conversations in a SQLite file, for one machine.

Strategy: the file is in SQLite's write-ahead mode, so that readers and the one writer never wait for each
other. A thread is read by one recursive query, an exchange is saved in one transaction, which is on the disk
when `save` returns.

Rules:

1. Who may use a connection, and when, stands in `sqlite_connections`, the tables in `sqlite_schema`, how a message
   becomes a row, and a row a message, in `sqlite_rows`, and what is known of conversations in `sqlite_conversations`.
2. Whatever becomes free is overwritten: what a user deletes is gone.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from attrs import asdict

from chatgpt.core.errors import MessageIdTakenError, MessageNotFoundError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.validation import identifier, whole_number
from chatgpt.stores import sqlite_conversations
from chatgpt.stores.conversations import StoredConversation, checked_name
from chatgpt.stores.protocol import MessageStore, check_batch, oldest_first
from chatgpt.stores.search_words import SearchWords, search_words
from chatgpt.stores.sqlite_connections import DEFAULT_TIMEOUT, SQLiteConnections
from chatgpt.stores.sqlite_conversations import conversation_of, standings
from chatgpt.stores.sqlite_rows import (
    COLUMNS,
    Row,
    described,
    key_of,
    message_of_row,
    readable_messages,
    row_of,
)
from chatgpt.stores.sqlite_schema import schema_of
from chatgpt.stores.unreadable import UnreadableMessage, unreadable

T = TypeVar("T")

BATCH: Final = 500
"""How many messages are read at a time where all are wanted."""

_GET: Final = f"SELECT {COLUMNS} FROM messages WHERE id = ?"
# UNION drops what was there before, so a circle ends. CROSS JOIN keeps the order of the walk.
_PATH: Final = f"""
    WITH RECURSIVE thread (number, parent_id) AS (
        SELECT number, parent_id FROM messages WHERE id = ?
        UNION
        SELECT parent.number, parent.parent_id
        FROM thread CROSS JOIN messages AS parent ON parent.id = thread.parent_id
        LIMIT ?
    )
    SELECT {COLUMNS} FROM thread CROSS JOIN messages ON messages.number = thread.number
"""
_REPLIES: Final = f"SELECT {COLUMNS} FROM messages WHERE parent_id = ? ORDER BY number"
_ALL: Final = (
    f"SELECT {COLUMNS}, number FROM messages WHERE number > ? ORDER BY number LIMIT {BATCH}"
)
_SAVE: Final = """
    INSERT INTO messages (id, parent_id, conversation_id, origin, is_hidden, text, record)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE
    SET is_hidden = excluded.is_hidden, text = excluded.text, record = excluded.record
    WHERE origin = excluded.origin
"""


class SQLiteStore(MessageStore):
    """A store in a SQLite file, which many threads and processes of a machine may share.

    Args:
        path: the file; it is made where there is none, in a folder that is there.
        timeout: seconds to wait for other processes that are writing; by default 60.

    Raises:
        StoreError: the file cannot be opened, is damaged, belongs to another program, or to a newer version of
            chatgpt-sdk.

    What was saved is there after a crash of the process or of the machine. Put the file on a disk of the
    machine: SQLite's locks do not work on every network drive. A pickle holds the path.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._connections = SQLiteConnections(path, timeout)
        self._connections.use(lambda _: None)

    @property
    def file(self) -> Path:
        """Where the file is."""
        return self._connections.path

    # --- what a client asks for --------------------------------------------------------------

    def get(self, message_id: str) -> ChatMessage | None:
        """Return a message, or `None` where the store does not hold it, or cannot read it.

        Raises:
            StoreError: the file cannot be read.
            TypeError: the id is no text.
        """
        found = self._messages(_GET, key_of(message_id))
        return found[0] if found else None

    def save(self, messages: Sequence[ChatMessage]) -> None:
        """Save messages in one transaction.

        Raises:
            MessageIdTakenError: it holds other messages under some of the ids; none is saved.
            StoreError: they could not be saved; none is.
            TypeError: a message holds what JSON has no form for.
            ValueError: an id is empty, or no valid Unicode.
        """
        check_batch(messages)
        rows = [row_of(message) for message in messages]
        places = [asdict(standing) for standing in standings(messages)]

        def work(connection: sqlite3.Connection) -> None:
            taken = [
                message.id
                for message, row in zip(messages, rows, strict=True)
                if connection.execute(_SAVE, row).rowcount != 1
            ]
            if taken:
                connection.execute("ROLLBACK")
                raise MessageIdTakenError.of(taken)
            connection.executemany(sqlite_conversations.STAND, places)

        self._write(work)

    def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return a thread from one of its messages to the root, newest first, by one statement.

        A message that cannot be read is passed over.

        Raises:
            StoreError: the file cannot be read.
            TypeError: the id is no text.
        """
        rows = self._rows(
            _PATH, key_of(message_id), -1 if limit is None else min(limit, sys.maxsize)
        )
        messages = readable_messages(rows)
        # Those that were passed over took the place of others.
        if len(messages) < len(rows) == limit:
            messages = readable_messages(self._rows(_PATH, key_of(message_id), -1))[:limit]
        return messages

    def replies(self, message_id: str) -> list[ChatMessage]:
        """Return the messages that reply to one, oldest first.

        Raises:
            StoreError: the file cannot be read.
            TypeError: the id is no text.
        """
        return oldest_first(self._messages(_REPLIES, key_of(message_id)))

    def all_messages(self) -> Iterator[ChatMessage]:
        """Go through all messages, in the order in which they were first saved.

        What cannot be read is passed over (`unreadable_messages`).

        Raises:
            StoreError: the file cannot be read.
        """
        for rows in self._all_rows():
            yield from readable_messages(rows)

    # --- conversations -----------------------------------------------------------------------

    def conversations(self, *, limit: int | None = None) -> list[StoredConversation]:
        """List the conversations, the last used one first, those without a time at the end.

        A conversation is what messages with the same `conversation_id` are.

        Args:
            limit: how many at most; by default all.

        Raises:
            StoreError: the file cannot be read.
            TypeError: the limit is no int.
            ValueError: it is negative.
        """
        most = -1 if limit is None else min(whole_number("limit", limit, 0), sys.maxsize)
        return self._conversations(sqlite_conversations.LIST, most)

    def find_conversations(self, name_or_id: str) -> list[StoredConversation]:
        """Find the conversation of a name; else that of an id; else all whose ids begin so, last used first.

        Args:
            name_or_id: a name, an id, or how ids begin.

        Returns:
            What was found: nothing, one, or several whose ids begin so.

        Raises:
            StoreError: the file cannot be read.
            TypeError: it is no text.
        """
        wanted = key_of(name_or_id)
        found = (self._conversations(statement, wanted) for statement in sqlite_conversations.FIND)
        return next(filter(None, found), [])

    def conversation_messages(self, conversation_id: str) -> list[ChatMessage]:
        """Return the messages of a conversation, in the order in which they were first saved.

        All branches, hidden messages too; what cannot be read is passed over. None where it is unknown.

        Args:
            conversation_id: its id.

        Raises:
            StoreError: the file cannot be read.
            TypeError: the id is no text.
        """
        return self._messages(sqlite_conversations.MESSAGES, key_of(conversation_id))

    def name_conversation(self, conversation_id: str, name: str | None) -> None:
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
        key, checked = key_of(conversation_id), checked_name(name)

        def work(connection: sqlite3.Connection) -> None:
            other = connection.execute(sqlite_conversations.NAMED_SO, (checked, key)).fetchone()
            if other is not None:
                taken_by = other[0].decode("utf-8", "replace")
                raise ValueError(f"The conversation {taken_by!r} has the name {checked!r}.")
            if connection.execute(sqlite_conversations.NAME, (checked, key)).rowcount != 1:
                raise MessageNotFoundError(f"The store has no conversation {conversation_id!r}.")

        self._write(work)

    def use_conversation(self, conversation_id: str, last_message_id: str) -> None:
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
        given = {"id": key_of(conversation_id), "message_id": key_of(last_message_id)}

        def work(connection: sqlite3.Connection) -> None:
            used = {**given, "used_at": sqlite_conversations.now()}  # when it is its turn
            if connection.execute(sqlite_conversations.USE, used).rowcount != 1:
                raise MessageNotFoundError(
                    f"The store has no message {last_message_id!r} in a conversation {conversation_id!r}."
                )

        self._write(work)

    def delete_conversation(self, conversation_id: str) -> int:
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
        key = key_of(conversation_id)
        count = self._write(lambda connection: sqlite_conversations.delete(connection, key))
        self._empty_log()
        return count

    def clear(self) -> int:
        """Delete everything, for good, and make the file small.

        Returns:
            How many messages there were, hidden ones too.

        Raises:
            StoreError: it could not be done as a whole; calling it again goes on.
        """
        count = self._write(sqlite_conversations.delete_all)
        self._connections.write(lambda connection: connection.execute("VACUUM"))
        self._empty_log()
        return count

    # --- more than that ----------------------------------------------------------------------

    def search(
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
        words = search_words(query)
        statement, given = _search_statement(words, identifier("conversation_id", conversation_id))
        return self._messages(statement, *given, min(whole_number("limit", limit, 0), sys.maxsize))

    def unreadable_messages(self) -> Iterator[UnreadableMessage]:
        """Go through what the store holds and cannot read, as it is; every message is looked at.

        Raises:
            StoreError: the file cannot be read.
        """
        for rows in self._all_rows():
            yield from unreadable(rows, message_of_row, described)

    def close(self) -> None:
        """Close the connections, those of running calls when these have ended. The store can be used again."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_connections"):
            self._connections.drop()

    def __repr__(self) -> str:
        return f"<SQLiteStore {str(self.file)!r}>"

    def __reduce__(self) -> tuple[Callable[[Path], SQLiteStore], tuple[Path]]:
        return partial(SQLiteStore, timeout=self._connections.timeout), (self.file,)

    # --- SQLite ------------------------------------------------------------------------------

    def _messages(self, statement: str, *given: object) -> list[ChatMessage]:
        return readable_messages(self._rows(statement, *given))

    def _conversations(self, statement: str, given: object) -> list[StoredConversation]:
        return [conversation_of(row) for row in self._rows(statement, given)]

    def _rows(self, statement: str, *given: object) -> list[Row]:
        return self._connections.use(lambda c: c.execute(statement, given).fetchall())

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work in one transaction. What it raises takes back what it has done."""

        def in_transaction(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            schema_of(connection, str(self.file))
            result = work(connection)
            connection.execute("COMMIT")
            return result

        return self._connections.write(in_transaction)

    def _empty_log(self) -> None:
        """Write what stands in the write-ahead log into the file, as far as readers let it, and cut the log off.

        What readers hold up is done when the file is closed.
        """

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

        self._connections.write(work)

    def _all_rows(self) -> Iterator[list[Row]]:
        number = 0
        while rows := self._connections.use(lambda c: c.execute(_ALL, (number,)).fetchall()):  # noqa: B023
            number = rows[-1][3]
            yield [row[:3] for row in rows]


def _search_statement(
    words: SearchWords, conversation_id: str | None
) -> tuple[str, list[str | bytes]]:
    conditions = ["NOT messages.is_hidden"]
    given: list[str | bytes] = []
    tables, order = "messages", "messages.number DESC"
    if words.match:
        tables = "messages_text JOIN messages ON messages.number = messages_text.rowid"
        order = "messages_text.rank, messages.number DESC"
        conditions.append("messages_text MATCH ?")
        given.append(words.match)
    for part in words.parts:
        conditions.append("instr(lower(messages.text), lower(?))")
        given.append(part)
    if conversation_id is not None:
        conditions.append("messages.conversation_id = ?")
        given.append(key_of(conversation_id))
    statement = (
        f"SELECT {COLUMNS} FROM {tables} WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ?"
    )
    return statement, given
