"""From a message back to the first one; turns, and how many of them fit.

A thread is a path in a tree: every message but the first names its parent, and several messages
may name the same one. A store returns a path newest first, because that is the order in which
history is chosen.

Rules:

1. An unknown parent is an error: the context is never lost silently.
2. An ancestor that is missing further up ends the history there; the report says so.
3. Hidden messages are part of a thread and never sent.
4. A message that the store holds and cannot read is passed over; the report says so, too.
5. History is kept or left out by whole turns. A turn begins with a message of the user and holds
   everything up to his next one; what precedes his first message is a turn of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from chatgpt.core.errors import MessageNotFoundError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange, LoadMessage, LoadThread


@frozen
class History:
    """What of a thread may be sent, newest first.

    Attributes:
        messages: the messages that are not hidden, newest first; empty for a new conversation.
        missing_message_id: the ancestor that the store does not hold, or that is the last one it holds and cannot
            be read, where there is one.
        conversation_id: the conversation of the newest message, be it hidden.
        unreadable_message_ids: messages that the store holds and cannot read; they were passed over. Of several
            in a row the newest is named.
    """

    messages: Sequence[ChatMessage] = ()
    missing_message_id: str | None = None
    conversation_id: str | None = None
    unreadable_message_ids: tuple[str, ...] = ()


def load_history(message_id: str | None, limit: int | None = None) -> Exchange[History]:
    """Read what may be sent of a thread, from one of its messages to the root.

    Args:
        message_id: the newest message of the thread, or `None` for an empty history.
        limit: how many messages at most, `None` for all.

    Raises:
        MessageNotFoundError: the store does not hold `message_id`.
    """
    if message_id is None:
        return History()
    messages = yield from load_thread(message_id, limit)
    if len(messages) == limit and any(message.is_hidden for message in messages):
        # Those that are hidden took the place of others: a limit is what could be sent.
        messages, limit = (yield from load_thread(message_id)), None
    missing = messages[-1].parent_message_id if limit is None or len(messages) < limit else None
    if missing is not None and any(message.id == missing for message in messages):  # a circle
        missing = None
    # A store that cannot read a message goes on with that one's parent.
    unreadable: list[str] = []
    expected: str | None = message_id
    for message in messages:
        if expected != message.id and expected is not None:
            unreadable.append(expected)
        expected = message.parent_message_id
    visible = [message for message in messages if not message.is_hidden]
    return History(visible, missing, messages[0].conversation_id, tuple(unreadable))


def load_thread(message_id: str, limit: int | None = None) -> Exchange[Sequence[ChatMessage]]:
    """Read a thread from one of its messages to the root, newest first.

    Args:
        message_id: the newest message of the thread.
        limit: how many messages at most, `None` for all.

    Raises:
        MessageNotFoundError: the store does not hold `message_id`.
    """
    messages = yield from LoadThread(message_id, limit)
    if not messages:
        raise MessageNotFoundError(
            f"The message {message_id!r} is not in the message store, or cannot be read there. Give the id of a "
            "stored message, and a store that is shared or kept if it was made by another client."
        )
    for message in messages:
        if type(message) is not ChatMessage:
            check_message(message)
    return messages


def check_message(message: object) -> None:
    """Check that what a store returned is a message.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(message, ChatMessage):
        raise TypeError(
            f"The message store returned a {type(message).__name__} where a ChatMessage is needed."
        )


def walk(message_id: str, limit: int | None) -> Exchange[list[ChatMessage]]:
    """Read a thread from one of its messages to the root, one message at a time.

    This is what a store does that has no faster way.

    Args:
        message_id: where to begin.
        limit: how many messages at most, `None` for all.

    Returns:
        The messages, newest first, ending where a parent is missing; empty where `message_id` is
        unknown.
    """
    messages: dict[str, ChatMessage] = {}
    next_id: str | None = message_id
    # A message that is there already closes a circle.
    while next_id is not None and next_id not in messages and len(messages) != limit:
        message = yield from LoadMessage(next_id)
        if message is None:
            break
        check_message(message)
        messages[next_id] = message
        next_id = message.parent_message_id
    return list(messages.values())


def fit_turns(
    messages: Sequence[ChatMessage], costs: Iterable[int], room: float
) -> tuple[int, int]:
    """Choose as many of the newest messages as fit into a room, by whole turns.

    Args:
        messages: a thread, newest first.
        costs: what each of them costs, in tokens; asked for up to the first turn that does not fit.
        room: tokens; `math.inf` for no limit.

    Returns:
        How many of the messages fit, and what they cost together in tokens.
    """
    fitting = fitting_tokens = tokens = 0
    last = len(messages)
    for number, (message, cost) in enumerate(zip(messages, costs, strict=False), start=1):
        tokens += cost
        if message.role == "user" or number == last:  # a turn is whole
            if tokens > room:
                break
            fitting, fitting_tokens = number, tokens
    return fitting, fitting_tokens
