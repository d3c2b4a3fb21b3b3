"""What a message of the server is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt.core.web.messages import ServerMessage, time_of


def message(**fields: Any) -> ServerMessage:
    content = {"content_type": "text", "parts": ["Hello"]}
    return ServerMessage({"id": "m", "author": {"role": "assistant"}, "content": content, **fields})


def test_an_ordinary_one() -> None:
    assert message().is_shown
    assert (message().id, message().role, message().text) == ("m", "assistant", "Hello")


def test_the_role_of_older_servers() -> None:
    assert ServerMessage({"role": "user"}).role == "user"
    assert ServerMessage({"role": "user", "author": {"role": "tool"}}).role == "tool"
    assert ServerMessage({"author": None, "role": 5}).role is None


@pytest.mark.parametrize(
    "fields",
    [
        {"recipient": "browser"},
        {"recipient": "python"},
        {"channel": "commentary"},
        {"channel": "analysis"},
        {"weight": 0.0},
        {"weight": 0},
        {"metadata": {"is_visually_hidden_from_conversation": True}},
        {"content": {"content_type": "code", "language": "json", "text": "{}"}},
        {"content": {"content_type": "thoughts", "thoughts": []}},
        {"content": {"content_type": "reasoning_recap", "content": "Thought"}},
        {"content": {"content_type": "model_editable_context", "model_set_context": ""}},
        {"content": {"content_type": "user_editable_context"}},
        {"content": {"content_type": "system_error", "text": "x"}},
        {"content": {"content_type": ["text"]}},
    ],
)
def test_what_no_reader_sees(fields: dict[str, Any]) -> None:
    assert not message(**fields).is_shown


@pytest.mark.parametrize(
    "fields",
    [
        {"recipient": "all"},
        {"recipient": None},
        {"channel": "final"},
        {"channel": None},
        {"weight": 1.0},
        {"weight": None},
        {"metadata": {"is_visually_hidden_from_conversation": False}},
        {"metadata": None},
        {"content": {"parts": ["old"]}},
        {"content": {"content_type": None, "parts": ["old"]}},
        {"content": {"content_type": "multimodal_text", "parts": []}},
    ],
)
def test_what_a_reader_sees(fields: dict[str, Any]) -> None:
    assert message(**fields).is_shown


def test_the_text_of_several_parts() -> None:
    image = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    content = {"content_type": "multimodal_text", "parts": ["a", image, "b"]}
    assert message(content=content).text == "ab"


@pytest.mark.parametrize("content", [None, {}, {"parts": None}, {"parts": "x"}, {"parts": [1]}, []])
def test_no_text(content: object) -> None:
    assert message(content=content).text == ""


@pytest.mark.parametrize(
    ("fields", "is_finished", "ends_turn"),
    [
        ({}, False, False),
        ({"status": "in_progress", "end_turn": None}, False, False),
        ({"status": "finished_successfully", "end_turn": None}, True, False),
        ({"status": "finished_partial_completion"}, True, False),
        ({"status": "finished_successfully", "end_turn": True}, True, True),
        ({"status": "finished_successfully", "end_turn": False}, False, False),
        ({"end_turn": True}, True, True),
        ({"status": 5, "end_turn": "true"}, False, False),
    ],
)
def test_whether_it_is_whole(fields: dict[str, Any], is_finished: bool, ends_turn: bool) -> None:
    assert message(**fields).is_finished == is_finished
    assert message(**fields).ends_turn == ends_turn


def test_the_reason_and_the_model() -> None:
    metadata = {"model_slug": "gpt-4o", "finish_details": {"type": "max_tokens"}}
    assert message(metadata=metadata).finish_reason == "length"
    assert message(metadata=metadata).model == "gpt-4o"
    assert message(metadata={"finish_details": {"type": "stop"}}).finish_reason == "stop"
    assert message(metadata={"finish_details": "stop", "model_slug": ""}).finish_reason is None
    assert message(metadata={"model_slug": ""}).model is None


def test_times() -> None:
    assert time_of(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert time_of("2024-05-06T07:08:09.123456+00:00") == datetime(2024, 5, 6, 7, 8, 9, 123456, UTC)
    assert time_of("2024-05-06T07:08:09") == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    nonsense: object
    for nonsense in (None, True, "soon", 1e300, float("nan"), float("inf"), [], "9" * 100):
        assert time_of(nonsense) is None


values = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=2) | st.dictionaries(st.sampled_from(["role", "parts", "content_type", "finish_details", "model_slug", "type"]), st.none() | st.text(max_size=3) | st.lists(st.integers(), max_size=2), max_size=3)  # fmt: skip
names = st.sampled_from("id author role content status end_turn weight metadata recipient channel create_time".split())  # fmt: skip


@given(st.dictionaries(names, values))
def test_whatever_a_server_writes(fields: dict[str, Any]) -> None:
    seen = ServerMessage(fields)
    assert isinstance(seen.text, str)
    assert isinstance(seen.is_shown, bool)
    assert isinstance(seen.is_finished, bool)
    for value in (seen.id, seen.role, seen.finish_reason, seen.model):
        assert value is None or isinstance(value, str)
    assert seen.created_at is None or seen.created_at.tzinfo is not None
