"""A thread of 1,000 messages: read as a whole, against one message after the other.

Medians of interleaved rounds in one run, so that the ratios can be compared. Redis is a server of its own on loopback,
where there is one; over a network, every round trip costs more, and the ratio with it.
"""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chatgpt import ChatMessage, MemoryStore, MessageStore, RedisStore, SQLiteStore, StoreError

ROUNDS = 9
LENGTH = 1_000
SENTENCE = "The quick brown fox jumps over the lazy dog, and message number {} says so too. "


def thread_of(length: int) -> list[ChatMessage]:
    """A thread of so many messages, oldest first."""
    return [
        ChatMessage(
            id=f"m{number}",
            text=SENTENCE.format(number) * 5,
            role="assistant" if number % 2 else "user",
            parent_message_id=f"m{number - 1}" if number else None,
            conversation_id="c",
        )
        for number in range(length)
    ]


@contextmanager
def redis_server(folder: str) -> Iterator[str | None]:
    """The URL of a server of its own, `None` where Redis is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(  # noqa: S603 - what is on this machine's path
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
        stdout=subprocess.DEVNULL,
    )
    url = f"redis://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                RedisStore(url).get("m0")
                break
            except StoreError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def one_by_one(store: MessageStore) -> list[ChatMessage]:
    """What a store does that brings no `path` of its own."""
    return MessageStore.path(store, f"m{LENGTH - 1}")


def as_a_whole(store: MessageStore) -> list[ChatMessage]:
    """What the stores of the package do."""
    return store.path(f"m{LENGTH - 1}")


def timed(work: Callable[[], object]) -> float:
    """Seconds that some work takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    """Measure, and print the times and ratios."""
    thread = thread_of(LENGTH)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        url = stack.enter_context(redis_server(folder))
        stores: dict[str, MessageStore] = {
            "memory": MemoryStore(),
            "SQLite": stack.enter_context(SQLiteStore(Path(folder) / "s.db")),
        }
        if url is None:
            print("redis-server is not installed: Redis is left out")
        else:
            stores["Redis"] = stack.enter_context(RedisStore(url))
        saving = {}
        for name, store in stores.items():
            exchanges = [thread[begin : begin + 2] for begin in range(0, LENGTH, 2)]
            saving[name] = statistics.median(
                timed(lambda: store.save(exchange))  # noqa: B023 - called at once
                for exchange in exchanges
            )
        ways = {"whole": as_a_whole, "one by one": one_by_one}
        seconds: dict[tuple[str, str], list[float]] = {}
        for _ in range(ROUNDS):
            for name, store in stores.items():
                for way, read in ways.items():
                    spent = timed(lambda: read(store))  # noqa: B023 - called at once
                    seconds.setdefault((name, way), []).append(spent)
        for name in stores:
            whole, single = (statistics.median(seconds[name, way]) * 1e3 for way in ways)
            print(
                f"{name:7} {LENGTH} messages as a whole: {whole:7.2f} ms   one by one: {single:7.2f} ms   "
                f"ratio {single / whole:5.1f}   saving an exchange: {saving[name] * 1e3:5.2f} ms"
            )


if __name__ == "__main__":
    main()
