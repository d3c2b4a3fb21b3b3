"""What is sent again, and what never is, against a real server on every engine."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from chatgpt import APIConnectionError, ChatGPTAPI
from chatgpt.testing import ChatGPTServer, Fault
from tests.engines import Engine
from tests.reliability.observing import Seen, see_plain, see_stream
from tests.reliability.report import Report
from tests.reliability.scripts import CHUNKED, WORD
from tests.reliability.wire import (
    WELL,
    WELL_TEXT,
    RawServer,
    Wire,
    answering,
    answering_and_resetting,
)

DATE: Final = "Sun, 06 Nov 1994 08:49:37 GMT"
"""In the past: no more is to be waited."""


@pytest.fixture
def client(engine: Engine, chatgpt_server: ChatGPTServer) -> ChatGPTAPI:
    return engine.client(api_key=chatgpt_server.api_key, api_base_url=chatgpt_server.base_url)


HEADERS: list[dict[str, str]] = [
    {"retry-after-ms": "30", "retry-after": "1"},
    {"retry-after": "0.03"},
    {"retry-after-ms": "30.5"},
    {"retry-after": "Sun, 06 Nov 1994 08:49:38 GMT", "date": DATE},
    {"retry-after": "Sunday, 06-Nov-94 08:49:38 GMT", "date": DATE},
    {"retry-after": "Sun Nov  6 08:49:38 1994", "date": DATE},
    {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6ms"},
    {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1"},
    {"x-should-retry": "true"},
]


@pytest.mark.parametrize("headers", HEADERS, ids=str)
def test_the_headers_of_a_rate_limit(
    client: ChatGPTAPI,
    engine: Engine,
    chatgpt_server: ChatGPTServer,
    report: Report,
    headers: dict[str, str],
) -> None:
    status = 400 if "x-should-retry" in headers else 429
    chatgpt_server.inject(Fault(status=status, headers=headers))
    assert see_plain(report, client).kind is None
    assert len(chatgpt_server.requests) == 2
    report.tried(
        "Retries",
        f"{status} with " + " and ".join(f"`{name}: {value}`" for name, value in headers.items()),
        engine.name,
        "the reply",
    )


REFUSALS = [
    (Fault(status=429, body=json.dumps({"error": {"message": "pay", "code": "insufficient_quota"}})), "QuotaExceededError"),
    (Fault(status=429, body=json.dumps({"error": {"message": "pay", "type": "insufficient_quota"}}), headers={"x-should-retry": "true"}), "QuotaExceededError"),
    (Fault(status=429, body=json.dumps({"error": {"message": "pay", "code": "organization_spend_limit_exceeded"}})), "QuotaExceededError"),
    (Fault(status=500, headers={"x-should-retry": "false"}), "InternalServerError"),
    (Fault(status=401), "AuthenticationError"),
    (Fault(status=404), "NotFoundError"),
    (Fault(status=429, headers={"retry-after": "3600"}), "RateLimitError"),
    (Fault(cut_after=700), "StreamInterruptedError"),
    (Fault(cut_after=700, reset=True), "StreamInterruptedError"),
    (Fault(error_after=2), "StreamError"),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "kind"), REFUSALS)
def test_what_is_not_sent_again(
    client: ChatGPTAPI,
    engine: Engine,
    chatgpt_server: ChatGPTServer,
    report: Report,
    fault: Fault,
    kind: str,
) -> None:
    chatgpt_server.inject(fault)
    seen = see_stream(report, client, timeout=20)
    assert seen.kind == kind, seen
    assert len(chatgpt_server.requests) == 1
    report.tried("Retries", _in_words(fault), engine.name, f"`{kind}`, sent once")


def _in_words(fault: Fault) -> str:
    if fault.cut_after is not None:
        return "a stream is " + ("reset" if fault.reset else "cut")
    if fault.error_after is not None:
        return "an error within a stream"
    quota = "of a quota" if "pay" in str(fault.body) else ""
    headers = " and ".join(f"`{name}: {value}`" for name, value in fault.headers.items())
    return " ".join(filter(None, (str(fault.status), quota, headers and f"with {headers}")))


# --- connections that were closed while they were idle ---------------------------------------


def then(*what: str) -> Any:
    """Answer one request well; read the next one, and lose the connection."""

    def script(wire: Wire) -> None:
        wire.read_request()
        wire.send(WELL)
        wire.read_request()
        if "reset" in what:
            wire.reset()

    return script


@pytest.mark.parametrize("way", ["closed", "reset"])
def test_a_connection_that_the_server_closes_as_a_request_comes(
    engine: Engine, report: Report, way: str
) -> None:
    """It had been idle too long, and the two crossed: sent again, although there are no retries."""
    with RawServer(then(way), then(way)) as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url, max_retries=0)
        assert see_plain(report, client).text == WELL_TEXT
        assert see_plain(report, client).text == WELL_TEXT
        assert (len(server.requests), server.connections) == (3, 2)
        assert see_stream(report, client).text == WELL_TEXT
        assert (len(server.requests), server.connections) == (5, 3)
    report.tried(
        "Retries",
        f"an idle connection is {way} as a request comes",
        engine.name,
        "the reply, without counting",
        2,
    )


def test_a_new_connection_that_is_lost_counts(engine: Engine, report: Report) -> None:
    for lose in (answering(b""), answering_and_resetting(b"")):
        with RawServer(lose, lose, lose) as server:
            client = engine.client(api_key="sk-test", api_base_url=server.base_url, max_retries=1)
            seen = see_plain(report, client)
            assert seen.kind == "APIConnectionError", seen
            assert len(server.requests) == 2
    report.tried(
        "Retries",
        "new connections are lost again and again",
        engine.name,
        "`APIConnectionError` after `max_retries`",
        2,
    )


@pytest.mark.parametrize("way", ["closed", "reset"])
def test_a_message_of_the_web_flow_is_not_sent_again(
    engine: Engine, report: Report, way: str
) -> None:
    """Not even over a connection that may have been closed long ago: nobody knows whether it was taken."""
    with RawServer(web_then(way)) as server:
        client = engine.proxy_client(
            access_token="token", api_reverse_proxy_url=f"{server.base_url}/conversation"
        )
        assert see_plain(report, client).text == "Hi"
        seen: Seen = see_plain(report, client)
        assert seen.kind == "APIConnectionError", seen
        assert len(server.requests) == 2
    report.tried(
        "Retries",
        f"web flow: an idle connection is {way} as a message comes",
        engine.name,
        "`APIConnectionError`, sent once",
    )


def web_then(way: str) -> Any:
    message = {
        "message": {
            "id": "0b1a1d4c-0000-4000-8000-000000000001",
            "author": {"role": "assistant"},
            "content": {"content_type": "text", "parts": ["Hi"]},
            "status": "finished_successfully",
            "end_turn": True,
            "metadata": {},
            "recipient": "all",
        },
        "conversation_id": "0b1a1d4c-0000-4000-8000-000000000002",
    }
    event = f"data: {json.dumps(message)}\n\ndata: [DONE]\n\n".encode()

    def script(wire: Wire) -> None:
        wire.read_request()
        wire.send(CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(event), event))
        wire.read_request()
        if way == "reset":
            wire.reset()

    return script


def test_nothing_is_sent_again_after_the_first_byte(engine: Engine, report: Report) -> None:
    """Of a body; what breaks within the head is a connection that failed."""
    with RawServer(answering(CHUNKED), answering(CHUNKED + WORD)) as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url, max_retries=2)
        for partial in ("", "word "):
            seen = see_stream(report, client)
            assert (seen.kind, seen.text or "") == ("StreamInterruptedError", partial)
        assert len(server.requests) == 2
    report.tried(
        "Retries",
        "the connection is lost after the head",
        engine.name,
        "`StreamInterruptedError`, sent once",
        2,
    )


@pytest.mark.parametrize("line", [b"x: " + b"y" * 70_000, b"x: y\r\n" * 101 + b"z: z"])
def test_a_head_that_is_refused_is_no_lost_connection(line: bytes) -> None:
    """http.client takes no such head (httpx2 does): the server has answered, so nothing is sent again."""

    def answer(wire: Wire) -> None:
        wire.read_request()
        wire.send(WELL)
        wire.read_request()
        wire.send(WELL.replace(b"\r\n", b"\r\n" + line + b"\r\n", 1))

    with (
        RawServer(answer) as server,
        ChatGPTAPI(api_key="sk-test", api_base_url=server.base_url, max_retries=0) as client,
    ):
        assert client.send_message("hi").text == WELL_TEXT
        with pytest.raises(APIConnectionError, match="what the server sent is not HTTP"):
            client.send_message("hi")
        assert len(server.requests) == 2
