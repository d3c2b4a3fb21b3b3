"""What a type checker sees of the async twin: checked by mypy --strict, never run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

import httpx2

import chatgpt
from chatgpt_async import (
    AccountStatus,
    APITimeoutError,
    CancelToken,
    ChatGPTAPI,
    ChatGPTError,
    ChatGPTPool,
    ChatGPTSessionAPI,
    ChatGPTUnofficialProxyAPI,
    ChatMessage,
    Conversation,
    ConversationRecord,
    ConversationSummary,
    MemoryStore,
    MessageStore,
    MessageStream,
    ModelFamily,
    Moderation,
    Preview,
    RequestChange,
    Secret,
    SendMessageOptions,
    Usage,
    WebConversation,
)


class Store(MessageStore):
    async def get(self, message_id: str) -> ChatMessage | None:
        return None

    async def save(self, messages: Sequence[ChatMessage]) -> None:
        assert_type(messages[0].id, str)


async def on_progress(part: ChatMessage) -> None:
    assert_type(part.delta, str | None)


async def look_up(message_id: str) -> ChatMessage | None:
    return None


async def main() -> None:
    async with ChatGPTAPI(
        api_key="sk-...",
        completion_params={"temperature": 0.5, "stop": ["END"]},
        message_store=Store(),
        session=httpx2.AsyncClient(),
        timeout=30,
    ) as client:
        assert_type(client, ChatGPTAPI)
        assert_type(client.api_key, Secret | None)
        client.api_key = "sk-other"

        reply = await client.send_message("Hi", on_progress=on_progress)
        assert_type(reply, ChatMessage)
        assert_type(reply, chatgpt.ChatMessage)
        assert_type(reply.usage, Usage | None)
        assert reply.context is not None
        assert_type(reply.context.changes, tuple[RequestChange, ...])
        await client.send_message("Hi", on_progress=lambda part: print(part.delta))

        async with client.stream_message("Hi", parent_message_id=reply.id) as stream:
            assert_type(stream, MessageStream)
            async for part in stream:
                assert_type(part, ChatMessage)
        assert_type(stream.result(), ChatMessage)

        assert_type(await client.thread(reply.id), list[ChatMessage])
        assert_type(await client.branches(reply.id), list[ChatMessage])
        preview = await client.preview("Hi", parent_message_id=reply.id)
        assert_type(preview, Preview)
        assert_type(preview.messages, Sequence[ChatMessage])
        assert_type(preview.prompt_tokens, int)
        chat = client.conversation(system_message="", completion_params={"seed": 1})
        assert_type(chat, Conversation)
        assert_type(await chat.send("Hi", name="ada"), ChatMessage)
        assert_type(chat.stream("Hi"), MessageStream)
        assert_type(await chat.regenerate(), ChatMessage)
        assert_type(await chat.edit("m", "Ho"), ChatMessage)
        assert_type(await chat.continue_reply(timeout=3), ChatMessage)
        assert_type(await chat.undo(), ChatMessage | None)
        assert_type(await chat.history(), list[ChatMessage])
        assert_type(chat.branch(), Conversation)
        await chat.send("Hi", system_message="x")  # type: ignore[call-arg] # an option of the chat
        assert_type(await client.send_moderation("Hi"), Moderation)

        options: SendMessageOptions = {
            "parent_message_id": reply.id,
            "timeout": 3.0,
            "abort": CancelToken(),
        }
        await client.send_message("Hi", **options)

        try:
            await client.send_message("Hi")
        except APITimeoutError as error:
            assert_type(error.partial, str | None)
        except ChatGPTError as error:
            assert_type(error.status_code, int | None)
        await client.aclose()
        await client.close()

    messages: dict[str, ChatMessage] = {}
    ChatGPTAPI(get_message_by_id=messages.get, upsert_message=on_progress)
    ChatGPTAPI(get_message_by_id=look_up, upsert_message=print)
    ChatGPTAPI(message_store=MemoryStore(capacity=10))
    ChatGPTAPI(model_family=ModelFamily(max_input=8192), endpoint="completions", user_label="Q")
    ChatGPTAPI(endpoint="chats")  # type: ignore[arg-type] # chat or completions
    ChatGPTAPI(message_store=chatgpt.MemoryStore(capacity=10))

    list(stream)  # type: ignore[call-overload] # it is iterated with `async for`
    print(client.send_message("Hi").text)  # type: ignore[attr-defined] # it is awaited
    chatgpt.ChatGPTAPI(message_store=MemoryStore())  # type: ignore[arg-type] # its methods are async
    chatgpt.ChatGPTAPI(get_message_by_id=look_up)  # type: ignore[arg-type] # it is async


async def get_access_token(**_: str | None) -> str:
    return "token"


async def web() -> None:
    async with ChatGPTUnofficialProxyAPI(get_access_token=get_access_token) as proxy:
        assert_type(await proxy.send_message("Hi", on_progress=on_progress), ChatMessage)
        async with proxy.stream_message("Hi") as stream:
            assert_type(stream, MessageStream)
    ChatGPTUnofficialProxyAPI(get_access_token=lambda **_: "token")

    async with ChatGPTSessionAPI(session_token="s", clearance_token="c") as session:
        assert_type(await session.refresh_session(), Secret)
        assert_type(await session.reset_session(), Secret)
        chat = session.conversation()
        assert_type(chat, WebConversation)
        assert_type(await chat.send("Hi"), ChatMessage)
        async for summary in session.list_conversations():
            assert_type(summary, ConversationSummary)
            assert_type(await session.get_conversation(summary.id), ConversationRecord)


async def pool() -> None:
    accounts = {"a": ChatGPTAPI(), "b": ChatGPTAPI()}
    async with ChatGPTPool(accounts, message_store=chatgpt.MemoryStore()) as pool:
        assert_type(await pool.send_message("Hi", account_id="a"), ChatMessage)
        async with pool.stream_message("Hi") as stream:
            assert_type(stream, MessageStream)
        assert_type(await pool.status(), dict[str, AccountStatus])
        await pool.remove_account("a")
