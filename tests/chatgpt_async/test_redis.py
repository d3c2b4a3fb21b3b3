"""What is of the async `RedisStore` alone: loops, cancelled calls, clients. The rest: tests/stores/test_redis.py."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import anyio
import pytest
import redis
import redis.asyncio

from chatgpt import ChatGPTAPI, ChatMessage, ConfigurationError, StoreError
from chatgpt.core.errors import MessageIdTakenError
from chatgpt.stores.redis import RedisStore as PlainRedisStore
from chatgpt.testing import ChatGPTServer
from chatgpt_async import ChatGPTAPI as AsyncChatGPTAPI
from chatgpt_async.stores.redis import RedisStore
from tests.redis_server import CountingProxy, RedisServer, until
from tests.stepping import thread_of
from tests.test_secrecy import check, shown

pytestmark = pytest.mark.anyio

MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
async def store(
    anyio_backend: str, redis_server: RedisServer, key_prefix: str
) -> AsyncIterator[RedisStore]:
    async with RedisStore(redis_server.url, key_prefix=key_prefix) as store:
        yield store


def message(message_id: str, parent_id: str | None = None) -> ChatMessage:
    return ChatMessage(
        id=message_id, text=message_id, parent_message_id=parent_id, created_at=MOMENT
    )


async def test_a_conversation(
    store: RedisStore, chatgpt_server: ChatGPTServer, redis_server: RedisServer, key_prefix: str
) -> None:
    """Both twins find the messages of each other."""
    options: dict[str, Any] = {"api_key": "sk-test", "api_base_url": chatgpt_server.base_url}
    async with AsyncChatGPTAPI(**options, message_store=store) as client:
        first = await client.send_message("hi")
        second = await client.send_message("again", parent_message_id=first.id)
        assert len(await client.thread(second.id)) == 4
    with (
        PlainRedisStore(redis_server.url, key_prefix=key_prefix) as plain,
        ChatGPTAPI(**options, message_store=plain) as sync_client,
    ):
        thread = sync_client.thread(second.id)
    assert thread == (await store.path(second.id))[::-1]


async def test_a_store_of_the_sync_twin(
    chatgpt_server: ChatGPTServer, redis_server: RedisServer, key_prefix: str
) -> None:
    with PlainRedisStore(redis_server.url, key_prefix=key_prefix) as plain:
        async with AsyncChatGPTAPI(
            api_key="sk-test", api_base_url=chatgpt_server.base_url, message_store=plain
        ) as client:
            reply = await client.send_message("hi")
            assert len(await client.thread(reply.id)) == 2


async def test_cancelled_calls_leave_the_rest_usable(
    redis_server: RedisServer, key_prefix: str, anyio_backend: str
) -> None:
    """However often and wherever it happens: no answer comes to another call, none is lost."""
    chance = random.Random(5)
    url = f"{redis_server.url}?max_connections=4"
    async with RedisStore(url, key_prefix=key_prefix) as store:
        thread = thread_of([str(number) for number in range(200)])
        await store.save(thread)
        begin = time.perf_counter()
        await store.path("m199")
        usual = time.perf_counter() - begin
        finished = 0

        async def work(number: int) -> None:
            nonlocal finished
            for turn in range(15):
                with anyio.move_on_after(chance.uniform(0, 8 * usual)):
                    index = chance.randrange(200)
                    found = await store.path(f"m{index}")
                    assert [each.id for each in found] == [f"m{i}" for i in range(index, -1, -1)]
                    await store.save([message(f"{number}.{turn}"), message(f"{number}.{turn}.a")])
                    finished += 1

        async with anyio.create_task_group() as group:
            for number in range(12):
                group.start_soon(work, number)
        assert 0 < finished < 180
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                for number in range(8):
                    group.start_soon(store.path, f"m{number}")
        saved = [each.id async for each in store.all_messages()][200:]
        assert len(saved) >= 2 * finished
        assert {each for each in saved if f"{each}.a" in saved} == set(saved[::2])
        for opened in store._by_loop.values():
            assert opened._pool._in_use_connections == set()
            assert len(opened._pool._available_connections) <= 4


async def test_more_tasks_than_connections(redis_server: RedisServer, key_prefix: str) -> None:
    with CountingProxy(redis_server.port) as proxy:
        async with RedisStore(f"{proxy.url}?max_connections=3", key_prefix=key_prefix) as store:
            async with anyio.create_task_group() as group:
                for number in range(100):
                    group.start_soon(store.save, [message(str(number))])
            assert len([each async for each in store.all_messages()]) == 100
        assert proxy.connections <= 3


async def test_one_of_many_tasks_wins(store: RedisStore) -> None:
    won: list[int] = []

    async def work(number: int) -> None:
        try:
            await store.save([ChatMessage(id="same", text="", conversation_id=str(number))])
            won.append(number)
        except MessageIdTakenError:
            pass

    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(work, number)
    assert len(won) == 1


async def test_closing_waits_for_calls(
    redis_server: RedisServer, key_prefix: str, anyio_backend: str
) -> None:
    with redis.Redis.from_url(redis_server.url) as raw:
        before = len(raw.client_list())
        store = RedisStore(redis_server.url, key_prefix=key_prefix)
        await store.save([message("a")])
        raw.client_pause(300, all=True)
        found: list[ChatMessage | None] = []

        async def work() -> None:
            found.append(await store.get("a"))

        async with anyio.create_task_group() as group:
            group.start_soon(work)
            await anyio.sleep(0.05)
            with anyio.fail_after(0.2):
                await store.close()
            assert found == []
        assert found == [message("a")]
        until(lambda: len(raw.client_list()) <= before)


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_one_loop_after_the_other(redis_server: RedisServer, key_prefix: str, backend: str) -> None:
    """What a loop left behind is dropped; what another one has is left alone."""
    with redis.Redis.from_url(redis_server.url) as raw:
        before = len(raw.client_list())
        store = RedisStore(redis_server.url, key_prefix=key_prefix)
        for turn in range(4):
            anyio.run(store.save, [message(str(turn))], backend=backend)
        assert len(store._by_loop) == (1 if backend == "asyncio" else 0)
        gc.collect()
        until(lambda: len(raw.client_list()) <= before + 1)
        both = ("asyncio", "trio")
        assert [len(anyio.run(store.path, "3", backend=each)) for each in both] == [1, 1]
        for each in both:
            anyio.run(store.aclose, backend=each)
        assert store._by_loop == {}
        del store
        gc.collect()


async def test_a_timeout_of_the_caller_shows_no_password(
    key_prefix: str, anyio_backend: str
) -> None:
    """It is cancelled while it waits for the answer to its password."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    url = f"redis://:canary-password@127.0.0.1:{port}?socket_timeout=1"
    store = RedisStore(url, key_prefix=key_prefix)
    with pytest.raises(TimeoutError) as caught:
        with anyio.fail_after(0.2):
            await store.get("x")
    del url
    check(shown(caught.value))
    await listener.aclose()
    await store.aclose()


# --- clients ---------------------------------------------------------------------------------


async def test_clients(
    redis_server: RedisServer, redis_cluster: RedisServer, key_prefix: str, anyio_backend: str
) -> None:
    clients: list[Any] = [
        redis.asyncio.Redis.from_url(redis_server.url, decode_responses=True),
        redis.asyncio.RedisCluster.from_url(redis_cluster.url),
    ]
    thread = thread_of([str(number) for number in range(600)])
    for client in clients:
        store = RedisStore.of_client(client, key_prefix=key_prefix, time_to_live=100)
        if anyio_backend == "trio":
            with pytest.raises(ConfigurationError, match="works on asyncio alone"):
                await store.get("x")
            continue
        await store.save(thread)
        assert await store.path("m599") == thread[::-1]
        assert len(await store.replies("m1")) == 1
        assert [each async for each in store.all_messages()] == thread
        with pytest.raises(MessageIdTakenError):
            await store.save([message("m5", "m1")])
        await store.aclose()
        assert await client.ping()
        await client.aclose()


def test_clients_of_the_other_twin(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        with pytest.raises(
            TypeError, match=r"must be a redis.asyncio.Redis .* not a redis.client.Redis"
        ):
            RedisStore.of_client(client)
    with pytest.raises(TypeError, match=r"must be a redis.Redis or .* not a redis.asyncio.client"):
        PlainRedisStore.of_client(redis.asyncio.Redis())


async def test_a_loop_is_not_blocked(redis_server: RedisServer, key_prefix: str) -> None:
    with redis.Redis.from_url(redis_server.url) as raw:
        async with RedisStore(redis_server.url, key_prefix=key_prefix) as store:
            await store.save([message("a")])
            raw.client_pause(200, all=True)
            ticks = count()
            async with anyio.create_task_group() as group:

                async def tick() -> None:
                    while True:
                        next(ticks)
                        await anyio.sleep(0.01)

                group.start_soon(tick)
                assert await store.get("a") is not None
                group.cancel_scope.cancel()
            assert next(ticks) > 5


async def test_tasks_that_asyncio_cancels(store: RedisStore, anyio_backend: str) -> None:
    if anyio_backend != "asyncio":
        pytest.skip("of asyncio alone")
    await store.save(thread_of([str(number) for number in range(100)]))
    chance = random.Random(7)
    for _ in range(60):
        tasks = [asyncio.create_task(store.path(f"m{index}")) for index in range(0, 100, 20)]
        await asyncio.sleep(chance.uniform(0, 0.003))
        for task in tasks[::2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        for index, each in zip(range(0, 100, 20), found, strict=True):
            if isinstance(each, BaseException):
                assert isinstance(each, asyncio.CancelledError)
            else:
                assert len(each) == index + 1
    assert len(await store.path("m99")) == 100


async def test_a_server_that_is_not_there(key_prefix: str) -> None:
    store = RedisStore("redis://127.0.0.1:1", key_prefix=key_prefix)
    with pytest.raises(StoreError, match="Redis at 127.0.0.1:1 failed: "):
        async for _ in store.all_messages():
            raise AssertionError
    await store.aclose()
