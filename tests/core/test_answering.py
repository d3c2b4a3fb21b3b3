"""How a draft is answered, stepped by hand: what is refused is mended, what is counted is kept."""

from __future__ import annotations

import json
from collections import Counter as Tally
from contextlib import suppress
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt import (
    AuthenticationError,
    BadRequestError,
    ChatMessage,
    ContextLengthError,
    MemoryStore,
    PromptTooLongError,
    RateLimitError,
    RequestChange,
    StreamError,
)
from chatgpt.core.budget import Counter
from chatgpt.core.call_options import question_of
from chatgpt.core.lessons import Lesson, Lessons
from chatgpt.core.needs import (
    CountTokens,
    LoadThread,
    LoadTokenizer,
    Running,
    SaveMessages,
    SendRequest,
)
from chatgpt.core.official import continue_reply, edit, preview, regenerate, send_message
from chatgpt.core.prompts import ChatFormat, prompt_cost
from chatgpt.tokenizer import load_tokenizer
from tests.stepping import (
    LOST,
    STREAM,
    Answered,
    Stepper,
    chunk,
    completion,
    count_words,
    json_answer,
    official_call,
    send,
    sse,
    thread_of,
)


def refused(message: str, param: str | None = None, code: str | None = None) -> Answered:
    return json_answer({"error": {"message": message, "param": param, "code": code}}, 400)


def unsupported(name: str) -> Answered:
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    return refused(message, name, "unsupported_parameter")


def changes_of(reply: ChatMessage) -> list[tuple[str, str]]:
    assert reply.context is not None
    return [(change.parameter, change.change) for change in reply.context.changes]


# --- mending ---------------------------------------------------------------------------------


def test_each_refusal_costs_one_call_once() -> None:
    stepper = Stepper(
        unsupported("max_tokens"),
        unsupported("temperature"),
        unsupported("stream_options"),
        Answered(STREAM),
        Answered(STREAM),
    )
    lessons = Lessons()
    client = {"model": "m", "max_response_tokens": 9, "completion_params": {"temperature": 1}}
    first = send(stepper, client=client, lessons=lessons, wants_parts=True)
    assert [sorted(body.keys() - {"model", "messages", "stream"}) for body in stepper.bodies] == [
        ["max_tokens", "stream_options", "temperature"],
        ["max_completion_tokens", "stream_options", "temperature"],
        ["max_completion_tokens", "stream_options"],
        ["max_completion_tokens"],
    ]
    second = send(stepper, client=client, lessons=lessons, wants_parts=True)
    assert stepper.bodies[4] == stepper.bodies[3]
    for reply in (first, second):
        assert changes_of(reply) == [
            ("max_tokens", "renamed"),
            ("stream_options", "left out"),
            ("temperature", "left out"),
        ]


def test_a_lesson_is_of_one_model() -> None:
    stepper = Stepper(unsupported("seed"), *(json_answer(completion()) for _ in range(2)))
    lessons = Lessons()
    for model in ("a", "b"):
        send(stepper, lessons=lessons, completion_params={"model": model, "seed": 1})
    assert ["seed" in body for body in stepper.bodies] == [True, False, True]


def test_a_refusal_of_what_was_mended_is_an_error() -> None:
    """It is the first one that is raised: what the caller gave, and no lesson remains."""
    stepper = Stepper(unsupported("max_tokens"), unsupported("max_completion_tokens"))
    lessons = Lessons()
    with pytest.raises(BadRequestError, match="'max_tokens'"):
        send(stepper, client={"model": "m", "max_response_tokens": 9}, lessons=lessons)
    assert len(stepper.bodies) == 2
    assert lessons.of("chat", "m") == Lesson()


def test_a_name_of_the_limit_that_is_no_good_any_more_is_taken_back() -> None:
    stepper = Stepper(unsupported("max_completion_tokens"), json_answer(completion()))
    lessons = Lessons()
    lessons.keep("chat", "m", limit_name="max_completion_tokens")
    send(stepper, client={"model": "m", "max_response_tokens": 9}, lessons=lessons)
    assert [body.get("max_tokens") for body in stepper.bodies] == [None, 9]
    assert lessons.of("chat", "m") == Lesson()


def test_a_server_that_wants_the_reasoning_and_does_not() -> None:
    """A router with two servers behind it: the call ends, and the client goes on."""
    wanted = refused("The `reasoning_content` in the thinking mode must be passed back to the API.")
    unwanted = refused("messages.1.reasoning_content: Extra inputs are not permitted")
    stepper = Stepper(wanted, unwanted, wanted, json_answer(completion()))
    stepper.store.save(thread_of(["a", "b"]))
    lessons = Lessons()
    with pytest.raises(BadRequestError, match="must be passed back"):
        send(stepper, lessons=lessons, parent_message_id="m1")
    assert lessons.of("chat", "gpt-5.4-mini") == Lesson()
    send(stepper, lessons=lessons, parent_message_id="m1")
    stepper.answers += [unwanted, json_answer(completion(id="r2"))]
    assert send(stepper, lessons=lessons, parent_message_id="m1").id == "r2"


def test_text_completions_have_one_name_for_the_limit() -> None:
    stepper = Stepper(unsupported("max_tokens"))
    with pytest.raises(BadRequestError):
        send(stepper, client={"model": "m", "endpoint": "completions"})
    assert len(stepper.bodies) == 1


def test_a_refusal_of_nothing_that_was_sent_is_an_error() -> None:
    stepper = Stepper(unsupported("temperature"))
    with pytest.raises(BadRequestError):
        send(stepper)
    assert len(stepper.bodies) == 1


def test_a_model_that_does_not_stream_answers_once_through_the_same_progress() -> None:
    message = "Your organization must be verified to stream this model."
    stepper = Stepper(
        refused(message, "stream", "unsupported_value"),
        json_answer(completion("Hello!")),
        json_answer(completion("Again!", id="r2")),
    )
    lessons = Lessons()
    reply = send(stepper, lessons=lessons, wants_parts=True)
    assert (reply.text, changes_of(reply)) == ("Hello!", [("stream", "left out")])
    send(stepper, lessons=lessons, wants_parts=True)
    assert [part.delta for part in stepper.parts] == ["Hello!", "Again!"]
    assert [body["stream"] for body in stepper.bodies] == [True, False, False]
    assert "stream_options" not in stepper.bodies[1]


def test_an_answer_that_is_not_streamed_after_all_has_no_limit_for_silence() -> None:
    message = "This model does not support streaming."
    stepper = Stepper(refused(message), Answered(200.0, json.dumps(completion("Late.")).encode()))
    assert send(stepper, wants_parts=True).text == "Late."


# --- ids -------------------------------------------------------------------------------------


def test_two_calls_at_the_same_moment_never_store_the_same_id() -> None:
    """Some servers repeat their ids; between the look and the save another call may come."""
    answers = json_answer(completion("a", id="same")), json_answer(completion("b", id="same"))
    store = MemoryStore()
    stepper = Stepper(answers[0], store=store)
    call = official_call(stepper.surroundings)
    running = Running(send_message(question_of("first"), call))
    while (need := running.need) is not None and not isinstance(need, SaveMessages):
        running.resume(stepper.meet(need))
    other = Stepper(answers[1], store=store)
    other.surroundings = stepper.surroundings
    late = evolve(call)
    second = other.run(send_message(question_of("second"), late))
    assert need is not None
    running.resume(stepper.meet(need))
    first = running.result()
    assert first.id == "same" != second.id
    assert [message.text for message in store.path(second.id)] == ["b", "second"]
    assert [message.text for message in store.path(first.id)] == ["a", "first"]
    assert call.claimed == {}


def test_an_id_of_the_caller_that_is_on_its_way_is_refused() -> None:
    stepper = Stepper(json_answer(completion()))
    call = official_call(stepper.surroundings)
    running = Running(send_message(question_of("first", message_id="mine"), call))
    late = evolve(call)
    with pytest.raises(ValueError, match="'mine' is that of a message on its way"):
        Stepper().run(send_message(question_of("second", message_id="mine"), late))
    running.close()
    assert call.claimed == {}


def test_reasoning_is_sent_back_where_the_server_wants_it() -> None:
    stepper = Stepper(
        refused("The `reasoning_content` in the thinking mode must be passed back to the API."),
        json_answer(completion()),
    )
    question, answer = thread_of(["a", "b"])
    thought = ChatMessage(
        id=answer.id, text="b", role="assistant", parent_message_id="m0", reasoning="hm"
    )
    stepper.store.save([question, thought])
    reply = send(stepper, parent_message_id="m1", system_message="")
    first, second = (body["messages"][1] for body in stepper.bodies)
    assert first == {"role": "assistant", "content": "b"}
    assert second == {"role": "assistant", "content": "b", "reasoning_content": "hm"}
    assert changes_of(reply) == [("reasoning_content", "added")]


@pytest.mark.parametrize(
    "answer",
    [
        json_answer({"error": {"message": "Unsupported parameter: 'seed'", "param": "seed", "code": "unsupported_parameter"}}, 429),
        Answered(sse({"error": {"message": "Unsupported parameter: 'seed'", "param": "seed", "code": "unsupported_parameter"}})),
        LOST,
    ],
)  # fmt: skip
def test_a_lesson_is_learned_from_nothing_else(answer: Any) -> None:
    lessons = Lessons()
    with pytest.raises(Exception, match=r"seed|reset"):
        send(Stepper(answer), client={"max_retries": 0, "completion_params": {"seed": 1}}, lessons=lessons, stream=True)  # fmt: skip
    assert lessons.of("chat", "gpt-5.4-mini") == Lesson()


def test_retries_and_mending_go_together() -> None:
    busy = json_answer({"error": {"message": "busy"}}, 503)
    stepper = Stepper(busy, unsupported("seed"), busy, json_answer(completion()))
    assert send(stepper, completion_params={"seed": 1}).text == "Hello!"
    assert ["seed" in body for body in stepper.bodies] == [True, True, False, False]


def test_the_deadline_holds_for_all_of_it() -> None:
    slow = Answered(400.0, b'{"error": {"message": "\'seed\' is not supported", "param": "seed"}}', status=400)  # fmt: skip
    stepper = Stepper(slow, slow, slow)
    with pytest.raises(BadRequestError):
        send(stepper, completion_params={"seed": 1}, timeout=3)
    assert len(stepper.bodies) == 1


# --- a window that only the server knows -------------------------------------------------------


def too_long(limit: int, tokens: int) -> Answered:
    return refused(
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in "
        f"{tokens} tokens.",
        "messages",
        "context_length_exceeded",
    )


def test_the_history_is_shortened_by_the_servers_figures_and_they_are_kept() -> None:
    # Of 20 messages each costs 3 + 1 + 10 words, the question 5, the primer 3: 288 tokens.
    stepper = Stepper(
        too_long(200, 288), json_answer(completion("Yes.")), json_answer(completion("No.", id="r2"))
    )
    stepper.store.save(thread_of(["word " * 10] * 20))
    lessons = Lessons()
    client = {"model": "m", "system_message": ""}
    reply = send(stepper, client=client, lessons=lessons, parent_message_id="m19")
    assert [len(body["messages"]) for body in stepper.bodies] == [21, 11]
    assert reply.context is not None
    # A quarter of the window is kept free for the reply, as for any other.
    assert (reply.context.prompt_limit, reply.context.prompt_tokens) == (150, 148)
    assert (reply.context.left_out, changes_of(reply)) == (10, [("messages", "shortened")])
    send(stepper, client=client, lessons=lessons, parent_message_id=reply.id)
    assert len(stepper.bodies) == 3
    assert len(stepper.bodies[2]["messages"]) <= 13


def test_the_servers_count_corrects_ours() -> None:
    """It counts twice as many: half of what would fit by our count is sent."""
    stepper = Stepper(too_long(400, 576), json_answer(completion()))
    stepper.store.save(thread_of(["word " * 10] * 20))
    lessons = Lessons()
    reply = send(stepper, client={"model": "m", "system_message": "", "max_response_tokens": 100}, lessons=lessons, parent_message_id="m19")  # fmt: skip
    calibration = lessons.of("chat", "m").calibration
    assert (calibration.counted, calibration.told) == (288, 576)
    assert reply.context is not None
    assert (reply.context.counting, reply.context.prompt_limit) == ("calibrated", 300)
    assert reply.context.prompt_tokens <= 300


def test_a_question_that_does_not_fit_is_the_servers_error() -> None:
    """Each time: what was once said of a window forbids nothing."""
    stepper = Stepper(too_long(50, 600), too_long(50, 600), json_answer(completion()))
    lessons = Lessons()
    for _ in range(2):
        with pytest.raises(ContextLengthError) as caught:
            send(stepper, "word " * 60, client={"model": "m"}, lessons=lessons)
        assert (caught.value.limit, caught.value.tokens) == (50, 600)
    assert len(stepper.bodies) == 2
    send(stepper, "word " * 60, client={"model": "m"}, lessons=lessons)


def test_what_is_known_of_the_window_holds_beside_what_was_learned() -> None:
    stepper, lessons = Stepper(), Lessons()
    lessons.keep("chat", "m", max_input=100)
    client = {"model": "m", "max_model_tokens": 200, "max_response_tokens": 20}
    with pytest.raises(PromptTooLongError, match="at most 180: the model's 200 tokens, less 20 ") as caught:  # fmt: skip
        send(stepper, "word " * 190, client=client, lessons=lessons)
    assert caught.value.limit == 180
    assert stepper.of(SendRequest) == []


def test_a_window_that_turns_out_larger_is_forgotten() -> None:
    stepper = Stepper(json_answer(completion(usage=usage(900))))
    lessons = Lessons()
    lessons.keep("chat", "m", max_input=800)
    send(stepper, client={"model": "m"}, lessons=lessons)
    assert lessons.of("chat", "m").max_input is None


def test_calls_at_the_same_moment_learn_the_same_lesson() -> None:
    """The second one was sent before the first one was refused."""
    lessons = Lessons()
    client = {"model": "m", "max_response_tokens": 9}

    def refused_late(body: Any) -> Answered:
        assert "max_tokens" in body
        send(
            Stepper(unsupported("max_tokens"), json_answer(completion())),
            client=client,
            lessons=lessons,
        )
        return unsupported("max_tokens")

    stepper = Stepper(refused_late, json_answer(completion()))
    assert send(stepper, client=client, lessons=lessons).text == "Hello!"
    assert [
        sorted(body.keys() & {"max_tokens", "max_completion_tokens"}) for body in stepper.bodies
    ] == [
        ["max_tokens"],
        ["max_completion_tokens"],
    ]


def test_it_is_shortened_once() -> None:
    stepper = Stepper(too_long(200, 288), too_long(100, 148))
    stepper.store.save(thread_of(["word " * 10] * 20))
    with pytest.raises(ContextLengthError) as caught:
        send(stepper, client={"model": "m"}, parent_message_id="m19")
    assert caught.value.limit == 100
    assert len(stepper.bodies) == 2


def test_without_history_there_is_nothing_to_shorten() -> None:
    for answer in (refused("m", code="context_length_exceeded"), too_long(1_000_000, 20)):
        stepper = Stepper(answer)
        with pytest.raises(ContextLengthError):
            send(stepper, client={"model": "m"})
        assert len(stepper.bodies) == 1


@pytest.mark.parametrize(
    "words",
    [
        "Your input exceeds the context window of this model.",
        "This model's maximum context length is 250 tokens.",
    ],
)
def test_without_figures_of_the_prompt_half_of_it_is_tried(words: str) -> None:
    """The window may be told and the prompt fit into it, by our count: then the server counts otherwise."""
    stepper = Stepper(refused(words), json_answer(completion()), json_answer(completion(id="r2")))
    stepper.store.save(thread_of(["word " * 10] * 10))
    lessons = Lessons()
    client = {"model": "m", "system_message": "", "max_response_tokens": 50}
    reply = send(stepper, client=client, lessons=lessons, parent_message_id="m9")
    assert [server_count(body) for body in stepper.bodies] == [148, 64]
    assert ("messages", "shortened") in changes_of(reply)
    send(stepper, client=client, lessons=lessons, parent_message_id=reply.id)
    assert len(stepper.bodies) == 3, "and it is remembered"
    # What the server takes in spite of it is no longer too long.
    stepper.answers.append(json_answer(completion(id="r3", usage=usage(120))))
    send(stepper, client=client, lessons=lessons, message_id="longer")
    assert lessons.of("chat", "m").max_prompt == 120


def test_a_half_that_is_refused_too_was_not_the_length_and_teaches_nothing() -> None:
    stepper = Stepper(*[refused("context window handling is odd")] * 4)
    stepper.store.save(thread_of(["word " * 10] * 10))
    lessons = Lessons()
    for number in range(2):
        with pytest.raises(ContextLengthError):
            send(stepper, client={"model": "gpt-4o"}, lessons=lessons, parent_message_id="m9")
        assert len(stepper.bodies) == 2 * (number + 1)
    lesson = lessons.of("chat", "gpt-4o")
    assert (lesson.max_prompt, lesson.max_input, lesson.refused) == (None, None, frozenset())


@pytest.mark.parametrize("model", ["local", "gpt-4o"])
def test_a_server_that_tells_no_figures_when_it_refuses_is_never_lost(model: str) -> None:
    def serve(body: Any) -> Answered:
        told = server_count(body)
        if told > 1_500:
            return refused("context length exceeded")
        return json_answer(completion("word " * 100, id=f"r{told}", usage=usage(told)))

    store, lessons = MemoryStore(), Lessons()
    parent, sent = None, 0
    for number in range(60):
        stepper = Stepper(serve, serve, store=store)
        reply = send(stepper, "word " * 100, client={"model": model}, lessons=lessons, parent_message_id=parent, message_id=f"q{number}")  # fmt: skip
        parent, sent = reply.id, sent + len(stepper.bodies)
    assert sent == 61, "its window costs one call, once"


def test_a_text_completion_gets_a_smaller_limit_in_a_small_window() -> None:
    message = "maximum context length is 800 tokens, however you requested 4110 tokens (14 in the messages, 4096 in the completion)"  # fmt: skip
    answer = {"id": "r", "choices": [{"index": 0, "text": " Hi ", "finish_reason": "stop"}]}
    stepper = Stepper(refused(message), json_answer(answer))
    reply = send(stepper, client={"model": "m", "endpoint": "completions"})
    assert [body["max_tokens"] for body in stepper.bodies] == [4096, 200]
    assert reply.text == "Hi"


# --- counting --------------------------------------------------------------------------------


def usage(prompt_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": 5,
        "total_tokens": prompt_tokens + 5,
    }


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


def server_count(body: Any) -> int:
    return 3 + sum(3 + 1 + count_words(message["content"]) for message in body["messages"])


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


# --- within the window, whatever comes ---------------------------------------------------------

said = st.text(max_size=60) | st.sampled_from(
    [
        "<|endoftext|>" * 3,
        "👩‍👩‍👧‍👦" * 5,
        "a" * 300,
        "\ud800 from a store \udc00",
        "\u2028\n\x00",
        "",
    ]
)


@settings(max_examples=60)
@given(
    texts=st.lists(said, max_size=14),
    window=st.integers(20, 900),
    reserved=st.integers(1, 200),
    counted_before=st.booleans(),
    server=st.tuples(st.floats(0.7, 1.8), st.integers(0, 60)),
)
def test_prompt_and_reply_never_exceed_the_window(
    texts: list[str],
    window: int,
    reserved: int,
    counted_before: bool,
    server: tuple[float, int],
) -> None:
    if reserved >= window:
        return
    count = load_tokenizer("o200k_base")
    store, lessons = MemoryStore(), Lessons()
    if texts:
        store.save(thread_of(texts))
    if counted_before:
        counted = int(window * 0.4) + 1
        lessons.keep("chat", "gpt-4o", calibration=Lesson().calibration.compared(counted, int(counted * server[0]) + server[1], is_refused=True))  # fmt: skip
    calibration = lessons.of("chat", "gpt-4o").calibration
    client = {"model": "gpt-4o", "max_model_tokens": window, "max_response_tokens": reserved}
    stepper = Stepper(json_answer(completion()), store=store, tokenizer=count)
    parent = f"m{len(texts) - 1}" if texts else None
    try:
        send(stepper, "And <|endoftext|> now?", client=client, lessons=lessons, parent_message_id=parent, system_message="Be brief.")  # fmt: skip
    except PromptTooLongError:
        assert stepper.of(SendRequest) == []
        return
    messages = stepper.bodies[0]["messages"]
    tokens = recount(messages, count)
    assert tokens <= window - reserved
    if calibration.is_confirmed:
        assert calibration.corrected(tokens) <= window - reserved or len(messages) == 2


def recount(messages: list[dict[str, str]], count: CountTokens) -> int:
    made = [
        ChatMessage(id=str(n), text=message["content"], role=message["role"])  # type: ignore[arg-type] # a role
        for n, message in enumerate(messages)
    ]
    return prompt_cost(made, ChatFormat(), Counter(count, None))


def test_the_reply_of_a_text_completion_is_stripped_and_its_parts_are_not() -> None:
    def piece(text: str, finish_reason: str | None = None) -> dict[str, object]:
        return {"id": "c", "choices": [{"index": 0, "text": text, "finish_reason": finish_reason}]}

    stepper = Stepper(Answered(sse(piece("\n\n"), piece("Hello "), piece("", "stop"))))
    reply = send(stepper, client={"model": "davinci-002"}, wants_parts=True)
    assert [part.text for part in stepper.parts] == ["\n\n", "\n\nHello "]
    assert reply.text == "Hello"
    assert stepper.of(SendRequest)[0].request.url == "https://api.openai.com/v1/completions"


def test_a_chat_reply_is_never_stripped() -> None:
    stepper = Stepper(Answered(sse(chunk("\n Hi "), chunk(finish_reason="stop"))))
    assert send(stepper, wants_parts=True).text == "\n Hi "


def test_what_the_family_refuses_is_left_out_before_anything_is_refused() -> None:
    stepper = Stepper(json_answer(completion()))
    params = {"temperature": 0.2, "max_tokens": 50, "reasoning_effort": "high"}
    reply = send(stepper, client={"model": "gpt-5.4"}, completion_params=params)
    assert stepper.bodies[0] == {
        "model": "gpt-5.4",
        "messages": stepper.bodies[0]["messages"],
        "stream": False,
        "max_completion_tokens": 50,
        "reasoning_effort": "high",
    }
    assert reply.context is not None
    assert reply.context.changes == (
        RequestChange("max_tokens", "renamed", is_learned=False),
        RequestChange("temperature", "left out", is_learned=False),
    )


def test_a_family_of_the_callers_own_words() -> None:
    stepper = Stepper(json_answer(completion()), json_answer(completion(id="r2")))
    params = {"temperature": 0.2}
    send(stepper, client={"model": "my-deployment", "model_family": "o3"}, completion_params=params)
    send(stepper, client={"model": "o3", "model_family": "gpt-4o"}, completion_params=params)
    assert ["temperature" in body for body in stepper.bodies] == [False, True]


def test_a_rate_limit_is_no_lesson() -> None:
    answer = json_answer({"error": {"message": "'seed' is not supported at this rate"}}, 429)
    with pytest.raises(RateLimitError):
        send(Stepper(answer), client={"max_retries": 0}, completion_params={"seed": 1})
    with pytest.raises(StreamError):
        body = {"error": {"message": "'seed' is not supported", "param": "seed", "code": 400}}
        send(Stepper(json_answer(body)), completion_params={"seed": 1})


def test_a_megabyte_of_one_letter_is_counted_and_refused_with_the_figure() -> None:
    stepper = Stepper(tokenizer=load_tokenizer("o200k_base"))
    client = {"model": "gpt-4o", "max_model_tokens": 100_000, "system_message": ""}
    with pytest.raises(PromptTooLongError) as caught:
        send(stepper, "a" * 1_000_000, client=client)
    assert caught.value.tokens == 125_000 + 7
    assert stepper.of(SendRequest) == []


def test_special_tokens_in_a_text_completion_are_sent_as_they_are() -> None:
    answer = {"id": "r", "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop"}]}
    stepper = Stepper(json_answer(answer))
    send(stepper, "a<|endoftext|>b", client={"model": "davinci-002", "system_message": ""})
    assert stepper.bodies[0]["prompt"].startswith("User:\n\na<|endoftext|>b<|endoftext|>")


# --- what is saved ---------------------------------------------------------------------------


def test_what_waits_to_be_compared_is_never_saved() -> None:
    """The question of a failed send, a message that was deleted, one that was changed in the store."""
    stepper = Stepper(
        json_answer(completion(usage=usage(60))),
        too_long(100, 400),
        json_answer(completion(id="r3")),
    )
    store, lessons = stepper.store, Lessons()
    client = {"model": "m", "max_model_tokens": 1_000, "system_message": ""}
    send(stepper, "first", client=client, lessons=lessons, message_id="q1")
    with pytest.raises(ContextLengthError):
        send(stepper, "SECRET " * 50, client=client, lessons=lessons, message_id="failed")
    changed = ChatMessage(id="q1", text="***", conversation_id="c")
    store.save([changed])
    forgetful = MemoryStore()
    forgetful.save([changed])
    stepper.store = forgetful
    call = official_call(stepper.surroundings, client=client, lessons=lessons)
    stepper.run(preview(question_of("hi", parent_message_id="q1"), call))
    assert forgetful.get("failed") is None
    assert [message.text for message in forgetful.path("q1", None)] == ["***"]
    assert len(forgetful) == 1


def test_only_the_thread_itself_is_saved_with_its_counts() -> None:
    stepper = Stepper(json_answer(completion(usage=usage(60))), json_answer(completion(id="r2")))
    lessons = Lessons()
    stepper.store.save(thread_of(["word " * 20] * 4))
    client = {"model": "m", "max_model_tokens": 400, "max_response_tokens": 1, "system_message": ""}
    send(stepper, "another thread", client=client, lessons=lessons)
    client["max_model_tokens"] = 80
    send(stepper, client=client, lessons=lessons, parent_message_id="m3", message_id="mine")
    saved = [message.id for message in stepper.of(SaveMessages)[-1].messages]
    assert saved == ["m2", "m3", "mine", "r2"]


# --- going on, and again -----------------------------------------------------------------------


def cut_thread(text: str) -> list[ChatMessage]:
    *before, last = thread_of(["word " * 60, text])
    cut = ChatMessage(
        id=last.id, text=text, role="assistant", parent_message_id="m0", finish_reason="length"
    )
    return [*before, cut]


def test_the_reply_that_is_gone_on_with_is_never_left_out() -> None:
    stepper = Stepper(json_answer(completion(" more")))
    stepper.store.save(cut_thread("word " * 60))
    client = {
        "model": "m",
        "max_model_tokens": 150,
        "max_response_tokens": 40,
        "system_message": "",
    }
    call = official_call(stepper.surroundings, client=client)
    reply = stepper.run(continue_reply("m1", None, call))
    assert [message["role"] for message in stepper.bodies[0]["messages"]] == ["assistant", "user"]
    assert reply.text == "word " * 60 + " more"
    assert reply.context is not None
    assert (reply.context.message_count, reply.context.oldest_message_id) == (1, "m1")
    assert reply.context.left_out == 1
    tiny = official_call(
        stepper.surroundings, client={**client, "max_model_tokens": 80, "max_response_tokens": 10}
    )
    with pytest.raises(PromptTooLongError):
        stepper.run(continue_reply("m1", None, tiny))


def test_a_text_with_a_suffix_of_its_own_is_gone_on_with_behind_it() -> None:
    answer = {"id": "r", "choices": [{"index": 0, "text": " three", "finish_reason": "stop"}]}
    stepper = Stepper(json_answer(answer), json_answer({**answer, "id": "r2"}))
    stepper.store.save(cut_thread("One two"))
    client = {"model": "davinci-002", "system_message": ""}
    suffixes: list[dict[str, Any]] = [{"prompt_suffix": "\n>>"}, {}]
    for options in suffixes:
        call = official_call(stepper.surroundings, client=client, **options)
        assert stepper.run(continue_reply("m1", None, call)).text == "One two three"
    question = "User:\n\n" + "word " * 60 + "<|endoftext|>"
    assert [body["prompt"] for body in stepper.bodies] == [
        f"{question}\n>>One two",
        f"{question}\n\nChatGPT:\n\nOne two",
    ]


def test_what_follows_a_text_completion_is_counted() -> None:
    client = {"model": "davinci-002", "max_model_tokens": 300, "max_response_tokens": 20}
    with pytest.raises(PromptTooLongError):
        send(Stepper(), client=client, completion_params={"suffix": "word " * 300})


def test_both_limits_are_reserved() -> None:
    params = {"max_tokens": 190, "max_completion_tokens": 10}
    with pytest.raises(PromptTooLongError):
        send(Stepper(), "word " * 20, client={"model": "m", "max_model_tokens": 200}, completion_params=params)  # fmt: skip


def test_what_follows_keeps_the_conversation_and_the_thoughts() -> None:
    question, cut = cut_thread("Once")
    thoughtful = evolve(cut, reasoning="hm, ", conversation_id="c")
    stepper = Stepper(json_answer(completion(" more")))
    stepper.store.save([question, thoughtful])
    reply = stepper.run(continue_reply("m1", None, official_call(stepper.surroundings)))
    assert (reply.conversation_id, reply.parent_message_id) == ("c", "m0")
    assert reply.reasoning == "hm, "
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 1, "what came of it, and not what was there"


def test_a_reply_to_messages_without_a_conversation_gets_the_one_of_the_chat() -> None:
    stepper = Stepper(*(json_answer(completion(id=f"r{n}")) for n in range(3)))
    stepper.store.save([evolve(message, conversation_id=None) for message in cut_thread("Once")])
    call = official_call(stepper.surroundings)
    for exchange in (
        continue_reply("m1", "LABEL", call),
        regenerate("m1", "LABEL", call),
        edit("m1", "other", "LABEL", call),
    ):
        assert stepper.run(exchange).conversation_id == "LABEL"


def test_regenerating_saves_the_reply_alone() -> None:
    stepper = Stepper(json_answer(completion()))
    stepper.store.save(thread_of(["a", "b"]))
    reply = stepper.run(regenerate("m1", None, official_call(stepper.surroundings)))
    assert stepper.of(SaveMessages)[0].messages == (reply,)
    assert stepper.bodies[0]["messages"][1:] == [{"role": "user", "content": "a"}]


def test_no_more_is_read_than_could_fit_besides_what_is_asked() -> None:
    stepper = Stepper(*(json_answer(completion(id=f"r{n}")) for n in range(2)))
    stepper.store.save(thread_of(["a"] * 100))
    client = {"max_model_tokens": 60, "max_response_tokens": 20, "system_message": ""}
    call = official_call(stepper.surroundings, client=client)
    stepper.run(regenerate("m99", None, call))
    # How far up the question is that is edited, nobody knows.
    stepper.run(edit("m98", "b", None, call))
    assert [need.limit for need in stepper.of(LoadThread)] == [16, None]


def test_the_question_that_is_edited_may_be_far_up() -> None:
    stepper = Stepper(json_answer(completion()))
    tools = [ChatMessage(id=f"t{n}", text="", role="tool", parent_message_id=f"t{n - 1}" if n else "m0") for n in range(40)]  # fmt: skip
    stepper.store.save([*thread_of(["a"]), *tools])
    client = {"max_model_tokens": 60, "max_response_tokens": 20, "system_message": ""}
    call = official_call(stepper.surroundings, client=client)
    assert stepper.run(edit("t39", "b", None, call)).text == "Hello!"


def test_an_edited_message_keeps_its_pictures() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    fields = {"content": [{"type": "text", "text": "What is this?"}, picture], "x": 1}
    stepper = Stepper(*(json_answer(completion(id=f"r{n}")) for n in range(2)))
    stepper.store.save([ChatMessage(id="q", text="What is this?", wire_fields=fields)])
    stepper.store.save([ChatMessage(id="p", text="old", wire_fields={"content": "old"})])
    call = official_call(stepper.surroundings, client={"system_message": ""})
    for message_id in ("q", "p"):
        stepper.run(edit(message_id, "And this?", None, call))
    assert [body["messages"] for body in stepper.bodies] == [
        [{"role": "user", "content": [{"type": "text", "text": "And this?"}, picture], "x": 1}],
        [{"role": "user", "content": "And this?"}],
    ]


# --- how a figure came about -------------------------------------------------------------------


def test_a_picture_makes_a_figure_a_guess() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    message = ChatMessage(id="q", text="?", wire_fields={"content": [picture]})
    stepper = Stepper(json_answer(completion(usage=usage(9_000))))
    stepper.store.save([message])
    lessons = Lessons()
    reply = send(stepper, client={"model": "gpt-4o"}, lessons=lessons, parent_message_id="q")
    assert reply.context is not None
    assert reply.context.counting == "approximate"
    assert reply.context.prompt_tokens > 1_445
    assert lessons.of("chat", "gpt-4o") == Lesson(), "and no figure is compared with a guess"


def test_a_tokenizer_of_the_caller_keeps_nothing() -> None:
    counted: dict[str, ChatMessage] = {}
    stepper = Stepper(json_answer(completion(usage=usage(40))))
    stepper.store.save(thread_of(["word " * 20] * 4))
    client = {"tokenizer": count_words, "max_model_tokens": 70, "max_response_tokens": 1}
    reply = send(stepper, client=client, counted=counted, parent_message_id="m3", system_message="")
    assert counted == {}
    assert all(m.token_counts == {} for m in stepper.of(SaveMessages)[0].messages)
    assert reply.context is not None
    assert (reply.context.counting, reply.context.changes) == ("custom", ())
    assert reply.context.left_out > 0


def test_an_estimate_is_counted_by_the_callers_tokenizer() -> None:
    stepper = Stepper(json_answer(completion("one two")))
    reply = send(stepper, client={"tokenizer": lambda text: 100 * count_words(text)})
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 200


def test_where_nobody_may_wait_the_vocabulary_is_loaded_before() -> None:
    for has_usage in (False, True):
        told = {"usage": usage(9)} if has_usage else {}
        stepper = Stepper(json_answer({**completion(), **told}))
        stepper.surroundings = evolve(stepper.surroundings, may_block=False)
        reply = send(stepper)
        assert bool(stepper.of(LoadTokenizer)) is not has_usage
        assert reply.usage is not None
        assert reply.usage.estimated is not has_usage


def test_a_prompt_may_fill_its_limit() -> None:
    client = {
        "model": "m",
        "max_response_tokens": 1,
        "tokenizer": count_words,
        "system_message": "",
    }
    stepper = Stepper(json_answer(completion()))
    send(stepper, "word " * 12, client={**client, "max_model_tokens": 20})
    with pytest.raises(PromptTooLongError):
        send(stepper, "word " * 13, client={**client, "max_model_tokens": 20})


def test_the_schema_of_an_answer_is_counted() -> None:
    schema = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"title": "word " * 300}},
    }
    client = {"model": "gpt-4o", "max_model_tokens": 200, "max_response_tokens": 10}
    with pytest.raises(PromptTooLongError):
        send(Stepper(), client=client, completion_params={"response_format": schema})
