"""A store in a SQLite file: what its contract does not say (`test_contract.py`)."""

from __future__ import annotations

import logging
import pickle
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from chatgpt import ChatGPTAPI, ChatMessage, MessageNotFoundError, SQLiteStore, StoreError
from chatgpt.stores import sqlite, sqlite_connections, sqlite_conversations, sqlite_schema
from chatgpt.stores.search_words import search_words
from chatgpt.testing import ChatGPTServer
from tests.engines import Engine
from tests.stepping import thread_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conversations.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(path) as opened:
        yield opened


def changed(path: Path, statement: str, *given: object) -> None:
    """Do to a file what another program may do."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, given)


def texts(messages: list[ChatMessage]) -> list[str]:
    return [message.text for message in messages]


def statements_of(store: Any, work: Callable[[], object]) -> list[str]:
    """What SQLite is told while some work is done."""
    told: list[str] = []
    (connection,) = getattr(store, "_plain", store)._connections._idle
    connection.set_trace_callback(told.append)
    work()
    connection.set_trace_callback(None)
    return told


# --- one statement, one transaction ----------------------------------------------------------


def test_a_thread_is_read_by_one_statement(engine: Engine, path: Path) -> None:
    thread = thread_of([str(number) for number in range(1_000)])
    store = engine.package.SQLiteStore(path)
    engine.run(store.save, thread)
    read: list[list[ChatMessage]] = []
    told = statements_of(store, lambda: read.append(engine.run(store.path, "m999")))
    assert len(told) == 1
    assert read == [thread[::-1]]
    engine.run(store.close)


def test_ten_thousand_messages_are_one_thread(store: SQLiteStore) -> None:
    thread = thread_of([str(number) for number in range(10_000)])
    store.save(thread[5_000:])
    store.save(thread[:5_000])
    read: list[list[ChatMessage]] = []
    assert len(statements_of(store, lambda: read.append(store.path("m9999")))) == 1
    assert read == [thread[::-1]]


def test_every_question_has_an_index(store: SQLiteStore) -> None:
    """However many messages there are: no statement goes through all of them."""
    given: dict[str, tuple[object, ...]] = {
        sqlite._GET: ("a",),
        sqlite._PATH: ("a", -1),
        sqlite._REPLIES: ("a",),
        sqlite._ALL: (0,),
        sqlite._search_statement(search_words("世界"), "c")[0]: ("%x%", "c", 20),
        sqlite_conversations.LIST: (20,),
        **dict.fromkeys(sqlite_conversations.FIND, ("c",)),
        sqlite_conversations.MESSAGES: ("c",),
    }
    (connection,) = store._connections._idle
    for statement, values in given.items():
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
        steps = [row[3].decode() for row in plan]
        assert [step for step in steps if step.startswith("SCAN messages")] == [], steps
        assert any(step.startswith("SEARCH messages") for step in steps), steps
        by_use = "SCAN conversations USING INDEX conversations_by_use"
        scans = [step for step in steps if step.startswith("SCAN conversations")]
        # The list is read in its order, so that it can end early.
        assert scans == ([by_use] if statement == sqlite_conversations.LIST else []), steps


def test_an_exchange_is_one_transaction(store: SQLiteStore) -> None:
    told = statements_of(store, lambda: store.save(thread_of(["q", "a"])))
    kinds = [statement.split()[0] for statement in told if not statement.startswith("--")]
    assert [kind for kind in kinds if kind in {"BEGIN", "COMMIT"}] == ["BEGIN", "COMMIT"]
    assert (kinds[0], kinds[-1]) == ("BEGIN", "COMMIT")


def test_the_file_is_written_ahead_and_flushed(store: SQLiteStore, path: Path) -> None:
    (connection,) = store._connections._idle
    assert connection.execute("PRAGMA journal_mode").fetchone() == (b"wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_readers_do_not_wait_for_a_writer(path: Path) -> None:
    store = SQLiteStore(path, timeout=0)
    store.save(thread_of(["a"]))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert texts(store.path("m0")) == ["a"]
        with pytest.raises(StoreError, match="was locked by another process for 0 seconds"):
            store.save(thread_of(["b"]))
        other.execute("ROLLBACK")
    store.save([ChatMessage(id="c", text="c")])
    store.close()


def test_a_writer_waits_for_another_process(store: SQLiteStore, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.2, lambda: other.execute("ROLLBACK")).start()
        store.save(thread_of(["a"]))
    assert texts(store.path("m0")) == ["a"]


# --- the life of a file ----------------------------------------------------------------------


def test_a_conversation_goes_on_in_another_process(
    engine: Engine, chatgpt_server: ChatGPTServer, path: Path
) -> None:
    chatgpt_server.replies = ["one", "two"]
    options = {"api_key": chatgpt_server.api_key, "api_base_url": chatgpt_server.base_url}
    first = engine.client(message_store=engine.package.SQLiteStore(path), **options)
    reply = first.send_message("first")
    second = engine.client(message_store=engine.package.SQLiteStore(path), **options)
    again = second.send_message("second", parent_message_id=reply.id)
    assert texts(list(second.thread(again.id))) == ["first", "one", "second", "two"]
    assert [m["content"] for m in chatgpt_server.requests[1].messages[1:]] == [
        "first", "one", "second",
    ]  # fmt: skip
    assert texts(list(second.branches(reply.id))) == ["second"]


def test_everything_is_there_after_closing(path: Path) -> None:
    with SQLiteStore(path) as store:
        store.save(thread_of(["a", "b"]))
    assert sorted(each.name for each in path.parent.iterdir()) == ["conversations.db"]
    store.save([ChatMessage(id="c", text="c", parent_message_id="m1")])  # it opens again
    store.close()
    with SQLiteStore(str(path)) as again:
        assert texts(again.path("c")) == ["c", "b", "a"]
        assert again.file == path
    assert repr(again) == f"<SQLiteStore '{path}'>"


def test_a_pickle_holds_the_path(path: Path) -> None:
    store = SQLiteStore(path, timeout=7)
    store.save(thread_of(["secret words"]))
    pickled = pickle.dumps(store)
    assert b"secret words" not in pickled
    again: SQLiteStore = pickle.loads(pickled)
    assert texts(again.path("m0")) == ["secret words"]
    assert again._connections.timeout == 7


def test_many_open_a_new_file_at_once(path: Path) -> None:
    barrier = threading.Barrier(12)

    def work(number: int) -> None:
        barrier.wait()
        with SQLiteStore(path) as store:
            store.save([ChatMessage(id=str(number), text="")])

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))
    with SQLiteStore(path) as store:
        assert len(list(store.all_messages())) == 12


def test_a_file_that_another_process_makes_while_it_is_looked_at(path: Path) -> None:
    """Its mark and its tables are looked at as of one moment."""

    def meanwhile(statement: str) -> None:
        if "sqlite_master" in statement:
            with suppress(StoreError):
                SQLiteStore(path, timeout=0).close()

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.set_trace_callback(meanwhile)
        sqlite_schema.bring_up_to_date(connection, str(path))
    with SQLiteStore(path) as store:
        store.save(thread_of(["a"]))


def test_a_store_that_is_closed_while_it_is_used(path: Path) -> None:
    """A running call ends as it would, and its connection is closed then."""
    store = SQLiteStore(path)
    store.save(thread_of(["a"]))
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> int:
        begun.set()
        assert go_on.wait(10)
        found: tuple[int] = connection.execute("SELECT count(*) FROM messages").fetchone()
        return found[0]

    with ThreadPoolExecutor(1) as pool:
        counting = pool.submit(store._connections.use, slow)
        assert begun.wait(10)
        store.close()
        assert store._connections._idle == []
        go_on.set()
        assert counting.result() == 1
    assert store._connections._idle == []
    assert sorted(each.name for each in path.parent.iterdir()) == ["conversations.db"]


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_that_was_deleted_or_replaced(path: Path, is_replaced: bool) -> None:
    """What SQLite writes into a file that has no name any more is lost."""
    store = SQLiteStore(path)
    store.save(thread_of(["old"]))
    for each in list(path.parent.iterdir()):
        each.rename(path.parent / f"old-{each.name}")
    if is_replaced:
        with SQLiteStore(path) as other:
            other.save(thread_of(["new"]))
    words = "was deleted or replaced while it was open. Close the store"
    with pytest.raises(StoreError, match=words):
        store.save(thread_of(["b"]))
    with pytest.raises(StoreError, match=words):
        store.get("m0")
    assert path.exists() == is_replaced
    store.close()
    assert texts(store.path("m0")) == (["new"] if is_replaced else [])
    store.close()


def test_what_is_busy_is_tried_again(store: SQLiteStore) -> None:
    """SQLite does not wait by itself where many open a file at once (SQLITE_PROTOCOL), or recover it."""
    for code in (sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY):
        error = sqlite3.OperationalError("locking protocol")
        error.sqlite_errorcode = code
        failures = [error, error]

        def work(_: sqlite3.Connection) -> str:
            if failures:  # noqa: B023 - called at once
                raise failures.pop()  # noqa: B023
            return "done"

        assert store._connections.use(work) == "done"


# --- files that are no stores ----------------------------------------------------------------


def test_a_newer_schema(store: SQLiteStore, path: Path) -> None:
    store.save(thread_of(["a"]))
    changed(path, "PRAGMA user_version = 99")
    words = (
        r"conversations.db has been written by a newer version .*schema is 99.*update chatgpt-sdk"
    )
    with pytest.raises(StoreError, match=words):
        SQLiteStore(path)
    with pytest.raises(StoreError, match=words):  # it was brought up while it was open
        store.save([ChatMessage(id="b", text="b")])
    changed(path, f"PRAGMA user_version = {len(sqlite_schema.STEPS)}")
    assert texts(store.path("m0")) == ["a"]
    assert store.get("b") is None


@pytest.mark.parametrize("version", [0, 1])
def test_the_database_of_another_program(path: Path, version: int) -> None:
    changed(path, "CREATE TABLE messages (id)")
    changed(path, f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is a SQLite database of another program"):
        SQLiteStore(path)
    assert path.read_bytes() == before


def test_what_is_no_database(path: Path) -> None:
    path.write_text("Dear diary, " * 500)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="conversations.db is no SQLite database"):
        SQLiteStore(path)
    assert path.read_bytes() == before


def test_a_damaged_file(path: Path) -> None:
    with SQLiteStore(path) as store:
        store.save(thread_of(["text " * 200] * 200))
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 16384) + whole[-8192:])
    with pytest.raises(StoreError, match="is damaged .*recover"), SQLiteStore(path) as store:
        store.path("m199")
        list(store.all_messages())


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"SQLite cannot use .*: unable to open database file"):
        SQLiteStore(tmp_path)
    with pytest.raises(StoreError, match=r"There is no folder '.*nowhere' for s.db"):
        SQLiteStore(tmp_path / "nowhere" / "s.db")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(path: Path) -> None:
    """What cannot be written is not lost in silence, and what was there stays."""
    program = f"""
        import resource, signal
        from chatgpt import ChatMessage, SQLiteStore, StoreError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = SQLiteStore({str(path)!r})
        store.save([ChatMessage(id="before", text="kept")])
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            store.save([ChatMessage(id="large", text="x" * 1_000_000)])
        except StoreError as error:
            print(error)
        print(store.get("before").text, store.get("large"))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    error, rest = result.stdout.splitlines()
    assert error.startswith(f"SQLite cannot use {path}: ")
    assert rest == "kept None"
    with SQLiteStore(path) as store:
        store.save([ChatMessage(id="after", text="a")])
        assert texts(list(store.all_messages())) == ["kept", "a"]


def test_arguments(tmp_path: Path) -> None:
    bad: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (TypeError, "path must be a str or a Path, not int", lambda: SQLiteStore(5)),  # type: ignore[arg-type] # the mistake
        (ValueError, "':memory:'; for messages in", lambda: SQLiteStore(":memory:")),
        (ValueError, "path must be that of a file", lambda: SQLiteStore("a\0b")),
        (ValueError, "There is no home folder for", lambda: SQLiteStore("~nobody-x/s.db")),
        (ValueError, "path must be that of a file, not ''", lambda: SQLiteStore("")),
        (TypeError, "timeout must be a number", lambda: SQLiteStore(tmp_path / "s", timeout="1")),  # type: ignore[arg-type] # the mistake
        (ValueError, "at least 0 seconds", lambda: SQLiteStore(tmp_path / "s", timeout=-1)),
        (ValueError, "at least 0 seconds", lambda: SQLiteStore(tmp_path / "s", timeout=float("nan"))),
    ]  # fmt: skip
    for kind, words, call in bad:
        with pytest.raises(kind, match=words):
            call()
    assert list(tmp_path.iterdir()) == []


def test_messages_that_cannot_be_stored(store: SQLiteStore) -> None:
    good = ChatMessage(id="good", text="")
    for kind, message in (
        (ValueError, ChatMessage(id="\ud800", text="")),
        (ValueError, ChatMessage(id="", text="")),
        (TypeError, ChatMessage(id="a", text="", detail={"x": object()})),
        (TypeError, {"id": "a"}),
    ):
        with pytest.raises(kind):
            store.save([good, message])  # type: ignore[list-item] # one of them is none
    assert list(store.all_messages()) == []


def test_ids_that_are_no_valid_unicode_find_nothing(store: SQLiteStore) -> None:
    replaced = ChatMessage(id="\ufffd", text="r", conversation_id="\ufffd")
    lost = ChatMessage(id="lost", text="l", parent_message_id="\ud800", conversation_id="\ud800")
    store.save([replaced, lost])
    assert store.get("\ud800") is None
    assert store.path("\ud800") == []
    assert store.path("lost") == [lost]
    assert store.replies("\ufffd") == []
    assert store.search("r", conversation_id="\ufffd") == [replaced]


def test_a_thread_waits_no_longer_than_it_should(path: Path) -> None:
    store = SQLiteStore(path, timeout=0.05)
    with (
        store._connections._writing,
        pytest.raises(StoreError, match="was being written for 0.05 seconds"),
    ):
        store.save(thread_of(["a"]))
    store.save(thread_of(["a"]))
    store.close()


def test_a_damaged_schema_speaks_no_utf_8(path: Path) -> None:
    """SQLite puts what it finds into its words; Python cannot read these."""
    with SQLiteStore(path) as store:
        store.save(thread_of(["a"]))
    whole = bytearray(path.read_bytes())
    begin = whole.index(b"CREATE TABLE messages")
    whole[begin : begin + 21] = b"CREATE \xff\xfe\xff messages"[:21].ljust(21, b"\xff")
    path.write_bytes(whole)
    with pytest.raises(StoreError, match="is damaged|SQLite cannot use"):
        SQLiteStore(path)


def test_more_threads_than_connections(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_connections, "MOST_CONNECTIONS", 2)
    most: list[int] = []

    def work(_: object) -> None:
        most.append(len(store._connections._running))
        time.sleep(0.001)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store._connections.use(work), range(40)))
    assert max(most) == 2
    assert len(store._connections._idle) <= 2


def test_limits_that_are_very_large(store: SQLiteStore) -> None:
    store.save(thread_of(["a", "b"]))
    assert len(store.path("m1", 2**70)) == 2
    assert len(store.search("a", limit=2**70)) == 1


# --- schemas ---------------------------------------------------------------------------------


def test_a_file_of_an_older_version_is_brought_up_to_date(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SQLiteStore(path) as old:
        old.save(thread_of(["a", "b"]))
    step = (
        "ALTER TABLE messages ADD COLUMN is_pinned INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX messages_pinned ON messages (is_pinned)",
    )
    steps = (*sqlite_schema.STEPS, step)
    monkeypatch.setattr(sqlite_schema, "STEPS", steps)
    barrier = threading.Barrier(6)

    def work(_: int) -> list[str]:
        barrier.wait()
        with SQLiteStore(path) as new:
            return texts(new.path("m1"))

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [["b", "a"]] * 6
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(steps),)
        assert connection.execute("SELECT sum(is_pinned) FROM messages").fetchone() == (0,)


def test_a_step_that_fails_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SQLiteStore(path) as old:
        old.save(thread_of(["a"]))
    step = ("ALTER TABLE messages ADD COLUMN is_pinned INTEGER", "CREATE NONSENSE")
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_schema, "STEPS", (*sqlite_schema.STEPS, step))
        with pytest.raises(StoreError, match="NONSENSE"):
            SQLiteStore(path)
    with SQLiteStore(path) as again:
        assert texts(again.path("m0")) == ["a"]
    with closing(sqlite3.connect(path)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info (messages)")]
    assert "is_pinned" not in columns


def test_a_machine_without_full_text_search(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = ("CREATE VIRTUAL TABLE x USING no_fts5_here (text)",)
    monkeypatch.setattr(sqlite_schema, "STEPS", (step,))
    with pytest.raises(StoreError, match=r"has no full-text search \(FTS5\) on this machine"):
        SQLiteStore(path)


# --- messages that cannot be read ------------------------------------------------------------

DAMAGES = [
    ("record = ?", b"{"),
    ("record = ?", b"\xff\xfe"),
    ("record = ?", b"[]"),
    ("record = ?", b'{"role":"god"}'),
    ("record = ?", 5),
    ("record = ?", "[" * 100_000),
    ("text = CAST(? AS TEXT)", b"\xff\xfe"),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: str(damage)[:40])
def test_one_bad_message_does_not_poison_its_thread(
    store: SQLiteStore, path: Path, damage: tuple[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    assignment, value = damage
    store.save(thread_of(["a", "b", "c", "d"]))
    changed(path, "DROP TRIGGER message_changed")
    changed(path, f"UPDATE messages SET {assignment} WHERE id = 'm1'", value)
    with caplog.at_level(logging.WARNING, "chatgpt"):
        assert texts(store.path("m3")) == ["d", "c", "a"]
    assert "The message 'm1' cannot be read, and is passed over" in caplog.text
    assert texts(store.path("m3", 2)) == ["d", "c"]
    assert texts(store.path("m3", 3)) == ["d", "c", "a"]
    assert texts(store.path("m1")) == ["a"]
    assert store.get("m1") is None
    assert texts(store.replies("m0")) == []
    assert texts(list(store.all_messages())) == ["a", "c", "d"]
    (unreadable,) = store.unreadable_messages()
    assert unreadable.id == "m1"
    assert unreadable.reason
    if isinstance(value, bytes) and assignment == "record = ?":
        assert unreadable.record == value
    store.save(thread_of(["a", "b"]))  # whoever has it can put it back
    assert texts(store.path("m3")) == ["d", "c", "b", "a"]
    assert list(store.unreadable_messages()) == []


def test_a_conversation_goes_on_past_a_bad_message(
    engine: Engine, chatgpt_server: ChatGPTServer, path: Path
) -> None:
    client: ChatGPTAPI = engine.client(
        api_key=chatgpt_server.api_key,
        api_base_url=chatgpt_server.base_url,
        message_store=engine.package.SQLiteStore(path),
        system_message="",
    )
    first = client.send_message("one")
    second = client.send_message("two", parent_message_id=first.id)
    changed(path, "UPDATE messages SET record = x'00' WHERE id = ?", first.id)
    third = client.send_message("three", parent_message_id=second.id)
    assert [m["content"] for m in chatgpt_server.requests[-1].messages] == [
        "one", "two", second.text, "three",
    ]  # fmt: skip
    assert third.context is not None
    assert third.context.unreadable_message_ids == (first.id,)
    assert third.context.missing_message_id is None
    changed(path, "UPDATE messages SET record = x'00' WHERE id = ?", third.id)
    after = client.send_message("four", parent_message_id=third.id)
    assert after.context is not None
    assert after.context.unreadable_message_ids == (third.id, first.id)
    with pytest.raises(MessageNotFoundError, match="holds .* and cannot read it"):
        client.conversation(parent_message_id=third.id).regenerate()


# --- the async twin ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_the_async_twin_searches_and_lists(
    engines: dict[str, Engine], name: str, path: Path
) -> None:
    engine = engines[name]
    store = engine.package.SQLiteStore(path)
    thread = thread_of([f"word{number}" for number in range(1_200)])
    engine.run(store.save, thread)
    changed(path, "UPDATE messages SET record = x'00' WHERE id = 'm5'")

    async def listed() -> tuple[list[str], list[str], list[ChatMessage]]:
        async with store:
            return (
                [message.id async for message in store.all_messages()],
                [unreadable.id async for unreadable in store.unreadable_messages()],
                await store.search("word1199"),
            )

    ids, unreadable, found = engine.run(listed)
    assert ids == [message.id for message in thread if message.id != "m5"]
    assert unreadable == ["m5"]
    assert found == [thread[-1]]
    again = pickle.loads(pickle.dumps(store))
    assert repr(again) == repr(store) == f"<SQLiteStore '{path}'>"
    assert again.file == path
    engine.run(again.aclose)
