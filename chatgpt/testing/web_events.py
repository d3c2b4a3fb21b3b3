"""The streams of ChatGPT's own backend, in both dialects, as its servers write them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import time
from typing import Any, Final
from uuid import uuid4

from attrs import frozen

from chatgpt.testing.faults import Fault
from chatgpt.testing.responders import Answer

FINISH_TYPES: Final = {"length": "max_tokens"}


def new_message(
    role: str,
    text: str | None,
    *,
    message_id: str | None = None,
    content: Mapping[str, object] | None = None,
    **fields: object,
) -> dict[str, Any]:
    """A message as the backend keeps and sends it."""
    return {
        "id": message_id or str(uuid4()),
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": time(),
        "update_time": None,
        "content": content or {"content_type": "text", "parts": [text or ""]},
        "status": "finished_successfully",
        "end_turn": None,
        "weight": 1.0,
        "metadata": {},
        "recipient": "all",
        **fields,
    }


def hidden_message() -> dict[str, Any]:
    """What the server tells the model, and no reader."""
    metadata = {"is_visually_hidden_from_conversation": True}
    return new_message("system", "", weight=0.0, end_turn=True, metadata=metadata)


def thoughts_message(reasoning: str) -> dict[str, Any]:
    """What the model thought before it spoke."""
    content = {"content_type": "thoughts", "thoughts": [{"summary": "", "content": reasoning}]}
    return new_message("assistant", None, content=content)


@frozen(kw_only=True)
class Streamed:
    """What a stream tells.

    Attributes:
        before: the messages before the reply; the question among them.
        reply: the reply, finished.
        answer: how it is said.
        conversation_id: the conversation.
        title: what it is called.
        is_blocked: whether the moderation takes it back.
    """

    before: Sequence[Mapping[str, Any]]
    reply: Mapping[str, Any]
    answer: Answer
    conversation_id: str
    title: str
    is_blocked: bool


def snapshot_events(stream: Streamed, fault: Fault) -> Iterator[bytes]:
    """The older dialect: every event holds the whole message so far."""
    return _written(((event, None) for event in _snapshots(stream)), stream, fault)


def delta_events(stream: Streamed, fault: Fault) -> Iterator[bytes]:
    """The newer dialect: `delta_encoding` v1, and side events."""
    return _written(_deltas(stream), stream, fault)


def _snapshots(stream: Streamed) -> Iterator[object]:
    def snapshot(message: Mapping[str, Any]) -> object:
        return {"message": message, "conversation_id": stream.conversation_id, "error": None}

    yield from map(snapshot, stream.before)
    text = ""
    for delta in stream.answer.deltas:
        text += delta
        yield snapshot(_unfinished(stream.reply, text))
    if stream.answer.finish_reason is not None:
        yield snapshot(stream.reply)
    yield _moderation(stream)


def _deltas(stream: Streamed) -> Iterator[tuple[object, str | None]]:
    ids = {"conversation_id": stream.conversation_id}

    def root(message: Mapping[str, Any], channel: int) -> object:
        value = {"message": message, **ids, "error": None}
        return {"p": "", "o": "add", "v": value, "c": channel}

    yield "v1", "delta_encoding"
    yield {"type": "resume_conversation_token", "token": f"resume-{uuid4().hex}", **ids}, None
    for channel, message in enumerate(stream.before):
        yield root(message, channel), "delta"
        if message["author"]["role"] == "user":
            yield {"type": "input_message", "input_message": message, **ids}, None
    yield root(_unfinished(stream.reply, ""), len(stream.before)), "delta"
    for number, delta in enumerate(stream.answer.deltas):
        place = {"p": "/message/content/parts/0", "o": "append"} if number == 0 else {}
        yield {**place, "v": delta}, "delta"
    if stream.answer.finish_reason is None:
        return
    steps = [
        {"p": "/message/status", "o": "replace", "v": stream.reply["status"]},
        {"p": "/message/end_turn", "o": "replace", "v": stream.reply["end_turn"]},
        {"p": "/message/metadata", "o": "append", "v": stream.reply["metadata"]},
    ]
    yield {"p": "", "o": "patch", "v": steps}, "delta"
    if stream.is_blocked:
        yield {"type": "moderation", **_moderation(stream)}, None
    yield {"type": "message_stream_complete", **ids}, None
    yield {"type": "title_generation", "title": stream.title, **ids}, None


def _moderation(stream: Streamed) -> dict[str, object]:
    flags = {"flagged": stream.is_blocked, "blocked": stream.is_blocked}
    return {
        "conversation_id": stream.conversation_id,
        "message_id": stream.reply["id"],
        "is_completion": True,
        "moderation_response": {**flags, "moderation_id": "modr-1"},
    }


def _written(
    events: Iterable[tuple[object, str | None]], stream: Streamed, fault: Fault
) -> Iterator[bytes]:
    """Events and their names as bytes, with what goes wrong."""
    for sent, (event, name) in enumerate(events):
        if sent == fault.error_after:
            told = fault.error.get("message")
            error = {"message": None, "conversation_id": stream.conversation_id, "error": told}
            yield _event(error, fault)
            return
        yield _event(event, fault, name)
    if not fault.omit_done:
        yield b"data: [DONE]" + 2 * (b"\r\n" if fault.crlf else b"\n")


def finished(reply: dict[str, Any], answer: Answer, model: object) -> dict[str, Any]:
    """A reply as it is when everything was said."""
    kind = FINISH_TYPES.get(answer.finish_reason or "", answer.finish_reason)
    metadata = {"model_slug": model, "finish_details": {"type": kind}, "is_complete": True}
    return {**reply, "end_turn": True, "metadata": metadata}


def _unfinished(reply: Mapping[str, Any], text: str) -> dict[str, Any]:
    slug = reply["metadata"].get("model_slug")
    return {
        **reply,
        "content": {**reply["content"], "parts": [text]},
        "status": "in_progress",
        "end_turn": None,
        "metadata": {"message_type": "next", "model_slug": slug},
    }


def _event(value: object, fault: Fault, name: str | None = None) -> bytes:
    line_end = b"\r\n" if fault.crlf else b"\n"
    data = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    head = b"" if name is None else b"event: " + name.encode() + line_end
    return head + b"data: " + data + 2 * line_end
