"""Conversations in a SQLite file, for one machine.

Strategy: the file is in SQLite's write-ahead mode, so that readers and the one writer never wait for each
other. A thread is read by one recursive query, an exchange is saved in one transaction, which is on the disk
when `save` returns.

Rules:

1. What is read is bytes, and is checked (`core.records`): SQLite may hold anything under a damaged page. A message
   that cannot be read is passed over, and left as it is.
2. Who may use a connection, and when, stands in `sqlite_connections`, the tables in `sqlite_schema`.
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

from chatgpt.core.errors import MessageIdTakenError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.records import RecordError, json_of, message_of, origin_of, parsed, record_of
from chatgpt.core.surrogates import lenient
from chatgpt.core.validation import identifier, kind_of, required_identifier, whole_number
from chatgpt.stores.protocol import MessageStore, check_batch, oldest_first
from chatgpt.stores.search_words import SearchWords, search_words
from chatgpt.stores.sqlite_connections import DEFAULT_TIMEOUT, SQLiteConnections
from chatgpt.stores.sqlite_schema import schema_of
from chatgpt.stores.unreadable import UnreadableMessage, readable, unreadable

T = TypeVar("T")

BATCH: Final = 500
"""How many messages are read at a time where all are wanted."""

_COLUMNS: Final = "messages.id, messages.text, messages.record"
_GET: Final = f"SELECT {_COLUMNS} FROM messages WHERE id = ?"
# UNION drops what was there before, so a circle ends. CROSS JOIN keeps the order of the walk.
_PATH: Final = f"""
    WITH RECURSIVE thread (number, parent_id) AS (
        SELECT number, parent_id FROM messages WHERE id = ?
        UNION
        SELECT parent.number, parent.parent_id
        FROM thread CROSS JOIN messages AS parent ON parent.id = thread.parent_id
        LIMIT ?
    )
    SELECT {_COLUMNS} FROM thread CROSS JOIN messages ON messages.number = thread.number
"""
_REPLIES: Final = f"SELECT {_COLUMNS} FROM messages WHERE parent_id = ? ORDER BY number"
_ALL: Final = (
    f"SELECT {_COLUMNS}, number FROM messages WHERE number > ? ORDER BY number LIMIT {BATCH}"
)
_SAVE: Final = """
    INSERT INTO messages (id, parent_id, conversation_id, origin, is_hidden, text, record)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE
    SET is_hidden = excluded.is_hidden, text = excluded.text, record = excluded.record
    WHERE origin = excluded.origin
"""

Row = tuple[object, object, object]
"""The columns `id`, `text` and `record`, as SQLite has them."""


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
        """Return a message, or `None` where the store does not hold it, or cannot read it."""
        found = self._messages(_GET, _key(message_id))
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
        rows = [_row_of(message) for message in messages]

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            schema_of(connection, str(self.file))
            taken = [
                message.id
                for message, row in zip(messages, rows, strict=True)
                if connection.execute(_SAVE, row).rowcount != 1
            ]
            if taken:
                connection.execute("ROLLBACK")
                raise MessageIdTakenError.of(taken)
            connection.execute("COMMIT")

        self._connections.write(work)

    def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return a thread from one of its messages to the root, newest first, by one statement.

        A message that cannot be read is passed over.
        """
        rows = self._rows(_PATH, _key(message_id), -1 if limit is None else min(limit, sys.maxsize))
        messages = _readable(rows)
        if (
            len(messages) < len(rows) == limit
        ):  # those that were passed over took the place of others
            messages = _readable(self._rows(_PATH, _key(message_id), -1))[:limit]
        return messages

    def replies(self, message_id: str) -> list[ChatMessage]:
        """Return the messages that reply to one, oldest first."""
        return oldest_first(self._messages(_REPLIES, _key(message_id)))

    def all_messages(self) -> Iterator[ChatMessage]:
        """Go through all messages, in the order in which they were first saved.

        What cannot be read is passed over (`unreadable_messages`).
        """
        for rows in self._all_rows():
            yield from _readable(rows)

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
            TypeError: an argument is of the wrong type.
            ValueError: the query has no word, or the limit is negative.
        """
        words = search_words(query)
        statement, given = _search_statement(words, identifier("conversation_id", conversation_id))
        return self._messages(statement, *given, min(whole_number("limit", limit, 0), sys.maxsize))

    def unreadable_messages(self) -> Iterator[UnreadableMessage]:
        """Go through what the store holds and cannot read, as it is; every message is looked at."""
        for rows in self._all_rows():
            yield from unreadable(rows, _message, _described)

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
        return _readable(self._rows(statement, *given))

    def _rows(self, statement: str, *given: object) -> list[Row]:
        return self._connections.use(lambda c: c.execute(statement, given).fetchall())

    def _all_rows(self) -> Iterator[list[Row]]:
        number = 0
        while rows := self._connections.use(lambda c: c.execute(_ALL, (number,)).fetchall()):  # noqa: B023
            number = rows[-1][3]
            yield [row[:3] for row in rows]


def _key(value: str) -> str | bytes:
    """An id as a column holds it. What is no valid Unicode is not in one, and no text is equal to bytes."""
    if not isinstance(value, str):
        raise TypeError(f"The id of a message is a str, not {kind_of(value)}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


# --- rows and messages -----------------------------------------------------------------------


def _row_of(message: ChatMessage) -> tuple[str | bytes | bool | None, ...]:
    """The columns of a message, in the order of `_SAVE`."""
    record = record_of(message)
    message_id, text = required_identifier("id", record.pop("id")), message.text
    searched = lenient(text)
    if searched == text:
        del record["text"]
    parent_id, conversation_id = message.parent_message_id, message.conversation_id
    return (
        message_id,
        None if parent_id is None else _key(parent_id),
        None if conversation_id is None else _key(conversation_id),
        origin_of(message),
        message.is_hidden,
        searched,
        json_of(record, message_id),
    )


def _message(row: Row) -> ChatMessage:
    """Make the message of a row.

    Raises:
        RecordError: it cannot be read.
    """
    message_id, text, line = map(_bytes, row)
    record = parsed(line)
    if isinstance(record, dict):
        try:
            record.setdefault("text", text.decode())
            record["id"] = message_id.decode()
        except UnicodeDecodeError:
            raise RecordError("its id or text is no valid UTF-8") from None
    return message_of(record)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else repr(value).encode()


def _described(row: Row) -> tuple[str, bytes]:
    message_id, _, record = map(_bytes, row)
    return message_id.decode("utf-8", "replace"), record


def _readable(rows: Sequence[Row]) -> list[ChatMessage]:
    return list(readable(rows, _message, _described))


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
        given.append(_key(conversation_id))
    statement = (
        f"SELECT {_COLUMNS} FROM {tables} WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ?"
    )
    return statement, given
