"""What is deleted from a SQLite file is gone for good, whatever others do with the file meanwhile.

Strategy: words are told, deleted, and looked for in the bytes of the files. SQLite is made as it is by default on many
systems before every write: it does not overwrite what becomes free, unless the store tells it to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve

from chatgpt import SQLiteStore, StoreError
from tests.stores.conversation_cases import (
    SECRETS,
    at,
    bytes_of_files,
    check_file,
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


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(path) as opened:
        yield opened


def forgetful(store: SQLiteStore) -> None:
    """Make SQLite as it is by default on many systems: it does not overwrite what becomes free."""
    (connection,) = store._connections._idle
    connection.execute("PRAGMA secure_delete = OFF").fetchall()


def keep_and_tell(store: SQLiteStore) -> None:
    """Fill a store: some conversations, and one that holds the secrets, in texts that grow and shrink."""
    for number in range(40):
        forgetful(store)
        store.save(
            [said(f"k{number}", number, conversation_id="kept", text=f"kept {number} " * 30)]
        )
        forgetful(store)
        secret = said(f"s{number}", number, text=f"{SECRETS[number % 4]} {number} " * 50)
        store.save([secret])
        forgetful(store)
        store.save([evolve(secret, text=f"{SECRETS[number % 4]} again")])
        forgetful(store)


@pytest.mark.parametrize("all_of_it", [False, True])
def test_nothing_of_it_is_left(path: Path, all_of_it: bool) -> None:
    store = SQLiteStore(path)
    keep_and_tell(store)
    store.name_conversation("c", "daikon")
    assert found_in(path) == list(SECRETS)
    count = store.clear() if all_of_it else store.delete_conversation("c")
    assert count == (80 if all_of_it else 40)
    assert found_in(path) == []  # no reader held it up
    store.close()
    assert found_in(path) == []
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert (b"kept 39 kept" in bytes_of_files(path)) == (not all_of_it)
    check_file(path)
    with store:
        assert len(store.search("kept", limit=100)) == (0 if all_of_it else 40)
        assert store.search("avocado") == []


def test_a_file_that_is_cleared_is_small(store: SQLiteStore, path: Path) -> None:
    empty = path.stat().st_size
    store.save([said(f"m{number}", text=f"{number} words " * 500) for number in range(200)])
    assert store.clear() == 200
    assert path.stat().st_size <= empty


@pytest.mark.parametrize("all_of_it", [False, True])
def test_a_reader_holds_it_up_until_the_file_is_closed(path: Path, all_of_it: bool) -> None:
    store = SQLiteStore(path)
    keep_and_tell(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        (before,) = reader.execute("SELECT count(*) FROM messages").fetchone()
        assert (store.clear() if all_of_it else store.delete_conversation("c")) >= 40
        assert store.search("avocado") == []
        assert found_in(path) == list(SECRETS)
        assert reader.execute("SELECT count(*) FROM messages").fetchone() == (before,)
        reader.execute("COMMIT")
    store.close()
    assert found_in(path) == []
    check_file(path)


def test_deleting_while_another_process_writes(path: Path) -> None:
    store = SQLiteStore(path, timeout=0)
    store.save([said("a", 1)])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for work in (store.clear, lambda: store.delete_conversation("c")):
            with pytest.raises(StoreError, match="was locked by another process"):
                work()
        other.execute("ROLLBACK")
    assert ids(store.conversations()) == ["c"]
    assert store.delete_conversation("c") == 1
    store.close()


def test_what_cannot_be_read_is_deleted_too(store: SQLiteStore, path: Path) -> None:
    store.save([said("a", 1), said("b", 2)])
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE messages SET record = x'00'")
    assert store.conversation_messages("c") == []
    assert (ids(store.conversations()), place(store)) == (["c"], ("b", at(2)))
    assert store.delete_conversation("c") == 2
    assert list(store.unreadable_messages()) == []


ROUNDS = 30


def test_two_processes_name_use_save_and_delete_at_once(path: Path) -> None:
    SQLiteStore(path).close()
    program = """
        import sys
        from datetime import UTC, datetime
        from chatgpt import ChatMessage, SQLiteStore

        path, me, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
        store, won = SQLiteStore(path), 0

        def say(name, conversation_id):
            made = datetime.now(UTC)
            store.save([ChatMessage(id=name, text=f"words of {me}", conversation_id=conversation_id, created_at=made)])

        for number in range(rounds):
            say(f"{me}{number}", "shared")
            say(f"{me}x{number}", f"{me}-{number}")
            try:
                store.name_conversation(f"{me}-{number}", f"prize {number}")
                won += 1
            except ValueError as error:
                assert "has the name" in str(error), error
            store.use_conversation("shared", f"{me}{number}")
            assert store.conversations(limit=1)
            if number % 3 == 0:
                assert store.delete_conversation(f"{me}-{number}") == 1
        print(won)
        store.close()
    """
    processes = [start(program, str(path), name, str(ROUNDS)) for name in "ab"]
    won = sum(int(output_of(process)) for process in processes)
    check_file(path)
    kept = [number for number in range(ROUNDS) if number % 3]
    with SQLiteStore(path) as store:
        (shared,) = store.find_conversations("shared")
        assert shared.message_count == 2 * ROUNDS
        assert shared.last_message_id in {f"a{ROUNDS - 1}", f"b{ROUNDS - 1}"}
        own = [each for each in store.conversations() if each.id != "shared"]
        assert sorted(ids(own)) == sorted(f"{name}-{number}" for name in "ab" for number in kept)
        # Each prize has gone to one of the two, but one that was deleted may have gone to both.
        names = sorted(each.name for each in own if each.name is not None)
        assert names == sorted(f"prize {number}" for number in kept)
        assert ROUNDS <= won <= ROUNDS + ROUNDS // 3
        assert len(store.search("words", limit=1_000)) == 2 * ROUNDS + len(own)
