"""Pools against a server that knows its accounts apart by their keys, and what it does to each of them.

Strategy: the accounts of a pool have the keys `sk-1`, `sk-2` and so on, and the server takes any key. Its responders
look at the key of a request: one counts what each account has at once, one limits it in time, one lets accounts
fail, one holds its replies. So what the tests claim of accounts is what a server has seen.

Rules:

1. A count begins and ends while the call has its account, so that two calls that overlap here did so in the pool.
2. Nothing here waits for ever: what is held is let go after `PATIENCE` seconds.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import pytest

from chatgpt import ChatGPTPool, ChatMessage
from chatgpt.testing import Answer, ChatGPTServer, RawAnswer, RecordedRequest, echo
from tests.engines import Engine
from tests.reliability.scripts import until
from tests.reliability.wire import answer_of

T = TypeVar("T")

PATIENCE: Final = 10.0


@pytest.fixture
def server() -> Iterator[ChatGPTServer]:
    """A server that takes any key."""
    with ChatGPTServer(api_key=None) as server:
        yield server


def key(number: int) -> str:
    """The key of the account `account-<number>`."""
    return f"sk-{number}"


def accounts_of(server: ChatGPTServer, count: int, **options: Any) -> list[Any]:
    """The options of so many accounts of a server."""
    return [
        {"api_key": key(number), "api_base_url": server.base_url, **options}
        for number in range(1, count + 1)
    ]


def refused(status: bytes, *headers: bytes, message: str = "No.", **error: object) -> RawAnswer:
    """An error as OpenAI writes it."""
    body = json.dumps({"error": {"message": message, **error}}).encode()
    return RawAnswer([answer_of(body, b"content-type: application/json", *headers, status=status)])


RATE_LIMITED: Final = refused(b"429 Too Many Requests", code="rate_limit_exceeded")
OUT_OF_QUOTA: Final = refused(b"429 Too Many Requests", code="insufficient_quota")
FAILED: Final = refused(b"500 Internal Server Error")


class FailingAccounts:
    """Lets accounts fail.

    Attributes:
        failing: what accounts answer instead of a reply, by their keys. It may be changed at any time.
    """

    def __init__(self, **failing: str | RawAnswer | Answer) -> None:
        self.failing = {name.replace("_", "-"): reply for name, reply in failing.items()}

    def __call__(self, request: RecordedRequest) -> str | RawAnswer | Answer:
        reply = self.failing.get(str(request.api_key))
        return echo(request) if reply is None else reply


class LimitedAccounts:
    """Refuses an account what it has beyond its limit at once.

    Args:
        limit: how many requests an account may have at once.
        seconds: how long a request takes.

    Attributes:
        calls: how many requests each account had, by its key.
        most: how many it had at once.
        refusals: how many requests were refused.
    """

    def __init__(self, limit: int, seconds: float = 0.005) -> None:
        self.calls: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.refusals = 0
        self._limit = limit
        self._seconds = seconds
        self._running: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: RecordedRequest) -> str | RawAnswer:
        account = str(request.api_key)
        with self._lock:
            self._running[account] += 1
            self.calls[account] += 1
            self.most[account] = max(self.most[account], self._running[account])
            is_refused = self._running[account] > self._limit
            self.refusals += is_refused
        time.sleep(self._seconds)
        with self._lock:
            self._running[account] -= 1
        return RATE_LIMITED if is_refused else echo(request)


class WindowedAccounts:
    """Answers so many requests of an account, then refuses what it sends for a time, and says when that ends.

    The time begins with the first refusal, so that a machine that is slow meets one as well.

    Args:
        limit: how many requests of an account are answered before.
        seconds: how long it is refused then.

    Attributes:
        answered: how many requests were answered, by the keys of accounts.
        refusals: how many were refused.
        early: how many came before the time that the server had asked for.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self.answered: Counter[str] = Counter()
        self.refusals = 0
        self.early = 0
        self._limit = limit
        self._seconds = seconds
        self._ends: dict[str, float] = {}
        self._sent: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: RecordedRequest) -> str | RawAnswer:
        account = str(request.api_key)
        with self._lock:
            now = time.monotonic()
            if now >= self._ends.get(account, math.inf):
                del self._ends[account]
                self._sent[account] = 0
            self.early += account in self._ends
            self._sent[account] += 1
            if self._sent[account] <= self._limit:
                self.answered[account] += 1
                return echo(request)
            self.refusals += 1
            rest = self._ends.setdefault(account, now + self._seconds) - now
            return refused(
                b"429 Too Many Requests",
                b"retry-after-ms: %d" % (rest * 1000 + 2),
                code="rate_limit_exceeded",
            )


class HeldReplies:
    """Holds its replies until they are let go.

    Args:
        says_first: whether the first part of a stream is sent before.

    Attributes:
        arrived: the messages that came, in their order.
        is_open: lets the replies go.
    """

    def __init__(self, *, says_first: bool = False) -> None:
        self.arrived: list[str] = []
        self.is_open = threading.Event()
        self._says_first = says_first

    def __call__(self, request: RecordedRequest) -> str | Answer:
        self.arrived.append(str(request.messages[-1]["content"]))
        if not self._says_first:
            self.is_open.wait(PATIENCE)
            return "late"
        is_open = self.is_open

        class Held(Answer):
            @property
            def deltas(self) -> Any:
                yield "first"
                is_open.wait(PATIENCE)
                yield " second"

        return Held()


# --- pools -----------------------------------------------------------------------------------


def pool_of(engine: Engine, server: ChatGPTServer, count: int = 2, **options: Any) -> Any:
    """A pool of so many accounts, of an engine."""
    return engine.pool(accounts_of(server, count), **options)


def keys_of(server: ChatGPTServer) -> list[str | None]:
    """Which account has sent each request."""
    return [request.api_key for request in server.requests]


# --- callers ---------------------------------------------------------------------------------


def at_once(count: int, call: Callable[[int], T]) -> list[T]:
    """Call something from so many threads, and return the results in the order of their numbers."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(call, range(count)))


def caught(
    kind: type[BaseException] | tuple[type[BaseException], ...], call: Callable[[], object]
) -> Any:
    """The error of a call."""
    with pytest.raises(kind) as info:
        call()
    return info.value


def waiting(pool: ChatGPTPool) -> int:
    """How many calls wait for an account."""
    return len(pool._ledger.state.holder(pool._ledger.holder_id).tickets)


def running(pool: ChatGPTPool) -> int:
    """How many calls have an account."""
    return sum(status.running for status in pool.status().values())


def fill(
    pool: ChatGPTPool, calls: Sequence[Callable[[], object]], accounts: int
) -> list[threading.Thread]:
    """Start calls, each in a thread of its own, until all accounts are used and the others wait."""
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    until(lambda: running(pool) == accounts and waiting(pool) == len(calls) - accounts)
    return threads


def check_idle(pool: ChatGPTPool, server: ChatGPTServer, accounts: int) -> None:
    """No call has an account or waits for one, none cools down, and all of them answer at the same time.

    The accounts take one call at once each: were one lost, the others would wait for it in vain.
    """
    assert (running(pool), waiting(pool)) == (0, 0)
    assert {status.state for status in pool.status().values()} == {"ready"}
    together = threading.Barrier(accounts)

    def respond(request: RecordedRequest) -> str:
        if request.messages[-1]["content"] == "at once":  # or one comes late whose caller has gone
            together.wait(PATIENCE)
        return str(request.api_key)

    server.replies = respond
    replies: list[ChatMessage] = at_once(accounts, lambda _: pool.send_message("at once"))
    assert sorted(reply.text for reply in replies) == sorted(map(key, range(1, accounts + 1)))
    assert running(pool) == 0
