"""Talk to ChatGPT from async Python: the twin of `chatgpt`, on asyncio and on trio.

    from chatgpt_async import ChatGPTAPI

    async with ChatGPTAPI() as client:  # OPENAI_API_KEY from the environment
        reply = await client.send_message("What is a monad?")
        print(reply.text)
        reply = await client.send_message("Shorter.", parent_message_id=reply.id)

The names are those of `chatgpt`, and most are the same objects; what waits is the twin's own. They
are loaded when they are first used (PEP 562).
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

_MISSING = [name for name in ("anyio", "httpx2") if find_spec(name) is None]
if _MISSING:
    raise ImportError(
        f"chatgpt_async needs {' and '.join(_MISSING)}, which the extra 'async' brings: "
        "pip install 'chatgpt-sdk[async]'"
    )

if TYPE_CHECKING:
    from chatgpt import (
        AbortedError,
        AccountState,
        AccountStatus,
        APIConnectionError,
        APIStatusError,
        APITimeoutError,
        ArchiveProgress,
        AuthenticationError,
        BadRequestError,
        BlockedByCloudflareError,
        CancelToken,
        ChatGPTError,
        ChatGPTErrorType,
        ChatMessage,
        ChatResponse,
        ConcurrentRequestError,
        ConfigurationError,
        ConflictError,
        ContentFilterError,
        ContentType,
        ContextLengthError,
        ContextReport,
        ConversationJSONBody,
        ConversationRecord,
        ConversationResponseEvent,
        ConversationSummary,
        ConversationTree,
        ImportedConversation,
        ImportProblem,
        ImportReport,
        InternalServerError,
        InvalidResponseError,
        Message,
        MessageActionType,
        MessageContent,
        MessageFeedbackResult,
        MessageFeedbackTag,
        MessageIdTakenError,
        MessageMetadata,
        MessageNotFoundError,
        MessageRating,
        ModelFamily,
        Moderation,
        ModerationsJSONResult,
        NotFoundError,
        PermissionDeniedError,
        PoolError,
        Preview,
        Prompt,
        PromptContent,
        PromptTooLongError,
        QuotaExceededError,
        RateLimitError,
        RequestChange,
        RequestTooLargeError,
        Role,
        RouteReport,
        Secret,
        SendMessageBrowserOptions,
        SendMessageOptions,
        ServerOverloadedError,
        SessionResult,
        StoredConversation,
        StoreError,
        StreamError,
        StreamInterruptedError,
        TokenExpiredError,
        TreeRow,
        UnprocessableEntityError,
        UnreadableMessage,
        UnusualActivityError,
        Usage,
        User,
        __version__,
        openai,
    )
    from chatgpt_async.archives import (
        export_messages,
        import_chatgpt_export,
        import_messages,
    )
    from chatgpt_async.client import (
        ChatGPTAPI,
    )
    from chatgpt_async.conversation import (
        Conversation,
    )
    from chatgpt_async.pool import ChatGPTPool
    from chatgpt_async.proxy import (
        ChatGPTUnofficialProxyAPI,
        GetAccessTokenFn,
    )
    from chatgpt_async.session import (
        AChatGPTAPI,
        ChatGPTSessionAPI,
    )
    from chatgpt_async.stores.functions import (
        GetMessageByIdFunction,
        UpsertMessageFunction,
    )
    from chatgpt_async.stores.memory import (
        MemoryStore,
    )
    from chatgpt_async.stores.protocol import (
        MessageStore,
    )
    from chatgpt_async.stores.redis import RedisStore
    from chatgpt_async.stores.sqlite import SQLiteStore
    from chatgpt_async.streams import (
        MessageStream,
    )
    from chatgpt_async.transport import (
        FetchFn,
    )
    from chatgpt_async.web_conversation import WebConversation

_OWN: Final = {
    "AChatGPTAPI": "chatgpt_async.session",
    "ChatGPTAPI": "chatgpt_async.client",
    "ChatGPTSessionAPI": "chatgpt_async.session",
    "ChatGPTPool": "chatgpt_async.pool",
    "ChatGPTUnofficialProxyAPI": "chatgpt_async.proxy",
    "Conversation": "chatgpt_async.conversation",
    "FetchFn": "chatgpt_async.transport",
    "GetAccessTokenFn": "chatgpt_async.proxy",
    "GetMessageByIdFunction": "chatgpt_async.stores.functions",
    "MemoryStore": "chatgpt_async.stores.memory",
    "MessageStore": "chatgpt_async.stores.protocol",
    "MessageStream": "chatgpt_async.streams",
    "RedisStore": "chatgpt_async.stores.redis",
    "SQLiteStore": "chatgpt_async.stores.sqlite",
    "UpsertMessageFunction": "chatgpt_async.stores.functions",
    "WebConversation": "chatgpt_async.web_conversation",
    "export_messages": "chatgpt_async.archives",
    "import_chatgpt_export": "chatgpt_async.archives",
    "import_messages": "chatgpt_async.archives",
}

__all__ = [
    "AChatGPTAPI",
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AbortedError",
    "AccountState",
    "AccountStatus",
    "ArchiveProgress",
    "AuthenticationError",
    "BadRequestError",
    "BlockedByCloudflareError",
    "CancelToken",
    "ChatGPTAPI",
    "ChatGPTError",
    "ChatGPTErrorType",
    "ChatGPTPool",
    "ChatGPTSessionAPI",
    "ChatGPTUnofficialProxyAPI",
    "ChatMessage",
    "ChatResponse",
    "ConcurrentRequestError",
    "ConfigurationError",
    "ConflictError",
    "ContentFilterError",
    "ContentType",
    "ContextLengthError",
    "ContextReport",
    "Conversation",
    "ConversationJSONBody",
    "ConversationRecord",
    "ConversationResponseEvent",
    "ConversationSummary",
    "ConversationTree",
    "FetchFn",
    "GetAccessTokenFn",
    "GetMessageByIdFunction",
    "ImportProblem",
    "ImportReport",
    "ImportedConversation",
    "InternalServerError",
    "InvalidResponseError",
    "MemoryStore",
    "Message",
    "MessageActionType",
    "MessageContent",
    "MessageFeedbackResult",
    "MessageFeedbackTag",
    "MessageIdTakenError",
    "MessageMetadata",
    "MessageNotFoundError",
    "MessageRating",
    "MessageStore",
    "MessageStream",
    "ModelFamily",
    "Moderation",
    "ModerationsJSONResult",
    "NotFoundError",
    "PermissionDeniedError",
    "PoolError",
    "Preview",
    "Prompt",
    "PromptContent",
    "PromptTooLongError",
    "QuotaExceededError",
    "RateLimitError",
    "RedisStore",
    "RequestChange",
    "RequestTooLargeError",
    "Role",
    "RouteReport",
    "SQLiteStore",
    "Secret",
    "SendMessageBrowserOptions",
    "SendMessageOptions",
    "ServerOverloadedError",
    "SessionResult",
    "StoreError",
    "StoredConversation",
    "StreamError",
    "StreamInterruptedError",
    "TokenExpiredError",
    "TreeRow",
    "UnprocessableEntityError",
    "UnreadableMessage",
    "UnusualActivityError",
    "UpsertMessageFunction",
    "Usage",
    "User",
    "WebConversation",
    "__version__",
    "export_messages",
    "import_chatgpt_export",
    "import_messages",
    "openai",
]


if not TYPE_CHECKING:  # a type checker knows the names, and would take any other for one

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'chatgpt_async' has no attribute {name!r}")
        value: object = getattr(import_module(_OWN.get(name, "chatgpt")), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
