"""A whole conversation, stepped by hand."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt import (
    ChatGPTError,
    MessageNotFoundError,
    PromptTooLongError,
    StreamInterruptedError,
)
from chatgpt.core.call_options import question_of
from chatgpt.core.needs import (
    LoadThread,
    LoadTokenizer,
    SaveMessages,
    SendRequest,
)
from chatgpt.core.official import read_thread, send_message
from tests.recordings import STREAMS
from tests.stepping import (
    LOST,
    NOW,
    STREAM,
    Answered,
    Stepper,
    chunk,
    completion,
    json_answer,
    official_call,
    send,
    sse,
    surroundings,
    thread_of,
)


def test_a_conversation() -> None:
    stepper = Stepper(
        json_answer(completion("Hello!")), json_answer({**completion("Again!"), "id": "chatcmpl-2"})
    )
    first = send(stepper, "hi", client={"system_message": "Be brief."})
    assert (first.id, first.text, first.parent_message_id) == ("chatcmpl-1", "Hello!", "id-1")
    second = send(
        stepper, "again", client={"system_message": "Be brief."}, parent_message_id=first.id
    )
    assert stepper.bodies == [
        {
            "model": "gpt-5.4-mini",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "hi"},
            ],
            "stream": False,
        },
        {
            "model": "gpt-5.4-mini",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "Hello!"},
                {"role": "user", "content": "again"},
            ],
            "stream": False,
        },
    ]
    assert second.conversation_id == first.conversation_id
    assert [message.text for message in stepper.run(read_thread(second.id))] == [
        "hi",
        "Hello!",
        "again",
        "Again!",
    ]


def test_what_a_call_needs_in_order() -> None:
    stepper = Stepper(json_answer(completion()))
    send(stepper)
    assert [type(need).__name__ for need in stepper.needs] == [
        "SendRequest",
        "ReadChunk",
        "ReadChunk",
        "LoadMessage",
        "SaveMessages",
    ]


def test_a_streamed_call_reports_its_parts() -> None:
    stepper = Stepper(Answered(STREAM))
    reply = send(stepper, wants_parts=True)
    assert [part.delta for part in stepper.parts] == ["Hel", "lo"]
    assert reply.text == "Hello"
    body = stepper.bodies[0]
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert stepper.of(SendRequest)[0].request.headers["accept-encoding"] == "identity"


def test_a_stream_that_nobody_takes_is_not_reported() -> None:
    stepper = Stepper(Answered(STREAM))
    assert send(stepper, stream=True).text == "Hello"
    assert stepper.parts == []


def test_the_callers_stream_options_win_and_can_be_taken_away() -> None:
    stepper = Stepper(Answered(STREAM), Answered(STREAM), json_answer(completion()))
    send(stepper, stream=True, completion_params={"stream_options": {"include_usage": False}})
    send(stepper, stream=True, completion_params={"stream_options": None})
    send(stepper, stream=False, completion_params={"stream_options": {"include_usage": True}})
    assert stepper.bodies[0]["stream_options"] == {"include_usage": False}
    assert stepper.bodies[1]["stream_options"] == {"include_usage": True}
    assert "stream_options" not in stepper.bodies[2]


def test_messages_and_stream_are_the_sdks_own() -> None:
    stepper = Stepper(json_answer(completion()))
    send(stepper, completion_params={"messages": [], "stream": True, "n": 1}, system_message="")
    assert stepper.bodies[0] == {
        "model": "gpt-5.4-mini",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": False,
        "n": 1,
    }


def test_a_request_for_a_stream_that_is_answered_whole() -> None:
    stepper = Stepper(json_answer(completion("Hello!")))
    assert send(stepper, wants_parts=True).text == "Hello!"
    assert [part.delta for part in stepper.parts] == ["Hello!"]


def test_a_request_that_is_answered_with_a_stream() -> None:
    stepper = Stepper(Answered(STREAM))
    assert send(stepper, stream=False).text == "Hello"


def test_the_reverse_proxy_is_posted_to_as_it_is() -> None:
    stepper = Stepper(json_answer(completion()))
    send(stepper, client={"api_reverse_proxy_url": "https://proxy/api/conversation?x=1"})
    assert stepper.of(SendRequest)[0].request.url == "https://proxy/api/conversation?x=1"


# --- the thread ------------------------------------------------------------------------------


def test_question_and_answer_are_saved_in_one_write() -> None:
    stepper = Stepper(json_answer(completion()))
    reply = send(stepper, "hi", name="Bo", message_id="mine", conversation_id="conv")
    ((question, answer),) = [need.messages for need in stepper.of(SaveMessages)]
    assert answer == reply
    assert (question.created_at, answer.created_at) == (NOW, NOW)
    assert (question.id, question.text, question.role, question.name) == (
        "mine",
        "hi",
        "user",
        "Bo",
    )
    assert question.conversation_id == answer.conversation_id == "conv"
    assert (question.parent_message_id, answer.parent_message_id) == (None, "mine")


def test_the_conversation_is_the_one_given_else_the_parents_else_a_new_one() -> None:
    stepper = Stepper(*(json_answer({**completion(), "id": f"r{n}"}) for n in range(3)))
    stepper.store.save(thread_of(["a", "b"]))
    assert send(stepper, parent_message_id="m1").conversation_id == "c"
    assert send(stepper, parent_message_id="m1", conversation_id="x").conversation_id == "x"
    assert send(stepper, message_id="new").conversation_id not in ("c", "x", None)


def test_replying_twice_to_a_message_branches() -> None:
    stepper = Stepper(*(json_answer({**completion(f"B{n}"), "id": f"r{n}"}) for n in range(2)))
    stepper.store.save(thread_of(["a", "b"]))
    for number in range(2):
        send(stepper, f"q{number}", parent_message_id="m1", system_message="")
    assert [[message["content"] for message in body["messages"]] for body in stepper.bodies] == [
        ["a", "b", "q0"],
        ["a", "b", "q1"],
    ]
    assert [m.text for m in stepper.run(read_thread("r0"))] == ["a", "b", "q0", "B0"]
    assert [m.text for m in stepper.run(read_thread("r1"))] == ["a", "b", "q1", "B1"]


def test_a_name_is_kept_on_follow_ups() -> None:
    stepper = Stepper(json_answer(completion()), json_answer({**completion(), "id": "r2"}))
    reply = send(stepper, name="Bo")
    send(stepper, parent_message_id=reply.id, system_message="")
    assert stepper.bodies[1]["messages"][0] == {"role": "user", "content": "hi", "name": "Bo"}


@pytest.mark.parametrize("server_id", ["", None, "m1", "mine"])
def test_an_id_that_is_missing_or_stored_already_is_replaced(server_id: str | None) -> None:
    answer = {**completion("new"), "id": server_id}
    stepper = Stepper(json_answer(answer))
    stepper.store.save(thread_of(["a", "b"]))
    reply = send(stepper, parent_message_id="m1", message_id="mine")
    assert reply.id.startswith("id-")
    assert reply.detail == answer
    assert [m.text for m in stepper.run(read_thread(reply.id))] == ["a", "b", "hi", "new"]


def test_a_message_id_that_is_stored_already_is_refused() -> None:
    stepper = Stepper()
    stepper.store.save(thread_of(["a", "b"]))
    with pytest.raises(ValueError, match="message_id 'm0' is stored already"):
        send(stepper, message_id="m0")
    assert stepper.of(SendRequest) == []


def test_an_unknown_parent_raises_before_anything_is_sent() -> None:
    stepper = Stepper()
    with pytest.raises(MessageNotFoundError):
        send(stepper, parent_message_id="nowhere")
    assert stepper.of(SendRequest) == []
    assert len(stepper.store) == 0


def test_a_missing_ancestor_is_reported() -> None:
    stepper = Stepper(json_answer(completion()))
    stepper.store.save(thread_of(["a", "b", "c"])[1:])
    context = send(stepper, parent_message_id="m2").context
    assert context is not None
    assert context.missing_message_id == "m0"
    assert context.message_count == 3


def test_a_prompt_that_cannot_fit_raises_before_anything_is_sent() -> None:
    stepper = Stepper()
    with pytest.raises(PromptTooLongError) as caught:
        send(
            stepper,
            "word " * 100,
            client={"max_model_tokens": 60, "max_response_tokens": 20},
            system_message="",
        )
    assert (caught.value.tokens, caught.value.limit) == (107, 40)
    assert stepper.of(SendRequest) == []
    assert len(stepper.store) == 0


def test_counts_are_saved_with_the_reply() -> None:
    stepper = Stepper(json_answer(completion()), json_answer({**completion(), "id": "r2"}))
    stepper.store.save(thread_of(["word " * 20] * 4))
    client = {"max_model_tokens": 80, "max_response_tokens": 1}
    reply = send(stepper, client=client, parent_message_id="m3", system_message="")
    assert reply.context is not None
    assert (reply.context.left_out, reply.context.message_count) == (2, 3)
    assert [m.id for m in stepper.of(SaveMessages)[0].messages] == [
        "m0",
        "m1",
        "m2",
        "m3",
        "id-1",
        "chatcmpl-1",
    ]
    counted = stepper.store.get("m0")
    assert counted is not None
    assert counted.token_counts == {"o200k_base": 21}


def test_no_more_is_read_than_could_fit() -> None:
    stepper = Stepper(json_answer(completion()))
    stepper.store.save(thread_of(["a"] * 100))
    reply = send(
        stepper,
        client={"max_model_tokens": 60, "max_response_tokens": 20},
        parent_message_id="m99",
        system_message="",
    )
    assert stepper.of(LoadThread) == [LoadThread("m99", 14)]
    assert reply.context is not None
    assert reply.context.missing_message_id is None


def test_a_short_conversation_loads_no_tokenizer() -> None:
    stepper = Stepper(json_answer(completion()))
    stepper.store.save(thread_of(["a", "b"]))
    assert send(stepper, parent_message_id="m1").context is not None
    assert stepper.of(LoadTokenizer) == []


def test_a_tokenizer_of_the_caller_is_always_asked() -> None:
    asked: list[str] = []

    def tokenizer(text: str) -> int:
        asked.append(text)
        return 1

    stepper = Stepper(json_answer(completion()))
    reply = send(stepper, client={"tokenizer": tokenizer}, system_message="")
    assert asked == ["user", "hi"]
    assert reply.context is not None
    assert reply.context.prompt_tokens == 3 + 3 + 2
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 8


def test_usage_that_the_server_does_not_tell_is_counted_when_it_is_read() -> None:
    stepper = Stepper(json_answer(completion("one two three")))
    reply = send(stepper, system_message="four words stand here")
    assert reply.usage is not None
    assert reply.usage.estimated
    assert reply.usage.completion_tokens == 3
    assert reply.usage.prompt_tokens == 3 + (3 + 1 + 4) + (3 + 1 + 1)
    assert reply.usage.total_tokens == 19


def test_an_estimate_keeps_no_thread_alive() -> None:
    """The reply that is stored has none; the caller's goes when he lets it go."""
    stepper = Stepper(json_answer(completion("one two three")))
    reply = send(stepper)
    stored = stepper.store.get(reply.id)
    assert stored is not None
    assert stored.usage is None
    assert reply.usage is not None


def test_the_system_message_is_not_stored() -> None:
    stepper = Stepper(json_answer(completion()))
    client = {"max_model_tokens": 60, "max_response_tokens": 20}
    reply = send(stepper, "word " * 20, client=client, system_message="Be brief.")
    assert stepper.of(LoadTokenizer)
    assert [message.id for message in stepper.of(SaveMessages)[0].messages] == ["id-1", reply.id]


# --- every recorded stream, however it is cut --------------------------------------------------


@pytest.mark.parametrize("name", sorted(STREAMS))
@given(data=st.data())
def test_a_recorded_stream_gives_the_same_reply_however_it_is_cut(
    name: str, data: st.DataObject
) -> None:
    body = STREAMS[name]
    cuts = data.draw(
        st.lists(st.integers(0, len(body)), max_size=20) | st.just(list(range(len(body))))
    )
    edges = sorted({0, len(body), *cuts})
    pieces = [body[begin:end] for begin, end in itertools.pairwise(edges)]
    assert outcome(Answered(*pieces)) == outcome(Answered(body))


def outcome(answer: Answered) -> object:
    stepper = Stepper(answer)
    try:
        reply = send(stepper, wants_parts=True)
    except ChatGPTError as error:
        return (
            type(error),
            str(error),
            error.partial,
            error.code,
            [part.delta for part in stepper.parts],
        )
    assert "".join(part.delta or "" for part in stepper.parts) == reply.text
    return reply.text, reply.finish_reason, reply.id, [part.delta for part in stepper.parts]


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_connection_that_is_cut_behind_the_last_event(end: bytes) -> None:
    """The event counts though its blank line did not come."""
    finish = sse(chunk(finish_reason="stop"), done=False).removesuffix(b"\n\n") + end
    reply = send(Stepper(Answered(sse(chunk("Hi"), done=False), finish, LOST)), stream=True)
    assert (reply.text, reply.finish_reason) == ("Hi", "stop")
    with pytest.raises(StreamInterruptedError) as caught:
        send(Stepper(Answered(sse(chunk("Hel"), chunk("lo"), done=False)[:-2], LOST)), stream=True)
    assert caught.value.partial == "Hello"


def test_characters_and_line_separators_survive_any_cut() -> None:
    text = "Grüße 你好 👋🏽 \u2028 \u2029 \x85 \x0b \x1c end"
    body = "".join(
        f"data: {json.dumps(item, ensure_ascii=False)}\r\n\r\n"
        for item in (chunk(text), chunk(finish_reason="stop"))
    ).encode()
    for size in (1, 2, 3, 5, 7):
        pieces = [body[n : n + size] for n in range(0, len(body), size)]
        assert send(Stepper(Answered(*pieces)), stream=True).text == text


def test_an_exchange_that_is_closed_asks_for_nothing_more() -> None:
    exchange = send_message(question_of("hi"), official_call(surroundings(), wants_parts=True))
    exchange.send(None)
    exchange.close()
    with pytest.raises(StopIteration):
        exchange.send(None)
