"""What a pool tells of its accounts."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import inf
from typing import Literal, TypeAlias

from attrs import frozen

from chatgpt.core.errors import ChatGPTErrorType
from chatgpt.core.pool.state import AccountRecord, PoolState

AccountState: TypeAlias = Literal["ready", "busy", "cooling", "out"]
"""Whether an account takes a call now; is at its limit; cools down; is out of service until it is put back."""


@frozen
class AccountStatus:
    """What a pool knows of an account.

    Attributes:
        account_id: its id.
        state: `"ready"`, `"busy"` (it has as many calls as it takes), `"cooling"`, or `"out"` (of service, until
            `restore_account`).
        since: when it came into this state, or when its last call began or ended. UTC.
        until: when it has cooled down; `None` in every other state. UTC.
        reason: the type of the error for which it cools down or is out; `None` in every other state.
        running: how many calls it has now, of all processes that share the pool.
        max_concurrent: how many it takes at once; `None` for any number.
        calls: how many calls it was given.
        failures: how many of them failed by its own fault.
    """

    account_id: str
    state: AccountState
    since: datetime
    until: datetime | None
    reason: ChatGPTErrorType | None
    running: int
    max_concurrent: int | None
    calls: int
    failures: int


def statuses(
    state: PoolState, holder_id: str, now: float, date: datetime
) -> dict[str, AccountStatus]:
    """Tell of all accounts of a holder, in their order.

    Args:
        state: the books.
        holder_id: whose accounts.
        now: the time by which the books are kept.
        date: the same moment as a date.
    """
    running = state.running()
    return {
        account_id: _status(
            account_id, state.account(account_id), running[account_id], limit, now, date
        )
        for account_id, limit in state.holder(holder_id).accounts.items()
    }


def _status(
    account_id: str,
    record: AccountRecord,
    running: int,
    limit: int | None,
    now: float,
    date: datetime,
) -> AccountStatus:
    def date_of(time: float) -> datetime:
        return date if time == -inf else date + timedelta(seconds=time - now)

    if record.is_out:
        label: AccountState = "out"
    elif now < record.cools_until:
        label = "cooling"
    else:
        label = "ready" if limit is None or running < limit else "busy"
    rests = label in ("out", "cooling")
    since = record.cools_since if rests else max(record.changed, record.cools_until)
    return AccountStatus(
        account_id=account_id,
        state=label,
        since=date_of(since),
        until=date_of(record.cools_until) if label == "cooling" else None,
        reason=record.reason if rests else None,
        running=running,
        max_concurrent=limit,
        calls=record.calls,
        failures=record.failures,
    )
