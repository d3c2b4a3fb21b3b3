"""What a store holds and cannot read.

A message may be damaged on its way to a disk and back, or by a program that is not ours. It is passed over,
so that the thread around it can be used, and left where it is, so that nothing is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from attrs import field, frozen

from chatgpt.core.messages import ChatMessage
from chatgpt.core.records import RecordError

log = logging.getLogger(__name__)


@frozen
class UnreadableMessage:
    """What a store holds under an id, and what is wrong with it.

    Attributes:
        id: the id of the message.
        record: what is held, as it is.
        reason: what is wrong, in one line that repeats nothing of it.
    """

    id: str
    record: bytes = field(repr=lambda record: f"<{len(record)} bytes>")
    reason: str


Held = TypeVar("Held")
"""What a store holds of a message."""


def readable(
    held: Iterable[Held],
    read: Callable[[Held], ChatMessage],
    described: Callable[[Held], tuple[str, bytes]],
) -> Iterator[ChatMessage]:
    """Make the messages that can be read; tell the log of the others.

    Args:
        held: what the store holds.
        read: makes the message of it, or raises a `RecordError`.
        described: the id and the record, as far as they can be told.
    """
    for each in held:
        try:
            yield read(each)
        except RecordError as error:
            message_id, _ = described(each)
            log.warning("The message %r cannot be read, and is passed over: %s", message_id, error)


def unreadable(
    held: Iterable[Held],
    read: Callable[[Held], ChatMessage],
    described: Callable[[Held], tuple[str, bytes]],
) -> Iterator[UnreadableMessage]:
    """Those that cannot be read, as they are; the arguments are those of `readable`."""
    for each in held:
        try:
            read(each)
        except RecordError as error:
            yield UnreadableMessage(*described(each), str(error))
