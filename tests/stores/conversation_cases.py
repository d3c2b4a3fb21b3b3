"""What the tests of a SQLite file's conversations have in common: messages, exports, and looks at a file."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chatgpt import ChatMessage, SQLiteStore, StoredConversation

BEGIN = datetime(2024, 5, 1, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


def said(
    message_id: str,
    minutes: float | None = None,
    *,
    conversation_id: str | None = "c",
    text: str = "words",
    **fields: Any,
) -> ChatMessage:
    """A message that was made so many minutes after the beginning."""
    return ChatMessage(
        id=message_id,
        text=text,
        conversation_id=conversation_id,
        created_at=None if minutes is None else at(minutes),
        **fields,
    )


def ids(conversations: list[StoredConversation]) -> list[str]:
    return [conversation.id for conversation in conversations]


def place(store: SQLiteStore, conversation_id: str = "c") -> tuple[str, datetime | None]:
    """Where a conversation stands, and when it was used."""
    (found,) = [each for each in store.conversations() if each.id == conversation_id]
    return found.last_message_id, found.used_at


def node(name: str, parent: str | None, minutes: float, role: str = "user") -> dict[str, Any]:
    return {
        "id": name,
        "parent": parent,
        "message": {
            "id": name,
            "author": {"role": role},
            "create_time": at(minutes).timestamp(),
            "content": {"content_type": "text", "parts": [f"This is {name}."]},
        },
    }


def exported(folder: Path, *nodes: dict[str, Any], **fields: Any) -> Path:
    """A file of an export, with one conversation."""
    conversation = {
        "conversation_id": "c",
        "title": "Of  trees",
        "mapping": {each["id"]: each for each in nodes},
        "update_time": max(each["message"]["create_time"] for each in nodes),
        **fields,
    }
    file = folder / "conversations.json"
    file.write_text(json.dumps([conversation]))
    return file


TREE = (
    node("q", None, 1),
    node("chosen", "q", 2, "assistant"),
    node("tool", "q", 3, "tool"),
    node("given up", "tool", 4, "assistant"),
)


SECRETS = ("avocado", "broccoli", "celeriac", "daikon")
"""Words that begin otherwise than their neighbours: the index of the search leaves out what two have in common."""


def bytes_of_files(path: Path) -> bytes:
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


def found_in(path: Path) -> list[str]:
    held = bytes_of_files(path).lower()
    return [word for word in SECRETS if word.encode() in held]


def check_file(path: Path) -> None:
    """What SQLite says of the file, and of the index of the search."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.execute("INSERT INTO messages_text (messages_text) VALUES ('integrity-check')")


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a program of Python in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(program), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def output_of(process: subprocess.Popen[str]) -> str:
    """What a program said, once it has ended well."""
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output
