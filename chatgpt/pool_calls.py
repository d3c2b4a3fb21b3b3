"""One call of a pool on its way, in the sync twin: the needs that it has beside those of one client's call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import AskForAccessToken, Need
from chatgpt.core.pool.members import Member
from chatgpt.core.pool.needs import AwaitAccount, LeaveAccount, UseAccount
from chatgpt.core.pool.sending import PoolSending
from chatgpt.interruptions import Alarm
from chatgpt.pool_ledgers.keeping import KeptLedger
from chatgpt.stores.protocol import MessageStore
from chatgpt.transport import Call, Transport

log = logging.getLogger("chatgpt")


class PoolCall(Call[ChatMessage]):
    """A call over the connections of one account after the other.

    Args:
        sending: what is to be done.
        store: holds its messages.
        ledger: the books of the pool.
        join: returns the connections of an account, and its client with the message of the call.
    """

    def __init__(
        self,
        sending: PoolSending,
        store: MessageStore,
        ledger: KeptLedger,
        join: Callable[[str], tuple[Transport, Member] | None],
    ) -> None:
        self._sending = sending
        self._ledger = ledger
        self._join = join
        self._has_delivered = False
        self._account_id = ""
        super().__init__(sending.run(), Transport(None, None), store)

    def close(self) -> None:
        """End the call where it stands, and give its account back once the connection is closed."""
        self._sending.is_left = True
        try:
            super().close()
        finally:
            self._sending.end()

    def _next_parts(self) -> Sequence[ChatMessage]:
        parts = super()._next_parts()
        if parts:
            self._has_delivered = True
        return parts

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
                self._account_id = account_id
                return member
            case LeaveAccount(account_id, verdict):
                log.info("The account %r has failed: %r", account_id, verdict)
                self._close_answer()
                self._pass_turn()
                return self._has_delivered
            case _:
                return super()._meet(need)

    def _ask(self, need: AskForAccessToken) -> object:
        try:
            return super()._ask(need)
        except Exception as error:
            error.add_note(f"It comes from get_access_token of the account {self._account_id!r}.")
            raise

    def _await(self, ticket_id: int, seconds: float) -> None:
        alarm = Alarm()
        self._interruption.forget_deadline()
        try:
            with self._interruption.woken_by(alarm.set):
                self._ledger.call_on_news(ticket_id, alarm.set)
                alarm.wait(seconds)
        finally:
            self._ledger.forget(ticket_id)
