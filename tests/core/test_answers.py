from __future__ import annotations

import pytest

from chatgpt.core import answers
from chatgpt.core.answers import AnswerDecoder
from chatgpt.core.errors import InvalidResponseError
from chatgpt.core.sse import Event


def decode(*pieces: bytes) -> list[Event]:
    decoder = AnswerDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.end()


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b'{"a": 1}', [Event("message", '{"a": 1}', "document")]),
        (b'\xef\xbb\xbf\n\n \r\n{"a": 1}', [Event("message", '{"a": 1}', "document")]),
        (b"[1]", [Event("message", "[1]", "document")]),
        (b'"text"', [Event("message", '"text"', "document")]),
        (b"<html>\n\n</html>", [Event("message", "<html>\n\n</html>", "document")]),
        (b'{"a":\n\n1}', [Event("message", '{"a":\n\n1}', "document")]),
        (b'{"a": "\xff"}', [Event("message", '{"a": "\ufffd"}', "document")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event("message", "a")]),
        (b"\n\n: wait\n\ndata: a\n\n", [Event("message", "a")]),
        (b"data: [DONE]", [Event("message", "[DONE]")]),
        (b"", []),
        (b"\n\n\n", []),
    ],
)
def test_the_first_byte_decides(body: bytes, events: list[Event]) -> None:
    assert decode(body) == events
    assert decode(*(body[n : n + 1] for n in range(len(body)))) == events


def test_a_document_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LARGEST_DOCUMENT", 1000)
    decoder = AnswerDecoder()
    decoder.feed(b"{")
    with pytest.raises(InvalidResponseError, match="more than 1000 bytes"):
        for _ in range(2000):
            decoder.feed(b" x")


def test_blank_lines_before_an_answer_are_silence() -> None:
    decoder = AnswerDecoder()
    decoder.feed(b"\n\n")
    assert not decoder.has_begun_event
    decoder.feed(b"{")
    assert decoder.has_begun_event
