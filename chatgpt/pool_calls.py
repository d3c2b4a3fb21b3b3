"""One call of a pool on its way, in the sync twin: the needs that it has beside those of one client's call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange, Need
from chatgpt.core.pool.members import Member
from chatgpt.core.pool.needs import AwaitAccount, FindAccount, LeaveAccount, UseAccount
from chatgpt.interruptions import Alarm
from chatgpt.pool_ledgers.keeping import KeptLedger
from chatgpt.stores.protocol import MessageStore
from chatgpt.transport import Call, Transport


class PoolCall(Call[ChatMessage]):
    """A call over the connections of one account after the other.

    Args:
        exchange: what is to be done.
        store: holds its messages.
        ledger: the books of the pool.
        join: returns the connections of an account, and its client with the message of the call.
    """

    def __init__(
        self,
        exchange: Exchange[ChatMessage],
        store: MessageStore,
        ledger: KeptLedger,
        join: Callable[[str], tuple[Transport, Member] | None],
    ) -> None:
        self._ledger = ledger
        self._join = join
        self._has_delivered = False
        super().__init__(exchange, Transport(None, None), store)

    def _next_part(self) -> ChatMessage | None:
        part = super()._next_part()
        if part is not None:
            self._has_delivered = True
        return part

    def _meet(self, need: Need[Any]) -> object:
        match need:
            case AwaitAccount(ticket_id, seconds):
                self._await(ticket_id, seconds)
                return None
            case UseAccount(account_id):
                joined = self._join(account_id)
                if joined is None:
                    return None
                self._transport, member = joined
                return member
            case LeaveAccount():
                self._close_answer()
                self._pass_turn()
                return self._has_delivered
            case FindAccount(conversation_id):
                return self._ledger.account_of(conversation_id)
            case _:
                return super()._meet(need)

    def _await(self, ticket_id: int, seconds: float) -> None:
        alarm = Alarm()
        self._interruption.forget_deadline()
        try:
            with self._interruption.woken_by(alarm.set):
                self._ledger.call_when_given(ticket_id, alarm.set)
                alarm.wait(seconds)
        finally:
            self._ledger.forget(ticket_id)
