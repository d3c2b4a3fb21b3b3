"""What imports and exports tell of their progress: how far they are, to whom, and what becomes of an error.

The reports are compared as they are, on every engine; nothing depends on how long anything takes.
"""

from __future__ import annotations

import io
import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anyio.lowlevel
import pytest
from attrs import astuple, evolve

import chatgpt_async
from chatgpt import (
    ArchiveProgress,
    ChatMessage,
    MemoryStore,
    MessageIdTakenError,
    MessageNotFoundError,
    export_messages,
    import_messages,
)
from chatgpt.stores.asking import BATCH
from tests.engines import Engine
from tests.stepping import thread_of

Told: TypeAlias = list[tuple[int, float | None]]

COUNT = BATCH + 20


def messages(count: int = COUNT) -> list[ChatMessage]:
    """A thread, its messages in three conversations by turns."""
    thread = thread_of([f"text {number}" for number in range(count)])
    return [evolve(message, conversation_id=f"c{n % 3}") for n, message in enumerate(thread)]


def filled(engine: Engine, held: list[ChatMessage]) -> Any:
    store = engine.package.MemoryStore()
    engine.run(store.save, held)
    return store


def told(
    engine: Engine, function: Callable[..., Any], *args: object, **options: object
) -> tuple[Any, Told]:
    """What a function returns, and what it told meanwhile."""
    reports: Told = []

    def note(progress: ArchiveProgress) -> None:
        assert type(progress) is engine.package.ArchiveProgress
        reports.append(astuple(progress))

    return engine.run(partial(function, on_progress=note, **options), *args), reports


# --- how far an export is --------------------------------------------------------------------


def test_a_whole_store_is_written_without_knowing_its_size(engine: Engine) -> None:
    store = filled(engine, messages())
    export = engine.package.export_messages
    count, reports = told(engine, export, store, io.BytesIO(), format="jsonl")
    assert count == COUNT
    assert reports == [(BATCH, None), (COUNT, None), (COUNT, 1.0)]


def test_a_thread_is_known_at_once(engine: Engine) -> None:
    held = messages()
    export, file = engine.package.export_messages, io.BytesIO()
    options: dict[str, Any] = {"message_id": held[-1].id, "format": "jsonl"}
    _, reports = told(engine, export, filled(engine, held), file, **options)
    assert reports == [(BATCH, BATCH / COUNT), (COUNT, 1.0), (COUNT, 1.0)]
    assert [json.loads(line)["text"] for line in file.getvalue().splitlines()] == [
        message.text for message in held
    ]


def test_documents_count_what_they_show_of_what_was_listed(engine: Engine) -> None:
    held = [evolve(m, is_hidden=m.conversation_id == "c1") for m in messages(9)]
    export = engine.package.export_messages
    count, reports = told(engine, export, filled(engine, held), io.BytesIO(), format="markdown")
    assert count == 6
    assert reports == [(3, 3 / 9), (3, 6 / 9), (6, 1.0), (6, 1.0)]


@pytest.mark.parametrize("chosen", ["jsonl", "html"])
def test_an_empty_store(engine: Engine, chosen: str) -> None:
    export = engine.package.export_messages
    count, reports = told(engine, export, filled(engine, []), io.BytesIO(), format=chosen)
    assert (count, reports) == (0, [(0, 1.0)])


# --- one conversation ------------------------------------------------------------------------


class Plain(MemoryStore):
    """A store that reads one conversation by itself; it shall not be asked for everything."""

    def conversation_messages(self, conversation_id: str) -> list[ChatMessage]:
        own = super().all_messages()
        return [message for message in own if message.conversation_id == conversation_id]

    def all_messages(self) -> Iterator[ChatMessage]:
        raise AssertionError("All messages were listed for one conversation.")


class Awaited(chatgpt_async.MemoryStore):
    """The same with async methods."""

    async def conversation_messages(self, conversation_id: str) -> list[ChatMessage]:
        await anyio.lowlevel.checkpoint()
        own = super().all_messages()
        return [message async for message in own if message.conversation_id == conversation_id]

    def all_messages(self) -> Any:
        raise AssertionError("All messages were listed for one conversation.")


@pytest.mark.parametrize("kind", [Plain, Awaited])
def test_a_store_that_knows_conversations_is_asked_for_one_alone(
    engine: Engine, kind: type[Any]
) -> None:
    store = kind()
    if kind is Awaited and engine.name == "sync":
        with pytest.raises(TypeError, match="must be a MessageStore of plain methods"):
            export_messages(store, io.BytesIO(), format="jsonl", conversation_id="a")
        return
    held = [evolve(message, conversation_id="a") for message in messages()]
    other = ChatMessage(id="other", text="x", conversation_id="b")
    if kind is Awaited:
        engine.run(store.save, [other, *held])
    else:
        store.save([other, *held])
    export, file = engine.package.export_messages, io.BytesIO()
    options: dict[str, Any] = {"conversation_id": "a", "format": "jsonl"}
    count, reports = told(engine, export, store, file, **options)
    assert count == COUNT
    assert reports == [(BATCH, BATCH / COUNT), (COUNT, 1.0), (COUNT, 1.0)]
    ids = [json.loads(line)["id"] for line in file.getvalue().splitlines()]
    assert ids == [message.id for message in held]
    with pytest.raises(MessageNotFoundError, match="conversation 'none' has no message in the"):
        told(engine, export, store, file, conversation_id="none", format="jsonl")


def test_a_store_that_does_not_is_gone_through(engine: Engine) -> None:
    unknowing = type("Unknowing", (engine.package.MemoryStore,), {"conversation_messages": None})
    store = unknowing()
    engine.run(store.save, messages(9))
    options: dict[str, Any] = {"conversation_id": "c1", "format": "html"}
    count, reports = told(engine, engine.package.export_messages, store, io.BytesIO(), **options)
    assert (count, reports) == (3, [(3, None), (3, 1.0)])


@pytest.mark.parametrize("chosen", ["jsonl", "markdown"])
def test_a_conversation_of_sqlite(engine: Engine, tmp_path: Path, chosen: str) -> None:
    """Its branches are there, in the order in which they were saved, and nothing of the others."""
    store = engine.package.SQLiteStore(tmp_path / "s.db")
    held = messages(9)
    branch = evolve(held[1], id="branch", text="a branch")
    engine.run(store.save, [*held, branch])
    export, file = engine.package.export_messages, io.BytesIO()
    options: dict[str, Any] = {"conversation_id": "c1", "format": chosen}
    count, reports = told(engine, export, store, file, **options)
    assert (count, reports) == (4, [(4, 1.0), (4, 1.0)])
    engine.run(store.close)
    text = file.getvalue().decode()
    places = [text.index(part) for part in ("text 1", "text 4", "text 7", "a branch")]
    assert places == sorted(places)
    assert "text 0" not in text


# --- how far an import is --------------------------------------------------------------------


def lines(count: int = COUNT) -> list[bytes]:
    return [b'{"id":"m%d","text":"%s"}\n' % (n, b"x" * (n % 7)) for n in range(count)]


def test_lines_are_measured_in_bytes(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    written = lines()
    path.write_bytes(b"".join(written))
    read, store = engine.package.import_messages, engine.package.MemoryStore()
    report, reports = told(engine, read, path, store)
    assert report.message_count == COUNT
    fraction = len(b"".join(written[:BATCH])) / path.stat().st_size
    assert reports == [(BATCH, fraction), (COUNT, 1.0), (COUNT, 1.0)]


def test_what_is_not_imported_is_read_all_the_same(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    written = lines(BATCH + 1)
    path.write_bytes(written[0] + b"{no JSON}\n" * 3 + b"".join(written[1:]))
    read, store = engine.package.import_messages, engine.package.MemoryStore()
    report, reports = told(engine, read, path, store)
    assert len(report.problems) == 3
    fraction = 1 - len(written[-1]) / path.stat().st_size
    assert reports == [(BATCH, pytest.approx(fraction)), (BATCH + 1, 1.0), (BATCH + 1, 1.0)]


def test_open_files_are_measured_from_where_they_stand(engine: Engine) -> None:
    written = lines()
    file = io.BytesIO(b"".join(written))
    file.seek(len(b"".join(written[:10])))
    read, store = engine.package.import_messages, engine.package.MemoryStore()
    _, reports = told(engine, read, file, store)
    fraction = len(b"".join(written[10 : BATCH + 10])) / len(b"".join(written[10:]))
    assert reports == [(BATCH, fraction), (COUNT - 10, 1.0), (COUNT - 10, 1.0)]


def test_a_pipe_tells_no_size(engine: Engine) -> None:
    end, begin = os.pipe()
    with os.fdopen(begin, "wb") as writing:
        writing.write(b"".join(lines(2)))
    with os.fdopen(end, "rb") as reading:
        read, store = engine.package.import_messages, engine.package.MemoryStore()
        _, reports = told(engine, read, reading, store)
    assert reports == [(2, None), (2, 1.0)]


class Endless(io.BytesIO):
    """A file that has no end to go to, as some of /proc."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            raise OSError("Invalid argument")
        return super().seek(offset, whence)


class Growing(io.BytesIO):
    """A file to which another program adds lines while it is read."""

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        if self.tell() == len(self.getvalue()) and len(self.getvalue()) < 100:
            place = self.tell()
            self.write(b'{"id":"late%d","text":""}\n' % place)
            self.seek(place)
        return line


class Bare:
    """A file that can do nothing but give its lines."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def readline(self, size: int) -> bytes:
        return self._file.readline(size)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Endless, [(2, None), (2, 1.0)]),
        (Growing, [(5, 1.0), (5, 1.0)]),
        (Bare, [(2, None), (2, 1.0)]),
    ],
)
def test_odd_files(kind: Callable[[bytes], Any], expected: Told) -> None:
    reports: Told = []
    file = kind(b"".join(lines(2)))
    import_messages(file, MemoryStore(), on_progress=lambda p: reports.append(astuple(p)))
    assert reports == expected


# --- how far the import of an export is ------------------------------------------------------


def conversations(*names: str) -> bytes:
    """Two messages each: the conversation's own beginning, and a question."""
    message = {"author": {"role": "user"}, "content": {"parts": ["x" * 100_000]}}
    return json.dumps(
        [
            {"conversation_id": n, "current_node": f"q{n}", "mapping": {f"q{n}": {"parent": None, "message": message}}}
            for n in names
        ]
    ).encode()  # fmt: skip


def imported(engine: Engine, path: Path) -> Told:
    """What the import of an export told; whatever is told, it rises."""
    store = engine.package.MemoryStore()
    report, reports = told(engine, engine.package.import_chatgpt_export, path, store)
    assert reports[-1][0] == report.message_count
    fractions = [fraction for _, fraction in reports if fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    return reports


def test_an_export_is_measured_in_bytes(engine: Engine, tmp_path: Path) -> None:
    pytest.importorskip("ijson")
    path = tmp_path / "conversations.json"
    path.write_bytes(conversations("a", "b", "c"))
    (one, first), (two, second), (three, third), end = imported(engine, path)
    assert (one, two, three) == (2, 4, 6)
    assert first is not None
    assert second is not None
    assert 1 / 3 <= first < 1 / 2  # some is read ahead
    assert 2 / 3 <= second < 5 / 6
    assert (third, end) == (1.0, (6, 1.0))


@pytest.mark.parametrize("is_zip", [False, True])
def test_the_files_of_an_export_are_one_whole(
    engine: Engine, tmp_path: Path, *, is_zip: bool
) -> None:
    """What is damaged counts as read once the next one is."""
    pytest.importorskip("ijson")
    path = tmp_path / "export"
    files = {
        "conversations-000.json": conversations("a"),
        "conversations-001.json": conversations("b", "d")[: len(conversations("b")) + 50],
        "conversations-002.json": b"no JSON" + b" " * 300_000,
        "conversations-003.json": conversations("c"),
    }
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    (path / "conversations-004.json").symlink_to("nowhere")
    if is_zip:
        with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        path = tmp_path / "export.zip"
    sizes = [*map(len, files.values())]
    total = sum(sizes)
    assert imported(engine, path) == [
        (2, sizes[0] / total),
        (4, (sizes[0] + sizes[1]) / total),
        (6, 1.0),
        (6, 1.0),
    ]


def test_a_zip_that_was_cut_tells_no_size(engine: Engine, tmp_path: Path) -> None:
    pytest.importorskip("ijson")
    path = tmp_path / "export.zip"

    class Unseekable(io.RawIOBase):
        """So that the sizes follow the files."""

        def __init__(self) -> None:
            self.content = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.content += bytes(data)
            return len(data)

    streamed = Unseekable()
    with zipfile.ZipFile(streamed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", conversations("a", "b"))
    path.write_bytes(streamed.content[:-60])
    assert imported(engine, path) == [(2, None), (4, None), (4, 1.0)]


@pytest.mark.parametrize("size", [1, 10_000_000])
def test_a_zip_that_lies_about_a_size(engine: Engine, tmp_path: Path, size: int) -> None:
    pytest.importorskip("ijson")
    path = tmp_path / "export.zip"
    rest = conversations("c")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations-1.json", conversations("a"))
        archive.writestr("conversations-2.json", rest)
    told_size = path.read_bytes().index(b"PK\x01\x02") + 24  # of the first entry of the table
    with path.open("r+b") as file:
        file.seek(told_size)
        file.write(size.to_bytes(4, "little"))
    total = size + len(rest)
    first, second, end = imported(engine, path)
    assert first == (2, min(size, len(conversations("a"))) / total)
    assert (second, end) == ((4, 1.0), (4, 1.0))


def test_a_conversation_that_comes_twice_counts_once(engine: Engine, tmp_path: Path) -> None:
    pytest.importorskip("ijson")
    path = tmp_path / "conversations.json"
    path.write_bytes(conversations("a", "a", "b"))
    assert [count for count, _ in imported(engine, path)] == [2, 2, 4, 4]


# --- who is told -----------------------------------------------------------------------------


@pytest.fixture
def works(engine: Engine, tmp_path: Path) -> list[Callable[..., Any]]:
    """An export and both imports, which take `on_progress`."""
    pytest.importorskip("ijson")
    package = engine.package
    (tmp_path / "lines").write_bytes(b"".join(lines(2)))
    (tmp_path / "export").write_bytes(conversations("a"))
    store = filled(engine, messages(9))
    return [
        partial(package.export_messages, store, tmp_path / "new.jsonl"),
        partial(package.import_messages, tmp_path / "lines", package.MemoryStore()),
        partial(package.import_chatgpt_export, tmp_path / "export", package.MemoryStore()),
    ]


def test_the_caller_s_own_thread_is_told(engine: Engine, works: list[Callable[..., Any]]) -> None:
    """In the async twin, the thread of the event loop."""
    threads: list[int] = []
    own: int = engine.run(_thread_of_loop if engine.name != "sync" else threading.get_ident)
    for work in works:
        engine.run(partial(work, on_progress=lambda _: threads.append(threading.get_ident())))
    assert len(threads) == 6
    assert {*threads} == {own}


async def _thread_of_loop() -> int:
    await anyio.lowlevel.checkpoint()
    return threading.get_ident()


def test_an_async_function_is_awaited_where_it_can_be(
    engine: Engine, works: list[Callable[..., Any]]
) -> None:
    counts: list[int] = []

    async def note(progress: ArchiveProgress) -> None:
        await anyio.lowlevel.checkpoint()
        counts.append(progress.message_count)

    for work in works:
        if engine.name == "sync":
            with pytest.raises(TypeError, match="on_progress must be a plain function, not an asy"):
                work(on_progress=note)
        else:
            engine.run(partial(work, on_progress=note))
    assert counts == ([] if engine.name == "sync" else [9, 9, 2, 2, 2, 2])


def test_what_is_no_function(
    engine: Engine, works: list[Callable[..., Any]], tmp_path: Path
) -> None:
    for work in works:
        with pytest.raises(TypeError, match="on_progress must be a function, not str"):
            engine.run(partial(work, on_progress="nothing"))
    assert not (tmp_path / "new.jsonl").exists()


# --- what a function raises ------------------------------------------------------------------


@pytest.mark.parametrize("error", [LookupError("mine"), MessageIdTakenError.of(["m0"])])
@pytest.mark.parametrize("fails_at", [1, 2])
def test_what_is_raised_ends_the_work(
    engine: Engine, tmp_path: Path, error: Exception, fails_at: int
) -> None:
    """At the end, too: there is no file then, and an older one stays as it was."""
    calls: list[ArchiveProgress] = []

    def fail(progress: ArchiveProgress) -> None:
        calls.append(progress)
        if len(calls) == fails_at:
            raise error

    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old.md").write_text("old")
    store = filled(engine, messages(9))
    for name in ("new.jsonl", "old.md"):
        calls.clear()
        export = partial(engine.package.export_messages, on_progress=fail)
        with pytest.raises(type(error)) as caught:
            engine.run(export, store, folder / name)
        assert caught.value is error
    assert [path.name for path in folder.iterdir()] == ["old.md"]
    assert (folder / "old.md").read_text() == "old"

    path = tmp_path / "x.jsonl"
    path.write_bytes(b"".join(lines()))
    into = engine.package.MemoryStore()
    calls.clear()
    with pytest.raises(type(error)) as caught:
        engine.run(partial(engine.package.import_messages, on_progress=fail), path, into)
    assert caught.value is error
    assert engine.run(into.get, f"m{BATCH - 1}") is not None
    assert (engine.run(into.get, f"m{BATCH}") is None) == (fails_at == 1)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_cancelling_while_somebody_is_told(tmp_path: Path, anyio_backend: str) -> None:
    store = chatgpt_async.MemoryStore()
    await store.save(messages(9))
    with anyio.CancelScope() as scope:

        async def wait(_: ArchiveProgress) -> None:
            scope.cancel()
            await anyio.sleep_forever()

        await chatgpt_async.export_messages(store, tmp_path / "x.jsonl", on_progress=wait)
    assert scope.cancelled_caught
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a path would be one that blocks
