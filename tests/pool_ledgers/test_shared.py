"""What pools that share their accounts know of each other; a pool is a holder, in one process or in several.

What takes several processes is in `test_shared_processes.py`, what happens without Redis in `test_shared_outages.py`.
"""

from __future__ import annotations

import gc
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from chatgpt import ChatGPTPool, ConfigurationError, PoolError, StoreError
from chatgpt.core.pool import sending
from chatgpt.pool_ledgers import shared
from chatgpt.testing import ChatGPTServer
from tests.pool_ledgers.accounts import (
    Accounts,
    Books,
    MakePool,
    keepers,
    settings_of_accounts,
    web_settings_of_accounts,
)
from tests.redis_server import CountingProxy, RedisServer, until

PASSWORD = "canary-of-redis"


@pytest.fixture
def short_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "OUTAGE", 0.2)
    monkeypatch.setattr(shared, "RETRY", 0.02)


@pytest.fixture
def short_naps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls look by themselves what has become of them; see `test_what_rests_is_said_to_a_call_with_...`."""
    monkeypatch.setattr(sending, "LONGEST_NAP", 0.05)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as executor:
        yield executor


def failure_of(pool: ChatGPTPool, text: str, **options: Any) -> PoolError:
    with pytest.raises(PoolError) as caught:
        pool.send_message(text, **options)
    return caught.value


# --- limits and turns ------------------------------------------------------------------------


def test_a_limit_holds_across_pools(make_pool: MakePool, books: Books, accounts: Accounts) -> None:
    one, other = make_pool(1), make_pool(1)
    with one.stream_message("held") as stream:
        next(stream)
        assert other.status()["a0"].state == "busy"
        error = failure_of(other, "in vain", timeout=0.2)
        assert (error.type, error.account_id) == ("chatgpt:pool:timeout", None)
        assert books.leases == ["a0"]
        accounts.go_on.set()
        list(stream)
    assert other.send_message("afterwards").account_id == "a0"
    assert accounts.order == ["held", "afterwards"]
    until(lambda: books.leases == [])


def test_first_come_first_served(
    make_pool: MakePool, books: Books, accounts: Accounts, threads: ThreadPoolExecutor
) -> None:
    pools = make_pool(1), make_pool(1), make_pool(1)
    with pools[0].stream_message("held") as stream:
        next(stream)
        texts = [f"call {number}" for number in range(9)]
        calls = []
        for number, text in enumerate(texts):
            calls.append(threads.submit(pools[number % 3].send_message, text))
            until(lambda: books.waiting == len(calls))
        accounts.go_on.set()
        list(stream)
    for call in calls:
        call.result()
    assert accounts.order == ["held", *texts]
    assert accounts.most == 1


def test_who_does_not_wait_any_more_is_passed_over(
    make_pool: MakePool, books: Books, accounts: Accounts, threads: ThreadPoolExecutor
) -> None:
    one, other = make_pool(1), make_pool(1)
    with one.stream_message("held") as stream:
        next(stream)
        first = threads.submit(failure_of, one, "too late", timeout=0.4)
        until(lambda: books.waiting == 1)
        second = threads.submit(other.send_message, "patient")
        until(lambda: books.waiting == 2)
        assert first.result().type == "chatgpt:pool:timeout"
        until(lambda: books.waiting == 1)
        accounts.go_on.set()
        list(stream)
    second.result()
    assert accounts.order == ["held", "patient"]


def test_many_callers_of_many_pools(
    make_pool: MakePool, books: Books, accounts: Accounts, threads: ThreadPoolExecutor
) -> None:
    accounts.seconds = 0.005
    pools = [make_pool(4) for _ in range(3)]

    def work(pool: ChatGPTPool, caller: int) -> list[str | None]:
        return [pool.send_message(f"{caller}, {turn}").account_id for turn in range(8)]

    calls = [threads.submit(work, pools[caller % 3], caller) for caller in range(24)]
    assert all(len(call.result()) == 8 for call in calls)
    assert (accounts.refused, accounts.most) == (0, 1)
    assert sum(accounts.calls.values()) == 192
    assert all(abs(calls - 48) <= 0.2 * 48 for calls in accounts.calls.values())
    known = pools[0].status()
    assert {account_id: each.calls for account_id, each in known.items()} == {
        f"a{key[1:]}": calls for key, calls in accounts.calls.items()
    }
    assert books.leases == []


# --- what is known of accounts ---------------------------------------------------------------


@pytest.mark.usefixtures("short_naps")
def test_a_cooldown_is_seen_by_all(make_pool: MakePool) -> None:
    one, other = make_pool(cooldown=50), make_pool(cooldown=50)
    before = datetime.now(UTC)
    assert failure_of(one, "limit", account_id="a0").type == "chatgpt:pool:rate-limit"
    known = other.status()["a0"]
    assert (known.state, known.reason) == ("cooling", "chatgpt:pool:rate-limit")
    assert (known.calls, known.failures, known.running, known.max_concurrent) == (1, 1, 0, 1)
    assert known.until is not None
    assert (known.until - known.since).total_seconds() == pytest.approx(150, abs=0.01)
    assert abs((known.since - before).total_seconds()) < 5
    assert [other.send_message("to the other one").account_id for _ in range(3)] == ["a1"] * 3
    error = failure_of(other, "it rests", account_id="a0")
    assert (error.type, error.account_id, error.is_final) == (
        "chatgpt:pool:account-on-cooldown",
        "a0",
        False,
    )
    assert error.retry_after is not None
    assert 140 < error.retry_after <= 150


def test_a_short_cooldown_is_waited_for(make_pool: MakePool) -> None:
    one, other = make_pool(1, cooldown=0.1), make_pool(1, cooldown=0.1)
    failure_of(one, "failure")
    assert other.status()["a0"].state == "cooling"
    assert other.send_message("when it is back").account_id == "a0"


@pytest.mark.usefixtures("short_naps")
def test_a_quota_is_seen_and_restored_by_all(make_pool: MakePool) -> None:
    one, other = make_pool(1), make_pool(1)
    failure_of(one, "quota")
    assert other.status()["a0"].state == "out"
    error = failure_of(other, "none is left")
    assert (error.type, error.is_final) == ("chatgpt:pool:no-accounts", True)
    other.restore_account("a0")
    known = one.status()["a0"]
    assert (known.state, known.reason, known.until) == ("ready", None, None)
    assert one.send_message("again").account_id == "a0"


def test_what_rests_is_said_to_a_call_with_a_short_deadline(make_pool: MakePool) -> None:
    one, other = make_pool(1), make_pool(1)
    failure_of(one, "limit")
    error = failure_of(other, "it rests", account_id="a0", timeout=0.5)
    assert error.type == "chatgpt:pool:account-on-cooldown"


def test_a_waiting_call_of_another_pool_gets_what_is_restored(
    make_pool: MakePool, books: Books, threads: ThreadPoolExecutor
) -> None:
    one, other = make_pool(1, cooldown=5), make_pool(1, cooldown=5)
    failure_of(one, "limit")
    call = threads.submit(other.send_message, "patient")
    until(lambda: books.waiting == 1)
    one.restore_account("a0")
    assert call.result().account_id == "a0"


@pytest.mark.usefixtures("short_naps")
def test_each_pool_has_its_own_accounts(make_pool: MakePool, server: ChatGPTServer) -> None:
    one, other = make_pool(1), make_pool(1)
    added = settings_of_accounts(server.base_url, 3)["a2"]
    assert one.add_account(added, account_id="a2", max_concurrent=5) == "a2"
    assert one.status()["a2"].max_concurrent == 5
    assert list(other.status()) == ["a0"]
    assert failure_of(other, "hi", account_id="a2").type == "chatgpt:pool:account-not-found"
    failure_of(one, "quota", account_id="a0")
    one.remove_account("a0")
    assert list(one.status()) == ["a2"]
    assert other.status()["a0"].state == "out", "it was forgotten, and another pool has it"
    other.restore_account("a0")
    assert other.send_message("hi").account_id == "a0"


def test_a_conversation_goes_on_in_its_account(make_pool: MakePool, server: ChatGPTServer) -> None:
    settings = web_settings_of_accounts(server, 4)
    one, other = make_pool(accounts=settings), make_pool(accounts=settings)
    replies = [one.send_message(f"question {number}") for number in range(4)]
    assert sorted(str(reply.account_id) for reply in replies) == ["a0", "a1", "a2", "a3"]
    one.close()  # so it is written
    for reply in reversed(replies):
        following = other.send_message(
            "and?", conversation_id=reply.conversation_id, parent_message_id=reply.id
        )
        assert following.account_id == reply.account_id
        assert server.requests[-1].api_key == f"k{str(reply.account_id)[1:]}"
    unknown = failure_of(
        other,
        "hi",
        conversation_id="11111111-1111-4111-8111-111111111111",
        parent_message_id=reply.id,
    )
    assert (unknown.type, unknown.is_final) == ("chatgpt:pool:account-not-found", True)


def test_other_prefixes_share_nothing(make_pool: MakePool, key_prefix: str) -> None:
    one, other = make_pool(1), make_pool(1, key_prefix=f"{key_prefix}-other")
    failure_of(one, "quota")
    assert other.status()["a0"].calls == 0
    with other.stream_message("held") as stream:
        next(stream)
        assert one.status()["a0"].running == 0


# --- what is under the key -------------------------------------------------------------------


@pytest.mark.usefixtures("short_outage")
@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"\xff\x00", "not the books"),
        (b"[]", "not the books"),
        (b'{"version": 1, "accounts": []}', "not the books"),
        (b'{"version": 1e999, "accounts": {}}', "another version"),
        (b'{"version": 2}', "another version"),
    ],
)
def test_what_is_no_books_is_never_overwritten(
    make_pool: MakePool, books: Books, document: bytes, words: str
) -> None:
    books.client.hset(books.key, mapping={"mark": "m", "document": document})
    pool = make_pool(1)
    error = failure_of(pool, "hi")
    assert (error.type, error.is_final) == ("chatgpt:pool:unavailable", False)
    assert isinstance(error.__cause__, StoreError)
    assert words in str(error)
    with pytest.raises(StoreError, match=words):
        pool.status()
    assert books.client.hgetall(books.key) == {b"mark": b"m", b"document": document}
    books.client.delete(books.key)
    assert pool.send_message("hi").account_id == "a0"


@pytest.mark.usefixtures("short_outage")
def test_another_kind_of_value_is_never_overwritten(make_pool: MakePool, books: Books) -> None:
    books.client.set(books.key, "mine")
    error = failure_of(make_pool(1), "hi")
    assert isinstance(error.__cause__, StoreError)
    assert "WRONGTYPE" in str(error)
    assert books.client.get(books.key) == b"mine"


# --- secrets ---------------------------------------------------------------------------------


@pytest.fixture
def locked_server() -> Iterator[RedisServer]:
    with RedisServer(f"requirepass {PASSWORD}") as started:
        yield started


@pytest.mark.usefixtures("short_outage")
def test_the_password_is_never_shown(
    make_pool: MakePool, locked_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    url = locked_server.url.replace("//", f"//:{PASSWORD}@")
    pool = make_pool(1, redis_url=url)
    assert pool.send_message("hi").account_id == "a0"
    wrong = make_pool(1, redis_url=locked_server.url.replace("//", f"//:wrong-{PASSWORD}@"))
    error = failure_of(wrong, "hi")
    with pytest.raises(StoreError) as refused:
        wrong.status()
    pickled = pickle.dumps(pool)
    shown: list[object] = [pool, wrong, pool._options, pool._ledger, vars(pool._ledger)]
    shown += [error, error.__cause__, refused.value, refused.value.__cause__, caplog.text]
    assert all(PASSWORD not in f"{each} {each!r}" for each in shown)
    assert PASSWORD.encode() not in pickled


def test_pickles_share_the_accounts(make_pool: MakePool) -> None:
    one = make_pool(2)
    failure_of(one, "quota", account_id="a1")
    with pickle.loads(pickle.dumps(one)) as other:
        assert other.status()["a1"].state == "out"
        assert other._ledger.holder_id != one._ledger.holder_id
        # Its keys are not in the pickle: it has them from the environment, or it cannot send.
        assert list(other.accounts) == ["a0", "a1"]


@pytest.mark.usefixtures("short_outage")
def test_a_pickle_without_its_url_says_so(make_pool: MakePool, locked_server: RedisServer) -> None:
    pool = make_pool(1, redis_url=locked_server.url.replace("//", f"//:{PASSWORD}@"))
    with pickle.loads(pickle.dumps(pool)) as other:
        with pytest.raises((ConfigurationError, StoreError), match="not carried by a pickle"):
            other.status()


# --- how often Redis is asked ----------------------------------------------------------------


def test_a_call_takes_two_round_trips(make_pool: MakePool, redis_server: RedisServer) -> None:
    with CountingProxy(redis_server.port) as proxy:
        pool = make_pool(redis_url=proxy.url)
        pool.send_message("the first one opens the connection")
        pool.status()
        for _ in range(3):
            before = proxy.round_trips
            pool.send_message("hi")
            pool.status()  # one more, after what the call has written
            assert proxy.round_trips - before <= 4
        assert proxy.connections == 1
        pool.close()


def test_many_calls_are_one_round_trip(
    make_pool: MakePool, redis_server: RedisServer, threads: ThreadPoolExecutor
) -> None:
    with CountingProxy(redis_server.port) as proxy:
        pool = make_pool(max_concurrent=16, redis_url=proxy.url)
        pool.status()
        proxy.is_deaf = True  # what is asked now waits, and what comes meanwhile is one batch
        before = proxy.round_trips
        writes = [threads.submit(pool.restore_account, "a0") for _ in range(16)]
        until(lambda: proxy.round_trips > before)
        until(lambda: pool._ledger._inbox.qsize() >= 15)  # type: ignore[attr-defined]  # shared
        proxy.is_deaf = False
        proxy.cut()
        for write in writes:
            write.result()
        assert proxy.round_trips - before < 10
        pool.close()


def test_an_idle_pool_asks_nothing(make_pool: MakePool, redis_server: RedisServer) -> None:
    with CountingProxy(redis_server.port) as proxy:
        pool = make_pool(redis_url=proxy.url, lease_seconds=1)
        pool.send_message("hi")
        pool.status()
        before = proxy.round_trips
        time.sleep(0.3)  # the keeper lingers
        assert proxy.round_trips == before


# --- the keeper ------------------------------------------------------------------------------


def test_the_keeper_ends_when_there_is_nothing_to_keep(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "LINGERING", 0.05)
    until(lambda: keepers() == [])
    pool = make_pool()
    assert keepers() == [], "nothing was sent yet"
    for _ in range(2):
        with pool.stream_message("held") as stream:
            next(stream)
            assert len(keepers()) == 1
        until(lambda: keepers() == [])


def test_close_ends_the_keeper_and_the_pool_can_be_used_again(
    make_pool: MakePool, books: Books
) -> None:
    until(lambda: keepers() == [])
    pool = make_pool()
    for _ in range(3):
        pool.send_message("hi")
        pool.close()
        assert keepers() == []
        assert books.leases == []
    pool.close()
    assert keepers() == []


def test_close_leaves_running_calls_alone(
    make_pool: MakePool, books: Books, accounts: Accounts
) -> None:
    until(lambda: keepers() == [])
    one, other = make_pool(1, lease_seconds=1), make_pool(1)
    with one.stream_message("held") as stream:
        next(stream)
        one.close()
        holder = one._ledger.holder_id
        seen = books.state.holder(holder).seen
        until(lambda: books.state.holder(holder).seen > seen + 0.5)
        assert failure_of(other, "in vain", timeout=0.1).type == "chatgpt:pool:timeout"
        accounts.go_on.set()
        assert [part.delta for part in stream][-1] == " last"
    assert other.send_message("hi").account_id == "a0"
    until(lambda: len(keepers()) <= 1)  # that of the pool that was closed has ended


def test_two_pools_of_a_process_are_two_holders(
    make_pool: MakePool, books: Books, accounts: Accounts
) -> None:
    one, other = make_pool(), make_pool()
    with one.stream_message("held 1") as first, other.stream_message("held 2") as second:
        next(first)
        next(second)
        assert books.leases == ["a0", "a1"]
        assert len(books.state.holders) == 2
        one_id, other_id = one._ledger.holder_id, other._ledger.holder_id
        holders = books.state.holders
        assert [[*holders[each].leases.values()] for each in (one_id, other_id)] == [["a0"], ["a1"]]
        accounts.go_on.set()
        list(first)
        one.close()
        list(second)
    assert other.send_message("hi").account_id in ("a0", "a1")


# --- finalizers ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:A stream was not read:ResourceWarning")
def test_a_stream_that_is_collected_gives_its_account_back(
    make_pool: MakePool, books: Books, accounts: Accounts, threads: ThreadPoolExecutor
) -> None:
    accounts.limit = 2  # the server sees a little later that its client is gone
    pool = make_pool(1)
    left = [pool.stream_message("held")]
    left[0].__enter__()
    next(left[0])
    call = threads.submit(pool.send_message, "patient")
    until(lambda: books.waiting == 1)
    collector = threading.Thread(target=left.clear)
    collector.start()
    collector.join()
    assert call.result().account_id == "a0"
    until(lambda: books.leases == [])


@pytest.mark.filterwarnings("ignore:A stream was not read:ResourceWarning")
def test_finalizers_that_write_while_calls_begin(
    make_pool: MakePool, books: Books, accounts: Accounts, threads: ThreadPoolExecutor
) -> None:
    """A collection may come at any allocation, and what it collects writes into the ledger in its midst."""
    accounts.limit = 100  # the server sees a little later that its client is gone
    pool = make_pool(4)

    class Leaving:
        def __init__(self) -> None:
            self.me = self  # so it takes a collection
            self.stream = pool.stream_message("held")
            self.stream.__enter__()

    def work(turn: int) -> None:
        Leaving()
        gc.collect()

    threshold = gc.get_threshold()
    gc.set_threshold(20)
    try:
        for call in [threads.submit(partial(work, turn)) for turn in range(24)]:
            call.result()
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    until(lambda: books.leases == [] and books.waiting == 0)
    assert pool.send_message("hi").account_id is not None
