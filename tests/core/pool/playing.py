"""Playing the calls of a pool by hand: made-up time, books in memory, accounts that do as they are told.

Rules:

1. The time of the books is another one than that of the calls, as it is where processes share them.
2. An account is suspended once before its outcome, so that a call can be stopped, or overtaken, in the midst of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, TypeAlias

import pytest

from chatgpt import CancelToken, ChatMessage, PoolError
from chatgpt.core.needs import (
    Exchange,
    Need,
    ObeyToken,
    ReadChunk,
    ReportProgress,
    Running,
    TransportFailure,
)
from chatgpt.core.pool.events import AccountAdded, AccountRemoved, PoolEvent
from chatgpt.core.pool.members import Member
from chatgpt.core.pool.needs import AwaitAccount, LeaveAccount, UseAccount
from chatgpt.core.pool.sending import Ledger, PooledCall, PoolSending
from chatgpt.core.pool.state import AccountRecord, Holder, PoolState, settled
from chatgpt.core.secrets import Secret
from tests.stepping import Clock, surroundings

HERE = "here"
COOLDOWN = 60.0
CLOCKS_APART = 5000.0
"""Seconds by which the clock of the books is ahead of that of the calls."""

REPLY = ChatMessage(id="r", text="Hello!", role="assistant")

Outcome: TypeAlias = ChatMessage | BaseException | Callable[[], Exchange[ChatMessage]]
"""What comes of an attempt: a reply, an error, or what is done for it."""


class Books(Ledger):
    """The books in memory, for one process.

    Args:
        clock: the calls' clock.
        limits: the accounts, each with the number of calls that it takes at once.

    Attributes:
        conversations: the accounts of conversations.
        looked_up: what was looked up, in order.
        problem: why the books cannot be written.
        unwritten: where it is a list, what is to be written goes there, and nothing is found, as where others must
            be asked first.
    """

    holder_id = HERE

    def __init__(self, clock: Clock, limits: Mapping[str, int | None]) -> None:
        self._clock = clock
        self._state = PoolState()
        self._ids = count(1)
        self.conversations: dict[str, str] = {}
        self.looked_up: list[str] = []
        self._found: dict[int, str] = {}
        self.problem: Exception | None = None
        self.unwritten: list[PoolEvent] | None = None
        for account_id, limit in limits.items():
            self.write(AccountAdded(account_id, limit))

    @property
    def state(self) -> PoolState:
        return self._state

    @property
    def own(self) -> Holder:
        return self._state.holder(HERE)

    def now(self) -> float:
        return self._clock.seconds + CLOCKS_APART

    def new_ticket_id(self) -> int:
        return next(self._ids)

    def write(self, event: PoolEvent) -> None:
        if self.unwritten is None:
            self._state = settled(event.applied(self._state, HERE, self.now()), HERE, self.now())
        else:
            self.unwritten.append(event)

    def catch_up(self) -> None:
        """Write what was not written yet."""
        unwritten, self.unwritten = self.unwritten or [], None
        for event in unwritten:
            self.write(event)

    def put(self, account_id: str, record: AccountRecord) -> None:
        """Have something known of an account."""
        self._state = self._state.with_account(account_id, record)

    def look_again(self) -> None:
        self._state = settled(self._state, HERE, self.now())

    def problem_of(self, ticket_id: int) -> Exception | None:
        return self.problem

    def look_up(self, ticket_id: int, conversation_id: str) -> None:
        self.looked_up.append(conversation_id)
        self._found[ticket_id] = self.conversations.get(conversation_id, "")

    def found(self, ticket_id: int) -> str | None:
        return self._found[ticket_id] if self.unwritten is None else None

    def remember(self, conversation_id: str, account_id: str) -> None:
        self.conversations[conversation_id] = account_id


class Account(Member):
    """An account that does as it is told.

    Args:
        outcomes: what comes of its attempts, one after the other; then `REPLY` for ever.
        keeps_threads: whether it is of the web flow.
        token: its access token, where it has one that can be renewed.
        max_retries: how often its client repeats a request.
    """

    def __init__(
        self,
        *outcomes: Outcome,
        keeps_threads: bool = False,
        token: Secret | None = None,
        max_retries: int = 2,
    ) -> None:
        self.outcomes = list(outcomes)
        self.keeps_threads = keeps_threads
        self.max_retries = max_retries
        self.current = token
        self.renewed: list[Secret] = []
        self.logins_that_failed = 0
        self.timeouts: list[float] = []
        self.repeats: list[bool] = []

    def send(self, timeout: float, *, repeats: bool) -> Exchange[ChatMessage]:
        self.timeouts.append(timeout)
        self.repeats.append(repeats)
        return self._attempt(self.outcomes.pop(0) if self.outcomes else REPLY)

    def _attempt(self, outcome: Outcome) -> Exchange[ChatMessage]:
        yield from ReadChunk(1.0)
        if isinstance(outcome, BaseException):
            raise outcome
        if isinstance(outcome, ChatMessage):
            return outcome
        return (yield from outcome())

    @property
    def token(self) -> Secret | None:
        return self.current

    def renew(self, token: Secret) -> None:
        self.renewed.append(token)
        self.current = Secret(f"token-{len(self.renewed) + 1}")

    @property
    def failed_logins(self) -> int:
        return self.logins_that_failed


class Pool:
    """Accounts, their books, and a clock for both.

    Args:
        limits: how many calls each account takes at once; 1 where nothing is said.
        accounts: by their ids.
    """

    def __init__(
        self, limits: Mapping[str, int | None] | None = None, /, **accounts: Account
    ) -> None:
        self.clock = Clock()
        self.accounts = accounts
        self.used: list[str] = []
        self._calls: list[Call] = []
        self.books = Books(self.clock, {name: (limits or {}).get(name, 1) for name in accounts})

    def call(self, **options: Any) -> Call:
        """Begin a call, which lasts until it is closed: one that nobody holds any more ends by itself."""
        call = Call(self, **options)
        self._calls.append(call)
        return call

    def send(self, **options: Any) -> ChatMessage:
        """Play a call from its beginning to its end."""
        return self.call(**options).run()

    def failed(self, **options: Any) -> PoolError:
        """Play a call that fails, and return its error; nothing of it may be left in the books."""
        before = self.books.own
        with pytest.raises(PoolError) as caught:
            self.send(**options)
        assert self.books.own == before
        return caught.value

    def remove(self, account_id: str) -> None:
        """Take an account out, as the shells do: of the books first."""
        self.books.write(AccountRemoved(account_id))
        del self.accounts[account_id]

    def record(self, account_id: str) -> AccountRecord:
        return self.books.state.account(account_id)

    def cool(self, account_id: str, seconds: float, *, is_out: bool = False) -> None:
        """Have an account cool down for so long, or be out of service."""
        until = self.books.now() + seconds
        self.books.put(account_id, AccountRecord(until, is_out=is_out, reason="unknown"))

    def rest(self, account_id: str) -> float:
        """Seconds for which an account cools down from now on."""
        return max(self.record(account_id).cools_until - self.books.now(), 0.0)

    @property
    def is_idle(self) -> bool:
        """Whether no call has left anything in the books."""
        return self.books.own.is_idle


class Call:
    """A call on its way. While it waits for an account that it is not given, time passes.

    Args:
        pool: whose.
        options: those of `PooledCall`; by default a call of 600 s for any account.
    """

    def __init__(self, pool: Pool, **options: Any) -> None:
        defaults: dict[str, Any] = {
            "account_id": None,
            "conversation_id": None,
            "is_only": False,
            "is_web": any(account.keeps_threads for account in pool.accounts.values()),
            "timeout": 600.0,
            "abort": None,
            "cooldown": COOLDOWN,
            "failover": True,
        }
        self.pool = pool
        self.naps: list[float] = []
        self.needs: list[Need[Any]] = []
        self._has_delivered = False
        self._token: CancelToken | None = None
        self.sending = PoolSending(
            PooledCall(**{**defaults, **options}), pool.books, surroundings(pool.clock)
        )
        self.running = Running(self.sending.run())

    def run(self) -> ChatMessage:
        """Go on to the end."""
        while self.running.need is not None:
            self.step()
        return self.running.result()

    def go_on_to(self, kind: type[Need[Any]]) -> Call:
        """Go on until there is a need of this kind, which is left open."""
        while not isinstance(self.running.need, kind):
            assert self.running.need is not None, f"the call ended without {kind.__name__}"
            self.step()
        return self

    def close(self) -> None:
        """End it where it stands."""
        self.running.close()

    def step(self) -> None:
        """Meet its need."""
        need = self.running.need
        assert need is not None
        self.needs.append(need)
        try:
            answer = self._answer(need)
        except TransportFailure as failure:
            self.running.fail(failure)
        else:
            self.running.resume(answer)

    def _answer(self, need: Need[Any]) -> object:
        pool = self.pool
        match need:
            case ObeyToken(token):
                self._token = token
            case AwaitAccount(ticket_id, seconds):
                if self._token is not None and self._token.is_cancelled:
                    raise TransportFailure("aborted", "the token was cancelled")
                if ticket_id not in pool.books.own.leases:
                    self.naps.append(seconds)
                    pool.clock.seconds += seconds
            case UseAccount(account_id):
                pool.used.append(account_id)
                return pool.accounts.get(account_id)
            case ReportProgress():
                self._has_delivered = True
            case LeaveAccount():
                return self._has_delivered
            case ReadChunk():
                return b""
            case _:
                raise AssertionError(need)
        return None
