from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt.transfer_chunks import LONGEST_LINE, ChunkDecoder


def coded(*chunks: bytes, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    return body + b"0" + extension + b"\r\n" + trailers + b"\r\n"


def decoded(*pieces: bytes) -> tuple[bytes, bool, bytes]:
    decoder = ChunkDecoder()
    data = b"".join(decoder.feed(piece) for piece in pieces)
    return data, decoder.is_over, decoder.rest if decoder.is_over else b""


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.sampled_from([b"", b";a=b", b"; a ", b"  "]),
    st.sampled_from([b"", b"a: b\r\n", b"a: b\r\nc: d\r\n"]),
    st.binary(max_size=10),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_any_chunks_however_they_are_cut(
    chunks: list[bytes], extension: bytes, trailers: bytes, behind: bytes, cuts: list[int]
) -> None:
    body = coded(*chunks, extension=extension, trailers=trailers) + behind
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[begin:end] for begin, end in pairwise(places)]
    assert decoded(*pieces) == (b"".join(chunks), True, behind)
    assert decoded(*(bytes([value]) for value in body)) == (b"".join(chunks), True, behind)


def test_what_came_of_a_chunk_is_there_at_once() -> None:
    decoder = ChunkDecoder()
    assert decoder.feed(b"ff\r\nabc") == b"abc"
    assert decoder.feed(b"") == b""
    assert decoder.feed(b"def") == b"def"
    assert not decoder.is_over


@pytest.mark.parametrize(
    "broken",
    [
        b"zz\r\n",
        b"-5\r\nabcde\r\n",
        b"+5\r\nabcde\r\n",
        b"0x5\r\nabcde\r\n",
        b"1_0\r\n",
        b" 5\r\nabcde\r\n",
        b"\r\n",
        b"5\nabcde\n",
        b"f" * 21 + b"\r\n",
        b"5 ;a=b\r\nabcde\r\n",
        b"3\r\nabcde\r\n",
        b"3\r\nabc\nd",
        b"5;" + b"x" * LONGEST_LINE,
        b"0\r\n" + b"x" * (LONGEST_LINE + 1),
        b"0\r\n" + b"x: y\r\n" * (LONGEST_LINE // 6 + 1),
    ],
)
def test_what_is_no_chunk(broken: bytes) -> None:
    """What came before, or of it, is handed out first."""
    decoder = ChunkDecoder()
    with pytest.raises(ValueError, match="chunk|trailers"):
        for value in broken:
            decoder.feed(bytes([value]))
    decoder = ChunkDecoder()
    assert decoder.feed(coded(b"word").removesuffix(b"0\r\n\r\n") + broken)[:4] == b"word"
    for _ in range(2):
        with pytest.raises(ValueError, match="chunk|trailers"):
            decoder.feed(b"")


@given(
    st.binary(max_size=60) | st.text("0123456789abcdefF;\r\n xyz-+_", max_size=40).map(str.encode)
)
def test_nothing_is_taken_that_h11_refuses(body: bytes) -> None:
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body)
    assert isinstance(peer.next_event(), h11.Response)
    theirs = b""
    is_over = False
    try:
        while (event := peer.next_event()) is not h11.NEED_DATA and not is_over:
            theirs += bytes(getattr(event, "data", b""))
            is_over = isinstance(event, h11.EndOfMessage)
    except h11.RemoteProtocolError:
        is_over = False
    try:
        ours, our_end, _ = decoded(body)
    except ValueError:
        return
    assert theirs.startswith(ours) or ours.startswith(theirs)
    if our_end:
        assert ours == theirs
