"""Talk to ChatGPT from Python.

    from chatgpt import ChatGPTAPI

    client = ChatGPTAPI()  # OPENAI_API_KEY from the environment
    reply = client.send_message("What is a monad?")
    print(reply.text)
    reply = client.send_message("Shorter.", parent_message_id=reply.id)

The names are loaded when they are first used (PEP 562): `import chatgpt` itself loads no network
stack. `chatgpt.core` explains how the SDK is made.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from chatgpt.core.version import VERSION

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from chatgpt import openai
    from chatgpt.archives import export_messages, import_messages
    from chatgpt.client import (
        ChatGPTAPI,
    )
    from chatgpt.conversation import (
        Conversation,
    )
    from chatgpt.core.call_options import (
        SendMessageOptions,
    )
    from chatgpt.core.cancelling import CancelToken
    from chatgpt.core.errors import (
        AbortedError,
        APIConnectionError,
        APIStatusError,
        APITimeoutError,
        AuthenticationError,
        BadRequestError,
        BlockedByCloudflareError,
        ChatGPTError,
        ChatGPTErrorType,
        ConcurrentRequestError,
        ConfigurationError,
        ConflictError,
        ContentFilterError,
        ContextLengthError,
        InternalServerError,
        InvalidResponseError,
        MessageIdTakenError,
        MessageNotFoundError,
        NotFoundError,
        PermissionDeniedError,
        PoolError,
        PromptTooLongError,
        QuotaExceededError,
        RateLimitError,
        RequestTooLargeError,
        ServerOverloadedError,
        StoreError,
        StreamError,
        StreamInterruptedError,
        TokenExpiredError,
        UnprocessableEntityError,
        UnusualActivityError,
    )
    from chatgpt.core.messages import (
        ChatMessage,
        ChatResponse,
        ContextReport,
        RequestChange,
        Role,
        Usage,
    )
    from chatgpt.core.models import ModelFamily
    from chatgpt.core.moderation import (
        Moderation,
    )
    from chatgpt.core.official import Preview
    from chatgpt.core.pool.accounts import AccountState, AccountStatus
    from chatgpt.core.secrets import (
        Secret,
    )
    from chatgpt.core.trees import ConversationTree, TreeRow
    from chatgpt.core.web.conversations import (
        ConversationRecord,
        ConversationSummary,
    )
    from chatgpt.core.web.options import (
        SendMessageBrowserOptions,
    )
    from chatgpt.core.wire.web import (
        ContentType,
        ConversationJSONBody,
        ConversationResponseEvent,
        Message,
        MessageActionType,
        MessageContent,
        MessageFeedbackResult,
        MessageFeedbackTag,
        MessageMetadata,
        MessageRating,
        ModerationsJSONResult,
        Prompt,
        PromptContent,
        SessionResult,
        User,
    )
    from chatgpt.import_reports import (
        ArchiveProgress,
        ImportedConversation,
        ImportProblem,
        ImportReport,
    )
    from chatgpt.imports import import_chatgpt_export
    from chatgpt.pool import ChatGPTPool
    from chatgpt.proxy import (
        ChatGPTUnofficialProxyAPI,
        GetAccessTokenFn,
    )
    from chatgpt.routes import RouteReport
    from chatgpt.session import (
        AChatGPTAPI,
        ChatGPTSessionAPI,
    )
    from chatgpt.stores.conversations import StoredConversation
    from chatgpt.stores.functions import (
        GetMessageByIdFunction,
        UpsertMessageFunction,
    )
    from chatgpt.stores.memory import (
        MemoryStore,
    )
    from chatgpt.stores.protocol import (
        MessageStore,
    )
    from chatgpt.stores.redis import RedisStore
    from chatgpt.stores.sqlite import SQLiteStore
    from chatgpt.stores.unreadable import UnreadableMessage
    from chatgpt.streams import (
        MessageStream,
    )
    from chatgpt.transport import (
        FetchFn,
    )
    from chatgpt.web_conversation import WebConversation

_HOMES: Final = {
    "ArchiveProgress": "chatgpt.import_reports",
    "ImportProblem": "chatgpt.import_reports",
    "ImportReport": "chatgpt.import_reports",
    "ImportedConversation": "chatgpt.import_reports",
    "RedisStore": "chatgpt.stores.redis",
    "SQLiteStore": "chatgpt.stores.sqlite",
    "StoredConversation": "chatgpt.stores.conversations",
    "UnreadableMessage": "chatgpt.stores.unreadable",
    "export_messages": "chatgpt.archives",
    "import_messages": "chatgpt.archives",
    "import_chatgpt_export": "chatgpt.imports",
    "ChatGPTAPI": "chatgpt.client",
    "Conversation": "chatgpt.conversation",
    "SendMessageOptions": "chatgpt.core.call_options",
    "CancelToken": "chatgpt.core.cancelling",
    "APIConnectionError": "chatgpt.core.errors",
    "APIStatusError": "chatgpt.core.errors",
    "APITimeoutError": "chatgpt.core.errors",
    "AbortedError": "chatgpt.core.errors",
    "AuthenticationError": "chatgpt.core.errors",
    "BadRequestError": "chatgpt.core.errors",
    "BlockedByCloudflareError": "chatgpt.core.errors",
    "ChatGPTError": "chatgpt.core.errors",
    "ChatGPTErrorType": "chatgpt.core.errors",
    "ConcurrentRequestError": "chatgpt.core.errors",
    "ConfigurationError": "chatgpt.core.errors",
    "ConflictError": "chatgpt.core.errors",
    "ContentFilterError": "chatgpt.core.errors",
    "ContextLengthError": "chatgpt.core.errors",
    "InternalServerError": "chatgpt.core.errors",
    "InvalidResponseError": "chatgpt.core.errors",
    "MessageIdTakenError": "chatgpt.core.errors",
    "StoreError": "chatgpt.core.errors",
    "MessageNotFoundError": "chatgpt.core.errors",
    "NotFoundError": "chatgpt.core.errors",
    "PermissionDeniedError": "chatgpt.core.errors",
    "PoolError": "chatgpt.core.errors",
    "PromptTooLongError": "chatgpt.core.errors",
    "QuotaExceededError": "chatgpt.core.errors",
    "RateLimitError": "chatgpt.core.errors",
    "RequestTooLargeError": "chatgpt.core.errors",
    "ServerOverloadedError": "chatgpt.core.errors",
    "StreamError": "chatgpt.core.errors",
    "StreamInterruptedError": "chatgpt.core.errors",
    "TokenExpiredError": "chatgpt.core.errors",
    "UnprocessableEntityError": "chatgpt.core.errors",
    "UnusualActivityError": "chatgpt.core.errors",
    "ChatMessage": "chatgpt.core.messages",
    "ChatResponse": "chatgpt.core.messages",
    "ContextReport": "chatgpt.core.messages",
    "RequestChange": "chatgpt.core.messages",
    "Role": "chatgpt.core.messages",
    "Usage": "chatgpt.core.messages",
    "ModelFamily": "chatgpt.core.models",
    "Moderation": "chatgpt.core.moderation",
    "Preview": "chatgpt.core.official",
    "AccountState": "chatgpt.core.pool.accounts",
    "AccountStatus": "chatgpt.core.pool.accounts",
    "Secret": "chatgpt.core.secrets",
    "ConversationTree": "chatgpt.core.trees",
    "TreeRow": "chatgpt.core.trees",
    "ConversationRecord": "chatgpt.core.web.conversations",
    "ConversationSummary": "chatgpt.core.web.conversations",
    "SendMessageBrowserOptions": "chatgpt.core.web.options",
    "ContentType": "chatgpt.core.wire.web",
    "ConversationJSONBody": "chatgpt.core.wire.web",
    "ConversationResponseEvent": "chatgpt.core.wire.web",
    "Message": "chatgpt.core.wire.web",
    "MessageActionType": "chatgpt.core.wire.web",
    "MessageContent": "chatgpt.core.wire.web",
    "MessageFeedbackResult": "chatgpt.core.wire.web",
    "MessageFeedbackTag": "chatgpt.core.wire.web",
    "MessageMetadata": "chatgpt.core.wire.web",
    "MessageRating": "chatgpt.core.wire.web",
    "ModerationsJSONResult": "chatgpt.core.wire.web",
    "Prompt": "chatgpt.core.wire.web",
    "PromptContent": "chatgpt.core.wire.web",
    "SessionResult": "chatgpt.core.wire.web",
    "User": "chatgpt.core.wire.web",
    "ChatGPTPool": "chatgpt.pool",
    "ChatGPTUnofficialProxyAPI": "chatgpt.proxy",
    "GetAccessTokenFn": "chatgpt.proxy",
    "RouteReport": "chatgpt.routes",
    "AChatGPTAPI": "chatgpt.session",
    "ChatGPTSessionAPI": "chatgpt.session",
    "GetMessageByIdFunction": "chatgpt.stores.functions",
    "UpsertMessageFunction": "chatgpt.stores.functions",
    "MemoryStore": "chatgpt.stores.memory",
    "MessageStore": "chatgpt.stores.protocol",
    "MessageStream": "chatgpt.streams",
    "FetchFn": "chatgpt.transport",
    "WebConversation": "chatgpt.web_conversation",
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

__version__: Final = VERSION
"""The version of this package."""


if not TYPE_CHECKING:  # a type checker knows the names, and would take any other for one

    def __getattr__(name: str) -> object:
        if name == "openai":
            return import_module("chatgpt.openai")
        if name not in _HOMES:
            raise AttributeError(f"module 'chatgpt' has no attribute {name!r}")
        value: object = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """Add the magics `%chat_config`, `%%chat` and `%chat_tree` to IPython: `%load_ext chatgpt`."""
    from chatgpt.notebook.extension import load

    load(shell)


def unload_ipython_extension(shell: "InteractiveShell") -> None:
    """Take the magics away: `%unload_ext chatgpt`."""
    from chatgpt.notebook.extension import unload

    unload(shell)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
