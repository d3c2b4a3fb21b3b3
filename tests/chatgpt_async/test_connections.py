"""The pools of the async twin: no place is lost, whatever fails or is cancelled, and closing is complete."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import pytest

from chatgpt.core.needs import HttpRequest, SendRequest
from chatgpt.core.sending import get
from chatgpt.routes import route_of
from chatgpt.testing import Answer, ChatGPTServer, Fault
from chatgpt_async import (
    AbortedError,
    APIConnectionError,
    CancelToken,
    ChatGPTAPI,
    ChatGPTError,
)
from chatgpt_async import connections as module
from chatgpt_async.bodies import Http11Body
from chatgpt_async.closing import completed_close
from chatgpt_async.connections import OwnConnections
from chatgpt_async.transport import Call, Transport
from tests.chatgpt_async.peers import until
from tests.reliability.wire import RawServer

ROUTE = route_of(HttpRequest("POST", "http://127.0.0.1/", {}, b"", is_local=True), None, "json")


def client_of(server: ChatGPTServer, **options: Any) -> ChatGPTAPI:
    return ChatGPTAPI(api_key=server.api_key, api_base_url=server.base_url, **options)


def in_use(client: ChatGPTAPI) -> list[tuple[int, int]]:
    """Of each event loop: places that are free, and calls that hold one."""
    return [
        (loop._free.value, sum(route._in_use for route in loop._routes.values()))
        for loop in client._transport._own._by_loop.values()
    ]


@pytest.fixture(autouse=True)
def _few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 4)
    monkeypatch.setattr(module, "MOST_LOSSES", 3)


@contextmanager
def broken_tunnel() -> Iterator[int]:
    """A proxy that says yes to CONNECT, and then nonsense where TLS should be."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, contextlib.suppress(OSError):
                    client.recv(65536)
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\nno TLS here")
                    client.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.anyio
async def test_failures_behind_a_proxy_lose_no_place() -> None:
    """httpcore2's own pool counts them for ever: after as many as it has places, every call would hang."""
    with broken_tunnel() as port:
        async with ChatGPTAPI(
            api_key="sk-test",
            api_base_url="https://chat.example/v1",
            proxy=f"http://127.0.0.1:{port}",
            max_retries=0,
        ) as client:
            pools = set()
            for _ in range(12):
                with anyio.fail_after(5), pytest.raises(APIConnectionError, match="No answer"):
                    await client.send_message("hi")
                (loop,) = client._transport._own._by_loop.values()
                pools |= {id(connections) for connections in loop._routes.values()}
                assert in_use(client) == [(4, 0)]
            assert len(pools) > 1, "a pool makes room for a new one"


@pytest.mark.anyio
async def test_calls_that_are_cancelled_lose_no_place(chatgpt_server: ChatGPTServer) -> None:
    """At whatever moment: while connecting, sending, waiting, reading, closing."""
    async with client_of(chatgpt_server, max_retries=0) as client:
        await client.send_message("warm")
        for number in range(120):
            with anyio.move_on_after(number * 0.000_1):
                await client.send_message("hi", stream=bool(number % 2))
        assert in_use(client) == [(4, 0)]
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(client.send_message, "hi")
        assert in_use(client) == [(4, 0)]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_cancellation_of_asyncio_while_a_stream_is_closed(
    chatgpt_server: ChatGPTServer,
) -> None:
    """anyio's shields do not hold it off; it waits until the connection is closed."""
    chatgpt_server.replies = lambda _: Answer(parts=["word "] * 50)

    async def leave() -> None:
        async with client.stream_message("hi") as stream:
            await anext(stream)
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)

    async with client_of(chatgpt_server, max_retries=0) as client:
        for _ in range(20):
            chatgpt_server.inject(Fault(part_delay=0.01))
            task = asyncio.create_task(leave())
            await asyncio.wait([task])
            assert task.cancelled()
        assert in_use(client) == [(4, 0)]
        (loop,) = client._transport._own._by_loop.values()
        (connections,) = loop._routes.values()
        pool: Any = connections._transport._pool
        assert pool._requests == []


@pytest.mark.anyio
async def test_certificates_are_read_once_however_many_calls_begin(
    chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str | None] = []
    original = module._trusted

    def trusted(certificates: str | None) -> Any:
        read.append(certificates)
        return original(certificates)

    monkeypatch.setattr(module, "_trusted", trusted)
    async with client_of(chatgpt_server) as client, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(client.send_message, "hi")
    assert len(read) == 1


@pytest.mark.anyio
async def test_closing_while_calls_begin(chatgpt_server: ChatGPTServer) -> None:
    """Each call ends well, and no connection is left of any."""
    client = client_of(chatgpt_server, max_retries=0)
    for number in range(10):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(client.send_message, "hi")
            await anyio.sleep(number * 0.000_5)
            await client.aclose()
    await client.aclose()
    await until(lambda: not chatgpt_server._http._connections)
    assert len(chatgpt_server.requests) == 30


@pytest.mark.anyio
async def test_closing_while_the_certificates_are_read(
    chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections that open after that close with their call."""
    reading, go_on = threading.Event(), threading.Event()
    original = module._trusted

    def trusted(certificates: str | None) -> Any:
        reading.set()
        assert go_on.wait(5)
        return original(certificates)

    monkeypatch.setattr(module, "_trusted", trusted)
    client = client_of(chatgpt_server)
    async with anyio.create_task_group() as group:
        group.start_soon(client.send_message, "hi")
        await until(reading.is_set)
        await client.aclose()
        go_on.set()
    assert len(chatgpt_server.requests) == 1
    await until(lambda: not chatgpt_server._http._connections)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_cancellation_of_asyncio_while_a_client_is_closed(
    chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its routes are closed, not only the first."""
    client = client_of(chatgpt_server)
    await client.send_message("hi")
    (loop,) = client._transport._own._by_loop.values()
    routes = [*loop._routes.values()]
    other = route_of(
        HttpRequest("POST", "https://127.0.0.1/", {}, b"", is_local=True), None, "json"
    )
    routes.append(await loop.on(other))
    closed: list[object] = []
    for number, connections in enumerate(routes):

        async def aclose(number: int = number) -> None:
            await asyncio.sleep(0.02)
            closed.append(number)

        monkeypatch.setattr(connections._transport, "aclose", aclose)
    task = asyncio.create_task(client.aclose())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert closed == [0, 1]
    monkeypatch.undo()
    for connections in routes:
        await connections._transport.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
@pytest.mark.parametrize("body", [b"", "☃".encode(), b"x" * 100_000])
@pytest.mark.parametrize("headers", [{}, {"host": "other.example", "x-one": "1"}])
@pytest.mark.parametrize("path", ["", "/v1?q=ü", "http://LOCALHOST:{port}/v1"])
async def test_what_is_sent(method: Any, body: bytes, headers: dict[str, str], path: str) -> None:
    """What httpx2 makes of the same."""
    with RawServer() as server:
        url = (
            path.format(port=server.port)
            if "{" in path
            else f"http://127.0.0.1:{server.port}{path}"
        )
        transport = Transport(None, None)
        request = HttpRequest(method, url, headers, body, is_local=True)
        for _ in range(2):  # the second time the URL is known
            answer, _ = await transport.send(SendRequest(request, 5, 5, 5))
            await answer.aclose()
        await transport.aclose()
        async with httpx2.AsyncClient(trust_env=False) as client:
            await client.send(httpx2.Request(method, url, content=body, headers=headers))
        ours, again, theirs = [request.partition(b"\r\n\r\n") for request in server.requests]
    assert ours == again
    assert sorted(ours[0].split(b"\r\n")) == sorted(theirs[0].split(b"\r\n"))
    assert ours[2] == theirs[2] == body


@pytest.mark.anyio
async def test_pools_of_many_threads() -> None:
    """Loops come and go, in threads of their own; each gets its own connections."""
    own = OwnConnections()
    problems: list[BaseException] = []

    async def use() -> None:
        connections = await own.on(ROUTE)
        assert await own.on(ROUTE) is connections
        await own.aclose()
        assert await own.on(ROUTE) is not connections

    def play(backend: str) -> None:
        try:
            for _ in range(25):
                anyio.run(use, backend=backend)
        except BaseException as error:  # noqa: BLE001 - it is shown below
            problems.append(error)

    threads = [
        threading.Thread(target=play, args=(backend,))
        for backend in ("asyncio", "trio")
        for _ in "123"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    await own.on(ROUTE)
    assert len(own._by_loop) == 1


@pytest.mark.anyio
async def test_closing_is_completed() -> None:
    """Whatever is cancelled meanwhile, and what it raises comes out."""
    steps: list[str] = []

    async def closing() -> None:
        steps.append("began")
        await anyio.sleep(0.05)
        steps.append("ended")

    with anyio.CancelScope() as scope:
        scope.cancel()
        await completed_close(closing())
        steps.append("went on")
        await anyio.lowlevel.checkpoint()
        steps.append("was cancelled")
    assert steps == ["began", "ended", "went on"]

    async def failing() -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        await completed_close(failing())


@pytest.mark.anyio
async def test_leaving_a_stream_of_the_callers_transport_waits_for_nothing() -> None:
    """Its `aclose` may do nothing; the rest of the answer is not read."""

    async def body() -> Any:
        yield b'data: {"choices": [{"index": 0, "delta": {"content": "word "}}]}\n\n'
        await anyio.sleep(30)
        yield b"data: [DONE]\n\n"

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=body())

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as session:
        client = ChatGPTAPI(api_key="sk-test", session=session)
        with anyio.fail_after(1):
            async with client.stream_message("hi") as stream:
                assert (await anext(stream)).delta == "word "


@pytest.mark.anyio
async def test_what_a_hook_of_the_callers_session_raises_is_his_own(
    chatgpt_server: ChatGPTServer,
) -> None:
    async def hook(response: httpx2.Response) -> None:
        response.raise_for_status()

    chatgpt_server.inject(*[Fault(status=400)] * 3)
    async with httpx2.AsyncClient(event_hooks={"response": [hook]}) as session:
        client = client_of(chatgpt_server, session=session)
        with pytest.raises(httpx2.HTTPStatusError) as caught:
            await client.send_message("hi")
    assert not isinstance(caught.value, ChatGPTError)
    assert len(chatgpt_server.requests) == 1


@pytest.mark.anyio
async def test_a_connection_that_is_shared_is_not_closed_for_one_call() -> None:
    need = SendRequest(get("https://chat.example/", {}), 10, 10, 10)
    opening = module.Opening(need)
    closed: list[str] = []

    class Stream:
        async def aclose(self) -> None:
            closed.append("closed")

    for shares, expected in ((True, []), (False, ["closed"])):
        await opening.trace("connection.connect_tcp.complete", {"return_value": Stream()})
        if shares:
            request = httpx2.Request("POST", "https://chat.example/")
            await opening.trace("http2.send_request_headers.started", {"request": request})
        await opening.aclose()
        assert closed == expected


@pytest.mark.anyio
@pytest.mark.parametrize("is_own", [True, False])
async def test_only_connections_of_our_own_are_told_to_be_silent(is_own: bool) -> None:
    """A transport of the caller may send a request again: then its limits begin anew."""
    need = SendRequest(get("https://chat.example/", {}), 10, 20, 100)
    opening = module.Opening(need, is_own=is_own)
    request = httpx2.Request("POST", "https://chat.example/", extensions={"trace": opening.trace})
    await opening.trace("http11.send_request_headers.started", {"request": request})
    assert ("trace" in request.extensions) is not is_own
    assert opening.limit == "read_timeout"


def test_a_call_is_forgotten_when_it_has_ended(chatgpt_server: ChatGPTServer) -> None:
    import gc

    async def converse() -> None:
        async with client_of(chatgpt_server) as client:
            await client.send_message("hi")
            async with client.stream_message("hi") as stream:
                await anext(stream)

    anyio.run(converse)
    gc.collect()
    assert [thing for thing in gc.get_objects() if isinstance(thing, Call)] == []


@pytest.mark.anyio
async def test_the_connection_of_an_answer_is_known(chatgpt_server: ChatGPTServer) -> None:
    """There is no public way to it: with a new version of httpcore2 its parts may have other names."""
    async with client_of(chatgpt_server) as client, client.stream_message("hi") as stream:
        assert stream._call is not None
        answer = stream._call._answer
        assert answer is not None
        assert isinstance(answer._body, Http11Body)
        connection = answer._body._stream.connection
        assert isinstance(connection._h11_state.trailing_data[0], bytes)
        assert connection._network_stream.get_extra_info("socket").fileno() > 0


@pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")
def test_uvloop(chatgpt_server: ChatGPTServer) -> None:
    """What it shows for a socket is none."""

    async def converse() -> None:
        token = CancelToken()
        async with client_of(chatgpt_server) as client:
            async with client.stream_message("one two three") as stream:
                await anext(stream)
            chatgpt_server.inject(Fault(part_delay=5), Fault(part_delay=5))
            with anyio.move_on_after(0.1):
                await client.send_message("hi", stream=True)
            asyncio.get_running_loop().call_later(0.1, token.cancel)
            with pytest.raises(AbortedError):
                await client.send_message("hi", stream=True, abort=token)
            assert (await client.send_message("hi")).text

    anyio.run(converse, backend_options={"use_uvloop": True})
