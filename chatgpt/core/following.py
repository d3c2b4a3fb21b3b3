"""A conversation that keeps its ids: each message replies to the reply before it.

Rules:

1. It stands still until a reply is complete; whatever fails leaves it where it was.
2. It does one thing at a time: where it stands is looked up when a message is sent, not when it is
   prepared, and a second one meanwhile is refused. Otherwise one of two replies would be lost from it.
"""

from __future__ import annotations

from collections.abc import Callable

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
        self._is_busy = False

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation; `None` before its first reply, unless it was given."""
        return self._conversation_id

    @property
    def parent_message_id(self) -> str | None:
        """The id of the last reply, to which the next message replies."""
        return self._parent_message_id

    def __getstate__(self) -> dict[str, object]:
        """What a copy has: nothing is on its way there."""
        return {**vars(self), "_is_busy": False}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._conversation_id}, at {self._parent_message_id}>"

    def _following(self, begin: Callable[[], Exchange[ChatMessage]]) -> Exchange[ChatMessage]:
        """The exchange that sends a message, and goes on from its reply.

        Args:
            begin: makes the exchange, from where the conversation stands then.

        Raises:
            RuntimeError: another one is on its way.
        """
        self._begin()
        try:
            reply = yield from begin()
            self._conversation_id = reply.conversation_id or self._conversation_id
            self._parent_message_id = reply.id
            return reply
        finally:
            self._is_busy = False

    def _begin(self) -> None:
        if self._is_busy:
            raise RuntimeError(
                "A conversation does one thing at a time, and another one is on its way: wait for it, close its "
                "stream, or begin another conversation."
            )
        self._is_busy = True
