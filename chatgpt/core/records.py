r"""A message as it is kept: one JSON object, from which the same message can be made again.

Strategy: an object holds what is not at its default, in the order of `ChatMessage`; so a record that is read
and written again is the same, byte for byte.

Rules:

1. Whatever a message holds is kept, numbers that are none (Python's `NaN`) and lone surrogates (JSON's `\ud800`)
   included; but two halves of a character are joined. An estimated usage that nobody has read yet is not worked out
   for it.
2. A record is looked at closely when it is read: what it makes is a message whose types are right, or a
   `RecordError`, whose words repeat nothing of what was said.
3. Keys that are not known are passed over: a newer version may have written them.
4. What was said in a record is told from what identifies it: `origin_of`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, TypeVar, cast, get_args

import attrs
from attrs import fields

from chatgpt.core.messages import ChatMessage, ContextReport, RequestChange, Role, Usage

T = TypeVar("T")
Readers: TypeAlias = Mapping[str, Callable[[str, object], object]]
"""What checks the value of a key, and makes the attribute of it."""


class RecordError(ValueError):
    """What should be the record of a message is none."""


def record_of(message: ChatMessage) -> dict[str, object]:
    """The JSON object of a message.

    Raises:
        TypeError: it is no message, or one that could not be read again.
    """
    if not isinstance(message, ChatMessage):
        raise TypeError(f"A store holds messages: ChatMessage, not {type(message).__name__}.")
    stored = message.without_estimate()
    record = {}
    for name, default in _DEFAULTS.items():
        value = getattr(stored, name)
        if value != default:
            if not isinstance(value, _KINDS.get(name, str)) or (
                name == "role" and value not in _ROLES
            ):
                raise TypeError(
                    f"The message {stored.id!r} cannot be stored: its {name} is {value!r:.100}."
                )
            record[name] = value
    return record


def to_json(message: ChatMessage) -> bytes:
    """The record of a message as one line of JSON in UTF-8, without its end.

    Raises:
        TypeError: it is no message, or it holds what JSON has no form for.
    """
    return json_of(record_of(message), message.id)


def json_of(record: Mapping[str, object], message_id: str) -> bytes:
    """One line of JSON in UTF-8, without its end.

    Raises:
        TypeError: the record holds what JSON has no form for.
    """
    try:
        line = _encode(record)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"The message {message_id!r} cannot be stored: {error}.") from None
    # What Python writes for a lone surrogate, `\ud800`, is what JSON reads as one.
    return line.encode("utf-8", "backslashreplace")


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if attrs.has(type(value)):
        return attrs.asdict(cast("attrs.AttrsInstance", value), recurse=False)
    raise TypeError(f"it holds a {type(value).__name__}, which JSON has no form for")


_encode: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), default=_jsonable
).encode


def from_json(line: bytes | str) -> ChatMessage:
    """Make the message of a record.

    Args:
        line: its JSON, as text or in UTF-8.

    Raises:
        RecordError: it is none.
    """
    return message_of(parsed(line))


def parsed(line: bytes | str) -> object:
    """Parse the JSON of a record.

    Raises:
        RecordError: it is none.
    """
    try:
        # Python would also read UTF-16 and UTF-32.
        return json.loads(line if isinstance(line, str) else line.decode())
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos}"
    except UnicodeDecodeError:
        reason = "it is no valid UTF-8"
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError:
        reason = "it has a number with too many digits"
    raise RecordError(f"this is not JSON: {reason}")


def message_of(record: object) -> ChatMessage:
    """Make the message of a record.

    Args:
        record: its parsed JSON.

    Raises:
        RecordError: it is none.
    """
    if not isinstance(record, dict):
        raise RecordError(f"a record is a JSON object, not {_json_type(record)}")
    values = _read(_MESSAGE, record)
    if not values.get("id") or "text" not in values:
        raise RecordError("a record has an id and a text")
    return ChatMessage(**values)


def origin_of(message: ChatMessage) -> str:
    """Who said a message, when, and where in the tree, as one text.

    Two messages under one id are the same when this is: what was said may have been changed by the owner of
    the store, its counts by a client.
    """
    made = message.created_at
    if made is not None and made.tzinfo is not None:
        with suppress(OverflowError):  # at the edges of the calendar
            made = made.astimezone(UTC)  # the same moment in another zone is the same
    return json.dumps(
        [
            message.role,
            None if made is None else made.isoformat(),
            message.conversation_id,
            message.parent_message_id,
        ]
    )


# --- the attributes --------------------------------------------------------------------------


def _text(name: str, value: object) -> str:
    if type(value) is str:
        return value
    raise RecordError(f"its {name} is {_json_type(value)}, not a text")


def _truth(name: str, value: object) -> bool:
    if type(value) is bool:
        return value
    raise RecordError(f"its {name} is {_json_type(value)}, not true or false")


def _number(name: str, value: object) -> int:
    if type(value) is int:
        return value
    raise RecordError(f"its {name} is {_json_type(value)}, not a whole number")


def _object(name: str, value: object) -> dict[str, Any]:
    if type(value) is dict:
        return value
    raise RecordError(f"its {name} is {_json_type(value)}, not an object")


def _counts(name: str, value: object) -> dict[str, int]:
    return {key: _number(name, count) for key, count in _object(name, value).items()}


def _role(name: str, value: object) -> Role:
    if value in _ROLES:
        return cast("Role", value)
    raise RecordError(f"its {name} is none of {', '.join(_ROLES)}")


def _time(name: str, value: object) -> datetime:
    try:
        return datetime.fromisoformat(_text(name, value))
    except ValueError:
        raise RecordError(f"its {name} is no time in ISO 8601") from None


def _usage(name: str, value: object) -> Usage:
    return _made(Usage, _USAGE, name, value)


def _context(name: str, value: object) -> ContextReport:
    return _made(ContextReport, _CONTEXT, name, value)


def _texts(name: str, value: object) -> tuple[str, ...]:
    return tuple(_text(name, item) for item in _list(name, value))


def _list(name: str, value: object) -> list[object]:
    if type(value) is list:
        return value
    raise RecordError(f"its {name} is {_json_type(value)}, not a list")


def _changes(name: str, value: object) -> tuple[RequestChange, ...]:
    return tuple(_made(RequestChange, _CHANGE, name, change) for change in _list(name, value))


def _made(of: Callable[..., T], readers: Readers, name: str, value: object) -> T:
    try:
        return of(**_read(readers, _object(name, value)))
    except TypeError:
        raise RecordError(f"its {name} lacks something") from None


def _read(readers: Readers, given: Mapping[str, object]) -> dict[str, Any]:
    values = {}
    for name, value in given.items():
        read = readers.get(name)
        if read is not None and (value is not None or name in _NULLABLE):
            values[name] = None if value is None else read(name, value)
    return values


def _json_type(value: object) -> str:
    return _JSON_TYPES.get(type(value), type(value).__name__)


_JSON_TYPES: Final = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}
_ROLES: Final = get_args(Role)

_NULLABLE: Final = ("prompt_limit",)
"""What has no default, and may be nothing."""

_USAGE: Final[Readers] = {
    "prompt_tokens": _number,
    "completion_tokens": _number,
    "total_tokens": _number,
    "reasoning_tokens": _number,
    "cached_tokens": _number,
    "estimated": _truth,
}
_CHANGE: Final[Readers] = {"parameter": _text, "change": _text, "is_learned": _truth}
_CONTEXT: Final[Readers] = {
    "oldest_message_id": _text,
    "message_count": _number,
    "prompt_tokens": _number,
    "counting": _text,
    "prompt_limit": _number,
    "reserved_tokens": _number,
    "left_out": _number,
    "left_out_reason": _text,
    "missing_message_id": _text,
    "unreadable_message_ids": _texts,
    "changes": _changes,
}
_MESSAGE: Final[Readers] = {
    "id": _text,
    "text": _text,
    "role": _role,
    "name": _text,
    "delta": _text,
    "rewritten": _truth,
    "is_hidden": _truth,
    "parent_message_id": _text,
    "conversation_id": _text,
    "detail": _object,
    "model": _text,
    "usage": _usage,
    "finish_reason": _text,
    "reasoning": _text,
    "context": _context,
    "created_at": _time,
    "request_id": _text,
    "account_id": _text,
    "wire_fields": _object,
    "token_counts": _counts,
}

_KINDS: Final[Mapping[str, type]] = {
    "rewritten": bool,
    "is_hidden": bool,
    "detail": Mapping,
    "usage": Usage,
    "context": ContextReport,
    "created_at": datetime,
    "wire_fields": Mapping,
    "token_counts": Mapping,
}
"""What an attribute is; all others are text."""

_DEFAULTS: Final[Mapping[str, object]] = {
    field.name.removeprefix("_"): {} if field.name == "token_counts" else field.default
    for field in fields(ChatMessage)
}
"""Every attribute of a message. `id` and `text` have none: they are always told."""
