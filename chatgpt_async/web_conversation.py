"""`WebConversation`: a chat of the web flow that keeps its ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatgpt.core.cancelling import CancelToken
from chatgpt.core.following import ConversationState
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange
from chatgpt.core.wire.web import ConversationResponseEvent
from chatgpt_async.streams import MessageStream
from chatgpt_async.transport import Call


class WebConversation(ConversationState):
    """A chat of the web flow: each message replies to the reply before it. Made by `client.conversation()`.

    A message that fails leaves it where it was. It is one line of talk: send one message at a time.
    """

    def __init__(
        self,
        sending: Callable[..., Exchange[ChatMessage]],
        call: Callable[[Exchange[ChatMessage]], Call[ChatMessage]],
        stream: Callable[[Exchange[ChatMessage]], MessageStream],
        conversation_id: str | None,
        parent_message_id: str | None,
    ) -> None:
        super().__init__(conversation_id, parent_message_id)
        self._sending = sending
        self._call = call
        self._stream = stream

    async def send(
        self,
        text: str,
        *,
        message_id: str | None = None,
        timeout: float | None = None,
        abort: CancelToken | None = None,
        on_progress: Callable[[ChatMessage], object] | None = None,
        on_conversation_response: Callable[[ConversationResponseEvent], object] | None = None,
    ) -> ChatMessage:
        """Send the next message and return the reply, once it is complete.

        The options and the errors are those of `ChatGPTUnofficialProxyAPI.send_message`.
        """
        exchange = self._next(
            text,
            message_id=message_id,
            timeout=timeout,
            abort=abort,
            on_progress=on_progress,
            on_conversation_response=on_conversation_response,
        )
        return await self._call(exchange).run(on_progress)

    def stream(
        self,
        text: str,
        *,
        message_id: str | None = None,
        timeout: float | None = None,
        abort: CancelToken | None = None,
        on_conversation_response: Callable[[ConversationResponseEvent], object] | None = None,
    ) -> MessageStream:
        """Send the next message and return its reply as a stream of parts.

        The options and the errors are those of `ChatGPTUnofficialProxyAPI.stream_message`. The conversation
        goes on from the reply once the stream has ended.
        """
        exchange = self._next(
            text,
            message_id=message_id,
            timeout=timeout,
            abort=abort,
            on_conversation_response=on_conversation_response,
            is_iterated=True,
        )
        return self._stream(exchange)

    def _next(self, text: str, **options: Any) -> Exchange[ChatMessage]:
        def begin() -> Exchange[ChatMessage]:
            return self._sending(
                text,
                conversation_id=self._conversation_id,
                parent_message_id=self._parent_message_id,
                **options,
            )

        begin()  # wrong options raise now; an exchange that is not stepped does nothing
        return self._following(begin)
