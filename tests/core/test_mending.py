"""What a server refuses is mended, each thing once: parameters, and a prompt that is too long."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatgpt import (
    BadRequestError,
    ChatMessage,
    ContextLengthError,
    MemoryStore,
    PromptTooLongError,
    StreamError,
)
from chatgpt.core.lessons import NOT_GUESSED, Lesson, Lessons
from chatgpt.core.needs import SendRequest
from tests.core.made import changes_of, refused, server_count, too_long, unsupported, usage
from tests.stepping import (
    LOST,
    STREAM,
    Answered,
    Stepper,
    completion,
    json_answer,
    send,
    sse,
    thread_of,
)


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
    # The limit of the reply belongs to it: without one there is more room.
    assert lessons.of("chat", "m").guess.tokens == 148 // 2 + 50


def test_what_is_refused_at_any_length_teaches_nothing() -> None:
    """It was not the length: a mistake of the caller, in words that sound like it."""
    stepper = Stepper(*[refused("context window handling is odd")] * 8)
    stepper.store.save(thread_of(["word " * 10] * 10))
    lessons = Lessons()
    for number in range(2):
        with pytest.raises(ContextLengthError):
            send(stepper, client={"model": "gpt-4o"}, lessons=lessons, parent_message_id="m9")
        assert [len(body["messages"]) for body in stepper.bodies[3 * number :]] == [12, 4, 2]
    lesson = lessons.of("chat", "gpt-4o")
    assert (lesson.guess, lesson.max_input, lesson.refused) == (NOT_GUESSED, None, frozenset())


def test_a_stream_that_fails_confirms_no_guess() -> None:
    stepper = Stepper(refused("context length exceeded"), Answered(sse({"error": {"message": "m"}})))  # fmt: skip
    stepper.store.save(thread_of(["word " * 10] * 10))
    lessons = Lessons()
    with pytest.raises(StreamError):
        send(stepper, lessons=lessons, parent_message_id="m9", wants_parts=True)
    assert lessons.of("chat", "gpt-5.4-mini").guess == NOT_GUESSED


@pytest.mark.parametrize("model", ["local", "gpt-4o"])
def test_a_server_that_tells_no_figures_is_never_lost_and_asked_anew_seldom(model: str) -> None:
    def serve(body: Any) -> Answered:
        told = server_count(body)
        if told > window:
            return refused("context length exceeded")
        return json_answer(completion("word " * 100, id=f"r{told}-{number}", usage=usage(told)))

    store, lessons, window = MemoryStore(), Lessons(), 1_500
    parent: str | None = None
    requests: list[int] = []
    sizes: list[int] = []
    for number in range(240):
        window = 1_500 if number < 110 else 100_000
        stepper = Stepper(*[serve] * 8, store=store)
        parent = send(stepper, "word " * 100, client={"model": model}, lessons=lessons, parent_message_id=parent, message_id=f"q{number}").id  # fmt: skip
        requests.append(len(stepper.bodies))
        sizes.append(server_count(stepper.bodies[-1]))
    assert [count for count in requests if count > 1] == [2, 4, 5]
    assert min(sizes[8:]) > 1_500 / 3
    assert sizes[-1] > 20_000, "a window that is larger now is found out in the end"


def test_a_half_is_less_whatever_was_thought_of_the_servers_counting() -> None:
    """One odd figure came before (a search, say), which would make half of the tokens more messages."""

    def serve(body: Any) -> Answered:
        seen.append(server_count(body))
        return json_answer(completion()) if seen[-1] <= 40 else refused("context length exceeded")

    seen: list[int] = []
    lessons = Lessons()
    lessons.keep(
        "chat",
        "m",
        calibration=Lesson().calibration.compared(9, 5_000),
        guess=NOT_GUESSED.made(400),
    )
    stepper = Stepper(*[serve] * 9)
    stepper.store.save(thread_of(["word " * 10] * 60))
    client = {"model": "m", "system_message": ""}
    assert send(stepper, client=client, lessons=lessons, parent_message_id="m59").text == "Hello!"
    assert seen == sorted(seen, reverse=True)
    assert len(seen) <= 5


def test_the_limit_that_a_text_completion_always_has_belongs_to_a_guess() -> None:
    answer = {"id": "r", "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop"}]}
    stepper, lessons = Stepper(refused("context length exceeded"), json_answer(answer)), Lessons()
    stepper.store.save(thread_of(["word " * 10] * 10))
    send(stepper, client={"model": "m", "endpoint": "completions"}, lessons=lessons, parent_message_id="m9")  # fmt: skip
    guess = lessons.of("completions", "m").guess.tokens
    assert guess is not None
    assert guess > 4_096 == stepper.bodies[1]["max_tokens"]


def test_a_guess_beyond_what_is_known_of_the_window_widens_nothing() -> None:
    stepper, lessons = Stepper(json_answer(completion())), Lessons()
    stepper.store.save(thread_of(["word " * 10] * 10))
    lessons.keep("chat", "m", guess=NOT_GUESSED.made(10_000))
    client = {"model": "m", "max_model_tokens": 100, "max_response_tokens": 20}
    reply = send(stepper, client=client, lessons=lessons, parent_message_id="m9")
    assert reply.context is not None
    assert (reply.context.prompt_limit, reply.context.left_out > 0) == (80, True)


def test_a_long_thread_finds_what_fits_in_one_call() -> None:
    def serve(body: Any) -> Answered:
        fits = server_count(body) <= 1_500
        return json_answer(completion()) if fits else refused("Please reduce the length of the messages or completion.", "messages", "context_length_exceeded")  # fmt: skip

    stepper = Stepper(*[serve] * 9)
    stepper.store.save(thread_of(["word " * 400] * 20))
    assert send(stepper, client={"model": "llama"}, parent_message_id="m19").text == "Hello!"
    assert [server_count(body) for body in stepper.bodies] == [8110, 3262, 838]


def test_a_text_completion_gets_a_smaller_limit_in_a_small_window() -> None:
    message = "maximum context length is 800 tokens, however you requested 4110 tokens (14 in the messages, 4096 in the completion)"  # fmt: skip
    answer = {"id": "r", "choices": [{"index": 0, "text": " Hi ", "finish_reason": "stop"}]}
    stepper = Stepper(refused(message), json_answer(answer))
    reply = send(stepper, client={"model": "m", "endpoint": "completions"})
    assert [body["max_tokens"] for body in stepper.bodies] == [4096, 200]
    assert reply.text == "Hi"
