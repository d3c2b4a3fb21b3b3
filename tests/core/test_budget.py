from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt import ChatMessage
from chatgpt.core.budget import MEDIA_TOKENS, Counter, byte_length, has_media
from chatgpt.core.prompts import ChatFormat, prompt_cost
from chatgpt.tokenizer import load_tokenizer

# The sample of the OpenAI cookbook's notebook on counting tokens; the counts are the API's own.
COOKBOOK = [
    ("system", None, "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."),
    ("system", "example_user", "New synergies will help drive top-line growth."),
    ("system", "example_assistant", "Things working well together will increase revenue."),
    ("system", "example_user", "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."),
    ("system", "example_assistant", "Let's talk later when we're less busy about how to do better."),
    ("user", None, "This late pivot means we don't have time to boil the ocean for the client deliverable."),
]  # fmt: skip


def sample() -> list[ChatMessage]:
    return [
        ChatMessage(id=str(number), role=role, name=name, text=text)  # type: ignore[arg-type]
        for number, (role, name, text) in enumerate(COOKBOOK)
    ]


@pytest.mark.parametrize(("encoding", "tokens"), [("cl100k_base", 129), ("o200k_base", 124)])
def test_the_cookbooks_sample_counts_what_the_api_counts(encoding: str, tokens: int) -> None:
    counter = Counter(load_tokenizer(encoding), encoding)
    assert prompt_cost(sample(), ChatFormat(), counter) == tokens


WEATHER = {
    "name": "get_current_weather",
    "description": "Get the current weather in a given location",
    "parameters": {
        "type": "object",
        "properties": {
            "location": {
                "type": "string",
                "description": "The city and state, e.g. San Francisco, CA",
            },
            "unit": {
                "type": "string",
                "description": "The unit of temperature to return",
                "enum": ["celsius", "fahrenheit"],
            },
        },
        "required": ["location"],
    },
}
"""The notebook's sample of a function."""


@pytest.mark.parametrize(("encoding", "tokens"), [("cl100k_base", 105), ("o200k_base", 101)])
@pytest.mark.parametrize(
    "params",
    [{"tools": [{"type": "function", "function": WEATHER}]}, {"functions": [WEATHER]}],
)
def test_the_cookbooks_tools_count_what_the_api_counts(
    encoding: str, tokens: int, params: dict[str, object]
) -> None:
    messages = [
        ChatMessage(
            id="a",
            role="system",
            text="You are a helpful assistant that can answer to questions about the weather.",
        ),
        ChatMessage(id="b", text="What's the weather like in San Francisco?"),
    ]
    counter = Counter(load_tokenizer(encoding), encoding)
    assert prompt_cost(messages, ChatFormat("", params, encoding), counter) == tokens


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    params=st.dictionaries(
        st.sampled_from(["tools", "functions", "response_format", "seed"]),
        json_values
        | st.lists(
            st.fixed_dictionaries(
                {
                    "name": json_values,
                    "parameters": st.fixed_dictionaries({"properties": json_values}),
                }
            )
        ),
    )
)
def test_any_tools_can_be_counted_and_are_bounded(params: dict[str, object]) -> None:
    formatted = ChatFormat("", params, "o200k_base")
    bound = formatted.fixed_cost(Counter(byte_length, None))
    assert bound >= formatted.fixed_cost(Counter(load_tokenizer("o200k_base"), None)) >= 3


FIELDS = st.none() | st.dictionaries(
    st.sampled_from(["content", "tool_calls", "tool_call_id", "refusal"]), json_values
)


@given(text=st.text(), name=st.none() | st.text(min_size=1), fields=FIELDS)
def test_the_bound_is_never_below_the_count(
    text: str, name: str | None, fields: dict[str, object] | None
) -> None:
    message = ChatMessage(id="a", text=text, name=name, wire_fields=fields)
    for encoding in ("cl100k_base", "o200k_base"):
        count = Counter(load_tokenizer(encoding), encoding).message(message)
        assert Counter(byte_length, encoding).message(message) >= count


def test_a_message_is_counted_once_and_keeps_its_count() -> None:
    asked: list[str] = []

    def count(text: str) -> int:
        asked.append(text)
        return 10

    counted: dict[str, ChatMessage] = {}
    counter = Counter(count, "e", counted)
    message = ChatMessage(id="a", text="hi", reasoning="hm")
    assert counter.message(message) == counter.message(message) == 20
    assert asked == ["user", "hi"]
    assert counter.reasoning(message) == counter.reasoning(message) == 10
    kept = counted["a"]
    assert kept.token_counts == {"e": 20, "e+reasoning": 10}
    assert Counter(count, "e").message(kept) == 20
    assert Counter(byte_length, "e").message(kept) == 20
    assert asked == ["user", "hi", "hm"]


def test_what_stands_around_messages_is_counted_once_a_call() -> None:
    asked: list[str] = []

    def count(text: str) -> int:
        asked.append(text)
        return 1

    counter = Counter(count, "e")
    assert [counter.frame("User:"), counter.frame("User:")] == [1, 1]
    assert asked == ["User:"]


def test_a_tokenizer_of_the_caller_is_asked_every_time_and_keeps_nothing() -> None:
    counted: dict[str, ChatMessage] = {}
    counter = Counter(len, None, counted)
    message = ChatMessage(id="a", text="hi", name="Bo", token_counts={"e": 99})
    assert counter.message(message) == len("userhiBo")
    assert counted == {}
    assert Counter(byte_length, None).message(message) == len("userhiBo")


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({"content": [{"type": "text", "text": "abc"}, "de"]}, ["abc", "de", "user"]),
        ({"content": "abc"}, ["abc", "user"]),
        ({"content": {"x": 1}}, ['{"x":1}', "user"]),
        ({"content": None, "tool_calls": [{"id": "x"}]}, ["user", '[{"id":"x"}]']),
        ({"tool_call_id": "call-\ud800"}, ["hi", "user", "call-\ufffd"]),
        ({"name": "ada", "role": "tool"}, ["hi", "tool", "ada"]),
        (
            {"content": [{"type": "thinking", "thinking": "x"}]},
            ['{"type":"thinking","thinking":"x"}', "user"],
        ),
        (
            {"content": [{"type": "refusal", "refusal": "no"}]},
            ['{"type":"refusal","refusal":"no"}', "user"],
        ),
    ],
)
def test_what_of_the_wire_fields_is_counted(fields: dict[str, object], texts: list[str]) -> None:
    asked: list[str] = []

    def count(text: str) -> int:
        asked.append(text)
        return 1

    Counter(count, None).message(ChatMessage(id="a", text="hi", wire_fields=fields))
    assert asked == texts


def test_a_message_that_was_changed_in_the_store_is_counted_once_again() -> None:
    asked: list[str] = []

    def count(text: str) -> int:
        asked.append(text)
        return len(text)

    counted: dict[str, ChatMessage] = {}
    for text in ("before", "after", "after"):
        Counter(count, "e", counted).message(ChatMessage(id="a", text=text))
    assert asked == ["user", "before", "user", "after"]
    assert counted["a"].text == "after"


def test_two_messages_of_one_id_are_two() -> None:
    """A store may hold what it should not."""
    counted: dict[str, ChatMessage] = {}
    counter = Counter(len, "e", counted)
    one, other = ChatMessage(id="a", text="x"), ChatMessage(id="a", text="x" * 100)
    assert [counter.message(one), counter.message(other), counter.message(one)] == [5, 104, 5]
    assert counted["a"].text == "x"


@pytest.mark.parametrize("kept", [-5, True, "9", None])
def test_a_kept_count_that_is_none_is_counted_anew(kept: object) -> None:
    message = ChatMessage(id="a", text="x", token_counts={"e": kept})  # type: ignore[dict-item] # a store's mistake
    assert Counter(len, "e").message(message) == 5


def test_schemas_that_the_notebook_does_not_cover_cost_their_json() -> None:
    long = "word " * 100
    functions: list[dict[str, object]] = [
        {"name": "f", "parameters": {"properties": {"a": {}}, "$defs": {"x": long}}},
        {"name": "f", "parameters": {"$ref": long}},
        {"name": "f", "parameters": {"properties": {"a": {"anyOf": [long]}}}},
    ]
    tools = [{"type": "function", "function": function} for function in functions]
    for tool in (*tools, {"type": "custom", "custom": {"name": "c", "description": long}}):
        cost = ChatFormat("", {"tools": [tool]}, "o200k_base").fixed_cost(Counter(len, None))
        assert cost > len(long)


def test_pictures_have_a_price_that_is_a_guess() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:" + "x" * 100_000}}
    message = ChatMessage(id="a", text="", wire_fields={"content": ["look", picture]})
    assert Counter(len, None).message(message) == len("userlook") + MEDIA_TOKENS
    assert Counter(byte_length, None).message(message) == len("userlook") + MEDIA_TOKENS
    assert has_media(message)
    assert not has_media(ChatMessage(id="a", text="", wire_fields={"content": ["look"]}))
