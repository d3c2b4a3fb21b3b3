"""What is fuzzed: each target takes any bytes, and raises where a promise is broken."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, Final

from chatgpt import ChatGPTError, ChatMessage
from chatgpt.core.answers import AnswerDecoder
from chatgpt.core.error_bodies import not_understood, status_error, stream_error
from chatgpt.core.needs import ResponseHead
from chatgpt.core.reading import GrowingReply
from chatgpt.core.replies import Reply
from chatgpt.core.secrets import Secret, SecretMask
from chatgpt.core.sse import Event
from chatgpt.core.web.deltas import MOST_CHANNELS, DeltaError, DeltaTrees
from chatgpt.core.web.replies import WebReply
from chatgpt.core.web.texts import GrowingText
from fuzzing.mutations import Pick, mutated, mutated_document, mutated_json
from fuzzing.outcomes import check_error, check_parts, check_text, shown_of
from fuzzing.seeds import DOCUMENTS, OFFICIAL, STRANGE, WEB, WEB_DELTAS

CANARY: Final = "sk-canary-of-the-fuzzer"  # no hexadecimal digit first: an escape might end with it
STATUSES: Final = (200, 304, 307, 400, 401, 403, 404, 413, 422, 429, 500, 503)
QUESTION: Final = ChatMessage(id="question", text="hi", conversation_id="conversation")
_REDACT: Final = SecretMask([Secret(CANARY)])


def fuzz_streams(data: bytes) -> None:
    """The first byte says where the others are cut; they are the body of an answer, in both flows."""
    width, body = (data[0] % 23) + 1 if data else 1, data[1:]
    whole = _decoded([body])
    cut = _decoded(body[place : place + width] for place in range(0, len(body), width))
    assert cut == whole
    events, problem = whole
    for event in events:
        check_text("name", event.name)
        check_text("data", event.data)
    for new_reply in (_official_reply, _web_reply):
        seen = _read(new_reply(), events, problem)
        assert seen == _read(new_reply(), events, problem), "the same events, something else"


def fuzz_deltas(data: bytes) -> None:
    """Each line is an operation, or a list of them; they are applied, and read as a web reply."""
    events = [
        Event("delta", line)
        for line in data.decode("utf-8", "replace").split("\n")[:64]
        if line.strip()
    ]
    trees, again = DeltaTrees(), DeltaTrees()
    for event in events:
        operation = _object_in(event.data)
        if operation is None:
            continue
        given = deepcopy(operation)
        left = _applied(trees, operation)
        assert left == _applied(again, given), "the same operation, another tree"
        assert len(trees._roots) <= MOST_CHANNELS  # noqa: SLF001 - nothing else shows the bound
    _read(_web_reply(), events, None)


def fuzz_errors(data: bytes) -> None:
    """The first byte gives the status; the others are a body, in which a secret may stand."""
    status, body = STATUSES[data[0] % len(STATUSES)] if data else 400, data[1:]
    text = body.decode("utf-8", "replace").replace("KEY", CANARY)
    head = ResponseHead(status, "Reason", {"x-request-id": "req_1"})
    errors: list[ChatGPTError] = [
        status_error(head, text, _REDACT),
        stream_error(text, _REDACT, partial="before"),
        not_understood(text, _REDACT, "The answer is not JSON"),
    ]
    for error in errors:
        check_error(error)
        assert CANARY not in repr(shown_of(error))
        assert CANARY not in _written(error.body)
    assert errors[1].partial == "before"


def _decoded(reads: Iterable[bytes]) -> tuple[list[Event], str | None]:
    """The events of a body, and the message of the error that ends it."""
    decoder, events = AnswerDecoder(), list[Event]()
    try:
        for read in reads:
            events += decoder.feed(read)
        events += decoder.end()
    except ChatGPTError as error:
        check_error(error)
        return events, error.message
    return events, None


def _read(reply: GrowingReply, events: Iterable[Event], problem: str | None) -> object:
    """Have a reply take events; return what is seen of it."""
    parts: list[ChatMessage] = []
    failure: tuple[object, ...] = ()
    try:
        parts += [part for event in events if (part := reply.take(event)) is not None]
        if problem is None and (last := reply.end()) is not None:
            parts.append(last)
    except ChatGPTError as error:
        check_error(error)
        failure = shown_of(error)
    texts = check_parts(parts)
    check_text("text", reply.text)
    if not failure:
        assert reply.text == (texts[-1] if texts else "")
    return texts, failure, reply.text


def _official_reply() -> Reply:
    return Reply(
        parent_message_id="question",
        conversation_id="conversation",
        model="asked",
        fallback_id="fallback",
        redact=_REDACT,
    )


def _web_reply() -> WebReply:
    return WebReply(
        QUESTION,
        model="asked",
        fallback_id="fallback",
        redact=_REDACT,
        said=GrowingText(is_followed=True),
    )


def _object_in(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
        deepcopy(value)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _applied(trees: DeltaTrees, operation: Mapping[str, Any]) -> str:
    try:
        return _written(trees.apply(operation))
    except DeltaError as error:
        reason = str(error)
    check_text("error", reason)
    assert len(reason) < 200
    return reason


def _written(value: object) -> str:
    try:
        return json.dumps(value)
    except (ValueError, RecursionError):  # operations can nest a tree deeper than any text
        return ""


def _mutated_stream(data: bytes, pick: Pick) -> bytes:
    blocks = [block for block in data[1:].split(b"\n\n") if block]
    return bytes([pick(256)]) + mutated(blocks, STRANGE, pick)


def _mutated_deltas(data: bytes, pick: Pick) -> bytes:
    lines = data.split(b"\n")
    place = pick(len(lines))
    match pick(4):
        case 0:
            lines.insert(place, lines[pick(len(lines))])
        case 1:
            del lines[place]
        case _:
            lines[place] = mutated_json(lines[place], pick)
    return b"\n".join(lines)


def _mutated_error(data: bytes, pick: Pick) -> bytes:
    return (data[:1] or b"\x03") + mutated_document(data[1:], pick)


def _stream_seeds() -> list[bytes]:
    streams = [b"\n\n".join(blocks) + b"\n\n" for blocks in (*OFFICIAL, *WEB, *WEB_DELTAS)]
    return [b"\x05" + body for body in (*streams, *DOCUMENTS)]


def _delta_seeds() -> list[bytes]:
    lines = [block.partition(b"data: ")[2] for blocks in WEB_DELTAS for block in blocks]
    return [b"\n".join(lines), b"\n".join(lines[9:17]), *lines]


def _error_seeds() -> list[bytes]:
    return [
        bytes([number % len(STATUSES)]) + body
        for number, body in enumerate((*DOCUMENTS, *DOCUMENTS, b'{"error": {"message": "KEY"}}'))
    ]


TARGETS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]]] = {
    "streams": (fuzz_streams, _stream_seeds),
    "deltas": (fuzz_deltas, _delta_seeds),
    "errors": (fuzz_errors, _error_seeds),
}
"""What is fuzzed, and what it begins with."""

MUTATORS: Final[dict[str, Callable[[bytes, Pick], bytes]]] = {
    "streams": _mutated_stream,
    "deltas": _mutated_deltas,
    "errors": _mutated_error,
}
"""What changes an input of a target in a way that means something."""

WORDS: Final = (
    "data: ", "event: ", "error", "message", "choices", "delta", "content", "finish_reason", "stop", "[DONE]", "detail", "code", "param",
    "type", "loc", "msg", "author", "role", "assistant", "parts", "status", "finished_successfully", "end_turn", "conversation_id", "append",
    "add", "replace", "remove", "truncate", "patch", "/message/content/parts/0", "/message", "delta_encoding", "v1", "KEY", "<title>",
    "</title>", "metadata", "raw", "clears_in", "usage", "NaN", "1e400", "null", "true", "moderation_response", "blocked",
)  # fmt: skip
"""What libFuzzer may put in as a whole."""
