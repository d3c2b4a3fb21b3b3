"""The bodies of the server's answers, as OpenAI writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from time import time
from typing import Any, Final
from uuid import uuid4

from chatgpt.testing.faults import Fault
from chatgpt.testing.responders import Answer, RawAnswer

CREATED_BY = "chatgpt.testing"

_FAILED_FUNCTION: Final = (
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\n"
    b"x-should-retry: false\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
)


def error_body(
    message: str,
    *,
    type: str = "invalid_request_error",  # noqa: A002 - the field's name
    param: str | None = None,
    code: str | None = None,
) -> bytes:
    """An error in OpenAI's shape."""
    return _json({"error": {"message": message, "type": type, "param": param, "code": code}})


def failed(what: str, error: Exception) -> RawAnswer:
    """The answer of a server whose own function failed: a 500 that says so, and is not to be tried again."""
    body = error_body(f"The {what} failed: {error!r}", type="server_error")
    return RawAnswer([_FAILED_FUNCTION % (len(body), body)])


def models_body(models: Sequence[str]) -> bytes:
    """The list of models."""
    data = [
        {"id": model, "object": "model", "created": 0, "owned_by": CREATED_BY} for model in models
    ]
    return _json({"object": "list", "data": data})


def moderation_body(model: str, scores: Mapping[str, float]) -> bytes:
    """A moderation: a category with a score of 0.5 or more is flagged."""
    categories = {category: score >= 0.5 for category, score in scores.items()}
    result = {
        "flagged": any(categories.values()),
        "categories": categories,
        "category_scores": dict(scores),
    }
    return _json({"id": f"modr-{uuid4().hex}", "model": model, "results": [result]})


def completion_body(
    answer: Answer, request: Mapping[str, Any], prompt_tokens: int, *, is_chat: bool
) -> bytes:
    """A whole completion."""
    text = answer.whole_text
    choice: dict[str, object] = {
        "index": 0,
        "finish_reason": answer.finish_reason,
        "logprobs": None,
    }
    if is_chat:
        message: dict[str, object] = {"role": "assistant", "content": text, "refusal": None}
        if answer.reasoning is not None:
            message["reasoning_content"] = answer.reasoning
        choice["message"] = message
    else:
        choice["text"] = text
    body = {**_envelope(answer, request, is_chat=is_chat, is_chunk=False), "choices": [choice]}
    if answer.has_usage:
        body["usage"] = _usage(answer, prompt_tokens)
    return _json(body)


def stream_events(
    answer: Answer, request: Mapping[str, Any], prompt_tokens: int, fault: Fault, *, is_chat: bool
) -> Iterator[bytes]:
    """The events of a streamed completion."""
    line_end = b"\r\n" if fault.crlf else b"\n"
    for sent, data in enumerate(_stream_objects(answer, request, prompt_tokens, is_chat=is_chat)):
        if sent == fault.error_after:
            yield b"data: " + _json({"error": dict(fault.error)}) + 2 * line_end
            return
        yield b"data: " + _json(data) + 2 * line_end
    if not fault.omit_done:
        yield b"data: [DONE]" + 2 * line_end


def _stream_objects(
    answer: Answer, request: Mapping[str, Any], prompt_tokens: int, *, is_chat: bool
) -> Iterator[dict[str, Any]]:
    envelope = _envelope(answer, request, is_chat=is_chat, is_chunk=True)
    wants_usage = (
        bool((request.get("stream_options") or {}).get("include_usage")) and answer.has_usage
    )
    usage = {"usage": None} if wants_usage else {}

    def chunk(delta: dict[str, object], finish_reason: str | None = None) -> dict[str, Any]:
        content = {"delta": delta} if is_chat else {"text": delta.get("content", "")}
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": finish_reason}
        return {**envelope, "choices": [choice], **usage}

    if is_chat:
        yield chunk({"role": "assistant", "content": ""})
    if answer.reasoning is not None:
        yield chunk({"reasoning_content": answer.reasoning})
    for delta in answer.deltas:
        yield chunk({"content": delta})
    if answer.finish_reason is not None:
        yield chunk({}, answer.finish_reason)
    if wants_usage:
        yield {**envelope, "choices": [], "usage": _usage(answer, prompt_tokens)}


def _envelope(
    answer: Answer, request: Mapping[str, Any], *, is_chat: bool, is_chunk: bool
) -> dict[str, Any]:
    kind = (
        "text_completion"
        if not is_chat
        else "chat.completion.chunk"
        if is_chunk
        else "chat.completion"
    )
    prefix = "chatcmpl" if is_chat else "cmpl"
    return {
        "id": answer.id if answer.id is not None else f"{prefix}-{uuid4().hex}",
        "object": kind,
        "created": int(time()),
        "model": request["model"],
        "system_fingerprint": "fp_loopback",
    }


def _usage(answer: Answer, prompt_tokens: int) -> dict[str, int]:
    completion_tokens = len(answer.whole_text.split())
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
