"""Operations on trees: what each does, what is inherited, and what a server cannot do with them."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt.core.web.deltas import (
    MOST_CHANNELS,
    MOST_SEGMENTS,
    DeltaError,
    DeltaTrees,
    segments_of,
)

TEXT = "/message/content/parts/0"


def root(text: str = "", **message: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [text]}
    return {"message": {"id": "m", "content": content, **message}, "conversation_id": "c"}


def after(*deltas: dict[str, Any], start: dict[str, Any] | None = None) -> Any:
    trees = DeltaTrees()
    result: object = trees.apply({"p": "", "o": "add", "v": start or root(), "c": 0})
    for delta in deltas:
        result = trees.apply(delta)
    return result


def text_after(*deltas: dict[str, Any]) -> str:
    text: str = after(*deltas)["message"]["content"]["parts"][0]
    return text


def test_pointer_and_operation_are_sticky() -> None:
    assert text_after({"p": TEXT, "o": "append", "v": "Hello"}, {"v": ", world"}, {"v": "!"}) == (
        "Hello, world!"
    )


def test_a_pointer_alone_keeps_the_operation() -> None:
    result = after(
        {"p": TEXT, "o": "append", "v": "a"}, {"p": "/message/id", "v": "-2"}, {"v": "!"}
    )
    assert result["message"]["id"] == "m-2!"


def test_an_operation_alone_keeps_the_pointer() -> None:
    assert text_after({"p": TEXT, "o": "append", "v": "abc"}, {"o": "replace", "v": "x"}) == "x"


def test_a_value_is_never_taken_over() -> None:
    assert after({"p": "/message/status", "o": "add", "v": "x"}, {})["message"]["status"] is None


def test_a_message_without_a_place_is_a_new_root() -> None:
    trees = DeltaTrees()
    trees.apply({"v": root("first"), "c": 3})
    trees.apply({"p": TEXT, "o": "append", "v": "!"})
    second: Any = trees.apply({"v": root("second"), "c": 4})
    assert second["message"]["content"]["parts"] == ["second"]
    # The channel is sticky, too: the next text goes to the new message.
    third: Any = trees.apply({"p": TEXT, "o": "append", "v": "?"})
    assert third["message"]["content"]["parts"] == ["second?"]
    first: Any = trees.apply({"c": 3, "v": "!"})
    assert first["message"]["content"]["parts"] == ["first!!"]


def test_patches() -> None:
    """All the text of a real stream came this way."""
    patch = {"p": TEXT, "o": "append", "v": "Hi."}
    count = {"p": "/message/metadata/token_count", "o": "replace", "v": 5}
    assert text_after({"o": "patch", "v": [patch, count]}, {"v": [{**patch, "v": " What"}]}) == (
        "Hi. What"
    )


def test_a_patch_has_no_place_of_its_own() -> None:
    """Its steps begin at the root, whatever was sticky; nothing is inherited among them."""
    step = {"p": TEXT, "o": "append", "v": "b"}
    assert text_after({"p": TEXT, "o": "append", "v": "a"}, {"o": "patch", "v": [step]}) == "ab"
    with pytest.raises(DeltaError):
        after({"o": "patch", "v": [step, {"v": "c"}]})


def test_the_pointer_of_a_patch_comes_before_those_of_its_steps() -> None:
    step = {"p": "/parts/0", "o": "append", "v": "b"}
    assert text_after({"p": "/message/content", "o": "patch", "v": [step]}, {"v": [step]}) == "bb"


def test_a_text_after_a_patch_goes_where_text_went() -> None:
    step = {"p": TEXT, "o": "append", "v": "a"}
    assert text_after({"o": "patch", "v": [step]}, {"v": "b"}) == "ab"


def test_append() -> None:
    assert after({"p": "/message/metadata", "o": "append", "v": {"a": 1}}, {"v": {"b": 2}})[
        "message"
    ]["metadata"] == {"a": 1, "b": 2}
    parts = "/message/content/parts"
    assert after({"p": parts, "o": "append", "v": ["b"]}, {"v": "c"})["message"]["content"][
        "parts"
    ] == ["", "b", "c"]
    assert after({"p": f"{parts}/1", "o": "append", "v": "new"})["message"]["content"]["parts"] == [
        "",
        "new",
    ]


def test_add_inserts_into_a_list() -> None:
    result = after({"p": "/message/content/parts/0", "o": "add", "v": "first"})
    assert result["message"]["content"]["parts"] == ["first", ""]
    result = after({"p": "/message/content/parts/-", "o": "add", "v": "last"})
    assert result["message"]["content"]["parts"] == ["", "last"]


def test_replace_remove_truncate() -> None:
    assert text_after({"p": TEXT, "o": "replace", "v": "x"}) == "x"
    assert text_after({"p": TEXT, "o": "append", "v": "hello"}, {"o": "truncate", "v": 2}) == "he"
    assert after({"p": "/message/id", "o": "remove"})["message"].get("id") is None
    assert after({"p": "/message/content/parts/0", "o": "remove"})["message"]["content"] == {
        "content_type": "text",
        "parts": [],
    }
    assert after({"p": "", "o": "remove"}) is None
    assert after({"p": "", "o": "replace", "v": root("new")}) == root("new")
    shorter = after({"p": "/message/content/parts", "o": "truncate", "v": 0})
    assert shorter["message"]["content"]["parts"] == []


def test_what_is_not_there_is_no_matter() -> None:
    for operation in ("remove", "truncate"):
        assert after({"p": "/message/nothing", "o": operation, "v": 1}) == root()
    assert after({"p": "/message/status", "o": "replace", "v": "x"})["message"]["status"] == "x"


def test_escapes() -> None:
    assert segments_of("/a~1b/~0~01/") == ["a/b", "~~1", ""]
    assert after({"p": "/message/a~1b", "o": "add", "v": 1})["message"]["a/b"] == 1


POISON = [
    "/__class__",
    "/message/__class__/__mro__",
    "/message/content/__class__",
    "/message/content/parts/__class__",
    "/message/content/parts/1000000000",
    "/message/content/parts/-1",
    "/message/content/parts/01x",
    "/message/content/parts/٣",
    "/message/content/parts/" + "9" * 5000,
    "/" * 1_000_000,
    "/message/content" + "/a" * 1_000_000,
    "/message/content" + "/a" * (MOST_SEGMENTS + 1),
    "message",
    "/message/content/parts/0/0",
    "/message/id/x",
]


@pytest.mark.parametrize("pointer", POISON, ids=lambda pointer: pointer[:40])
@pytest.mark.parametrize(
    "operation", ["add", "append", "replace", "remove", "truncate", "patch", "?"]
)
def test_poison(pointer: str, operation: str) -> None:
    trees = DeltaTrees()
    trees.apply({"p": "", "o": "add", "v": root("kept")})
    tracemalloc.start()
    value: Any
    for value in ("x", 1, None, [], {}, [{"p": pointer, "o": "add", "v": 1}], 10**9):
        try:
            trees.apply({"p": pointer, "o": operation, "v": value})
        except DeltaError as error:
            assert len(str(error)) < 200  # noqa: PT017 - not each of them is one
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000
    last: Any = trees.apply({"p": TEXT, "o": "append", "v": ""})
    assert type(last) is dict
    assert last["message"]["content"]["parts"][0] in ("kept", "")


def test_metadata_that_makes_no_sense_is_passed_over() -> None:
    steps = [
        {"p": "/message/metadata/a/b/c", "o": "append", "v": 1},
        {"p": "/message/id", "o": "append", "v": []},
        {"p": "/message/content_references/7", "o": "append", "v": 1},
        {"p": TEXT, "o": "append", "v": "text"},
    ]
    assert text_after({"o": "patch", "v": steps}) == "text"


@pytest.mark.parametrize(
    "delta",
    [
        {"p": TEXT, "o": "append", "v": 5},
        {"p": TEXT, "o": "append", "v": ["x"]},
        {"p": "/message/content/parts/7", "o": "append", "v": "lost"},
        {"p": TEXT, "o": "truncate", "v": -1},
        {"p": TEXT, "o": "truncate", "v": True},
        {"p": TEXT, "o": "delete", "v": "x"},
        {"p": "", "o": "append", "v": "x"},
        {"p": 5, "o": "append", "v": "x"},
        {"p": TEXT, "o": ["append"], "v": "x"},
        {"p": TEXT, "o": "append", "v": "x", "c": []},
        {"o": "patch", "v": {"p": TEXT}},
        {"o": "patch", "v": ["x"]},
        {"o": "patch", "v": [{"p": TEXT, "o": "patch", "v": []}]},
        {"o": "patch", "v": [{"p": 5}]},
        {"o": "patch", "v": "text"},
    ],
)
def test_text_that_would_be_lost_is_an_error(delta: dict[str, Any]) -> None:
    with pytest.raises(DeltaError):
        after(delta)


@pytest.mark.parametrize("pointer", [TEXT, ""])
def test_a_stream_without_a_beginning(pointer: str) -> None:
    with pytest.raises(DeltaError):
        DeltaTrees().apply({"p": pointer, "o": "append", "v": "x"})


def test_a_patch_that_is_a_text() -> None:
    """Only one that says nothing but a text goes on where text went."""
    for delta in (
        {"p": "/message/metadata", "o": "patch", "v": "oops"},
        {"o": "patch", "v": "oops"},
    ):
        with pytest.raises(DeltaError):
            after({"p": TEXT, "o": "append", "v": "a"}, delta)


def test_channels_are_bounded() -> None:
    trees = DeltaTrees()
    for channel in range(MOST_CHANNELS + 10):
        trees.apply({"v": root(str(channel)), "c": channel})
    with pytest.raises(DeltaError):
        trees.apply({"p": TEXT, "o": "append", "v": "x", "c": 0})
    last: Any = trees.apply({"p": TEXT, "o": "append", "v": "!", "c": MOST_CHANNELS})
    assert last["message"]["content"]["parts"][0] == f"{MOST_CHANNELS}!"


def test_a_channel_that_is_used_is_not_forgotten() -> None:
    trees = DeltaTrees()
    for channel in range(MOST_CHANNELS + 10):
        trees.apply({"v": root(str(channel)), "c": channel})
        trees.apply({"p": TEXT, "o": "append", "v": ".", "c": 0})
    kept: Any = trees.apply({"v": "!"})
    assert kept["message"]["content"]["parts"][0] == "0" + "." * (MOST_CHANNELS + 10) + "!"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
pointers = st.lists(
    st.sampled_from(["message", "content", "parts", "0", "1", "-", "id", "", "~", "__class__", "metadata"]), max_size=5
).map(lambda steps: "".join(f"/{step}" for step in steps))  # fmt: skip
operations = st.sampled_from(["add", "append", "replace", "remove", "truncate", "patch", "", None])


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "p": pointers | json_values,
                "o": operations | json_values,
                "v": json_values | st.lists(st.fixed_dictionaries({"p": pointers, "o": operations, "v": json_values}), max_size=3),
                "c": json_values,
            },
        ),
        max_size=8,
    )
)  # fmt: skip
def test_whatever_a_server_writes(deltas: list[dict[str, Any]]) -> None:
    """It is applied, or it is a typed error; what comes of it is plain JSON."""
    trees = DeltaTrees()
    trees.apply({"v": root(), "c": 0})
    for delta in deltas:
        try:
            json.dumps(trees.apply(delta))
        except DeltaError:
            continue
