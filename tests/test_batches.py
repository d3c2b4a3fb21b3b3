"""What one read brings is handed over together: whatever ends a call in the middle of it, no part is lost or made up.

Strategy: the server writes several events at once, and something behind them. On all engines the parts come first,
then the error, whose `partial` is their text; a caller who leaves between two of them has the text of those he took.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import pytest

import chatgpt
from chatgpt import CancelToken, ChatGPTError, ChatMessage, StreamInterruptedError
from tests.engines import Engine, stored_messages
from tests.reliability.scripts import CHUNKED, FINISHED, Waiting, framed, sending
from tests.reliability.wire import WELL_TEXT, RawServer, answer_of, answering, event

WORDS: Final = ["one ", "Grüße ", "three ", "👋🏽 ", "five"]
TEXTS: Final = ["".join(WORDS[: count + 1]) for count in range(len(WORDS))]
EVENTS: Final = b"".join(map(event, WORDS))
BEGUN: Final = CHUNKED + framed(EVENTS)
WHOLE: Final = answer_of(
    EVENTS + FINISHED + b"data: [DONE]\n\n", b"content-type: text/event-stream"
)


def client_of(engine: Engine, server: RawServer) -> Any:
    options: dict[str, Any] = {"max_retries": 0, "idle_timeout": 0.3}
    return engine.client(api_key="sk-test", api_base_url=server.base_url, **options)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (
            CHUNKED + framed(EVENTS + b'data: {"error": {"message": "overloaded"}}\n\n'),
            chatgpt.StreamError,
        ),
        (CHUNKED + framed(EVENTS + b"data: {no\n\n"), chatgpt.InvalidResponseError),
        (BEGUN + b"4", StreamInterruptedError),
        (BEGUN + b"zz\r\n", StreamInterruptedError),
        (BEGUN[:-2] + b"more", StreamInterruptedError),
        (WHOLE[: WHOLE.index(FINISHED)], StreamInterruptedError),
        (BEGUN + b"00", chatgpt.APITimeoutError),
    ],
)
def test_the_parts_of_a_read_come_before_its_error(
    engine: Engine, answer: bytes, kind: type[ChatGPTError]
) -> None:
    script = Waiting(sending(answer)) if kind is chatgpt.APITimeoutError else answering(answer)
    with RawServer(script, script) as server:
        client, told, taken = client_of(engine, server), list[str](), list[str]()
        with pytest.raises(kind) as caught:
            client.send_message("hi", on_progress=lambda part: told.append(part.text))
        with pytest.raises(kind) as of_stream, client.stream_message("hi") as stream:
            taken.extend(part.text for part in stream)
        assert told == taken == TEXTS
        assert caught.value.partial == of_stream.value.partial == stream.text == TEXTS[-1]
        assert stored_messages(client) == []
        assert client.send_message("hi").text == WELL_TEXT


@pytest.mark.parametrize("way", ["here", "another thread"])
@pytest.mark.parametrize("answer", [WHOLE, BEGUN, WHOLE + b"HTTP/1.1 500 No\r\n\r\n"])
def test_a_stream_that_is_left_between_two_parts_of_a_read(
    engine: Engine, answer: bytes, way: str
) -> None:
    """What is behind the end of an answer answers no other question."""
    for count in range(len(WORDS)):
        with RawServer(answering(answer, keep=True)) as server:
            client = client_of(engine, server)
            with pytest.raises(LookupError), client.stream_message("hi") as stream:
                for _ in range(count):
                    next(stream)
                if way == "another thread":
                    closing = threading.Thread(target=stream.close)
                    closing.start()
                    closing.join()
                raise LookupError
            assert stream.text == "".join(WORDS[:count])
            for take in (stream.result, stream.__next__):
                with pytest.raises(StreamInterruptedError, match="left before") as caught:
                    take()
                assert caught.value.partial == stream.text
            assert stored_messages(client) == []
            assert client.send_message("hi").text == WELL_TEXT


def test_a_function_that_fails_is_called_no_more(engine: Engine) -> None:
    with RawServer(answering(WHOLE, keep=True)) as server:
        client, told = client_of(engine, server), list[str]()

        def fail(part: ChatMessage) -> None:
            told.append(part.text)
            if len(told) == 2:
                raise LookupError

        with pytest.raises(LookupError):
            client.send_message("hi", on_progress=fail)
        assert told == TEXTS[:2]
        assert client.send_message("hi").text == WELL_TEXT


@pytest.mark.parametrize("answer", [WHOLE, BEGUN])
def test_no_part_follows_a_token_that_on_progress_cancels(engine: Engine, answer: bytes) -> None:
    """However many have come in the same read, and even if it is the whole reply: nothing is stored."""
    with RawServer(answering(answer, keep=True)) as server:
        client, token, told = client_of(engine, server), CancelToken(), list[str]()

        def stop(part: ChatMessage) -> None:
            told.append(part.text)
            token.cancel()

        with pytest.raises(chatgpt.AbortedError) as caught:
            client.send_message("hi", on_progress=stop, abort=token)
        assert told == [caught.value.partial] == TEXTS[:1]
        assert stored_messages(client) == []


def test_a_pool_gives_parts_once_and_its_account_back(engine: Engine) -> None:
    """No other account is tried once parts came, be it in the same read."""
    limited = b'data: {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}\n\n'
    with RawServer(answering(CHUNKED + framed(EVENTS + limited)), well=WHOLE) as server:
        accounts = [{"api_key": f"sk-{name}", "api_base_url": server.base_url} for name in "ab"]
        pool, told = engine.pool(accounts, max_concurrent=1), list[str]()
        with pytest.raises(ChatGPTError) as caught:
            pool.send_message("hi", on_progress=lambda part: told.append(part.text))
        assert told == TEXTS
        assert caught.value.partial == TEXTS[-1]
        assert len(server.requests) == 1
        for count in range(4):
            with pool.stream_message("hi") as stream:
                for _ in range(count):
                    next(stream)
            assert stream.text == "".join(WORDS[:count])
            assert [status.running for status in pool.status().values()] == [0, 0]
