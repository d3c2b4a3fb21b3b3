"""What becomes of stores in a child process.

A lock that another thread held at the fork is never released there, and connections belong to the parent.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakValueDictionary


class BegunAnew(Protocol):
    """What has to begin anew in a child process."""

    def _begin_anew(self) -> None:
        """Forget what belongs to the parent; called in the child, before anything else runs there."""


_known: WeakValueDictionary[int, BegunAnew] = WeakValueDictionary()
"""By their ids: a store need not be hashable."""


def begin_anew_in_children(store: BegunAnew) -> None:
    """Let a store begin anew in every child process, as long as it is used."""
    _known[id(store)] = store


def _begin_anew() -> None:
    for store in list(_known.values()):
        store._begin_anew()  # noqa: SLF001 - of the stores of this package alone


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
