"""The tables of a SQLite store, and how a file of an older version becomes one of this version.

Strategy: a file carries the number of its schema (`PRAGMA user_version`) and the mark of this package
(`PRAGMA application_id`). Step `n` of `STEPS` leads from schema `n` to schema `n + 1`; an empty file is
schema 0, so making one and bringing one up to date are the same. A step is statements, and functions for what SQL
cannot do.

Rules:

1. A step is never changed once it was released; a new schema is a new step.
2. All steps of a file are one transaction: it has the old schema or the new one.
3. A file of a newer schema, or of another program, is not touched.

The tables:

- `messages`: one row for each message. `record` is its JSON (`core.records`) without what stands in columns of its
  own (`id`, `text`). `number` grows in the order of first saving. `origin` tells a message that is saved again
  from another one.
- `messages_text`: the index of a full-text search over the texts that a reader sees. It holds no text itself.
- `conversations`: one row for each conversation that a message names; `sqlite_conversations` says what its columns mean.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from chatgpt.core.errors import StoreError
from chatgpt.stores.sqlite_conversations import fill

APPLICATION_ID: Final = 0x43475054
"""`CGPT`: what the header of a file says of the program that it belongs to."""

Step: TypeAlias = Sequence[str | Callable[[sqlite3.Connection], None]]

_FIRST: Final = (
    """
    CREATE TABLE messages (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        parent_id TEXT,
        conversation_id TEXT,
        origin TEXT NOT NULL,
        is_hidden INTEGER NOT NULL,
        text TEXT NOT NULL,
        record BLOB NOT NULL
    )
    """,
    "CREATE INDEX messages_by_parent ON messages (parent_id)",
    "CREATE INDEX messages_by_conversation ON messages (conversation_id)",
    """
    CREATE VIRTUAL TABLE messages_text USING fts5 (
        text, content='messages', content_rowid='number', tokenize='unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TRIGGER message_added AFTER INSERT ON messages WHEN NOT new.is_hidden BEGIN
        INSERT INTO messages_text (rowid, text) VALUES (new.number, new.text);
    END
    """,
    """
    CREATE TRIGGER message_removed AFTER DELETE ON messages WHEN NOT old.is_hidden BEGIN
        INSERT INTO messages_text (messages_text, rowid, text) VALUES ('delete', old.number, old.text);
    END
    """,
    # One trigger, because the order of several is not defined.
    """
    CREATE TRIGGER message_changed AFTER UPDATE OF text, is_hidden ON messages
    WHEN old.text <> new.text OR old.is_hidden <> new.is_hidden BEGIN
        INSERT INTO messages_text (messages_text, rowid, text)
        SELECT 'delete', old.number, old.text WHERE NOT old.is_hidden;
        INSERT INTO messages_text (rowid, text) SELECT new.number, new.text WHERE NOT new.is_hidden;
    END
    """,
)

_CONVERSATIONS: Final = (
    """
    CREATE TABLE conversations (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT UNIQUE,
        title TEXT,
        last_number INTEGER NOT NULL,
        used_at INTEGER
    )
    """,
    fill,  # with the old index: it has the messages in their order
    "CREATE INDEX conversations_by_use ON conversations (used_at, last_number)",
    "DROP INDEX messages_by_conversation",
    "CREATE INDEX messages_by_conversation ON messages (conversation_id, is_hidden)",
)

STEPS: Final[Sequence[Step]] = (_FIRST, _CONVERSATIONS)


def bring_up_to_date(connection: sqlite3.Connection, path: str) -> None:
    """Make the tables of a file those of this version, if they are not.

    Args:
        connection: an open one, outside of a transaction, whose texts are bytes.
        path: the file, for messages.

    Raises:
        StoreError: the file belongs to a newer version, or to another program.
        sqlite3.Error: it cannot be read or written.
    """
    connection.execute("BEGIN")
    schema = schema_of(connection, path)
    connection.execute("COMMIT")
    if schema == len(STEPS):
        return
    if schema == 1:
        # Schema 1 did not overwrite what became free: pieces of old texts may stand between the new ones.
        connection.execute("VACUUM")
    connection.execute("BEGIN IMMEDIATE")
    # Once more: another process may have been faster.
    for step in STEPS[schema_of(connection, path) :]:
        for work in step:
            if isinstance(work, str):
                connection.execute(work)
            else:
                work(connection)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(STEPS)}")
    connection.execute("COMMIT")


def schema_of(connection: sqlite3.Connection, path: str) -> int:
    """The number of a file's schema; 0 for an empty file.

    Args:
        connection: an open one, in a transaction: another process may be making the tables now.
        path: the file, for messages.

    Raises:
        StoreError: the file belongs to a newer version, or to another program.
    """
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    is_ours = mark == APPLICATION_ID or (
        mark == schema == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None
    )
    if not is_ours:
        raise StoreError(
            f"{path} is a SQLite database of another program; give the path of a new file."
        )
    if schema > len(STEPS):
        raise StoreError(
            f"{path} has been written by a newer version of chatgpt-sdk (its schema is {schema}; this version "
            f"knows {len(STEPS)}): update chatgpt-sdk."
        )
    return int(schema)
