"""Messages as rows of a SQLite file, and back.

Rule: what is read is bytes, and is checked (`core.records`): SQLite may hold anything under a damaged page. A message
that cannot be read is passed over, and left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chatgpt.core.messages import ChatMessage
from chatgpt.core.records import RecordError, json_of, message_of, origin_of, parsed, record_of
from chatgpt.core.surrogates import lenient
from chatgpt.core.validation import kind_of, required_identifier
from chatgpt.stores.unreadable import readable

COLUMNS: Final = "messages.id, messages.text, messages.record"

Row = tuple[object, object, object]
"""`COLUMNS`, as SQLite has them."""


def key_of(value: str) -> str | bytes:
    """An id as a column holds it. What is no valid Unicode is not in one, and no text is equal to bytes.

    Raises:
        TypeError: it is no text.
    """
    if not isinstance(value, str):
        raise TypeError(f"An id is a str, not {kind_of(value)}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


def row_of(message: ChatMessage) -> tuple[str | bytes | bool | None, ...]:
    """The columns of a message: id, parent, conversation, origin, whether it is hidden, text, record.

    Raises:
        TypeError: it holds what JSON has no form for.
        ValueError: its id is empty, or no valid Unicode.
    """
    record = record_of(message)
    message_id, text = required_identifier("id", record.pop("id")), message.text
    searched = lenient(text)
    if searched == text:
        del record["text"]
    parent_id, conversation_id = message.parent_message_id, message.conversation_id
    return (
        message_id,
        None if parent_id is None else key_of(parent_id),
        None if conversation_id is None else key_of(conversation_id),
        origin_of(message),
        message.is_hidden,
        searched,
        json_of(record, message_id),
    )


def message_of_row(row: Row) -> ChatMessage:
    """Make the message of a row.

    Raises:
        RecordError: it cannot be read.
    """
    message_id, text, line = map(bytes_of, row)
    record = parsed(line)
    if isinstance(record, dict):
        try:
            record.setdefault("text", text.decode())
            record["id"] = message_id.decode()
        except UnicodeDecodeError:
            raise RecordError("its id or text is no valid UTF-8") from None
    return message_of(record)


def readable_messages(rows: Sequence[Row]) -> list[ChatMessage]:
    """The messages of rows, without those that cannot be read."""
    return list(readable(rows, message_of_row, described))


def described(row: Row) -> tuple[str, bytes]:
    """The id and the record of a row, as far as they can be told."""
    message_id, _, record = map(bytes_of, row)
    return message_id.decode("utf-8", "replace"), record


def bytes_of(value: object) -> bytes:
    """A value of a column whose type says bytes, or text."""
    return value if isinstance(value, bytes) else repr(value).encode()
