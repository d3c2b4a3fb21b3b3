r"""Mutations of answers: of their events, of the JSON in them, and of their bytes.

Strategy: a stream is a list of blocks, and a mutation changes that list, one block of it, or the bytes
that it is joined to. What a mutation needs to decide comes from a `Pick`, a function that returns a whole
number below another one, so that any source of chance will do.

What JSON writes and Python does not (numbers without end, lists without bottom, a key twice) is put in
as text, in place of a mark.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

Pick: TypeAlias = Callable[[int], int]
Blocks: TypeAlias = list[bytes]

_RAW: Final = {
    "@huge@": "9" * 5000,
    "@deep@": "[" * 250 + "]" * 250,
    "@deeper@": '{"error":' * 960 + "1" + "}" * 960,
    "@abyss@": "[" * 5000 + "]" * 5000,
    "@thinking@": '[{"thinking":' * 300 + '"x"' + "}]" * 300,
    "@exponent@": "1e400",
}
_VALUES: Final[tuple[object, ...]] = (
    None, True, False, 0, -1, 7, 1.5, 10**30, 1e308, float("nan"), float("-inf"), "", "x", " \n",
    "\ud83d", "\udc4b", "\ud83d\udc4b", "a\ud83d", "[DONE]", "0", "stop", "error", "finished_successfully", "assistant",
    "x" * 2000, '{"error": {"message": "\ud83d", "code": 7}}', "<title>x</title>", [], {}, [[]], [None], [1, "x", {}], {"": {}},
    {"message": "x"}, {"message": {}}, {"error": "x"}, {"detail": [{"loc": ["a", 1], "msg": "b"}]}, {"text": "x"},
    {"role": "assistant", "content": "x"}, {"parts": ["x", 1, {}]}, [{"type": "text", "text": "x"}], *_RAW,
)  # fmt: skip
_KEYS: Final = (
    "error", "detail", "message", "type", "code", "param", "choices", "delta", "content", "text", "index", "usage", "id", "model",
    "finish_reason", "reasoning_content", "refusal", "object", "metadata", "raw", "loc", "msg", "clears_in", "x_groq", "prompt_tokens",
    "completion_tokens", "conversation_id", "author", "role", "recipient", "channel", "weight", "status", "end_turn", "parts",
    "content_type", "moderation_response", "blocked", "v", "p", "o", "c", "thinking", "error_code", "",
)  # fmt: skip
_TELLING: Final = frozenset(
    {"choices", "delta", "message", "content", "text", "parts", "v", "error", "detail", "finish_reason"}
)  # fmt: skip
_POINTERS: Final = (
    "", "/", "/message", "/message/id", "/message/content", "/message/content/parts", "/message/content/parts/0", "/message/content/parts/-",
    "/message/content/parts/1", "/message/content/parts/99", "/message/author/role", "/message/status", "/message/~1~0", "/error",
    "/conversation_id", "x", "/__class__", "/message/content/parts/0/0", "/message" * 70, "/message/channel", "/message/weight",
)  # fmt: skip
_OPERATIONS: Final = ("add", "append", "replace", "remove", "truncate", "patch", "move", "")
_LINES: Final = (
    b":", b": keep-alive", b"event: error", b"event: ping", b"event: delta", b"event: delta_encoding", b"event:", b"id: 7", b"id",
    b"retry: 10", b"retry: x", b"data:", b"data", b"data: ", b"data: [DONE]", b"data: null", b'data: "v1"', b"data: {}", b"error: x",
    b"error:{}", b"unknown: x", b"{}", b"<html>", b"text", b"\xef\xbb\xbf", b"\xff\xfe", b"data: \xf0\x9f", b"\x00", b"data: [[]]",
    b"\xc2\x85", b"\xe2\x80\xa8", b"data: {", b"DATA: {}", b" data: {}",
)  # fmt: skip
_HARMLESS: Final = (
    b"id: 7",
    b"id",
    b"retry: 10",
    b"retry",
    b": x",
    b"unknown: x",
    b"unknown",
    b"x",
)
_BYTES: Final = (
    b"\xff", b"\xc3", b"\xed\xa0\xbd", b"\xf4\x90\x80\x80", b"\x00", b"\xef\xbb\xbf", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\n\r\n",
    b"\xc2\x85", b"\xe2\x80\xa8", b'"', b"\\", b"{", b"}", b"[", b"]", b":", b"\\ud83d", b"[DONE]", b"data: ", b"\x0b", b"\x1c",
)  # fmt: skip


def mutated(blocks: Sequence[bytes], strange: Sequence[bytes], pick: Pick) -> bytes:
    """A stream made of real blocks, mutated up to four times.

    Args:
        blocks: the events of a real stream.
        strange: events of other servers.
        pick: chooses.
    """
    changed = list(blocks)
    for _ in range(pick(5)):
        if changed:
            _ON_BLOCKS[pick(len(_ON_BLOCKS))](changed, strange, pick)
    end = (b"\n\n", b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n")[pick(5)]
    stream = end.join(changed) + (end if pick(4) else b"")
    if end != b"\n\n" and pick(2):
        stream = stream.replace(b"\nevent", end[: len(end) // 2] + b"event")
    for _ in range(max(pick(5) - 2, 0)):
        stream = mutated_bytes(stream, pick)
    return stream


def mutated_document(document: bytes, pick: Pick) -> bytes:
    """A document, its JSON and its bytes mutated."""
    for _ in range(pick(4)):
        document = mutated_json(document, pick)
    for _ in range(max(pick(4) - 1, 0)):
        document = mutated_bytes(document, pick)
    return document


def mutated_bytes(data: bytes, pick: Pick) -> bytes:
    """Some bytes with one of them changed, something inserted, or a range cut out or repeated."""
    place = pick(len(data) + 1)
    before, after = data[:place], data[place:]
    match pick(6):
        case 0:
            return before + bytes([pick(256)]) + after[1:]
        case 1 | 2:
            return before + _BYTES[pick(len(_BYTES))] + after
        case 3:
            return before
        case 4:
            return before + after[pick(20) :]
        case _:
            return before + after[: pick(40)] + after


def disguised(blocks: Sequence[bytes], pick: Pick) -> bytes:
    """The same events written otherwise: line ends, comments, fields that say nothing, a byte order mark.

    A block that is no event stays as it is: where an answer begins with a page, it is no stream.
    """
    end = (b"\n", b"\r\n", b"\r")[pick(3)]
    written = b"\xef\xbb\xbf" * pick(2)
    for block in blocks:
        lines = block.split(b"\n")
        if any(line.startswith(b"data:") for line in lines):
            if not pick(4):
                lines.insert(pick(len(lines) + 1), _HARMLESS[pick(len(_HARMLESS))])
            if not pick(4):
                lines = [line.replace(b"data: ", b"data:", 1) for line in lines]
            if not pick(3):
                lines = [_escaped(line) for line in lines]
            if not pick(4):
                written += (b": comment", b":", b"", b": {}", b": data: x")[pick(5)] + end * (
                    pick(2) + 1
                )
        written += end.join(lines) + end * (2 + pick(2))
    return written


def _escaped(line: bytes) -> bytes:
    """A line of data, its JSON in ASCII; as it is, where it is no JSON."""
    head, mark, data = line.partition(b"data:")
    try:
        return head + mark + json.dumps(json.loads(data)).encode()
    except ValueError:
        return line


def splits(data: bytes, pick: Pick) -> list[bytes]:
    """The same bytes, in reads of any length."""
    if len(data) < 4000 and not pick(4):
        return [data[place : place + 1] for place in range(len(data))]
    cuts = sorted(pick(len(data) + 1) for _ in range(pick(12) + 1))
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def mutated_json(text: bytes, pick: Pick) -> bytes:
    """A JSON text with one value or key of it changed; as it is, where it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    holder = [value]
    _change(holder, pick)
    try:
        written = json.dumps(holder[0], ensure_ascii=bool(pick(3)))
    except (ValueError, RecursionError):
        return text
    for mark, raw in _RAW.items():
        written = written.replace(f'"{mark}"', raw)
    if written.startswith("{") and not pick(10):  # a key twice
        key, other = json.dumps(_KEYS[pick(len(_KEYS))]), ("null", '"x"', "{}", "7")[pick(4)]
        written = f"{{{key}: {other}, {written[1:]}" if written != "{}" else written
    return written.encode("utf-8", "surrogatepass")


def _change(place: Any, pick: Pick) -> None:
    """Walk down some way, and change what is there."""
    key: Any = 0
    while True:
        inner = place[key]
        if not isinstance(inner, (dict, list)) or not inner or not pick(4):
            break
        place, keys = inner, list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        told = [name for name in keys if name in _TELLING]  # where the reply is, mostly
        key = told[pick(len(told))] if told and pick(3) else keys[pick(len(keys))]
    value = place[key]
    match pick(7):
        case 0 if isinstance(place, dict):
            del place[key]
        case 1:
            place[key] = [value]
        case 2:
            place[key] = {_KEYS[pick(len(_KEYS))]: value}
        case 3 | 4 if isinstance(value, dict):
            value[_KEYS[pick(len(_KEYS))]] = _VALUES[pick(len(_VALUES))]
        case 5 if key == "p":
            place[key] = _POINTERS[pick(len(_POINTERS))]
        case 5 if key == "o":
            place[key] = _OPERATIONS[pick(len(_OPERATIONS))]
        case 5 if isinstance(value, str):
            cut = pick(len(value) + 1)
            place[key] = value[:cut] + "\ud83d" * pick(2) + value[cut + pick(3) :]
        case _:
            place[key] = _VALUES[pick(len(_VALUES))]


def _drop(blocks: Blocks, _: Sequence[bytes], pick: Pick) -> None:
    del blocks[pick(len(blocks))]


def _repeat(blocks: Blocks, _: Sequence[bytes], pick: Pick) -> None:
    place = pick(len(blocks))
    blocks[place:place] = [blocks[place]] * (1, 1, 2, 40)[pick(4)]


def _move(blocks: Blocks, _: Sequence[bytes], pick: Pick) -> None:
    block = blocks.pop(pick(len(blocks)))
    blocks.insert(pick(len(blocks) + 1), block)


def _splice(blocks: Blocks, strange: Sequence[bytes], pick: Pick) -> None:
    blocks.insert(pick(len(blocks) + 1), strange[pick(len(strange))])


def _add_line(blocks: Blocks, _: Sequence[bytes], pick: Pick) -> None:
    place, line = pick(len(blocks)), _LINES[pick(len(_LINES))]
    match pick(4):
        case 0:
            blocks.insert(place, line)
        case 1:
            blocks[place] = blocks[place] + b"\n" + line
        case 2 if not pick(4):
            blocks[place] = b"\n".join([line] * 1001 + [blocks[place]])
        case _:
            blocks[place] = line + b"\n" + blocks[place]


def _mutate_json(blocks: Blocks, _: Sequence[bytes], pick: Pick) -> None:
    place = pick(len(blocks))
    head, mark, data = blocks[place].partition(b"data: ")
    blocks[place] = head + mark + mutated_json(data, pick) if mark else mutated_json(head, pick)


_ON_BLOCKS: Final = (
    _drop, _repeat, _move, _splice, _add_line, _mutate_json, _mutate_json, _mutate_json,
)  # fmt: skip
