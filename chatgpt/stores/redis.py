"""Conversations in Redis, for clients on many machines.

Strategy: what is asked of Redis, and what the answers mean, is laid down for both twins (`redis_keys`); here it
is sent, and a thread waits for the answer.

Rules:

1. Connections are opened when they are used, kept for the next call, and shared by threads. A call whose
   connection was lost is sent again; all of them may be done twice.
2. Closing waits for the calls that are running, and does not wait itself: the last of them closes what is left.
3. No connection outlives a fork: a child opens its own.
4. Whatever redis-py raises becomes a `StoreError`, without its frames (`redis_address`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from types import TracebackType
from typing import Any, Self, TypeVar

from chatgpt.core.messages import ChatMessage
from chatgpt.core.secrets import wrap
from chatgpt.stores.forks import look_after
from chatgpt.stores.protocol import MessageStore
from chatgpt.stores.redis_address import (
    ClientAddress,
    RedisAddress,
    failures_of_redis,
    redis_package,
    store_error,
)
from chatgpt.stores.redis_keys import (
    DEFAULT_PREFIX,
    Asking,
    Command,
    RedisKeys,
    batches,
    read_messages,
    read_unreadable,
)
from chatgpt.stores.unreadable import UnreadableMessage

T = TypeVar("T")


class RedisStore(MessageStore):
    """A store in Redis, which clients on many machines may share.

    Args:
        url: where the server is: `redis://user:password@host:6379/0`, `rediss://...` with TLS, or
            `unix:///path/of/the/socket`, with redis-py's options after `?`; by default what the environment
            variable `REDIS_URL` says.
        key_prefix: what all its keys begin with, in braces. Stores with other prefixes hold other messages.
        time_to_live: seconds after which a message is forgotten that was neither saved again nor read as part
            of a thread. Reading a thread counts for all of it. Give the same on all machines.

    Raises:
        ConfigurationError: one of them cannot be used, or redis-py is not installed.

    It may be shared by clients and threads. All keys of a prefix are on one server of a cluster; several
    prefixes spread the load. What Redis has acknowledged is as safe as its own settings make it: with
    `appendonly yes` and `appendfsync always` a crash loses nothing.

    A connection is waited for up to 5 seconds and an answer up to 10, unless the URL says otherwise
    (`?socket_connect_timeout=1&socket_timeout=2`). The URL is a secret: a pickle carries none that has a
    password, and reads `REDIS_URL` again where the store had it from there.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key_prefix: str = DEFAULT_PREFIX,
        time_to_live: float | None = None,
    ) -> None:
        given = wrap(url)
        del url
        self._begin(RedisKeys(key_prefix, time_to_live), RedisAddress(given, "redis"), None)

    @classmethod
    def of_client(
        cls,
        client: object,
        *,
        key_prefix: str = DEFAULT_PREFIX,
        time_to_live: float | None = None,
    ) -> Self:
        """Make a store of a client of redis-py, which stays yours to close: for a cluster, for sentinels.

        Args:
            client: a `redis.Redis` or a `redis.RedisCluster`; its timeouts and retries are its own.
            key_prefix: as in `RedisStore`.
            time_to_live: as in `RedisStore`.

        Raises:
            ConfigurationError: one of them cannot be used.
            TypeError: it is another client.
        """
        store = cls.__new__(cls)
        address = ClientAddress(client, "redis")
        store._begin(RedisKeys(key_prefix, time_to_live), address, client)  # noqa: SLF001 - its own class
        return store

    def _begin(
        self, keys: RedisKeys, address: RedisAddress | ClientAddress, client: object
    ) -> None:
        self._keys = keys
        self._address = address
        self._client = client
        self._begin_anew()
        look_after(self)

    # What `stores.forks` asks for.

    def _before_fork(self) -> None: ...

    def _after_fork(self) -> None: ...

    def _begin_anew(self) -> None:
        self._opened: _Opened | None = None
        self._opening = Lock()

    # --- what a client asks for --------------------------------------------------------------

    def get(self, message_id: str) -> ChatMessage | None:
        """Return a message, or `None` where the store does not hold it, or cannot read it."""
        return self._answer(self._keys.get(message_id))

    def save(self, messages: Sequence[ChatMessage]) -> None:
        """Save messages in one round trip, all or none of them.

        Raises:
            MessageIdTakenError: it holds other messages under some of the ids; none is saved.
            StoreError: Redis cannot be reached, or refuses.
            TypeError: a message holds what JSON has no form for.
            ValueError: an id is blank, or no valid Unicode.
        """
        self._answer(self._keys.save(messages))

    def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return a thread from one of its messages to the root, newest first, in one round trip.

        A message that cannot be read is passed over.
        """
        return self._answer(self._keys.path(message_id, limit))

    def replies(self, message_id: str) -> list[ChatMessage]:
        """Return the messages that reply to one, oldest first, in one round trip."""
        return self._answer(self._keys.replies(message_id))

    def all_messages(self) -> Iterator[ChatMessage]:
        """Go through all messages, in the order in which they were first saved.

        What cannot be read is passed over (`unreadable_messages`). Redis looks at every key of its database,
        a thousand at a time.
        """
        for keys in batches(self._answer(self._keys.listing())):
            yield from read_messages(self._answer(self._keys.fetch(keys)))

    # --- more than that ----------------------------------------------------------------------

    def unreadable_messages(self) -> Iterator[UnreadableMessage]:
        """Go through what the store holds and cannot read, as it is; every message is looked at."""
        for keys in batches(self._answer(self._keys.listing())):
            yield from read_unreadable(self._answer(self._keys.fetch(keys)))

    def close(self) -> None:
        """Close the connections, as soon as they are idle. The store can be used again, and opens new ones."""
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if not hasattr(self, "_keys"):  # a debugger shows what could not be made
            return "<RedisStore>"
        return f"<RedisStore {self._keys.key_prefix!r} at {self._address}>"

    def __reduce__(self) -> tuple[Callable[..., RedisStore], tuple[Any, ...]]:
        if self._client is not None:
            raise TypeError("A RedisStore of a client cannot be pickled; make it of a URL.")
        return _recalled, (type(self), self._keys, self._address)

    # --- Redis -------------------------------------------------------------------------------

    def _answer(self, asking: Asking[T]) -> T:
        try:
            command = next(asking)
            while True:
                command = asking.send(self._send(command))
        except StopIteration as end:
            result: T = end.value
            return result

    def _send(self, command: Command) -> Any:
        """Send Redis a command, and wait for the answer: bytes, or lists of them.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        handled = sys.exception()
        opened = self._enter()
        try:
            outcome = opened.client.execute_command(*command, NEVER_DECODE=[])
        except BaseException as error:  # noqa: BLE001 - raised below, where nothing holds a password
            outcome = error
        finally:
            opened.leave()
        if isinstance(outcome, failures_of_redis()):
            outcome = store_error(outcome, handled, self._address)
        if isinstance(outcome, BaseException):
            raise outcome.with_traceback(None)
        return outcome

    def _enter(self) -> _Opened:
        with self._opening:
            if self._opened is None:
                address = self._address
                pool = address.pool() if isinstance(address, RedisAddress) else None
                self._opened = _Opened(pool, self._client)
            self._opened.enter()
            return self._opened


class _Opened:
    """A client, and its connections.

    Args:
        pool: the connections, where they are to be closed.
        client: the client of the caller, where there is one.
    """

    def __init__(self, pool: Any, client: Any) -> None:
        self.client = redis_package().Redis(connection_pool=pool) if client is None else client
        self._pool = pool
        self._running = 0
        self._is_closing = False
        self._lock = Lock()

    def enter(self) -> None:
        """A call begins."""
        with self._lock:
            self._running += 1

    def leave(self) -> None:
        """A call has ended."""
        with self._lock:
            self._running -= 1
        self._close_if_idle()

    def close(self) -> None:
        """Close the connections when none is in use."""
        self._is_closing = True
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._is_closing and not self._running and self._pool is not None:
            self._pool.disconnect()


def _recalled(cls: type[RedisStore], keys: RedisKeys, address: RedisAddress) -> RedisStore:
    store = cls.__new__(cls)
    store._begin(keys, address, None)  # noqa: SLF001 - its own function
    return store
