"""Stores and forks: SQLite remembers the locks of a process where a child inherits them."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from chatgpt import ChatMessage, MemoryStore, SQLiteStore
from chatgpt.stores import forks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def message(message_id: str, parent_id: str | None = None) -> ChatMessage:
    return ChatMessage(id=message_id, text="", parent_message_id=parent_id)


def forked(work: Callable[[], object]) -> Any:
    """Do some work in a child, and return what it returned."""
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()

    def child() -> None:
        told.put(work())

    process = context.Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    return told.get()


def ids_in(path: Path) -> set[str]:
    with SQLiteStore(path) as store:
        return {each.id for each in store.all_messages()}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(tmp_path / "s.db") as opened:
        yield opened


def test_no_connection_is_inherited(store: SQLiteStore) -> None:
    store.save([message("root")])
    assert len(store._connections._idle) == 1
    assert forked(lambda: (len(store._connections._idle), store.get("root") is not None)) == (
        0,
        True,
    )
    store.save([message("after", "root")])
    assert len(store.path("after")) == 2


def test_a_parent_that_closes_while_the_child_writes_loses_nothing(store: SQLiteStore) -> None:
    """The last connection that is closed removes the log of changes: it must know of the child's."""
    context = multiprocessing.get_context("fork")
    begun, closed = context.Event(), context.Event()
    store.save([message("root")])

    def child() -> None:
        store.save([message("c0", "root")])
        begun.set()
        assert closed.wait(10)
        for number in range(1, 6):
            store.save([message(f"c{number}", f"c{number - 1}")])

    process = context.Process(target=child)
    process.start()
    assert begun.wait(10)
    store.close()
    closed.set()
    process.join(10)
    assert process.exitcode == 0
    assert ids_in(store.file) == {"root", *(f"c{number}" for number in range(6))}


BUSY = """
import multiprocessing, sys, threading, time
from functools import partial
from chatgpt import ChatMessage, MemoryStore, SQLiteStore

sys.setswitchinterval(1e-6)
context = multiprocessing.get_context("fork")
is_over = threading.Event()

def message(message_id, parent_id=None):
    return ChatMessage(id=message_id, text="", parent_message_id=parent_id)

def forked(work):
    told = context.SimpleQueue()
    process = context.Process(target=lambda: told.put(work()))
    process.start()
    process.join(30)
    assert process.exitcode == 0, process.exitcode
    return told.get()
"""


def run(program: str, *given: str) -> None:
    """Run a program in a process of its own, in which no other thread holds anything at a fork."""
    arguments = [sys.executable, "-c", BUSY + textwrap.dedent(program), *given]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


def test_a_fork_while_another_thread_saves(tmp_path: Path) -> None:
    run(
        """
        store, saved = SQLiteStore(sys.argv[1]), []

        def save():
            while not is_over.is_set():
                own = f"p{len(saved)}"
                store.save([message(own)])
                saved.append(own)

        thread = threading.Thread(target=save)
        thread.start()
        try:
            for number in range(10):
                forked(partial(store.save, [message(f"c{number}")]))
        finally:
            is_over.set()
            thread.join()
        store.close()
        held = {each.id for each in SQLiteStore(sys.argv[1]).all_messages()}
        assert held == {*saved, *(f"c{number}" for number in range(10))}
        """,
        str(tmp_path / "s.db"),
    )


def test_a_fork_waits_for_a_call_of_another_thread_and_not_for_ever(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatgpt.stores.sqlite_connections.PATIENCE", 0.2)
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: object) -> None:
        begun.set()
        assert go_on.wait(10)

    thread = threading.Thread(target=lambda: store._connections.use(slow))
    thread.start()
    assert begun.wait(10)
    begin = time.monotonic()
    assert forked(lambda: len(store._connections._idle)) == 0
    assert time.monotonic() - begin >= 0.2
    go_on.set()
    thread.join()
    store.save([message("a")])


def test_a_fork_of_the_thread_that_is_in_a_call(store: SQLiteStore) -> None:
    """A signal may interrupt a call, and its handler may fork: nobody can wait for that call."""
    results: list[Any] = []
    store._connections.use(lambda _: results.append(forked(lambda: len(store._connections._idle))))
    assert results == [0]
    store.save([message("a")])


def test_memory_is_whole_in_a_child() -> None:
    run(
        """
        store = MemoryStore(50)
        store.save([message(f"x{number}") for number in range(50)])

        def save():
            number = 0
            while not is_over.is_set():
                store.save([message(f"q{number}"), message(f"a{number}", f"q{number}")])
                number += 1
                time.sleep(0.00001)  # locks are not fair, and a fork waits only so long

        def look():
            held = [each.id for each in store.all_messages()]
            store.save([message("mine")])
            return len(held), [each for each in held if each[0] == "q" and f"a{each[1:]}" not in held]

        thread = threading.Thread(target=save)
        thread.start()
        try:
            for _ in range(30):
                assert forked(look) == (50, [])
        finally:
            is_over.set()
            thread.join()
        """
    )


def test_memory_is_used_after_a_fork_in_the_middle_of_a_call() -> None:
    """A signal may interrupt a call, and its handler may fork."""
    store = MemoryStore()
    with store._lock:
        assert forked(lambda: store.save([message("a")])) is None
    with ThreadPoolExecutor(1) as pool:
        pool.submit(store.save, [message("b")]).result(5)
    assert len(store) == 1


def test_a_store_that_is_gone_is_forgotten() -> None:
    store = MemoryStore()
    key = id(store)
    assert key in forks._known
    del store
    assert key not in forks._known
