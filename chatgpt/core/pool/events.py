"""What is written into the books of a pool.

Strategy: an event is an immutable value that says what happened to a holder; `applied` is the state after it. It
may be applied to one state, and, where another process was faster, to a later one again.

Rules:

1. An event of a call that is not known any more changes nothing: it may come twice, or too late.
2. No event gives an account to a call; that is `state.settled`'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from attrs import evolve, field, frozen

from chatgpt.core.pool.failures import Verdict
from chatgpt.core.pool.state import NEW_ACCOUNT, AccountRecord, PoolState, Ticket


class PoolEvent(ABC):
    """Something that happened."""

    @abstractmethod
    def applied(self, state: PoolState, holder_id: str, now: float) -> PoolState:
        """Return the books after it.

        Args:
            state: the books before it.
            holder_id: the process in which it happened.
            now: the time.
        """


@frozen
class AccountAdded(PoolEvent):
    """A holder has an account more.

    Attributes:
        account_id: its id.
        limit: how many calls it takes at once; `None` for any.
    """

    account_id: str
    limit: int | None

    def applied(self, state: PoolState, holder_id: str, now: float) -> PoolState:
        """Return the books after it."""
        if self.account_id not in state.accounts:
            state = state.with_account(self.account_id, AccountRecord(changed=now))
        holder = state.holder(holder_id)
        accounts = {**holder.accounts, self.account_id: self.limit}
        return state.with_holder(holder_id, evolve(holder, accounts=accounts))


@frozen
class AccountRemoved(PoolEvent):
    """A holder has an account less.

    What was known of one that nobody has any more is forgotten, unless it rests: a process that was not heard of for
    a while may have it still.

    Attributes:
        account_id: its id.
    """

    account_id: str

    def applied(self, state: PoolState, holder_id: str, now: float) -> PoolState:
        """Return the books after it."""
        holder = state.holder(holder_id)
        accounts = {name: n for name, n in holder.accounts.items() if name != self.account_id}
        changed = state.with_holder(holder_id, evolve(holder, accounts=accounts))
        is_known = any(self.account_id in other.accounts for other in changed.holders.values())
        if is_known or changed.account(self.account_id).is_resting(now):
            return changed
        kept = {name: known for name, known in changed.accounts.items() if name != self.account_id}
        return evolve(changed, accounts=kept)


@frozen
class CallWaits(PoolEvent):
    """A call wants an account.

    Attributes:
        ticket: what it takes; one without a number goes to the end of the queue.
    """

    ticket: Ticket

    def applied(self, state: PoolState, holder_id: str, now: float) -> PoolState:  # noqa: ARG002
        """Return the books after it."""
        holder, ticket = state.holder(holder_id), self.ticket
        if ticket.id in holder.leases or holder.ticket(ticket.id) is not None:
            return state
        if ticket.number is None:
            state = evolve(state, last_number=state.last_number + 1)
            ticket = evolve(ticket, number=state.last_number)
        return state.with_holder(holder_id, evolve(holder, tickets=(*holder.tickets, ticket)))


@frozen
class CallEnds(PoolEvent):
    """A call has no account any more, and wants none.

    Attributes:
        ticket_id: the id of its ticket.
        verdict: what its account has to do with it; `None` for nothing.
    """

    ticket_id: int
    verdict: Verdict | None = field(default=None)

    def applied(self, state: PoolState, holder_id: str, now: float) -> PoolState:
        """Return the books after it."""
        holder = state.holder(holder_id)
        account_id = holder.leases.get(self.ticket_id)
        if account_id is None:
            waiting = tuple(t for t in holder.tickets if t.id != self.ticket_id)
            if len(waiting) == len(holder.tickets):
                return state
            return state.with_holder(holder_id, evolve(holder, tickets=waiting))
        leases = {key: name for key, name in holder.leases.items() if key != self.ticket_id}
        state = state.with_holder(holder_id, evolve(holder, leases=leases))
        if self.verdict is None and account_id not in state.accounts:
            return state  # nobody has it any more
        state = state.used(account_id, now, is_new_call=False)
        return state if self.verdict is None else _blamed(state, account_id, self.verdict, now)


def _blamed(state: PoolState, account_id: str, verdict: Verdict, now: float) -> PoolState:
    """The books after an account has failed a call."""
    record = state.account(account_id)
    failures, until = record.failures + 1, now + verdict.cooldown
    if verdict.is_out:
        since = record.cools_since if record.is_out else now
        record = evolve(record, is_out=True, cools_since=since, reason=verdict.type)
    elif until > max(now, record.cools_until):  # a longer one is never shortened
        since = record.cools_since if record.is_resting(now) else now
        reason = record.reason if record.is_out else verdict.type
        record = evolve(record, cools_until=until, cools_since=since, reason=reason)
    return state.with_account(account_id, evolve(record, failures=failures))


@frozen
class AccountRestored(PoolEvent):
    """An account takes calls again, whatever it did.

    Attributes:
        account_id: its id.
    """

    account_id: str

    def applied(self, state: PoolState, holder_id: str, now: float) -> PoolState:  # noqa: ARG002
        """Return the books after it."""
        record = state.account(self.account_id)
        new = NEW_ACCOUNT
        healed = evolve(
            record,
            cools_until=new.cools_until,
            cools_since=new.cools_since,
            is_out=False,
            reason=None,
            changed=now if record.is_resting(now) else max(record.changed, record.cools_until),
        )
        return state if healed == record else state.with_account(self.account_id, healed)
