"""Conversations in Redis, for clients on many machines.

Strategy: what is asked of Redis, and what the answers mean, is laid down for both twins (`redis_keys`); here it
is sent, and a thread waits for the answer.

Rules:

1. The connections are those of `redis_connections`. All that is sent may be done twice.
2. No connection outlives a fork: a child opens its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from chatgpt.core.messages import ChatMessage
from chatgpt.core.secrets import wrap
from chatgpt.stores.forks import look_after
from chatgpt.stores.protocol import MessageStore
from chatgpt.stores.redis_address import ClientAddress, RedisAddress
from chatgpt.stores.redis_connections import RedisConnections
from chatgpt.stores.redis_keys import (
    DEFAULT_PREFIX,
    Asking,
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
            of a thread; by default never. Reading a thread counts for all of it. Give the same on all machines.

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
            time_to_live: in seconds, as in `RedisStore`; by default for ever.

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
        self._connections = RedisConnections(self._address, self._client)

    # --- what a client asks for --------------------------------------------------------------

    def get(self, message_id: str) -> ChatMessage | None:
        """Return a message, or `None` where the store does not hold it, or cannot read it.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
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

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        return self._answer(self._keys.path(message_id, limit))

    def replies(self, message_id: str) -> list[ChatMessage]:
        """Return the messages that reply to one, oldest first, in one round trip.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        return self._answer(self._keys.replies(message_id))

    def all_messages(self) -> Iterator[ChatMessage]:
        """Go through all messages, in the order in which they were first saved.

        What cannot be read is passed over (`unreadable_messages`). Redis looks at every key of its database,
        a thousand at a time.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        for keys in batches(self._answer(self._keys.listing())):
            yield from read_messages(self._answer(self._keys.fetch(keys)))

    # --- more than that ----------------------------------------------------------------------

    def unreadable_messages(self) -> Iterator[UnreadableMessage]:
        """Go through what the store holds and cannot read, as it is; every message is looked at.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        for keys in batches(self._answer(self._keys.listing())):
            yield from read_unreadable(self._answer(self._keys.fetch(keys)))

    def close(self) -> None:
        """Close the connections, as soon as they are idle. The store can be used again, and opens new ones."""
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
                command = asking.send(self._connections.send(command))
        except StopIteration as end:
            result: T = end.value
            return result


def _recalled(cls: type[RedisStore], keys: RedisKeys, address: RedisAddress) -> RedisStore:
    store = cls.__new__(cls)
    store._begin(keys, address, None)  # noqa: SLF001 - its own function
    return store
