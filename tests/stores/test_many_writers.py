"""Four processes with four threads each write for 20 seconds, and are killed in the middle: nothing is lost.

SQLite and Redis are written at the same time: it takes half as long, and the machine is busier.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO

import pytest

from tests.redis_server import PROGRAM, RedisServer
from tests.stores.writer import open_store

SECONDS = 20
PROCESSES = 4
KILLED_AFTER = (4.0, 9.0, 13.5)

Writer = tuple["subprocess.Popen[bytes]", IO[bytes]]


def start(kind: str, place: str, end: float) -> Writer:
    """A process that writes, and a file that it tells of what is acknowledged."""
    told = tempfile.TemporaryFile()  # noqa: SIM115 - `check` closes it
    arguments = ["-m", "tests.stores.writer", kind, place, str(max(end - time.monotonic(), 0.1))]
    process = subprocess.Popen([sys.executable, *arguments], stdout=told, stderr=subprocess.PIPE)
    return process, told


def kill(writer: Writer) -> None:
    process, _ = writer
    process.send_signal(signal.SIGKILL)
    process.wait()


def check(kind: str, place: str, writers: Sequence[Writer], killed: Sequence[Writer]) -> int:
    """Every exchange that was acknowledged is there, and none is there by half; how many were acknowledged."""
    for process, _ in writers:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    for process, _ in killed:
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stderr.close()
    store = open_store(kind, place)
    held = {message.id: message for message in store.all_messages()}
    acknowledged = 0
    for _, told in (*writers, *killed):
        told.seek(0)
        for line in told.read().decode().splitlines():
            question, answer = line.split()
            assert held[answer].parent_message_id == question
            assert held[question].text.startswith("question ")
            acknowledged += 1
        told.close()
    answered = {m.parent_message_id for m in held.values() if m.role == "assistant"}
    asked = {m.id for m in held.values() if m.role == "user"}
    assert answered == asked, "an exchange is there by half"
    assert 0 <= len(asked) - acknowledged <= 4 * len(killed), "more was saved than was begun"
    newest = max(held.values(), key=lambda message: len(message.text))
    assert store.path(newest.id)[-1].parent_message_id is None
    return acknowledged


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_nothing_is_lost(tmp_path: Path) -> None:
    places = {"sqlite": str(tmp_path / "s.db")}
    with ExitStack() as stack:
        if PROGRAM is not None:  # the other tests say that they are skipped
            # A server of its own: it holds many messages in the end.
            places["redis"] = stack.enter_context(RedisServer()).url
        write_and_kill(places)


def write_and_kill(places: Mapping[str, str]) -> None:
    begin = time.monotonic()
    end = begin + SECONDS
    writers = {
        kind: [start(kind, place, end) for _ in range(PROCESSES)] for kind, place in places.items()
    }
    killed: dict[str, list[Writer]] = {kind: [] for kind in places}
    for number, moment in enumerate(KILLED_AFTER):
        time.sleep(max(begin + moment - time.monotonic(), 0))
        is_last = number == len(KILLED_AFTER) - 1
        for kind, place in places.items():
            doomed = writers[kind] if is_last else writers[kind][:1]
            for each in doomed:
                kill(each)
            killed[kind] += doomed
            writers[kind] = [
                *writers[kind][len(doomed) :],
                *(start(kind, place, end) for _ in doomed),
            ]
    with closing(sqlite3.connect(places["sqlite"])) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.execute("INSERT INTO messages_text (messages_text) VALUES ('integrity-check')")
    for kind, place in places.items():
        count = check(kind, place, writers[kind], killed[kind])
        print(f"{kind}: {count} exchanges in {SECONDS} s, {len(killed[kind])} processes killed")
        assert count > 100
