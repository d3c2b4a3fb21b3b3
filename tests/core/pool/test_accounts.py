"""What a pool tells of its accounts."""

from __future__ import annotations

from datetime import timedelta
from math import inf

import pytest

from chatgpt.core.errors import RateLimitError
from chatgpt.core.pool.accounts import AccountStatus, statuses
from chatgpt.core.pool.failures import RATE_LIMIT, UNKNOWN, verdict_of
from chatgpt.core.pool.state import AccountRecord, Holder, PoolState
from tests.stepping import NOW as DATE

NOW = 1000.0
ME = "me"


def ago(seconds: float) -> object:
    return DATE - timedelta(seconds=seconds)


def status(
    record: AccountRecord | None = None, *, limit: int | None = 2, running: int = 0
) -> AccountStatus:
    """The status of an account, half of whose calls, rounded up, are another process's."""
    mine = dict.fromkeys(range(running // 2), "a")
    theirs = dict.fromkeys(range(running - running // 2), "a")
    state = PoolState(
        accounts={} if record is None else {"a": record},
        holders={ME: Holder({"a": limit}, mine), "other": Holder({"a": 9}, theirs)},
    )
    return statuses(state, ME, NOW, DATE)["a"]


def test_a_new_account_is_ready() -> None:
    assert status() == AccountStatus("a", "ready", DATE, None, None, 0, 2, 0, 0)
    assert status(AccountRecord(changed=940.0)).since == ago(60)


def test_an_account_that_was_used_is_ready_since_its_last_call() -> None:
    record = AccountRecord(calls=7, failures=3, number=5, changed=940.0)
    assert status(record, running=1) == AccountStatus(
        "a", "ready", DATE - timedelta(seconds=60), None, None, 1, 2, 7, 3
    )


@pytest.mark.parametrize(
    ("limit", "running", "state"),
    [(2, 1, "ready"), (2, 2, "busy"), (2, 3, "busy"), (1, 1, "busy"), (None, 50, "ready")],
)
def test_an_account_is_busy_with_the_calls_of_all_processes(
    limit: int | None, running: int, state: str
) -> None:
    shown = status(AccountRecord(changed=990.0), limit=limit, running=running)
    assert (shown.state, shown.running, shown.max_concurrent) == (state, running, limit)
    assert (shown.since, shown.until, shown.reason) == (ago(10), None, None)


@pytest.mark.parametrize("running", [0, 2])
def test_an_account_cools_down(running: int) -> None:
    record = AccountRecord(1120.0, 940.0, reason=RATE_LIMIT, failures=1, changed=999.0)
    shown = status(record, running=running)
    assert (shown.state, shown.reason, shown.running) == ("cooling", RATE_LIMIT, running)
    assert (shown.since, shown.until) == (ago(60), ago(-120))


def test_an_account_that_has_cooled_down_is_ready_since_then() -> None:
    shown = status(AccountRecord(980.0, 900.0, reason=UNKNOWN, changed=900.0))
    assert (shown.state, shown.since, shown.until, shown.reason) == ("ready", ago(20), None, None)
    at_the_moment = status(AccountRecord(NOW, 900.0, reason=UNKNOWN, changed=900.0))
    assert (at_the_moment.state, at_the_moment.since) == ("ready", DATE)
    used_since = status(AccountRecord(980.0, 900.0, reason=UNKNOWN, changed=995.0))
    assert used_since.since == ago(5)


@pytest.mark.parametrize("cools_until", [-inf, 980.0, 1120.0])
def test_an_account_is_out(cools_until: float) -> None:
    """Until it is put back, and not until it would have cooled down."""
    record = AccountRecord(cools_until, 940.0, is_out=True, reason=RATE_LIMIT, changed=999.0)
    shown = status(record, running=2)
    assert (shown.state, shown.reason) == ("out", RATE_LIMIT)
    assert (shown.since, shown.until) == (ago(60), None)


@pytest.mark.parametrize(
    ("cooldown", "asked"),
    [
        (60.0, 1e12),
        (60.0, 1e300),
        (1e12, None),
        (1e308, None),
    ],
)
def test_the_end_of_a_cooldown_is_a_date(cooldown: float, asked: float | None) -> None:
    """Whatever a server asks for, and whatever number of seconds the pool is given."""
    verdict = verdict_of(RateLimitError("x", retry_after=asked), cooldown)
    assert verdict is not None
    shown = status(AccountRecord(NOW + verdict.cooldown, NOW, reason=RATE_LIMIT))
    assert shown.state == "cooling"
    assert shown.until is not None
    assert shown.until > DATE


def test_a_process_tells_of_its_own_accounts_in_their_order() -> None:
    state = PoolState(
        accounts={"z": AccountRecord(calls=1)},
        holders={ME: Holder({"c": 1, "a": None}, {1: "gone"}), "other": Holder({"z": 1})},
    )
    shown = statuses(state, ME, NOW, DATE)
    assert [(name, each.account_id) for name, each in shown.items()] == [("c", "c"), ("a", "a")]
    assert [*statuses(state, "other", NOW, DATE)] == ["z"]
    assert statuses(state, "unknown", NOW, DATE) == {}
