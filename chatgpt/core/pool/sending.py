"""One call of a pool, from account to account.

`PoolSending.run` is the whole of it, from top to bottom: wait for an account, let its client send the message, and
write into the books what came of it.

Rules:

1. A call has one deadline, for its waits and all of its attempts.
2. It waits while an account could be free before that, and not longer than it can be of use: where all that it
   could take rest beyond its deadline, it fails at once.
3. In the official flow what fails by the fault of an account moves on to the next one at once, in its old place
   in the queue, unless the caller has seen a part of the reply, has named the account, or wants it otherwise
   (`failover=False`). An account that has refused its key or token, or has failed and does not cool down, is not
   asked by this call again. Where no other account is ready, the client repeats the request as it does alone.
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
    APITimeoutError,
    AuthenticationError,
    BlockedByCloudflareError,
    ChatGPTError,
    PermissionDeniedError,
    PoolError,
)
from chatgpt.core.limits import Limits
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange, Surroundings, TransportFailure, watched
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
    unknown_account,
    verdict_of,
)
from chatgpt.core.pool.members import Member
from chatgpt.core.pool.needs import AwaitAccount, LeaveAccount, UseAccount
from chatgpt.core.pool.state import FIRST, PoolState, Ticket
from chatgpt.core.sending import obey

LONGEST_NAP: Final = 5.0
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
        """Write into the books what happened; calls are woken for which there is news in it."""

    @abstractmethod
    def look_again(self) -> None:
        """Time has passed: give accounts that have cooled down to those who wait."""

    @abstractmethod
    def problem_of(self, ticket_id: int) -> Exception | None:
        """Why the books could not be written for a call that waits; `None` where they could."""

    @abstractmethod
    def look_up(self, ticket_id: int, conversation_id: str) -> None:
        """Look up in which account a conversation lives; a call is woken when it is known."""

    @abstractmethod
    def found(self, ticket_id: int) -> str | None:
        """What was looked up, told once: an account, `""` where none is known; `None` as long as it is not known."""

    @abstractmethod
    def remember(self, conversation_id: str, account_id: str) -> None:
        """Note in which account a conversation lives."""


@frozen(kw_only=True)
class PooledCall:
    """A call, as far as the pool decides about it.

    Attributes:
        account_id: the account that the caller wants; `None` for any.
        conversation_id: the conversation of the web flow that goes on; `None` for none.
        is_only: whether the pool has one account alone: an unknown conversation must be its own.
        is_web: whether the accounts are of the web flow.
        timeout: seconds for all of it.
        abort: the token that stops it.
        cooldown: the pool's, in seconds.
        failover: whether a failed attempt may move on to the next account.
    """

    account_id: str | None
    conversation_id: str | None
    is_only: bool
    is_web: bool
    timeout: float
    abort: CancelToken | None
    cooldown: float
    failover: bool


class PoolSending:
    """A message on its way through the pool.

    Args:
        call: what the pool decides by; the message is known to the members.
        ledger: the books.
        surroundings: the clock and the like.

    Attributes:
        is_left: whether the call is left where it stands. Then whoever leaves it ends it (`end`), once its connection
            is closed: the next call of the account must not meet it.
    """

    def __init__(self, call: PooledCall, ledger: Ledger, surroundings: Surroundings) -> None:
        self._call = call
        self._ledger = ledger
        self._limits = Limits(surroundings.clock, total=call.timeout, idle=inf, connect=inf)
        self._ticket = Ticket(0)
        self._verdict: Verdict | None = None
        self._error: PoolError | None = None
        self._moves = 0
        self._noted: str | None = None
        self._has_begun = False
        self.is_left = False

    def run(self) -> Exchange[ChatMessage]:
        """Send the message with whichever account is next, until one answers; return the reply.

        Raises:
            PoolError: no account could answer.
            ChatGPTError: it failed, and not by the fault of an account.
            TypeError, ValueError: an option is wrong for the account that was next.
        """
        yield from obey(self._call.abort, self._limits)
        while True:
            # Each attempt has an id of its own: of an old one, a ledger may still know the account.
            self._ticket = evolve(self._ticket, id=self._ledger.new_ticket_id())
            self._verdict = None
            self._has_begun = True
            try:
                if self._ticket.account_id is None:
                    wanted = yield from self._wanted_account()
                    self._ticket = evolve(self._ticket, account_id=wanted)
                self._ledger.write(CallWaits(self._ticket))
                account_id = yield from self._given_account()
                reply = yield from self._try(account_id)
            finally:
                if not self.is_left:
                    self.end()
            if reply is not None:
                return reply

    def end(self) -> None:
        """Give back what the call has. May be called again: Ctrl-C may come in the midst of it."""
        if self._has_begun:
            self._ledger.write(CallEnds(self._ticket.id, self._verdict))
            self._has_begun = False

    # --- waiting -----------------------------------------------------------------------------

    def _wanted_account(self) -> Exchange[str | None]:
        """The only account that the call can take, if it is not free to take any."""
        call, ledger, ticket_id = self._call, self._ledger, self._ticket.id
        if call.account_id is not None or call.conversation_id is None:
            return call.account_id
        ledger.look_up(ticket_id, call.conversation_id)
        while (found := ledger.found(ticket_id)) is None:
            yield from self._nap(self._limits.remaining)
        if not found and call.is_only:
            return None
        if not found:
            raise refusal(
                NOT_FOUND,
                f"The pool does not know in which account the conversation {call.conversation_id!r} lives: give "
                "account_id, that of the reply that you answer.",
                is_final=True,
            )
        return found

    def _given_account(self) -> Exchange[str]:
        """Wait for an account."""
        ledger, ticket = self._ledger, self._ticket
        while True:
            holder = ledger.state.holder(ledger.holder_id)
            account_id = holder.leases.get(ticket.id)
            seconds = remaining = self._limits.remaining
            if account_id is not None and remaining > 0:
                return account_id
            if holder.ticket(ticket.id) is not None:  # so the books are about it, too
                state, now = ledger.state, ledger.now()
                rest = self._rest(state, now)
                if rest >= remaining > 0:
                    raise self._refused(holder.accounts, rest)
                seconds = min(seconds, state.next_opening(now) - now)
            yield from self._nap(seconds)

    def _nap(self, seconds: float) -> Exchange[None]:
        """Wait until something happens, or for so long.

        Raises:
            PoolError: the deadline has passed, or the books are out of reach.
            AbortedError: the caller's token was cancelled.
        """
        ledger, limits, ticket_id = self._ledger, self._limits, self._ticket.id
        problem = ledger.problem_of(ticket_id)
        if problem is None and limits.remaining <= 0:
            raise self._late(limits.total_passed())
        if problem is not None:
            message = f"What the pool shares with other processes is out of reach: {problem}"
            raise refusal(UNAVAILABLE, message, cause=problem)
        try:
            yield from AwaitAccount(ticket_id, min(seconds, LONGEST_NAP))
        except TransportFailure as failure:
            raise limits.end_of_wait(failure) from None
        ledger.look_again()

    def _late(self, passed: APITimeoutError) -> PoolError:
        """The error of a call whose deadline has passed while it waited."""
        before = self._error
        waited = f"No account was free in time: {passed}"
        if before is not None:
            waited += f" Before that: {before}"
        account_id = before.account_id if before is not None else self._ticket.account_id
        return refusal(TIMEOUT, waited, account_id=account_id, cause=before)

    def _rest(self, state: PoolState, now: float) -> float:
        """Seconds until an account could be free; `math.inf` for never, 0 where it may be at any time."""
        free_at = state.free_at(self._ticket, self._ledger.holder_id, now)
        return inf if free_at is None else free_at - now

    def _refused(self, accounts: Collection[str], rest: float) -> PoolError:
        """The error of a call for which there is nothing to wait for: what has failed it, if something has."""
        if self._error is not None:
            self._error.retry_after = None if rest == inf else rest
            return self._error
        wanted = self._ticket.account_id
        if not accounts:
            return refusal(NO_ACCOUNTS, "The pool has no accounts.", is_final=True)
        if wanted is not None and wanted not in accounts:
            return unknown_account(wanted, accounts)
        kind = NO_ACCOUNTS if wanted is None else ON_COOLDOWN
        whose = "All accounts of the pool are" if wanted is None else f"The account {wanted!r} is"
        if rest == inf:
            message = f"{whose} out of service until restore_account: out of quota."
            return refusal(kind, message, account_id=wanted, is_final=True)
        message = f"{whose} cooling down for {rest:.3g} s more, beyond the call's deadline."
        return refusal(kind, message, account_id=wanted, retry_after=rest)

    # --- attempts ----------------------------------------------------------------------------

    def _try(self, account_id: str) -> Exchange[ChatMessage | None]:
        """Send the message with an account; `None` is returned where another one is to be tried."""
        member = yield from UseAccount(account_id)
        if member is None:  # it was removed a moment ago
            excluded = self._ticket.excluded | {account_id}
            self._ticket = evolve(self._ticket, number=FIRST, excluded=excluded)
            return None
        logins = member.failed_logins
        is_bound = member.keeps_threads or self._ticket.account_id is not None
        may_move = self._call.failover and not is_bound
        repeats = not (may_move and self._is_other_ready(account_id))
        try:
            reply = yield from self._sent(member, account_id, repeats=repeats)
        except ChatGPTError as problem:
            error = problem
            self._blame_login(member, logins)
        except (
            BaseException
        ):  # of a function of the caller: it passes through here, or closes the exchange
            self._blame_login(member, logins)
            raise
        else:
            self._note(reply, account_id)
            return reply
        yield from self._failed(
            error, account_id, may_move=may_move, moves=0 if repeats else member.max_retries
        )
        return None

    def _blame_login(self, member: Member, logins: int) -> None:
        """Have the account rest if a login has failed meanwhile, whatever the error is."""
        if member.failed_logins != logins:
            self._verdict = refused_login(self._call.cooldown)

    def _is_other_ready(self, account_id: str) -> bool:
        """Whether there is another account that does not rest."""
        state, now = self._ledger.state, self._ledger.now()
        others = self._ticket.excluded | {account_id}
        accounts = state.holder(self._ledger.holder_id).accounts
        return any(
            name not in others and not state.account(name).is_resting(now) for name in accounts
        )

    def _sent(self, member: Member, account_id: str, *, repeats: bool) -> Exchange[ChatMessage]:
        """Send it; once more with another token, if the server forbids it with this one."""
        token = member.token
        try:
            return (yield from self._attempt(member, account_id, repeats=repeats))
        except PermissionDeniedError as error:
            token = token or member.token  # the attempt may have got one
            if token is None or isinstance(error, BlockedByCloudflareError):
                raise
        member.renew(token)
        return (yield from self._attempt(member, account_id, repeats=repeats))

    def _attempt(self, member: Member, account_id: str, *, repeats: bool) -> Exchange[ChatMessage]:
        sending = member.send(self._limits.remaining, repeats=repeats)
        if not member.keeps_threads:
            return (yield from sending)
        # Of a stream that is left, or breaks, the caller knows the conversation from its parts.
        return (yield from watched(sending, lambda part: self._note(part, account_id)))

    def _note(self, message: ChatMessage, account_id: str) -> None:
        """Note in which account a conversation of the web flow lives."""
        conversation_id = message.conversation_id
        if self._call.is_web and conversation_id is not None and conversation_id != self._noted:
            self._noted = conversation_id
            self._ledger.remember(conversation_id, account_id)

    def _failed(
        self, error: ChatGPTError, account_id: str, *, may_move: bool, moves: int
    ) -> Exchange[None]:
        """An attempt has failed: note it, and raise what the caller is to know, unless there is another one."""
        error.account_id = account_id
        verdict = verdict_of(error, self._call.cooldown)
        if verdict is None:
            raise error
        if verdict.blames != "deadline":
            self._verdict = verdict
        has_delivered = yield from LeaveAccount(account_id, verdict)
        self._error = pool_error(error, verdict, account_id)
        self._moves += verdict.blames == "request"
        if has_delivered or not may_move or verdict.blames == "deadline" or self._moves > moves:
            raise self._error
        # What refused its key, or does not cool down, is not asked by this call again.
        is_refused = isinstance(error, (AuthenticationError, PermissionDeniedError))
        is_barred = is_refused or verdict.cooldown <= 0
        excluded = self._ticket.excluded | {account_id} if is_barred else self._ticket.excluded
        self._ticket = evolve(self._ticket, number=FIRST, excluded=excluded)
