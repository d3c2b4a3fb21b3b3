from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt import ChatMessage, PromptTooLongError
from chatgpt.core.budget import Counter
from chatgpt.core.fitting import Budget, Prompt, build_prompt
from chatgpt.core.models import UNKNOWN_FAMILY, family_of
from chatgpt.core.needs import CountTokens, LoadTokenizer
from chatgpt.core.prompts import ChatFormat, prompt_cost
from chatgpt.core.threads import History
from chatgpt.tokenizer import load_tokenizer
from tests.stepping import Stepper, count_words, thread_of

QUESTION = ChatMessage(id="q", text="And now?", name=None)


def build(
    history: list[ChatMessage],
    *,
    window: int | None = None,
    reserved: int = 0,
    system: str = "",
    question: ChatMessage = QUESTION,
    tokenizer: CountTokens | None = None,
    stepper: Stepper | None = None,
    counted: dict[str, ChatMessage] | None = None,
) -> Prompt:
    return (stepper or Stepper()).run(
        build_prompt(
            [question],
            History(history[::-1]),
            ChatFormat(system),
            Budget(UNKNOWN_FAMILY.with_window(window), reserved, tokenizer),
            {} if counted is None else counted,
        )
    )


def test_while_bounds_prove_that_it_fits_nothing_is_counted() -> None:
    stepper = Stepper()
    prompt = build(thread_of(["a", "b"]), window=1000, system="S", stepper=stepper)
    assert stepper.needs == []
    assert [message.text for message in prompt.messages] == ["S", "a", "b", "And now?"]
    assert prompt.context.counting == "bound"
    assert prompt.context.message_count == 3
    assert prompt.context.oldest_message_id == "m0"
    assert prompt.context.left_out == 0
    assert prompt.context.left_out_reason is None


def test_without_a_window_everything_is_sent() -> None:
    prompt = build(thread_of(["word " * 500] * 40))
    assert len(prompt.messages) == 41
    assert prompt.context.prompt_limit is None


def test_whole_turns_are_left_out_oldest_first() -> None:
    texts = [f"{letter} " + "word " * 10 for letter in "abcdef"]
    # 3 for the primer, 6 for the question; a message of the history costs 3 + 1 + 11.
    prompt = build(thread_of(texts), window=3 + 6 + 2 * 30 + 29, tokenizer=count_words)
    assert [message.text[0] for message in prompt.messages] == ["c", "d", "e", "f", "A"]
    assert prompt.context.left_out == 2
    assert prompt.context.left_out_reason == "window"
    assert prompt.context.oldest_message_id == "m2"
    assert prompt.context.prompt_tokens == 69


def test_the_reply_is_reserved_first() -> None:
    prompt = build(thread_of(["word " * 10] * 4), window=100, reserved=50, tokenizer=count_words)
    assert prompt.context.message_count == 3
    assert prompt.context.prompt_limit == 50


def test_what_cannot_fit_raises_with_the_figures() -> None:
    with pytest.raises(
        PromptTooLongError, match="take 1019 tokens; the prompt may take at most 60: "
    ) as caught:
        build([], window=100, reserved=40, question=ChatMessage(id="q", text="word " * 1006), system="Be brief.", tokenizer=count_words)  # fmt: skip
    assert (caught.value.tokens, caught.value.limit) == (1019, 60)


def test_messages_that_were_counted_are_handed_back_with_their_counts() -> None:
    stepper = Stepper()
    counted: dict[str, ChatMessage] = {}
    build(thread_of(["word " * 20] * 4), window=80, stepper=stepper, counted=counted)
    assert stepper.needs == [LoadTokenizer("o200k_base")]
    assert sorted(counted) == ["m0", "m1", "m2", "m3", "q"]
    assert counted.pop("q").token_counts == {"o200k_base": 3}
    assert all(message.token_counts == {"o200k_base": 21} for message in counted.values())
    again: dict[str, ChatMessage] = {}
    history = sorted(counted.values(), key=lambda message: message.id)
    build(history, window=80, stepper=Stepper(), counted=again)
    assert sorted(again) == ["q"]


def test_kept_counts_stand_in_for_bounds() -> None:
    history = thread_of(["word " * 20] * 4, token_counts={"o200k_base": 21})
    stepper = Stepper()
    prompt = build(history, window=150, stepper=stepper)
    assert stepper.needs == []
    assert prompt.context.message_count == 5


@given(
    lengths=st.lists(st.integers(0, 60), max_size=25),
    texts=st.lists(st.text(max_size=40), min_size=1, max_size=5),
    window=st.integers(1, 1500),
    reserved=st.integers(0, 300),
    system=st.text(max_size=40),
    name=st.none() | st.text(min_size=1, max_size=8),
)
def test_a_prompt_never_exceeds_its_room(
    lengths: list[int], texts: list[str], window: int, reserved: int, system: str, name: str | None
) -> None:
    """For any thread; counted anew, with the real tokenizer, from what is sent."""
    history = thread_of(
        [texts[n % len(texts)] * length for n, length in enumerate(lengths)], name=name
    )
    count = load_tokenizer("o200k_base")
    stepper = Stepper(tokenizer=count)
    question = ChatMessage(id="q", text=texts[0] or "?", name=name)
    fixed = [question, *([ChatMessage(id="", text=system, role="system")] if system else [])]
    try:
        prompt = build(
            history,
            window=window,
            reserved=reserved,
            system=system,
            question=question,
            stepper=stepper,
        )
    except PromptTooLongError:
        assert prompt_cost(fixed, ChatFormat(), Counter(count, None)) > window - reserved
        return
    tokens = prompt_cost(prompt.messages, ChatFormat(), Counter(count, None))
    assert tokens <= window - reserved
    assert prompt.context.prompt_tokens >= tokens
    assert prompt.context.counting == "bound" or prompt.context.prompt_tokens == tokens
    left_out = history[: prompt.context.left_out]
    if left_out:
        last_turn = max(n for n, message in enumerate(left_out) if message.role == "user")
        assert (
            tokens + sum(ChatFormat().cost(m, Counter(count, None)) for m in left_out[last_turn:])
            > window - reserved
        )


def test_how_counts_are_marked() -> None:
    def counting(model: str) -> str:
        family = family_of(model).with_window(40)
        history = History(thread_of(["word " * 20] * 2)[::-1])
        exchange = build_prompt([QUESTION], history, ChatFormat(), Budget(family, 0), {})
        return Stepper().run(exchange).context.counting

    assert build([], tokenizer=count_words).context.counting == "custom"
    assert counting("gpt-4o") == "exact"
    assert counting("gpt-6-sol") == counting("llama") == "approximate"
