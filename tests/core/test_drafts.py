"""What is answered: an edited message, another reply, the rest of one that was cut."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from chatgpt import ChatMessage, PromptTooLongError
from chatgpt.core.needs import LoadThread, SaveMessages
from chatgpt.core.official import continue_reply, edit, regenerate
from tests.core.made import cut_thread
from tests.stepping import (
    Stepper,
    completion,
    json_answer,
    official_call,
    thread_of,
)


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
    windowless = official_call(stepper.surroundings, client={"model": "m"})
    stepper.answers.append(json_answer(completion(id="r2")))
    stepper.run(regenerate("m99", None, windowless))
    assert stepper.of(LoadThread)[-1].limit is None


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
    stepper.store.save(
        [ChatMessage(id="t", text="What is this?", wire_fields={"content": (picture,)})]
    )
    stepper.answers.append(json_answer(completion(id="r2")))
    for message_id in ("q", "p", "t"):
        stepper.run(edit(message_id, "And this?", None, call))
    assert [body["messages"] for body in stepper.bodies] == [
        [{"role": "user", "content": [{"type": "text", "text": "And this?"}, picture], "x": 1}],
        [{"role": "user", "content": "And this?"}],
        [{"role": "user", "content": [{"type": "text", "text": "And this?"}, picture]}],
    ]
