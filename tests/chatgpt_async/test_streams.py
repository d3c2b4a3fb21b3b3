"""What is the async twin's own about streams; what is common to both is tested in tests/test_streams.py."""

from __future__ import annotations

import contextlib
import gc

import anyio
import anyio.lowlevel
import pytest

from chatgpt.testing import Answer, ChatGPTServer, Fault
from chatgpt_async import ChatGPTAPI, MessageStream, StreamInterruptedError
from tests.cli.answers import HeldParts

pytestmark = pytest.mark.anyio


async def test_it_is_iterated_inside_async_with_only(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    stream = client.stream_message("hi")
    with pytest.raises(RuntimeError, match="inside `async with`"):
        async for _ in stream:
            pass
    with pytest.raises(RuntimeError, match="inside `async with`"):
        await anext(stream)
    assert chatgpt_server.requests == []
    async with stream:
        assert [part.text async for part in stream][-1] == stream.result().text


async def test_a_stream_that_is_never_entered_sends_nothing_and_says_nothing(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    stream = client.stream_message("hi")
    with pytest.raises(StreamInterruptedError, match="was not entered"):
        stream.result()
    del stream
    gc.collect()
    closed = client.stream_message("hi")
    await closed.aclose()
    await closed.close()
    with pytest.raises(StreamInterruptedError, match="left before its end"):
        async for _ in closed:
            pass
    assert chatgpt_server.requests == []


async def test_several_streams_at_once(client: ChatGPTAPI) -> None:
    async with client.stream_message("one") as one, client.stream_message("two") as two:
        first = [await anext(one), await anext(two)]
        rest = [[part async for part in stream] for stream in (two, one)]
    assert [part.delta for part in first] == ["You", "You"]
    assert all(rest)
    assert one.result().text.startswith("You said: one")
    assert two.result().text.startswith("You said: two")


async def test_a_stream_that_is_left_as_a_part_comes(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    """At any moment around it: no generator is left to the garbage collector, which would warn."""
    chatgpt_server.replies = lambda _: Answer(parts=["word "] * 30)
    for number in range(30):
        chatgpt_server.inject(Fault(part_delay=0.001))
        async with client.stream_message("hi") as stream, anyio.create_task_group() as group:

            async def leave(stream: MessageStream, number: int) -> None:
                await anyio.sleep(0.000_3 * number)
                await stream.aclose()

            group.start_soon(leave, stream, number)
            with contextlib.suppress(StreamInterruptedError):
                async for _ in stream:
                    pass
    gc.collect()


async def test_one_task_at_a_time(client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
    async def read(stream: MessageStream) -> None:
        texts.extend([part.text async for part in stream])

    texts: list[str] = []
    chatgpt_server.replies = parts = HeldParts("one", " two")
    async with client.stream_message("hi") as stream:
        await anext(stream)
        async with anyio.create_task_group() as group:
            group.start_soon(read, stream)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            with pytest.raises(RuntimeError, match="read by one task or thread at a time"):
                await anext(stream)
            parts.release()
        assert texts[-1] == stream.result().text == "one two"


async def test_a_stream_may_be_read_by_another_task(client: ChatGPTAPI) -> None:
    texts: list[str] = []

    async def read(stream: MessageStream) -> None:
        texts.extend([part.text async for part in stream])

    async with client.stream_message("hi") as stream, anyio.create_task_group() as group:
        group.start_soon(read, stream)
    assert texts[-1] == stream.result().text
