"""The conversations of a SQLite file: their rows, and where each one stands.

Strategy: a row holds what cannot be read off the messages by an index: the name, the title of an import, when the
conversation was used, and the number of the message at which it stands. The rest is counted when it is asked for.

Rules:

1. A conversation stands at the visible message of the latest time; of several, at the one that was saved last. So
   messages that are saved again move nothing. Those without a time are older than all others.
2. An imported conversation stands where its reader was (`current_node`), until something is said after that.
3. Hidden messages move a conversation nowhere; one that has no others stands at the last of them.
4. What has been deleted is not in the file any more: SQLite overwrites what becomes free (`secure_delete`), and the index of
   the full-text search is written anew (`optimize`): it only notes what was deleted. (Its own `secure-delete` is
   cheaper, and makes files that SQLite cannot read before 3.42.)
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Final

from attrs import frozen

from chatgpt.core.messages import ChatMessage
from chatgpt.core.surrogates import lenient
from chatgpt.stores.conversations import StoredConversation, title_of
from chatgpt.stores.sqlite_rows import COLUMNS, Row, bytes_of, key_of, readable_messages

# ruff: noqa: S608 - statements are put together of this file's own words

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LEEWAY: Final = 1
"""Seconds: an export writes its times as numbers that are rounded."""

# --- statements ------------------------------------------------------------------------------

_NEVER: Final = "-9000000000000000000"
_IS_LATER: Final = f"""
    :moves AND (ifnull(excluded.used_at, {_NEVER}), excluded.last_number)
    > (ifnull(conversations.used_at, {_NEVER}), conversations.last_number)
"""
STAND: Final = f"""
    INSERT INTO conversations (id, title, last_number, used_at)
    SELECT :id, :title, number, :used_at FROM messages WHERE id = :last_message_id
    ON CONFLICT (id) DO UPDATE SET
        title = ifnull(excluded.title, title),
        last_number = CASE WHEN {_IS_LATER} THEN excluded.last_number ELSE last_number END,
        used_at = CASE WHEN {_IS_LATER} THEN excluded.used_at ELSE used_at END
"""
"""Takes the attributes of a `Standing`."""

_SPACES: Final = "char(9, 10, 11, 12, 13, 32)"
_MOST_BYTES: Final = 4000
"""What is read of a text for its title; as bytes, because `substr` takes a NUL for the end of a text."""
_CONVERSATIONS: Final = f"""
    SELECT
        conversations.id,
        conversations.name,
        ifnull(conversations.title, (
            SELECT substr(CAST(ltrim(text, {_SPACES}) AS BLOB), 1, {_MOST_BYTES}) FROM messages
            WHERE conversation_id = conversations.id AND is_hidden = 0 ORDER BY number LIMIT 1
        )),
        (SELECT count(*) FROM messages WHERE conversation_id = conversations.id AND is_hidden = 0),
        last.id,
        conversations.used_at
    FROM conversations CROSS JOIN messages AS last ON last.number = conversations.last_number
"""
_LAST_USED_FIRST: Final = "ORDER BY conversations.used_at DESC, conversations.last_number DESC"
LIST: Final = f"{_CONVERSATIONS} {_LAST_USED_FIRST} LIMIT ?"
FIND: Final = (
    f"{_CONVERSATIONS} WHERE conversations.name = ?",
    f"{_CONVERSATIONS} WHERE conversations.id = ?",
    # All text that begins so; of ids that are bytes, and of "", there is no beginning.
    f"""
    {_CONVERSATIONS} WHERE conversations.id > ?1 AND conversations.id < ?1 || char(0x10FFFF)
    AND ?1 <> '' AND typeof(?1) = 'text' {_LAST_USED_FIRST}
    """,
)
"""What a name or id may mean; the first one that finds something counts."""

MESSAGES: Final = f"SELECT {COLUMNS} FROM messages WHERE conversation_id = ? ORDER BY number"
NAMED_SO: Final = "SELECT id FROM conversations WHERE name = ? AND id <> ?"
NAME: Final = "UPDATE conversations SET name = ? WHERE id = ?"
USE: Final = """
    UPDATE conversations
    SET used_at = :used_at, last_number = (SELECT number FROM messages WHERE id = :message_id)
    WHERE id = :id
    AND EXISTS (SELECT 1 FROM messages WHERE id = :message_id AND conversation_id = :id)
"""


def delete(connection: sqlite3.Connection, conversation_id: str | bytes) -> int:
    """Delete a conversation, in a transaction; how many messages it had."""
    count = connection.execute(
        "DELETE FROM messages WHERE conversation_id = ?", (conversation_id,)
    ).rowcount
    connection.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,))
    if count:
        connection.execute("INSERT INTO messages_text (messages_text) VALUES ('optimize')")
    return count


def delete_all(connection: sqlite3.Connection) -> int:
    """Delete everything, in a transaction; how many messages there were."""
    count = connection.execute("DELETE FROM messages").rowcount
    connection.execute("DELETE FROM conversations")
    connection.execute("INSERT INTO messages_text (messages_text) VALUES ('rebuild')")
    return count


def conversation_of(row: tuple[object, ...]) -> StoredConversation:
    """Make the conversation of a row of `LIST` or `FIND`."""
    conversation_id, name, title, count, last_message_id, used_at = row
    return StoredConversation(
        id=_text(conversation_id),
        name=None if name is None else _text(name),
        title=None if title is None else title_of(_text(title)),
        message_count=count if isinstance(count, int) else 0,
        last_message_id=_text(last_message_id),
        used_at=_time(used_at),
    )


def _text(value: object) -> str:
    held = bytes_of(value)
    try:
        return held.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return held.decode("utf-8", "replace")


# --- times, as microseconds since 1970 -------------------------------------------------------


def now() -> int:
    """This moment."""
    return (datetime.now(UTC) - _EPOCH) // _MICROSECOND


def _time(value: object) -> datetime | None:
    if isinstance(value, int):
        try:
            return _EPOCH + timedelta(microseconds=value)
        except OverflowError:  # at the edges of the calendar
            pass
    return None


def _microseconds(message: ChatMessage) -> int | None:
    made = message.created_at
    if made is None:
        return None
    if made.utcoffset() is None:
        made = made.replace(tzinfo=UTC)
    return (made - _EPOCH) // _MICROSECOND


# --- where a conversation stands -------------------------------------------------------------


@frozen(kw_only=True)
class Standing:
    """What messages that are saved together say of their conversation.

    Attributes:
        id: the id of the conversation, as a column holds it.
        title: the title of an import.
        last_message_id: the message at which it stands.
        used_at: the latest of their times.
        moves: whether a conversation that is there already may move to that message.
    """

    id: str | bytes
    title: str | None
    last_message_id: str
    used_at: int | None
    moves: bool


def standings(messages: Sequence[ChatMessage]) -> list[Standing]:
    """What messages that are saved together say, one for each conversation."""
    together: dict[str, list[ChatMessage]] = {}
    for message in messages:
        if message.conversation_id is not None:
            together.setdefault(message.conversation_id, []).append(message)
    return [_standing(conversation_id, held) for conversation_id, held in together.items()]


def _standing(conversation_id: str, messages: Sequence[ChatMessage]) -> Standing:
    detail = _detail_of_head(conversation_id, messages)
    seen = [message for message in messages if not message.is_hidden]
    last, used_at = _latest(seen or messages), _microseconds(_latest(messages))
    current = _current(conversation_id, messages, detail)
    if current is not None and not _is_said_after(last, detail):
        last = current
    title = detail.get("title")
    return Standing(
        id=key_of(conversation_id),
        title=title_of(lenient(title)) if isinstance(title, str) else None,
        last_message_id=last.id,
        used_at=used_at if seen else None,
        moves=bool(seen),
    )


def _latest(messages: Sequence[ChatMessage]) -> ChatMessage:
    """The message of the latest time, of several the last one."""

    def time(message: ChatMessage) -> int:
        made = _microseconds(message)
        return -sys.maxsize if made is None else made

    return max(reversed(messages), key=time)


def _detail_of_head(conversation_id: str, messages: Sequence[ChatMessage]) -> dict[str, object]:
    """The fields of an imported conversation, which its hidden head has; none where it is not among the messages."""
    for message in messages:
        if (
            message.is_hidden
            and message.parent_message_id is None
            and message.id.endswith(conversation_id)
            and message.detail is not None
        ):
            return dict(message.detail)
    return {}


def _current(
    conversation_id: str, messages: Sequence[ChatMessage], detail: dict[str, object]
) -> ChatMessage | None:
    """The message that the reader of an imported conversation saw last."""
    current = detail.get("current_node")
    if not isinstance(current, str) or not current:
        return None
    # Importing has given it another id where its own was taken.
    renamed = f"{conversation_id}/{current}"
    for message in messages:
        if message.id == current or message.id.endswith(renamed):
            return message
    return None


def _is_said_after(message: ChatMessage, detail: dict[str, object]) -> bool:
    """Whether a message is newer than all that was imported."""
    changed, made = detail.get("update_time"), _microseconds(message)
    if not isinstance(changed, (int, float)) or made is None:
        return False
    return made / 1e6 > changed + _LEEWAY


# --- files of schema 1 -----------------------------------------------------------------------


def fill(connection: sqlite3.Connection) -> None:
    """Make the rows of the conversations that a file of schema 1 holds, as a part of a step."""
    rows = connection.execute(
        f"""
        SELECT conversation_id, number, {COLUMNS} FROM messages
        WHERE conversation_id IS NOT NULL ORDER BY conversation_id, number
        """
    )
    for conversation_id, held in groupby(rows, key=itemgetter(0)):
        numbers: dict[bytes, int] = {}
        columns: list[Row] = []
        for _, number, *row in held:
            numbers[bytes_of(row[0])] = number
            columns.append((row[0], row[1], row[2]))
        title, used_at = None, None
        messages = readable_messages(columns)
        if messages:
            standing = _standing(_text(conversation_id), messages)
            title, used_at = standing.title, standing.used_at
            number = numbers[standing.last_message_id.encode()]
        connection.execute(
            """
            INSERT INTO conversations (id, title, last_number, used_at)
            SELECT conversation_id, ?, number, ? FROM messages WHERE number = ?
            """,
            (title, used_at, number),
        )
