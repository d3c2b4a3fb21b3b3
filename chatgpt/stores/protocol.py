"""What a client asks of a store.

Rules:

1. A client never changes a message once it is stored, but for the token counts that it carries: saving
   it again may add counts.
2. `save` is one write: after it all of its messages are there, or none of them.
3. A store is used from several threads at the same time.
4. A store that several processes share has the last word on ids: it raises `MessageIdTakenError` where a
   message is to take the place of another one, and not of itself (`origin_of` tells them apart). The stores of
   this package do; one with `get` and `save` alone may replace whatever it holds.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, cast

from chatgpt.core.errors import ConfigurationError, MessageIdTakenError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import LoadMessage, Running
from chatgpt.core.records import origin_of
from chatgpt.core.threads import walk
from chatgpt.core.validation import is_asynchronous


class MessageStore(Protocol):
    """A store of messages. Derive from it and write `get` and `save`; `path` has a default.

    `client.branches` needs `replies`, too. With a method `conversation_messages(conversation_id)`, which returns all messages of a
    conversation, `chat.tree()` holds them all, and exporting one conversation need not go through all of them.
    """

    @abstractmethod
    def get(self, message_id: str) -> ChatMessage | None:
        """Return a message, or `None` where the store does not hold it.

        Args:
            message_id: its id.
        """
        ...

    @abstractmethod
    def save(self, messages: Sequence[ChatMessage]) -> None:
        """Save messages in one write, in place of those that have the same ids.

        Args:
            messages: the messages; all of them are there afterwards, or none.

        Raises:
            MessageIdTakenError: it holds another message under one of the ids, and has saved none. (A store
                need not look.)
        """
        ...

    def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return a thread from one of its messages to the root, newest first.

        Args:
            message_id: where to begin.
            limit: how many messages at most, `None` for all.

        Returns:
            The messages, ending where a parent is missing; empty where `message_id` is unknown.

        Raises:
            TypeError: `get` returned something that is no message.
        """
        walking = Running(walk(message_id, limit))
        while isinstance(need := walking.need, LoadMessage):
            walking.resume(self.get(need.message_id))
        return walking.result()

    def replies(self, message_id: str) -> Sequence[ChatMessage]:  # noqa: ARG002 - see below
        """Return the messages that reply to one, oldest first by `created_at`. `branches` alone asks for them.

        Args:
            message_id: the id of that one.

        Raises:
            ConfigurationError: this store cannot find them; write the method to let it.
        """
        raise no_replies(self)

    def all_messages(self) -> Iterator[ChatMessage]:
        """Go through all messages, in the order in which they were first saved. Exporting asks for it.

        Raises:
            ConfigurationError: this store cannot list them; write the method to let it.
        """
        raise no_listing(self)


def check_batch(messages: Sequence[ChatMessage]) -> None:
    """Check what is to be saved together: messages, no two of which claim one id.

    Raises:
        TypeError: one is no message.
        MessageIdTakenError: two claim one id.
    """
    for message in messages:
        if not isinstance(message, ChatMessage):
            raise TypeError(f"A store holds messages: ChatMessage, not {type(message).__name__}.")
    if len({message.id for message in messages}) != len(messages):
        origins: dict[str, str] = {}
        taken = [m.id for m in messages if origins.setdefault(m.id, origin_of(m)) != origin_of(m)]
        if taken:
            raise MessageIdTakenError.of(taken)


def replies_method(store: Any) -> Callable[[str], Any]:
    """How a store finds the replies to a message; one that is not derived may not know.

    Raises:
        ConfigurationError: it does not.
    """
    method: Callable[[str], Any] | None = getattr(store, "replies", None)
    if method is None:
        raise no_replies(store)
    return method


def conversation_method(store: Any) -> Callable[[str], Any] | None:
    """How a store reads the messages of one conversation; it need not know."""
    method: Callable[[str], Any] | None = getattr(store, "conversation_messages", None)
    return method


def listing_method(store: Any) -> Callable[[], Any]:
    """How a store lists its messages; one that is not derived may not know.

    Raises:
        ConfigurationError: it does not.
    """
    method: Callable[[], Any] | None = getattr(store, "all_messages", None)
    if method is None:
        raise no_listing(store)
    return method


def no_listing(store: object) -> ConfigurationError:
    """The error of a store that cannot list its messages."""
    return ConfigurationError(
        f"{type(store).__name__} cannot list its messages: give it a method `all_messages()` that goes through "
        "them, in the order in which they were first saved."
    )


def no_replies(store: object) -> ConfigurationError:
    """The error of a store that cannot find the replies to a message."""
    return ConfigurationError(
        f"{type(store).__name__} cannot find the replies to a message: give it a method "
        "`replies(message_id)` that returns them, oldest first."
    )


def oldest_first(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """Messages in the order in which they were made; those without a time come first."""
    return sorted(messages, key=lambda message: _moment(message.created_at))


def _moment(time: datetime | None) -> datetime:
    """A time that can be compared; one without a time zone is taken as UTC."""
    if time is None:
        return datetime.min.replace(tzinfo=UTC)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def check_store(store: object) -> MessageStore:
    """Check that a store offers what a client asks of it.

    Raises:
        TypeError: it does not.
    """
    _, awaited = methods_of(store, "chatgpt.MessageStore")
    if awaited:
        raise TypeError(
            f"message_store must be a MessageStore of plain methods; those of {type(store).__name__} are async. "
            "The clients of chatgpt_async take both."
        )
    return cast("MessageStore", store)


def methods_of(store: object, base: str) -> tuple[list[str], list[str]]:
    """The methods that a client asks of a store: those that are plain, and those that are async.

    Args:
        store: the store.
        base: what a store of the twin is derived from.

    Raises:
        TypeError: one is missing.
    """
    if isinstance(store, type):
        raise TypeError(
            f"message_store must be a MessageStore: make one of the class {store.__name__}."
        )
    methods = {name: getattr(store, name, None) for name in ("get", "path", "save")}
    missing = [name for name, method in methods.items() if not callable(method)]
    if missing:
        raise TypeError(
            f"message_store must be a MessageStore; {type(store).__name__} has no method "
            f"{', '.join(missing)}. Derive it from {base}, which brings `path`."
        )
    awaited = [name for name, method in methods.items() if is_asynchronous(method)]
    return [name for name in methods if name not in awaited], awaited
