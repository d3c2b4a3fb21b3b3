"""How a draft is answered, stepped by hand: what is refused is mended, what is counted is kept."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt import (
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
from chatgpt.core.models import ModelFamily
from chatgpt.core.needs import (
    CountTokens,
    LoadTokenizer,
    Running,
    SaveMessages,
    SendRequest,
)
from chatgpt.core.official import continue_reply, preview, send_message
from chatgpt.core.prompts import ChatFormat, prompt_cost
from chatgpt.tokenizer import load_tokenizer
from tests.core.made import (
    cut_thread,
    too_long,
    usage,
)
from tests.stepping import (
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
    stored = store.get("q1")
    assert stored is not None
    changed = evolve(stored, text="***")
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


# --- text completions -------------------------------------------------------------------------


def test_what_follows_a_text_completion_is_counted() -> None:
    client = {"model": "davinci-002", "max_model_tokens": 300, "max_response_tokens": 20}
    with pytest.raises(PromptTooLongError):
        send(Stepper(), client=client, completion_params={"suffix": "word " * 300})


def test_an_estimate_holds_what_was_thought_and_nothing_of_what_was_there_before() -> None:
    question, cut = cut_thread("Once upon a time")
    thought = {"role": "assistant", "content": "there was", "reasoning_content": "so be it, then"}
    answer = completion(choices=[{"index": 0, "message": thought, "finish_reason": "stop"}])
    stepper = Stepper(json_answer(answer), json_answer(answer))
    stepper.store.save([question, evolve(cut, reasoning="hm, hm, ")])
    call = official_call(stepper.surroundings)
    for reply in (send(stepper), stepper.run(continue_reply(cut.id, None, call))):
        usage = reply.usage
        assert usage is not None
        assert (usage.completion_tokens, usage.reasoning_tokens, usage.estimated) == (6, 4, True)
        assert usage.total_tokens == usage.prompt_tokens + 6


def test_a_text_model_without_ends_gets_no_stop() -> None:
    answer = {"id": "r", "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop"}]}
    for ends, stop in ((("", ""), None), (("END", ""), ["END"])):
        family = ModelFamily(endpoint="completions", message_end=ends[0], instructions_end=ends[1])
        stepper = Stepper(json_answer(answer))
        send(stepper, client={"model": "m", "model_family": family})
        assert stepper.bodies[0].get("stop") == stop


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
    for _ in range(2):  # whoever is refused takes nothing away
        with pytest.raises(ValueError, match="'mine' is that of a message on its way"):
            Stepper().run(send_message(question_of("second", message_id="mine"), late))
    running.close()
    assert call.claimed == {}
