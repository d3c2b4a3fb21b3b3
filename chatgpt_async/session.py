"""`ChatGPTSessionAPI`: ChatGPT's own backend, with the session of a browser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from chatgpt.base_web_clients import BaseSessionAPI
from chatgpt.core.messages import ChatMessage
from chatgpt.core.secrets import Secret
from chatgpt.core.validation import text_to_send
from chatgpt.core.web import conversations, moderation
from chatgpt.core.web.conversations import (
    DEFAULT_PAGE,
    ConversationPages,
    ConversationRecord,
)
from chatgpt.core.wire.web import (
    MessageFeedbackResult,
    MessageFeedbackTag,
    MessageRating,
    ModerationsJSONResult,
)
from chatgpt_async.listing import ConversationListing
from chatgpt_async.transport import FetchFn
from chatgpt_async.web_calling import WebCaller


class AChatGPTAPI(ABC):
    """What a client with a session offers, whatever it is made of."""

    @abstractmethod
    async def init_session(self) -> None:
        """Get an access token, which succeeds only if the session is valid."""

    @abstractmethod
    async def refresh_session(self) -> Secret:
        """Return an access token that is valid, a new one if need be."""

    @abstractmethod
    async def get_is_authenticated(self) -> bool:
        """Return whether there is a valid access token, or one could be got."""

    @abstractmethod
    async def close_session(self) -> None:
        """Forget the access token."""

    @abstractmethod
    async def send_message(self, text: str) -> ChatMessage:
        """Send a message and return the reply.

        Args:
            text: the message.
        """

    async def reset_session(self) -> Secret:
        """Forget the access token and get a new one; mends errors of sessions that have expired."""
        await self.close_session()
        return await self.refresh_session()


class ChatGPTSessionAPI(WebCaller, AChatGPTAPI, BaseSessionAPI[FetchFn]):
    """A client for ChatGPT's own backend, with the tokens of a browser that is signed in.

    Unofficial: the backend has no published interface, and may change or refuse at any time. Nothing
    here solves challenges or works around protection. Use your own account, and prefer `ChatGPTAPI`.
    The server keeps the thread: a follow-up gives the id and the conversation id of the reply that it
    answers. One client may be used from many tasks, on asyncio and on trio, and from one event loop
    after the other; it pickles as its configuration, without secrets.

    `ChatGPTSessionAPI.__init__` describes the options. Here, `session` is an `httpx2.AsyncClient`.
    """

    # --- the session -------------------------------------------------------------------------

    async def init_session(self) -> None:
        """Get an access token, which succeeds only if the session is valid, or one was given.

        Raises:
            ChatGPTError: it failed.
        """
        await self.refresh_session()

    async def refresh_session(self) -> Secret:
        """Return an access token that is valid; a new one if the last is older than `access_token_ttl`.

        It is a `Secret`, which prints as `***`; `.reveal()` is its text.

        Raises:
            TokenExpiredError: the session is over.
            AuthenticationError: nobody is signed in.
            ChatGPTError: whatever else went wrong.
        """
        call = self._web_call()
        return await self._call(self._access.valid_token(call.limits, call.redact)).run()

    async def get_is_authenticated(self) -> bool:
        """Return whether there is a valid access token, or the session gives one.

        A token that was given counts until the server refuses it. Whatever keeps the session from giving
        one, a server that is down included, is `False`; `init_session` says what it is.
        """
        call = self._web_call()
        return await self._call(self._access.has_valid_token(call.limits, call.redact)).run()

    async def close_session(self) -> None:
        """Forget the access token. The next call gets a new one."""
        self._access.keep(None)

    # --- the conversations on the server -----------------------------------------------------

    def list_conversations(
        self, *, page_size: int = DEFAULT_PAGE, is_archived: bool = False
    ) -> ConversationListing:
        """List the conversations, the one that was used last first; page by page, as they are asked for.

        It is not awaited: `async for conversation in client.list_conversations(): ...`.

        What is deleted or archived while the listing is read moves the others up, past the next page: take
        the whole list first where that is the plan.

        Args:
            page_size: how many are read at once, at most 100.
            is_archived: whether those that were put away are listed, in place of the others.

        Raises:
            TypeError, ValueError: an option is wrong; at once.
            ChatGPTError: whatever else went wrong; when a page is read.
        """
        pages = ConversationPages(page_size, is_archived)
        return ConversationListing(pages, lambda: self._call(pages.read(self._web_call())).run())

    async def get_conversation(self, conversation_id: str) -> ConversationRecord:
        """Read a conversation: what a reader sees of it, as messages.

        To go on with it, send a message with its `conversation_id`.

        Args:
            conversation_id: its id.

        Raises:
            NotFoundError: the server has none of this id.
            ChatGPTError: whatever else went wrong.
        """
        return await self._call(
            conversations.get_conversation(self._web_call(), conversation_id)
        ).run()

    async def generate_title(self, conversation_id: str, message_id: str) -> str:
        """Have the server make a title, and return it.

        Args:
            conversation_id: the id of the conversation.
            message_id: the message that it is made of.

        Raises:
            ChatGPTError: whatever went wrong.
        """
        return await self._call(
            conversations.generate_title(self._web_call(), conversation_id, message_id)
        ).run()

    async def set_title(self, conversation_id: str, title: str) -> None:
        """Change the title of a conversation.

        Args:
            conversation_id: its id.
            title: the new title.

        Raises:
            ChatGPTError: whatever went wrong.
        """
        await self._call(conversations.set_title(self._web_call(), conversation_id, title)).run()

    async def archive(self, conversation_id: str, *, is_archived: bool = True) -> None:
        """Put a conversation away, or take it back.

        Args:
            conversation_id: its id.
            is_archived: `False` to take it back.

        Raises:
            ChatGPTError: whatever went wrong.
        """
        await self._call(
            conversations.archive(self._web_call(), conversation_id, is_archived)
        ).run()

    async def delete_conversation(self, conversation_id: str) -> None:
        """Delete a conversation. There is no way back.

        Args:
            conversation_id: its id.

        Raises:
            ChatGPTError: whatever went wrong.
        """
        await self._call(conversations.delete_conversation(self._web_call(), conversation_id)).run()

    async def send_feedback(
        self,
        conversation_id: str,
        message_id: str,
        rating: MessageRating,
        *,
        tags: Sequence[MessageFeedbackTag] = (),
        text: str | None = None,
    ) -> MessageFeedbackResult:
        """Say what you think of a reply.

        Args:
            conversation_id: the id of its conversation.
            message_id: the id of the reply.
            rating: `"thumbsUp"` or `"thumbsDown"`.
            tags: what is wrong with it: `"harmful"`, `"false"`, `"not-helpful"`.
            text: in your own words; by default none.

        Raises:
            ChatGPTError: whatever went wrong.
        """
        return await self._call(
            conversations.send_feedback(
                self._web_call(), conversation_id, message_id, rating, tags, text
            )
        ).run()

    async def send_moderation(self, text: str) -> ModerationsJSONResult:
        """Ask whether a text is against the rules.

        Args:
            text: the text.

        Raises:
            TypeError, ValueError: the text is empty, or none; nothing was sent.
            ChatGPTError: whatever else went wrong.
        """
        checked = text_to_send("text", text)
        return await self._call(moderation.send_moderation(self._web_call(), checked)).run()
