"""Which account is next, and for whom."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from attrs import evolve

from chatgpt.core.pool.state import (
    FIRST,
    PATIENCE,
    AccountRecord,
    Holder,
    PoolState,
    Ticket,
    settled,
)

NOW = 100.0
ME, OTHER = "me", "other"


def books(
    records: dict[str, AccountRecord] | None = None, *, last_number: int = 90, **holders: Holder
) -> PoolState:
    return PoolState(accounts=records or {}, holders=holders, last_number=last_number)


def process(
    accounts: dict[str, int | None],
    *tickets: Ticket,
    leases: dict[int, str] | None = None,
    seen: float = NOW,
    until: float = NOW + 10,
) -> Holder:
    return Holder(accounts, leases or {}, tickets, seen, until)


def waits(id_: int, *, number: int | None = None, **fields: Any) -> Ticket:
    return Ticket(id_, number=id_ if number is None else number, **fields)


def given(state: PoolState, holder_id: str = ME, now: float = NOW) -> dict[int, str]:
    """The accounts of the calls of a process after it was their turn."""
    return dict(settled(state, holder_id, now).holder(holder_id).leases)


# --- the choice ----------------------------------------------------------------------------------


def test_the_account_that_has_waited_longest_is_next() -> None:
    records = {
        "a": AccountRecord(number=9),
        "b": AccountRecord(number=7),
        "c": AccountRecord(number=8),
    }
    accounts: dict[str, int | None] = dict.fromkeys("abc", 1)
    tickets = [waits(id_) for id_ in (1, 2, 3, 4)]
    state = books(records, me=process(accounts, *tickets))
    assert given(state) == {1: "b", 2: "c", 3: "a"}
    assert [ticket.id for ticket in settled(state, ME, NOW).holder(ME).tickets] == [4]


def test_accounts_that_were_never_used_come_first_in_their_order() -> None:
    accounts: dict[str, int | None] = dict.fromkeys("cab", 1)
    state = books({"c": AccountRecord(number=1)}, me=process(accounts, waits(1), waits(2)))
    assert given(state) == {1: "a", 2: "b"}


def test_fewer_calls_count_more_than_a_longer_wait() -> None:
    records = {"a": AccountRecord(number=1), "b": AccountRecord(number=2)}
    state = books(records, me=process({"a": None, "b": None}, waits(5), leases={1: "a"}))
    assert given(state)[5] == "b"


def test_calls_of_all_processes_count() -> None:
    there = process({"a": None}, leases={1: "a"})
    state = books(me=process({"a": None, "b": None}, waits(5)), other=there)
    assert given(state) == {5: "b"}
    state = books(me=process({"a": 1}, waits(5)), other=there)
    assert given(state) == {}


def test_a_new_call_is_written_down() -> None:
    records = {"a": AccountRecord(calls=4, failures=2, number=3, changed=50.0)}
    state = settled(books(records, me=process({"a": 1}, waits(5))), ME, NOW)
    assert state.account("a") == AccountRecord(calls=5, failures=2, number=91, changed=NOW)
    assert state.last_number == 91
    assert state.holder(ME).tickets == ()


def test_the_order_of_uses_is_kept_within_one_step() -> None:
    """Or else two calls at once would leave two accounts that have waited equally long."""
    accounts: dict[str, int | None] = {"a": 1, "b": 1}
    state = settled(books(me=process(accounts, waits(1), waits(2))), ME, NOW)
    assert [state.account(name).number for name in "ab"] == [91, 92]


@pytest.mark.parametrize("limit", [1, 2, 3, None])
def test_no_account_has_more_calls_than_it_takes(limit: int | None) -> None:
    state = books(me=process({"a": limit}, *map(waits, range(1, 8))))
    assert len(given(state)) == (limit or 7)


def test_an_account_that_cools_down_is_left_alone_until_then() -> None:
    records = {"a": AccountRecord(cools_until=NOW)}
    state = books(records, me=process({"a": 1}, waits(1)))
    assert given(state, now=NOW - 0.001) == {}
    assert given(state, now=NOW) == {1: "a"}


def test_an_account_that_is_out_is_left_alone() -> None:
    state = books({"a": AccountRecord(is_out=True)}, me=process({"a": 1, "b": 1}, waits(1)))
    assert given(state) == {1: "b"}
    assert given(state, now=NOW + 1e9) == {1: "b"}


def test_nothing_changes_where_nobody_can_be_served() -> None:
    for holder in (process({"a": 1}), process({"a": 1}, waits(1), leases={9: "a"}), process({})):
        state = books(me=holder)
        assert settled(state, ME, NOW) is state


# --- first come, first served --------------------------------------------------------------------


def test_first_come_first_served() -> None:
    state = books(me=process({"a": 1}, waits(1, number=8), waits(2, number=3)))
    assert given(state) == {2: "a"}


def test_who_was_first_once_is_first_again() -> None:
    assert waits(1, number=FIRST).number == 0
    state = books(me=process({"a": 1}, waits(1, number=1), waits(2, number=FIRST)))
    assert given(state) == {2: "a"}


def test_those_who_were_first_once_keep_their_order() -> None:
    tickets = (waits(2, number=FIRST), waits(1, number=FIRST))
    assert given(books(me=process({"a": 1}, *tickets))) == {2: "a"}


def test_a_call_that_takes_one_account_does_not_keep_those_behind_it_waiting() -> None:
    accounts: dict[str, int | None] = {"a": 1, "b": 1}
    state = books(
        {"a": AccountRecord(cools_until=inf)},
        me=process(accounts, waits(1, account_id="a"), waits(2), waits(3)),
    )
    assert given(state) == {2: "b"}


def test_a_call_that_takes_any_account_leaves_none_to_one_that_came_later() -> None:
    accounts: dict[str, int | None] = {"a": 1}
    state = books(me=process(accounts, waits(1), waits(2, account_id="a")))
    assert given(state) == {1: "a"}


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({}, "ab"),
        ({"account_id": "a"}, "a"),
        ({"excluded": frozenset("a")}, "b"),
        ({"account_id": "a", "excluded": frozenset("a")}, ""),
    ],
)
def test_what_a_call_takes(fields: dict[str, Any], taken: str) -> None:
    ticket = waits(1, **fields)
    assert [name for name in "ab" if ticket.takes(name)] == [*taken]
    expected = {1: taken[0]} if taken else {}
    assert given(books(me=process({"a": 1, "b": 1}, ticket))) == expected


# --- processes that share the books --------------------------------------------------------------


def test_what_is_another_processs_turn_is_left_to_it() -> None:
    state = books(
        me=process({"a": 1, "b": 1}, waits(7, number=2)),
        other=process({"a": 1, "b": 1}, waits(7, number=1)),
    )
    mine = settled(state, ME, NOW)
    assert mine.holder(ME).leases == {7: "b"}
    assert mine.holder(OTHER) == state.holder(OTHER)
    assert settled(mine, OTHER, NOW).holder(OTHER).leases == {7: "a"}


def test_each_process_gives_accounts_of_its_own() -> None:
    """The call before it does not have the account, and does not stand in the way."""
    state = books(
        me=process({"mine": 1}, waits(1, number=2)), other=process({"theirs": 1}, waits(1))
    )
    assert given(state) == {1: "mine"}
    assert given(state, OTHER) == {1: "theirs"}


def test_a_limit_is_that_of_the_process_that_calls() -> None:
    state = books(
        me=process({"a": 2}, waits(1)), other=process({"a": 1}, waits(2), leases={1: "a"})
    )
    assert given(state, OTHER) == {1: "a"}
    assert given(state) == {1: "a"}


@pytest.mark.parametrize(
    ("seen", "expected"), [(NOW - PATIENCE, {1: "a"}), (NOW - PATIENCE + 0.001, {})]
)
def test_a_process_that_asks_no_more_has_no_turn(seen: float, expected: dict[int, str]) -> None:
    state = books(
        me=process({"a": 1}, waits(1, number=2)),
        other=process({"a": 1}, waits(1, number=1), seen=seen),
    )
    assert given(state) == expected


def test_who_asks_has_its_turn_however_long_ago_it_was_seen() -> None:
    state = books(me=process({"a": 1}, waits(1), seen=-inf, until=-inf))
    assert given(state) == {1: "a"}


@pytest.mark.parametrize("until", [NOW, NOW + 0.001])
def test_the_leases_of_a_dead_process_expire(until: float) -> None:
    state = books(
        me=process({"a": 1}, waits(1)),
        other=process({"a": 1}, waits(2), leases={1: "a"}, until=until),
    )
    after = settled(state, ME, NOW)
    if until > NOW:
        assert after is state
    else:
        assert after.holder(ME).leases == {1: "a"}
        assert set(after.holders) == {ME}


def test_the_dead_are_forgotten_though_nobody_waits() -> None:
    state = books(me=process({"a": 1}), other=process({"a": 1}, leases={1: "a"}, until=NOW))
    assert settled(state, ME, NOW) == evolve(state, holders={ME: state.holder(ME)})


def test_what_an_account_did_survives_the_process_that_saw_it() -> None:
    records = {"a": AccountRecord(is_out=True, reason="unknown")}
    state = books(records, me=process({}), other=process({"a": 1}, until=NOW))
    assert settled(state, ME, NOW).accounts == records


# --- books that were begun anew ------------------------------------------------------------------


def test_books_that_were_begun_anew_give_nothing_until_they_open() -> None:
    state = evolve(books(me=process({"a": 1}, waits(1))), opens=NOW)
    assert settled(state, ME, NOW - 0.001) is state
    assert given(state) == {1: "a"}
    assert state.free_at(waits(1), ME, NOW - 10) == NOW
    assert state.free_at(waits(1), ME, NOW + 10) == NOW + 10


def test_the_dead_are_forgotten_before_the_books_open() -> None:
    dead = process({"a": 1}, leases={1: "a"}, until=NOW)
    state = evolve(books(me=process({"a": 1}, waits(1)), other=dead), opens=inf)
    assert set(settled(state, ME, NOW).holders) == {ME}


# --- what is looked up ---------------------------------------------------------------------------


def test_what_is_not_in_the_books_is_new() -> None:
    state = PoolState()
    assert state.account("a") == AccountRecord()
    assert state.holder(ME) == Holder()
    assert state.holder(ME).is_idle
    assert not state.account("a").is_resting(-1e9)


def test_a_process_that_waits_or_calls_is_not_idle() -> None:
    assert not process({}, waits(1)).is_idle
    assert not process({}, leases={1: "a"}).is_idle
    assert process({}, waits(1)).ticket(1) == waits(1)
    assert process({}, waits(1)).ticket(2) is None


@pytest.mark.parametrize(
    ("records", "fields", "expected"),
    [
        ({}, {}, NOW),
        ({"a": AccountRecord(cools_until=130)}, {}, NOW),
        ({"a": AccountRecord(cools_until=130)}, {"account_id": "a"}, 130),
        ({"a": AccountRecord(cools_until=90)}, {"account_id": "a"}, NOW),
        ({"a": AccountRecord(cools_until=130), "b": AccountRecord(cools_until=120)}, {}, 120),
        ({"a": AccountRecord(cools_until=130), "b": AccountRecord(is_out=True)}, {}, 130),
        ({"a": AccountRecord(cools_until=130, is_out=True)}, {"account_id": "a"}, inf),
        ({}, {"account_id": "z"}, None),
        ({}, {"excluded": frozenset("ab")}, None),
    ],
)
def test_when_an_account_could_be_free(
    records: dict[str, AccountRecord], fields: dict[str, Any], expected: float | None
) -> None:
    """An account at its limit could be free at any moment."""
    state = books(records, me=process({"a": 1, "b": 1}, leases={8: "a", 9: "b"}))
    assert state.free_at(waits(1, **fields), ME, NOW) == expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [(0.0, 110.0), (110.0, 120.0), (119.9, 120.0), (120.0, 140.0), (140.0, inf)],
)
def test_when_the_next_account_has_cooled_down(now: float, expected: float) -> None:
    records = {
        "a": AccountRecord(cools_until=120.0),
        "b": AccountRecord(cools_until=110.0),
        "c": AccountRecord(cools_until=115.0, is_out=True),
        "d": AccountRecord(),
    }
    assert PoolState(records, opens=140.0).next_opening(now) == expected


@pytest.mark.parametrize(
    ("change", "is_worse"),
    [
        ({}, False),
        ({"a": AccountRecord(cools_until=150.0)}, False),
        ({"a": AccountRecord(cools_until=250.0)}, True),
        ({"a": AccountRecord(cools_until=200.0, is_out=True)}, True),
        ({"b": AccountRecord(cools_until=150.0)}, True),
        ({"d": AccountRecord(is_out=True)}, False),
    ],
)
def test_what_is_worse_for_those_who_wait(change: dict[str, AccountRecord], is_worse: bool) -> None:
    """An account of their own process rests for longer; not one of another, or a shorter rest."""
    records = {"a": AccountRecord(cools_until=200.0), "b": AccountRecord()}
    before = books(records, me=process({"a": 1, "b": 1}), other=process({"d": 1}))
    after = books({**records, **change}, me=process({"a": 1, "b": 1}), other=process({"d": 1}))
    assert after.is_worse_than(before, ME) is is_worse


def test_fewer_accounts_and_lost_books_are_worse() -> None:
    before = books({}, me=process({"a": 1, "b": 1}))
    assert books({}, me=process({"a": 1})).is_worse_than(before, ME)
    assert not before.is_worse_than(books({}, me=process({"a": 1})), ME)
    assert evolve(before, opens=5.0).is_worse_than(before, ME)
