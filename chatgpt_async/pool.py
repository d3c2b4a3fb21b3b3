"""`ChatGPTPool`: many accounts, one client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import ClassVar, Self, TypeAlias

from anyio import to_thread
from attrs import evolve

from chatgpt.base_pool import BasePool
from chatgpt.core.cancelling import CancelToken
from chatgpt.core.messages import ChatMessage
from chatgpt.core.pool.accounts import AccountStatus
from chatgpt.core.pool.events import PoolEvent
from chatgpt.core.pool.members import Member
from chatgpt.core.pool.options import ClientName, given_account
from chatgpt.core.wire.web import ConversationResponseEvent, MessageActionType
from chatgpt.pool_members import PoolMessage
from chatgpt.stores.protocol import MessageStore as PlainStore
from chatgpt.surroundings import SURROUNDINGS
from chatgpt_async.client import ChatGPTAPI
from chatgpt_async.pool_calls import PoolCall
from chatgpt_async.proxy import ChatGPTUnofficialProxyAPI
from chatgpt_async.session import ChatGPTSessionAPI
from chatgpt_async.stores.memory import MemoryStore
from chatgpt_async.stores.protocol import MessageStore, awaitable_store
from chatgpt_async.streams import MessageStream
from chatgpt_async.transport import Transport

Client: TypeAlias = ChatGPTAPI | ChatGPTSessionAPI | ChatGPTUnofficialProxyAPI


class ChatGPTPool(BasePool[Client, MessageStore | PlainStore, MessageStore]):
    """Many accounts as one client: each call is answered by the one that has waited longest.

    An account that fails cools down, and others answer meanwhile; where all are busy, a call waits for the first to
    be free, in the order in which they came. `PoolError` says that no account could answer, and why (`type`).

    One pool may be used from many tasks, on asyncio and on trio, and from one event loop after the other. It pickles as
    its configuration, without secrets. A call that is cancelled gives its account back.

    `ChatGPTPool.__init__` describes the options.

    Attributes:
        accounts: the clients of the pool, by the ids of their accounts, as they are now.
        message_store: where the messages of the official flow are kept.
    """

    _surroundings = evolve(SURROUNDINGS, may_block=False)
    _client_types: ClassVar[Mapping[ClientName, type[Client]]] = {
        "ChatGPTAPI": ChatGPTAPI,
        "ChatGPTSessionAPI": ChatGPTSessionAPI,
        "ChatGPTUnofficialProxyAPI": ChatGPTUnofficialProxyAPI,
    }

    def _checked_store(self, store: object) -> MessageStore:
        return awaitable_store(store)

    def _new_store(self) -> MessageStore:
        return MemoryStore()

    # --- messages ----------------------------------------------------------------------------

    async def send_message(
        self,
        text: str,
        *,
        account_id: str | None = None,
        parent_message_id: str | None = None,
        conversation_id: str | None = None,
        message_id: str | None = None,
        name: str | None = None,
        stream: bool | None = None,
        system_message: str | None = None,
        prompt_prefix: str | None = None,
        prompt_suffix: str | None = None,
        completion_params: Mapping[str, object] | None = None,
        action: MessageActionType | None = None,
        timeout: float | None = None,
        abort: CancelToken | None = None,
        on_progress: Callable[[ChatMessage], object] | None = None,
        on_conversation_response: Callable[[ConversationResponseEvent], object] | None = None,
    ) -> ChatMessage:
        """Send a message with the account that is next, and return the reply; its `account_id` says who answered.

        `ChatGPTAPI.send_message` says more of the options of the official flow, where a follow-up may go to any
        account, and `ChatGPTUnofficialProxyAPI.send_message` of those of the web flow, where it goes back to the
        account in which its conversation lives. An option that the accounts of the pool do not have is a `TypeError`.

        Args:
            text: the message.
            account_id: the only account that may answer; by default any, or that of the conversation.
            parent_message_id: the id of the message that this one replies to; by default it begins a conversation.
            conversation_id: the conversation; by default the parent's, or a new one.
            message_id: the id of the new message; by default a new uuid4.
            name: official flow: the speaker's name; by default none.
            stream: official flow: whether the answer is asked for as a stream; by default only if `on_progress` is
                given.
            system_message: official flow: the instructions for this reply; by default the client's.
            prompt_prefix: text completions: the beginning of the prompt; by default the instructions.
            prompt_suffix: text completions: the end of the prompt; by default the label of the assistant.
            completion_params: official flow: further fields of this request; by default none.
            action: web flow: `"next"` or `"variant"`; by default `"next"`.
            timeout: seconds for the whole call, the wait for an account and all attempts included; by default the
                pool's.
            abort: a token that stops the call; by default none.
            on_progress: called, and awaited if it is async, with each part of the reply; by default nothing is.
            on_conversation_response: web flow: called, and awaited if it is async, with each event of the server; by
                default nothing is.

        Raises:
            PoolError: no account could answer; `type` says why, `account_id` names the one that failed last, the
                cause is its error, and `partial` holds the text that came.
            MessageNotFoundError, PromptTooLongError, TypeError, ValueError: as the clients. Nothing was sent.
            AbortedError: `abort` was cancelled.
            ChatGPTError: whatever else went wrong that is no account's fault.
            Exception: what `get_access_token` of an account raises; the account cools down.
        """
        message = self._message(
            text,
            account_id=account_id,
            parent_message_id=parent_message_id,
            conversation_id=conversation_id,
            message_id=message_id,
            name=name,
            stream=stream,
            system_message=system_message,
            prompt_prefix=prompt_prefix,
            prompt_suffix=prompt_suffix,
            completion_params=completion_params,
            action=action,
            timeout=timeout,
            abort=abort,
            on_progress=on_progress,
            on_conversation_response=on_conversation_response,
        )
        return await self._pool_call(message).run(on_progress)

    def stream_message(
        self,
        text: str,
        *,
        account_id: str | None = None,
        parent_message_id: str | None = None,
        conversation_id: str | None = None,
        message_id: str | None = None,
        name: str | None = None,
        system_message: str | None = None,
        prompt_prefix: str | None = None,
        prompt_suffix: str | None = None,
        completion_params: Mapping[str, object] | None = None,
        action: MessageActionType | None = None,
        timeout: float | None = None,
        abort: CancelToken | None = None,
        on_conversation_response: Callable[[ConversationResponseEvent], object] | None = None,
    ) -> MessageStream:
        """Send a message and return its reply as a stream of parts.

        An account is waited for, and the message sent, when the stream is entered; the account is given back when
        the stream ends or is left. The options and the errors are those of `send_message`; wrong options raise at
        once.
        """
        message = self._message(
            text,
            account_id=account_id,
            parent_message_id=parent_message_id,
            conversation_id=conversation_id,
            message_id=message_id,
            name=name,
            system_message=system_message,
            prompt_prefix=prompt_prefix,
            prompt_suffix=prompt_suffix,
            completion_params=completion_params,
            action=action,
            timeout=timeout,
            abort=abort,
            on_conversation_response=on_conversation_response,
            is_iterated=True,
        )
        return MessageStream(partial(self._pool_call, message))

    def _pool_call(self, message: PoolMessage) -> PoolCall:
        return PoolCall(
            self._sending(message), self._store, self._ledger, partial(self._joined, message)
        )

    def _joined(self, message: PoolMessage, account_id: str) -> tuple[Transport, Member] | None:
        """The connections of an account, and its client with a message; `None` where it is no more in the pool."""
        client = self._clients.get(account_id)
        if client is None:
            return None
        return client._transport, self._member(account_id, client, message)  # noqa: SLF001

    # --- accounts ----------------------------------------------------------------------------

    async def status(self) -> dict[str, AccountStatus]:
        """Tell what is known of each account, by their ids, as it is now.

        Raises:
            StoreError: the pool is shared, and Redis cannot be reached.
        """
        return await to_thread.run_sync(self._statuses, abandon_on_cancel=True)

    async def add_account(
        self,
        account: Client | Mapping[str, object],
        *,
        account_id: str | None = None,
        max_concurrent: int | None = None,
    ) -> str:
        """Take an account into the pool, be it in use, and return its id.

        Args:
            account: a client, or a mapping of the options of one, as for the constructor.
            account_id: its id; by default the next `"account-<number>"` that is free.
            max_concurrent: how many calls it takes at once; by default what the pool says.

        Raises:
            ConfigurationError, TypeError: it cannot be an account of this pool.
            StoreError: the pool is shared, and Redis cannot be reached.
        """
        given = given_account(account, account_id, max_concurrent)
        del account  # a traceback may show the names of this frame
        with self._adding(given) as event:
            await self._write(event)
        return event.account_id

    async def remove_account(self, account_id: str) -> None:
        """Take an account out of the pool. Its running calls go on to their end.

        Args:
            account_id: its id in the pool.

        Raises:
            PoolError: the pool has no such account.
            StoreError: the pool is shared, and Redis cannot be reached.
        """
        await self._write(self._removed(account_id))
        client = self._taken_out(account_id)
        if client is not None:
            await client.aclose()

    async def restore_account(self, account_id: str) -> None:
        """Put an account back into service, whatever it rests for.

        Args:
            account_id: its id in the pool.

        Raises:
            PoolError: the pool has no such account.
            StoreError: the pool is shared, and Redis cannot be reached.
        """
        await self._write(self._restored(account_id))

    async def refresh_account(self, account_id: str) -> None:
        """Get a new access token for an account of the web flow, and put it back into service.

        Args:
            account_id: its id in the pool.

        Raises:
            PoolError: the pool has no such account.
            TypeError: the accounts of the pool are of the official flow, which has no access tokens.
            ChatGPTError: no token was to be had.
        """
        client, renewal = self._renewal(account_id)
        await client._call(renewal).run()  # noqa: SLF001 - a client of this package
        await self.restore_account(account_id)

    # --- the object --------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the connections of the clients that the pool has made, and those to Redis.

        A pool that is used again opens new ones. Clients that it was given are yours to close.
        """
        for client in self._made_clients():
            await client.aclose()
        await to_thread.run_sync(self._ledger.close, abandon_on_cancel=True)

    async def close(self) -> None:
        """The same as `aclose`."""
        await self.aclose()

    async def _write(self, event: PoolEvent) -> None:
        await to_thread.run_sync(
            self._ledger.write_now, event
        )  # to its end: it would be written later

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
