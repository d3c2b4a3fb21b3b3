"""One call of a pool, from account to account.

`send_message` is the whole of it, from top to bottom: wait for an account, let its client send the message, and
write into the books what came of it.

Rules:

1. A call has one deadline, for its waits and all of its attempts.
2. It waits while an account could be free before that, and not longer than it can be of use: where all that it
   could take rest beyond its deadline, it fails at once.
3. In the official flow what fails by the fault of an account moves on to the next one at once, in its old place
   in the queue, unless the caller has seen a part of the reply, has named the account, or wants it otherwise
   (`failover=False`). An account that has failed a call and does not cool down is not asked by it again.
4. A message of the web flow is sent once. A conversation of that flow goes on in its own account.
5. A refused token is renewed once before the account is blamed: a 401 by the client itself, a 403 here. (Cloudflare's
   page has nothing to do with the token.)
6. Whatever ends a call, it gives its account back: the ticket is noted before it is used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from math import inf
from typing import Final

from attrs import evolve, frozen

from chatgpt.core.cancelling import CancelToken
from chatgpt.core.errors import (
    BlockedByCloudflareError,
    ChatGPTError,
    PermissionDeniedError,
    PoolError,
)
from chatgpt.core.limits import Limits
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange, Surroundings, TransportFailure
from chatgpt.core.pool.events import CallEnds, CallWaits, PoolEvent
from chatgpt.core.pool.failures import (
    NO_ACCOUNTS,
    NOT_FOUND,
    ON_COOLDOWN,
    TIMEOUT,
    UNAVAILABLE,
    Verdict,
    pool_error,
    refusal,
    refused_login,
    verdict_of,
)
from chatgpt.core.pool.members import Member
from chatgpt.core.pool.needs import AwaitAccount, FindAccount, LeaveAccount, UseAccount
from chatgpt.core.pool.state import FIRST, PoolState, Ticket
from chatgpt.core.sending import obey

LONGEST_NAP: Final = 1.0
"""Seconds after which a call looks by itself what has become of it: Ctrl-C may have cut off whoever should wake it."""


class Ledger(ABC):
    """Keeps the books of a pool, for the calls of this process. No method of it waits.

    Attributes:
        holder_id: this process, in the books.
    """

    holder_id: str

    @property
    @abstractmethod
    def state(self) -> PoolState:
        """The books, as they were last."""

    @abstractmethod
    def now(self) -> float:
        """The time by which the books are kept, in seconds."""

    @abstractmethod
    def new_ticket_id(self) -> int:
        """A number that no other attempt of this process has."""

    @abstractmethod
    def write(self, event: PoolEvent) -> None:
        """Write into the books what happened; calls that are given an account by it are woken."""

    @abstractmethod
    def look_again(self) -> None:
        """Time has passed: give accounts that have cooled down to those who wait."""

    @abstractmethod
    def problem_of(self, ticket_id: int) -> Exception | None:
        """Why the books could not be written for a call that waits; `None` where they could."""

    @abstractmethod
    def remember(self, conversation_id: str, account_id: str) -> None:
        """Note in which account a conversation lives."""


@frozen(kw_only=True)
class PooledCall:
    """A call, as far as the pool decides about it.

    Attributes:
        account_id: the account that the caller wants; `None` for any.
        conversation_id: the conversation of the web flow that goes on; `None` for none.
        timeout: seconds for all of it.
        abort: the token that stops it.
        cooldown: the pool's, in seconds.
        failover: whether a failed attempt may move on to the next account.
    """

    account_id: str | None
    conversation_id: str | None
    timeout: float
    abort: CancelToken | None
    cooldown: float
    failover: bool


def send_message(
    call: PooledCall, ledger: Ledger, surroundings: Surroundings
) -> Exchange[ChatMessage]:
    """Send a message with whichever account is next, and return the reply.

    Args:
        call: what the pool decides by; the message is known to the members.
        ledger: the books.
        surroundings: the clock and the like.

    Raises:
        PoolError: no account could answer.
        ChatGPTError: it failed, and not by the fault of an account.
        TypeError, ValueError: an option is wrong for the account that was next.
    """
    return (yield from _Sending(call, ledger, surroundings).run())


class _Sending:
    """A call on its way through the pool.

    Args:
        call, ledger, surroundings: as in `send_message`.
    """

    def __init__(self, call: PooledCall, ledger: Ledger, surroundings: Surroundings) -> None:
        self._call = call
        self._ledger = ledger
        self._limits = Limits(surroundings.clock, total=call.timeout, idle=inf, connect=inf)
        self._ticket = Ticket(0)
        self._verdict: Verdict | None = None
        self._error: PoolError | None = None
        self._moves = 0

    def run(self) -> Exchange[ChatMessage]:
        """Go from account to account until one answers."""
        yield from obey(self._call.abort, self._limits)
        wanted = yield from self._wanted_account()
        self._ticket = evolve(self._ticket, account_id=wanted)
        while True:
            # Each attempt has an id of its own: of an old one, a ledger may still know the account.
            self._ticket = evolve(self._ticket, id=self._ledger.new_ticket_id())
            self._verdict = None
            try:
                self._ledger.write(CallWaits(self._ticket))
                account_id = yield from self._given_account()
                reply = yield from self._try(account_id)
            finally:
                self._ledger.write(CallEnds(self._ticket.id, self._verdict))
            if reply is not None:
                return reply

    # --- waiting -----------------------------------------------------------------------------

    def _wanted_account(self) -> Exchange[str | None]:
        """The only account that the call can take, if it is not free to take any."""
        call = self._call
        if call.account_id is not None or call.conversation_id is None:
            return call.account_id
        found = yield from FindAccount(call.conversation_id)
        if found is None:
            raise refusal(
                NOT_FOUND,
                f"The pool does not know in which account the conversation {call.conversation_id!r} lives: give "
                "account_id, that of the reply that you answer.",
                is_final=True,
            )
        return found

    def _given_account(self) -> Exchange[str]:
        """Wait for an account."""
        ledger, ticket, limits = self._ledger, self._ticket, self._limits
        while True:
            holder = ledger.state.holder(ledger.holder_id)
            account_id = holder.leases.get(ticket.id)
            if account_id is not None:
                return account_id
            problem = ledger.problem_of(ticket.id)
            if problem is not None:
                message = f"What the pool shares with other processes is out of reach: {problem}"
                raise refusal(UNAVAILABLE, message, cause=problem)
            remaining = limits.remaining
            nap = min(remaining, LONGEST_NAP)
            if holder.ticket(ticket.id) is not None:  # so the books are about it, too
                now = ledger.now()
                rest = self._rest(ledger.state, now)
                if rest >= remaining > 0:
                    raise self._error or self._refused(holder.accounts, rest)
                nap = min(nap, rest or inf)
            if remaining <= 0:
                raise refusal(
                    TIMEOUT,
                    f"No account was free in time: {limits.total_passed()}",
                    cause=self._error,
                )
            try:
                yield from AwaitAccount(ticket.id, nap)
            except TransportFailure as failure:
                raise limits.end_of_wait(failure) from None
            ledger.look_again()

    def _rest(self, state: PoolState, now: float) -> float:
        """Seconds until an account could be free; `math.inf` for never, 0 where it may be at any time."""
        free_at = state.free_at(self._ticket, self._ledger.holder_id, now)
        return inf if free_at is None else free_at - now

    def _refused(self, accounts: Collection[str], rest: float) -> PoolError:
        """The error of a call for which there is nothing to wait for."""
        wanted = self._ticket.account_id
        if not accounts:
            return refusal(NO_ACCOUNTS, "The pool has no accounts.", is_final=True)
        if wanted is not None and wanted not in accounts:
            return refusal(
                NOT_FOUND,
                f"The pool has no account {wanted!r}. It has {', '.join(map(repr, accounts))}.",
                account_id=wanted,
                is_final=True,
            )
        whose = "All accounts of the pool are" if wanted is None else f"The account {wanted!r} is"
        is_out = rest == inf
        rests = (
            "out of service, their quota being used up, until they are put back (restore_account)"
            if is_out
            else f"cooling down for {rest:.3g} s more, which is beyond the call's deadline"
        )
        return refusal(
            NO_ACCOUNTS if wanted is None else ON_COOLDOWN,
            f"{whose} {rests}.",
            account_id=wanted,
            is_final=is_out,
            retry_after=None if is_out else rest,
        )

    # --- attempts ----------------------------------------------------------------------------

    def _try(self, account_id: str) -> Exchange[ChatMessage | None]:
        """Send the message with an account; `None` is returned where another one is to be tried."""
        member = yield from UseAccount(account_id)
        if member is None:  # it was removed a moment ago
            return None
        logins = member.failed_logins
        is_bound = member.keeps_threads or self._ticket.account_id is not None
        may_move = self._call.failover and not is_bound
        try:
            reply = yield from self._sent(member, repeats=not (may_move and self._has_others))
        except ChatGPTError as problem:
            error = problem
        except GeneratorExit:
            if member.failed_logins != logins:  # by an error of the caller's own function
                self._verdict = refused_login(self._call.cooldown)
            raise
        else:
            if member.keeps_threads and reply.conversation_id is not None:
                self._ledger.remember(reply.conversation_id, account_id)
            return reply
        yield from self._failed(error, account_id, may_move=may_move, moves=member.max_retries)
        return None

    @property
    def _has_others(self) -> bool:
        """Whether there is more than one account in service."""
        state, holder_id = self._ledger.state, self._ledger.holder_id
        accounts = state.holder(holder_id).accounts
        return sum(not state.account(account_id).is_out for account_id in accounts) > 1

    def _sent(self, member: Member, *, repeats: bool) -> Exchange[ChatMessage]:
        """Send it; once more with another token, if the server forbids it with this one."""
        try:
            return (yield from member.send(self._limits.remaining, repeats=repeats))
        except PermissionDeniedError as error:
            token = member.token
            if token is None or isinstance(error, BlockedByCloudflareError):
                raise
        member.renew(token)
        return (yield from member.send(self._limits.remaining, repeats=repeats))

    def _failed(
        self, error: ChatGPTError, account_id: str, *, may_move: bool, moves: int
    ) -> Exchange[None]:
        """An attempt has failed: note it, and raise what the caller is to know, unless there is another one."""
        error.account_id = account_id
        verdict = verdict_of(error, self._call.cooldown)
        if verdict is None:
            raise error
        self._verdict = verdict
        has_delivered = yield from LeaveAccount()
        self._error = pool_error(error, verdict, account_id)
        self._moves += verdict.blames == "request"
        if has_delivered or not may_move or verdict.blames == "deadline" or self._moves > moves:
            raise self._error
        rests = verdict.is_out or verdict.cooldown > 0
        excluded = self._ticket.excluded if rests else self._ticket.excluded | {account_id}
        self._ticket = evolve(self._ticket, number=FIRST, excluded=excluded)
