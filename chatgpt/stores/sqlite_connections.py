"""The connections to a SQLite file: who may use one, and when.

Rules:

1. A connection serves one thread at a time; idle ones are kept for the next one. Threads that write wait for each
   other; processes do so by SQLite's lock, which is less patient.
2. Whatever SQLite raises becomes a `StoreError`. A file that is busy is tried again until `timeout`.
3. No connection outlives a fork: SQLite forbids it, and remembers the locks of a process in places that a child
   inherits. So a fork waits for the calls that are running, and closes the connections. Should one be left, it is
   never touched again in the child, because closing it would give up the locks of the parent.
4. A file that is not the one that was opened is not written: it would be lost.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Condition, Lock, get_ident
from typing import Final, TypeVar

from chatgpt.core.errors import MessageIdTakenError, StoreError
from chatgpt.stores.forks import PATIENCE, look_after
from chatgpt.stores.sqlite_schema import bring_up_to_date

T = TypeVar("T")

DEFAULT_TIMEOUT: Final = 60.0

PATIENCE_OF_SQLITE: Final = 0.05
"""Seconds that SQLite waits by itself: it looks ever more rarely, and who has waited long goes away empty-handed."""

MOST_CONNECTIONS: Final = 32
"""How many connections a store has at most; further threads wait for one."""

_of_parents: Final[list[list[sqlite3.Connection]]] = []
"""Connections of the processes from which this one was forked. They are never touched again."""


class SQLiteConnections:
    """The connections to a file.

    Args:
        path: the file.
        timeout: seconds to wait for other processes that are writing.

    Attributes:
        path, timeout: the same, checked.

    Raises:
        TypeError, ValueError: one of them cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float) -> None:
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
            self.path = Path(path).expanduser().absolute()
        except RuntimeError:
            raise ValueError(f"There is no home folder for {str(path)!r}.") from None
        self.timeout = timeout
        self._idle: list[sqlite3.Connection] = []
        self._identity: tuple[int, int] | None = None
        self._begin_anew()
        look_after(self)

    def close(self) -> None:
        """Close the connections, those of running calls when these have ended; later ones open new ones."""
        with self._turn():  # a fork waits for it
            idle, self._idle, self._identity = self._idle, [], None
            _close_all(idle)

    def drop(self) -> None:
        """Close the connections of a store that is collected: nobody else uses them."""
        _close_all(self._idle)

    # What `stores.forks` asks for.

    def _before_fork(self) -> None:
        end = time.monotonic() + PATIENCE
        # A signal may have interrupted a call of this thread: it cannot be waited for.
        own = get_ident()
        with self._gate:
            self._is_forking = True
            while any(thread != own for thread in self._running) and time.monotonic() < end:
                self._gate.wait(max(end - time.monotonic(), 0))
        _close_all(self._idle)

    def _after_fork(self) -> None:
        with self._gate:
            self._is_forking = False
            self._gate.notify_all()

    def _begin_anew(self) -> None:
        if self._idle:
            _of_parents.append(self._idle)
        self._idle = []
        self._writing = Lock()
        self._gate = Condition()
        self._running: list[int] = []  # the threads that use a connection
        self._is_forking = False
        self._identity = None

    def use(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work with a connection of its own; again, as long as the file is busy.

        Raises:
            StoreError: it could not be done.
        """
        end = time.monotonic() + self.timeout
        while True:
            try:
                return self._try(work)
            except (sqlite3.Error, UnicodeDecodeError) as error:  # of a damaged file's words
                if not _is_busy(error) or time.monotonic() >= end:
                    raise self._failure(error) from error
                time.sleep(random.uniform(0.001, 0.01))  # noqa: S311 - so that two do not meet again

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work that writes, when no other thread does.

        Raises:
            StoreError: it could not be done.
        """
        if not self._writing.acquire(timeout=self.timeout):
            raise StoreError(f"{self.path} was being written for {self.timeout:g} seconds.")
        try:
            return self.use(work)
        finally:
            self._writing.release()

    def _try(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._turn():
            return self._with_idle(work)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Use a connection, when no thread forks and not too many others use one."""
        gate, running = self._gate, self._running
        with gate:
            while self._is_forking or len(running) >= MOST_CONNECTIONS:
                gate.wait()
            running.append(get_ident())
        try:
            yield
        finally:
            with gate:
                running.remove(get_ident())
                gate.notify_all()

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
        except (MessageIdTakenError, sqlite3.OperationalError) as error:
            is_ordinary = isinstance(error, MessageIdTakenError) or _is_busy(error)
            is_usable = is_ordinary and not connection.in_transaction
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
        if identity is not None and _identity_of(self.path) != identity:
            raise StoreError(
                f"{self.path} was deleted or replaced while it was open. Close the store to go on with what is "
                "there now."
            )

    def _connect(self) -> sqlite3.Connection:
        if not self.path.parent.is_dir():
            raise StoreError(f"There is no folder {str(self.path.parent)!r} for {self.path.name}.")
        connection = sqlite3.connect(
            self.path,
            timeout=min(self.timeout, PATIENCE_OF_SQLITE),
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.text_factory = bytes
            bring_up_to_date(connection, str(self.path))
            with closing(connection.execute("PRAGMA journal_mode")) as mode:
                is_ahead = mode.fetchone() == (b"wal",)
            if not is_ahead:  # where a file system cannot do it, the file stays as it is
                connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("PRAGMA synchronous = FULL")
            self._identity = self._identity or _identity_of(self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _failure(self, error: sqlite3.Error | UnicodeDecodeError) -> StoreError:
        code = _code_of(error)
        if code == sqlite3.SQLITE_NOTADB:
            return StoreError(f"{self.path} is no SQLite database; give the path of a new file.")
        if code == sqlite3.SQLITE_CORRUPT or isinstance(error, UnicodeDecodeError):
            return StoreError(
                f"{self.path} is damaged ({error}). Take a copy of it, and of {self.path.name}-wal beside it; "
                "`sqlite3 FILE .recover` gets out what can still be read."
            )
        if _is_busy(error):
            return StoreError(
                f"{self.path} was locked by another process for {self.timeout:g} seconds."
            )
        if "fts5" in str(error):
            return StoreError(
                f"SQLite {sqlite3.sqlite_version} has no full-text search (FTS5) on this machine, which this store "
                "needs."
            )
        return StoreError(f"SQLite cannot use {self.path}: {error}.")


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
