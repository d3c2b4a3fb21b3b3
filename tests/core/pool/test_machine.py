"""The books of a pool against a simple model of them, by random steps of three processes, one of which dies.

Strategy: the model keeps lists where the books keep numbers, and walks the queue where they compute. After each
step all processes that live look, again and again until nothing changes; what each is given must be what the
model says, and what the rules promise is checked on the books alone.

Rules:

1. The books go through JSON before each step, as between processes.
2. The limit of an account is the same in all processes.
3. A call may end, and wait, twice: nothing may come of it.
"""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import Any

from attrs import define, evolve, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chatgpt.core.pool.documents import from_document, to_document
from chatgpt.core.pool.events import (
    AccountAdded,
    AccountRemoved,
    AccountRestored,
    CallEnds,
    CallWaits,
    PoolEvent,
)
from chatgpt.core.pool.failures import RATE_LIMIT, UNAVAILABLE, UNKNOWN, Verdict
from chatgpt.core.pool.state import FIRST, PATIENCE, PoolState, Ticket, settled

LEASE = 15.0
LIMITS: dict[str, int | None] = {"one": 1, "two": 2, "any": None}
PROCESSES = ("north", "south", "mortal")
MORTAL = "mortal"

VERDICTS = [
    None,
    None,  # most calls end well
    Verdict(RATE_LIMIT, 30.0),
    Verdict(RATE_LIMIT, 90.0),
    Verdict(UNAVAILABLE, 20.0, blames="request"),
    Verdict(UNKNOWN, 50.0),
    Verdict(UNKNOWN, 0.0),
    Verdict(RATE_LIMIT, is_out=True),
]

picks = st.integers(0, 2**16)
account_ids = st.sampled_from([*LIMITS])
process_ids = st.sampled_from(PROCESSES)


@define(eq=False)
class Call:
    """A call of the model."""

    process: str
    id: int
    wanted: str | None
    excluded: frozenset[str]
    is_first: bool

    def takes(self, account_id: str) -> bool:
        return (
            self.wanted is None or self.wanted == account_id
        ) and account_id not in self.excluded


@define
class Known:
    """What the model knows of an account."""

    cools_until: float = -inf
    is_out: bool = False
    calls: int = 0
    failures: int = 0
    uses: list[int] = field(factory=lambda: [0])
    """The moments at which its calls began and ended, by a count that only grows."""


@define
class Model:
    """The pool as the rules tell of it."""

    now: float = 0.0
    moment: int = 0
    opens: float = -inf
    known: dict[str, Known] = field(factory=dict)
    accounts: dict[str, list[str]] = field(factory=dict)
    """Those of each process; of one that is forgotten there is nothing."""
    seen: dict[str, float] = field(factory=dict)
    queue: list[Call] = field(factory=list)
    running: dict[Call, str] = field(factory=dict)

    def use(self, account_id: str) -> None:
        self.moment += 1
        self.known[account_id].uses.append(self.moment)

    def rests(self, account_id: str) -> bool:
        return self.known[account_id].is_out or self.now < self.known[account_id].cools_until

    def enqueue(self, call: Call) -> None:
        """Those that have had an account are before all others; of several, first by their processes."""
        self.queue.append(call)
        self.queue.sort(
            key=lambda call: (0, PROCESSES.index(call.process)) if call.is_first else (1, 0)
        )

    def end(self, call: Call, verdict: Verdict | None) -> None:
        if call in self.queue:
            self.queue.remove(call)
            return
        account_id = self.running.pop(call)
        self.use(account_id)
        if verdict is not None:
            known = self.known[account_id]
            known.failures += 1
            known.is_out = known.is_out or verdict.is_out
            known.cools_until = max(known.cools_until, self.now + verdict.cooldown)

    def forget_the_dead(self, me: str) -> None:
        for process in [*self.accounts]:
            if process != me and self.seen[process] + LEASE <= self.now:
                del self.accounts[process]
                self.queue = [call for call in self.queue if call.process != process]
                self.running = {
                    call: name for call, name in self.running.items() if call.process != process
                }

    def look(self, me: str) -> dict[int, str]:
        """What the calls of a process are given when it looks."""
        self.forget_the_dead(me)
        if self.now < self.opens:
            return {}
        busy = Counter(self.running.values())
        given: dict[int, str] = {}
        for call in [*self.queue]:
            if call.process != me and self.seen[call.process] + PATIENCE <= self.now:
                continue
            free = [
                account_id
                for account_id in self.accounts[call.process]
                if call.takes(account_id) and not self.rests(account_id)
                if busy[account_id] < (LIMITS[account_id] or inf)
            ]
            if free:
                chosen = min(free, key=lambda name: (busy[name], self.known[name].uses[-1]))
                busy[chosen] += 1
                if call.process == me:
                    given[call.id] = chosen
                    self.queue.remove(call)
                    self.running[call] = chosen
                    self.known[chosen].calls += 1
                    self.use(chosen)
        return given


class Books(RuleBasedStateMachine):
    """Random steps, on the books and on the model."""

    def __init__(self) -> None:
        super().__init__()
        self.state = PoolState()
        self.model = Model()
        self.alive = set(PROCESSES)
        self.ids = 0
        for process in PROCESSES:
            self.model.accounts[process] = []
            for account_id in LIMITS:
                self.add(process, account_id)

    # --- steps -------------------------------------------------------------------------------

    @rule(
        process=process_ids,
        wanted=st.none() | account_ids,
        excluded=st.frozensets(account_ids, max_size=2),
        is_first=st.sampled_from([False, False, True]),
        count=st.integers(1, 3),
    )
    def wait(
        self, process: str, wanted: str | None, excluded: frozenset[str], is_first: bool, count: int
    ) -> None:
        if process not in self.alive:
            return
        for _ in range(count):
            self.ids += 1
            number = FIRST if is_first else None
            event = CallWaits(Ticket(self.ids, wanted, excluded, number))
            self.model.enqueue(Call(process, self.ids, wanted, excluded, is_first))
            self.write(process, event, event)

    @precondition(lambda self: self.living_calls(self.model.running))
    @rule(pick=picks, verdict=st.sampled_from(VERDICTS))
    def end(self, pick: int, verdict: Verdict | None) -> None:
        self.end_one_of(self.living_calls(self.model.running), pick, verdict)

    @precondition(lambda self: self.living_calls(self.model.queue))
    @rule(pick=picks, verdict=st.sampled_from(VERDICTS))
    def give_up(self, pick: int, verdict: Verdict | None) -> None:
        self.end_one_of(self.living_calls(self.model.queue), pick, verdict)

    @precondition(lambda self: self.living_calls(self.model.running))
    @rule(pick=picks, verdict=st.sampled_from(VERDICTS), is_excluded=st.booleans())
    def move_on(self, pick: int, verdict: Verdict | None, is_excluded: bool) -> None:
        calls = self.living_calls(self.model.running)
        call = calls[pick % len(calls)]
        account_id = self.model.running[call]
        self.end_one_of(calls, pick, verdict)
        excluded = call.excluded | {account_id} if is_excluded else call.excluded
        self.model.enqueue(Call(call.process, call.id, call.wanted, excluded, True))
        event = CallWaits(Ticket(call.id, call.wanted, excluded, FIRST))
        self.write(call.process, event)

    @rule(seconds=st.sampled_from([0.5, PATIENCE, 10.0, LEASE, 40.0, 100.0]))
    def pass_time(self, seconds: float) -> None:
        self.model.now += seconds
        for process in self.alive:
            self.say_alive(process)
        self.look()

    @rule(process=process_ids, account_id=account_ids)
    def add(self, process: str, account_id: str) -> None:
        if process not in self.alive:
            return
        if account_id not in self.model.accounts[process]:
            self.model.accounts[process].append(account_id)
        self.model.known.setdefault(account_id, Known())
        self.write(process, AccountAdded(account_id, LIMITS[account_id]))

    @rule(process=process_ids, account_id=account_ids)
    def remove(self, process: str, account_id: str) -> None:
        if process not in self.alive:
            return
        others = [
            name
            for name, accounts in self.model.accounts.items()
            if name != process and account_id in accounts
        ]
        if not others and account_id in self.model.running.values():
            return  # see `test_events`
        if account_id in self.model.accounts[process]:
            self.model.accounts[process].remove(account_id)
        if not others and account_id in self.model.known and not self.model.rests(account_id):
            del self.model.known[account_id]
        self.write(process, AccountRemoved(account_id), forgets=account_id)

    @rule(process=process_ids, account_id=account_ids)
    def restore(self, process: str, account_id: str) -> None:
        if process not in self.alive:
            return
        if account_id in self.model.known:
            self.model.known[account_id].is_out = False
            self.model.known[account_id].cools_until = -inf
        self.write(process, AccountRestored(account_id), forgets=account_id)

    @rule(chance=st.integers(0, 3))
    def begin_anew(self, chance: int) -> None:
        """As where the books were lost; that all processes have told of their calls is taken for granted."""
        if chance == 0:
            self.model.opens = self.model.now + LEASE
            self.state = evolve(self.state, opens=self.model.opens)

    @precondition(lambda self: MORTAL in self.alive)
    @rule(chance=st.integers(0, 3))
    def kill(self, chance: int) -> None:
        if chance == 0:
            self.alive.discard(MORTAL)

    # --- how they are made -------------------------------------------------------------------

    def living_calls(self, calls: Any) -> list[Call]:
        return [call for call in calls if call.process in self.alive]

    def end_one_of(self, calls: list[Call], pick: int, verdict: Verdict | None) -> None:
        call = calls[pick % len(calls)]
        self.model.end(call, verdict)
        self.write(call.process, *[CallEnds(call.id, verdict)] * 2)

    def write(self, process: str, *events: PoolEvent, forgets: str | None = None) -> None:
        before = self.state = from_document(to_document(self.state))
        for event in events:
            self.state = event.applied(self.state, process, self.model.now)
        for account_id, record in before.accounts.items():
            if account_id != forgets:
                after = self.state.account(account_id)
                assert after.cools_until >= record.cools_until
                assert after.is_out >= record.is_out
        self.say_alive(process)
        self.look()

    def say_alive(self, process: str) -> None:
        now = self.model.now
        self.model.seen[process] = now
        holder = evolve(self.state.holder(process), seen=now, until=now + LEASE)
        self.state = self.state.with_holder(process, holder)

    def look(self) -> None:
        """All processes that live look, until nobody is given anything."""
        given: dict[tuple[str, int], str] = {}
        places = {
            (name, ticket.id): ticket.number
            for name, holder in self.state.holders.items()
            for ticket in holder.tickets
        }
        while True:
            before = self.state
            for process in sorted(self.alive):
                old = self.state.holder(process).leases
                self.state = settled(self.state, process, self.model.now)
                new = {
                    ticket_id: account_id
                    for ticket_id, account_id in self.state.holder(process).leases.items()
                    if ticket_id not in old
                }
                assert new == self.model.look(process)
                given.update({(process, ticket_id): name for ticket_id, name in new.items()})
            if self.state == before:
                break
        for process, ticket in self.waiting():
            for call, account_id in given.items():
                if ticket.takes(account_id) and account_id in self.state.holder(process).accounts:
                    assert (ticket.number or FIRST) >= (places[call] or FIRST)

    def waiting(self) -> list[tuple[str, Ticket]]:
        """The calls that wait, of processes that live."""
        return [
            (process, ticket)
            for process in sorted(self.alive)
            for ticket in self.state.holder(process).tickets
        ]

    # --- what must hold ----------------------------------------------------------------------

    @invariant()
    def no_account_exceeds_its_limit(self) -> None:
        for account_id, calls in self.state.running().items():
            assert calls <= (LIMITS[account_id] or inf)

    @invariant()
    def nobody_waits_who_could_be_served(self) -> None:
        """But for what is kept for a process that died a moment ago."""
        now, running = self.model.now, self.state.running()
        if now < self.model.opens:
            return
        kept = [
            ticket
            for process, holder in self.state.holders.items()
            if process not in self.alive and now < holder.seen + PATIENCE
            for ticket in holder.tickets
        ]
        for process, ticket in self.waiting():
            for account_id, limit in self.state.holder(process).accounts.items():
                is_free = running[account_id] < (limit or inf)
                if is_free and not self.state.account(account_id).is_resting(now):
                    is_kept = any(other.takes(account_id) for other in kept)
                    assert is_kept or not ticket.takes(account_id)

    @invariant()
    def the_books_are_those_of_the_model(self) -> None:
        model = self.model
        calls = {(call.process, call.id): name for call, name in model.running.items()}
        leases = {
            (process, ticket_id): name
            for process, holder in self.state.holders.items()
            for ticket_id, name in holder.leases.items()
        }
        assert leases == calls  # so no call that has ended has an account
        for process, holder in self.state.holders.items():
            waiting = [ticket.id for ticket in sorted(holder.tickets, key=lambda t: t.number or 0)]
            assert waiting == [call.id for call in model.queue if call.process == process]
            assert [*holder.accounts] == model.accounts[process]
        assert set(self.state.holders) == set(model.accounts)
        assert set(self.state.accounts) == set(model.known)
        for account_id, known in model.known.items():
            record = self.state.account(account_id)
            assert (record.calls, record.failures) == (known.calls, known.failures)
            assert record.is_out == known.is_out
            assert record.is_resting(model.now) == model.rests(account_id)
            if model.now < known.cools_until:
                assert record.cools_until == known.cools_until


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=150, stateful_step_count=40)
