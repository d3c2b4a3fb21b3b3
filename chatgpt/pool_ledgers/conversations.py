"""In which account a conversation of the web flow lives: the ones used last are remembered."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from typing import Final

MOST_CONVERSATIONS: Final = 100_000
"""How many are remembered in this process; an entry takes some 200 bytes."""


class KnownConversations:
    """Accounts by conversation ids. May be used by threads, and in finalizers: each step is one operation."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, str] = OrderedDict()

    def get(self, conversation_id: str) -> str | None:
        """The account of a conversation, where it is known."""
        found = self._accounts.get(conversation_id)
        if found is not None:
            self._use(conversation_id)
        return found

    def remember(self, conversation_id: str, account_id: str) -> None:
        """Note the account of a conversation; beyond so many, the one that was used longest ago is forgotten."""
        self._accounts[conversation_id] = account_id
        self._use(conversation_id)
        if len(self._accounts) > MOST_CONVERSATIONS:
            with suppress(KeyError):  # other threads have emptied it
                self._accounts.popitem(last=False)

    def _use(self, conversation_id: str) -> None:
        with suppress(KeyError):  # another thread has dropped it
            self._accounts.move_to_end(conversation_id)
