"""Answers that random mutations found: each was wrong once, and is played as it was found.

Strategy: as in `test_mutations.py`: an answer is played through the core, in one read and byte by byte,
and everything that must hold for any answer is asserted on the way.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest

from chatgpt import APIStatusError, InvalidResponseError, StreamError
from chatgpt.core.error_bodies import status_error, stream_error
from chatgpt.core.needs import ResponseHead
from chatgpt.core.replies import _joined_parts
from chatgpt.core.sse import SSEDecoder
from fuzzing.outcomes import check_error, play
from tests.core.test_replies import new_reply, take
from tests.stepping import chunk, sse

MANY_LINES = b"data:\n" * 1001 + b"\n"
HELLO = sse(chunk("Hel"), chunk("lo"), done=False)
FINISHED = sse(chunk("Hel"), chunk("lo", "stop"))


def error_of(body: object, status: int = 400) -> APIStatusError:
    text = body if isinstance(body, str) else json.dumps(body)
    return status_error(ResponseHead(status, "", {}), text, str)


def test_a_block_that_is_refused_takes_no_event_with_it() -> None:
    outcome = play([HELLO + MANY_LINES], wants_parts=True)
    assert outcome == play([HELLO, MANY_LINES], wants_parts=True)
    assert [part[0] for part in outcome.parts] == ["Hel", "lo"]
    assert outcome.error is not None
    assert outcome.error[0] is InvalidResponseError
    assert outcome.error[-1] == "Hello"


def test_a_block_that_is_refused_is_refused_again() -> None:
    decoder = SSEDecoder()
    assert len(decoder.feed(HELLO + MANY_LINES)) == 2
    with pytest.raises(InvalidResponseError):
        decoder.feed(HELLO)
    with pytest.raises(InvalidResponseError):
        decoder.end()


def test_nothing_is_read_after_the_end_whatever_it_is() -> None:
    outcome = play([FINISHED + MANY_LINES], wants_parts=True)
    assert outcome == play([FINISHED], wants_parts=True)
    assert outcome.text == "Hello"


def test_a_block_that_is_refused_after_the_reply_changes_nothing() -> None:
    finished = sse(chunk("Hel"), chunk("lo", "stop"), done=False)
    assert play([finished + MANY_LINES], wants_parts=True).text == "Hello"


def test_an_error_in_the_place_of_a_reason_comes_too_late_after_the_reply() -> None:
    reply = new_reply()
    take(reply, chunk("Hello", "stop"), chunk(finish_reason="error"))
    assert reply.end() is None
    assert reply.text == "Hello"


@pytest.mark.parametrize("depth", range(880, 1000))
def test_a_place_that_is_nested_to_the_limit_gives_an_error(depth: int) -> None:
    place = "[" * depth + "]" * depth
    check_error(error_of(f'{{"detail": [{{"loc": {place}, "msg": "x"}}]}}'))


@pytest.mark.parametrize("depth", range(300, 1000, 7))
def test_a_body_that_is_nested_to_the_limit_gives_an_error(depth: int) -> None:
    check_error(error_of('{"error":' * depth + '"x"' + "}" * depth))
    check_error(error_of("[" * depth + "]" * depth))


def test_a_body_that_no_pickle_holds_is_left_out() -> None:
    assert error_of("[" * 150 + "]" * 150).body is not None
    assert error_of("[" * 400 + "]" * 400).body is None


def test_the_body_of_an_error_is_valid_unicode() -> None:
    error: Any = error_of('"\\ud83d"')
    assert error.body == "\ufffd"
    error = stream_error('{"error": {"mes\\ud83dsage": "\\ud83d\\udc4b \\ud83d"}}', str, partial="")
    assert isinstance(error, StreamError)
    assert error.body == {"error": {"mes\ufffdsage": "\U0001f44b \ufffd"}}


def test_the_title_of_a_page_is_found_whatever_grows_in_lower_case() -> None:
    page = f"<html>{'İ' * 20}<TITLE lang=tr>Bad Gateway</TITLE>"
    assert "'Bad Gateway'" in error_of(page, 502).message


@pytest.mark.parametrize("name", ["code", "param", "type"])
def test_no_field_of_an_error_is_longer_than_a_body_may_be(name: str) -> None:
    error = error_of({"error": {"message": "x", name: "y" * 1_000_000}})
    assert len(getattr(error, name)) == 64 * 1024


def test_a_long_reason_phrase_makes_no_long_message() -> None:
    head = ResponseHead(500, "x" * 60_000, {})
    check_error(status_error(head, "", str))


def test_thoughts_that_are_nested_deeply_are_read_to_some_depth() -> None:
    thought, content = "[" + '{"thinking": [' * 5000, "]}" * 5000 + ', "y"]'
    reply = new_reply()
    # Python 3.13 reads as much from JSON, and cannot look into it step by step.
    assert _joined_parts(nested(5000)) == ("y", "y")
    document = '{"choices": [{"message": {"content": %s}, "finish_reason": "stop"}]}'
    with suppress(InvalidResponseError):  # other Pythons do not read it
        take(reply, document % (thought + content), name="document")
    assert reply.text in ("", "y")


def nested(depth: int) -> list[object]:
    content: list[object] = []
    for _ in range(depth):
        content = [{"type": "thinking", "thinking": content}, "y"]
    return content
