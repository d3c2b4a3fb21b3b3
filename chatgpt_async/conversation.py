"""`Conversation`: a chat that keeps its ids, and moves about in the tree of its messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from chatgpt.base_conversation import BaseConversation
from chatgpt.core.cancelling import CancelToken
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange
from chatgpt.core.official import Preview
from chatgpt.core.trees import ConversationTree
from chatgpt_async.streams import MessageStream

if TYPE_CHECKING:
    from chatgpt_async.client import ChatGPTAPI

T = TypeVar("T")


class Conversation(BaseConversation):
    """A chat: each message replies to the reply before it. Made by `client.conversation()`.

    A message that fails leaves it where it was. It is one line of talk: whatever is asked of it while it
    still waits for a reply is a `RuntimeError`; take a `branch()` for another task. Nothing is overwritten:
    what is edited or generated again stands beside what was there, and `client.branches` finds the other
    replies to a message. A copy shares the client, like a branch; a deep copy or a pickle brings one of its
    own, with an empty store in memory unless the client was given another one.
    """

    _client: ChatGPTAPI

    async def send(
        self,
        text: str,
        *,
        message_id: str | None = None,
        name: str | None = None,
        stream: bool | None = None,
        completion_params: Mapping[str, object] | None = None,
        timeout: float | None = None,
        abort: CancelToken | None = None,
        on_progress: Callable[[ChatMessage], object] | None = None,
    ) -> ChatMessage:
        """Send the next message and return the reply, once it is complete.

        The options and the errors are those of `ChatGPTAPI.send_message`.
        """
        exchange = self._sending(
            text,
            message_id=message_id,
            name=name,
            stream=stream,
            completion_params=completion_params,
            timeout=timeout,
            abort=abort,
            on_progress=on_progress,
        )
        return await self._run(exchange, on_progress)

    def stream(
        self,
        text: str,
        *,
        message_id: str | None = None,
        name: str | None = None,
        completion_params: Mapping[str, object] | None = None,
        timeout: float | None = None,
        abort: CancelToken | None = None,
    ) -> MessageStream:
        """Send the next message and return its reply as a stream of parts.

        The options and the errors are those of `ChatGPTAPI.stream_message`. The conversation goes on
        from the reply once the stream has ended.
        """
        exchange = self._sending(
            text,
            message_id=message_id,
            name=name,
            completion_params=completion_params,
            timeout=timeout,
            abort=abort,
            is_iterated=True,
        )
        return self._client._stream(exchange)  # noqa: SLF001

    async def regenerate(
        self,
        *,
        completion_params: Mapping[str, object] | None = None,
        timeout: float | None = None,
        abort: CancelToken | None = None,
        on_progress: Callable[[ChatMessage], object] | None = None,
    ) -> ChatMessage:
        """Ask for another reply to the last question, and go on from it. The reply before stays beside it.

        Args:
            completion_params: further fields of this request, over those of the conversation; by default none.
            timeout: seconds for this call; by default the client's.
            abort: a token that stops the call: `token.cancel()`, from any thread and at any time; by default none.
            on_progress: called with each part of the reply; by default nothing is.

        Raises:
            ValueError: there is no reply yet.
            MessageNotFoundError: the store does not hold the reply, or its question.
            ChatGPTError: whatever else went wrong.
        """
        exchange = self._regenerating(
            completion_params=completion_params,
            timeout=timeout,
            abort=abort,
            on_progress=on_progress,
        )
        return await self._run(exchange, on_progress)

    async def edit(
        self,
        message_id: str,
        text: str,
        *,
        completion_params: Mapping[str, object] | None = None,
        timeout: float | None = None,
        abort: CancelToken | None = None,
        on_progress: Callable[[ChatMessage], object] | None = None,
    ) -> ChatMessage:
        """Send another message in the place of one of yours, and go on from its reply.

        The message before and what followed it stay beside it; its pictures and the like are sent again.

        Args:
            message_id: the id of a message of yours, or of the reply to it, anywhere in the store.
            text: what it should have said.
            completion_params: further fields of this request, over those of the conversation; by default none.
            timeout: seconds for this call; by default the client's.
            abort: a token that stops the call: `token.cancel()`, from any thread and at any time; by default none.
            on_progress: called with each part of the reply; by default nothing is.

        Raises:
            MessageNotFoundError: the message is not in the store.
            ValueError: there is no message of yours, or `text` is empty.
            ChatGPTError: whatever else went wrong.
        """
        exchange = self._editing(
            message_id,
            text,
            completion_params=completion_params,
            timeout=timeout,
            abort=abort,
            on_progress=on_progress,
        )
        return await self._run(exchange, on_progress)

    async def continue_reply(
        self,
        *,
        completion_params: Mapping[str, object] | None = None,
        timeout: float | None = None,
        abort: CancelToken | None = None,
        on_progress: Callable[[ChatMessage], object] | None = None,
    ) -> ChatMessage:
        """Go on with the last reply, where its limit cut it (`finish_reason == "length"`).

        Args:
            completion_params: further fields of this request, over those of the conversation; by default none.
            timeout: seconds for this call; by default the client's.
            abort: a token that stops the call: `token.cancel()`, from any thread and at any time; by default none.
            on_progress: called with each part: its `text` is the whole reply so far, its `delta` what is new; by
                default nothing is.

        Returns:
            The whole reply: what was there and what followed. It stands beside the cut one. Its usage
            is that of this request, in which a chat model is asked to go on by a message that is not stored.

        Raises:
            ValueError: the last reply was not cut, or has no text.
            ChatGPTError: whatever else went wrong; `partial` holds the whole text so far, once an answer
                has begun.
        """
        exchange = self._continuing(
            completion_params=completion_params,
            timeout=timeout,
            abort=abort,
            on_progress=on_progress,
        )
        return await self._run(exchange, on_progress)

    async def preview(
        self,
        text: str,
        *,
        name: str | None = None,
        completion_params: Mapping[str, object] | None = None,
    ) -> Preview:
        """Say what `send` would send, and send nothing.

        The options and the errors are those of `ChatGPTAPI.preview`.
        """
        exchange = self._previewing(text, name=name, completion_params=completion_params)
        return await self._run(exchange)

    async def undo(self) -> ChatMessage | None:
        """Go back to before the last question. What was said stays in the store.

        Returns:
            The question that was taken back; `None` where there is nothing to undo: at the beginning, or where
            the store holds no question any more.

        Raises:
            MessageNotFoundError: the store does not hold the last reply, or what comes before the question.
        """
        return await self._run(self._undoing())

    async def history(self) -> list[ChatMessage]:
        """Return the messages that lead to here, oldest first; none at the beginning.

        Raises:
            MessageNotFoundError: the store does not hold the last one.
        """
        return list(await self._run(self._reading()))

    async def tree(self) -> ConversationTree:
        """Return the whole conversation: all that replies to its first message, and to its replies, in all branches.

        Raises:
            MessageNotFoundError: the store does not hold the last message.
            ConfigurationError: the store cannot find replies (`MessageStore.replies`).
        """
        return await self._run(self._reading_tree())

    async def _run(
        self,
        exchange: Exchange[T],
        on_progress: Callable[[ChatMessage], object] | None = None,
    ) -> T:
        return await self._client._call(exchange).run(on_progress)  # noqa: SLF001 - it is a part of its client
