"""What becomes of stores when their process forks.

A lock that another thread holds at the fork is never released in the child, half a write of another thread is never
finished there, and connections belong to the parent.

Rules:

1. Before a fork every store comes to rest, or is left as it is after `PATIENCE` seconds.
2. In the child it begins anew, in the parent it goes on.
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import RLock
from typing import Final, Protocol
from weakref import WeakValueDictionary

PATIENCE: Final = 10.0
"""Seconds that a fork waits for the calls of other threads."""


class Forked(Protocol):
    """A store of this package."""

    def _before_fork(self) -> None:
        """Come to rest."""

    def _after_fork(self) -> None:
        """Go on, in the parent."""

    def _begin_anew(self) -> None:
        """Forget what belongs to the parent, in the child, before anything else runs there."""


_known: WeakValueDictionary[int, Forked] = WeakValueDictionary()
"""By their ids: a store need not be hashable."""

_turn = RLock()
"""Who forks, or makes a store: no store is made while another thread forks, and one thread forks at a time."""

_resting: list[Forked] = []
"""The stores that rest now. None of them is collected meanwhile."""


def look_after(store: Forked) -> None:
    """Look after a store at every fork, as long as it is used."""
    with _turn:
        _known[id(store)] = store


def _before() -> None:
    _turn.acquire(timeout=PATIENCE)
    # In one go: another thread may collect a store.
    _resting[:] = [store for reference in _known.valuerefs() if (store := reference()) is not None]
    for store in _resting:
        store._before_fork()  # noqa: SLF001 - of the stores of this package alone


def _in_parent() -> None:
    try:
        for store in _resting:
            store._after_fork()  # noqa: SLF001
    finally:
        _resting.clear()
        with suppress(RuntimeError):  # it was not got in time
            _turn.release()


def _in_child() -> None:
    global _turn  # noqa: PLW0603 - that of the parent may be held by a thread that is not here
    _turn = RLock()
    for store in _resting:
        store._begin_anew()  # noqa: SLF001
    _resting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
