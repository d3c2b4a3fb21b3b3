from __future__ import annotations

import itertools
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt.core import sse
from chatgpt.core.errors import InvalidResponseError
from chatgpt.core.sse import Event, SSEDecoder


def decode(*pieces: bytes) -> list[Event]:
    decoder = SSEDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.end()


def message(data: str) -> Event:
    return Event("message", data)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [message("a"), message("b")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [message("a"), message("b")]),
        (b"data: a\r\rdata: b\r\r", [message("a"), message("b")]),
        (
            b"data: a\n\r\ndata: b\r\n\ndata: c\r\n\rdata: d\n\r",
            [message(letter) for letter in "abcd"],
        ),
        (b"data: a\ndata: b\n\n", [message("a\nb")]),
        (b"data:a\n\n", [message("a")]),
        (b"data:  a\n\n", [message(" a")]),
        (b"event: delta\ndata: a\n\n", [Event("delta", "a")]),
        (b"id: 7\nretry: 10\ndata: a\n\n", [message("a")]),
        (b": keep-alive\n\ndata: a\n\n", [message("a")]),
        (b"id: 1\n\n: ping\n\n", []),
        (b"event: ping\n\n", []),
        (b"data:\n\ndata\n\n", []),
        (b"\n\n\n\ndata: a\n\n\n\n", [message("a")]),
        (b"data: a", [message("a")]),
        (b"data: a\n", [message("a")]),
        (
            "data: \u2028 \u0085 \x0b \x1c Grüße 👋\n\n".encode(),
            [message("\u2028 \u0085 \x0b \x1c Grüße 👋")],
        ),
        (b"data: \xff\xfe!\n\n", [message("\ufffd\ufffd!")]),
        (b'error: {"code": 500}\n\n', [Event("error", '{"code": 500}')]),
        (b"Internal Server Error\n\n", [Event("message", "Internal Server Error", "stray")]),
        (b'{"error": "naked"}\n\n', [Event("message", '{"error": "naked"}', "stray")]),
        (b"upstream: gone\nid: 4\n\n", [Event("message", "upstream: gone", "stray")]),
    ],
)
def test_what_a_stream_says(stream: bytes, events: list[Event]) -> None:
    assert decode(stream) == events
    assert decode(*(stream[n : n + 1] for n in range(len(stream)))) == events


LINES = st.sampled_from(
    [
        b"data: a",
        b"data: \xe4\xbd\xa0",
        b"data:",
        b": c",
        b"event: e",
        b"id: 1",
        b"error: x",
        b"text",
        b"\xf0\x9f\x91\x8b",
    ]
)


@given(
    lines=st.lists(
        st.tuples(LINES, st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r\r"]))
    ),
    cuts=st.lists(st.integers(0, 200)),
)
def test_how_the_bytes_are_cut_makes_no_difference(
    lines: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(line + end for line, end in lines)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[begin:end] for begin, end in itertools.pairwise(edges)]
    assert decode(*pieces) == decode(stream)


PLAIN = st.sampled_from(
    [b"data: a\n\n", b'data: {"b": "\xe4\xbd\xa0"}\n\n', b"data: \xe2\x80\xa8\xc2\x85c\n\n"]
)
ODD = st.sampled_from(
    [
        *(
            b"data:a\n\n",
            b"data: \n\n",
            b"data:  a\n\n",
            b": c\n\n",
            b": c\ndata: a\n\n",
            b"data: a\ndata: b\n\n",
        ),
        *(
            b"data: a\r\n\r\n",
            b"data: \xff\n\n",
            b"\ndata: a\n\n",
            b"event: e\ndata: a\n\n",
            b"data: a\n",
            b"x\n\n",
        ),
    ]
)


@given(blocks=st.lists(PLAIN | PLAIN | PLAIN | ODD), cuts=st.lists(st.integers(0, 200)))
def test_blocks_of_one_line_are_cut_as_all_others_are(blocks: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(blocks)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[begin:end] for begin, end in itertools.pairwise(edges)]
    with mock.patch.object(SSEDecoder, "_plain_events", return_value=None):
        expected = decode(stream)
    assert decode(stream) == expected
    assert decode(*pieces) == expected


def test_most_streams_do_not_go_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SSEDecoder, "_parse", None)
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\n\ndata: b\n\nda") == [message("a"), message("b")]
    assert decoder.feed(b"ta: c\n\n") == [message("c")]


@given(st.binary())
def test_any_bytes_decode(stream: bytes) -> None:
    for event in decode(stream):
        event.data.encode()


def test_a_block_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LARGEST_BLOCK", 1000)
    decoder = SSEDecoder()
    with pytest.raises(InvalidResponseError, match="more than 1000 bytes"):
        for _ in range(2000):
            decoder.feed(b"data: x")


def test_a_block_of_very_many_lines_is_refused() -> None:
    with pytest.raises(InvalidResponseError, match="more than 1000 lines"):
        decode(b"data:\n" * 100_000 + b"\n")


def test_comments_without_an_end_are_dropped() -> None:
    decoder = SSEDecoder()
    for _ in range(20_000):
        assert decoder.feed(b": ping\r\n") == []
    assert len(decoder._buffer) < 100
    assert decoder.feed(b"data: a\r\n\r\n") == [message("a")]


def test_an_event_behind_a_comment_has_begun() -> None:
    decoder = SSEDecoder()
    decoder.feed(b": comment\n: more\n")
    assert not decoder.has_begun_event
    decoder.feed(b"da")
    assert decoder.has_begun_event


def test_an_event_that_has_begun() -> None:
    decoder = SSEDecoder()
    assert not decoder.has_begun_event
    decoder.feed(b": comment")
    assert not decoder.has_begun_event
    decoder.feed(b"\n\n\n")
    assert not decoder.has_begun_event
    decoder.feed(b"\ndata")
    assert decoder.has_begun_event
