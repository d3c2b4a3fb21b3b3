"""The async shell: event loops, connections, sessions, many conversations at once."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio import to_thread

from chatgpt.routes import IDLE_CONNECTIONS
from chatgpt.testing import Answer, ChatGPTServer, Fault, RawAnswer
from chatgpt_async import (
    APITimeoutError,
    ChatGPTAPI,
    ConfigurationError,
    MemoryStore,
)
from chatgpt_async.connections import MAX_CONNECTIONS
from tests.chatgpt_async.peers import until
from tests.chatgpt_async.test_cancellation import living_tasks

BACKENDS = ["asyncio", "trio"]


@pytest.fixture
def _collected() -> Iterator[None]:
    """What a test leaves open is collected before the next one."""
    yield
    gc.collect()


def leaves_connections_open(test: Any) -> Any:
    """For loops that end with connections open: that is what these tests are about."""
    ignored = "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    return pytest.mark.usefixtures("_collected")(pytest.mark.filterwarnings(*ignored)(test))


def client_of(server: ChatGPTServer, **options: Any) -> ChatGPTAPI:
    return ChatGPTAPI(api_key=server.api_key, api_base_url=server.base_url, **options)


# --- event loops -------------------------------------------------------------------------------


@leaves_connections_open
@pytest.mark.parametrize(
    "backends", [["asyncio"] * 3, ["trio"] * 3, ["asyncio", "trio", "asyncio"]]
)
def test_one_event_loop_after_the_other(chatgpt_server: ChatGPTServer, backends: list[str]) -> None:
    """Each has connections of its own; nothing is kept for a loop that is gone."""
    client = client_of(chatgpt_server)
    parent = None
    for backend in backends:

        async def converse(parent: str | None) -> str:
            for _ in range(2):
                reply = await client.send_message("hi", parent_message_id=parent)
                parent = reply.id
            return parent or ""

        parent = anyio.run(converse, parent, backend=backend)
        assert len(client._transport._own._by_loop) == 1
    ports = [request.client_port for request in chatgpt_server.requests]
    assert [ports[0], ports[2], ports[4]] == [ports[1], ports[3], ports[5]]
    assert len(set(ports)) == 3
    assert len(chatgpt_server.requests[-1].messages) == 12


@leaves_connections_open
def test_a_loop_of_ones_own(chatgpt_server: ChatGPTServer) -> None:
    """Used, left standing, used again, closed: as `loop.run_until_complete` does."""
    client = client_of(chatgpt_server)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    for loop in (first, second, first, second):
        assert loop.run_until_complete(client.send_message("hi")).text
    assert len({request.client_port for request in chatgpt_server.requests}) == 2
    first.run_until_complete(client.aclose())
    first.close()
    second.close()
    asyncio.run(client.aclose())


def test_two_event_loops_at_once(chatgpt_server: ChatGPTServer) -> None:
    client = client_of(chatgpt_server)
    both = threading.Barrier(2)
    texts: list[str] = []

    async def converse() -> None:
        await client.send_message("warm")
        await to_thread.run_sync(both.wait)
        texts.extend([(await client.send_message(str(number))).text for number in range(5)])
        await client.aclose()

    threads = [
        threading.Thread(target=anyio.run, args=(converse,), kwargs={"backend": backend})
        for backend in BACKENDS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 10
    deadline = time.monotonic() + 5
    while chatgpt_server._http._connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not chatgpt_server._http._connections


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@leaves_connections_open
def test_a_client_survives_a_fork(chatgpt_server: ChatGPTServer) -> None:
    client = client_of(chatgpt_server)
    before = asyncio.run(client.send_message("before"))
    child = os.fork()
    if child == 0:
        try:
            reply = asyncio.run(client.send_message("child", parent_message_id=before.id))
            os._exit(0 if reply.finish_reason == "stop" else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    parent = asyncio.run(client.send_message("parent", parent_message_id=before.id))
    assert parent.text.startswith("You said: parent")


@pytest.mark.anyio
async def test_a_closed_client_opens_new_connections(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    for close in (client.aclose, client.close):
        await client.send_message("hi")
        await close()
        await close()
    await client.send_message("hi")
    assert len({request.client_port for request in chatgpt_server.requests}) == 3


# --- connections -------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_leaving_a_stream_has_closed_its_connection(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    """Before the next line runs: the socket is closed on this side."""
    chatgpt_server.replies = lambda _: Answer(parts=["word "] * 2000)
    chatgpt_server.inject(*[Fault(part_delay=0.002)] * 3)

    def socket_of(stream: Any) -> Any:
        response = stream._call._answer._body._response
        return response.extensions["network_stream"].get_extra_info("socket")

    async with client.stream_message("hi") as stream:
        await anext(stream)
        used = socket_of(stream)
        assert used.fileno() >= 0
    assert used.fileno() == -1

    with pytest.raises(RuntimeError, match="mine"):
        async with client.stream_message("hi") as stream:
            async for _ in stream:
                used = socket_of(stream)
                raise RuntimeError("mine")
    assert used.fileno() == -1

    with anyio.move_on_after(0.1):
        async with client.stream_message("hi") as stream:
            await anext(stream)
            used = socket_of(stream)
            await anyio.sleep_forever()
    assert used.fileno() == -1


@pytest.mark.anyio
async def test_a_connection_is_used_again(chatgpt_server: ChatGPTServer) -> None:
    """After a plain and after a streamed reply: what follows `[DONE]` is read, too."""
    async with httpx2.AsyncClient() as session:
        client = client_of(chatgpt_server, session=session)
        for is_streamed in (False, True, True, False):
            await client.send_message("hi", stream=is_streamed)
        await client.aclose()  # leaves the session of the caller alone
        headers = {"authorization": "Bearer sk-test"}
        assert (await session.get(chatgpt_server.base_url + "/models", headers=headers)).is_success
    assert len({request.client_port for request in chatgpt_server.requests}) == 1


@pytest.mark.anyio
async def test_a_session_of_the_caller(chatgpt_server: ChatGPTServer) -> None:
    """Its headers are sent, its credentials and redirects are not used."""
    async with httpx2.AsyncClient(
        headers={"x-own": "1"}, auth=("someone", "else"), follow_redirects=True
    ) as session:
        client = client_of(chatgpt_server, session=session)
        await client.send_message("hi")
        assert chatgpt_server.requests[0].headers["x-own"] == "1"
        assert chatgpt_server.requests[0].api_key == "sk-test"
        chatgpt_server.inject(Fault(status=307, headers={"location": "/v1/chat/completions"}))
        with pytest.raises(Exception, match="redirects are not followed"):
            await client.send_message("hi")
        assert len(chatgpt_server.requests) == 2


@pytest.mark.anyio
async def test_an_error_of_the_callers_session_is_his_own(chatgpt_server: ChatGPTServer) -> None:
    class Odd(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            raise ValueError("of the session")

    async with httpx2.AsyncClient(transport=Odd()) as session:
        client = client_of(chatgpt_server, session=session)
        with pytest.raises(ValueError, match="of the session") as caught:
            await client.send_message("hi")
        assert type(caught.value) is ValueError


def test_a_session_must_be_one() -> None:
    import requests

    for session, message in (
        ("x", "session must be an httpx2.AsyncClient, not str"),
        (requests.Session(), "session must be an httpx2.AsyncClient, not requests.Session"),
        (httpx2.Client(), "session must be an httpx2.AsyncClient: its send must be async"),
        (httpx2.AsyncClient, "make one of the class AsyncClient"),
    ):
        with pytest.raises(TypeError, match=message):
            ChatGPTAPI(api_key="sk-test", session=session)  # type: ignore[arg-type] # that is the point
    with pytest.raises(ConfigurationError, match="Give proxy, or set the proxy of the session"):
        ChatGPTAPI(api_key="sk-test", session=httpx2.AsyncClient(), proxy="http://proxy.example")


@pytest.mark.anyio
async def test_a_session_that_returns_something_else(chatgpt_server: ChatGPTServer) -> None:
    class Odd(httpx2.AsyncClient):
        async def send(self, *_: Any, **__: Any) -> Any:
            return "nothing"

    async with Odd() as session:
        client = client_of(chatgpt_server, session=session)
        with pytest.raises(TypeError, match="session must return a httpx2.Response, not str"):
            await client.send_message("hi")


@pytest.mark.anyio
async def test_the_whole_call_is_bounded_while_the_head_drips(anyio_backend: str) -> None:
    """Each byte renews the socket's own timeout; not that of the call."""
    dripping = [b"HTTP/1.1 200 OK\r\n", *[b"x"] * 100]
    with ChatGPTServer([RawAnswer(dripping, pause=0.05)]) as server:
        async with client_of(server) as client:
            began = anyio.current_time()
            with pytest.raises(TimeoutError, match="not done after 0.3 s"):
                await client.send_message("hi", timeout=0.3)
            assert anyio.current_time() - began < 0.3 + 0.25


@pytest.mark.anyio
async def test_a_call_waits_for_a_free_connection(chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.inject(Fault(delay=0.2))
    async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=1)) as session:
        client = client_of(chatgpt_server, session=session, connect_timeout=0.05)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(client.send_message, "hi")
        chatgpt_server.inject(Fault(delay=1))
        async with anyio.create_task_group() as group:
            group.start_soon(client.send_message, "slow")
            await anyio.sleep(0.05)
            with pytest.raises(
                TimeoutError,
                match="not done after 0.1 s .timeout.: all connections of the client were in use",
            ):
                await client.send_message("no time to wait", timeout=0.1)
            group.cancel_scope.cancel()


# --- many at once ------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_thousand_conversations(chatgpt_server: ChatGPTServer) -> None:
    """Twice a thousand at once: no more connections than the pool has, and nothing is left of them."""
    client = client_of(chatgpt_server, message_store=MemoryStore(capacity=100))
    most_open = 0

    async def converse(number: int) -> None:
        text = ""
        async with client.stream_message(f"I am number {number}.") as stream:
            async for part in stream:
                text += part.delta or ""
        assert text == stream.result().text
        assert text.startswith(f"You said: I am number {number}. ")

    async def watch() -> None:
        nonlocal most_open
        while True:
            most_open = max(most_open, len(chatgpt_server._http._connections))
            await anyio.sleep(0.01)

    async def thousand() -> int:
        async with anyio.create_task_group() as watching:
            watching.start_soon(watch)
            async with anyio.create_task_group() as group:
                for number in range(1000):
                    group.start_soon(converse, number)
            watching.cancel_scope.cancel()
        await until(lambda: open_sockets() <= before + 2 * IDLE_CONNECTIONS)  # at both ends
        await client.aclose()
        await until(lambda: open_sockets() <= before)
        assert living_tasks() == tasks
        chatgpt_server.requests.clear()
        gc.collect()
        return sys.getallocatedblocks()

    tasks, before = living_tasks(), open_sockets()
    first = await thousand()
    second = await thousand()
    assert most_open <= MAX_CONNECTIONS
    # A thousand conversations take some 56,000 blocks while they run: this is none of them kept.
    assert second - first < 3_000


def open_sockets() -> int:
    """How many sockets this process has open, the server's side of a connection included."""
    count = 0
    for file in Path("/proc/self/fd").iterdir():
        try:
            count += str(file.readlink()).startswith("socket:")
        except OSError:
            continue
    return count


class Wordless(httpx2.AsyncBaseTransport):
    """A transport that tells nobody what it does."""

    def __init__(self) -> None:
        self._behind = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.extensions.pop("trace")
        return await self._behind.handle_async_request(request)

    async def aclose(self) -> None:
        await self._behind.aclose()


@pytest.mark.anyio
async def test_silence_is_bounded_over_any_session(chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.inject(Fault(delay=30), Fault(part_delay=30))
    async with httpx2.AsyncClient(transport=Wordless()) as session:
        client = client_of(chatgpt_server, session=session, idle_timeout=0.2, max_retries=0)
        for _ in range(2):
            with pytest.raises(APITimeoutError) as caught:
                await client.send_message("hi", stream=True)
            assert caught.value.limit == "idle"
