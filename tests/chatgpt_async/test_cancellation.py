"""A call is cancelled in every phase: at once, its connection closed, nothing stored, no task left."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import httpx2
import pytest
import trio

from chatgpt.testing import ChatGPTServer, Fault
from chatgpt_async import (
    ChatGPTAPI,
    ChatMessage,
    MemoryStore,
    MessageStream,
    StreamInterruptedError,
)
from tests.chatgpt_async.peers import FIRST_EVENT, HEAD, FullBacklog, Peer, until

pytestmark = pytest.mark.anyio

AT_ONCE = 0.2
"""Seconds."""


def living_tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return trio.lowlevel.current_statistics().tasks_living


async def check_cancellation(
    call: Callable[[], Awaitable[object]], is_reached: Callable[[], bool]
) -> None:
    """Cancel a call when it has reached a phase; it ends at once, and leaves no task behind."""
    went_on: list[object] = []

    async def play() -> None:
        went_on.append(await call())

    tasks = living_tasks()
    async with anyio.create_task_group() as group:
        group.start_soon(play)
        await until(is_reached)
        await anyio.sleep(0.03)
        began = anyio.current_time()
        group.cancel_scope.cancel()
    assert anyio.current_time() - began < AT_ONCE
    assert went_on == [], "a cancellation was swallowed"
    assert living_tasks() == tasks


def client_of(port: int, **options: Any) -> ChatGPTAPI:
    base_url = f"http://127.0.0.1:{port}/v1"
    return ChatGPTAPI(**{"api_key": "sk-test", "api_base_url": base_url, **options})


def at_once() -> bool:
    return True


def stored(client: ChatGPTAPI) -> int:
    store = client._store
    assert isinstance(store, MemoryStore)
    return len(store)


async def test_connecting() -> None:
    with FullBacklog() as backlog:
        async with client_of(backlog.port) as client:
            await check_cancellation(lambda: client.send_message("hi"), at_once)
            assert stored(client) == 0


async def test_the_tls_handshake(peer: Peer) -> None:
    """httpcore2 loses this connection (2.16); it is found again."""
    async with client_of(0, api_base_url=f"https://127.0.0.1:{peer.port}/v1") as client:
        await check_cancellation(lambda: client.send_message("hi"), peer.has_heard.is_set)
        assert peer.is_left.wait(AT_ONCE)


async def test_the_tls_handshake_that_takes_too_long(peer: Peer) -> None:
    async with client_of(0, api_base_url=f"https://127.0.0.1:{peer.port}/v1") as client:
        with pytest.raises(TimeoutError):
            await client.send_message("hi", timeout=0.1)
        assert peer.is_left.wait(AT_ONCE)


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 200 OK\r\nx-half: ", HEAD])
async def test_waiting_for_the_answer(peer: Peer, says: bytes, is_streamed: bool) -> None:
    peer.says = says
    async with client_of(peer.port) as client:
        await check_cancellation(
            lambda: client.send_message("hi", stream=is_streamed), peer.has_heard.is_set
        )
        assert peer.is_left.wait(AT_ONCE)
        assert stored(client) == 0


async def test_within_a_stream(peer: Peer) -> None:
    peer.says = FIRST_EVENT
    begun = threading.Event()
    async with client_of(peer.port) as client:
        await check_cancellation(
            lambda: client.send_message("hi", on_progress=lambda _: begun.set()), begun.is_set
        )
        assert peer.is_left.wait(AT_ONCE)
        assert stored(client) == 0


async def test_within_the_iteration_of_a_stream(peer: Peer) -> None:
    peer.says = FIRST_EVENT
    begun = threading.Event()
    streams: list[MessageStream] = []

    async def play() -> None:
        async with client.stream_message("hi") as stream:
            streams.append(stream)
            async for _ in stream:
                begun.set()

    async with client_of(peer.port) as client:
        await check_cancellation(play, begun.is_set)
        assert peer.is_left.wait(AT_ONCE)
    with pytest.raises(StreamInterruptedError, match="left before its end") as caught:
        streams[0].result()
    assert caught.value.partial == "word "


async def test_sleeping_before_a_retry(chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.inject(Fault(status=429, headers={"retry-after": "30"}))
    async with client_of(chatgpt_server.port) as client:
        await check_cancellation(
            lambda: client.send_message("hi"), lambda: len(chatgpt_server.requests) == 1
        )
        assert stored(client) == 0
    assert len(chatgpt_server.requests) == 1


async def test_waiting_for_a_free_connection(peer: Peer) -> None:
    async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=1)) as session:
        client = client_of(peer.port, session=session)
        async with anyio.create_task_group() as group:
            group.start_soon(client.send_message, "first")
            await until(peer.has_heard.is_set)
            await check_cancellation(lambda: client.send_message("second"), at_once)
            assert not peer.is_left.is_set(), "the first call goes on"
            group.cancel_scope.cancel()
        assert peer.is_left.wait(AT_ONCE)


class WaitingStore(MemoryStore):
    """Waits for ever in one of its methods."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method
        self.reached = threading.Event()

    async def wait_in(self, method: str) -> None:
        if method == self.method:
            self.reached.set()
            await anyio.sleep_forever()

    async def get(self, message_id: str) -> ChatMessage | None:
        await self.wait_in("get")
        return await super().get(message_id)

    async def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        await self.wait_in("path")
        return await super().path(message_id, limit)

    async def save(self, messages: Sequence[ChatMessage]) -> None:
        await self.wait_in("save")
        await super().save(messages)


@pytest.mark.parametrize("method", ["get", "path", "save"])
async def test_waiting_for_a_store(chatgpt_server: ChatGPTServer, method: str) -> None:
    store = WaitingStore(method)
    async with client_of(chatgpt_server.port, message_store=store) as client:
        parent = "somewhere" if method == "path" else None
        await check_cancellation(
            lambda: client.send_message("hi", parent_message_id=parent), store.reached.is_set
        )
        assert len(store) == 0


async def test_waiting_for_an_upsert(chatgpt_server: ChatGPTServer) -> None:
    """Two functions are no one write: the question is saved before the answer."""
    saved: list[str] = []
    reached = threading.Event()

    async def upsert_message(message: ChatMessage) -> None:
        if message.role == "assistant":
            reached.set()
            await anyio.sleep_forever()
        saved.append(message.text)

    async with client_of(
        chatgpt_server.port, get_message_by_id=lambda _: None, upsert_message=upsert_message
    ) as client:
        await check_cancellation(lambda: client.send_message("hi"), reached.is_set)
    assert saved == ["hi"]


@pytest.mark.parametrize("method", ["get", "path", "save"])
async def test_waiting_for_a_store_in_a_worker_thread(
    chatgpt_server: ChatGPTServer, method: str
) -> None:
    """The thread is not waited for."""
    import chatgpt

    go_on, reached = threading.Event(), threading.Event()

    class Slow(chatgpt.MemoryStore):
        def wait_in(self, here: str) -> None:
            if here == method:
                reached.set()
                go_on.wait(5)

        def get(self, message_id: str) -> ChatMessage | None:
            self.wait_in("get")
            return super().get(message_id)

        def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
            self.wait_in("path")
            return super().path(message_id, limit)

        def save(self, messages: Sequence[ChatMessage]) -> None:
            self.wait_in("save")
            super().save(messages)

    async with client_of(chatgpt_server.port, message_store=Slow()) as client:
        parent = "somewhere" if method == "path" else None
        await check_cancellation(
            lambda: client.send_message("hi", parent_message_id=parent), reached.is_set
        )
        go_on.set()


async def test_loading_a_vocabulary(
    chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = threading.Event()

    def load(_: str) -> Callable[[str], int]:
        reached.set()
        time.sleep(0.5)
        return len

    monkeypatch.setattr("chatgpt_async.transport.load_tokenizer", load)
    async with client_of(chatgpt_server.port, max_model_tokens=40, max_response_tokens=1) as client:
        await check_cancellation(lambda: client.send_message("word " * 30), reached.is_set)
    assert chatgpt_server.requests == []


async def test_within_a_callback(peer: Peer) -> None:
    peer.says = FIRST_EVENT
    reached = threading.Event()

    async def on_progress(_: ChatMessage) -> None:
        reached.set()
        await anyio.sleep_forever()

    async with client_of(peer.port) as client:
        await check_cancellation(
            lambda: client.send_message("hi", on_progress=on_progress), reached.is_set
        )
        assert peer.is_left.wait(AT_ONCE)


async def test_a_timeout_scope(peer: Peer) -> None:
    peer.says = FIRST_EVENT
    async with client_of(peer.port) as client:
        began = anyio.current_time()
        with pytest.raises(TimeoutError) as caught, anyio.fail_after(0.2):
            await client.send_message("hi", stream=True)
        assert not hasattr(caught.value, "partial"), "it is the caller's timeout"
        assert anyio.current_time() - began < 0.2 + AT_ONCE
        assert peer.is_left.wait(AT_ONCE)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("says", [b"", FIRST_EVENT])
async def test_asyncios_own_ways(peer: Peer, says: bytes) -> None:
    """`Task.cancel`, `asyncio.timeout` and `asyncio.wait_for`."""
    peer.says = says
    async with client_of(peer.port) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.send_message("hi", stream=True)
        assert peer.is_left.wait(AT_ONCE)
    with Peer() as other:
        other.says = says
        async with client_of(other.port) as client:
            task = asyncio.create_task(client.send_message("hi", stream=True))
            await until(other.has_heard.is_set)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            assert other.is_left.wait(AT_ONCE)
    with Peer() as third:
        third.says = says
        async with client_of(third.port) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.send_message("hi"), 0.1)
            assert third.is_left.wait(AT_ONCE)


async def test_the_client_can_be_used_after(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.inject(Fault(delay=0.5), Fault(part_delay=0.5))
    for _ in range(2):
        with anyio.move_on_after(0.1) as scope:
            await client.send_message("hi", stream=True)
        assert scope.cancelled_caught
    assert (await client.send_message("still there?")).finish_reason == "stop"
    assert stored(client) == 2
