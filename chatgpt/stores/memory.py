"""Conversations in memory, for a script: the least recently used messages make room for new ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import RLock
from typing import Final

from chatgpt.core.errors import MessageIdTakenError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.records import origin_of
from chatgpt.stores.forks import PATIENCE, look_after
from chatgpt.stores.protocol import MessageStore, check_batch, oldest_first

DEFAULT_CAPACITY: Final = 10_000


class MemoryStore(MessageStore):
    """A store in memory.

    Args:
        capacity: how many messages are kept; beyond it the least recently used ones go. By default 10,000.

    Raises:
        TypeError, ValueError: it is no whole number, or less than 2.

    It may be shared by clients and threads. A pickle holds the capacity and no messages.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        if type(capacity) is not int:
            raise TypeError(f"capacity must be an int, not {type(capacity).__name__}.")
        if capacity < 2:
            raise ValueError(
                f"capacity must be at least 2 messages, a question and its answer, not {capacity}."
            )
        self._capacity = capacity
        self._messages: OrderedDict[str, ChatMessage] = OrderedDict()
        self._order: dict[
            str, None
        ] = {}  # of the first saving; an id that is there keeps its place
        self._begin_anew()
        look_after(self)

    # What `stores.forks` asks for.

    def _begin_anew(self) -> None:
        self._lock = RLock()  # a signal may interrupt a call, and its handler may fork
        self._is_resting = False

    def _before_fork(self) -> None:
        self._is_resting = self._lock.acquire(timeout=PATIENCE)

    def _after_fork(self) -> None:
        if self._is_resting:
            self._lock.release()

    def get(self, message_id: str) -> ChatMessage | None:
        """Return a message, or `None` where the store does not hold it."""
        with self._lock:
            message = self._messages.get(message_id)
            if message is not None:
                self._messages.move_to_end(message_id)
            return message

    def save(self, messages: Sequence[ChatMessage]) -> None:
        """Save messages in one write.

        Raises:
            MessageIdTakenError: it holds other messages under some of the ids; none is saved.
        """
        check_batch(messages)
        with self._lock:
            held = ((message, self._messages.get(message.id)) for message in messages)
            taken = [
                message.id
                for message, known in held
                if known is not None and origin_of(known) != origin_of(message)
            ]
            if taken:
                raise MessageIdTakenError.of(taken)
            for message in messages:
                self._order[message.id] = None  # first, whatever interrupts this
                self._messages[message.id] = message
                self._messages.move_to_end(message.id)
            while len(self._messages) > self._capacity:
                message_id, _ = self._messages.popitem(last=False)
                self._order.pop(message_id, None)

    def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return a thread from one of its messages to the root, newest first, in one go."""
        messages: dict[str, ChatMessage] = {}
        get, move_to_end = self._messages.get, self._messages.move_to_end
        with self._lock:
            # What `core.threads.walk` does, five times as fast: this store is in every prompt's way.
            message = get(message_id)
            next_id: str | None = message_id
            while message is not None and next_id not in messages and len(messages) != limit:
                messages[message.id] = message
                next_id = message.parent_message_id
                message = get(next_id) if next_id is not None else None
            # The newest message counts as used last: when room is made, a thread loses its
            # beginning and keeps its end.
            for message_id in reversed(messages):
                move_to_end(message_id)
        return list(messages.values())

    def replies(self, message_id: str) -> list[ChatMessage]:
        """Return the messages that reply to one, oldest first; every message is looked at."""
        with self._lock:
            messages = list(self._messages.values())
        return oldest_first(m for m in messages if m.parent_message_id == message_id)

    def conversation_messages(self, conversation_id: str) -> list[ChatMessage]:
        """Return the messages of a conversation, in the order in which they were first saved; every message is looked at.

        Args:
            conversation_id: its id.
        """
        return [each for each in self.all_messages() if each.conversation_id == conversation_id]

    def all_messages(self) -> Iterator[ChatMessage]:
        """Go through the messages that are kept now, in the order in which they were first saved."""
        with self._lock:
            messages = [self._messages.get(message_id) for message_id in self._order]
        return filter(None, messages)

    def __repr__(self) -> str:
        return f"<MemoryStore with {len(self)} of at most {self._capacity} messages>"

    def __len__(self) -> int:
        """How many messages are kept."""
        return len(self._messages)

    def __reduce__(self) -> tuple[type[MemoryStore], tuple[int]]:
        return MemoryStore, (self._capacity,)
