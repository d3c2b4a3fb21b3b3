"""What a store holds and cannot read.

A message may be damaged on its way to a disk and back, or by a program that is not ours. It is passed over,
so that the thread around it can be used, and left where it is, so that nothing is lost.
"""

from __future__ import annotations

import logging

from attrs import field, frozen

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


def warn_of(message_id: str, error: RecordError) -> None:
    """Tell the log that a message is passed over."""
    log.warning("The message %r cannot be read, and is passed over: %s", message_id, error)
