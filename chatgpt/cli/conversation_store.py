"""The store of the command, and the conversations found in it.

Rules:

1. What was said is nobody else's: the folder and the file are for their owner alone.
2. A conversation is meant by its name, by its id or by the beginning of its id, where that fits one alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from operator import eq
from pathlib import Path
from typing import Final, TypeVar

import click

from chatgpt import ChatGPTError, SQLiteStore, StoredConversation, StoreError
from chatgpt.cli.exit_codes import NotFoundInStore

T = TypeVar("T")

STORE_VARIABLE: Final = "CHATGPT_STORE"
"""The environment variable that says which file it is."""

SHOWN_ID: Final = 8
"""How many letters of an id are shown."""

COMPLETED: Final = 500
"""How many conversations a shell completes, at most."""

_PLAIN: Final = frozenset("-_.,:+@%")
"""Signs that no shell takes for more than a letter."""


def store_file() -> Path:
    """Where the conversations are kept: `CHATGPT_STORE`, or under the platform's data directory."""
    given = os.environ.get(STORE_VARIABLE, "").strip()
    if given:
        return Path(given).expanduser()
    from platformdirs import user_data_path

    return user_data_path("chatgpt", appauthor=False) / "conversations.db"


def open_store(*, is_made: bool = True) -> SQLiteStore:
    """Open the store.

    Args:
        is_made: whether it is made where there is none.

    Raises:
        NotFoundInStore: there is none.
        StoreError: it cannot be opened.
    """
    file = store_file()
    if not is_made and not file.exists():
        raise NotFoundInStore(f"There is no conversation yet: {file} is not there.")
    try:
        if is_made:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(
            f"The conversations cannot be kept in {file}: {error.strerror}. {STORE_VARIABLE} names another file."
        ) from None
    return SQLiteStore(file)


def read_store(read: Callable[[SQLiteStore], list[T]]) -> list[T]:
    """Read something of the store; nothing where there is none."""
    if not store_file().exists():
        return []
    with open_store(is_made=False) as store:
        return read(store)


def check_is_no_id(store: SQLiteStore, name: str) -> None:
    """Check that a new name is not taken for the id of another conversation, as `chatgpt list` shows it.

    Raises:
        click.UsageError: it is.
    """
    if len(name) >= SHOWN_ID and any(each.name != name for each in store.find_conversations(name)):
        raise click.UsageError(
            f"{name!r} is the beginning of an id; -c -n {name} goes on with that one."
        )


def find_conversation(store: SQLiteStore, wanted: str | None) -> StoredConversation:
    """Find a conversation.

    Args:
        store: where it is looked for.
        wanted: its name, or the beginning of its id; `None` for the one last used.

    Raises:
        NotFoundInStore: there is none.
        click.UsageError: there are several.
    """
    if wanted is None:
        found = store.conversations(limit=1)
        if not found:
            raise NotFoundInStore("There is no conversation yet.")
        return found[0]
    found = store.find_conversations(wanted)
    if not found:
        raise NotFoundInStore(f"There is no conversation {wanted!r} (chatgpt list shows them).")
    if len(found) > 1:
        ids = short_ids(each.id for each in found)
        names = ", ".join(ids[each.id] for each in found[:5]) + (", ..." if len(found) > 5 else "")
        raise click.UsageError(
            f"{wanted!r} is the beginning of {len(found)} ids: {names}. Give more of it."
        )
    return found[0]


def label_of(conversation: StoredConversation) -> str:
    """How a conversation is called: by its name, or by the beginning of its id."""
    return conversation.name or conversation.id[:SHOWN_ID]


def short_ids(ids: Iterable[str], spare: int = 0) -> Mapping[str, str]:
    """The beginning of each id that none of the others has, of at least `SHOWN_ID` letters.

    Args:
        ids: what is told apart.
        spare: how many more letters tell an id from later ones.
    """
    ordered = sorted(set(ids))
    shown = {}
    for before, each, after in zip(["", *ordered], ordered, [*ordered[1:], ""], strict=False):
        common = max(_common_length(before, each), _common_length(each, after))
        shown[each] = each[: max(SHOWN_ID, common + 1 + spare)]
    return shown


def _common_length(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(bool, map(eq, one, other)))


def labels_beginning_with(beginning: str) -> list[str]:
    """The names that begin so, and the ids of conversations whose names a shell would part; none where nothing is read."""
    try:
        if not store_file().exists():
            return []
        with SQLiteStore(store_file()) as store:
            found = store.conversations(limit=COMPLETED)
    except (ChatGPTError, OSError):
        return []
    labels = (
        each.name if each.name and _is_plain(each.name) else each.id[:SHOWN_ID] for each in found
    )
    return [label for label in labels if label.startswith(beginning) and _is_plain(label)]


def _is_plain(label: str) -> bool:
    """Whether a shell takes a label as it is: it may come from an import, and bash would run what is in it."""
    return all(letter.isalnum() or letter in _PLAIN for letter in label)
