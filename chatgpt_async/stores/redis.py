"""Conversations in Redis, for clients on many machines: `chatgpt.stores.redis`, awaited.

Strategy: what is asked of Redis, and what the answers mean, is laid down for both twins
(`chatgpt.stores.redis_keys`). Here it is sent: on asyncio by `redis.asyncio`, on trio, which redis-py does not
know, by the store of the sync twin in a worker thread.

Rules, beside those of `chatgpt.stores.redis`:

1. Connections belong to the event loop in which they were opened. What a loop that has ended left behind is
   dropped.
2. How many there may be is counted here: redis-py's pool would refuse a call where another one has to wait.
3. A cancelled call does not wait for its answer; what it has begun to save, Redis may still save: all or nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import anyio
from anyio import to_thread
from anyio.lowlevel import current_token

from chatgpt.core.errors import ConfigurationError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.secrets import wrap
from chatgpt.stores.redis import RedisStore as PlainRedisStore
from chatgpt.stores.redis_address import (
    ClientAddress,
    RedisAddress,
    failures_of_redis,
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
from chatgpt_async.closing import completed_close
from chatgpt_async.stores.protocol import MessageStore

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

    It may be shared by clients, tasks and event loops; both twins find the messages of each other. The rest is
    as in `chatgpt.RedisStore`.
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
        address = RedisAddress(given, "redis.asyncio")
        self._begin(RedisKeys(key_prefix, time_to_live), address, None)

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
            client: a `redis.asyncio.Redis` or a `redis.asyncio.RedisCluster`, for asyncio alone; its timeouts
                and retries are its own.
            key_prefix: as in `RedisStore`.
            time_to_live: in seconds, as in `RedisStore`; by default for ever.

        Raises:
            ConfigurationError: one of them cannot be used.
            TypeError: it is another client.
        """
        store = cls.__new__(cls)
        address = ClientAddress(client, "redis.asyncio")
        store._begin(RedisKeys(key_prefix, time_to_live), address, client)  # noqa: SLF001 - its own class
        return store

    def _begin(
        self, keys: RedisKeys, address: RedisAddress | ClientAddress, client: object
    ) -> None:
        self._keys = keys
        self._address = address
        self._client = client
        self._by_loop: dict[asyncio.AbstractEventLoop, _Opened] = {}
        self._plain: PlainRedisStore | None = None

    # --- what a client asks for --------------------------------------------------------------

    async def get(self, message_id: str) -> ChatMessage | None:
        """Return a message, or `None` where the store does not hold it, or cannot read it.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        return await self._answer(self._keys.get(message_id))

    async def save(self, messages: Sequence[ChatMessage]) -> None:
        """Save messages in one round trip, all or none of them.

        Raises:
            MessageIdTakenError: it holds other messages under some of the ids; none is saved.
            StoreError: Redis cannot be reached, or refuses.
            TypeError: a message holds what JSON has no form for.
            ValueError: an id is blank, or no valid Unicode.
        """
        await self._answer(self._keys.save(messages))

    async def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return a thread from one of its messages to the root, newest first, in one round trip.

        A message that cannot be read is passed over.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        return await self._answer(self._keys.path(message_id, limit))

    async def replies(self, message_id: str) -> list[ChatMessage]:
        """Return the messages that reply to one, oldest first, in one round trip.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        return await self._answer(self._keys.replies(message_id))

    async def all_messages(self) -> AsyncIterator[ChatMessage]:
        """Go through all messages, in the order in which they were first saved.

        What cannot be read is passed over (`unreadable_messages`). Redis looks at every key of its database,
        a thousand at a time.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        for keys in batches(await self._answer(self._keys.listing())):
            for message in read_messages(await self._answer(self._keys.fetch(keys))):
                yield message

    # --- more than that ----------------------------------------------------------------------

    async def unreadable_messages(self) -> AsyncIterator[UnreadableMessage]:
        """Go through what the store holds and cannot read, as it is; every message is looked at.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        for keys in batches(await self._answer(self._keys.listing())):
            for unreadable in read_unreadable(await self._answer(self._keys.fetch(keys))):
                yield unreadable

    async def aclose(self) -> None:
        """Close the connections of the running event loop, as soon as they are idle.

        The store can be used again, and opens new ones.
        """
        self._drop_ended()
        loop = _asyncio_loop()
        if loop is not None:
            opened = self._by_loop.pop(loop, None)
            if opened is not None:
                await opened.aclose()
        elif self._plain is not None:
            self._plain.close()  # what this takes is no time

    async def close(self) -> None:
        """The same as `aclose`."""
        await self.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        if not hasattr(self, "_keys"):  # a debugger shows what could not be made
            return "<RedisStore>"
        return f"<RedisStore {self._keys.key_prefix!r} at {self._address}>"

    def __reduce__(self) -> tuple[Callable[..., RedisStore], tuple[Any, ...]]:
        if self._client is not None:
            raise TypeError("A RedisStore of a client cannot be pickled; make it of a URL.")
        return _recalled, (type(self), self._keys, self._address)

    # --- Redis -------------------------------------------------------------------------------

    async def _answer(self, asking: Asking[T]) -> T:
        try:
            command = next(asking)
            while True:
                command = asking.send(await self._send(command))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _send(self, command: Command) -> Any:
        """Send Redis a command, and wait for the answer.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        handled = sys.exception()
        loop = _asyncio_loop()
        if loop is None:
            send = self._on_trio()._connections.send  # noqa: SLF001 - the twin's
            return await to_thread.run_sync(send, command, abandon_on_cancel=True)
        opened = self._opened_in(loop)
        try:
            outcome = await opened.send(command)
        except BaseException as error:  # noqa: BLE001 - raised below, where nothing holds a password
            outcome = error
        if isinstance(outcome, failures_of_redis()):
            outcome = store_error(outcome, handled, self._address)
        if isinstance(outcome, BaseException):
            raise outcome.with_traceback(None)
        return outcome

    def _opened_in(self, loop: asyncio.AbstractEventLoop) -> _Opened:
        opened = self._by_loop.get(loop)
        if opened is None:
            self._drop_ended()
            address = self._address
            pool = address.pool() if isinstance(address, RedisAddress) else None
            opened = self._by_loop.setdefault(loop, _Opened(pool, self._client))
        return opened

    def _drop_ended(self) -> None:
        for loop in [*self._by_loop]:  # other threads may do the same
            if loop.is_closed():
                self._by_loop.pop(loop, None)

    def _on_trio(self) -> PlainRedisStore:
        if isinstance(self._address, ClientAddress):
            raise ConfigurationError(
                "A client of redis.asyncio works on asyncio alone; on trio, make the store of a URL."
            )
        if self._plain is None:
            url = cast("str", self._address.url)  # wrapped, as it is
            self._plain = PlainRedisStore(
                url, key_prefix=self._keys.key_prefix, time_to_live=self._keys.time_to_live
            )
        return self._plain


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """The running event loop, or `None` where it is one of trio."""
    loop = current_token().native_token
    return loop if isinstance(loop, asyncio.AbstractEventLoop) else None


class _Opened:
    """A client, and its connections, in one event loop.

    Args:
        pool: the connections, where they are to be closed.
        client: the client of the caller, where there is one.
    """

    def __init__(self, pool: Any, client: Any) -> None:
        if client is None:
            from redis.asyncio import Redis

            client = Redis(connection_pool=pool)
        self._client = client
        self._pool = pool
        self._free: anyio.Semaphore | None = None
        if pool is not None:
            self._free = anyio.Semaphore(pool.max_connections, fast_acquire=True)
            pool.max_connections = sys.maxsize  # counted here
        self._running = 0
        self._is_closing = False

    async def send(self, command: Command) -> Any:
        """Send a command, and wait for the answer."""
        self._running += 1
        try:
            if self._free is None:
                return await self._client.execute_command(*command, NEVER_DECODE=[])
            async with self._free:
                return await self._client.execute_command(*command, NEVER_DECODE=[])
        finally:
            self._running -= 1
            await self._close_if_idle()

    async def aclose(self) -> None:
        """Close the connections when none is in use."""
        self._is_closing = True
        await self._close_if_idle()

    async def _close_if_idle(self) -> None:
        if self._is_closing and not self._running and self._pool is not None:
            await completed_close(self._pool.disconnect())


def _recalled(cls: type[RedisStore], keys: RedisKeys, address: RedisAddress) -> RedisStore:
    store = cls.__new__(cls)
    store._begin(keys, address, None)  # noqa: SLF001 - its own function
    return store
