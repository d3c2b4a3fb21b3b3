"""Records: whatever a message holds is kept, and whatever a record holds is looked at."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt import ChatMessage, ContextReport, RequestChange, Role, Usage
from chatgpt.core.records import (
    RecordError,
    from_json,
    message_of,
    origin_of,
    record_of,
    to_json,
)

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

TEXT = st.text(st.characters(exclude_categories=[])).filter(
    lambda text: (
        text == json.loads(json.dumps(text))
    )  # two halves of a pair are one character in JSON
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
USAGE = st.builds(
    Usage,
    prompt_tokens=st.integers(),
    completion_tokens=st.integers(),
    total_tokens=st.integers(),
    reasoning_tokens=st.none() | st.integers(),
    estimated=st.booleans(),
)
CONTEXT = st.builds(
    ContextReport,
    oldest_message_id=TEXT,
    message_count=st.integers(),
    prompt_tokens=st.integers(),
    counting=st.sampled_from(["exact", "bound"]),
    prompt_limit=st.none() | st.integers(),
    reserved_tokens=st.integers(),
    missing_message_id=st.none() | TEXT,
    unreadable_message_ids=st.lists(TEXT, max_size=2).map(tuple),
    changes=st.lists(
        st.builds(RequestChange, TEXT, st.just("added"), st.booleans()), max_size=2
    ).map(tuple),
)
MESSAGES = st.builds(
    ChatMessage,
    id=TEXT.filter(bool),
    text=TEXT,
    role=st.sampled_from(get_args(Role)),
    name=st.none() | TEXT,
    delta=st.none() | TEXT,
    rewritten=st.booleans(),
    is_hidden=st.booleans(),
    parent_message_id=st.none() | TEXT,
    conversation_id=st.none() | TEXT,
    detail=st.none() | OBJECT,
    model=st.none() | TEXT,
    usage=st.none() | USAGE,
    finish_reason=st.none() | TEXT,
    reasoning=st.none() | TEXT,
    context=st.none() | CONTEXT,
    created_at=st.none()
    | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))
    | st.datetimes(),
    request_id=st.none() | TEXT,
    account_id=st.none() | TEXT,
    wire_fields=st.none() | OBJECT,
    token_counts=st.dictionaries(TEXT, st.integers(), max_size=2),
)


def attributes_of(message: ChatMessage) -> dict[str, object]:
    names = [field.name.removeprefix("_") for field in attrs.fields(ChatMessage)]
    return {name: getattr(message, name) for name in names}


@given(MESSAGES)
def test_every_message_comes_back(message: ChatMessage) -> None:
    line = to_json(message)
    assert b"\n" not in line
    line.decode()
    again = from_json(line)
    assert attributes_of(again) == attributes_of(message)
    assert to_json(again) == line
    assert origin_of(again) == origin_of(message)


def test_what_is_at_its_default_is_not_written() -> None:
    assert to_json(ChatMessage(id="a", text="")) == b'{"id":"a","text":""}'


def test_the_order_is_that_of_a_message() -> None:
    message = ChatMessage(
        token_counts={"x": 1}, created_at=MOMENT, conversation_id="c", role="tool", text="t", id="a"
    )
    assert list(record_of(message)) == [
        "id", "text", "role", "conversation_id", "created_at", "token_counts",
    ]  # fmt: skip


def test_lone_surrogates_are_kept_and_the_line_is_utf_8() -> None:
    message = ChatMessage(id="a", text="é\ud800")
    assert to_json(message) == b'{"id":"a","text":"\xc3\xa9\\ud800"}'
    assert from_json(to_json(message)) == message


def test_an_estimate_that_nobody_read_is_not_counted() -> None:
    def count() -> Usage:
        raise AssertionError

    assert "usage" not in record_of(ChatMessage(id="a", text="", usage=count))


def test_keys_of_a_newer_version_are_passed_over() -> None:
    line = (
        b'{"id":"a","text":"t","mood":"good","usage":{"prompt_tokens":1,"completion_tokens":2,'
        b'"total_tokens":3,"dreamt_tokens":4}}'
    )
    message = from_json(line)
    assert message == ChatMessage(id="a", text="t")
    assert message.usage == Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ([], "a record is a JSON object, not a list"),
        (None, "a record is a JSON object, not null"),
        ({"id": "a"}, "a record has an id and a text"),
        ({"id": "", "text": "t"}, "a record has an id and a text"),
        ({"id": None, "text": "t"}, "a record has an id and a text"),
        ({"text": "t"}, "a record has an id and a text"),
        ({"id": 5, "text": "t"}, "its id is a number, not a text"),
        ({"id": "a", "text": ["t"]}, "its text is a list, not a text"),
        ({"id": "a", "text": "t", "role": "god"}, "its role is none of user, assistant"),
        ({"id": "a", "text": "t", "role": ["user"]}, "its role is none of user, assistant"),
        ({"id": "a", "text": "t", "created_at": "today"}, "its created_at is no time in ISO 8601"),
        ({"id": "a", "text": "t", "is_hidden": 1}, "its is_hidden is a number, not true or false"),
        ({"id": "a", "text": "t", "detail": "x"}, "its detail is a text, not an object"),
        ({"id": "a", "text": "t", "token_counts": {"x": 1.5}}, "its token_counts is a number, not"),
        ({"id": "a", "text": "t", "usage": {"prompt_tokens": 1}}, "its usage lacks something"),
        ({"id": "a", "text": "t", "usage": {"prompt_tokens": "1"}}, "its prompt_tokens is a text"),
        ({"id": "a", "text": "t", "context": {}}, "its context lacks something"),
        ({"id": "a", "text": "t", "context": {"changes": {}}}, "its changes is an object, not a l"),
        ({"id": "a", "text": "t", "context": {"changes": [1]}}, "its changes is a number, not an"),
    ],
)
def test_what_is_no_record(record: object, reason: str) -> None:
    with pytest.raises(RecordError, match=f"^{reason}"):
        message_of(record)
    with pytest.raises(RecordError, match=f"^{reason}"):
        from_json(json.dumps(record))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "Expecting value at character 0"),
        ("{", "Expecting property name enclosed in double quotes at character 1"),
        (b"\xff\xfe", "it is no valid UTF-8"),
        ('{"id":"a","text":"é"}'.encode("utf-16"), "it is no valid UTF-8"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"id":"a"} x', "Extra data at character 11"),
        (b'{"id":"a","text":"","detail":{"x":' + b"9" * 5_000 + b"}}", "it has a number with too"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_json(line: bytes | str, reason: str) -> None:
    with pytest.raises(RecordError, match=f"^this is not JSON: {reason}"):
        from_json(line)


@given(JSON)
def test_any_json_is_a_message_or_an_error(value: object) -> None:
    try:
        message_of(value)
    except RecordError:
        return
    assert isinstance(value, dict)


def test_an_error_repeats_nothing_of_what_was_said() -> None:
    with pytest.raises(RecordError) as caught:
        from_json(b'{"id":"a","text":"t","created_at":"SECRET","role":"SECRET"}')
    assert "SECRET" not in str(caught.value)


def test_what_json_has_no_form_for() -> None:
    with pytest.raises(TypeError, match=r"'a' cannot be stored: it holds a object, which JSON has"):
        to_json(ChatMessage(id="a", text="", detail={"x": object()}))
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TypeError, match="'a' cannot be stored: .*recursion"):
        to_json(ChatMessage(id="a", text="", detail={"x": deep}))
    with pytest.raises(TypeError, match="A store holds messages: ChatMessage, not dict"):
        record_of({})  # type: ignore[arg-type] # the mistake


def test_the_origin_is_who_when_and_where() -> None:
    message = ChatMessage(id="a", text="t", conversation_id="c", created_at=MOMENT)
    assert origin_of(message) == origin_of(
        attrs.evolve(message, text="other", token_counts={"x": 1})
    )
    for change in (
        {"role": "assistant"},
        {"created_at": MOMENT + timedelta(microseconds=1)},
        {"conversation_id": "d"},
        {"parent_message_id": "b"},
    ):
        assert origin_of(message) != origin_of(attrs.evolve(message, **change)), change


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "boss"},
        {"is_hidden": 2},
        {"usage": 5},
        {"detail": [1]},
        {"created_at": "2020"},
        {"parent_message_id": 5},
        {"name": b"x"},
        {"id": 5},
    ],
    ids=str,
)
def test_what_could_not_be_read_again_is_not_written(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(TypeError, match=f"cannot be stored: its {name} is "):
        record_of(ChatMessage(**{"id": "a", "text": "", **wrong}))


def test_the_same_moment_in_another_zone_is_the_same_origin() -> None:
    message = ChatMessage(id="a", text="", created_at=MOMENT)
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=2)))
    assert origin_of(attrs.evolve(message, created_at=elsewhere)) == origin_of(message)
    edge = datetime.min.replace(tzinfo=timezone(timedelta(hours=2)))
    assert "0001-01-01" in origin_of(attrs.evolve(message, created_at=edge))
