"""Events in, snapshots of the conversation out, whichever dialect the server speaks.

Strategy: an event of the older dialect is a snapshot, `{"message": ..., "conversation_id": ...,
"error": ...}`; the newer one (`delta_encoding`) changes a tree of the same shape. What reads the
snapshots need not know which it was. A stream may mix them.

Side events (`{"type": ...}`: titles, markers, limits, tokens to resume with) are snapshots without a
message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from chatgpt.core.web.deltas import DeltaTrees

ENCODING_EVENT: Final = "delta_encoding"
DELTA_EVENT: Final = "delta"
KNOWN_ENCODING: Final = "v1"


@frozen
class Snapshot:
    """The conversation as an event leaves it.

    Attributes:
        root: the message, the id of the conversation and the error, each where it is told.
        is_own: whether nothing changes `root` afterwards: it is the event itself.
    """

    root: Mapping[str, Any]
    is_own: bool


class ConversationEvents:
    """Reads the events of one stream."""

    def __init__(self) -> None:
        self._trees: DeltaTrees | None = None

    def announce(self, encoding: object) -> None:
        """Take the event that names the dialect of those that follow, `"v1"` or an object.

        Raises:
            ValueError: it is not known here.
        """
        if isinstance(encoding, str) and encoding != KNOWN_ENCODING:
            raise ValueError(f"the encoding {encoding[:40]!r} is not known")
        self._trees = DeltaTrees()

    def snapshot_after(self, name: str, event: Mapping[str, Any]) -> Snapshot | None:
        """Return the conversation after an event, or `None` where an operation left no object of it.

        Args:
            name: the event's name.
            event: what it holds.

        Raises:
            DeltaError: it cannot be applied to what came before.
        """
        if self._is_delta(name, event):
            if self._trees is None:
                self._trees = DeltaTrees()
            root = self._trees.apply(event)
            return Snapshot(root, is_own=False) if isinstance(root, dict) else None
        return Snapshot(event, is_own=True)

    def _is_delta(self, name: str, event: Mapping[str, Any]) -> bool:
        if "message" in event or "type" in event:
            return False
        return name == DELTA_EVENT or (self._trees is not None and "v" in event)
