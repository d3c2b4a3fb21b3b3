"""Files of a SQLite store of schema 1, which knew messages only: they are brought up to date, with what they hold."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from chatgpt import ChatMessage, SQLiteStore, import_chatgpt_export
from chatgpt.stores import sqlite_schema
from chatgpt.stores.sqlite_rows import row_of
from tests.engines import Engine
from tests.stores.conversation_cases import (
    SECRETS,
    TREE,
    at,
    check_file,
    exported,
    found_in,
    ids,
    output_of,
    place,
    said,
    start,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conversations.db"


def old_file(path: Path, *messages: ChatMessage) -> None:
    """A file as the first version made it, on a system where SQLite does not overwrite what becomes free."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA secure_delete = OFF")
        for statement in sqlite_schema.STEPS[0]:
            assert isinstance(statement, str)
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {sqlite_schema.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.executemany(
            "INSERT INTO messages (id, parent_id, conversation_id, origin, is_hidden, text, record) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            map(row_of, messages),
        )


def damage(path: Path, record: object, *message_ids: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for message_id in message_ids:
            connection.execute("UPDATE messages SET record = ? WHERE id = ?", (record, message_id))


def test_step_1_is_never_changed() -> None:
    words = " ".join(" ".join(map(str, sqlite_schema.STEPS[0])).split())
    digest = hashlib.sha256(words.encode()).hexdigest()
    assert digest == "d81c4491cf542ac84851c54388582b7f5607a382e01c49773fdcc325d8d967f1"


def test_a_file_of_schema_1(engine: Engine, path: Path, tmp_path: Path) -> None:
    with SQLiteStore(tmp_path / "new.db") as new:
        import_chatgpt_export(exported(tmp_path, *TREE, current_node="chosen"), new)
        imported = list(new.all_messages())
    messages = [
        *imported,
        said("a1", 20, conversation_id="a"),
        said("t1", conversation_id="timeless"),
        said("alone", 99, conversation_id=None),
        said("a2", 21, conversation_id="a"),
        said("t2", conversation_id="timeless"),
        said("lost", 7, conversation_id="\ud800"),
    ]
    old_file(path, *messages)
    old = engine.adopt(cast("SQLiteStore", engine.package.SQLiteStore(path)))
    with SQLiteStore(tmp_path / "saved.db") as saved:
        saved.save(messages)
        assert old.conversations() == saved.conversations()
    assert ids(old.conversations()) == ["a", "\ud800", "c", "timeless"]
    assert place(old) == ("chosen", at(4))
    assert place(old, "timeless") == ("t2", None)
    assert [message.id for message in old.conversation_messages("a")] == ["a1", "a2"]
    old.name_conversation("c", "trees")
    old.save([said("a3", 22, conversation_id="a")])
    assert place(old, "a") == ("a3", at(22))
    assert [message.id for message in old.search("words")][:1] == ["a3"]
    check_file(path)


@pytest.mark.parametrize(
    "record", [b"{", b"\xff", b"[]", 5, "[" * 100_000, b'{"created_at":"soon"}', b'{"role":"god"}']
)
def test_a_damaged_file_of_schema_1(path: Path, record: object) -> None:
    old_file(
        path, said("a", 1), said("b", 2), said("x", 3, conversation_id="d"), said("y", 4, conversation_id="d")
    )  # fmt: skip
    damage(path, record, "b", "x", "y")
    with SQLiteStore(path) as store:
        assert place(store) == ("a", at(1))
        assert place(store, "d") == ("y", None)
        assert [(each.id, each.message_count) for each in store.conversations()] == [
            ("c", 2),
            ("d", 2),
        ]
        assert len(list(store.unreadable_messages())) == 3
        assert store.delete_conversation("d") == 2


def test_nothing_is_left_in_a_file_of_schema_1(path: Path) -> None:
    """What its versions freed was not overwritten."""
    old_file(path, *(said(f"s{n}", n, text=f"{SECRETS[n % 4]} " * 300) for n in range(40)), said("k", 99, conversation_id="kept"))  # fmt: skip
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("UPDATE messages SET text = 'short' WHERE conversation_id = 'c'")
        connection.execute("INSERT INTO messages_text (messages_text) VALUES ('optimize')")
    assert found_in(path) == list(SECRETS)
    with SQLiteStore(path) as store:
        assert store.delete_conversation("c") == 40
    assert found_in(path) == []


def test_many_bring_a_file_up_to_date_at_once(path: Path) -> None:
    old_file(path, *(said(f"m{n}", n, conversation_id=f"c{n % 7}") for n in range(300)))
    program = f"""
        from chatgpt import SQLiteStore
        with SQLiteStore({str(path)!r}) as store:
            print(len(store.conversations()), sum(c.message_count for c in store.conversations()))
    """
    processes = [start(program) for _ in range(3)]
    assert [output_of(process) for process in processes] == ["7 300\n"] * 3
    check_file(path)
