"""What becomes of calls and books while Redis is away, hangs, or loses its answers, and after its return."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import redis

from chatgpt import ChatGPTPool, PoolError, StoreError
from chatgpt.core.pool import state
from chatgpt.pool_ledgers import shared
from chatgpt.testing import ChatGPTServer
from tests.pool_ledgers.accounts import Accounts, Books, MakePool, keepers, settings_of_accounts
from tests.redis_server import CountingProxy, RedisServer, until

SHORT_OUTAGE = 0.25
QUICK = "?socket_timeout=0.2"
"""Of a URL: how long an answer may take."""


@pytest.fixture
def short_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "OUTAGE", SHORT_OUTAGE)
    monkeypatch.setattr(shared, "RETRY", 0.02)
    monkeypatch.setattr(shared, "WAITING_BEAT", 0.1)
    monkeypatch.setattr(
        state, "PATIENCE", SHORT_OUTAGE
    )  # those who gave up are believed in no longer


@pytest.fixture
def mortal() -> Iterator[RedisServer]:
    """A server that remembers what it knew when it is started again."""
    with RedisServer("appendonly yes", "appendfsync always") as started:
        yield started


@pytest.fixture
def forgetful() -> Iterator[RedisServer]:
    """A server that does not."""
    with RedisServer() as started:
        yield started


@pytest.fixture
def mortal_books(mortal: RedisServer, key_prefix: str) -> Iterator[Books]:
    with redis.Redis.from_url(mortal.url) as client:
        yield Books(client, key_prefix)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as executor:
        yield executor


class ForgetfulProxy(CountingProxy):
    """Passes on what is asked, and loses answers: it closes the connection in their place.

    Attributes:
        to_lose: how many answers to scripts it loses from now on.
        lost: how many it has lost.
    """

    def __init__(self, port: int) -> None:
        self.to_lose = self.lost = 0
        super().__init__(port)

    def _pass_on(
        self, source: socket.socket, target: socket.socket, is_client: bool, asked: list[bool]
    ) -> None:
        try:
            while data := source.recv(1 << 20):
                if is_client:
                    asked[0] = b"EVAL" in data
                elif asked[0] and self.to_lose:
                    self.to_lose -= 1
                    self.lost += 1
                    break
                target.sendall(data)
        except OSError:
            pass
        finally:
            for each in (source, target):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)  # wakes whoever reads there
                each.close()


def failure_of(pool: ChatGPTPool, text: str, **options: Any) -> PoolError:
    with pytest.raises(PoolError) as caught:
        pool.send_message(text, **options)
    return caught.value


def assert_out_of_reach(error: PoolError) -> None:
    assert (error.type, error.is_final) == ("chatgpt:pool:unavailable", False)
    assert isinstance(error.__cause__, StoreError)
    assert "out of reach" in str(error)


# --- it goes, and comes back -----------------------------------------------------------------


@pytest.mark.usefixtures("short_outage")
def test_a_running_call_goes_on_and_those_that_wait_are_told(
    mortal: RedisServer,
    make_pool: MakePool,
    mortal_books: Books,
    accounts: Accounts,
    threads: ThreadPoolExecutor,
) -> None:
    pool = make_pool(1, redis_url=mortal.url)
    other = make_pool(1, redis_url=mortal.url)
    with pool.stream_message("held") as stream:
        next(stream)
        waiting = [threads.submit(failure_of, each, "waits") for each in (pool, other, pool)]
        until(lambda: mortal_books.waiting == 3)
        mortal.stop()
        for call in waiting:
            assert_out_of_reach(call.result())
        assert_out_of_reach(failure_of(pool, "begins meanwhile"))
        accounts.go_on.set()
        assert [part.delta for part in stream][-1] == " last"
    mortal.start()
    until(lambda: mortal_books.leases == [])
    assert pool.send_message("hi").account_id == other.send_message("hi").account_id == "a0"
    assert accounts.order == ["held", "hi", "hi"], "a call that had failed was sent"
    assert pool.status()["a0"].calls == 3


@pytest.mark.parametrize("remembers", [True, False])
def test_a_short_absence_is_waited_for(
    mortal: RedisServer,
    forgetful: RedisServer,
    make_pool: MakePool,
    accounts: Accounts,
    threads: ThreadPoolExecutor,
    remembers: bool,
) -> None:
    brief = mortal if remembers else forgetful
    pools = [make_pool(1, redis_url=brief.url, lease_seconds=1.5) for _ in range(2)]
    with pools[0].stream_message("held") as stream:
        next(stream)
        # Those of the first pool: what it holds it knows, whatever Redis has forgotten.
        calls = [threads.submit(pools[0].send_message, f"call {number}") for number in range(3)]
        until(lambda: all(call.running() for call in calls))
        brief.stop()
        calls.append(threads.submit(pools[0].send_message, "begins meanwhile"))
        time.sleep(0.3)
        brief.start()
        pools[0].status()
        if remembers:
            calls.append(threads.submit(pools[1].send_message, "of the other pool"))
        time.sleep(0.1)
        accounts.go_on.set()
        list(stream)
    assert [call.result().account_id for call in calls] == ["a0"] * len(calls)
    assert (accounts.most, accounts.refused) == (1, 0)
    assert pools[1].status()["a0"].running == 0


def test_who_waits_says_so_at_once_to_a_server_that_has_forgotten_all(
    forgetful: RedisServer, make_pool: MakePool, accounts: Accounts, threads: ThreadPoolExecutor
) -> None:
    """The leases of a process are its own truth: another one must learn of them before it takes the account."""
    one, other = (make_pool(1, redis_url=forgetful.url, lease_seconds=1.5) for _ in range(2))
    with one.stream_message("held") as stream:
        next(stream)
        call = threads.submit(one.send_message, "waits")
        until(lambda: b"keys=1" in forgetful.ask("INFO keyspace"))
        forgetful.ask("FLUSHALL")
        until(lambda: b"keys=1" in forgetful.ask("INFO keyspace"))
        assert other.status()["a0"].running == 1
        accounts.go_on.set()
        list(stream)
    call.result()


@pytest.mark.usefixtures("short_outage")
def test_what_is_asked_of_the_pool_raises(
    mortal: RedisServer, make_pool: MakePool, server: ChatGPTServer
) -> None:
    pool = make_pool(2, redis_url=mortal.url)
    added = settings_of_accounts(server.base_url, 3)["a2"]
    pool.send_message("hi")
    mortal.stop()
    for work in (
        pool.status,
        lambda: pool.restore_account("a0"),
        lambda: pool.remove_account("a0"),
        lambda: pool.add_account(added, account_id="a2"),
    ):
        with pytest.raises(StoreError, match="Redis at 127.0.0.1"):
            work()
    assert "a0" in pool.accounts, "it was not removed"
    mortal.start()
    until(lambda: pool.status()["a0"].state == "ready")
    pool.remove_account("a0")
    assert pool.send_message("hi").account_id == "a1"


@pytest.mark.usefixtures("short_outage")
def test_an_account_that_could_not_be_added_can_be_added_later(
    mortal: RedisServer, make_pool: MakePool, server: ChatGPTServer
) -> None:
    pool = make_pool(1, redis_url=mortal.url)
    added = settings_of_accounts(server.base_url, 2)["a1"]
    pool.send_message("hi")
    mortal.stop()
    with pytest.raises(StoreError):
        pool.add_account(added, account_id="a1")
    mortal.start()
    until(lambda: pool.status()["a0"].state == "ready")
    assert list(pool.accounts) == list(pool.status()) == ["a0"]
    pool.add_account(added, account_id="a1")
    assert pool.send_message("hi", account_id="a1").account_id == "a1"


@pytest.mark.usefixtures("short_outage")
def test_a_pool_that_began_without_redis_works_when_it_is_there(
    mortal: RedisServer, make_pool: MakePool, accounts: Accounts
) -> None:
    mortal.stop()
    pool = make_pool(2, redis_url=mortal.url)
    for _ in range(2):
        assert_out_of_reach(failure_of(pool, "hi"))
    until(lambda: pool._ledger._keeper is None)  # type: ignore[attr-defined]  # the shared one
    mortal.start()
    assert {pool.send_message("hi").account_id for _ in range(2)} == {"a0", "a1"}
    assert accounts.order == ["hi", "hi"]


@pytest.mark.usefixtures("short_outage")
def test_verdicts_of_an_absence_are_written_after_it(
    mortal: RedisServer, make_pool: MakePool, accounts: Accounts
) -> None:
    """What became of the calls is known to others when Redis is back, be it long after `OUTAGE`."""
    pool, other = (make_pool(2, redis_url=mortal.url) for _ in range(2))
    with pool.stream_message("held", account_id="a0") as stream:
        next(stream)
        mortal.stop()
        assert_out_of_reach(failure_of(pool, "hi"))
        accounts.go_on.set()
        list(stream)
    mortal.start()
    until(lambda: other.status()["a0"].state == "ready")
    assert other.status()["a0"].calls == 1


@pytest.mark.parametrize(
    "is_over",
    [
        pytest.param(False, id="calls end by their own deadlines"),
        pytest.param(True, id="calls are told"),
    ],
)
@pytest.mark.usefixtures("short_outage")
def test_calls_that_failed_leave_nothing_behind(
    mortal: RedisServer,
    make_pool: MakePool,
    mortal_books: Books,
    is_over: bool,
) -> None:
    pool = make_pool(1, redis_url=mortal.url)
    pool.send_message("hi")
    mortal.stop()
    for number in range(2):
        failure_of(pool, f"call {number}", timeout=10.0 if is_over else 0.05)
    with pytest.raises(StoreError):
        pool.status()
    mortal.start()
    until(lambda: pool.status()["a0"].state == "ready")
    assert (mortal_books.leases, mortal_books.waiting) == ([], 0)
    ledger: Any = pool._ledger
    assert (ledger._problems, ledger._wakes, ledger._pending) == ({}, {}, [])


@pytest.mark.usefixtures("short_outage")
def test_close_without_redis_ends(mortal: RedisServer, make_pool: MakePool) -> None:
    until(lambda: keepers() == [])
    pool = make_pool(1, redis_url=mortal.url)
    pool.send_message("hi")
    mortal.stop()
    pool.close()
    until(lambda: keepers() == [])


# --- it hangs --------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_outage")
def test_a_silent_server_is_an_absence(
    make_pool: MakePool, redis_server: RedisServer, books: Books, accounts: Accounts
) -> None:
    with CountingProxy(redis_server.port) as proxy:
        pool = make_pool(1, redis_url=proxy.url + QUICK)
        with pool.stream_message("held") as stream:
            next(stream)
            proxy.is_deaf = True
            assert_out_of_reach(failure_of(pool, "hi"))
            with pytest.raises(StoreError, match="Timeout|timed out"):
                pool.status()
            accounts.go_on.set()
            assert [part.delta for part in stream][-1] == " last"
        assert books.leases == ["a0"]
        proxy.is_deaf = False
        until(lambda: books.leases == [])
        assert pool.send_message("hi").account_id == "a0"
        pool.close()


@pytest.mark.usefixtures("short_outage")
def test_a_silent_server_is_given_no_longer_than_an_absent_one(
    make_pool: MakePool, redis_server: RedisServer
) -> None:
    """The first answer that does not come takes longer than `OUTAGE`, as `ANSWER_TIMEOUT` does: that is enough."""
    with CountingProxy(redis_server.port) as proxy:
        pool = make_pool(1, redis_url=f"{proxy.url}?socket_timeout=1")
        pool.send_message("hi")
        proxy.is_deaf = True
        try:
            assert_out_of_reach(failure_of(pool, "hi", timeout=1.6))
        finally:
            proxy.is_deaf = False
            proxy.cut()
        pool.close()


def test_a_lease_outlives_a_hanging_connection(
    make_pool: MakePool, redis_server: RedisServer, accounts: Accounts
) -> None:
    """A pause that is shorter than `lease_seconds` costs no lease."""
    with CountingProxy(redis_server.port) as proxy:
        pool = make_pool(1, redis_url=proxy.url + QUICK, lease_seconds=1.5)
        other = make_pool(1)
        with pool.stream_message("held") as stream:
            next(stream)
            for _ in range(2):
                proxy.is_deaf = True
                time.sleep(0.4)
                proxy.is_deaf = False
                time.sleep(0.4)
            assert failure_of(other, "in vain", timeout=0.1).type == "chatgpt:pool:timeout"
            accounts.go_on.set()
            list(stream)
        assert other.send_message("hi").account_id == "a0"
        assert (accounts.most, accounts.refused) == (1, 0)
        pool.close()


@pytest.mark.usefixtures("short_outage")
@pytest.mark.parametrize("asks", [False, True], ids=["a call", "a call and a look at the books"])
def test_what_redis_does_after_a_hang_is_no_lease(
    make_pool: MakePool, mortal: RedisServer, accounts: Accounts, asks: bool
) -> None:
    """It hangs while a call is written, and does so late: the call has failed long ago, and has no account."""
    pool = make_pool(2, redis_url=f"{mortal.url}{QUICK}")
    for _ in range(2):
        pool.send_message("hi")
    mortal.pause()
    try:
        for _ in range(2):
            with pytest.raises(PoolError) as caught:
                pool.send_message("hang", timeout=10)
            assert caught.value.type == "chatgpt:pool:unavailable"
        if asks:
            with pytest.raises(StoreError):
                pool.status()
    finally:
        mortal.go_on()
    for _ in range(4):
        pool.send_message("hi", timeout=10)
    assert [each.running for each in pool.status().values()] == [0, 0]
    assert [each.state for each in pool.status().values()] == ["ready", "ready"]
    assert "hang" not in accounts.order


# --- it loses answers ------------------------------------------------------------------------


def counts_of(pool: ChatGPTPool) -> list[tuple[int, int, int]]:
    return [(each.calls, each.failures, each.running) for each in pool.status().values()]


@pytest.mark.parametrize("lost", [1, 2, 3, 7])
def test_a_lost_answer_does_no_harm(
    make_pool: MakePool,
    redis_server: RedisServer,
    accounts: Accounts,
    lost: int,
) -> None:
    """redis-py repeats a script twice; then the keeper begins again with what is in Redis."""
    with ForgetfulProxy(redis_server.port) as proxy:
        pool, other = make_pool(1, redis_url=proxy.url, cooldown=0), make_pool(1, cooldown=0)
        pool.status()
        proxy.to_lose = lost
        assert pool.send_message("hi").account_id == "a0"
        assert proxy.to_lose == 0
        pool.status()
        proxy.to_lose = lost
        failure_of(pool, "failure")
        pool.status()
        assert proxy.to_lose == 0
        assert accounts.order == ["hi"]
        pool.close()
        assert counts_of(other) == [(2, 1, 0)]


def test_many_cuts_do_no_harm(
    make_pool: MakePool,
    redis_server: RedisServer,
    books: Books,
    accounts: Accounts,
    threads: ThreadPoolExecutor,
) -> None:
    accounts.seconds = 0.005
    with ForgetfulProxy(redis_server.port) as proxy:
        pools = make_pool(3, redis_url=proxy.url), make_pool(3)
        is_over = threading.Event()

        def lose() -> None:
            while not is_over.wait(0.1):
                proxy.to_lose = 1

        def work(caller: int) -> None:
            for turn in range(8):
                pools[caller % 2].send_message(f"{caller}, {turn}")

        loser = threads.submit(lose)
        try:
            for call in [threads.submit(work, caller) for caller in range(12)]:
                call.result()
        finally:
            is_over.set()
        loser.result()
        assert proxy.lost > 5
        assert (accounts.most, accounts.refused, len(accounts.order)) == (1, 0, 96)
        proxy.to_lose = 0
        pools[0].close()
    until(lambda: books.leases == [] and books.waiting == 0)
