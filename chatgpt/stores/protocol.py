"""What a client asks of a store.

Rules:

1. A message is never changed once it is stored, but for the token counts that it carries: saving
   it again may add counts.
2. `save` is one write: after it all of its messages are there, or none of them.
3. A store is used from several threads at the same time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from chatgpt.core.messages import ChatMessage


class MessageStore(Protocol):
    """A store of messages. Derive from it and write `get` and `save`; `path` has a default."""

    @abstractmethod
    def get(self, message_id: str) -> ChatMessage | None:
        """Return a message, or `None` where the store does not hold it."""
        ...

    @abstractmethod
    def save(self, messages: Sequence[ChatMessage]) -> None:
        """Save messages in one write, in place of those that have the same ids."""
        ...

    def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return a thread from one of its messages to the root, newest first.

        Args:
            message_id: where to begin.
            limit: how many messages at most, `None` for all.

        Returns:
            The messages, ending where a parent is missing; empty where `message_id` is unknown.
        """
        messages: dict[str, ChatMessage] = {}
        next_id: str | None = message_id
        # A message that is there already closes a circle.
        while next_id is not None and next_id not in messages and len(messages) != limit:
            message = self.get(next_id)
            if message is None:
                break
            messages[next_id] = message
            next_id = message.parent_message_id
        return list(messages.values())


def check_store(store: object) -> None:
    """Check that a store offers what a client asks of it.

    Raises:
        TypeError: it does not.
    """
    if isinstance(store, type):
        raise TypeError(
            f"message_store must be a MessageStore: make one of the class {store.__name__}."
        )
    missing = [name for name in ("get", "path", "save") if not callable(getattr(store, name, None))]
    if missing:
        raise TypeError(
            f"message_store must be a MessageStore; {type(store).__name__} has no method "
            f"{', '.join(missing)}. Derive it from chatgpt.MessageStore, which brings `path`."
        )
