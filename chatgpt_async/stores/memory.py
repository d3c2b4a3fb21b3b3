"""Conversations in memory, as `chatgpt.MemoryStore` keeps them: nothing there waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from chatgpt.core.messages import ChatMessage
from chatgpt.stores.memory import DEFAULT_CAPACITY
from chatgpt.stores.memory import MemoryStore as PlainMemoryStore
from chatgpt_async.stores.protocol import MessageStore


class MemoryStore(MessageStore):
    """A store in memory.

    Args:
        capacity: how many messages are kept; beyond it the least recently used ones go. By default 10,000.

    Raises:
        TypeError, ValueError: it is no whole number, or less than 2.

    It may be shared by clients, tasks, event loops and threads. A pickle holds the capacity and no
    messages. To share one with the sync twin, give both a `chatgpt.MemoryStore`.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._plain = PlainMemoryStore(capacity)

    async def get(self, message_id: str) -> ChatMessage | None:
        """Return a message, or `None` where the store does not hold it."""
        return self._plain.get(message_id)

    async def save(self, messages: Sequence[ChatMessage]) -> None:
        """Save messages in one write.

        Raises:
            MessageIdTakenError: it holds other messages under some of the ids; none is saved.
        """
        self._plain.save(messages)

    async def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return a thread from one of its messages to the root, newest first, in one go."""
        return self._plain.path(message_id, limit)

    async def replies(self, message_id: str) -> list[ChatMessage]:
        """Return the messages that reply to one, oldest first; every message is looked at."""
        return self._plain.replies(message_id)

    async def conversation_messages(self, conversation_id: str) -> list[ChatMessage]:
        """Return the messages of a conversation, in the order in which they were first saved; every message is looked at.

        Args:
            conversation_id: its id.
        """
        return self._plain.conversation_messages(conversation_id)

    async def all_messages(self) -> AsyncIterator[ChatMessage]:
        """Go through the messages that are kept now, in the order in which they were first saved."""
        for message in self._plain.all_messages():
            yield message

    def __repr__(self) -> str:
        return repr(self._plain)

    def __len__(self) -> int:
        """How many messages are kept."""
        return len(self._plain)
