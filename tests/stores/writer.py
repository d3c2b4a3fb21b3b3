"""A process that writes exchanges into a store from four threads, and tells of each that was acknowledged.

    python -m tests.stores.writer sqlite|redis PATH|URL SECONDS

On standard output: a line for each exchange once `save` has returned, `{question id} {answer id}`. It may be killed at
any moment. An error ends it with a traceback.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from chatgpt import ChatMessage, RedisStore, SQLiteStore
from chatgpt.stores import MessageStore

THREADS = 4


def open_store(kind: str, place: str) -> MessageStore:
    return SQLiteStore(place) if kind == "sqlite" else RedisStore(place)


def write(store: MessageStore, end: float) -> None:
    """Go on with a conversation of its own."""
    parent: str | None = None
    conversation_id, turn = str(uuid4()), 0
    while time.monotonic() < end:
        turn += 1
        question = ChatMessage(
            id=str(uuid4()),
            text=f"question {turn}",
            parent_message_id=parent,
            conversation_id=conversation_id,
        )
        answer = ChatMessage(
            id=str(uuid4()),
            text=f"answer {turn} " * 20,
            role="assistant",
            parent_message_id=question.id,
            conversation_id=conversation_id,
        )
        history = [] if parent is None else store.path(parent, 20)
        assert len(history) == min(2 * turn - 2, 20), "the thread has lost messages"
        store.save([question, answer])
        os.write(1, f"{question.id} {answer.id}\n".encode())  # one write: nothing is cut or mixed
        parent = answer.id


def main() -> None:
    kind, place, seconds = sys.argv[1:]
    store = open_store(kind, place)
    end = time.monotonic() + float(seconds)
    with ThreadPoolExecutor(THREADS) as pool:
        for writing in [pool.submit(write, store, end) for _ in range(THREADS)]:
            writing.result()


if __name__ == "__main__":
    main()
