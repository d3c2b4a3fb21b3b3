"""Conversations in a SQLite file, for one machine.

Strategy: the file is in SQLite's write-ahead mode, so that readers and the one writer never wait for each
other. A thread is read by one recursive query, an exchange is saved in one transaction, which is on the disk
when `save` returns.

Rules:

1. A connection serves one thread at a time; idle ones are kept for the next one. The threads of a process wait
   for each other before they write; processes do so by SQLite's lock, which is less patient.
2. Whatever SQLite raises becomes a `StoreError`. A file that is busy is tried again until `timeout`.
3. SQLite may hold anything under a damaged page: what is read is bytes, and is checked (`core.records`). A
   message that cannot be read is passed over, and left as it is.
4. No connection outlives a fork: SQLite forbids it, and remembers the locks of a process in places that a child
   inherits. So a fork waits for the calls that are running, and closes the connections. Should one be left, it is
   never touched again in the child, because closing it would give up the locks of the parent.
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from threading import Condition, Lock, get_ident
from types import TracebackType
from typing import Final, Self, TypeVar

from chatgpt.core.errors import MessageIdTakenError, StoreError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.records import RecordError, json_of, message_of, origin_of, parsed, record_of
from chatgpt.core.surrogates import lenient
from chatgpt.core.validation import identifier, kind_of, required_identifier, whole_number
from chatgpt.stores.forks import PATIENCE, look_after
from chatgpt.stores.protocol import MessageStore, check_batch, oldest_first
from chatgpt.stores.search_words import SearchWords, search_words
from chatgpt.stores.sqlite_schema import bring_up_to_date, schema_of
from chatgpt.stores.unreadable import UnreadableMessage, readable, unreadable

T = TypeVar("T")

DEFAULT_TIMEOUT: Final = 60.0
MOST_CONNECTIONS: Final = 32
"""How many connections a store has at most; further threads wait for one."""

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

_of_parents: Final[list[list[sqlite3.Connection]]] = []
"""Connections of the processes from which this one was forked. They are never touched again."""

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
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path must be a str or a Path, not {type(path).__name__}.")
        if str(path) in {"", ":memory:"} or "\0" in str(path):
            raise ValueError(
                f"path must be that of a file, not {str(path)!r}; for messages in memory take a MemoryStore."
            )
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout must be a number of seconds, not {type(timeout).__name__}.")
        if not 0 <= timeout < 1e6:
            raise ValueError(
                f"timeout must be at least 0 seconds and below 1,000,000, not {timeout}."
            )
        try:
            self._path = Path(path).expanduser().absolute()
        except RuntimeError:
            raise ValueError(f"There is no home folder for {str(path)!r}.") from None
        self._timeout = timeout
        self._idle: list[sqlite3.Connection] = []
        self._begin_anew()
        look_after(self)
        self._with_connection(lambda _: None)

    # What `stores.forks` asks for.

    def _before_fork(self) -> None:
        end = time.monotonic() + PATIENCE
        own = (
            get_ident()
        )  # a signal may have interrupted a call of this thread: it cannot be waited for
        with self._gate:
            self._is_forking = True
            while any(thread != own for thread in self._running) and time.monotonic() < end:
                self._gate.wait(PATIENCE)
        _close_all(self._idle)

    def _after_fork(self) -> None:
        with self._gate:
            self._is_forking = False
            self._gate.notify_all()

    def _begin_anew(self) -> None:
        _of_parents.append(self._idle)
        self._idle = []
        self._writing = Lock()
        self._gate = Condition()
        self._running: list[int] = []  # the threads that use a connection
        self._is_forking = False
        self._identity: tuple[int, int] | None = None

    @property
    def file(self) -> Path:
        """Where the file is."""
        return self._path

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
            schema_of(connection, str(self._path))
            taken = [
                message.id
                for message, row in zip(messages, rows, strict=True)
                if connection.execute(_SAVE, row).rowcount != 1
            ]
            if taken:
                connection.execute("ROLLBACK")
                raise MessageIdTakenError.of(taken)
            connection.execute("COMMIT")

        if not self._writing.acquire(timeout=self._timeout):
            raise StoreError(f"{self._path} was being written for {self._timeout:g} seconds.")
        try:
            self._with_connection(work)
        finally:
            self._writing.release()

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
        idle, self._idle, self._identity = self._idle, [], None
        _close_all(idle)

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
        if hasattr(self, "_idle"):
            self.close()

    def __repr__(self) -> str:
        return f"<SQLiteStore {str(self._path)!r}>"

    def __reduce__(self) -> tuple[Callable[[Path], SQLiteStore], tuple[Path]]:
        return partial(SQLiteStore, timeout=self._timeout), (self._path,)

    # --- SQLite ------------------------------------------------------------------------------

    def _messages(self, statement: str, *given: object) -> list[ChatMessage]:
        return _readable(self._rows(statement, *given))

    def _rows(self, statement: str, *given: object) -> list[Row]:
        return self._with_connection(lambda c: c.execute(statement, given).fetchall())

    def _all_rows(self) -> Iterator[list[Row]]:
        number = 0
        while rows := self._with_connection(lambda c: c.execute(_ALL, (number,)).fetchall()):  # noqa: B023
            number = rows[-1][3]
            yield [row[:3] for row in rows]

    def _with_connection(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work with a connection of its own; again, as long as the file is busy.

        Raises:
            StoreError: it could not be done.
        """
        end = time.monotonic() + self._timeout
        while True:
            try:
                return self._try(work)
            except (
                sqlite3.Error,
                UnicodeDecodeError,
            ) as error:  # the latter in the words of a damaged file
                if not _is_busy(error) or time.monotonic() >= end:
                    raise self._failure(error) from error
                time.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - so that two do not meet again

    def _try(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._gate:
            while self._is_forking or len(self._running) >= MOST_CONNECTIONS:
                self._gate.wait()
            self._running.append(get_ident())
        try:
            return self._with_idle(work)
        finally:
            with self._gate:
                self._running.remove(get_ident())
                self._gate.notify_all()

    def _with_idle(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._check_file()
        idle = self._idle
        try:
            connection = idle.pop()
        except IndexError:
            connection = self._connect()
        is_usable = False
        try:
            result = work(connection)
            is_usable = True
        except MessageIdTakenError:
            is_usable = True
            raise
        finally:
            if is_usable and idle is self._idle:
                idle.append(connection)
            else:  # what it has begun is given up
                connection.close()
        return result

    def _check_file(self) -> None:
        """Check that the file is still the one that was opened: what is written into another one is lost.

        Raises:
            StoreError: it is not.
        """
        identity = self._identity
        if identity is not None and _identity_of(self._path) != identity:
            raise StoreError(
                f"{self._path} was deleted or replaced while it was open. Close the store to go on with what is "
                "there now."
            )

    def _connect(self) -> sqlite3.Connection:
        if not self._path.parent.is_dir():
            raise StoreError(
                f"There is no folder {str(self._path.parent)!r} for {self._path.name}."
            )
        connection = sqlite3.connect(
            self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )
        try:
            connection.text_factory = bytes
            bring_up_to_date(connection, str(self._path))
            with closing(connection.execute("PRAGMA journal_mode")) as mode:
                is_ahead = mode.fetchone() == (b"wal",)
            if not is_ahead:  # where a file system cannot do it, the file stays as it is
                connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("PRAGMA synchronous = FULL")
            self._identity = self._identity or _identity_of(self._path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _failure(self, error: sqlite3.Error | UnicodeDecodeError) -> StoreError:
        code = _code_of(error)
        if code == sqlite3.SQLITE_NOTADB:
            return StoreError(f"{self._path} is no SQLite database; give the path of a new file.")
        if code == sqlite3.SQLITE_CORRUPT or isinstance(error, UnicodeDecodeError):
            return StoreError(
                f"{self._path} is damaged ({error}). Take a copy of it, and of {self._path.name}-wal beside it; "
                "`sqlite3 FILE .recover` gets out what can still be read."
            )
        if _is_busy(error):
            return StoreError(
                f"{self._path} was locked by another process for {self._timeout:g} seconds."
            )
        if "fts5" in str(error):
            return StoreError(
                f"SQLite {sqlite3.sqlite_version} has no full-text search (FTS5) on this machine, which this store "
                "needs."
            )
        return StoreError(f"SQLite cannot use {self._path}: {error}.")


def _identity_of(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one under the same name; `None` where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _close_all(connections: list[sqlite3.Connection]) -> None:
    """Close connections that a call may take at the same moment: each belongs to whoever pops it."""
    with suppress(IndexError):
        while True:
            connections.pop().close()


def _code_of(error: Exception) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _is_busy(error: Exception) -> bool:
    # SQLITE_PROTOCOL: many opened the file at the same moment, and one was too slow.
    return _code_of(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


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
