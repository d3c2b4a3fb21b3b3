"""What is counted for `benchmarks.check`: `python -m benchmarks.check_clients NAME ORIGIN WORK ...`.

Strategy: the clients of `peer_clients.py`, ours and the floors, in processes that do as much as they are told. Each is
counted from outside, as a whole, and the difference of two counts is what is wanted. So whatever is the same in both is free,
and is done as well: imports, clients, connections, a long thread, and the least of each kind of work. With several works, a
process makes the clients of all of them, and forks for each but the last, which it does itself: under valgrind, to import
takes longer than to work.

Rules:

1. A work says how much is done, never what: two processes differ in nothing else.
2. What was there before the work is frozen (`gc.freeze`): else a collection of garbage that looks through all of it falls
   into one count and not into the other.
3. What was read is printed, in a line for each work, for whoever compares it. Then the process is over, without tidying up.
4. Nothing is sent, and no thread is started, before the last fork.
5. The floor of a long thread keeps it in a dictionary and sends it with `requests`: it walks from the last message to the
   first, and has no store, no limits and no budget.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple, NoReturn

from benchmarks.peer_clients import CLIENTS, KEY, MODEL, QUESTION, Client, text_of

EVENTS_PER_CHUNK: Final = 64
"""Of HTTP, where there are many."""
LONG: Final = 600
"""Messages of the thread that is there; a shorter one is its beginning."""
SENTENCE: Final = "The quick brown fox jumps over the lazy dog, and message number {} says so too."

NAMES: Final = ("chatgpt", "floor", "chatgpt_async", "floor_async")
"""Those of `peer_clients.CLIENTS` that are compared."""


class Work(NamedTuple):
    """How much is done.

    Attributes:
        one: events of a stream that come one in a chunk of HTTP.
        many: events of a stream that come `EVENTS_PER_CHUNK` in a chunk.
        trips: plain round trips, at least one.
        length: messages in the thread that is replied to, at most `LONG`; only of those in `REPLYING`.
        replies: how often it is replied to.
    """

    one: int
    many: int
    trips: int
    length: int
    replies: int


def replying_chatgpt(url: str) -> Callable[[int], str]:
    """`chatgpt`, with its store in memory: it replies to the last message of a thread of so many."""
    from chatgpt import ChatGPTAPI, ChatMessage, MemoryStore

    store = MemoryStore()
    for number in range(LONG):
        message = ChatMessage(
            id=f"m{number}",
            text=SENTENCE.format(number),
            role="assistant" if number % 2 else "user",
            parent_message_id=f"m{number - 1}" if number else None,
        )
        store.save([message])
    client = ChatGPTAPI(api_key=KEY, api_base_url=url, message_store=store)
    return lambda length: client.send_message(QUESTION, parent_message_id=f"m{length - 1}").text


def replying_floor(url: str) -> Callable[[int], str]:
    """The same with `requests` and a dictionary: the role, the text and the parent of each message."""
    import requests

    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {KEY}"
    url += "/chat/completions"
    kept = {
        f"m{number}": (
            "assistant" if number % 2 else "user",
            SENTENCE.format(number),
            f"m{number - 1}" if number else None,
        )
        for number in range(LONG)
    }

    def reply(length: int) -> str:
        messages = [{"role": "user", "content": QUESTION}]
        above: str | None = f"m{length - 1}"
        while above is not None:
            role, text, above = kept[above]
            messages.append({"role": role, "content": text})
        messages.reverse()
        return text_of(session.post(url, json={"model": MODEL, "messages": messages}).json())

    return reply


REPLYING: Final = {"chatgpt": replying_chatgpt, "floor": replying_floor}
"""Those that are asked in a long thread."""


def main(name: str, origin: str, works: list[Work]) -> None:
    """Do some works, each in a process of its own, the last one in this.

    Args:
        name: of `NAMES`.
        origin: of the fast server.
        works: what is done.
    """

    @cache
    def made(events: int, events_per_chunk: int) -> Client:
        return CLIENTS[name](f"{origin}/{events}/{events_per_chunk}/v1")

    for work in works:
        made(work.one, 1)
        made(work.many, EVENTS_PER_CHUNK)
    reply = REPLYING[name](f"{origin}/1/1/v1") if name in REPLYING else None
    gc.freeze()
    for work in works[:-1]:
        child = os.fork()
        if not child:
            do(work, made, reply)
        if os.waitpid(child, 0)[1]:
            sys.exit(f"{name} failed at {work}")
    do(works[-1], made, reply)


def do(
    work: Work, made: Callable[[int, int], Client], reply: Callable[[int], str] | None
) -> NoReturn:
    """Do some work, print the texts that were read, and end the process.

    Args:
        work: how much.
        made: gives a client for streams of so many events, so many in a chunk of HTTP.
        reply: replies to the last message of a thread of so many; `None` where that is not counted.
    """
    ask, stream_one = made(work.one, 1)
    _, stream_many = made(work.many, EVENTS_PER_CHUNK)
    ask(3)
    if reply is not None:
        reply(LONG)
    gc.collect()
    gc.freeze()
    texts = [stream_one(), stream_many(), ask(work.trips)]
    if reply is not None:
        texts += [reply(work.length) for _ in range(work.replies)]
    print(json.dumps(texts), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [Work(*json.loads(work)) for work in sys.argv[3:]])
