"""A text that is told again as it grows: what is new in it."""

from __future__ import annotations

from collections.abc import Callable
from os.path import commonprefix

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt.core.messages import ChatMessage
from chatgpt.core.web.texts import GrowingText, Growth, common_length


def told(*raws: str) -> list[Growth | None]:
    text = GrowingText(is_followed=True)
    return [text.say(raw) for raw in raws]


def test_growing() -> None:
    assert told("Hel", "Hello", "Hello") == [Growth("Hel", False), Growth("lo", False), None]


def test_rewriting() -> None:
    assert told("Hello world", "Hello there", "Hello there!") == [
        Growth("Hello world", False),
        Growth("there", True),
        Growth("!", False),
    ]


def test_taking_back() -> None:
    assert told("Hello", "Hel", "", "x")[1:] == [Growth("", True), Growth("", True), Growth("x", False)]  # fmt: skip


def test_a_pair_that_is_cut() -> None:
    assert told("a\ud83d", "a\ud83d\ude00", "b\ud83d", "b\ud83dx") == [
        Growth("a", False),
        Growth("😀", False),
        Growth("b", True),
        Growth("\ufffdx", False),
    ]


def test_a_half_that_stays_alone() -> None:
    text = GrowingText(is_followed=True)
    text.say("a\ud83d")
    assert text.finish() == Growth("\ufffd", False)
    assert str(text) == "a\ufffd"


def test_what_was_said_does_not_change() -> None:
    text = GrowingText(is_followed=True)
    text.say("Hello")
    before = text.snapshot()
    text.say("Hullo")
    assert ChatMessage(id="part", text=before).text == "Hello"
    assert str(text) == "Hullo"


def test_nobody_follows() -> None:
    text = GrowingText(is_followed=False, new_converter=lambda: str.upper)
    assert text.say("hel\ud83d") is None
    assert text.say("hello") is None
    assert text.finish() is None
    assert str(text) == "HELLO"
    assert text


def test_converting() -> None:
    def without_stars() -> Callable[[str], str]:
        return lambda raw: raw.replace("**", "") + "\n"

    text = GrowingText(is_followed=True, new_converter=without_stars)
    assert text.say("**bo") == Growth("bo", False)
    assert text.say("**bold") == Growth("ld", False)
    assert text.say("**bold**") is None
    assert text.finish() == Growth("\n", False)
    assert str(text) == "bold\n"


def test_what_changes_when_the_whole_is_converted() -> None:
    """A converter may remember what it was told; in the end a new one is asked."""
    made: list[int] = []

    def numbered() -> Callable[[str], str]:
        made.append(len(made))
        return lambda raw: f"{made[-1]}{raw}"

    text = GrowingText(is_followed=True, new_converter=numbered)
    text.say("x")
    assert text.finish() == Growth("1x", True)
    assert str(text) == "1x"


@given(st.text(), st.text())
def test_the_common_beginning(one: str, other: str) -> None:
    assert common_length(one, other) == len(commonprefix([one, other]))  # noqa: RUF071 - that is wanted
    assert common_length(one + other, one) == len(one)


@pytest.mark.parametrize("size", [0, 1, 2, 1000])
def test_the_common_beginning_of_long_texts(size: int) -> None:
    assert common_length("a" * size + "b", "a" * size + "c") == size


@given(st.lists(st.text(alphabet="ab\ud83d\ude00😀", max_size=6), max_size=8))
def test_deltas_lead_to_the_text(raws: list[str]) -> None:
    text, shown = GrowingText(is_followed=True), ""
    for raw in raws:
        before = shown
        growth = text.say(raw)
        if growth is not None:
            shown = str(text) if growth.is_rewritten else before + growth.delta
            if growth.is_rewritten:
                common = common_length(before, shown)
                assert shown[common:] == growth.delta
                assert common < len(before)
        assert str(text) == shown
    rest = text.finish()
    shown += rest.delta if rest is not None else ""
    assert str(text) == shown
    assert not any("\ud800" <= character <= "\udfff" for character in shown)
