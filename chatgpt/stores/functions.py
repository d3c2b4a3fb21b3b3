"""A store made of two functions, as npm `chatgpt` takes them.

Saving cannot be one write here: the question is saved first, then the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from chatgpt.core.messages import ChatMessage
from chatgpt.stores.protocol import MessageStore

GetMessageByIdFunction: TypeAlias = Callable[[str], ChatMessage | None]
"""Returns the message of an id, or `None` where there is none."""

UpsertMessageFunction: TypeAlias = Callable[[ChatMessage], object]
"""Saves a message, in place of one with the same id; what it returns is not looked at."""


class FunctionStore(MessageStore):
    """A store made of two functions; where one is missing, another store does its part.

    Args:
        fallback: holds the messages that only one of the functions knows of: without
            `get_message_by_id` everything is saved there too, without `upsert_message` everything
            is saved there alone.
        get_message_by_id: looks a message up.
        upsert_message: saves a message.
    """

    def __init__(
        self,
        fallback: MessageStore,
        get_message_by_id: GetMessageByIdFunction | None = None,
        upsert_message: UpsertMessageFunction | None = None,
    ) -> None:
        for name, function in (
            ("get_message_by_id", get_message_by_id),
            ("upsert_message", upsert_message),
        ):
            if function is not None and not callable(function):
                raise TypeError(f"{name} must be a function, not {type(function).__name__}.")
        self._fallback = fallback
        self._get = get_message_by_id
        self._upsert = upsert_message

    def get(self, message_id: str) -> ChatMessage | None:
        """Return a message, or `None` where the store does not hold it."""
        message = self._get(message_id) if self._get is not None else None
        if message is not None and not isinstance(message, ChatMessage):
            raise TypeError(
                f"get_message_by_id must return a ChatMessage or None, not {type(message).__name__}."
            )
        if message is None and (self._get is None or self._upsert is None):
            return self._fallback.get(message_id)
        return message

    def save(self, messages: Sequence[ChatMessage]) -> None:
        """Save messages one by one, the question before the answer."""
        if self._upsert is not None:
            for message in messages:
                self._upsert(message)
        if self._get is None or self._upsert is None:
            self._fallback.save(messages)
