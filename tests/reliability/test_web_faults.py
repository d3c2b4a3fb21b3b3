"""The same faults on the way to ChatGPT's own backend, whose messages must not be sent twice.

Strategy: the table's core, with `max_retries=2`: the server counts the messages that it was sent.

Rules:

1. A message that may have reached the server is sent once, whatever becomes of the answer.
2. Where no connection was made, it is sent again.
3. The text that came is in `partial`.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from typing import Any, Final
from uuid import uuid4

import pytest

from chatgpt import (
    APIConnectionError,
    APIStatusError,
    ChatGPTUnofficialProxyAPI,
    InternalServerError,
    StreamInterruptedError,
)
from tests.engines import Engine
from tests.reliability.observing import (
    Seen,
    assert_same,
    error_seen,
    reply_seen,
    see_plain,
    see_progress,
)
from tests.reliability.report import Report
from tests.reliability.wire import (
    RawServer,
    Wire,
    answer_of,
    answering,
    answering_and_resetting,
    chunked_answer,
    closing_at_once,
    ending_its_side,
    resetting_at_once,
)

TOKEN: Final = "access-of-this-host-alone"
CONVERSATION: Final = str(uuid4())
MESSAGE: Final = str(uuid4())
DONE: Final = b"data: [DONE]\n\n"
NO_ANSWER: Final = error_seen(APIConnectionError)


def snapshot(text: str, *, is_finished: bool = False) -> bytes:
    """An event of the older dialect: the whole message so far."""
    message = {
        "id": MESSAGE,
        "author": {"role": "assistant"},
        "content": {"content_type": "text", "parts": [text]},
        "status": "finished_successfully" if is_finished else "in_progress",
        "end_turn": True if is_finished else None,
    }
    return (
        b"data: %s\n\n"
        % json.dumps({"message": message, "conversation_id": CONVERSATION, "error": None}).encode()
    )


EVENTS: Final = [
    snapshot("One"),
    snapshot("One two"),
    snapshot("One two three", is_finished=True),
    DONE,
]
TEXTS: Final = ["", "One", "One two", "One two three", "One two three"]
WELL: Final = chunked_answer(
    snapshot("Still here.", is_finished=True), DONE, headers=[b"connection: close"]
)
"""It closes the connection, so that the next request comes over one that a script has."""
GZIP: Final = b"content-encoding: gzip"


def web_client(engine: Engine, server: RawServer, **options: Any) -> ChatGPTUnofficialProxyAPI:
    url = f"http://127.0.0.1:{server.port}/backend-api/conversation"
    return engine.proxy_client(access_token=TOKEN, api_reverse_proxy_url=url, **options)


def check_once(report: Report, client: Any, server: RawServer, expected: Seen) -> Seen:
    """Send a message: it is seen what is expected, it was sent once, and the next one is answered."""
    before = len(server.requests)
    seen = see_progress(report, client)
    assert_same(seen, expected)
    assert len(server.requests) == before + 1, "a message is sent once"
    assert see_plain(report, client, "again").text == "Still here."
    return seen


def _lost(report: Report, client: Any, server: RawServer, texts: list[str]) -> Seen:
    """The same after a reset, where less may have come than was sent."""
    before = len(server.requests)
    seen = see_progress(report, client)
    assert (seen.text or "") in texts
    assert seen.kind in (None, "APIConnectionError", "StreamInterruptedError"), seen.message
    assert seen.kind is not None or seen.text == TEXTS[-1]
    assert len(server.requests) == before + 1, "a message is sent once"
    assert see_plain(report, client, "again").text == "Still here."
    return seen


def test_cut_between_and_within_events(engine: Engine, report: Report) -> None:
    """At the ends of events, within them and within the head."""
    raw = chunked_answer(*EVENTS)
    begin = raw.index(b"data:")
    head = raw.index(b"\r\n\r\n") + 4
    cases: list[tuple[int, Seen]] = [(0, NO_ANSWER), (head - 1, NO_ANSWER)]
    cases.append((head, error_seen(StreamInterruptedError, 200)))
    for number, event in enumerate(EVENTS):
        cut = error_seen(StreamInterruptedError, 200, partial=TEXTS[number])
        whole = reply_seen(TEXTS[-1])
        cases.append((begin + len(event) // 2, whole if number == 3 else cut))
        cut = error_seen(StreamInterruptedError, 200, partial=TEXTS[number + 1])
        end = begin + len(event) + 2
        cases.append((end, whole if number >= 2 else cut))
        begin = raw.find(b"data:", end)
    with RawServer(well=WELL) as server:
        client = web_client(engine, server, max_retries=2)
        for size, expected in cases:
            server.scripts.append(answering(raw[:size]))
            seen = check_once(report, client, server, expected)
            report.tried(
                "Web flow", "the connection is closed after some bytes", engine.name, seen.in_words
            )
            server.scripts.append(answering_and_resetting(raw[:size]))
            seen = _lost(report, client, server, TEXTS)
            report.tried(
                "Web flow", "the connection is reset after some bytes", engine.name, seen.in_words
            )


_ZIPPED: Final = gzip.compress(b"".join(EVENTS), mtime=0)
_ZIPPED_BEGUN: Final = gzip.compress(b"".join(EVENTS[:2]), mtime=0)

# The script closes its connection behind a whole answer, and says so: the next message must not meet the end of it.
_CLOSING: Final = b"connection: close"

FAULTS: Final = {
    "gzip of a part cut before its checksum": (
        answering(answer_of(_ZIPPED_BEGUN[:-8], GZIP, _CLOSING)),
        error_seen(StreamInterruptedError, 200, partial="One two"),
    ),
    "gzip cut before its checksum": (
        answering(answer_of(_ZIPPED[:-8], GZIP, _CLOSING)),
        reply_seen(TEXTS[-1]),
    ),
    "plain text as gzip": (
        answering(answer_of(b"".join(EVENTS), GZIP, _CLOSING)),
        error_seen(StreamInterruptedError, 200),
    ),
    "a FIN within the stream, the server stays": (
        ending_its_side(chunked_answer(*EVENTS[:2]).removesuffix(b"0\r\n\r\n")),
        error_seen(StreamInterruptedError, 200, partial="One two"),
    ),
    "an error 500 whose body is cut": (
        answering(answer_of(b"Internal", status=b"500 Oh", length=99)),
        error_seen(InternalServerError, 500),
    ),
    "an answer 204": (
        answering(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"),
        error_seen(StreamInterruptedError, 204),
    ),
}


@pytest.mark.parametrize("words", FAULTS)
def test_a_fault(engine: Engine, report: Report, words: str) -> None:
    script, expected = FAULTS[words]
    with RawServer(script, well=WELL) as server:
        seen = check_once(report, web_client(engine, server, max_retries=2), server, expected)
        report.tried("Web flow", words, engine.name, seen.in_words)


@pytest.mark.parametrize("script", [resetting_at_once, closing_at_once])
def test_a_connection_that_is_lost_at_once(engine: Engine, report: Report, script: Any) -> None:
    """It was made, so the message may have reached the server: it is not sent on another one."""
    with RawServer(script, well=WELL) as server:
        client = web_client(engine, server, max_retries=2)
        seen = see_progress(report, client)
        # A reset may be seen while connecting still: then nothing was sent, and it is sent now.
        was_sent_now = [reply_seen("Still here.")] if script is resetting_at_once else []
        assert_same(seen, NO_ANSWER, *was_sent_now)
        assert len(server.requests) == (1 if seen.kind is None else 0)
        assert see_plain(report, client, "again").text == "Still here."
        report.tried(
            "Web flow",
            "a connection that is lost as soon as it is made",
            engine.name,
            seen.in_words,
        )


def test_an_endless_body_of_an_error(engine: Engine, report: Report) -> None:
    left = threading.Event()

    def script(wire: Wire) -> None:
        wire.read_request()
        wire.send(b"HTTP/1.1 500 Oh\r\n\r\nIt is broken. ")
        while wire.send(b"x"):
            time.sleep(0.02)
        left.set()

    with RawServer(script, well=WELL) as server:
        client = web_client(engine, server, max_retries=2)
        began = time.monotonic()
        seen = see_progress(report, client, timeout=0.6)
        assert time.monotonic() - began < 5  # `test_deadlines` measures it
        assert_same(seen, error_seen(InternalServerError, 500))
        assert "It is broken." in seen.message
        assert len(server.requests) == 1
        assert left.wait(5), "the connection is closed"
        assert see_plain(report, client, "again").text == "Still here."
        report.tried(
            "Web flow", "an endless body of an error, drop by drop", engine.name, seen.in_words
        )


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_redirect_to_another_host(engine: Engine, report: Report, status: int) -> None:
    with RawServer(well=WELL) as elsewhere, RawServer(well=WELL) as server:
        # It says that it closes the connection, as it does: the next message must not meet the end of it.
        headers = b"location: %s" % elsewhere.base_url.encode(), b"connection: close"
        server.scripts.append(answering(answer_of(b"", *headers, status=b"%d Moved" % status)))
        client = web_client(engine, server, max_retries=2)
        seen = check_once(report, client, server, error_seen(APIStatusError, status))
        assert (elsewhere.connections, elsewhere.requests) == (0, [])
        report.tried(
            "Web flow", f"a redirect ({status}) to another host", engine.name, seen.in_words
        )
