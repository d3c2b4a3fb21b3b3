"""What is written into the books, event by event."""

from __future__ import annotations

import pytest
from attrs import evolve

from chatgpt.core.pool.events import (
    AccountAdded,
    AccountRemoved,
    AccountRestored,
    CallEnds,
    CallWaits,
    PoolEvent,
)
from chatgpt.core.pool.failures import RATE_LIMIT, UNAVAILABLE, UNKNOWN, Verdict
from chatgpt.core.pool.state import FIRST, AccountRecord, Holder, PoolState, Ticket

NOW = 100.0
ME, OTHER = "me", "other"

LIMITED = Verdict(RATE_LIMIT, 180.0)
FAILED = Verdict(UNAVAILABLE, 120.0, blames="request")
OUT = Verdict(RATE_LIMIT, is_out=True)


def after(state: PoolState, *events: PoolEvent, now: float = NOW, holder: str = ME) -> PoolState:
    for event in events:
        state = event.applied(state, holder, now)
    return state


def calling(record: AccountRecord | None = None, *ticket_ids: int) -> PoolState:
    """Books in which calls of this process use the account `a`."""
    leases = dict.fromkeys(ticket_ids or (1,), "a")
    return PoolState(
        accounts={"a": record or AccountRecord(calls=len(leases), number=5)},
        holders={
            ME: Holder({"a": None, "b": 1}, leases, (Ticket(8, number=4), Ticket(9, number=6)))
        },
        last_number=6,
    )


def blamed(
    verdict: Verdict | None, record: AccountRecord | None = None, now: float = NOW
) -> AccountRecord:
    """What is known of an account after one of its calls has ended."""
    return after(calling(record), CallEnds(1, verdict), now=now).account("a")


# --- a call waits --------------------------------------------------------------------------------


def test_a_call_waits_at_the_end_of_the_queue() -> None:
    state = after(calling(), CallWaits(Ticket(2)), CallWaits(Ticket(3, "a", frozenset("b"))))
    assert state.holder(ME).tickets[2:] == (
        Ticket(2, number=7),
        Ticket(3, "a", frozenset("b"), number=8),
    )
    assert state.last_number == 8
    assert state.holder(ME).leases == {1: "a"}  # nothing is given by an event


def test_a_call_that_has_its_place_keeps_it() -> None:
    state = after(calling(), CallWaits(Ticket(2, number=FIRST)))
    assert state.holder(ME).tickets[2] == Ticket(2, number=FIRST)
    assert state.last_number == 6


@pytest.mark.parametrize("ticket_id", [1, 8, 9])
def test_a_call_that_is_known_does_not_wait_twice(ticket_id: int) -> None:
    state = calling()
    assert after(state, CallWaits(Ticket(ticket_id))) is state


def test_calls_of_other_processes_have_numbers_of_their_own() -> None:
    state = after(calling(), CallWaits(Ticket(1)), holder=OTHER)
    assert state.holder(OTHER).tickets == (Ticket(1, number=7),)
    assert state.holder(ME) == calling().holder(ME)


# --- a call ends ---------------------------------------------------------------------------------


def test_a_call_gives_its_account_back() -> None:
    state = after(calling(), CallEnds(1))
    assert state.holder(ME).leases == {}
    assert state.holder(ME).tickets == calling().holder(ME).tickets
    assert state.account("a") == AccountRecord(calls=1, number=7, changed=NOW)
    assert state.last_number == 7


def test_other_calls_of_the_account_go_on() -> None:
    state = after(calling(None, 1, 2, 3), CallEnds(2, LIMITED))
    assert state.holder(ME).leases == {1: "a", 3: "a"}


def test_a_call_that_waits_wants_nothing_any_more() -> None:
    """Whatever is said of an account that it does not have."""
    state = after(calling(), CallEnds(8, LIMITED))
    assert [ticket.id for ticket in state.holder(ME).tickets] == [9]
    assert state.accounts == calling().accounts


@pytest.mark.parametrize("verdict", [None, LIMITED, OUT])
def test_a_call_that_is_not_known_changes_nothing(verdict: Verdict | None) -> None:
    state = calling()
    assert after(state, CallEnds(77, verdict)) is state
    assert after(state, CallEnds(1, verdict), holder=OTHER) is state


@pytest.mark.parametrize(
    "event", [CallWaits(Ticket(2)), CallEnds(8), CallEnds(1, LIMITED), CallEnds(1, OUT)]
)
def test_an_event_may_come_twice(event: PoolEvent) -> None:
    once = after(calling(), event)
    assert once != calling()
    assert after(once, event, now=NOW + 50) is once


# --- an account fails ----------------------------------------------------------------------------


def test_an_account_cools_down() -> None:
    assert blamed(LIMITED) == AccountRecord(
        cools_until=NOW + 180,
        cools_since=NOW,
        reason=RATE_LIMIT,
        calls=1,
        failures=1,
        number=7,
        changed=NOW,
    )


def test_a_longer_cooldown_is_never_shortened() -> None:
    before = AccountRecord(cools_until=NOW + 300, cools_since=90.0, reason=UNKNOWN, failures=1)
    record = blamed(LIMITED, before)
    assert (record.cools_until, record.cools_since, record.reason) == (NOW + 300, 90.0, UNKNOWN)
    assert record.failures == 2


def test_a_shorter_cooldown_is_lengthened() -> None:
    """It is one rest, which began when the first one did; what it is for is the error that ends last."""
    before = AccountRecord(cools_until=NOW + 100, cools_since=90.0, reason=UNKNOWN)
    record = blamed(LIMITED, before)
    assert (record.cools_until, record.cools_since, record.reason) == (NOW + 180, 90.0, RATE_LIMIT)


def test_a_cooldown_that_is_over_is_no_cooldown() -> None:
    before = AccountRecord(cools_until=NOW, cools_since=90.0, reason=UNKNOWN)
    record = blamed(FAILED, before)
    assert (record.cools_until, record.cools_since, record.reason) == (NOW + 120, NOW, UNAVAILABLE)


def test_an_account_that_need_not_cool_down_has_failed_all_the_same() -> None:
    record = blamed(Verdict(UNAVAILABLE, 0.0, blames="request"))
    assert record.failures == 1
    assert (record.reason, record.is_resting(NOW)) == (None, False)
    assert record == AccountRecord(calls=1, failures=1, number=7, changed=NOW)


def test_without_a_verdict_it_has_not_failed() -> None:
    assert blamed(None).failures == 0


# --- a quota is used up --------------------------------------------------------------------------


def test_a_quota_takes_an_account_out() -> None:
    record = blamed(OUT)
    assert (record.is_out, record.reason, record.cools_since) == (True, RATE_LIMIT, NOW)
    assert record.failures == 1
    assert record.is_resting(NOW + 1e9)


def test_it_does_so_while_the_account_cools_down() -> None:
    before = AccountRecord(cools_until=NOW + 300, cools_since=90.0, reason=UNKNOWN)
    record = blamed(OUT, before)
    assert (record.is_out, record.reason, record.cools_since) == (True, RATE_LIMIT, NOW)
    assert record.cools_until == NOW + 300


def test_an_account_is_out_since_the_first_time() -> None:
    record = blamed(OUT, AccountRecord(is_out=True, cools_since=90.0, reason=RATE_LIMIT))
    assert (record.is_out, record.cools_since) == (True, 90.0)


def test_an_account_that_is_out_is_so_for_its_quota_whatever_comes_then() -> None:
    before = AccountRecord(is_out=True, cools_since=90.0, reason=RATE_LIMIT)
    record = blamed(FAILED, before)
    assert (record.is_out, record.reason) == (True, RATE_LIMIT)
    assert record.cools_until == NOW + 120


def test_an_account_that_is_out_is_so_since_then_whatever_comes_then() -> None:
    before = AccountRecord(is_out=True, cools_since=90.0, reason=RATE_LIMIT)
    assert blamed(FAILED, before).cools_since == 90.0


# --- an account is put back ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "resting",
    [
        AccountRecord(is_out=True, cools_since=90.0, reason=RATE_LIMIT),
        AccountRecord(cools_until=NOW + 300, cools_since=90.0, reason=UNKNOWN),
        AccountRecord(NOW + 300, 90.0, is_out=True, reason=RATE_LIMIT),
    ],
)
def test_an_account_is_put_back_whatever_it_rests_for(resting: AccountRecord) -> None:
    resting = evolve(resting, calls=7, failures=3, number=4, changed=80.0)
    state = after(calling(resting), AccountRestored("a"))
    assert state.account("a") == AccountRecord(calls=7, failures=3, number=4, changed=NOW)
    assert state.holder(ME).leases == {1: "a"}


def test_an_account_that_takes_calls_is_not_changed_by_that() -> None:
    state = calling()
    assert after(state, AccountRestored("a")) is state
    assert after(state, AccountRestored("new")) is state


# --- accounts come and go ------------------------------------------------------------------------


def test_an_account_is_added_at_the_end() -> None:
    state = after(calling(), AccountAdded("c", 3), AccountAdded("d", None))
    assert [*state.holder(ME).accounts.items()] == [("a", None), ("b", 1), ("c", 3), ("d", None)]
    assert state.account("c") == AccountRecord(changed=NOW)


def test_what_is_known_of_an_account_is_known_to_who_adds_it() -> None:
    state = after(calling(), AccountAdded("a", 1), holder=OTHER)
    assert state.holder(OTHER).accounts == {"a": 1}
    assert state.accounts == calling().accounts


def test_an_account_that_is_added_again_has_its_new_limit_and_its_old_place() -> None:
    state = after(calling(), AccountAdded("a", 4))
    assert [*state.holder(ME).accounts.items()] == [("a", 4), ("b", 1)]
    assert state.holder(ME).leases == {1: "a"}


def test_an_account_is_removed_and_its_calls_go_on() -> None:
    state = after(calling(), AccountRemoved("a"))
    assert state.holder(ME).accounts == {"b": 1}
    assert state.holder(ME).leases == {1: "a"}
    assert "a" not in state.accounts


def test_an_account_that_another_process_has_is_not_forgotten() -> None:
    state = after(calling(), AccountAdded("a", 1), holder=OTHER)
    removed = after(state, AccountRemoved("a"))
    assert removed.account("a") == state.account("a")
    assert "a" not in after(removed, AccountRemoved("a"), holder=OTHER).accounts


@pytest.mark.parametrize(
    ("record", "is_kept"),
    [
        (AccountRecord(cools_until=NOW), False),
        (AccountRecord(cools_until=NOW + 1), True),
        (AccountRecord(is_out=True), True),
    ],
)
def test_an_account_that_rests_is_not_forgotten(record: AccountRecord, is_kept: bool) -> None:
    """Or else it would be new to who adds it again, or has it still."""
    state = after(calling(record), AccountRemoved("a"))
    assert ("a" in state.accounts) == is_kept
    again = after(state, AccountAdded("a", 1))
    assert again.account("a") == (record if is_kept else AccountRecord(changed=NOW))


def test_removing_an_account_twice_changes_nothing() -> None:
    once = after(calling(), AccountRemoved("a"))
    assert after(once, AccountRemoved("a")) == once


def test_an_account_that_was_removed_is_forgotten_though_a_call_of_it_went_on() -> None:
    state = after(calling(), AccountRemoved("a"), CallEnds(1))
    assert state.holder(ME).leases == {}
    assert "a" not in state.accounts


def test_an_account_that_was_removed_and_fails_then_rests_all_the_same() -> None:
    state = after(calling(), AccountRemoved("a"), CallEnds(1, OUT))
    assert after(state, AccountAdded("a", 1)).account("a").is_out
