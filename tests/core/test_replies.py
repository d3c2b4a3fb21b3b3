"""Events in, the reply out: the shapes that servers send."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from chatgpt import ChatMessage, InvalidResponseError, StreamError, StreamInterruptedError, Usage
from chatgpt.core.messages import ContextReport
from chatgpt.core.replies import Reply
from chatgpt.core.sse import Event
from tests.stepping import NOW, chunk, completion

CONTEXT = ContextReport(
    oldest_message_id="q",
    message_count=1,
    prompt_tokens=9,
    counting="bound",
    prompt_limit=None,
    reserved_tokens=0,
)


def new_reply() -> Reply:
    return Reply(
        parent_message_id="q",
        conversation_id="c",
        model="asked",
        fallback_id="fallback",
        redact=lambda text: text.replace("canary", "***"),
    )


def take(reply: Reply, *events: object, name: str = "message") -> list[ChatMessage]:
    kinds: dict[str, Literal["event", "stray", "document"]] = {
        "text": "stray",
        "document": "document",
    }
    kind: Literal["event", "stray", "document"] = kinds.get(name, "event")
    parts = [
        reply.take(Event(name, event if isinstance(event, str) else json.dumps(event), kind))
        for event in events
    ]
    return [part for part in parts if part is not None]


def finish(reply: Reply) -> ChatMessage:
    reply.end()
    return reply.message(
        message_id=reply.id,
        request_id="req_1",
        context=CONTEXT,
        estimate=lambda text, _: Usage(
            prompt_tokens=9, completion_tokens=len(text), total_tokens=9, estimated=True
        ),
        now=NOW,
    )


def test_a_stream() -> None:
    reply = new_reply()
    parts = take(reply, chunk(""), chunk("Hel"), chunk("lo"), chunk(finish_reason="stop"), "[DONE]")
    assert [(part.delta, part.text) for part in parts] == [("Hel", "Hel"), ("lo", "Hello")]
    assert parts[0].role == "assistant"
    assert parts[0].parent_message_id == "q"
    assert parts[0].conversation_id == "c"
    message = finish(reply)
    assert message.text == "Hello"
    assert message.id == "chatcmpl-1"
    assert message.delta is None
    assert message.model == "gpt-5.4-mini-2026"
    assert message.finish_reason == "stop"
    assert message.detail == chunk(finish_reason="stop")
    assert message.context is CONTEXT
    assert message.created_at == NOW
    assert message.request_id == "req_1"


def test_a_whole_completion() -> None:
    reply = new_reply()
    parts = take(
        reply,
        completion("Hello!", usage={"prompt_tokens": 3, "completion_tokens": 2}),
        name="document",
    )
    assert [(part.delta, part.text) for part in parts] == [("Hello!", "Hello!")]
    message = finish(reply)
    assert (message.text, message.finish_reason) == ("Hello!", "stop")
    assert message.usage == Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5)


def test_the_text_is_not_trimmed() -> None:
    reply = new_reply()
    take(reply, completion("\n\n  padded  \n"), name="document")
    assert finish(reply).text == "\n\n  padded  \n"


@pytest.mark.parametrize(
    ("objects", "text"),
    [
        ([{"choices": [{"text": "Hi", "finish_reason": "stop"}]}], "Hi"),
        ([{"choices": [{"delta": {"content": None}}]}, chunk("x", "stop")], "x"),
        ([{"choices": [{"delta": {"content": [{"type": "text", "text": "a"}, "b"]}}]}, chunk("c", "stop")], "abc"),
        ([{"choices": [{"delta": {"refusal": "I cannot."}, "finish_reason": "stop"}]}], "I cannot."),
        ([{"choices": [{"message": {"content": "m"}, "finish_reason": "stop"}]}], "m"),
        ([chunk("a"), {"choices": [{"index": 1, "delta": {"content": "B"}}]}, chunk("b", "stop")], "ab"),
        ([chunk("a"), {"choices": []}, {"choices": None}, {}, chunk("b", "stop")], "ab"),
        ([chunk("a"), {"choices": [{"index": 0, "finish_reason": None, "content_filter_results": {}}]}, chunk("b", "stop")], "ab"),
        ([chunk("a"), "null", '"v1"', "[]", "17", ": keep-alive", chunk("b", "stop")], "ab"),
        ([chunk("a", ""), chunk("b", "stop")], "ab"),
        ([{"choices": [{"index": "0", "delta": {"content": "a"}, "finish_reason": "stop"}]}], "a"),
        ([chunk("a", "stop"), ": late", "[done]", "whatever"], "a"),
        ([chunk("a", "stop"), {"message": None, "usage": {}}, {"detail": "late"}, {"error": "late"}], "a"),
        ([{"id": "", "choices": [], "model": "", "object": "", "prompt_filter_results": [{}]}, chunk("a", "stop")], "a"),
        ([chunk("\ud83d"), chunk("\udc4b!", "stop")], "👋!"),
        ([chunk("a\ud83d", "stop")], "a\ufffd"),
        ([{"choices": [{"delta": {"content": 7}}]}, chunk("x", "stop")], "x"),
        ([{"choices": ["odd", {"delta": "odd"}]}, chunk("x", "stop")], "x"),
    ],
)  # fmt: skip
def test_shapes_that_servers_send(objects: list[Any], text: str) -> None:
    reply = new_reply()
    take(reply, *objects)
    assert finish(reply).text == text


def test_a_last_half_of_a_pair_becomes_a_last_part() -> None:
    reply = new_reply()
    take(reply, chunk("a\ud83d", "stop"))
    last = reply.end()
    assert last is not None
    assert (last.delta, last.text) == ("\ufffd", "a\ufffd")


@pytest.mark.parametrize(
    ("objects", "reasoning"),
    [
        ([{"choices": [{"delta": {"reasoning_content": "Hm"}}]}, {"choices": [{"delta": {"reasoning_content": "m."}}]}], "Hmm."),
        ([{"choices": [{"delta": {"reasoning": "Hm", "content": None}}]}], "Hm"),
        ([{"choices": [{"delta": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]}}]}], "Hm"),
        ([{"choices": [{"delta": {"content": [{"type": "thinking", "thinking": "Hm"}]}}]}], "Hm"),
    ],
)  # fmt: skip
def test_reasoning_is_kept_beside_the_text(objects: list[Any], reasoning: str) -> None:
    reply = new_reply()
    parts = take(reply, *objects, chunk("Yes.", "stop"))
    assert parts[0].delta == ""
    assert parts[0].text == ""
    assert parts[-2].reasoning == parts[-1].reasoning == reasoning
    assert (finish(reply).text, finish(reply).reasoning) == ("Yes.", reasoning)


FIGURES = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
USAGE = Usage(prompt_tokens=5, completion_tokens=7, total_tokens=12)


@pytest.mark.parametrize(
    ("objects", "usage"),
    [
        ([chunk("a", "stop"), {"choices": [], "usage": FIGURES}], USAGE),
        ([chunk("a", "stop", usage=FIGURES)], USAGE),
        ([chunk("a", usage=FIGURES), chunk(finish_reason="stop", usage=None)], USAGE),
        ([chunk("a", "stop", x_groq={"id": "x", "usage": FIGURES})], USAGE),
        ([chunk("a", usage={"prompt_tokens": 1, "completion_tokens": 1}), chunk("", "stop", usage=FIGURES)], USAGE),
        ([chunk("a", usage=FIGURES), chunk("", "stop", usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})], USAGE),
        ([chunk("a", "stop", usage={**FIGURES, "completion_tokens_details": {"reasoning_tokens": 4}, "prompt_tokens_details": {"cached_tokens": 2}})],
         Usage(prompt_tokens=5, completion_tokens=7, total_tokens=12, reasoning_tokens=4, cached_tokens=2)),
        ([chunk("a", "stop", usage={**FIGURES, "completion_tokens_details": None, "prompt_tokens_details": {"cached_tokens": "x"}})], USAGE),
        ([chunk("a", "stop", usage="odd")], None),
        ([{"id": "i", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop", "usage": FIGURES}]}], USAGE),
        ([chunk("a", "stop", usage={"input_tokens": 5, "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 4}})],
         Usage(prompt_tokens=5, completion_tokens=7, total_tokens=12, reasoning_tokens=4)),
        ([chunk("a", usage={"input_tokens": 5, "output_tokens": 1}), chunk("", "stop", usage={"output_tokens": 7})], USAGE),
        ([chunk("a", usage={"prompt_tokens": 5, "completion_tokens": 1}), chunk("", "stop", usage={"prompt_tokens": 0, "completion_tokens": 7})], USAGE),
        ([chunk("a", "stop", usage={"prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 5, "output_tokens": 7})], USAGE),
        ([chunk("a", "stop", usage={"prompt_tokens": 5.0, "completion_tokens": 7})], USAGE),
        ([chunk("a", "stop", usage={"prompt_tokens": -1, "completion_tokens": 7, "total_tokens": 12})], USAGE),
        ([chunk("a", "stop", usage={"prompt_tokens": 10**400, "completion_tokens": 10**400})], None),
        ([chunk("a", "stop", usage={**FIGURES, "prompt_tokens_details": {"audio_tokens": 0}, "prompt_cache_hit_tokens": 2})],
         Usage(prompt_tokens=5, completion_tokens=7, total_tokens=12, cached_tokens=2)),
        ([chunk("a", "stop", x_groq=None)], None),
        ([chunk("a", "stop")], None),
    ],
)  # fmt: skip
def test_usage_is_taken_from_wherever_it_stands(objects: list[Any], usage: Usage | None) -> None:
    reply = new_reply()
    take(reply, *objects)
    if usage is not None:
        assert finish(reply).usage == usage
    else:
        estimated = finish(reply).usage
        assert estimated is not None
        assert estimated.estimated


def test_what_the_server_names_can_be_sent_and_stored() -> None:
    reply = new_reply()
    take(
        reply,
        {**chunk("a", "st\ud800op"), "id": "\ud800x", "model": "m\udfff"},
        {"id": "  ", "choices": []},
    )
    take(
        reply,
        {"choices": [{"delta": {"reasoning": "\ud83d"}}]},
        {"choices": [{"delta": {"reasoning": "\udc4b"}}]},
    )
    message = finish(reply)
    assert (message.id, message.model, message.finish_reason) == (
        "\ufffdx",
        "m\ufffd",
        "st\ufffdop",
    )
    assert message.reasoning == "👋"


def test_the_last_id_that_is_not_empty_counts() -> None:
    reply = new_reply()
    assert reply.id == "fallback"
    take(
        reply,
        {"id": "", "choices": []},
        chunk("a"),
        {**chunk("b"), "id": "other"},
        {**chunk("c", "stop"), "id": ""},
    )
    assert reply.id == "other"


@pytest.mark.parametrize(
    ("name", "data", "message", "code"),
    [
        ("message", {"error": {"message": "boom", "code": None}}, "boom", None),
        ("message", {"error": "boom"}, "boom", None),
        ("error", {"type": "error", "code": "c", "message": "boom", "sequence_number": 1}, "boom", "c"),
        ("error", {"code": 429, "details": "x"}, "without a reason", "429"),
        ("error", "boom", "boom", None),
        ("error", '{"code": 500, "message": "boom"}', "boom", "500"),
        ("message", {"error": {"code": 502, "message": "boom"}, "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}, "boom", "502"),
        ("message", {"error": {"code": 502, "message": "boom"}, "choices": []}, "boom", "502"),
        ("message", chunk("", "error"), "without a reason", None),
        ("message", {"detail": {"message": "boom", "code": "c"}}, "boom", "c"),
        ("text", '{"error": {"message": "boom"}}', "boom", None),
        ("document", {"detail": "boom"}, "boom", None),
        ("document", '"boom"', "boom", None),
        ("message", [{"error": {"message": "boom", "code": 503}}], "boom", "503"),
        ("message", {"choices": [{"error": {"message": "boom"}, "finish_reason": "error"}]}, "boom", None),
        ("document", [{"error": {"message": "boom", "code": 400}}], "boom", "400"),
    ],
)  # fmt: skip
def test_errors_inside_an_answer(name: str, data: object, message: str, code: str | None) -> None:
    reply = new_reply()
    take(reply, chunk("So far"))
    with pytest.raises(StreamError, match=message) as caught:
        take(reply, data, name=name)
    assert caught.value.partial == "So far"
    assert caught.value.code == code


@pytest.mark.parametrize(
    "data", ["Bad gateway", "{", "<html><title>Oops canary</title></html>", "{" * 100_000]
)
def test_data_that_is_no_json(data: str) -> None:
    reply = new_reply()
    take(reply, chunk("So far"))
    with pytest.raises(InvalidResponseError, match="not JSON") as caught:
        take(reply, data)
    assert "canary" not in str(caught.value) + str(caught.value.body)


def test_a_document_without_a_reply() -> None:
    with pytest.raises(InvalidResponseError, match="holds no reply"):
        take(new_reply(), {"id": "a", "choices": []}, name="document")
    with pytest.raises(InvalidResponseError, match="a page of HTML, 'Welcome'"):
        take(new_reply(), "<html><title>Welcome</title></html>", name="document")


def test_a_reply_without_an_end_is_interrupted() -> None:
    reply = new_reply()
    take(reply, chunk("Hel"))
    with pytest.raises(StreamInterruptedError, match="ended before it was complete") as caught:
        reply.end()
    assert caught.value.partial == "Hel"


def test_plain_text_in_a_stream_is_told_when_it_is_interrupted() -> None:
    reply = new_reply()
    take(reply, "Internal Server Error canary", name="text")
    with pytest.raises(
        StreamInterruptedError, match=r"the server wrote: Internal Server Error \*\*\*"
    ):
        reply.end()


def test_the_last_event_counts_if_it_can_be_read() -> None:
    reply = new_reply()
    assert (
        reply.take_last(Event("message", json.dumps(chunk("Hi", "stop"))), is_cut=False) is not None
    )
    assert finish(reply).text == "Hi"
    reply = new_reply()
    assert reply.take_last(Event("message", '{"choices": [{"de'), is_cut=False) is None
    with pytest.raises(StreamInterruptedError):
        reply.end()
    with pytest.raises(InvalidResponseError):
        new_reply().take_last(Event("message", "<html>", "document"), is_cut=False)
    assert new_reply().take_last(Event("message", "<html>", "document"), is_cut=True) is None


def test_nothing_counts_after_done() -> None:
    reply = new_reply()
    take(reply, chunk("Hi"), "[DONE]", chunk(" world"))
    assert reply.has_ended()
    assert reply.is_complete
    message = finish(reply)
    assert (message.text, message.finish_reason) == ("Hi", None)
