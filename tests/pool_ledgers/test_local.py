"""The books of a pool in memory: who is woken, finalizers in the midst of a write, and forks."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from attrs import frozen

from chatgpt import PoolError
from chatgpt.core.pool.events import AccountAdded, AccountRestored, CallEnds, CallWaits, PoolEvent
from chatgpt.core.pool.failures import Verdict
from chatgpt.core.pool.state import PoolState, Ticket
from chatgpt.pool_ledgers.local import LocalLedger
from tests.pool_ledgers.accounts import Accounts, MakePool
from tests.redis_server import until

OUT = Verdict("chatgpt:pool:rate-limit", is_out=True)


@pytest.fixture
def ledger() -> LocalLedger:
    """One account, which takes one call at once."""
    return LocalLedger({"a0": 1})


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


def waits(ledger: LocalLedger) -> int:
    """A call wants an account; its ticket."""
    ticket = ledger.new_ticket_id()
    ledger.write(CallWaits(Ticket(ticket)))
    return ticket


def leases(ledger: LocalLedger) -> dict[int, str]:
    return dict(ledger.state.holder(ledger.holder_id).leases)


# --- wakes -----------------------------------------------------------------------------------


def test_who_is_given_an_account_is_woken(ledger: LocalLedger) -> None:
    first, second, third = (waits(ledger) for _ in range(3))
    woken: list[int] = []
    for ticket in (second, third):
        ledger.call_on_news(ticket, partial(woken.append, ticket))
    assert woken == []
    ledger.write(CallEnds(first))
    assert woken == [second]
    ledger.write(CallEnds(third))  # it waits no more
    ledger.write(CallEnds(second))
    assert woken == [second]
    assert leases(ledger) == {}


def test_who_has_an_account_is_woken_at_once(ledger: LocalLedger) -> None:
    """It was given between the look and the wait."""
    woken: list[str] = []
    ledger.call_on_news(waits(ledger), lambda: woken.append("now"))
    assert woken == ["now"]


def test_who_was_forgotten_is_not_woken(ledger: LocalLedger) -> None:
    first, second = waits(ledger), waits(ledger)
    woken: list[str] = []
    ledger.call_on_news(second, lambda: woken.append("in vain"))
    ledger.forget(second)
    ledger.forget(second)
    ledger.write(CallEnds(first))
    assert (woken, leases(ledger)) == ([], {second: "a0"})
    assert ledger._wakes == {}


@pytest.mark.parametrize(
    "event", [AccountAdded("a1", 1), AccountAdded("a0", 2), AccountAdded("a0", None)]
)
def test_what_makes_room_wakes(ledger: LocalLedger, event: PoolEvent) -> None:
    waits(ledger)
    woken: list[str] = []
    ledger.call_on_news(waits(ledger), lambda: woken.append("now"))
    ledger.write(event)
    assert woken == ["now"]


def test_a_restored_account_wakes(ledger: LocalLedger) -> None:
    ledger.write(CallEnds(waits(ledger), OUT))
    woken: list[str] = []
    second = waits(ledger)
    ledger.call_on_news(second, lambda: woken.append("now"))
    ledger.look_again()
    assert leases(ledger) == {}
    woken.clear()
    ledger.write_now(AccountRestored("a0"))
    assert (woken, leases(ledger)) == (["now"], {second: "a0"})


def test_an_account_that_has_cooled_down_is_given_when_somebody_looks(ledger: LocalLedger) -> None:
    ledger.write(CallEnds(waits(ledger), Verdict("unknown", cooldown=0.05)))
    second = waits(ledger)
    assert leases(ledger) == {}

    def is_given() -> bool:
        ledger.look_again()
        return leases(ledger) == {second: "a0"}

    until(is_given)


def test_an_event_loop_that_has_ended_keeps_nobody_from_being_woken(ledger: LocalLedger) -> None:
    ledger.write(AccountAdded("a1", 1))
    tickets = [waits(ledger) for _ in range(4)]
    loop = asyncio.new_event_loop()
    loop.close()
    woken: list[str] = []
    ledger.call_on_news(tickets[2], lambda: loop.call_soon_threadsafe(woken.append, "lost"))
    ledger.call_on_news(tickets[3], lambda: woken.append("now"))
    for ticket in tickets[:2]:
        ledger.write(CallEnds(ticket))
    assert woken == ["now"]
    assert leases(ledger) == {tickets[2]: "a0", tickets[3]: "a1"}


def test_who_wakes_may_write(ledger: LocalLedger) -> None:
    """A call that ends in its wake makes room for the next."""
    first, *others = (waits(ledger) for _ in range(20))
    woken: list[int] = []

    def wake(ticket: int) -> None:
        woken.append(ticket)
        ledger.write(CallEnds(ticket))

    for ticket in others:
        ledger.call_on_news(ticket, partial(wake, ticket))
    ledger.write(CallEnds(first))
    assert (woken, leases(ledger)) == (others, {})


# --- finalizers, threads ---------------------------------------------------------------------


class Left:
    """Gives an account back when it is collected."""

    def __init__(self, ledger: LocalLedger, ticket: int) -> None:
        self._ledger, self._ticket = ledger, ticket
        self._me = self  # so it takes a collection

    def __del__(self) -> None:
        self._ledger.write(CallEnds(self._ticket))


@frozen
class Collecting(PoolEvent):
    """Another event, in the midst of which garbage is collected."""

    event: PoolEvent

    def applied(self, state: PoolState, holder_id: str, now: float) -> PoolState:
        after = self.event.applied(state, holder_id, now)
        gc.collect()
        return after


def test_a_finalizer_in_the_midst_of_a_write(ledger: LocalLedger) -> None:
    """Neither what it writes nor what it interrupts is lost."""
    ledger.write(AccountAdded("a1", 1))
    first, second = waits(ledger), waits(ledger)
    woken: list[str] = []
    third, fourth = waits(ledger), ledger.new_ticket_id()
    ledger.call_on_news(third, lambda: woken.append("third"))
    ledger.call_on_news(fourth, lambda: woken.append("fourth"))
    Left(ledger, first)
    Left(ledger, second)
    ledger.write(Collecting(CallWaits(Ticket(fourth))))
    assert leases(ledger) == {third: "a0", fourth: "a1"}
    assert woken == ["third", "fourth"]
    assert [ledger.state.account(name).calls for name in ("a0", "a1")] == [2, 2]


def test_threads_lose_no_write(threads: ThreadPoolExecutor) -> None:
    ledger = LocalLedger({"a0": 1, "a1": 2})
    most = {"a0": 0, "a1": 0}

    def work(turns: int) -> None:
        for _ in range(turns):
            given = threading.Event()
            ticket = waits(ledger)
            ledger.call_on_news(ticket, given.set)
            assert given.wait(20)
            ledger.forget(ticket)
            time.sleep(0.0005)  # so that others wait meanwhile
            running = ledger.state.running()
            most["a0"], most["a1"] = (max(most[name], running[name]) for name in ("a0", "a1"))
            ledger.write(CallEnds(ticket))

    for call in [threads.submit(work, 40) for _ in range(12)]:
        call.result()
    assert (leases(ledger), ledger._wakes) == ({}, {})
    assert sum(record.calls for record in ledger.state.accounts.values()) == 480
    assert most == {"a0": 1, "a1": 2}


@pytest.mark.filterwarnings("ignore:A stream was not read:ResourceWarning")
def test_a_stream_that_is_collected_gives_its_account_back(
    make_local_pool: MakePool, accounts: Accounts, threads: ThreadPoolExecutor
) -> None:
    accounts.limit = 2  # the server sees a little later that its client is gone
    pool = make_local_pool(1)
    left: list[Any] = [pool.stream_message("held")]
    next(left[0].__enter__())
    call = threads.submit(pool.send_message, "patient")
    until(lambda: len(pool._ledger.state.holder(pool._ledger.holder_id).tickets) == 1)
    collector = threading.Thread(target=left.clear)
    collector.start()
    collector.join()
    assert call.result().account_id == "a0"
    assert pool.status()["a0"].running == 0


# --- forks -----------------------------------------------------------------------------------


def forked(work: Callable[[], object]) -> Any:
    """Do some work in a child, and return what it returned."""
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    process = context.Process(target=lambda: told.put(work()))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    return told.get()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_has_what_is_known_and_no_calls(
    make_local_pool: MakePool, accounts: Accounts, threads: ThreadPoolExecutor
) -> None:
    accounts.limit = 2  # the child knows nothing of the calls of its parent: it shares nothing
    pool = make_local_pool(2)
    with pytest.raises(PoolError):
        pool.send_message("quota", account_id="a1")
    with pool.stream_message("held") as stream:
        next(stream)
        call = threads.submit(pool.send_message, "patient")
        until(lambda: len(pool._ledger.state.holder("here").tickets) == 1)

        def child() -> object:
            known = pool.status()
            reply = pool.send_message("of the child")
            return {name: (each.state, each.running) for name, each in known.items()}, (
                reply.account_id
            )

        assert forked(child) == ({"a0": ("ready", 0), "a1": ("out", 0)}, "a0")
        assert pool.status()["a0"].running == 1
        accounts.go_on.set()
        assert [part.delta for part in stream][-1] == " last"
    assert call.result().account_id == "a0"
    assert accounts.order == ["held", "of the child", "patient"]
