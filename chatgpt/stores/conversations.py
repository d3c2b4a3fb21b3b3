"""What a store knows of a conversation as a whole.

Rule: this module needs no database, so that its names can be loaded without one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from unicodedata import category

from attrs import frozen

from chatgpt.core.validation import required_identifier

MOST_OF_A_TITLE: Final = 80
MOST_OF_A_NAME: Final = 100

_INVISIBLE: Final = frozenset({"Cc", "Zl", "Zp"})
"""The categories of characters that control a terminal, or end a line."""


@frozen(kw_only=True)
class StoredConversation:
    """A conversation, as a `SQLiteStore` lists it.

    Attributes:
        id: what its messages have as their `conversation_id`.
        name: what its owner named it (`name_conversation`), unique in the store.
        title: the title of an imported conversation, else how its first visible message begins; in one line, of at
            most 80 characters, with an ellipsis where something was cut. `None` if there are no words.
        message_count: how many messages it has, in all branches, without hidden ones.
        last_message_id: where it stands: the message to reply to next.
        used_at: when it was last used, in UTC; `None` where no message has a time.
    """

    id: str
    name: str | None
    title: str | None
    message_count: int
    last_message_id: str
    used_at: datetime | None

    @staticmethod
    def check_name(name: str) -> None:
        """Check that a conversation could have a name, before there is one.

        Args:
            name: one line of at most 100 characters, which does not begin with `-`.

        Raises:
            TypeError: it is no text.
            ValueError: it is no such line.
        """
        checked_name(required_identifier("name", name))


def title_of(text: str) -> str | None:
    """The title that a text makes: one line of at most 80 characters; `None` if it has no words."""
    line = " ".join(text.split())
    if len(line) > MOST_OF_A_TITLE:
        line = line[: MOST_OF_A_TITLE - 1].rstrip() + "…"
    return line or None


def checked_name(name: object) -> str | None:
    """Check the name of a conversation; `None` is none.

    Raises:
        TypeError: it is no text.
        ValueError: it is blank, longer than 100 characters, not of one line, or begins as an option of a command does.
    """
    if name is None:
        return None
    text = required_identifier("name", name)
    if len(text) > MOST_OF_A_NAME:
        raise ValueError(
            f"name must have at most {MOST_OF_A_NAME} characters; this one has {len(text)}."
        )
    if any(category(character) in _INVISIBLE for character in text):
        raise ValueError("name must be one line without control characters.")
    if text.startswith("-"):
        raise ValueError(f"name must not begin with '-': {text!r} looks like an option.")
    return text
