"""What a message of ChatGPT's backend is: its role, its text, and whether a reader sees it.

Strategy: every field is optional, may have any type, and is looked at once, here. Streams, stored
conversations and exports hold the same kind of message.

Rules:

1. The role stands in `author.role`, in older answers in `role`.
2. A message is shown when it has a text for the reader: its content is `text` or `multimodal_text`
   (or has no type), it goes to `all`, is not marked as hidden, weighs something, and where channels
   are told, is in the last one. Calls of tools, thoughts and helpers of the server are none of that.
3. The text is that of all parts that are text, one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from attrs import frozen

_TEXTS: Final = ("text", "multimodal_text")
FINAL_CHANNEL: Final = "final"
HIDDEN: Final = "is_visually_hidden_from_conversation"


@frozen
class ServerMessage:
    """A message as the server writes it.

    Attributes:
        fields: its JSON object.
    """

    fields: Mapping[str, Any]

    @property
    def id(self) -> str | None:
        """Its id, where it has one."""
        value = self.fields.get("id")
        return value if isinstance(value, str) and value else None

    @property
    def role(self) -> str | None:
        """Who wrote it: `"user"`, `"assistant"`, `"system"` or `"tool"`."""
        author = self.fields.get("author")
        role = author.get("role") if isinstance(author, dict) else None
        role = role or self.fields.get("role")
        return role if isinstance(role, str) else None

    @property
    def text(self) -> str:
        """What it says."""
        parts = self._content.get("parts")
        if not isinstance(parts, list):
            return ""
        if len(parts) == 1 and type(parts[0]) is str:
            return parts[0]
        return "".join(part for part in parts if isinstance(part, str))

    @property
    def is_shown(self) -> bool:
        """Whether a reader sees it."""
        fields = self.fields
        recipient, channel = fields.get("recipient"), fields.get("channel")
        weight = fields.get("weight")
        return (
            (self._content.get("content_type") or "text") in _TEXTS
            and (recipient is None or recipient == "all")
            and (channel is None or channel == FINAL_CHANNEL)
            and (weight is None or isinstance(weight, bool) or weight != 0)
            and self.metadata.get(HIDDEN) is not True
        )

    @property
    def has_status(self) -> bool:
        """Whether the server says how far it is: the oldest dialect does not."""
        return isinstance(self.fields.get("status"), str)

    @property
    def ends_turn(self) -> bool:
        """Whether nothing is to follow it."""
        return self.fields.get("end_turn") is True

    @property
    def is_finished(self) -> bool:
        """Whether it is whole, and not only a remark before the work goes on."""
        status = self.fields.get("status")
        is_whole = isinstance(status, str) and status.startswith("finished")
        return self.ends_turn or (is_whole and self.fields.get("end_turn") is not False)

    @property
    def finish_reason(self) -> str | None:
        """Why it ended, in the words of the official flow: `"stop"`, `"length"`, ..."""
        details = self.metadata.get("finish_details")
        kind = details.get("type") if isinstance(details, dict) else None
        if not isinstance(kind, str):
            return None
        return "length" if kind == "max_tokens" else kind

    @property
    def model(self) -> str | None:
        """The model that wrote it."""
        model = self.metadata.get("model_slug")
        return model if isinstance(model, str) and model else None

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the server notes about it."""
        metadata = self.fields.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def created_at(self) -> datetime | None:
        """When it was made, by the server's clock."""
        return time_of(self.fields.get("create_time"))

    @property
    def _content(self) -> Mapping[str, Any]:
        content = self.fields.get("content")
        return content if isinstance(content, dict) else {}


def time_of(value: object) -> datetime | None:
    """A time of the server, which writes seconds since 1970 in one place and ISO 8601 in another."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None
