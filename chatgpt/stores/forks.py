"""What becomes of stores when their process forks.

A lock that another thread holds at the fork is never released in the child, half a write of another thread is never
finished there, and connections belong to the parent.

Rules:

1. Before a fork every store comes to rest, or is left as it is after `PATIENCE` seconds.
2. In the child it begins anew, in the parent it goes on.
"""

from __future__ import annotations

import os
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


def look_after(store: Forked) -> None:
    """Look after a store at every fork, as long as it is used."""
    _known[id(store)] = store


def _before() -> None:
    for store in list(_known.values()):
        store._before_fork()  # noqa: SLF001 - of the stores of this package alone


def _in_parent() -> None:
    for store in list(_known.values()):
        store._after_fork()  # noqa: SLF001


def _in_child() -> None:
    for store in list(_known.values()):
        store._begin_anew()  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
