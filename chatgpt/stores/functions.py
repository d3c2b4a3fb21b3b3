"""A store made of two functions, as npm `chatgpt` takes them.

Strategy: what the functions and the store that stands in for a missing one do is laid down once, as
lists of what is asked and told (`sources_of`); a twin goes through the lists.

Saving cannot be one write here: the question is saved first, then the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from attrs import frozen

from chatgpt.core.errors import ConfigurationError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.validation import plain_function
from chatgpt.stores.protocol import MessageStore, replies_method

GetMessageByIdFunction: TypeAlias = Callable[[str], ChatMessage | None]
"""Returns the message of an id, or `None` where there is none."""

UpsertMessageFunction: TypeAlias = Callable[[ChatMessage], object]
"""Saves a message, in place of one with the same id; what it returns is not looked at."""

FoundT = TypeVar("FoundT")
DoneT = TypeVar("DoneT")


@frozen
class Sources(Generic[FoundT, DoneT]):
    """What a store of functions asks and tells.

    Attributes:
        readers: asked one after the other for a message, until one has it.
        upserters: each told of every message.
        savers: each told of all messages at once.
        holds_all: whether the store holds every message, so that it can read threads and find the replies to one.
    """

    readers: Sequence[Callable[[str], FoundT]]
    upserters: Sequence[Callable[[ChatMessage], DoneT]]
    savers: Sequence[Callable[[Sequence[ChatMessage]], DoneT]]
    holds_all: bool

    def replies_method(self, fallback: object) -> Callable[[str], Any]:
        """How the store that stands in finds the replies to a message, if it holds them all.

        Raises:
            ConfigurationError: it does not.
        """
        if not self.holds_all:
            raise ConfigurationError(
                "get_message_by_id cannot find the replies to a message: give a message_store that has `replies`."
            )
        return replies_method(fallback)


def sources_of(
    get: Callable[[str], FoundT],
    save: Callable[[Sequence[ChatMessage]], DoneT],
    get_message_by_id: Callable[[str], FoundT] | None,
    upsert_message: Callable[[ChatMessage], DoneT] | None,
) -> Sources[FoundT, DoneT]:
    """What is asked and told, of a store and the functions that take its place.

    Without `get_message_by_id` everything is saved in the store too, without `upsert_message`
    everything is saved there alone.

    Args:
        get: how the store looks a message up.
        save: how it saves messages.
        get_message_by_id: looks a message up in its place.
        upsert_message: saves a message in its place.
    """
    is_store_asked = get_message_by_id is None or upsert_message is None
    return Sources(
        readers=[*_given(get_message_by_id), *([get] if is_store_asked else [])],
        upserters=_given(upsert_message),
        savers=[save] if is_store_asked else [],
        holds_all=get_message_by_id is None,
    )


def _given(value: FoundT | None) -> list[FoundT]:
    return [] if value is None else [value]


def found_message(message: object) -> ChatMessage | None:
    """Check what a function returned where a message is looked up."""
    if message is not None and not isinstance(message, ChatMessage):
        raise TypeError(
            f"get_message_by_id must return a ChatMessage or None, not {type(message).__name__}."
        )
    return message


class FunctionStore(MessageStore):
    """A store made of two functions; where one is missing, another store does its part.

    Args:
        fallback: holds the messages that only one of the functions knows of.
        get_message_by_id: looks a message up.
        upsert_message: saves a message.
    """

    def __init__(
        self,
        fallback: MessageStore,
        get_message_by_id: GetMessageByIdFunction | None = None,
        upsert_message: UpsertMessageFunction | None = None,
    ) -> None:
        self._sources: Sources[ChatMessage | None, object] = sources_of(
            fallback.get,
            fallback.save,
            plain_function("get_message_by_id", get_message_by_id),
            plain_function("upsert_message", upsert_message),
        )
        self._fallback = fallback

    def get(self, message_id: str) -> ChatMessage | None:
        """Return a message, or `None` where the store does not hold it."""
        for read in self._sources.readers:
            message = found_message(read(message_id))
            if message is not None:
                return message
        return None

    def save(self, messages: Sequence[ChatMessage]) -> None:
        """Save messages one by one, the question before the answer."""
        for upsert in self._sources.upserters:
            for message in messages:
                upsert(message)
        for save in self._sources.savers:
            save(messages)

    def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return a thread, newest first: as the other store does where it holds every message."""
        if self._sources.holds_all:
            return self._fallback.path(message_id, limit)
        return super().path(message_id, limit)

    def replies(self, message_id: str) -> Sequence[ChatMessage]:
        """Return the messages that reply to one, oldest first, where the other store holds them all."""
        found: Sequence[ChatMessage] = self._sources.replies_method(self._fallback)(message_id)
        return found
