"""Real answers that are cut at every byte: what a caller is owed is worked out from the bytes alone.

Strategy: for each position a plain reader of the bytes, which shares nothing with the SDK, says what has come:
no head, a part of a reply, or the whole of it. The answers are recordings, shortened to the headers and fields
that matter, so that every position can be tried on every engine.

Rules:

1. No whole head: `APIConnectionError`, which is worth trying again.
2. A head, and no whole reply: `StreamInterruptedError`, whose `partial` is the text of every event that can be
   read, that whose blank line is missing included.
3. A `finish_reason` that can be read: the reply.
4. Bytes that came are not lost because the framing around them is cut: half a chunk counts.
5. After a reset the system may throw away what it received: then less may have come, never more.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from typing import Any, Final

import pytest

from chatgpt import APIConnectionError, StreamInterruptedError
from tests.engines import Engine
from tests.recordings import body_of, capture
from tests.reliability.observing import (
    Seen,
    error_seen,
    reply_seen,
    see_plain,
    see_progress,
)
from tests.reliability.report import Report
from tests.reliability.wire import (
    WELL_TEXT,
    RawServer,
    answer_of,
    answering,
    answering_and_resetting,
    chunked_answer,
)


def _events_of(name: str) -> list[bytes]:
    """The events of a recorded stream, with the fields that matter for its text alone."""
    events = []
    for block in body_of(capture(name)).split(b"\n\n"):
        data = block.removeprefix(b"data: ")
        if data.startswith(b"{"):
            (choice,) = json.loads(data)["choices"]
            kept = {key: choice[key] for key in ("delta", "finish_reason")}
            data = json.dumps({"choices": [kept]}, separators=(",", ":")).encode()
        if data:
            events.append(b"data: %s\n\n" % data)
    return events


def _gzipped(events: list[bytes]) -> Iterator[bytes]:
    """Each event readable as soon as it is here, as nginx compresses what it does not buffer."""
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    for event in events:
        yield compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
    yield compressor.flush()


def _plain_answer() -> bytes:
    whole = json.loads(body_of(capture("mockaiapi-chat")))
    kept = {key: whole[key] for key in ("id", "choices", "usage")}
    body = json.dumps(kept, separators=(",", ":")).encode()
    return answer_of(body, b"content-type: application/json")


def _several_in_a_chunk(events: list[bytes]) -> Iterator[bytes]:
    """As a proxy with a buffer sends them."""
    for begin in range(0, len(events), 4):
        yield b"".join(events[begin : begin + 4])


_SLOW: Final = _events_of("nginx-nobuf-chat-stream-slow")

ANSWERS: Final = {
    "a document with a length": _plain_answer(),
    "a stream in chunks": chunked_answer(
        *_several_in_a_chunk(_SLOW), headers=[b"content-type: text/event-stream"]
    ),
    "a compressed stream in chunks": chunked_answer(
        *_gzipped(_SLOW),
        headers=[b"content-type: text/event-stream", b"content-encoding: gzip"],
    ),
    "a stream that ends with its connection": b"HTTP/1.1 200 OK\r\n\r\n"
    + b"".join(_events_of("mockaiapi-chat-stream")),
}


# --- what the bytes alone say ----------------------------------------------------------------


def _arrived_body(raw: bytes) -> bytes | None:
    """What has come of the body, its chunks joined, decompressed; `None` before the head is complete."""
    head, blank_line, body = raw.partition(b"\r\n\r\n")
    if not blank_line:
        return None
    if b"chunked" in head:
        joined = b""
        while size := re.match(rb"([0-9a-f]+)\r\n", body):
            joined += body[size.end() : size.end() + int(size[1], 16)]
            body = body[size.end() + int(size[1], 16) + 2 :]
        body = joined
    return (
        zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(body) if b"gzip" in head else body
    )


def _expected(raw: bytes) -> Seen:
    """What a caller is owed who was sent these bytes, and then a FIN."""
    body = _arrived_body(raw)
    if body is None:
        return error_seen(APIConnectionError)
    blocks = [body] if body.startswith(b"{") else body.split(b"\n\n")
    text, is_complete = "", False
    for block in blocks:
        data = block.removeprefix(b"data: ").strip()
        is_complete = is_complete or data == b"[DONE]"
        try:
            (choice,) = json.loads(data)["choices"]
        except ValueError:
            continue
        text += choice.get("delta", choice.get("message")).get("content") or ""
        is_complete = is_complete or choice["finish_reason"] is not None
    if is_complete:
        return reply_seen(text)
    return error_seen(StreamInterruptedError, 200, partial=text)


def _is_allowed_after_a_reset(seen: Seen, owed: Seen) -> bool:
    """The same or less: what had come and was not read may be gone."""
    if seen.kind is None:
        return owed.kind is None and seen.text == owed.text
    if seen.kind == APIConnectionError.__name__:
        return seen.text is None
    is_cut = seen.kind == StreamInterruptedError.__name__ and seen.status_code == 200
    is_begun = owed.kind != APIConnectionError.__name__
    return is_cut and is_begun and (owed.text or "").startswith(seen.text or "")


def test_the_reader_of_this_file_reads_the_whole_answers() -> None:
    """What it says is worth nothing if it does not find what is there."""
    texts = {name: _expected(raw).text for name, raw in ANSWERS.items()}
    slow = "A slow answer that takes its time, chunk by chunk."
    nice = "Hello. It's nice to meet you."
    assert list(texts.values()) == [nice, slow, slow, nice]
    kinds = {_expected(raw[:size]).kind for raw in ANSWERS.values() for size in range(len(raw) + 1)}
    assert kinds == {None, "APIConnectionError", "StreamInterruptedError"}


# --- every position --------------------------------------------------------------------------


def _see(report: Report, client: Any, name: str) -> Seen:
    return (see_plain if "document" in name else see_progress)(report, client)


@pytest.mark.parametrize("name", ANSWERS)
def test_closed_at_every_position(engine: Engine, report: Report, name: str) -> None:
    raw = ANSWERS[name]
    failures: list[str] = []
    with RawServer() as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url, max_retries=0)
        for size in range(len(raw) + 1):
            server.scripts.append(answering(raw[:size]))
            seen, owed = _see(report, client, name), _expected(raw[:size])
            if seen.outcome != owed.outcome:
                failures.append(
                    f"after {size} bytes, {raw[max(size - 20, 0) : size]!r}: {seen.outcome} is not {owed.outcome}"
                )
            else:
                report.tried("Every position", f"{name}, closed", engine.name, seen.in_words)
            if seen.kind == APIConnectionError.__name__:
                assert seen.error is not None
                assert seen.error.is_final is False, "it is worth trying again"
        assert len(server.requests) == len(raw) + 1
        assert see_plain(report, client).text == WELL_TEXT
    assert not failures, f"{len(failures)} positions:\n" + "\n".join(failures[:400])


@pytest.mark.parametrize("name", ANSWERS)
def test_reset_at_every_position(engine: Engine, report: Report, name: str) -> None:
    raw = ANSWERS[name]
    failures: list[str] = []
    with RawServer() as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url, max_retries=0)
        for size in range(len(raw) + 1):
            server.scripts.append(answering_and_resetting(raw[:size]))
            seen, owed = _see(report, client, name), _expected(raw[:size])
            if not _is_allowed_after_a_reset(seen, owed):
                failures.append(
                    f"after {size} bytes, {raw[max(size - 20, 0) : size]!r}: {seen.outcome} for {owed.outcome}"
                )
            else:
                words = "the same, or less: a reset may take with it what was received"
                report.tried("Every position", f"{name}, reset", engine.name, words)
        assert see_plain(report, client).text == WELL_TEXT
    assert not failures, f"{len(failures)} positions:\n" + "\n".join(failures[:400])
