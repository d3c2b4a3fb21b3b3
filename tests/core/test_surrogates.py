from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt.core.surrogates import DeltaJoiner, lenient, strict

ANY_TEXT = st.text(st.characters(codec=None, categories=None))


def test_pairs_are_joined() -> None:
    assert strict("text", "a\ud83d\udc4bb") == "a👋b"
    assert lenient("\ud83d\udc4b") == "👋"


@pytest.mark.parametrize("text", ["\ud800", "x\udfff", "\udc4b\ud83d", "\ud83d\ud83d\udc4b"])
def test_a_lone_surrogate_of_the_caller_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"text holds a lone surrogate, U\+D[89A-F]"):
        strict("text", text)


def test_a_lone_surrogate_of_a_server_is_replaced() -> None:
    assert lenient("a\ud83db\udc4b") == "a\ufffdb\ufffd"


def test_ordinary_text_is_returned_as_it_is() -> None:
    for text in ("", "plain", "Grüße 你好 👋 \u2028 \x00 \x85"):
        assert strict("text", text) is text
        assert lenient(text) is text


@given(ANY_TEXT)
def test_what_comes_out_can_be_sent(text: str) -> None:
    lenient(text).encode("utf-8")


@given(ANY_TEXT, st.lists(st.integers(0, 200)))
def test_a_joiner_gives_the_same_text_however_it_is_cut(text: str, cuts: list[int]) -> None:
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    joiner = DeltaJoiner()
    pieces = [joiner.feed(text[begin:end]) for begin, end in itertools.pairwise(edges)]
    assert "".join(pieces) + joiner.end() == lenient(text)


def test_a_pair_that_is_cut_is_held_back() -> None:
    joiner = DeltaJoiner()
    assert joiner.feed("Hi \ud83d") == "Hi "
    assert joiner.feed("\udc4b!") == "👋!"
    assert joiner.end() == ""
