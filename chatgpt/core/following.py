"""A conversation that keeps its ids: each message replies to the reply before it."""

from __future__ import annotations

from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange


class ConversationState:
    """Where a conversation stands.

    Args:
        conversation_id: the conversation to go on with; `None` for a new one.
        parent_message_id: the message to reply to first.
    """

    def __init__(self, conversation_id: str | None, parent_message_id: str | None) -> None:
        self._conversation_id = conversation_id
        self._parent_message_id = parent_message_id

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation; `None` before its first reply."""
        return self._conversation_id

    @property
    def parent_message_id(self) -> str | None:
        """The id of the last reply, to which the next message replies."""
        return self._parent_message_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._conversation_id}, at {self._parent_message_id}>"

    def _following(self, exchange: Exchange[ChatMessage]) -> Exchange[ChatMessage]:
        """The exchange that sends a message, and goes on from its reply."""
        reply = yield from exchange
        self._conversation_id = reply.conversation_id or self._conversation_id
        self._parent_message_id = reply.id
        return reply
