"""One table of faults: what a server does, and what a caller sees, the same on every engine.

Strategy: a fault is a script for one connection (`wire.py`). Each is met by a plain and by a streamed call; then
the same client asks once more, and gets an answer. The twins stand on other libraries (http.client, h11); what
they make of the same bytes must not differ.

Rules:

1. Before a whole head: `APIConnectionError`. After it: what came is kept, and the error tells the status.
2. An answer that ends in two ways at once, or holds more than it says, may give no second answer: what is left
   over of one is never read as the next.
"""

from __future__ import annotations

import gzip
import socket
from collections.abc import Mapping
from typing import Final

import pytest
from attrs import field, frozen

from chatgpt import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    InternalServerError,
    InvalidResponseError,
    StreamInterruptedError,
)
from tests.engines import Engine
from tests.reliability.observing import (
    WAYS,
    Seen,
    assert_same,
    error_seen,
    reply_seen,
    see_plain,
)
from tests.reliability.report import Report
from tests.reliability.wire import (
    WELL_TEXT,
    RawServer,
    Script,
    answer_of,
    answering,
    answering_and_resetting,
    answering_and_staying,
    chunked_answer,
    closing_at_once,
    closing_late,
    document,
    ending_its_side,
    event,
    resetting_at_once,
)

NO_ANSWER: Final = error_seen(APIConnectionError)
CUT: Final = error_seen(StreamInterruptedError, 200, partial="One two")
CUT_AT_ONCE: Final = error_seen(StreamInterruptedError, 200)
WHOLE: Final = reply_seen("One two three")
NO_REPLY: Final = error_seen(InvalidResponseError, 200)

BEGUN: Final = [event("One"), event(" two")]
STREAM: Final = [*BEGUN, event(" three"), event(finish_reason="stop"), b"data: [DONE]\n\n"]
DOCUMENT: Final = document("One two three")
SMUGGLED: Final = answer_of(document("Smuggled."))
"""An answer behind an answer."""

OK: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = OK + b"transfer-encoding: chunked\r\n\r\n"
GZIP: Final = b"content-encoding: gzip"


def in_a_chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


CHUNKED_BEGUN: Final = chunked_answer(*BEGUN).removesuffix(b"0\r\n\r\n")


@frozen
class Fault:
    """What goes wrong with one connection.

    Attributes:
        words: for the report.
        script: does it.
        seen: what a caller sees.
        options: of the call.
    """

    words: str
    script: Script
    seen: Seen
    options: Mapping[str, float] = field(factory=dict)


# --- the table -------------------------------------------------------------------------------

CONNECTIONS: Final = [
    Fault("the connection is reset as soon as it is made", resetting_at_once, NO_ANSWER),
    Fault("the connection is closed as soon as it is made", closing_at_once, NO_ANSWER),
    Fault("the connection is closed in place of an answer", answering(), NO_ANSWER),
    Fault("the connection is reset in place of an answer", answering_and_resetting(b""), NO_ANSWER),
    Fault("the server sends a FIN in place of an answer, and stays", ending_its_side(b""), NO_ANSWER),
    Fault("the server sends a FIN within a head, and stays", ending_its_side(OK + b"content-"), NO_ANSWER),
    Fault("the server sends a FIN within a stream, and stays", ending_its_side(CHUNKED_BEGUN), CUT),
    Fault("the server sends a FIN after the reply, and stays", ending_its_side(chunked_answer(*STREAM)), WHOLE),
    Fault("the server reads the request and says nothing", answering_and_staying(b""), error_seen(APITimeoutError, limit="total"), {"timeout": 0.3}),
    Fault("the server says a part and then nothing", answering_and_staying(CHUNKED_BEGUN), error_seen(APITimeoutError, 200, partial="One two", limit="total"), {"timeout": 0.3}),
    Fault("a part of a head, and then nothing", answering_and_staying(OK), error_seen(APITimeoutError, limit="total"), {"timeout": 0.3}),
    Fault("a stream without framing, closed a while after its end", closing_late(OK + b"\r\n" + b"".join(STREAM)), WHOLE),
    Fault("a document without framing, closed a while after its end", closing_late(OK + b"\r\n" + DOCUMENT), WHOLE),
    Fault("a stream without framing, closed a while after a part", closing_late(OK + b"\r\n" + b"".join(BEGUN)), CUT),
]  # fmt: skip

LENGTHS: Final = [
    Fault("a document shorter than its length", answering(answer_of(DOCUMENT, length=9999)), WHOLE),
    Fault("a stream shorter than its length", answering(answer_of(b"".join(STREAM), length=9999)), WHOLE),
    Fault("a part of a stream, shorter than its length", answering(answer_of(b"".join(BEGUN), length=9999)), CUT),
    Fault("a document longer than its length", answering(answer_of(DOCUMENT, length=20), keep=True), NO_REPLY),
    Fault("a stream longer than its length", answering(answer_of(b"".join(STREAM), length=len(b"".join(BEGUN))), keep=True), CUT),
    Fault("an answer behind the answer", answering(answer_of(DOCUMENT) + SMUGGLED, keep=True), WHOLE),
    Fault("an answer behind the last chunk", answering(chunked_answer(*STREAM) + SMUGGLED, keep=True), WHOLE),
    Fault("a length of 0 and a body", answering(answer_of(DOCUMENT, length=0), keep=True), CUT_AT_ONCE),
    Fault("a negative length", answering(answer_of(DOCUMENT, length=-5)), NO_ANSWER),
    Fault("a length that is no number", answering(OK + b"content-length: many\r\n\r\n" + DOCUMENT), NO_ANSWER),
    Fault("a length of 100 digits", answering(OK + b"content-length: " + b"9" * 100 + b"\r\n\r\n" + DOCUMENT), NO_ANSWER),
    Fault("two different lengths", answering(answer_of(DOCUMENT, b"content-length: 3")), NO_ANSWER),
    Fault("the same length twice", answering(answer_of(DOCUMENT, b"content-length: %d" % len(DOCUMENT))), WHOLE),
    Fault("spaces behind a transfer coding", answering(chunked_answer(*STREAM).replace(b": chunked\r\n", b": chunked \t\r\n"), keep=True), WHOLE),
    Fault("a transfer coding on a line of its own", answering(chunked_answer(*STREAM).replace(b": chunked\r\n", b":\r\n chunked\r\n"), keep=True), WHOLE),
    Fault("a header that goes on with nothing", answering(answer_of(DOCUMENT, b"x: y\r\n \t")), WHOLE),
    Fault("headers that begin with the rest of one", answering(OK + b" x: y\r\ncontent-length: 0\r\n\r\n"), NO_ANSWER),
    Fault("a transfer coding beside chunks", answering(chunked_answer(*STREAM).replace(b": chunked", b": gzip, chunked")), NO_ANSWER),
    Fault("chunks and a length", answering(chunked_answer(*STREAM, headers=[b"content-length: 7"])), WHOLE),
    Fault("an answer 204 with a body", answering(answer_of(DOCUMENT, status=b"204 No Content"), keep=True), error_seen(StreamInterruptedError, 204)),
    Fault("an answer 204 with an answer behind", answering(b"HTTP/1.1 204 No Content\r\n\r\n" + SMUGGLED, keep=True), error_seen(StreamInterruptedError, 204)),
    Fault("an answer 304 with a body", answering(answer_of(DOCUMENT, status=b"304 Not Modified"), keep=True), error_seen(APIStatusError, 304)),
]  # fmt: skip


def chunks(*broken: bytes, words: str, seen: Seen = CUT) -> Fault:
    """Two good chunks, and then these bytes."""
    return Fault(words, answering(CHUNKED_BEGUN + b"".join(broken)), seen)


CHUNKS: Final = [
    chunks(b"zz\r\nabc\r\n", words="a chunk size that is no number"),
    chunks(b"-5\r\nabcde\r\n", words="a negative chunk size"),
    chunks(b"+5\r\nabcde\r\n0\r\n\r\n", words="a chunk size with a plus"),
    chunks(b"0x5\r\nabcde\r\n0\r\n\r\n", words="a chunk size with 0x"),
    chunks(b"1_0\r\nabcdeabcdeabcdef\r\n0\r\n\r\n", words="a chunk size with an underscore"),
    chunks(b"\r\nabc\r\n", words="an empty chunk size"),
    chunks(b"f" * 40 + b"\r\n" + event(" three"), words="a chunk size of 40 digits"),
    chunks(b"5;" + b"x" * 200_000 + b"\r\nabcde\r\n", words="a chunk extension of 200 KB"),
    chunks(b"5\r\nabcdefghij\r\n0\r\n\r\n", words="a chunk longer than its size"),
    chunks(b"%x\r\n" % 9999 + event(" three"), words="a chunk shorter than its size", seen=error_seen(StreamInterruptedError, 200, partial="One two three")),
    chunks(b"%x\r\n" % 9999 + b"".join(STREAM[2:]), words="the end of the reply in a chunk shorter than its size", seen=WHOLE),
    chunks(*map(in_a_chunk, STREAM[2:]), words="no last chunk", seen=WHOLE),
]  # fmt: skip

STATUS_LINES: Final = [
    Fault("informational answers before the answer", answering(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nx: y\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + answer_of(DOCUMENT), keep=True), WHOLE),
    Fault("informational answers and nothing more", answering(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"), NO_ANSWER),
    Fault("an answer 101", answering(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n" + SMUGGLED, keep=True), NO_ANSWER),
    Fault("HTTP/1.0 with a length", answering(answer_of(DOCUMENT).replace(b"HTTP/1.1", b"HTTP/1.0")), WHOLE),
    Fault("HTTP/1.0 without a length", answering(b"HTTP/1.0 200 OK\r\n\r\n" + b"".join(STREAM)), WHOLE),
    Fault("HTTP/1.0 without a length, cut", answering(b"HTTP/1.0 200 OK\r\n\r\n" + b"".join(BEGUN)), CUT),
    Fault("HTTP/0.9: a document without a head", answering(DOCUMENT), NO_ANSWER),
    Fault("HTTP/0.9: a page without a head", answering(b"<html><title>hi</title></html>\r\n\r\n"), NO_ANSWER),
    Fault("the preface of HTTP/2", answering(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), NO_ANSWER),
    Fault("a frame of HTTP/2", answering(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"), NO_ANSWER),
    Fault("a greeting of SSH", answering(b"SSH-2.0-OpenSSH_9.2\r\n"), NO_ANSWER),
    Fault("a status of two digits", answering(b"HTTP/1.1 20 OK\r\n\r\n"), NO_ANSWER),
    Fault("a status that is no number", answering(b"HTTP/1.1 abc OK\r\n\r\n"), NO_ANSWER),
    Fault("no reason phrase", answering(answer_of(DOCUMENT, status=b"200")), WHOLE),
    Fault("a status line of 1 MB", answering(b"HTTP/1.1 200 " + b"x" * 1_000_000 + b"\r\n\r\n" + DOCUMENT), NO_ANSWER),
]  # fmt: skip

HEADERS: Final = [
    Fault("a header of 1 MB", answering(answer_of(DOCUMENT, b"x: " + b"y" * 1_000_000)), NO_ANSWER),
    Fault("20 headers of 50 KB", answering(answer_of(DOCUMENT, *[b"x%d: " % n + b"y" * 50_000 for n in range(20)])), NO_ANSWER),
    Fault("20,000 headers", answering(answer_of(DOCUMENT, *[b"x%d: y" % n for n in range(20_000)])), NO_ANSWER),
    Fault("headers without an end", answering(OK + b"x: y\r\n" * 200_000), NO_ANSWER),
    Fault("a page of HTML as application/json", answering(answer_of(b"<html><title>Hello</title></html>", b"content-type: application/json")), NO_REPLY),
    Fault("a stream as application/json", answering(answer_of(b"".join(STREAM), b"content-type: application/json")), WHOLE),
    Fault("a stream as image/png", answering(answer_of(b"".join(STREAM), b"content-type: image/png")), WHOLE),
    Fault("a document as text/event-stream", answering(answer_of(DOCUMENT, b"content-type: text/event-stream")), WHOLE),
    Fault("a character set that does not exist", answering(answer_of(DOCUMENT, b"content-type: application/json; charset=none-such")), WHOLE),
    Fault("a header without a colon", answering(answer_of(DOCUMENT, b"nonsense")), NO_ANSWER),
    Fault("a header with a NUL", answering(answer_of(DOCUMENT, b"x: a\0b")), NO_ANSWER),
]  # fmt: skip

_ZIPPED: Final = gzip.compress(b"".join(STREAM), mtime=0)
_ZIPPED_BEGUN: Final = gzip.compress(b"".join(BEGUN), mtime=0)
_ZIPPED_DOCUMENT: Final = gzip.compress(DOCUMENT, mtime=0)
_WRONG_SUM: Final = b"\0\0\0\0" + _ZIPPED[-4:]


def zipped(body: bytes, length: int | None = None) -> bytes:
    return answer_of(body, GZIP, length=length)


COMPRESSION: Final = [
    Fault("gzip cut before its checksum, rightly framed", answering(zipped(_ZIPPED[:-8])), WHOLE),
    Fault("gzip of a part cut before its checksum, rightly framed", answering(zipped(_ZIPPED_BEGUN[:-8])), CUT),
    Fault("gzip of a document cut in the middle, rightly framed", answering(zipped(_ZIPPED_DOCUMENT[:40])), CUT_AT_ONCE),
    Fault("gzip cut within its head", answering(zipped(_ZIPPED[:6])), CUT_AT_ONCE),
    Fault("gzip with a wrong checksum, after a moment", answering(zipped(_ZIPPED[:-8], length=len(_ZIPPED)), _WRONG_SUM, pause=0.1), WHOLE),
    Fault("gzip with a wrong checksum, at once", answering(zipped(_ZIPPED[:-8] + _WRONG_SUM)), CUT_AT_ONCE),
    Fault("garbage behind gzip", answering(zipped(_ZIPPED + b"garbage" * 100)), WHOLE),
    Fault("an empty body as gzip", answering(zipped(b"")), CUT_AT_ONCE),
    Fault("plain text as gzip", answering(zipped(DOCUMENT)), CUT_AT_ONCE),
    Fault("gzip that is not announced", answering(answer_of(_ZIPPED)), CUT_AT_ONCE),
    Fault("a compression that nobody knows", answering(answer_of(DOCUMENT, b"content-encoding: none-such")), WHOLE),
    Fault("gzip in chunks, closed within", answering(chunked_answer(_ZIPPED_BEGUN[:-8], headers=[GZIP]).removesuffix(b"0\r\n\r\n")), CUT),
]  # fmt: skip

STATUSES: Final = [
    Fault("an error whose body is cut", answering(answer_of(b'{"error": {"message": "Bad', status=b"500 Oh", length=999)), error_seen(InternalServerError, 500)),
    Fault("an error whose body is reset", answering_and_resetting(b""), NO_ANSWER),
    Fault("an error whose body is no gzip", answering(answer_of(b"broken", GZIP, status=b"500 Oh")), error_seen(InternalServerError, 500)),
    Fault("an error with bad chunks", answering(b"HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"), error_seen(InternalServerError, 500)),
    Fault("an error without a body", answering(b"HTTP/1.1 500 Oh\r\n\r\n"), error_seen(InternalServerError, 500)),
    Fault("status 999", answering(answer_of(b"", status=b"999 Oh")), error_seen(InternalServerError, 999)),
]  # fmt: skip

TABLE: Final = [*CONNECTIONS, *LENGTHS, *CHUNKS, *STATUS_LINES, *HEADERS, *COMPRESSION, *STATUSES]


def test_no_fault_is_listed_twice() -> None:
    assert len({fault.words for fault in TABLE}) == len(TABLE)


@pytest.mark.parametrize("way", ["plain", "stream"])
@pytest.mark.parametrize("fault", TABLE, ids=lambda fault: fault.words)
def test_a_fault(engine: Engine, report: Report, fault: Fault, way: str) -> None:
    with RawServer(fault.script) as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url, max_retries=0)
        seen = WAYS[way](report, client, **fault.options)
        assert_same(seen, fault.seen)
        assert see_plain(report, client, "again").text == WELL_TEXT, "the client is as good as new"
        report.tried("Faults", fault.words, engine.name, seen.in_words)


def test_nobody_listens(engine: Engine, report: Report) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen: the port is nobody else's
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        client = engine.client(api_key="sk-test", api_base_url=url, max_retries=0)
        for way, see in WAYS.items():
            seen = see(report, client)
            assert_same(seen, NO_ANSWER)
            assert "refused" in seen.message, way
            report.tried("Faults", "the connection is refused", engine.name, seen.in_words)
