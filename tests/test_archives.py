"""Stores as files, and back, on all engines and with every kind of store."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from attrs import evolve

import chatgpt_async
from chatgpt import (
    ChatMessage,
    ConfigurationError,
    MemoryStore,
    MessageNotFoundError,
    MessageStore,
    SQLiteStore,
    StoreError,
    export_messages,
    import_messages,
)
from chatgpt.stores.asking import BATCH
from chatgpt.testing.store_contract import _whole_message
from tests.engines import Engine
from tests.redis_server import RedisServer
from tests.stepping import thread_of

OPENERS = ("memory", "sqlite", "redis")


@pytest.fixture
def new_store(
    engine: Engine, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], Any]]:
    numbers = count()
    opened: list[Any] = []

    def make(kind: str) -> Any:
        package = engine.package
        if kind == "memory":
            return package.MemoryStore()
        if kind == "sqlite":
            store = package.SQLiteStore(tmp_path / f"{next(numbers)}.db")
        else:
            server: RedisServer = request.getfixturevalue("redis_server")
            store = package.RedisStore(server.url, key_prefix=str(uuid4()))
        opened.append(store)
        return store

    yield make
    for store in opened:
        engine.run(store.close)


def messages() -> list[ChatMessage]:
    """More than a batch, of several conversations, with everything that a message may hold."""
    odd = ChatMessage(id="odd", text="\ud800 \0 \u2028 é", detail={"\udc00": [1, 2.5, None]})
    long = [
        evolve(message, conversation_id=f"c{number % 3}")
        for number, message in enumerate(thread_of([f"text {n}" for n in range(BATCH + 20)]))
    ]
    return [*long[:5], _whole_message(), odd, *long[5:]]


@pytest.mark.parametrize("first", OPENERS)
@pytest.mark.parametrize("second", OPENERS)
def test_export_import_export_is_the_same_file(
    engine: Engine, new_store: Callable[[str], Any], tmp_path: Path, first: str, second: str
) -> None:
    one, two = new_store(first), new_store(second)
    held = messages()
    for begin in range(0, len(held), 50):
        engine.run(one.save, held[begin : begin + 50])
    engine.run(one.path, held[100].id)  # what was read last matters nothing
    before, after = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    export, read = engine.package.export_messages, engine.package.import_messages
    assert engine.run(export, one, before) == len(held)
    report = engine.run(read, before, two)
    assert (report.message_count, report.problems) == (len(held), ())
    assert engine.run(export, two, after) == len(held)
    assert after.read_bytes() == before.read_bytes()
    assert [json.loads(line)["id"] for line in before.read_bytes().splitlines()] == [
        message.id for message in held
    ]
    again = engine.run(read, before, two)
    assert again.message_count == len(held)
    engine.run(export, two, after)
    assert after.read_bytes() == before.read_bytes()


@pytest.mark.parametrize("suffix", ["md", "html"])
def test_documents(
    engine: Engine, new_store: Callable[[str], Any], tmp_path: Path, suffix: str
) -> None:
    store = new_store("sqlite")
    one, two, three, four = thread_of(["a one", "a two", "b one", "b two"])
    conversations = [
        evolve(one, conversation_id="a"),
        evolve(three, conversation_id="b", parent_message_id=None),
        evolve(two, conversation_id="a"),
        evolve(four, conversation_id="b", is_hidden=True),
    ]
    engine.run(store.save, conversations)
    path = tmp_path / f"all.{suffix}"
    assert engine.run(engine.package.export_messages, store, path) == 3
    text = path.read_text()
    places = [text.index(part) for part in ("a one", "a two", "b one")]
    assert places == sorted(places)
    assert "b two" not in text


def test_a_thread_or_a_conversation(tmp_path: Path) -> None:
    store = MemoryStore()
    thread = [evolve(message, conversation_id="a") for message in thread_of(["1", "2", "3"])]
    branch = ChatMessage(id="branch", text="2b", parent_message_id="m0", conversation_id="a")
    other = ChatMessage(id="other", text="x", conversation_id="b")
    store.save([*thread, branch, other])
    path = tmp_path / "t.jsonl"

    def exported(**which: str) -> list[str]:
        export_messages(store, path, **which)  # type: ignore[arg-type] # each fits
        return [json.loads(line)["text"] for line in path.read_text().splitlines()]

    assert exported(message_id="m2") == ["1", "2", "3"]
    assert exported(message_id="branch") == ["1", "2b"]
    assert exported(conversation_id="a") == ["1", "2", "3", "2b"]
    assert exported() == ["1", "2", "3", "2b", "x"]
    with pytest.raises(MessageNotFoundError, match="'nowhere' is not in the message store"):
        exported(message_id="nowhere")
    with pytest.raises(MessageNotFoundError, match="conversation 'nowhere' has no message in the"):
        exported(conversation_id="nowhere")
    assert len(path.read_text().splitlines()) == 5
    with pytest.raises(ConfigurationError, match="message_id or conversation_id, not both"):
        exported(message_id="m2", conversation_id="a")


def test_a_store_that_cannot_list_its_messages(tmp_path: Path) -> None:
    class Minimal(MessageStore):
        def get(self, message_id: str) -> ChatMessage | None:
            return ChatMessage(id="a", text="t") if message_id == "a" else None

        def save(self, messages: object) -> None: ...

    assert export_messages(Minimal(), tmp_path / "t.md", message_id="a") == 1
    with pytest.raises(ConfigurationError, match="Minimal cannot list its messages: give it a me"):
        export_messages(Minimal(), tmp_path / "all.md")
    assert [path.name for path in tmp_path.iterdir()] == ["t.md"]


# --- files -----------------------------------------------------------------------------------


def test_open_files(tmp_path: Path) -> None:
    store = MemoryStore()
    store.save(thread_of(["a", "b"]))
    file = io.BytesIO()
    export_messages(store, file, format="jsonl")
    file.seek(0)
    copy = MemoryStore()
    assert import_messages(file, copy).message_count == 2
    assert copy.get("m1") == store.get("m1")


@pytest.mark.parametrize(
    ("name", "beginning"),
    [("a.jsonl", "{"), ("a.NDJSON", "{"), ("a.md", "# "), ("a.markdown", "# "), ("a.html", "<!"), ("a.HTM", "<!")],
)  # fmt: skip
def test_formats_by_name(tmp_path: Path, name: str, beginning: str) -> None:
    store = MemoryStore()
    store.save(thread_of(["a"]))
    export_messages(store, str(tmp_path / name))
    assert (tmp_path / name).read_text().startswith(beginning)
    export_messages(store, tmp_path / name, format="html")
    assert (tmp_path / name).read_text().startswith("<!")


def test_formats_that_are_none(tmp_path: Path) -> None:
    for destination, given in ((tmp_path / "x.pdf", None), (tmp_path / "x.md", "pdf"), (io.BytesIO(), None)):  # fmt: skip
        with pytest.raises(
            ValueError, match="Give format='jsonl', 'markdown' or 'html', or a path"
        ):
            export_messages(MemoryStore(), destination, format=given)  # type: ignore[arg-type] # the mistake
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_complete_or_not_there(tmp_path: Path) -> None:
    class Failing(MemoryStore):
        def all_messages(self) -> Iterator[ChatMessage]:
            yield ChatMessage(id="a", text="new")
            raise StoreError("The disk is gone.")

    path = tmp_path / "x.jsonl"
    with pytest.raises(StoreError):
        export_messages(Failing(), path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("old")
    with pytest.raises(StoreError):
        export_messages(Failing(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_of_a_link_is_written(tmp_path: Path) -> None:
    store = MemoryStore()
    store.save(thread_of(["a"]))
    target, link = tmp_path / "real.jsonl", tmp_path / "link.jsonl"
    target.write_text("old")
    link.symlink_to(target)
    export_messages(store, link)
    assert link.is_symlink()
    assert json.loads(target.read_text())["text"] == "a"


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    store = MemoryStore()
    store.save(thread_of(["a"]))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    export_messages(store, pipe, format="jsonl")
    assert json.loads(os.read(reader, 10_000))["text"] == "a"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


# --- what cannot be imported -----------------------------------------------------------------


def test_what_cannot_be_read_is_reported_with_its_line(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "s.db")
    store.save([ChatMessage(id="taken", text="mine", conversation_id="mine")])
    path = tmp_path / "x.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"id":"a","text":"SECRET"}\r\n'
        b"\n"
        b'{"id":"b","text":"SECRET"\n'
        b'{"id":"taken","text":"SECRET","conversation_id":"theirs"}\n'
        b'["SECRET"]\n'
        b'{"id":"c","text":"t","created_at":"SECRET"}\n'
        b"\xff\xfe\n"
        b'{"id":"a","text":"another one","conversation_id":"theirs"}\n'
        b'{"id":"d","text":"the last has no end of line"}'
    )
    report = import_messages(str(path), store)
    assert sorted((problem.where, problem.reason) for problem in report.problems) == [
        ("line 3", "this is not JSON: Expecting ',' delimiter at character 25"),
        ("line 4", "another message is stored under its id"),
        ("line 5", "a record is a JSON object, not a list"),
        ("line 6", "its created_at is no time in ISO 8601"),
        ("line 7", "this is not JSON: it is no valid UTF-8"),
        ("line 8", "another message is stored under its id"),
    ]
    assert report.message_count == 2
    assert [message.id for message in store.all_messages()] == ["taken", "a", "d"]
    assert "SECRET" not in repr(report)


def test_a_store_that_fails_is_an_error(tmp_path: Path) -> None:
    class Failing(MemoryStore):
        def save(self, messages: object) -> None:
            raise StoreError("The disk is full.")

    path = tmp_path / "x.jsonl"
    path.write_text('{"id":"a","text":""}')
    with pytest.raises(StoreError, match="The disk is full"):
        import_messages(path, Failing())
    with pytest.raises(FileNotFoundError):
        import_messages(tmp_path / "nowhere.jsonl", MemoryStore())


# --- the async twin --------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_cancelled_export_leaves_no_file(tmp_path: Path, anyio_backend: str) -> None:
    closed = False

    class Slow(chatgpt_async.MemoryStore):
        async def all_messages(self) -> Any:
            nonlocal closed
            try:
                for message in thread_of(["x"] * 5_000):
                    await anyio.sleep(0.001)
                    yield message
            finally:
                closed = True

    with anyio.move_on_after(0.2) as scope:
        await chatgpt_async.export_messages(Slow(), tmp_path / "x.jsonl")
    assert scope.cancelled_caught
    assert closed
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a path would be one that blocks


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_plain_stores_may_be_given_too(tmp_path: Path, anyio_backend: str) -> None:
    store = MemoryStore()
    store.save(thread_of(["a"]))
    assert await chatgpt_async.export_messages(store, tmp_path / "x.md") == 1
    with pytest.raises(TypeError, match="must be a MessageStore"):
        await chatgpt_async.export_messages({}, tmp_path / "x.md")  # type: ignore[arg-type] # the mistake


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_many_exports_at_once_do_not_wait_for_each_other(
    tmp_path: Path, anyio_backend: str
) -> None:
    """Each waits in a worker thread for a store that works in worker threads, of which there are only so many."""
    store = chatgpt_async.SQLiteStore(tmp_path / "s.db")
    await store.save(thread_of(["a", "b"]))
    anyio.to_thread.current_default_thread_limiter().total_tokens = 2
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(chatgpt_async.export_messages, store, tmp_path / f"{number}.jsonl")
    await store.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_listing_that_is_left_is_closed(
    tmp_path: Path, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = False

    class Listed(chatgpt_async.MemoryStore):
        async def all_messages(self) -> Any:
            nonlocal closed
            try:
                for message in thread_of(["x"] * 2_000):
                    yield message
            finally:
                closed = True

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await chatgpt_async.export_messages(Listed(), Full(), format="jsonl")
    assert closed


# --- stores and files that are none ----------------------------------------------------------


@pytest.mark.parametrize("store", [chatgpt_async.MemoryStore(), MemoryStore, "store", None])
def test_what_is_no_store(store: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"id":"a","text":""}')
    with pytest.raises(TypeError, match="message_store must be a MessageStore"):
        import_messages(path, store)
    with pytest.raises(TypeError, match="message_store must be a MessageStore"):
        export_messages(store, path)
    assert path.read_text() == '{"id":"a","text":""}'


@pytest.mark.parametrize(
    "content", [b"# Title\n\n", b'[{"mapping": {}}]', b"PK\x03\x04" + b"\0" * 99, b"\n\n<!DOCTYPE html>"]
)  # fmt: skip
def test_another_kind_of_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no file of messages in JSON Lines .*import_chatgpt_e"):
        import_messages(path, MemoryStore())
    path.write_bytes(b"\n\n")
    assert import_messages(path, MemoryStore()).message_count == 0


def test_text_files_and_folders_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="destination must be a path, or a binary file: .* 'wb'"):
        export_messages(MemoryStore(), io.StringIO(), format="jsonl")  # type: ignore[arg-type] # the mistake
    with pytest.raises(TypeError, match="source must be a path, or a binary file: .* 'rb'"):
        import_messages(io.StringIO("{}"), MemoryStore())  # type: ignore[arg-type] # the mistake
    with pytest.raises(TypeError, match="source must be a path, or a binary file"):
        import_messages(5, MemoryStore())  # type: ignore[arg-type] # the mistake
    with pytest.raises(FileNotFoundError, match=r"There is no folder '.*nowhere' to write 'x.md'"):
        export_messages(MemoryStore(), tmp_path / "nowhere" / "x.md")


def test_permissions(tmp_path: Path) -> None:
    """Those of a file that is replaced are kept; a new one has those of every new file."""
    store = MemoryStore()
    store.save(thread_of(["a"]))
    new, plain, private = tmp_path / "new.jsonl", tmp_path / "plain", tmp_path / "private.jsonl"
    plain.touch()
    private.touch()
    private.chmod(0o600)
    export_messages(store, new)
    export_messages(store, private)
    assert stat.S_IMODE(new.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_a_message_that_cannot_be_read_is_no_thread(tmp_path: Path) -> None:
    class Damaged(MemoryStore):
        def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
            return super().path(message_id, limit)[1:]

    store = Damaged()
    store.save(thread_of(["a", "b"]))
    with pytest.raises(
        MessageNotFoundError, match="'m1' is not in the message store, or cannot be"
    ):
        export_messages(store, tmp_path / "x.md", message_id="m1")


def test_a_batch_is_saved_in_one_write_but_for_what_is_taken(tmp_path: Path) -> None:
    writes: list[int] = []

    class Counting(MemoryStore):
        def save(self, messages: Any) -> None:
            super().save(messages)
            writes.append(len(messages))

    store = Counting()
    store.save([ChatMessage(id=f"m{n}", text="mine", conversation_id="mine") for n in (3, 7)])
    other = MemoryStore()
    other.save(thread_of(["t"] * (BATCH + 10)))
    path = tmp_path / "x.jsonl"
    export_messages(other, path)
    report = import_messages(path, store)
    assert writes == [2, BATCH - 2, 10]
    assert report.message_count == BATCH + 8
    assert [problem.where for problem in report.problems] == ["line 4", "line 8"]


def test_a_line_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatgpt.archives.MAX_LINE_BYTES", 100)
    path = tmp_path / "x.jsonl"
    long = json.dumps({"id": "long", "text": "x" * 1_000})
    path.write_text(f'{{"id":"a","text":""}}\n{long}\n{{"id":"b","text":""}}')
    store = MemoryStore()
    report = import_messages(path, store)
    assert [message.id for message in store.all_messages()] == ["a", "b"]
    assert [(problem.where, problem.reason) for problem in report.problems] == [
        ("line 2", "it has more than 100 bytes")
    ]


# --- cancelling ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "sqlite", "async"])
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03])
def test_an_export_that_is_cancelled_by_asyncio_itself_stops(
    tmp_path: Path, kind: str, delay: float
) -> None:
    """`task.cancel()` and `asyncio.timeout` know nothing of anyio's scopes."""
    stores: dict[str, Callable[[], Any]] = {
        "plain": lambda: MemoryStore(100_000),
        "sqlite": lambda: chatgpt_async.SQLiteStore(tmp_path / "s.db"),
        "async": lambda: chatgpt_async.MemoryStore(100_000),
    }
    store = stores[kind]()
    held = thread_of(["x"] * 50_000)
    folder = tmp_path / "out"
    folder.mkdir()

    async def main() -> None:
        if kind == "plain":
            store.save(held)
        else:
            await store.save(held)
        task = asyncio.create_task(chatgpt_async.export_messages(store, folder / "x.jsonl"))
        await asyncio.sleep(delay)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        before = threading.active_count()
        await asyncio.sleep(0.3)
        assert os.listdir(folder) == []  # noqa: PTH208 - a path would be one that blocks
        assert threading.active_count() <= before
        if kind == "sqlite":
            await store.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("engine_name", ["asyncio", "trio"])
@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1])
def test_an_import_that_is_cancelled_stops(
    tmp_path: Path, engines: dict[str, Engine], engine_name: str, delay: float
) -> None:
    path = tmp_path / "x.jsonl"
    source = MemoryStore(100_000)
    source.save(thread_of(["x"] * 20_000))
    export_messages(source, path)
    saved: list[int] = []

    class Slow(MemoryStore):
        def save(self, messages: Any) -> None:
            time.sleep(0.01)
            saved.append(len(messages))

    async def main() -> bool:
        with anyio.move_on_after(delay) as scope:
            await chatgpt_async.import_messages(path, Slow())
        count = len(saved)
        await anyio.sleep(0.1)
        assert len(saved) - count <= 1  # what a worker thread had begun
        return scope.cancelled_caught

    assert engines[engine_name].run(main)
    assert len(saved) < 40


def exported_conversations(count: int) -> bytes:
    """ChatGPT's own export, of so many conversations."""
    node = {
        "parent": None,
        "message": {"author": {"role": "user"}, "content": {"parts": ["What is a monad?"]}},
    }
    return json.dumps(
        [
            {"conversation_id": f"c{n}", "current_node": f"q{n}", "mapping": {f"q{n}": node}}
            for n in range(count)
        ]
    ).encode()


def test_chatgpt_s_own_export(
    engine: Engine, new_store: Callable[[str], Any], tmp_path: Path
) -> None:
    path = tmp_path / "conversations.json"
    path.write_bytes(exported_conversations(30))
    for kind in OPENERS:
        store = new_store(kind)
        report = engine.run(engine.package.import_chatgpt_export, path, store)
        assert (len(report.conversations), report.problems) == (30, ())
        assert [message.id for message in engine.run(store.path, "q29")] == ["q29", "c29"]


def test_an_import_of_an_export_that_is_cancelled_stops(
    tmp_path: Path, engines: dict[str, Engine]
) -> None:
    path = tmp_path / "conversations.json"
    path.write_bytes(exported_conversations(5_000))
    for name in ("asyncio", "trio"):
        saved: list[int] = []

        class Slow(chatgpt_async.MemoryStore):
            async def save(self, messages: Any) -> None:
                await anyio.sleep(0.001)
                saved.append(len(messages))  # noqa: B023 - called in this round

        async def main() -> bool:
            with anyio.move_on_after(0.2) as scope:
                await chatgpt_async.import_chatgpt_export(path, Slow())
            return scope.cancelled_caught

        assert engines[name].run(main)
        assert 0 < len(saved) < 5_000
