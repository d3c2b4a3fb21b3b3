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
    """The books, and the calls that wait for news."""

    def __init__(self) -> None:
        self._state = PoolState()
        self._ids = count(1)
        self._wakes: dict[int, Callable[[], object]] = {}
        self._found: dict[int, str] = {}

    @property
    def state(self) -> PoolState:
        """The books, as they were last."""
        return self._state

    def new_ticket_id(self) -> int:
        """A number that no other attempt of this process has."""
        return next(self._ids)

    def found(self, ticket_id: int) -> str | None:
        """What was looked up, told once: an account, `""` where none is known; `None` as long as it is not known."""
        return self._found.pop(ticket_id, None)

    def call_on_news(self, ticket_id: int, wake: Callable[[], object]) -> None:
        """Have a function called when there is news for a call: now, if there is some; until `forget`."""
        self._wakes[ticket_id] = wake
        if self._has_news(ticket_id):
            wake()

    def forget(self, ticket_id: int) -> None:
        """Call the function no more."""
        self._wakes.pop(ticket_id, None)

    def _has_news(self, ticket_id: int) -> bool:
        leases = self._state.holder(self.holder_id).leases
        return ticket_id in leases or ticket_id in self._found

    def _wake_waiting(self, before: PoolState, after: PoolState) -> None:
        """Wake the calls that have an account now, or a place in the queue; all, if there is less to hope for."""
        old, new = before.holder(self.holder_id), after.holder(self.holder_id)
        if new.leases is not old.leases:
            self._wake([ticket_id for ticket_id in new.leases if ticket_id not in old.leases])
        if new.tickets is not old.tickets:
            known = {ticket.id for ticket in old.tickets}
            self._wake([ticket.id for ticket in new.tickets if ticket.id not in known])
        if after.is_worse_than(before, self.holder_id):
            self._wake([*self._wakes])

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
    def close(self) -> None:
        """Let go of what is shared, once no call uses it. The ledger can be used again."""
