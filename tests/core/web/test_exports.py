"""From a conversation of a data export to messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt import ChatMessage
from chatgpt.core.records import from_json, to_json
from chatgpt.core.web.exports import ExportedConversation, ExportError, read_conversation
from tests.core.web.made import HIDDEN, MEMORY, THOUGHT, TOOL, message
from tests.core.web.test_mapping import node

ROOT: dict[str, Any] = {"root": {"id": "root", "parent": None, "children": [], "message": None}}


def export(mapping: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "c", "title": "A talk", "create_time": 5.0, "mapping": mapping, **fields}


def read(mapping: dict[str, Any], **fields: Any) -> ExportedConversation:
    return read_conversation(export(mapping, **fields))


def tree(conversation: ExportedConversation) -> list[tuple[str, str | None]]:
    return [(m.id, m.parent_message_id) for m in conversation.messages]


def one(content: object, **fields: Any) -> ChatMessage:
    said = {"author": {"role": "assistant"}, "content": content, **fields}
    return read({"a": {"parent": None, "message": said}}).messages[1]


def test_a_conversation() -> None:
    mapping = {
        **ROOT,
        **node("s", "root", HIDDEN),
        **node("q", "s"),
        **node("t", "q", THOUGHT),
        **node("tool", "t", TOOL),
        **node("memory", "tool", MEMORY),
        **node("a", "memory", message("the answer", id="a", create_time=5)),
        **node("other", "q", message("an abandoned one", id="other")),
        **node("q2", "a"),
    }
    conversation = read(mapping, current_node="a", is_archived=False)
    assert (conversation.id, conversation.title) == ("c", "A talk")
    assert conversation.current_node == "a"
    assert conversation.problems == ()
    assert tree(conversation) == [
        ("c", None),
        ("s", "c"),
        ("q", "s"),
        ("t", "q"),
        ("tool", "t"),
        ("memory", "tool"),
        ("a", "memory"),
        ("other", "q"),
        ("q2", "a"),
    ]
    shown = [m.id for m in conversation.messages if not m.is_hidden]
    assert shown == ["q", "a", "other", "q2"]
    assert {m.conversation_id for m in conversation.messages} == {"c"}
    answer = conversation.messages[6]
    assert (answer.text, answer.role, answer.model) == ("the answer", "assistant", "gpt-4o")
    assert answer.created_at == datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)
    assert answer.detail == mapping["a"]["message"]


def test_the_head_holds_what_is_not_in_the_tree() -> None:
    head = read({}, update_time=7.5, anything=[1]).messages[0]
    assert (head.id, head.text, head.role, head.is_hidden) == ("c", "", "system", True)
    assert head.parent_message_id is None
    assert head.created_at is None  # an export with another time has the same conversation
    assert head.detail == {
        "id": "c", "title": "A talk", "create_time": 5.0, "update_time": 7.5, "anything": [1]
    }  # fmt: skip
    assert read({}).current_node == "c"


def test_ids() -> None:
    mapping = node("c", None) | node("b", "c")
    conversation = read(mapping, current_node="c")
    assert tree(conversation) == [("c", None), ("c/c", "c"), ("b", "c/c")]
    assert conversation.current_node == "c/c"
    assert read(mapping, conversation_id="d").id == "d"
    for nothing in (None, "", 5, ["x"]):
        assert read(mapping, id=nothing, conversation_id=nothing).id == "c"
    assert read_conversation({"mapping": node("", None) | node("k", None)}).id == "k"
    odd = read(node("", None) | node("\ud800", "") | node("\ud801", "\ud800"))
    assert tree(odd) == [("c", None), ("c/", "c"), ("\ufffd", "c/"), ("c/\ufffd", "\ufffd")]
    assert odd.problems == ("nodes whose id is taken or empty, which got another: 2",)


def test_a_conversation_without_an_id_is_named_by_its_beginning() -> None:
    root: dict[str, Any] = {"client-created-root": {"parent": None, "message": None}}
    first = read(root | node("a", "client-created-root"), id=None)
    second = read(root | node("b", "client-created-root") | node("b2", "b"), id=None)
    assert (first.id, second.id) == ("client-created-root/a", "client-created-root/b")
    assert tree(second) == [(second.id, None), ("b", second.id), ("b2", "b")]
    backward = node("b2", "b") | node("b", "client-created-root") | root
    assert read(backward, id=None).id == second.id
    assert read(root, id=None).id == "client-created-root"
    assert read({"": 5, "k": 5}, id=None).id == "k"


def test_which_one_is_older() -> None:
    new, old = read({}, update_time=2), read({}, update_time=1.5)
    assert (old.is_older_than(new), new.is_older_than(old), old.is_older_than(old)) == (
        True,
        False,
        False,
    )
    for time in (None, "1", True, [1]):
        other = read({}, update_time=time)
        assert other.update_time is None
        assert not other.is_older_than(new)
        assert not new.is_older_than(other)


def test_without_its_head() -> None:
    conversation = read(node("a", None) | node("b", "a"), current_node="b")
    assert tree(conversation.without_head("c")) == [("a", "c"), ("b", "a")]
    renamed = conversation.without_head("c/c/c")
    assert tree(renamed) == [("c/c/a", "c/c/c"), ("c/c/b", "c/c/a")]
    assert renamed.current_node == "c/c/b"


def test_titles() -> None:
    assert read({}, title=None).title is None
    assert read({}, title=["x"]).title is None
    assert read({}, title="a \ud83d\ude00 \ud83d").title == "a \U0001f600 \ufffd"


def test_a_node_without_a_message_is_passed_over() -> None:
    mapping = {**ROOT, **node("a", "root"), "gap": {"parent": "a", "message": None}}
    mapping |= {"gap2": {"parent": "gap"}, **node("b", "gap2"), "end": {"parent": "b"}}
    conversation = read(mapping, current_node="end")
    assert tree(conversation) == [("c", None), ("a", "c"), ("b", "a")]
    assert conversation.current_node == "b"
    assert read(mapping, current_node="gap2").current_node == "a"
    assert read(mapping, current_node="root").current_node == "c"
    assert conversation.problems == ()


def test_parents_come_first() -> None:
    mapping = node("c3", "b") | node("b", "a") | node("a", None) | node("d", "a")
    assert [key for key, _ in tree(read(mapping))] == ["c", "a", "b", "c3", "d"]


def test_a_parent_that_is_not_told_is_the_node_that_lists_it() -> None:
    mapping = {**node("a", None), **node("b", None), **node("x", "gone")}
    mapping["a"]["children"] = ["b", "a", 5, ["x"], "nowhere", "x"]
    conversation = read(mapping)
    assert tree(conversation) == [("c", None), ("a", "c"), ("b", "a"), ("x", "a")]
    assert conversation.problems == ("nodes whose parent is not there: 1",)
    assert conversation.current_node == "x"  # no longer a leaf: a
    mapping["b"]["parent"] = "x"
    assert tree(read(mapping))[2:] == [("x", "a"), ("b", "x")]


def test_a_parent_that_is_not_there() -> None:
    conversation = read(node("a", "gone") | {"p": None} | node("b", "p"))
    assert tree(conversation) == [("c", None), ("a", "c"), ("b", "c")]
    assert conversation.problems == (
        "nodes that are no objects, passed over: 1",
        "nodes whose parent is not there: 2",
    )


def test_circles_are_cut_open() -> None:
    mapping = node("a", "b") | node("b", "a") | node("self", "self") | node("d", "a")
    conversation = read(mapping)
    assert tree(conversation) == [("c", None), ("b", "c"), ("a", "b"), ("self", "c"), ("d", "a")]
    assert conversation.problems == ("circles of parents, cut open: 2",)


def test_the_current_node() -> None:
    mapping = {**node("a", None), **node("b", "a", create_time=9.0), **node("d", "a")}
    mapping["d"]["message"]["create_time"] = 3.0
    assert read(mapping, current_node=None).current_node == "b"
    assert read(mapping, current_node=None).problems == ()
    listed = {**node("a", None, create_time=9.0), **node("b", None, create_time=1.0)}
    listed["a"]["children"] = ["b"]
    assert read(listed).current_node == "b"  # it is the only leaf
    for gone in ("gone", 5, ["a"]):
        conversation = read(mapping, current_node=gone)
        assert conversation.current_node == "b"
        assert conversation.problems == (
            "the current node is not there: the newest leaf takes its place",
        )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"content_type": "code", "language": "python", "text": "1 + 1"}, "1 + 1"),
        ({"content_type": "execution_output", "text": "2"}, "2"),
        ({"content_type": "tether_browsing_display", "result": "a page", "summary": "x"}, "a page"),
        ({"content_type": "reasoning_recap", "content": "Thought for 5 s"}, "Thought for 5 s"),
        ({"content_type": "thoughts", "thoughts": [{"content": "a"}, 5, {"content": "b"}, {"content": 1}]}, "a\n\nb"),
        ({"content_type": "model_editable_context", "model_set_context": "x"}, ""),
        ({"content_type": "thoughts", "thoughts": None}, ""),
        ("words", ""),
        (None, ""),
    ],
)  # fmt: skip
def test_what_is_no_text_is_hidden_and_readable(content: object, text: str) -> None:
    made = one(content)
    assert (made.text, made.is_hidden) == (text, True)


def test_parts_that_are_objects() -> None:
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "sediment://x"}
    spoken = {"content_type": "audio_transcription", "text": "hello", "direction": "in"}
    kind = {"content_type": "multimodal_text"}
    both, alone = (
        one({**kind, "parts": [picture, "what is it?"]}),
        one({**kind, "parts": [picture]}),
    )
    assert (both.text, both.is_hidden) == ("what is it?", False)
    assert (alone.text, alone.is_hidden) == ("[image]", False)
    heard = one({**kind, "parts": [spoken, {"text": 5}]})
    assert (heard.text, heard.is_hidden) == ("hello", False)


def test_what_has_no_words_has_a_placeholder() -> None:
    kinds = ["image_asset_pointer", "audio_asset_pointer", "video_container_asset_pointer", "x", 5]
    parts: list[Any] = [{"content_type": kind} for kind in kinds]
    content = {"content_type": "multimodal_text", "parts": ["", *parts, 5, {}]}
    for role in ("user", "assistant"):
        made = one(content, author={"role": role})
        assert made.text == "[image] [audio] [video] [file] [file] [file]"
        assert not made.is_hidden
        assert made.detail is not None
        assert made.detail["content"] == content
    for role in ("tool", "system"):
        made = one(content, author={"role": role})
        assert (made.text, made.is_hidden) == ("", True)
    for fields in ({"recipient": "dalle.text2im"}, {"weight": 0}):
        assert (one(content, **fields).text, one(content, **fields).is_hidden) == ("", True)
    # An empty transcription is no file beside what was spoken.
    spoken: list[Any] = [{"content_type": "audio_transcription", "text": ""}, parts[1]]
    assert one({"content_type": "multimodal_text", "parts": spoken}).text == "[audio]"


def test_attachments_without_words_have_a_placeholder() -> None:
    content = {"content_type": "text", "parts": [""]}
    attachments = [{"mime_type": "application/pdf"}, {"mime_type": "image/png"}, 5, {}]
    made = one(content, metadata={"attachments": attachments})
    assert (made.text, made.is_hidden) == ("[file] [image] [file]", False)
    said = one({"parts": ["words"]}, metadata={"attachments": attachments})
    assert (said.text, said.is_hidden) == ("words", False)
    values: tuple[object, ...] = (None, {}, [], 5)
    for nothing in values:
        made = one(content, metadata={"attachments": nothing})
        assert (made.text, made.is_hidden) == ("", True)


@pytest.mark.parametrize(
    ("author", "role", "is_hidden"),
    [
        ({"role": "user"}, "user", False),
        ({"role": "assistant"}, "assistant", False),
        ({"role": "system"}, "system", True),
        ({"role": "developer"}, "developer", True),
        ({"role": "tool", "name": "web.run"}, "tool", True),
        ({"role": "function"}, "tool", True),
        ({"role": "critic"}, "system", True),
        ({"role": 7}, "system", True),
        (None, "system", True),
    ],
)
def test_roles(author: object, role: str, is_hidden: bool) -> None:
    made = one({"content_type": "text", "parts": ["x"]}, author=author)
    assert (made.role, made.is_hidden) == (role, is_hidden)
    assert made.detail is not None
    assert made.detail["author"] == author


@pytest.mark.parametrize(
    "fields",
    [
        {"recipient": "python"},
        {"channel": "analysis"},
        {"weight": 0.0},
        {"metadata": {"is_visually_hidden_from_conversation": True}},
    ],
)
def test_what_a_reader_does_not_see(fields: dict[str, Any]) -> None:
    assert one({"content_type": "text", "parts": ["x"]}, **fields).is_hidden


def test_malformed_messages_do_no_harm() -> None:
    mapping = {"a": {"parent": None, "message": "x"}, **node("b", "a"), "n": 5, "m": []}
    conversation = read(mapping)
    assert tree(conversation) == [("c", None), ("b", "c")]
    assert conversation.problems == (
        "nodes that are no objects, passed over: 2",
        "nodes whose message is no object, passed over: 1",
    )
    for time in ("yesterday", None, 1e300, 10**400, True, float("nan"), "2024-01-01T00:00:00"):
        made = one({"parts": ["x"]}, create_time=time)
        assert (made.text, made.created_at is None) == ("x", time != "2024-01-01T00:00:00")


def test_what_is_no_conversation() -> None:
    mapping: object
    for mapping in (None, 5, [], "secret words"):
        with pytest.raises(ExportError, match=r"^it has no mapping") as caught:
            read_conversation({"id": "secret words", "mapping": mapping})
        assert "secret" not in str(caught.value)
    with pytest.raises(ExportError, match="it has no id and no nodes"):
        read_conversation({"mapping": {}})
    with pytest.raises(ValueError, match="it has no mapping"):
        read_conversation({})


def test_renamed() -> None:
    mapping = node("a", None) | node("b", "a") | node("d", "b") | node("e", "a")
    conversation = read(mapping, current_node="d")
    assert conversation.renamed([]) == conversation
    renamed = conversation.renamed({"b"})
    assert tree(renamed) == [
        ("c", None), ("a", "c"), ("c/b", "a"), ("c/d", "c/b"), ("e", "a")
    ]  # fmt: skip
    assert renamed.current_node == "c/d"
    assert conversation.renamed({"e"}).current_node == "d"
    assert [m.text for m in renamed.messages] == [m.text for m in conversation.messages]
    everything = conversation.renamed({"c"})
    assert tree(everything)[:2] == [("c/c", None), ("c/a", "c/c")]
    assert {m.conversation_id for m in everything.messages} == {"c"}
    assert tree(everything.renamed({"c/c"}))[0] == ("c/c/c", None)
    taken = read(node("x", None) | node("c/x", None)).renamed({"x"})
    assert tree(taken) == [("c", None), ("c/c/x", "c"), ("c/x", "c")]


def test_a_long_thread_is_no_recursion() -> None:
    count = 100_000
    forward: dict[str, Any] = {}
    for number in range(count):
        forward[str(number)] = {"parent": str(number - 1) if number else None, "message": {}}
    backward = dict(reversed(forward.items()))
    for mapping in (forward, backward):
        conversation = read(mapping, current_node=str(count - 1))
        assert len(conversation.messages) == count + 1
        assert conversation.messages[-1].id == str(count - 1)
    assert read(forward).renamed({"c"}).current_node == f"c/{count - 1}"


keys = st.sampled_from(["a", "b", "d", "c", "", "\ud800", "\ud801"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | keys,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
contents = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("content_type", "parts", "text", "thoughts", "result", "content"), json_values
    ),
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "author": json_values | st.fixed_dictionaries({"role": st.sampled_from(["user", "tool", "x"])}),
        "content": json_values | contents,
        "create_time": json_values,
        "metadata": json_values,
        "weight": json_values,
    },
)  # fmt: skip
nodes = st.fixed_dictionaries(
    {},
    optional={
        "parent": keys | json_values,
        "children": json_values | st.lists(keys, max_size=4),
        "message": json_values | messages,
    },
)
exports = st.fixed_dictionaries(
    {},
    optional={
        "id": keys | json_values,
        "conversation_id": json_values,
        "title": json_values,
        "create_time": json_values,
        "current_node": keys | json_values,
        "mapping": json_values | st.dictionaries(keys, json_values | nodes, max_size=7),
    },
)


@given(exports, st.sets(st.integers(0, 7)))
def test_whatever_an_export_holds_is_a_tree(fields: dict[str, Any], chosen: set[int]) -> None:
    try:
        conversation = read_conversation(fields)
    except ExportError:
        mapping = fields.get("mapping")
        assert not isinstance(mapping, dict) or not any(mapping)
        return
    _check_tree(conversation)
    # A lone surrogate may stand in a detail, as it came; a text has none.
    assert all(m.text.encode() is not None and m.id for m in conversation.messages)
    assert [from_json(to_json(m)).id for m in conversation.messages]
    renamed = conversation.renamed(
        {m.id for number, m in enumerate(conversation.messages) if number in chosen}
    )
    _check_tree(renamed)
    assert read_conversation(fields) == conversation or "nan" in repr(fields)


def _check_tree(conversation: ExportedConversation) -> None:
    head, *others = conversation.messages
    assert head.parent_message_id is None
    known = {head.id}
    for made in others:
        assert made.parent_message_id in known
        assert made.id not in known
        known.add(made.id)
    assert conversation.current_node in known
