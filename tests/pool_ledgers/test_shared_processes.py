"""Processes that share their accounts: some of them are killed, stopped, forked, or end.

Strategy: the server is in this process and counts what arrives (`accounts.Accounts`); `processes` says what the others
run. Their leases are short where they are to expire, and far longer than a test where they must not.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from chatgpt import PoolError
from chatgpt.testing import ChatGPTServer
from tests.pool_ledgers.accounts import Accounts, Books, MakePool
from tests.pool_ledgers.processes import ACCOUNTS, CALLERS
from tests.redis_server import RedisServer, until

ROOT: Final = Path(__file__).parents[2]
LONG: Final = 60.0
"""Seconds of a lease that does not expire in a test."""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no signals")


class Running:
    """A process of a pool.

    Args:
        arguments: those of `processes`.
    """

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.pool_ledgers.processes", *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def told(self) -> Any:
        """The next thing that it tells."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return json.loads(line)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> None:
        """Wait for its end, which must be a good one."""
        _, errors = self.process.communicate(timeout=30)
        assert (self.process.returncode, errors) == (0, "")

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


Run = Callable[..., Running]


@pytest.fixture
def run(server: ChatGPTServer, redis_server: RedisServer, key_prefix: str) -> Iterator[Run]:
    """Starts processes of the pool of 8 accounts, which have all loaded what they need."""
    with ExitStack() as started:

        def start(case: str, lease_seconds: float, *numbers: int) -> Running:
            places = (server.base_url, redis_server.url, key_prefix)
            running = Running(case, *places, lease_seconds, *numbers)
            started.callback(running.end)
            return running

        yield start


def test_one_of_four_processes_is_killed(
    run: Run, make_pool: MakePool, books: Books, accounts: Accounts
) -> None:
    """The calls of the one that is killed come to hold all accounts; the others then wait until its leases expire."""
    messages, lease_seconds = 10, 1.0
    accounts.seconds = 0.02
    watching = make_pool(ACCOUNTS)
    victim = run("callers", lease_seconds, messages, 3)
    others = [run("callers", lease_seconds, messages, messages) for _ in range(3)]
    for each in (victim, *others):
        each.wait_until_ready()
    for each in (victim, *others):
        each.go_on()
    until(lambda: accounts.held == ACCOUNTS)
    before = len(accounts.order)
    assert before > ACCOUNTS + CALLERS, "the others had calls, too"
    victim.send(signal.SIGKILL)
    until(lambda: accounts.held == 0, 5)
    assert books.leases == [f"a{number}" for number in range(ACCOUNTS)]
    assert len(accounts.order) == before, "the leases are the dead one's until they expire"
    until(lambda: len(accounts.order) > before, lease_seconds + 2)
    counts = [each.told() for each in others]
    for each in others:
        each.wait()
    assert victim.process.wait() == -signal.SIGKILL
    assert [sum(each.values()) for each in counts] == [CALLERS * messages] * 3
    assert (accounts.most, accounts.refused) == (1, 0)
    even = sum(accounts.calls.values()) / ACCOUNTS
    assert all(abs(n - even) <= 0.2 * even for n in accounts.calls.values()), accounts.calls
    assert (books.leases, books.waiting) == ([], 0)
    known = watching.status()
    assert {name: each.calls for name, each in known.items()} == {
        f"a{key[1:]}": calls for key, calls in accounts.calls.items()
    }
    assert {(each.state, each.running, each.failures) for each in known.values()} == {
        ("ready", 0, 0)
    }


def test_the_others_go_on_while_the_leases_of_a_dead_one_last(
    run: Run, make_pool: MakePool, books: Books, accounts: Accounts
) -> None:
    pool = make_pool(ACCOUNTS)
    victim = run("held_stream", LONG)
    victim.wait_until_ready()
    victim.go_on()
    assert victim.told() == "held"
    victim.send(signal.SIGKILL)
    until(lambda: accounts.held == 0)
    answered = [pool.send_message(f"call {number}").account_id for number in range(14)]
    assert sorted(map(str, answered)) == sorted(2 * [f"a{number}" for number in range(1, 8)])
    assert pool.status()["a0"].state == "busy"
    with pytest.raises(PoolError) as caught:
        pool.send_message("in vain", account_id="a0", timeout=0.1)
    assert caught.value.type == "chatgpt:pool:timeout"
    assert books.leases == ["a0"]


def test_a_stopped_process_loses_its_leases_and_goes_on(
    run: Run, make_pool: MakePool, books: Books, accounts: Accounts
) -> None:
    accounts.limit = 2  # the stopped one has its connection still
    pool = make_pool(ACCOUNTS)
    stopped = run("held_stream", 1.0)
    stopped.wait_until_ready()
    stopped.go_on()
    assert stopped.told() == "held"
    stopped.send(signal.SIGSTOP)
    assert pool.send_message("when its lease has expired", account_id="a0").account_id == "a0"
    assert books.leases == []
    stopped.send(signal.SIGCONT)
    until(lambda: books.leases == ["a0"])  # it holds it, whatever others think
    with pytest.raises(PoolError):
        pool.send_message("in vain", account_id="a0", timeout=0.1)
    accounts.go_on.set()
    assert stopped.told() == "done"
    assert pool.send_message("afterwards", account_id="a0").account_id == "a0"
    stopped.go_on()
    stopped.wait()
    assert (books.leases, books.waiting) == ([], 0)
    assert pool.status()["a0"].running == 0


@pytest.mark.parametrize(
    "case",
    [
        "one_call",
        "left_stream",
    ],
)
def test_a_process_that_ends_writes_what_is_pending(
    run: Run, books: Books, redis_server: RedisServer, server: ChatGPTServer, case: str
) -> None:
    """Redis takes its time: without a wait for it, the process would be gone before."""
    ending = run(case, LONG)
    ending.wait_until_ready()
    answer = server.replies

    def pausing(request: Any) -> Any:
        redis_server.ask("CLIENT PAUSE 400 WRITE")
        return answer(request)

    server.replies = pausing
    ending.go_on()
    ending.told()
    ending.wait()
    assert books.leases == []
    assert sum(each.calls for each in books.state.accounts.values()) == 1


def test_the_child_of_a_fork_is_a_holder_of_its_own(
    run: Run, books: Books, accounts: Accounts
) -> None:
    forking = run("forks", LONG)
    forking.wait_until_ready()
    forking.go_on()
    told = forking.told()
    forking.wait()
    child = told["child"]
    assert told["status"] == 0
    assert child["is_another_holder"]
    assert child["keepers"] == [0, 1]
    assert child["running"] == 1, "that of the parent, which it leaves alone"
    assert child["accounts"] == [f"a{number}" for number in range(ACCOUNTS)]
    assert told["held"] not in ([child["account_id"]], [told["parent"]])
    assert (accounts.most, accounts.refused) == (1, 0)
    assert books.leases == []


def test_a_worker_of_multiprocessing_writes_what_is_pending(
    run: Run, books: Books, redis_server: RedisServer, server: ChatGPTServer
) -> None:
    working = run("workers", LONG)
    working.wait_until_ready()
    answer = server.replies

    def pausing(request: Any) -> Any:
        redis_server.ask("CLIENT PAUSE 400 WRITE")
        return answer(request)

    server.replies = pausing
    working.go_on()
    assert working.told() == 0
    working.wait()
    until(lambda: books.leases == [], 1)
