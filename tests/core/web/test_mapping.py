"""From the mapping of a conversation to its thread."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chatgpt.core.web.mapping import current_node_of, thread_to
from tests.core.web.made import CONVERSATION, HIDDEN, MEMORY, THOUGHT, TOOL, message


def node(
    key: str, parent: str | None, of: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    said = of if of is not None else message(f"text of {key}", "user", id=key, **fields)
    return {key: {"id": key, "parent": parent, "children": [], "message": said}}


def texts(mapping: dict[str, Any], key: str) -> list[tuple[str, str, str | None]]:
    return [(m.id, m.text, m.parent_message_id) for m in thread_to(mapping, key, CONVERSATION)]


def test_a_thread() -> None:
    mapping = {
        "root": {"id": "root", "parent": None, "children": ["s"], "message": None},
        **node("s", "root", HIDDEN),
        **node("q", "s"),
        **node("t", "q", THOUGHT),
        **node("tool", "t", TOOL),
        **node("memory", "tool", MEMORY),
        **node("a", "memory", message("the answer", id="a", create_time=5)),
        **node("other", "q", message("an abandoned one", id="other")),
        **node("q2", "a"),
    }
    assert texts(mapping, "q2") == [
        ("q", "text of q", None),
        ("a", "the answer", "q"),
        ("q2", "text of q2", "a"),
    ]
    messages = thread_to(mapping, "q2", CONVERSATION)
    assert [m.role for m in messages] == ["user", "assistant", "user"]
    assert {m.conversation_id for m in messages} == {CONVERSATION}
    assert messages[1].created_at is not None
    assert messages[1].model == "gpt-4o"


def test_the_node_that_is_named() -> None:
    mapping = {**node("a", None), **node("b", "a"), **node("c", "a")}
    assert current_node_of(mapping, "b") == "b"


def test_the_newest_leaf_takes_its_place() -> None:
    mapping = {
        **node("a", None, create_time=9.0),
        **node("b", "a", create_time=3.0),
        **node("c", "a", create_time=2.0),
    }
    missing: object
    for missing in (None, "gone", 5, []):
        assert current_node_of(mapping, missing) == "b"
    assert current_node_of({**node("a", None), **node("b", "a"), **node("c", "a")}, None) == "c"


def test_nothing_there() -> None:
    assert current_node_of({}, "a") is None
    assert current_node_of({"a": None, "b": 5}, "a") is None


def test_cycles_and_gaps() -> None:
    mapping = {**node("a", "b"), **node("b", "a")}
    assert [key for key, _, _ in texts(mapping, "a")] == ["b", "a"]
    assert current_node_of(mapping, None) in ("a", "b")
    assert [key for key, _, _ in texts(node("a", "gone"), "a")] == ["a"]
    assert texts({}, "a") == []


def test_a_long_thread_is_no_recursion() -> None:
    mapping: dict[str, Any] = {}
    for number in range(20_000):
        mapping |= node(str(number), str(number - 1) if number else None)
    assert len(texts(mapping, "19999")) == 20_000


def test_a_message_without_an_id_has_that_of_its_node() -> None:
    mapping = node("a", None, {"author": {"role": "user"}, "content": {"parts": ["x"]}})
    assert texts(mapping, "a") == [("a", "x", None)]
    for nonsense in (None, 7, ""):
        mapping["a"]["message"]["id"] = nonsense
        assert texts(mapping, "a") == [("a", "x", None)]


anything = (
    st.none() | st.integers() | st.text(max_size=2) | st.lists(st.text(max_size=2), max_size=2)
)
nodes = st.dictionaries(
    st.sampled_from("abcd"),
    anything
    | st.fixed_dictionaries(
        {},
        optional={
            "parent": st.sampled_from("abcd") | anything,
            "message": anything
            | st.fixed_dictionaries({}, optional={"author": anything, "role": st.just("user"), "content": anything, "create_time": st.floats() | anything}),
        },
    ),
)  # fmt: skip


@given(nodes, st.sampled_from("abcd") | anything)
def test_whatever_a_server_writes(mapping: dict[str, Any], current: Any) -> None:
    key = current_node_of(mapping, current)
    if key is not None:
        thread = thread_to(mapping, key, CONVERSATION)
        assert all(m.role in ("user", "assistant") and m.text for m in thread)
