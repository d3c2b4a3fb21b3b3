"""The books of a pool that one process has for itself.

Rules:

1. A write is one assignment of a whole new state, under a lock that a finalizer may enter again in the midst of it:
   then it is done once more.
2. A child of a fork has the accounts, and what is known of them; the calls are the parent's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from math import inf
from typing import Final

from attrs import evolve

from chatgpt.core.pool.events import AccountAdded, PoolEvent
from chatgpt.core.pool.state import PoolState, settled
from chatgpt.pool_ledgers.conversations import KnownConversations
from chatgpt.pool_ledgers.keeping import KeptLedger
from chatgpt.stores.forks import look_after

_HERE: Final = "here"


class LocalLedger(KeptLedger):
    """The books in memory.

    Args:
        accounts: the accounts, each with the number of calls that it takes at once; `None` for any.
    """

    holder_id = _HERE

    def __init__(self, accounts: Mapping[str, int | None]) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self._known = KnownConversations()
        self._next_opening = inf
        for account_id, limit in accounts.items():
            self.write(AccountAdded(account_id, limit))
        look_after(self)

    def now(self) -> float:
        """The time, in seconds that only grow."""
        return time.monotonic()

    def write(self, event: PoolEvent) -> None:
        """Write into the books what happened."""
        self._change(event)

    def look_again(self) -> None:
        """Give accounts that have cooled down to those who wait."""
        if self.now() >= self._next_opening:
            self._change(None)

    def _change(self, event: PoolEvent | None) -> None:
        with self._lock:
            while True:
                before, now = self._state, self.now()
                after = before if event is None else event.applied(before, _HERE, now)
                after = settled(after, _HERE, now)
                if self._state is before:  # or a finalizer has written meanwhile
                    self._state = after
                    self._next_opening = after.next_opening(now)
                    break
        self._wake_waiting(before, after)

    def problem_of(self, ticket_id: int) -> Exception | None:  # noqa: ARG002
        """There is none: the books can always be written."""
        return None

    def remember(self, conversation_id: str, account_id: str) -> None:
        """Note in which account a conversation lives."""
        self._known.remember(conversation_id, account_id)

    def look_up(self, ticket_id: int, conversation_id: str) -> None:
        """Look up in which account a conversation lives, as far as this process has seen it."""
        self._found[ticket_id] = self._known.get(conversation_id) or ""

    def write_now(self, event: PoolEvent) -> None:
        """Write something."""
        self._change(event)

    def read_now(self) -> tuple[PoolState, float]:
        """The books, and the time."""
        return self._state, self.now()

    def close(self) -> None:
        """Nothing is shared."""

    # --- what `stores.forks` asks for --------------------------------------------------------

    def _before_fork(self) -> None: ...

    def _after_fork(self) -> None: ...

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()
        self._wakes, self._found = {}, {}
        here = evolve(self._state.holder(_HERE), leases={}, tickets=())
        self._state = self._state.with_holder(_HERE, here)
