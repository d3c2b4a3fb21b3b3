from __future__ import annotations

import copy
import pickle

import attrs
import pytest

from chatgpt import ChatMessage, Usage
from chatgpt.core.messages import TextBuffer

USAGE = Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3, estimated=True)


def test_a_message_cannot_be_changed() -> None:
    message = ChatMessage(id="a", text="b")
    with pytest.raises(attrs.exceptions.FrozenError):
        message.id = "c"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        message.text = "c"  # type: ignore[misc]


def test_the_text_of_a_part_is_joined_when_it_is_read() -> None:
    buffer = TextBuffer()
    buffer.append("Hel")
    first = ChatMessage(id="a", text=buffer.snapshot())
    buffer.append("lo")
    second = ChatMessage(id="a", text=buffer.snapshot())
    buffer.append("!")
    assert second.text == "Hello"
    assert first.text == "Hel"
    assert str(buffer) == "Hello!"


def test_equality_is_by_what_was_said() -> None:
    buffer = TextBuffer()
    buffer.append("Hello")
    assert ChatMessage(id="a", text=buffer.snapshot()) == ChatMessage(id="a", text="Hello")
    assert ChatMessage(id="a", text="Hello", reasoning="x") != ChatMessage(id="a", text="Hello")


def test_an_estimate_is_counted_once_and_only_when_read() -> None:
    calls: list[int] = []

    def estimate() -> Usage:
        calls.append(1)
        return USAGE

    message = ChatMessage(id="a", text="b", usage=estimate)
    assert not calls
    assert message.usage is message.usage is USAGE
    assert len(calls) == 1


def test_a_pickle_holds_plain_values() -> None:
    buffer = TextBuffer()
    buffer.append("Hello")
    message = ChatMessage(
        id="a",
        text=buffer.snapshot(),
        reasoning=buffer.snapshot(),
        usage=lambda: USAGE,
        token_counts={"e": 1},
    )
    restored = pickle.loads(pickle.dumps(message))
    assert restored == message
    assert restored.usage is None
    assert restored.token_counts == {"e": 1}
    assert pickle.loads(pickle.dumps(attrs.evolve(message, usage=USAGE))).usage == USAGE


def test_a_copy_is_the_message_itself() -> None:
    message = ChatMessage(id="a", text="b", usage=lambda: USAGE)
    assert copy.copy(message) is copy.deepcopy(message) is message


def test_a_pickle_of_another_version_can_be_read() -> None:
    restore, (state,) = ChatMessage(id="a", text="b").__reduce__()
    assert (
        restore({"id": "a", "text": "b"})
        == restore({**state, "invented": 1})
        == ChatMessage(id="a", text="b")
    )


def test_the_repr_is_short() -> None:
    message = ChatMessage(id="a", text="Hi", role="assistant", detail={"much": "more"})
    assert repr(message) == "ChatMessage(id='a', role='assistant', text='Hi')"
