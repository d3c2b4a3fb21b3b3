"""What both clients of the web flow do in the async twin: send messages."""

from __future__ import annotations

from collections.abc import Callable

from chatgpt.base_web_clients import BaseWebClient
from chatgpt.core.cancelling import CancelToken
from chatgpt.core.messages import ChatMessage
from chatgpt.core.web.options import followed_ids
from chatgpt.core.wire.web import ConversationResponseEvent, MessageActionType
from chatgpt_async.calling import Caller
from chatgpt_async.stores.memory import MemoryStore
from chatgpt_async.streams import MessageStream
from chatgpt_async.transport import FetchFn, Transport
from chatgpt_async.web_conversation import WebConversation


class WebCaller(Caller, BaseWebClient[FetchFn]):
    """A client of the web flow."""

    def _open(self, session: FetchFn | None) -> None:
        self._transport = Transport(session, self._settings.proxy)
        self._store = MemoryStore()  # which stays empty: the server keeps the thread

    async def send_message(
        self,
        text: str,
        *,
        parent_message_id: str | None = None,
        conversation_id: str | None = None,
        message_id: str | None = None,
        action: MessageActionType = "next",
        timeout: float | None = None,
        abort: CancelToken | None = None,
        on_progress: Callable[[ChatMessage], object] | None = None,
        on_conversation_response: Callable[[ConversationResponseEvent], object] | None = None,
    ) -> ChatMessage:
        """Send a message and return the reply, once it is complete. The server keeps the thread.

        Args:
            text: the message.
            parent_message_id: the id of the message that this one replies to, a uuid of version 4;
                `None` begins a new conversation.
            conversation_id: the id of the conversation, a uuid of version 4 or 8; by default a new one. A
                follow-up gives both ids of the reply that it answers. `ChatGPTSessionAPI` also takes this one
                alone, and goes on where the server says that the conversation stands. (It takes a
                `parent_message_id` alone, too, as npm `chatgpt` 3 did; but the server begins a new
                conversation then, which knows nothing of that message.)
            message_id: the id of the new message, a uuid of version 4; by default a new one.
            action: `"next"` for a new message, `"variant"` for another reply to one that was sent: give
                its `message_id` and the `parent_message_id` that it had.
            timeout: seconds for this call; by default the client's.
            abort: a token that stops the call: `token.cancel()`, from any thread and at any time; by default none.
            on_progress: called, and awaited if it is async, with each part of the reply: a
                `ChatMessage` with the `text` so far, what is new in `delta`, and `rewritten` where the
                server took something back. A plain function must not block. What it raises ends the
                call. By default nothing is called.
            on_conversation_response: called, and awaited if it is async, with each event of the server
                as it came, a dictionary: a snapshot of the message, an operation that changes it
                (`{"p": ..., "o": ..., "v": ...}`) or a side event (`{"type": ...}`). What it raises
                ends the call. By default nothing is called.

        Raises:
            TypeError, ValueError: an option is wrong. Nothing was sent.
            APITimeoutError: a limit passed; `limit` says which.
            AbortedError: `abort` was cancelled.
            ChatGPTError: whatever else went wrong; `partial` holds the text that came.
        """
        exchange = self._sending(
            text,
            parent_message_id=parent_message_id,
            conversation_id=conversation_id,
            message_id=message_id,
            action=action,
            timeout=timeout,
            abort=abort,
            on_progress=on_progress,
            on_conversation_response=on_conversation_response,
        )
        return await self._call(exchange).run(on_progress)

    def stream_message(
        self,
        text: str,
        *,
        parent_message_id: str | None = None,
        conversation_id: str | None = None,
        message_id: str | None = None,
        action: MessageActionType = "next",
        timeout: float | None = None,
        abort: CancelToken | None = None,
        on_conversation_response: Callable[[ConversationResponseEvent], object] | None = None,
    ) -> MessageStream:
        """Send a message and return its reply as a stream of parts.

        It is not awaited; the message is sent when the stream is entered: `async with
        client.stream_message(...) as stream: async for part in stream: ...`.
        The options and the errors are those of `send_message`; wrong options raise at once.
        """
        exchange = self._sending(
            text,
            parent_message_id=parent_message_id,
            conversation_id=conversation_id,
            message_id=message_id,
            action=action,
            timeout=timeout,
            abort=abort,
            on_conversation_response=on_conversation_response,
            is_iterated=True,
        )
        return self._stream(exchange)

    def conversation(
        self, *, conversation_id: str | None = None, parent_message_id: str | None = None
    ) -> WebConversation:
        """Return a chat that keeps the ids: `await chat.send("Hi")`.

        Args:
            conversation_id: the conversation to go on with; by default a new one.
            parent_message_id: the message to reply to first; by default none. Both or neither, but that
                `ChatGPTSessionAPI` takes a `conversation_id` alone.

        Raises:
            TypeError, ValueError: an id is wrong.
        """
        ids = followed_ids(self._settings, conversation_id, parent_message_id)
        return WebConversation(self._sending, self._call, self._stream, *ids)
