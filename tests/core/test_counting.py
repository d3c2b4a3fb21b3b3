"""What is counted, when and how often: bounds, calibration, and counts that are kept."""

from __future__ import annotations

from collections import Counter as Tally
from contextlib import suppress
from typing import Any

import pytest

from chatgpt import (
    AuthenticationError,
    BadRequestError,
    ChatMessage,
    MemoryStore,
)
from chatgpt.core import answering
from chatgpt.core.call_options import question_of
from chatgpt.core.lessons import Lesson, Lessons
from chatgpt.core.needs import (
    LoadTokenizer,
    SaveMessages,
)
from chatgpt.core.official import preview
from tests.core.made import (
    changes_of,
    server_count,
    too_long,
    usage,
)
from tests.stepping import (
    Answered,
    Stepper,
    completion,
    count_words,
    json_answer,
    official_call,
    send,
    thread_of,
)


@pytest.mark.parametrize("offset", [9, 60, 400])
@pytest.mark.parametrize("words", [5, 200])
def test_the_error_shrinks_after_the_first_reply(words: int, offset: int) -> None:
    """Against a server that counts with an offset: a hidden instruction, for instance.

    With few words everything is proven to fit, and the first reply is compared when something is counted.
    """
    stepper, lessons = Stepper(), Lessons()
    client = {"model": "gpt-4o", "max_model_tokens": 1_500, "max_response_tokens": 100}
    errors: list[float] = []
    parent = None
    for number in range(4):
        text = f"{number} " + "word " * words
        call = official_call(stepper.surroundings, client=client, lessons=lessons)
        expected = stepper.run(preview(question_of(text, parent_message_id=parent), call))
        told = server_count(expected.body) + offset
        answer = completion("word " * words, id=f"r{number}", usage=usage(told))
        stepper.answers.append(json_answer(answer))
        reply = send(stepper, text, client=client, lessons=lessons, parent_message_id=parent)
        parent = reply.id
        errors.append(abs(expected.prompt_tokens - told) / told)
        assert reply.context is not None
        if number:
            assert stepper.bodies[-1] == expected.body
            assert expected.context.counting == "calibrated"
            assert told <= 1_400, "what the server counts fits, too"
    assert errors[0] > 0.02
    assert max(errors[1:]) <= 0.02


def test_nothing_is_counted_only_to_calibrate() -> None:
    stepper = Stepper(json_answer(completion(usage=usage(500))))
    lessons = Lessons()
    reply = send(stepper, lessons=lessons)
    assert reply.context is not None
    assert reply.context.counting == "bound"
    assert stepper.of(LoadTokenizer) == []
    calibration = lessons.of("chat", "gpt-5.4-mini").calibration
    assert (calibration.counted, calibration.corrected(100)) == (None, 100)
    # It waits until something is counted.
    call = official_call(stepper.surroundings, lessons=lessons)
    stepper.run(preview(question_of("hi"), call))
    calibration = lessons.of("chat", "gpt-5.4-mini").calibration
    assert (calibration.counted, calibration.told, calibration.waiting) == (30, 500, None)


def test_what_a_server_adds_in_secret_counts_before_anything_is_counted() -> None:
    """It tells more than the bytes that were sent could be."""
    stepper = Stepper(json_answer(completion(usage=usage(900))), json_answer(completion(id="r9")))
    stepper.store.save(thread_of(["word " * 30] * 20))
    lessons = Lessons()
    client = {"model": "m", "max_model_tokens": 1_000, "max_response_tokens": 50}
    send(stepper, client=client, lessons=lessons, system_message="")
    reply = send(stepper, client=client, lessons=lessons, parent_message_id="m5", system_message="")
    assert stepper.of(LoadTokenizer)
    assert reply.context is not None
    # A single figure may have had a reason of its own: it costs half of the room at most.
    assert (len(stepper.bodies[1]["messages"]), reply.context.left_out) == (7, 0)


def test_what_waits_is_taken_from_the_room_of_a_bound() -> None:
    """30 messages of 31 bytes are proven to fit into 1,500 tokens, but not beside 600 that nobody sees."""
    stepper = Stepper(*(json_answer(completion(id=f"r{n}", usage=usage(900))) for n in range(2)))
    stepper.store.save(thread_of(["x" * 20] * 30))
    lessons = Lessons()
    client = {"model": "m", "max_model_tokens": 1_500, "max_response_tokens": 50, "system_message": ""}  # fmt: skip
    send(stepper, "y" * 280, client=client, lessons=lessons)
    assert lessons.of("chat", "m").calibration.excess > 500
    send(stepper, client=client, lessons=lessons, parent_message_id="m29")
    assert len(stepper.of(LoadTokenizer)) == 1


def test_counts_that_nobody_saves_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "MOST_COUNTED", 2)
    counted = {message.id: message for message in thread_of(["a", "b", "c"])}
    send(Stepper(json_answer(completion())), counted=counted)
    assert counted == {}


def test_an_estimate_is_corrected_by_what_the_server_told_before() -> None:
    lessons = Lessons()
    lessons.keep("chat", "m", calibration=Lesson().calibration.compared(9, 29))
    reply = send(Stepper(json_answer(completion())), client={"model": "m", "system_message": ""}, lessons=lessons)  # fmt: skip
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 28  # 8 by our count


def test_a_learned_window_that_changes_nothing_is_no_change() -> None:
    lessons = Lessons()
    lessons.keep("chat", "m", max_input=2_000, shares_window=True)
    reply = send(Stepper(json_answer(completion())), client={"model": "m"}, lessons=lessons)
    assert changes_of(reply) == []
    assert reply.context is not None
    assert reply.context.prompt_limit == 1_500


def test_one_odd_figure_costs_no_history() -> None:
    """A search, for instance, whose results the server counts: the next thread keeps what it had."""
    stepper = Stepper(
        json_answer(completion(usage=usage(120_000))), json_answer(completion(id="r9"))
    )
    stepper.store.save(thread_of(["word " * 30] * 6))
    lessons = Lessons()
    send(stepper, client={"model": "gpt-4o"}, lessons=lessons)
    reply = send(stepper, client={"model": "gpt-4o"}, lessons=lessons, parent_message_id="m5")
    assert reply.context is not None
    assert reply.context.left_out == 0


def test_where_the_server_seems_to_leave_no_room_it_is_asked() -> None:
    """What was learned of how it counts decides on the history, never on the message itself."""
    stepper, lessons = Stepper(json_answer(completion(usage=usage(11)))), Lessons()
    stepper.store.save(thread_of(["a", "b"]))
    lessons.keep("chat", "m", calibration=Lesson().calibration.compared(9, 29))
    client = {"model": "m", "max_model_tokens": 20, "max_response_tokens": 1}
    send(stepper, client=client, lessons=lessons, parent_message_id="m1", system_message="")
    assert [message["content"] for message in stepper.bodies[0]["messages"]] == ["hi"]
    # And its answer corrects what was thought of it.
    assert lessons.of("chat", "m").calibration.corrected(9) == 12


@pytest.mark.parametrize("ratio", [0.6, 1.5, 3, 5, 7])
@pytest.mark.parametrize("window", [800, 4_096])
def test_a_server_that_counts_otherwise_never_shuts_a_client_out(ratio: float, window: int) -> None:
    """Its tokens are others than ours, and only it knows its window."""

    def serve(body: Any) -> Answered:
        told = int(ratio * server_count(body))
        seen.append(told)
        if told > window:
            return too_long(window, told)
        return json_answer(completion("lorem " * 40, id=f"r{len(seen)}", usage=usage(told)))

    seen: list[int] = []
    store, lessons = MemoryStore(), Lessons()
    client = {"model": "m", "system_message": "terse"}
    parent = None
    for number in range(120):
        stepper = Stepper(serve, serve, store=store)
        reply = send(
            stepper,
            "word " * 20,
            client=client,
            lessons=lessons,
            parent_message_id=parent,
            message_id=f"q{number}",
        )
        parent = reply.id
    assert reply.context is not None
    assert reply.context.left_out > 0
    assert len(seen) <= 121, "its window costs one call, once"
    assert seen[-1] <= window
    assert seen[-1] > 0.25 * window, "and what it leaves is made use of"
    assert reply.context.prompt_tokens == pytest.approx(seen[-1], rel=0.02)
    assert send(
        Stepper(serve, store=store), "Hi", client=client, lessons=lessons, message_id="hi"
    ).id


def test_a_figure_beyond_the_window_is_nonsense() -> None:
    stepper = Stepper(json_answer(completion(usage=usage(10**9))))
    lessons = Lessons()
    send(stepper, client={"tokenizer": count_words}, lessons=lessons)
    assert lessons.of("chat", "gpt-5.4-mini") == Lesson()


class OnceEach:
    """A tokenizer that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: Tally[str] = Tally()

    def __call__(self, text: str) -> int:
        self.asked[text] += 1
        return len(text.split())


def test_each_of_10_000_long_messages_is_tokenized_at_most_once() -> None:
    tokenizer = OnceEach()
    store = MemoryStore(20_000)
    store.save(thread_of([f"number {n} " + "word " * 300 for n in range(10_000)]))
    parent = "m9999"
    counted: dict[str, ChatMessage] = {}
    # A failure in between loses no count, and another model of the same encoding takes them over.
    answers: list[Any] = [
        json_answer(completion("word " * 300 + "one", id="r1")),
        json_answer({"error": {"message": "m"}}, 401),
        json_answer(completion("word " * 300 + "two", id="r2")),
        json_answer(completion("word " * 300 + "three", id="r3")),
    ]
    for number, (model, window) in enumerate(
        [("gpt-4o", 50_000), ("gpt-4o", 900_000), ("gpt-4.1", 4_000_000), ("gpt-4o", 10_000)]
    ):
        stepper = Stepper(answers[number], store=store, tokenizer=tokenizer)
        client = {"model": model, "max_model_tokens": window}
        with suppress(AuthenticationError):
            parent = send(
                stepper,
                f"question {number}",
                client=client,
                counted=counted,
                parent_message_id=parent,
            ).id
    long = {text: times for text, times in tokenizer.asked.items() if len(text) > 100}
    assert len([text for text in long if text.startswith("number")]) == 10_000
    roles_and_instructions = {text for text, times in long.items() if times > 1}
    assert all(text.startswith("You are ChatGPT") for text in roles_and_instructions)


def test_counts_survive_a_failed_send_and_a_preview_without_being_stored() -> None:
    """They wait for the next save."""
    asked: list[str] = []

    def count(text: str) -> int:
        asked.append(text)
        return count_words(text)

    refusal = json_answer({"error": {"message": "m"}}, 400)
    stepper = Stepper(refusal, json_answer(completion()), tokenizer=count)
    stepper.store.save(thread_of([f"{n} " + "word " * 19 for n in range(4)]))
    client = {"max_model_tokens": 80, "max_response_tokens": 1, "system_message": ""}
    counted: dict[str, ChatMessage] = {}
    call = official_call(stepper.surroundings, client=client, counted=counted)
    stepper.run(preview(question_of("now?", parent_message_id="m3"), call))
    with pytest.raises(BadRequestError):
        send(stepper, client=client, counted=counted, parent_message_id="m3")
    assert stepper.of(SaveMessages) == []
    assert sorted(counted) == ["m0", "m1", "m2", "m3"]
    send(stepper, client=client, counted=counted, parent_message_id="m3", message_id="mine")
    assert counted == {}
    assert Tally(text[0] for text in asked if "word" in text) == {"0": 1, "1": 1, "2": 1, "3": 1}
    saved = stepper.of(SaveMessages)[0].messages
    assert [message.id for message in saved] == ["m0", "m1", "m2", "m3", "mine", "chatcmpl-1"]
    assert all(message.token_counts == {"o200k_base": 21} for message in saved[:4])


def test_a_failed_send_that_counted_nothing_saves_nothing() -> None:
    stepper = Stepper(json_answer({"error": {"message": "m"}}, 400))
    with pytest.raises(BadRequestError):
        send(stepper)
    assert stepper.of(SaveMessages) == []


def test_with_a_counter_that_fails_a_short_conversation_still_goes_through() -> None:
    def fails(text: str) -> int:
        raise OSError("the vocabulary is broken")

    stepper = Stepper(
        json_answer(completion()), json_answer(completion("b", id="r2")), tokenizer=fails
    )
    first = send(stepper, "Grüße 你好 👋")
    assert send(stepper, "and again", parent_message_id=first.id).text == "b"
