from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt import ChatMessage
from chatgpt.core.budget import Counter, byte_length
from chatgpt.core.prompts import (
    ChatFormat,
    TextFormat,
    default_system_message,
    prompt_cost,
    text_prefix,
    text_suffix,
)
from chatgpt.tokenizer import load_tokenizer
from tests.stepping import NOW

END = "<|endoftext|>"


def text_format(
    prefix: str = "", suffix: str = "\n\nChatGPT:\n", user: str = "User", assistant: str = "ChatGPT"
) -> TextFormat:
    return TextFormat(prefix, suffix, user, assistant, END)


def test_the_default_system_message_knows_the_date() -> None:
    assert default_system_message(NOW) == (
        "You are ChatGPT, a large language model trained by OpenAI. Answer as concisely as possible.\n"
        "Current date: 2026-11-22"
    )
    assert default_system_message(NOW, "Bot").startswith("You are Bot, ")


# --- messages --------------------------------------------------------------------------------


def test_names_travel_and_bad_text_is_made_sendable() -> None:
    messages = [
        ChatMessage(id="a", text="x\ud800", name="Bo"),
        ChatMessage(id="b", text="y", role="assistant"),
    ]
    assert ChatFormat().fields(messages) == {
        "messages": [
            {"role": "user", "content": "x\ufffd", "name": "Bo"},
            {"role": "assistant", "content": "y"},
        ]
    }


def test_instructions_are_a_message_unless_they_are_empty() -> None:
    (system,) = ChatFormat("Be brief.").instructions
    assert (system.role, system.text) == ("system", "Be brief.")
    assert ChatFormat("").instructions == []


def test_wire_fields_travel_and_win() -> None:
    content = [{"type": "text", "text": "x\ud83d\udc4b\ud800"}]
    messages = [
        ChatMessage(id="a", text="old", wire_fields={"content": content}),
        ChatMessage(
            id="b", text="42", role="tool", wire_fields={"tool_call_id": "call-1", "content": None}
        ),
    ]
    assert ChatFormat().fields(messages) == {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x👋\ufffd"}]},
            {"role": "tool", "content": None, "tool_call_id": "call-1"},
        ]
    }
    with pytest.raises(ValueError, match="wire_fields is not JSON"):
        ChatFormat().fields([ChatMessage(id="a", text="", wire_fields={"content": {1}})])


def test_whose_cost_is_known_to_the_token() -> None:
    plain = [ChatMessage(id="a", text="Hi", name="Ada")]
    assert ChatFormat("Be brief.", {"seed": 7}).is_exact(plain)
    for name in ("tools", "functions", "response_format"):
        assert not ChatFormat("", {name: []}).is_exact(plain)
    assert not ChatFormat().is_exact([ChatMessage(id="a", text="", wire_fields={"tool_calls": []})])
    assert not TextFormat("", "", "User", "ChatGPT", "").is_exact(plain)


def test_reasoning_is_sent_back_only_where_it_is_wanted() -> None:
    messages = [
        ChatMessage(id="a", text="?", reasoning="of the user"),
        ChatMessage(id="b", text="!", role="assistant", reasoning="hm\ud800"),
        ChatMessage(id="c", text="!!", role="assistant"),
    ]
    plain, wanted = ChatFormat(), ChatFormat(sends_reasoning=True)
    assert "reasoning_content" not in str(plain.fields(messages))
    assert wanted.fields(messages)["messages"] == [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "!", "reasoning_content": "hm\ufffd"},
        {"role": "assistant", "content": "!!", "reasoning_content": ""},
    ]
    counter = Counter(len, None)
    assert prompt_cost(messages, wanted, counter) == prompt_cost(messages, plain, counter) + 3


# --- one text --------------------------------------------------------------------------------


def test_a_prompt_of_text() -> None:
    messages = [
        ChatMessage(id="a", text="first"),
        ChatMessage(id="b", text="One\ud800", role="assistant"),
        ChatMessage(id="c", text="second", name="ada"),
    ]
    prefix = text_prefix("Be brief.", END)
    assert text_format(prefix).fields(messages) == {
        "prompt": f"Instructions:\nBe brief.{END}\n\nUser:\n\nfirst{END}\n\nChatGPT:\n\nOne\ufffd{END}\n\n"
        f"ada:\n\nsecond{END}\n\nChatGPT:\n"
    }
    assert text_format().instructions == []
    assert text_prefix("", END) == ""
    assert text_suffix("Bot") == "\n\nBot:\n"


def test_labels_of_other_roles() -> None:
    messages = [ChatMessage(id="a", text="x", role="tool"), ChatMessage(id="b", text="y")]
    assert text_format("", "", "Human").fields(messages) == {
        "prompt": f"Tool:\n\nx{END}\n\nHuman:\n\ny{END}"
    }


def test_a_reply_that_was_cut_is_left_open() -> None:
    messages = [
        ChatMessage(id="a", text="story"),
        ChatMessage(id="b", text="Once", role="assistant"),
    ]
    assert text_format().fields(messages) == {"prompt": f"User:\n\nstory{END}\n\nChatGPT:\n\nOnce"}


texts = st.text(max_size=20) | st.text(alphabet=" \n/\\.|<>aé👋\u2028\r'5", max_size=12)


@given(
    said=st.lists(texts, min_size=1, max_size=5),
    label=st.text(min_size=1, max_size=8),
    prefix=texts,
    suffix=texts,
    encoding=st.sampled_from(["cl100k_base", "o200k_base"]),
)
def test_a_text_never_takes_more_than_it_is_counted(
    said: list[str], label: str, prefix: str, suffix: str, encoding: str
) -> None:
    """Counted anew as one text, in which labels and ends are ordinary text."""
    messages = [
        ChatMessage(id=str(n), text=text, role="assistant" if n % 2 else "user")
        for n, text in enumerate(said)
    ]
    formatted = text_format(prefix, suffix, label)
    count = load_tokenizer(encoding)
    cost = prompt_cost(messages, formatted, Counter(count, encoding))
    assert count(str(formatted.fields(messages)["prompt"])) <= cost
    assert cost <= prompt_cost(messages, formatted, Counter(byte_length, encoding))
