from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt import ChatMessage
from chatgpt.core.budget import Counter, cost_bound, prompt_cost
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
    assert prompt_cost(sample(), Counter(load_tokenizer(encoding), encoding)) == tokens


@given(text=st.text(), name=st.none() | st.text(min_size=1))
def test_the_bound_is_never_below_the_count(text: str, name: str | None) -> None:
    message = ChatMessage(id="a", text=text, name=name)
    for encoding in ("cl100k_base", "o200k_base"):
        assert cost_bound(message, encoding) >= Counter(load_tokenizer(encoding), encoding).cost(
            message
        )


def test_a_message_is_counted_once_and_keeps_its_count() -> None:
    asked: list[str] = []

    def count(text: str) -> int:
        asked.append(text)
        return 10

    counter = Counter(count, "e")
    message = ChatMessage(id="a", text="hi")
    assert counter.cost(message) == counter.cost(message) == 3 + 20
    assert asked == ["user", "hi"]
    kept = counter.counted["a"]
    assert kept.token_counts == {"e": 20}
    assert Counter(count, "e").cost(kept) == 23
    assert cost_bound(kept, "e") == 23
    assert asked == ["user", "hi"]


def test_a_tokenizer_of_the_caller_is_asked_every_time_and_keeps_nothing() -> None:
    counter = Counter(len, None)
    message = ChatMessage(id="a", text="hi", name="Bo", token_counts={"e": 99})
    assert counter.cost(message) == 3 + 1 + len("userhiBo")
    assert counter.counted == {}
    assert cost_bound(message, None) == 3 + 1 + len("userhiBo")
