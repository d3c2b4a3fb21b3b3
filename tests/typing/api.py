"""What a type checker sees of the public API: checked by mypy --strict, never run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_type

import requests

from chatgpt import (
    AccountState,
    AccountStatus,
    AChatGPTAPI,
    APITimeoutError,
    CancelToken,
    ChatGPTAPI,
    ChatGPTError,
    ChatGPTPool,
    ChatGPTSessionAPI,
    ChatGPTUnofficialProxyAPI,
    ChatMessage,
    ChatResponse,
    ContextReport,
    Conversation,
    ConversationResponseEvent,
    ConversationSummary,
    MemoryStore,
    MessageStore,
    MessageStream,
    ModelFamily,
    Moderation,
    Preview,
    RequestChange,
    Secret,
    SendMessageBrowserOptions,
    SendMessageOptions,
    Usage,
    User,
    WebConversation,
    openai,
)
from chatgpt.testing import Answer, ChatGPTServer, Fault, RecordedRequest


class Store(MessageStore):
    def get(self, message_id: str) -> ChatMessage | None:
        return None

    def save(self, messages: Sequence[ChatMessage]) -> None:
        assert_type(messages[0].id, str)


def count_words(text: str) -> int:
    return len(text.split())


with ChatGPTAPI(
    api_key="sk-...",
    completion_params={"temperature": 0.5, "stop": ["END"]},
    message_store=Store(),
    tokenizer=count_words,
    session=requests.Session(),
    timeout=30,
    headers={"X-Title": "t"},
) as client:
    assert_type(client, ChatGPTAPI)
    assert_type(client.api_key, Secret | None)
    client.api_key = "sk-other"

    reply = client.send_message("Hi", on_progress=lambda part: print(part.delta))
    assert_type(reply, ChatMessage)
    assert_type(reply.id, str)
    assert_type(reply.text, str)
    assert_type(reply.delta, str | None)
    assert_type(reply.usage, Usage | None)
    assert_type(reply.context, ContextReport | None)
    assert reply.context is not None
    assert_type(reply.context.changes, tuple[RequestChange, ...])
    assert_type(reply.detail, Mapping[str, object] | None)

    with client.stream_message("Hi", parent_message_id=reply.id) as stream:
        assert_type(stream, MessageStream)
        for part in stream:
            assert_type(part, ChatMessage)
    assert_type(stream.result(), ChatMessage)

    assert_type(client.thread(reply.id), list[ChatMessage])
    assert_type(client.branches(reply.id), list[ChatMessage])
    preview = client.preview("Hi", parent_message_id=reply.id)
    assert_type(preview, Preview)
    assert_type(preview.messages, Sequence[ChatMessage])
    assert_type(preview.prompt_tokens, int)
    chat = client.conversation(system_message="", completion_params={"seed": 1})
    assert_type(chat, Conversation)
    assert_type(chat.send("Hi", name="ada"), ChatMessage)
    assert_type(chat.stream("Hi"), MessageStream)
    assert_type(chat.regenerate(), ChatMessage)
    assert_type(chat.edit("m", "Ho"), ChatMessage)
    assert_type(chat.continue_reply(timeout=3), ChatMessage)
    assert_type(chat.undo(), ChatMessage | None)
    assert_type(chat.history(), list[ChatMessage])
    assert_type(chat.branch(), Conversation)
    chat.send("Hi", system_message="x")  # type: ignore[call-arg] # an option of the chat
    assert_type(client.send_moderation("Hi"), Moderation)

    options: SendMessageOptions = {
        "parent_message_id": reply.id,
        "timeout": 3.0,
        "abort": CancelToken(),
    }
    client.send_message("Hi", **options)

    try:
        client.send_message("Hi")
    except APITimeoutError as error:
        assert_type(error.partial, str | None)
    except ChatGPTError as error:
        assert_type(error.status_code, int | None)

messages: dict[str, ChatMessage] = {}
ChatGPTAPI(
    get_message_by_id=messages.get,
    upsert_message=lambda message: messages.update({message.id: message}),
)
ChatGPTAPI(message_store=MemoryStore(capacity=10))
ChatGPTAPI(model_family=ModelFamily(max_input=8192), endpoint="completions", user_label="Q")
ChatGPTAPI(endpoint="chats")  # type: ignore[arg-type] # chat or completions

client.send_message(5)  # type: ignore[arg-type] # text is a str
client.send_message("Hi", parentMessageId="x")  # type: ignore[call-arg] # options are snake_case
reply.text = "x"  # type: ignore[misc] # messages cannot be changed

body: openai.CreateChatCompletionRequest = {
    "model": "m",
    "messages": [{"role": "user", "content": "Hi"}],
}


def respond(request: RecordedRequest) -> Answer:
    return Answer(text=str(request.messages[-1]["content"]))


with ChatGPTServer(respond) as server:
    assert_type(server.base_url, str)
    server.inject(Fault(status=500))
    server.web.dialect = "deltas"

    def get_access_token(
        *, email: str | None, password: str | None, session_token: str | None
    ) -> str:
        return server.web.access_token()

    url = server.proxy_options["api_reverse_proxy_url"]
    proxy = ChatGPTUnofficialProxyAPI(get_access_token=get_access_token, api_reverse_proxy_url=url)
    ChatGPTUnofficialProxyAPI(**server.proxy_options)
    ChatGPTUnofficialProxyAPI(get_access_token=lambda **_: "token")
    ChatGPTUnofficialProxyAPI(get_access_token=lambda: "token")  # type: ignore[arg-type] # it is called with keywords
    assert_type(proxy.access_token, Secret | None)

    def take(event: ConversationResponseEvent) -> None:
        assert_type(event.get("conversation_id"), str | None)

    assert_type(proxy.send_message("Hi", on_conversation_response=take), ChatMessage)
    assert_type(proxy.stream_message("Hi", action="variant"), MessageStream)
    proxy.send_message("Hi", action="continue")  # type: ignore[arg-type] # next or variant
    browser_options: SendMessageBrowserOptions = {"conversation_id": "x", "action": "next"}
    proxy.send_message("Hi", **browser_options)

    session = ChatGPTSessionAPI(**server.session_options, markdown=False)
    as_base: AChatGPTAPI = session
    assert_type(as_base.reset_session(), Secret)
    assert_type(session.user, User | None)
    assert_type(session.get_is_authenticated(), bool)
    web_chat = session.conversation()
    assert_type(web_chat, WebConversation)
    assert_type(web_chat.send("Hi"), ChatResponse)
    for summary in session.list_conversations():
        assert_type(summary, ConversationSummary)
        assert_type(session.get_conversation(summary.id).messages, tuple[ChatMessage, ...])
    session.send_feedback("c", "m", "thumbsUp", tags=["harmful"])
    session.send_feedback("c", "m", "up")  # type: ignore[arg-type] # thumbsUp or thumbsDown
    assert_type(session.send_moderation("x")["flagged"], bool)

    pool = ChatGPTPool(
        {"a": {"api_key": "x"}, "b": {"api_key": Secret("y", "B"), "max_concurrent": 2}}
    )
    ChatGPTPool({"a": ChatGPTAPI(), "b": {"api_key": "y"}}, cooldown=3, message_store=None)
    ChatGPTPool([proxy, session, {"access_token": "t"}], redis_url="redis://localhost")
    ChatGPTPool(5)  # type: ignore[call-overload] # no accounts
    ChatGPTPool([{"api_key": "y"}], cool=1)  # type: ignore[call-overload] # cooldown
    assert_type(pool.send_message("Hi", account_id="a", name="Ann"), ChatMessage)
    assert_type(pool.stream_message("Hi", action="variant"), MessageStream)
    assert_type(pool.status(), dict[str, AccountStatus])
    assert_type(pool.status()["a"].state, AccountState)
    assert_type(pool.add_account(ChatGPTAPI(), account_id="c"), str)
    assert_type(pool.message_store, MessageStore)
