"""The bodies of answers: what is taken from h11 is what httpx2 hands out, and nothing is lost when one is left.

Strategy: one answer is read twice, as it is (`body_of`) and through httpx2 (`GeneratedBody`): bytes, errors and what
becomes of the connection are compared, for any body, framing, damage and cuts. Each piece is what one read of the
connection brings, which no socket can promise, so they come from httpcore2's own `AsyncMockBackend`. What depends
on time and on other tasks is tried over loopback (`RawServer`).
"""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Final

import anyio
import anyio.to_thread
import httpcore2
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt import APITimeoutError, ChatMessage, StreamInterruptedError
from chatgpt.core.needs import HttpRequest
from chatgpt.routes import route_of
from chatgpt.testing import ChatGPTServer, Fault
from chatgpt_async import ChatGPTAPI, MemoryStore, MessageStream
from chatgpt_async.bodies import NETWORK_ERRORS, GeneratedBody, OwnedStream, body_of
from chatgpt_async.connections import MAX_CONNECTIONS, RouteConnections
from chatgpt_async.transport import failure_of
from tests.chatgpt_async.peers import until
from tests.chatgpt_async.test_connections import in_use
from tests.reliability.scripts import CHUNKED, EVENT, WORD, Waiting, framed, sending
from tests.reliability.wire import WELL_TEXT, RawServer, Wire

ROUTE: Final = route_of(HttpRequest("GET", "http://x/", {}, b"", is_local=True), None, "json")
IDLE: Final = [(MAX_CONNECTIONS, 0)]
UVLOOP: Final[list[Any]] = [("asyncio", {"use_uvloop": True})] if find_spec("uvloop") else []


async def read(pieces: list[bytes], *, through_httpx2: bool) -> tuple[object, ...]:
    """What comes of an answer: bytes, error, connections that can be used again, places that are free."""
    free = anyio.Semaphore(1)
    connections = RouteConnections(ROUTE, free)
    pool: Any = connections._transport._pool
    pool._network_backend = httpcore2.AsyncMockBackend(pieces)
    request = httpx2.Request("POST", "http://x/")
    data, problem = b"", None
    try:
        response = await connections.send(request)
        assert isinstance(response.stream, OwnedStream)
        reading = body_of(response)
        assert isinstance(reading, GeneratedBody) == ("content-encoding" in response.headers)
        if through_httpx2:
            reading = GeneratedBody(response, response.stream)
        try:
            while chunk := await reading.read(5):
                data += chunk
            assert await reading.read(5) == b"", "the end stays the end"
        finally:
            await reading.aclose()
    except NETWORK_ERRORS as error:
        problem = type(error), failure_of(error).kind, str(error)
    reusable = [each.is_available() for each in pool.connections]
    await connections.aclose()
    return data, problem, reusable, free.value


@st.composite
def chunked(draw: st.DrawFn, data: bytes) -> bytes:
    """Data in chunks, with what servers write around them."""
    coded = b""
    while data:
        size = draw(st.integers(1, len(data)))
        extension = draw(st.sampled_from([b"", b"", b";a=b", b" ", b'; q="z"']))
        coded += b"%x%s\r\n%s\r\n" % (size, extension, data[:size])
        data = data[size:]
    trailers = draw(st.sampled_from([b"", b"", b"t: v\r\n", b"no trailer\r\n"]))
    return coded + draw(st.sampled_from([b"0", b"000", b"0;x"])) + b"\r\n" + trailers + b"\r\n"


@st.composite
def answers(draw: st.DrawFn) -> list[bytes]:
    """An answer, right or damaged, in the pieces in which it arrives."""
    data = draw(st.text("ab01\r\n:;", max_size=60)).encode()
    begin = draw(
        st.sampled_from([b"1.1 200 OK"] * 5 + [b"1.0 200 OK", b"1.1 204 No", b"1.1 304 No"])
    )
    head = b"HTTP/" + begin + draw(st.sampled_from([b"", b"", b"\r\nconnection: close"]))
    compress = draw(st.sampled_from([None, None, gzip.compress, zlib.compress]))
    if compress is not None:
        data = bytes(compress(data))
        head += b"\r\ncontent-encoding: " + (b"gzip" if compress is gzip.compress else b"deflate")
    framing = draw(st.sampled_from(["chunks", "chunks", "length", "end"]))
    if framing == "chunks":
        head += b"\r\ntransfer-encoding: chunked"
        data = draw(chunked(data))
    elif framing == "length":
        head += b"\r\ncontent-length: %d" % len(data)
    if draw(st.booleans()) and data:  # damaged: something in it is another thing, or is missing
        place, lost = draw(st.integers(0, len(data) - 1)), draw(st.integers(0, 2))
        other = draw(st.sampled_from([b"", b"", b"\xff", b"\r\n", b"zz", b"\n"]))
        data = data[:place] + other + data[place + lost :]
    data = data[: draw(st.sampled_from([len(data)] * 3 + [len(data) // 2]))]
    data += draw(st.sampled_from([b"", b"", b"x", b"HTTP/1.1 200 OK\r\n"]))
    whole = head + b"\r\n\r\n" + data
    byte_by_byte = st.just(list(range(len(whole) - len(data), len(whole))))
    cuts = draw(byte_by_byte | st.lists(st.integers(1, len(whole)), max_size=6))
    places = [0, *sorted(cuts), len(whole)]
    return [whole[begin:end] for begin, end in pairwise(places) if begin != end]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=200)
@given(pieces=answers())
def test_any_body_is_read_as_httpx2_reads_it(backend: str, pieces: list[bytes]) -> None:
    """The same bytes, the same error, and its connection can be used again exactly where it could be."""

    async def compare() -> None:
        taken = await read([*pieces], through_httpx2=False)
        assert taken == await read([*pieces], through_httpx2=True)

    anyio.run(compare, backend=backend)


def client_of(server: RawServer, **options: Any) -> ChatGPTAPI:
    return ChatGPTAPI(api_key="sk-test", api_base_url=server.base_url, max_retries=0, **options)


@pytest.mark.anyio
async def test_a_byte_of_a_chunks_size_that_comes_as_the_limit_passes() -> None:
    """Whoever looks at the clock then, late, as a busy program does, has less than no time left."""

    def dripping(wire: Wire) -> None:
        wire.read_request()
        wire.send(CHUNKED + WORD)
        for _ in range(3):
            time.sleep(0.25)
            wire.send(b"0")

    async def work() -> None:
        await anyio.sleep(0.2)
        time.sleep(0.3)  # noqa: ASYNC251 - nothing else runs meanwhile

    with RawServer(dripping) as server:
        async with (
            client_of(server, idle_timeout=0.3) as client,
            anyio.create_task_group() as group,
        ):
            group.start_soon(work)
            with pytest.raises(APITimeoutError) as caught:
                await client.send_message("hi", stream=True)
            assert (caught.value.limit, caught.value.partial) == ("idle", "word ")


HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
BEGUN: Final = {
    "chunks": CHUNKED + framed(EVENT, EVENT, EVENT) + b"4",
    "a length": HEAD + b"content-length: 9999\r\n\r\n" + EVENT * 3,
    "the end of the connection": HEAD + b"\r\n" + EVENT * 3,
    "gzip": HEAD + b"content-encoding: gzip\r\n\r\n" + gzip.compress(EVENT * 3),
}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio", *UVLOOP])
@pytest.mark.parametrize("framing", BEGUN)
async def test_whoever_ends_a_wait_loses_nothing(framing: str, anyio_backend: Any) -> None:
    """The connection is closed, its place is free, and the next call is answered."""

    async def read(stream: MessageStream) -> None:
        async with stream:
            async for part in stream:
                if part.text == "word " * 3:
                    has_read.set()

    async def two_other_tasks(stream: MessageStream) -> None:
        async def close() -> None:
            await has_read.wait()
            await stream.aclose()

        async with anyio.create_task_group() as group:
            group.start_soon(close)
            group.start_soon(close)
            with pytest.raises(StreamInterruptedError, match="left before its end"):
                await read(stream)

    async def a_scope(stream: MessageStream) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(read, stream)
            await has_read.wait()
            group.cancel_scope.cancel()

    async def a_task(stream: MessageStream) -> None:
        reading = asyncio.ensure_future(read(stream))
        await has_read.wait()
        leaving = asyncio.ensure_future(stream.aclose())
        reading.cancel()
        await asyncio.wait([reading, leaving])
        assert reading.cancelled()

    ways = [two_other_tasks, a_scope, *([] if anyio_backend == "trio" else [a_task])]
    scripts = [Waiting(sending(BEGUN[framing])) for _ in ways]
    with RawServer(*scripts) as server:
        async with client_of(server) as client:
            for way, script in zip(ways, scripts, strict=True):
                has_read, stream = anyio.Event(), client.stream_message("hi")
                with anyio.fail_after(5):
                    await way(stream)
                assert in_use(client) == IDLE, way
                assert stream.text == "word " * 3
                assert await anyio.to_thread.run_sync(script.is_left.wait, 5)
            assert (await client.send_message("hi")).text == WELL_TEXT


@pytest.mark.anyio
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_no_place_is_kept_between_two_tries_and_while_a_reply_is_saved(
    chatgpt_server: ChatGPTServer, anyio_backend: str, is_streamed: bool
) -> None:
    """A server may ask for a long pause; a store may be slow, or send something with the same client."""
    held: list[list[tuple[int, int]]] = []

    class Store(MemoryStore):
        async def save(self, messages: Sequence[ChatMessage]) -> None:
            held.append(in_use(client))
            await super().save(messages)

    chatgpt_server.inject(Fault(status=429, headers={"retry-after": "0.5"}))
    key, url = chatgpt_server.api_key, chatgpt_server.base_url
    own = ChatGPTAPI(api_key=key, api_base_url=url, message_store=Store())
    async with own as client, anyio.create_task_group() as group:
        group.start_soon(partial(client.send_message, "hi", stream=is_streamed))
        await until(lambda: bool(chatgpt_server.requests) and in_use(client) == IDLE)
        assert len(chatgpt_server.requests) == 1
    assert held == [IDLE]
