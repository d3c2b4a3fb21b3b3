"""Streams: what is taken, left early, abandoned."""

from __future__ import annotations

import gc
import threading
import time

import pytest

from chatgpt import ChatGPTAPI, StoreError, StreamError, StreamInterruptedError
from chatgpt.testing import Answer, ChatGPTServer, Fault, RecordedRequest
from tests.engines import Engine, stored_messages

ENDLESS = Answer(parts=["word "] * 2000)


def wait_until_left(request: RecordedRequest) -> None:
    """The server sees that the client went away when it writes."""
    deadline = time.monotonic() + 5
    while not request.is_disconnected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert request.is_disconnected


def test_a_stream(client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = ["one two three"]
    with client.stream_message("count") as stream:
        deltas = [part.delta for part in stream]
        assert stream.text == "one two three"
    assert deltas == ["one", " two", " three"]
    reply = stream.result()
    assert reply.text == "one two three"
    assert stream.result() is reply
    assert client.thread(reply.id)[-1] == reply


def test_nothing_is_sent_before_the_stream_is_entered(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    stream = client.stream_message("hi")
    assert chatgpt_server.requests == []
    with stream:
        assert len(chatgpt_server.requests) == 1


def test_a_stream_without_with(sync_client: ChatGPTAPI) -> None:
    stream = sync_client.stream_message("hi")
    assert "".join(part.delta or "" for part in stream) == stream.result().text


def test_a_stream_that_nobody_iterates_has_no_result(client: ChatGPTAPI) -> None:
    with client.stream_message("hi") as stream:
        with pytest.raises(StreamInterruptedError, match="not read to its end: iterate over it"):
            stream.result()
    with pytest.raises(StreamInterruptedError, match="left before its end"):
        stream.result()
    for _ in range(2):
        with pytest.raises(StreamInterruptedError, match="left before its end"):
            list(stream)
        stream.close()


def test_a_finished_stream_is_over(client: ChatGPTAPI) -> None:
    with client.stream_message("hi") as stream:
        parts = list(stream)
        assert list(stream) == []
    assert parts
    with stream:
        assert list(stream) == []
    assert repr(stream).startswith("<MessageStream, finished: 'You said: hi")


def test_a_stream_that_is_closed_before_it_began_sends_nothing(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    stream = client.stream_message("hi")
    stream.close()
    with pytest.raises(StreamInterruptedError):
        list(stream)
    assert chatgpt_server.requests == []


def test_leaving_early_closes_the_connection_and_stores_nothing(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.replies = lambda _: ENDLESS
    chatgpt_server.inject(*[Fault(part_delay=0.002)] * 3)

    def leave_by_break() -> None:
        with client.stream_message("hi") as stream:
            for part in stream:
                if part.text.count("word") == 3:
                    break
        with pytest.raises(StreamInterruptedError) as caught:
            stream.result()
        assert caught.value.partial == stream.text == "word word word "

    def leave_by_exception() -> None:
        with pytest.raises(KeyboardInterrupt), client.stream_message("hi") as stream:
            next(stream)
            raise KeyboardInterrupt

    def leave_by_close() -> None:
        with client.stream_message("hi") as stream:
            next(stream)
            stream.close()
            stream.close()

    for leave in (leave_by_break, leave_by_exception, leave_by_close):
        leave()
        request = chatgpt_server.requests[-1]
        wait_until_left(request)
        assert request.parts_sent < 200
    assert stored_messages(client) == []
    chatgpt_server.replies = ["fine"]
    assert client.send_message("hi").text == "fine"


def test_a_stream_that_is_left_while_a_part_is_waited_for(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    """By another task or thread, such as a stop button: it must not look like one that ended."""
    chatgpt_server.replies = [ENDLESS, "fine"]
    chatgpt_server.inject(Fault(part_delay=0.1))
    text = ""
    with client.stream_message("hi") as stream:
        stop = threading.Timer(0.25, stream.close)
        stop.start()
        with pytest.raises(StreamInterruptedError, match="left before its end") as caught:
            for part in stream:
                text += part.delta or ""
        stop.join()
    assert caught.value.partial == text != ""
    with pytest.raises(StreamInterruptedError, match="left before its end"):
        stream.result()
    wait_until_left(chatgpt_server.requests[0])
    assert stored_messages(client) == []
    assert client.send_message("hi").text == "fine"


def test_an_abandoned_stream_warns_and_closes(
    sync_client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.replies = [ENDLESS]
    chatgpt_server.inject(Fault(part_delay=0.002))
    stream = sync_client.stream_message("hi")
    next(stream)
    with pytest.warns(ResourceWarning, match="not read to its end"):
        del stream
        gc.collect()
    wait_until_left(chatgpt_server.requests[0])


def test_an_error_in_a_stream(client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = ["one two three"]
    chatgpt_server.inject(Fault(error_after=3))
    deltas: list[str | None] = []
    with pytest.raises(StreamError) as caught, client.stream_message("hi") as stream:
        deltas.extend(part.delta for part in stream)
    assert caught.value.partial == "one two"
    for take in (stream.result, lambda: list(stream)):
        with pytest.raises(StreamError) as again:
            take()
        assert again.value is caught.value


def test_the_parts_share_their_text(client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
    """A stream of n parts takes memory for n pieces, not for n texts."""
    chatgpt_server.replies = [Answer(parts=["x" * 100] * 300)]
    with client.stream_message("hi") as stream:
        parts = list(stream)
    assert not isinstance(parts[10]._text, str)
    assert [len(part.text) for part in parts] == [100 * n for n in range(1, 301)]
    assert parts[0].text == "x" * 100


@pytest.mark.parametrize("error", [StopIteration(), StopAsyncIteration()])
def test_a_stop_iteration_of_a_callback_is_no_end(
    engine: Engine, chatgpt_server: ChatGPTServer, error: Exception
) -> None:
    def failing(_: object) -> None:
        raise error

    client = engine.client(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, get_message_by_id=failing
    )
    with (
        pytest.raises(RuntimeError, match=r"raised Stop(Async)?Iteration"),
        client.stream_message("hi", message_id="q") as stream,
    ):
        list(stream)


@pytest.mark.parametrize("error", [StopIteration(), StopAsyncIteration()])
def test_a_stop_iteration_while_a_reply_is_saved_is_no_end(
    engine: Engine, chatgpt_server: ChatGPTServer, error: Exception
) -> None:
    def failing(_: object) -> None:
        raise error

    client = engine.client(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, upsert_message=failing
    )
    chatgpt_server.replies = ["dear"]
    with (
        pytest.raises(StoreError) as caught,
        client.stream_message("hi") as stream,
    ):
        list(stream)
    assert caught.value.partial == "dear"
