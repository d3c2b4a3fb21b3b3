"""The books of a pool: who uses which account, who waits for one, and who is next.

Strategy: `PoolState` is an immutable value. `settled` gives the accounts that are free to those who wait; it is a
pure function of the state and the time, and the only place where an account is chosen.

Rules:

1. Chosen is the account that has waited longest: of those that are neither cooling down nor out of service nor
   at their limit, one with the fewest calls, and among these the one whose last call began or ended first.
2. First come, first served: no account is given to a call while one that came earlier would take it.
3. A process that shares the books is a holder. Each gives accounts to its own calls alone, and leaves to those
   of others what is theirs by rule 2, as long as they ask for it (`seen`).
4. A holder that is not heard of until `until` is dead: its leases have expired, and its calls wait no more.
5. A longer cooldown is never shortened.
6. Books that were lost, and begun anew, give nothing until those who hold accounts have said so (`opens`).
7. Times are in seconds, by one clock that all holders share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import inf
from typing import Final

from attrs import evolve, field, frozen

from chatgpt.core.errors import ChatGPTErrorType

PATIENCE: Final = 3.0
"""Seconds for which a holder that waits is believed to be alive; it says so more often."""


FIRST: Final = 0
"""The place of calls that go from one account to the next."""


@frozen
class Ticket:
    """A call that waits for an account.

    Attributes:
        id: its number in its own process; another one for each account that it goes to.
        account_id: the only account that it takes; `None` for any.
        excluded: those that it does not take, because they have failed it.
        number: its place in the queue: those with smaller ones come first. `None` before it has one; `FIRST` for a
            call that has had an account already: it came before all who wait.
    """

    id: int
    account_id: str | None = None
    excluded: frozenset[str] = frozenset()
    number: int | None = None

    def takes(self, account_id: str) -> bool:
        """Whether it would take an account."""
        return self.account_id in (None, account_id) and account_id not in self.excluded


@frozen
class AccountRecord:
    """What is known of an account.

    Attributes:
        cools_until: when it has cooled down.
        cools_since: when that began, or when it went out of service.
        is_out: whether it is out of service until it is put back.
        reason: the type of the error that it cools down for, or is out of service.
        calls: how many it was given.
        failures: how many of them failed by its own fault.
        number: of the moment when its last call began or ended: the smallest has waited longest.
        changed: when that was, or when it became known.
    """

    cools_until: float = -inf
    cools_since: float = -inf
    is_out: bool = False
    reason: ChatGPTErrorType | None = None
    calls: int = 0
    failures: int = 0
    number: int = 0
    changed: float = -inf

    def is_resting(self, now: float) -> bool:
        """Whether it takes no call, however few it has."""
        return self.is_out or now < self.cools_until


@frozen
class Holder:
    """A process, and what it has of the pool.

    Attributes:
        accounts: its accounts, in their order, each with the number of calls that it takes at once; `None` for any.
        leases: the accounts that its calls use, by the ids of their tickets.
        tickets: its calls that wait.
        seen: when it was last heard of.
        until: when its leases expire.
    """

    accounts: Mapping[str, int | None] = field(factory=dict)
    leases: Mapping[int, str] = field(factory=dict)
    tickets: tuple[Ticket, ...] = ()
    seen: float = -inf
    until: float = inf

    @property
    def is_idle(self) -> bool:
        """Whether no call of it uses or wants an account."""
        return not self.leases and not self.tickets

    def ticket(self, ticket_id: int) -> Ticket | None:
        """The ticket of a call that waits."""
        return next((ticket for ticket in self.tickets if ticket.id == ticket_id), None)


NEW_ACCOUNT: Final = AccountRecord()
NEW_HOLDER: Final = Holder()


@frozen
class PoolState:
    """The books.

    Attributes:
        accounts: what is known of accounts, by their ids; nothing of one that was not used yet.
        holders: the processes that use the pool, by ids that they have chosen.
        last_number: of what happened last.
        opens: when accounts are given to calls again.
    """

    accounts: Mapping[str, AccountRecord] = field(factory=dict)
    holders: Mapping[str, Holder] = field(factory=dict)
    last_number: int = 0
    opens: float = -inf

    def account(self, account_id: str) -> AccountRecord:
        """What is known of an account."""
        return self.accounts.get(account_id, NEW_ACCOUNT)

    def holder(self, holder_id: str) -> Holder:
        """What a process has of the pool."""
        return self.holders.get(holder_id, NEW_HOLDER)

    def with_account(self, account_id: str, record: AccountRecord) -> PoolState:
        """The books with another record of an account."""
        return evolve(self, accounts={**self.accounts, account_id: record})

    def with_holder(self, holder_id: str, holder: Holder) -> PoolState:
        """The books with another entry of a process."""
        return evolve(self, holders={**self.holders, holder_id: holder})

    def used(self, account_id: str, now: float, *, is_new_call: bool) -> PoolState:
        """The books after a call of an account has begun or ended."""
        record, number = self.account(account_id), self.last_number + 1
        calls = record.calls + is_new_call
        record = evolve(record, calls=calls, number=number, changed=now)
        return evolve(self.with_account(account_id, record), last_number=number)

    def next_opening(self, now: float) -> float:
        """When the next account has cooled down; `math.inf` where none does."""
        times = (record.cools_until for record in self.accounts.values() if not record.is_out)
        return min((time for time in (*times, self.opens) if time > now), default=inf)

    def is_worse_than(self, before: PoolState, holder_id: str) -> bool:
        """Whether an account of a holder is gone, or rests for longer than before."""
        if self.opens > before.opens:
            return True
        accounts = before.holder(holder_id).accounts
        if self.accounts is before.accounts and self.holder(holder_id).accounts is accounts:
            return False
        return any(
            account_id not in self.holder(holder_id).accounts
            or self.account(account_id).is_out > before.account(account_id).is_out
            or self.account(account_id).cools_until > before.account(account_id).cools_until
            for account_id in accounts
        )

    def running(self) -> Counter[str]:
        """How many calls each account has, of all holders."""
        return Counter(
            account_id for holder in self.holders.values() for account_id in holder.leases.values()
        )

    def free_at(self, ticket: Ticket, holder_id: str, now: float) -> float | None:
        """When at the earliest an account that a call takes does not rest.

        Returns:
            `now` where one takes calls, be it at its limit; a later time where all of them cool down; `math.inf`
            where all are out of service; `None` where there is none.
        """
        known = self.holder(holder_id).accounts
        records = [self.account(account_id) for account_id in known if ticket.takes(account_id)]
        times = (
            inf if record.is_out else max(now, record.cools_until, self.opens) for record in records
        )
        return min(times, default=None)


def settled(state: PoolState, holder_id: str, now: float) -> PoolState:
    """Give the accounts that are free to the calls of a holder that are next, and forget dead holders.

    Args:
        state: the books.
        holder_id: whose calls are given accounts.
        now: the time.
    """
    dead = [
        name
        for name, holder in state.holders.items()
        if holder.until <= now and name != holder_id  # who asks is alive
    ]
    if dead:
        alive = {name: holder for name, holder in state.holders.items() if name not in dead}
        state = evolve(state, holders=alive)
    if not state.holder(holder_id).tickets or now < state.opens:
        return state
    running = state.running()
    if not _free(state, holder_id, running, now):
        return state
    queue = _queue(state, holder_id, now)
    granted: dict[int, str] = {}
    names = {name for name, _ in queue}
    free = {name: _free(state, name, running, now) for name in names}
    for name, ticket in queue:
        if not free[holder_id]:
            break
        wanted = (
            free[name] if ticket.account_id is None else {ticket.account_id} & free[name].keys()
        )
        account_id = min(
            filter(ticket.takes, wanted),
            key=lambda account_id: (running[account_id], state.account(account_id).number),
            default=None,
        )
        if account_id is None:
            continue
        running[account_id] += 1
        if name == holder_id:  # or else it is that one's to take
            granted[ticket.id] = account_id
            state = state.used(account_id, now, is_new_call=True)
        free = {name: _free(state, name, running, now) for name in names}
    if not granted:
        return state
    own = state.holder(holder_id)
    waiting = tuple(ticket for ticket in own.tickets if ticket.id not in granted)
    return state.with_holder(
        holder_id, evolve(own, tickets=waiting, leases={**own.leases, **granted})
    )


def _queue(state: PoolState, holder_id: str, now: float) -> list[tuple[str, Ticket]]:
    """The calls that wait, with their holders, those that came first before the others."""
    waiting = (
        (name, ticket)
        for name, holder in state.holders.items()
        if name == holder_id or now < holder.seen + PATIENCE
        for ticket in holder.tickets
    )
    return sorted(waiting, key=lambda waiting: waiting[1].number or FIRST)


def _free(
    state: PoolState, holder_id: str, running: Mapping[str, int], now: float
) -> dict[str, None]:
    """The accounts of a holder that take another call now, in their order."""
    return {
        account_id: None
        for account_id, limit in state.holder(holder_id).accounts.items()
        if (limit is None or running[account_id] < limit)
        and not state.account(account_id).is_resting(now)
    }
