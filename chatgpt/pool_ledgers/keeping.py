"""What both ledgers do: number the calls of this process, and wake those that were given an account.

Rules:

1. Nothing here waits, so that a call may give its account back wherever it ends: in an event loop, in a finalizer,
   in a thread that Ctrl-C has interrupted.
2. Who wakes may be in another thread than who waits; it does no more than say so.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count

from chatgpt.core.pool.events import PoolEvent
from chatgpt.core.pool.sending import Ledger
from chatgpt.core.pool.state import PoolState


class KeptLedger(Ledger):
    """The books, and who waits for what is written there."""

    def __init__(self) -> None:
        self._state = PoolState()
        self._ids = count(1)
        self._wakes: dict[int, Callable[[], object]] = {}

    @property
    def state(self) -> PoolState:
        """The books, as they were last."""
        return self._state

    def new_ticket_id(self) -> int:
        """A number that no other attempt of this process has."""
        return next(self._ids)

    def call_when_given(self, ticket_id: int, wake: Callable[[], object]) -> None:
        """Have a function called when a call is given an account: now, if it has one; until `forget`."""
        self._wakes[ticket_id] = wake
        if self._has_news(ticket_id):
            wake()

    def forget(self, ticket_id: int) -> None:
        """Call the function no more."""
        self._wakes.pop(ticket_id, None)

    def _has_news(self, ticket_id: int) -> bool:
        return ticket_id in self._state.holder(self.holder_id).leases

    def _wake_given(self, before: PoolState) -> None:
        """Wake the calls that have an account now, and had none before."""
        after = self._state.holder(self.holder_id).leases
        old = before.holder(self.holder_id).leases
        if after is not old:
            self._wake(ticket_id for ticket_id in after if ticket_id not in old)

    def _wake(self, ticket_ids: Iterable[int]) -> None:
        for ticket_id in ticket_ids:
            wake = self._wakes.get(ticket_id)
            if wake is not None:
                with suppress(RuntimeError):  # its event loop has ended
                    wake()

    # --- what waits --------------------------------------------------------------------------

    @abstractmethod
    def write_now(self, event: PoolEvent) -> None:
        """Write something, and wait until it is written.

        Raises:
            StoreError: it could not be.
        """

    @abstractmethod
    def read_now(self) -> tuple[PoolState, float]:
        """The books as they are now, and the time by which they are kept.

        Raises:
            StoreError: they could not be read.
        """

    @abstractmethod
    def account_of(self, conversation_id: str) -> str | None:
        """The account in which a conversation lives; `None` where that is not known.

        Raises:
            StoreError: it could not be looked up.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of what is shared, once no call uses it. The ledger can be used again."""
