"""The dialect `delta_encoding` v1: a tree for each channel, and operations that change it.

An operation is a JSON object: `c` the channel, `p` a JSON pointer (RFC 6901) from the root, `o` what
to do, `v` the value. The root is `{"message": ..., "conversation_id": ..., "error": ...}`.

Rules, as the server's own page reads it:

1. What is missing of `c`, `p` and `o` is that of the operation before; `v` is never taken over. So
   `{"v": "text"}` goes on where the last text was appended.
2. `patch` holds a list of operations, whose pointers begin at its own (the root, where it has none)
   and which inherit nothing from each other; a list alone repeats it, and a text alone goes on where a
   text was appended last.
3. A value with a `message` and neither `p` nor `o` is a new root: the next message begins.
4. `append` lengthens a text or a list, and merges an object into an object. `add` inserts into a list,
   as in RFC 6902. What is not there yet, `append` and `replace` make, and `remove` and `truncate` let be.
5. An operation that cannot be done is an error where the message itself or its content is meant: text
   would be missing. Anywhere else it is passed over.

What a server can do with it is bounded: a pointer has at most 64 segments, an index at most the
length of its list, and at most 1,024 channels are remembered. Only objects and lists are ever looked
into, never an attribute: `__class__` is a name like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MOST_SEGMENTS: Final = 64
LONGEST_POINTER: Final = 8192
MOST_CHANNELS: Final = 1024

CONTENT: Final = "/message/content"


class DeltaError(ValueError):
    """An operation that cannot be done, so that text would be missing."""


class _NotDone(ValueError):  # noqa: N818 - it is decided elsewhere whether it is an error
    """An operation that cannot be done; the reason."""


class DeltaTrees:
    """The trees of one stream."""

    def __init__(self) -> None:
        self._roots: dict[int | str, list[Any]] = {}
        self._channel: int | str = 0
        self._pointer = ""
        self._operation = "add"
        self._text_pointer: str | None = None

    def apply(self, delta: Mapping[str, Any]) -> object:
        """Do one operation, and return the root of its channel as it is now.

        Raises:
            DeltaError: it cannot be done.
        """
        value = delta.get("v")
        pointer, operation = delta.get("p"), delta.get("o")
        if (
            pointer is None
            and operation is None
            and self._operation == "patch"
            and isinstance(value, str)
            and self._text_pointer is not None
        ):
            pointer, operation = self._text_pointer, "append"
        if pointer is None:
            is_new_root = operation is None and isinstance(value, dict) and "message" in value
            pointer = "" if is_new_root or operation == "patch" else self._pointer
            operation = "add" if is_new_root else operation
        operation = self._operation if operation is None else operation
        if not isinstance(pointer, str) or not isinstance(operation, str):
            raise DeltaError("p and o must be text")
        holder = self._holder(delta.get("c"))
        self._pointer, self._operation = pointer, operation
        if operation != "patch":
            self._attempt(holder, pointer, operation, value)
        elif not isinstance(value, list):
            raise DeltaError("the value of a patch must be a list")
        else:
            for step in value:
                self._do_step(holder, pointer, step)
        return holder[0]

    def _holder(self, channel: object) -> list[Any]:
        """The root of a channel, in a list of one, so that it can be replaced like any value."""
        if channel is not None:
            if not isinstance(channel, (int, str)):
                raise DeltaError("c must be a number or text")
            self._channel = channel
        holder = self._roots.get(self._channel)
        if holder is None:
            holder = self._roots[self._channel] = [None]
            if len(self._roots) > MOST_CHANNELS:
                del self._roots[next(iter(self._roots))]
        elif channel is not None:  # those that are used stay longest
            self._roots[self._channel] = self._roots.pop(self._channel)
        return holder

    def _do_step(self, holder: list[Any], prefix: str, step: object) -> None:
        if not isinstance(step, dict):
            raise DeltaError("a step of a patch must be an object")
        pointer, operation = step.get("p", ""), step.get("o", "add")
        if not isinstance(pointer, str) or not isinstance(operation, str) or operation == "patch":
            raise DeltaError("a step of a patch must be one operation")
        self._attempt(holder, prefix + pointer, operation, step.get("v"))

    def _attempt(self, holder: list[Any], pointer: str, operation: str, value: Any) -> None:
        try:
            self._do(holder, pointer, operation, value)
        except _NotDone as reason:
            if concerns_text(pointer):
                raise DeltaError(str(reason)) from None

    def _do(self, holder: list[Any], pointer: str, operation: str, value: Any) -> None:
        place: Any = holder
        key: str | int = 0
        for segment in segments_of(pointer):
            place = _child(place, key)
            key = segment if isinstance(place, dict) else _index(place, segment)
        match operation:
            case "add" | "append" | "replace" if place is holder and not isinstance(value, dict):
                raise _NotDone("the root must be an object")
            case "append":
                if isinstance(value, str) and concerns_text(pointer):
                    self._text_pointer = pointer
                _append(place, key, value)
            case "add" if isinstance(place, list) and place is not holder:
                place.insert(int(key), value)
            case "add" | "replace":
                _put(place, key, value)
            case "remove":
                _remove(place, key, is_root=place is holder)
            case "truncate":
                _truncate(place, key, value)
            case _:
                raise _NotDone(f"an operation that is not known: {operation[:40]!r}")


def concerns_text(pointer: str) -> bool:
    """Whether a pointer means the message itself, or its content."""
    return pointer in ("", "/message", CONTENT) or pointer.startswith(f"{CONTENT}/")


def segments_of(pointer: str) -> list[str]:
    """The segments of a JSON pointer.

    Raises:
        ValueError: it is none, has more than 64, or more than 8,192 characters.
    """
    if not pointer:
        return []
    if not pointer.startswith("/") or len(pointer) > LONGEST_POINTER:
        raise _NotDone("a pointer must begin with / and be short")
    if pointer.count("/") > MOST_SEGMENTS:
        raise _NotDone(f"a pointer must have at most {MOST_SEGMENTS} segments")
    segments = pointer[1:].split("/")
    if "~" not in pointer:
        return segments
    return [segment.replace("~1", "/").replace("~0", "~") for segment in segments]


def _at(place: Any, key: str | int) -> Any:
    """What stands at a key; `None` where nothing does."""
    try:
        return place[key]
    except (KeyError, IndexError):
        return None


def _child(place: Any, key: str | int) -> Any:
    """What stands at a key, an object or a list, for it is to be looked into."""
    child = _at(place, key)
    if not isinstance(child, (dict, list)):
        raise _NotDone("there is nothing to look into")
    return child


def _index(place: list[Any], segment: str) -> int:
    """An index of a list, or the place after its last item."""
    if segment == "-":
        return len(place)
    is_number = segment.isascii() and segment.isdigit() and len(segment) < 10
    if not is_number or int(segment) > len(place):
        raise _NotDone(f"a list of {len(place)} items has no index {segment[:40]!r}")
    return int(segment)


def _put(place: Any, key: str | int, value: Any) -> None:
    if isinstance(place, list) and key == len(place):
        place.append(value)
    else:
        place[key] = value


def _append(place: Any, key: str | int, value: Any) -> None:
    present = _at(place, key)
    match present, value:
        case None, _:
            _put(place, key, value)
        case str(), str():
            place[key] = present + value
        case list(), list():
            present.extend(value)
        case list(), _:
            present.append(value)
        case dict(), dict():
            present.update(value)
        case _:
            raise _NotDone("what is appended does not go with what is there")


def _remove(place: Any, key: str | int, *, is_root: bool) -> None:
    if is_root:
        place[0] = None
    elif isinstance(place, dict):
        place.pop(key, None)
    else:
        del place[int(key) : int(key) + 1]


def _truncate(place: Any, key: str | int, value: object) -> None:
    """Keep so many characters of a text, or items of a list."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _NotDone("the value of truncate must be a number of characters or items")
    present = _at(place, key)
    if isinstance(present, (str, list)):
        place[key] = present[:value]
