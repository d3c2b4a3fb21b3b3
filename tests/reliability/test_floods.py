"""Answers without an end: however much a server sends, memory and time are bounded.

Strategy: the server sends until the client leaves or it has sent all, and notes how much was taken. Memory is
measured with `tracemalloc`, which sees what Python and zlib hold; the server sends one and the same piece, so
that nearly all of it is the client's.
"""

from __future__ import annotations

import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from chatgpt import InternalServerError, InvalidResponseError, StreamInterruptedError
from tests.engines import Engine
from tests.reliability.observing import (
    Seen,
    assert_same,
    error_seen,
    see_plain,
    see_progress,
)
from tests.reliability.report import Report
from tests.reliability.wire import (
    WELL_TEXT,
    RawServer,
    Wire,
    answer_of,
    event,
    pouring,
)

MIB: Final = 1024 * 1024
STREAM_MEMORY: Final = 48 * MIB
"""An event has at most 16 MiB; a buffer that grows is held twice for a moment."""
DOCUMENT_MEMORY: Final = 144 * MIB
"""A document has at most 64 MiB."""

OPEN: Final = b"HTTP/1.1 200 OK\r\n\r\n"
ZIPPED_OPEN: Final = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n"
TOO_LARGE: Final = error_seen(InvalidResponseError, 200)


@contextmanager
def memory_peak(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak / MIB:.0f} MiB were held"


def zipped(beginning: bytes, filling: bytes) -> tuple[bytes, bytes]:
    """The beginning of a gzip, and a piece of it that stands for a MiB and can be repeated for ever."""
    compressor = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    head = compressor.compress(beginning) + compressor.flush(zlib.Z_FULL_FLUSH)
    piece = compressor.compress(filling * (MIB // len(filling)))
    return head, piece + compressor.flush(zlib.Z_FULL_FLUSH)


BEGUN: Final = event("One")
BOMB: Final = zipped(BEGUN + b"data: ", b"\0")
DOCUMENT_BOMB: Final = zipped(b'{"choices": "', b"\0")

FLOODS: Final = {
    "100 MB of one event": (OPEN + BEGUN + b"data: ", b"x" * MIB, 100, "One", STREAM_MEMORY),
    "100 MB of one comment": (OPEN + BEGUN + b":", b"x" * MIB, 100, "One", STREAM_MEMORY),
    "100 MB of lines of one event": (OPEN + BEGUN, b"data: x\n" * (MIB // 8), 100, "One", STREAM_MEMORY),
    "100 MB of one document": (OPEN + b'{"choices": "', b"x" * MIB, 100, "", DOCUMENT_MEMORY),
    "100 MB of a page": (OPEN + b"<html>", b"<p>" * (MIB // 3), 100, "", DOCUMENT_MEMORY),
    "10 MB of gzip that are 10 GB of one event": (ZIPPED_OPEN + BOMB[0], BOMB[1], 10_000, "One", STREAM_MEMORY),
    "10 MB of gzip that are 10 GB of one document": (ZIPPED_OPEN + DOCUMENT_BOMB[0], DOCUMENT_BOMB[1], 10_000, "", DOCUMENT_MEMORY),
}  # fmt: skip


@pytest.mark.parametrize("words", FLOODS)
def test_a_flood(engine: Engine, report: Report, words: str) -> None:
    head, piece, times, text, most = FLOODS[words]
    taken: list[int] = []
    with RawServer(pouring(head, piece, times, taken)) as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url, max_retries=0)
        with memory_peak(most):
            seen = see_progress(report, client)
        assert_same(seen, error_seen(InvalidResponseError, 200, partial=text))
        assert see_plain(report, client, "again").text == WELL_TEXT
    assert taken[0] < times * len(piece), "the client leaves before the end"
    report.tried("Floods", words, engine.name, seen.in_words)


def test_gzip_within_gzip(engine: Engine, report: Report) -> None:
    """A few KB that are 1 GB: each step is bounded, not the last alone."""
    head, piece = BOMB
    inner = head + piece * 1024
    compressor = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    answer = answer_of(
        compressor.compress(inner) + compressor.flush(), b"content-encoding: gzip, gzip"
    )

    def script(wire: Wire) -> None:
        wire.read_request()
        wire.send(answer)

    with RawServer(script) as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url, max_retries=0)
        with memory_peak(STREAM_MEMORY):
            seen = see_progress(report, client)
        assert seen.kind in ("InvalidResponseError", "StreamInterruptedError"), seen.message
        assert see_plain(report, client, "again").text == WELL_TEXT
    words = "an error, within bounded memory"
    report.tried("Floods", "gzip within gzip: some KB that are 1 GB", engine.name, words)


@pytest.mark.parametrize(
    ("words", "filling", "size"), [("blank lines", b"\n", 20), ("comments", b": alive\n\n", 1)]
)
def test_silence_without_an_end(
    engine: Engine, report: Report, words: str, filling: bytes, size: int
) -> None:
    """It says nothing, so nothing is kept of it."""
    taken: list[int] = []
    piece = filling * (MIB // len(filling))
    with RawServer(pouring(OPEN, piece, size, taken)) as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url, max_retries=0)
        with memory_peak(16 * MIB):
            seen = see_progress(report, client)
        assert_same(seen, error_seen(StreamInterruptedError, 200))
        assert see_plain(report, client, "again").text == WELL_TEXT
    report.tried("Floods", f"{size} MB of {words}, then a FIN", engine.name, seen.in_words)


# --- bodies of errors ------------------------------------------------------------------------

ERROR: Final = b"HTTP/1.1 500 Oh\r\n"
SAID: Final = b"It is broken. "


def pouring_for_ever(head: bytes, piece: bytes, pause: float) -> Callable[[Wire], None]:
    def script(wire: Wire) -> None:
        wire.read_request()
        wire.send(head)
        while wire.send(piece):
            time.sleep(pause)

    return script


ERROR_BODIES: Final = {
    "as fast as can be": pouring_for_ever(ERROR + b"\r\n" + SAID, b"x" * MIB, 0.0),
    "drop by drop": pouring_for_ever(ERROR + b"\r\n" + SAID, b"x", 0.02),
    "in chunks, drop by drop": pouring_for_ever(
        ERROR + b"transfer-encoding: chunked\r\n\r\ne\r\n" + SAID + b"\r\n", b"1\r\nx\r\n", 0.02
    ),
    "in one chunk, drop by drop": pouring_for_ever(
        ERROR + b"transfer-encoding: chunked\r\n\r\nffffff\r\n" + SAID, b"x", 0.02
    ),
    "of gzip": pouring_for_ever(
        ERROR + b"content-encoding: gzip\r\n\r\n" + zipped(SAID, b"x")[0],
        zipped(SAID, b"x")[1],
        0.0,
    ),
}


@pytest.mark.parametrize("words", ERROR_BODIES)
def test_an_endless_body_of_an_error(engine: Engine, report: Report, words: str) -> None:
    """The status and the beginning of the text are told within the time of the call."""
    with RawServer(ERROR_BODIES[words]) as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url, max_retries=0)
        with memory_peak(16 * MIB):
            began = time.monotonic()
            seen: Seen = see_plain(report, client, timeout=0.6)
            seconds = time.monotonic() - began
        assert_same(seen, error_seen(InternalServerError, 500))
        assert "It is broken." in seen.message
        assert seconds < 5  # `test_deadlines` measures it
        assert see_plain(report, client, "again").text == WELL_TEXT
    report.tried("Floods", f"an endless body of an error, {words}", engine.name, seen.in_words)
