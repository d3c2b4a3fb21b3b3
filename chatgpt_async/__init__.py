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
        APIConnectionError,
        APIStatusError,
        APITimeoutError,
        AuthenticationError,
        BadRequestError,
        BlockedByCloudflareError,
        ChatGPTError,
        ChatGPTErrorType,
        ChatMessage,
        ConfigurationError,
        ConflictError,
        ContentFilterError,
        ContextLengthError,
        ContextReport,
        InternalServerError,
        InvalidResponseError,
        MessageNotFoundError,
        Moderation,
        NotFoundError,
        PermissionDeniedError,
        PoolError,
        PromptTooLongError,
        QuotaExceededError,
        RateLimitError,
        RequestTooLargeError,
        Role,
        Secret,
        SendMessageOptions,
        ServerOverloadedError,
        StreamError,
        StreamInterruptedError,
        TokenExpiredError,
        UnprocessableEntityError,
        Usage,
        __version__,
        openai,
    )
    from chatgpt_async.client import ChatGPTAPI
    from chatgpt_async.stores.functions import GetMessageByIdFunction, UpsertMessageFunction
    from chatgpt_async.stores.memory import MemoryStore
    from chatgpt_async.stores.protocol import MessageStore
    from chatgpt_async.streams import MessageStream
    from chatgpt_async.transport import FetchFn

_OWN: Final = {
    "ChatGPTAPI": "chatgpt_async.client",
    "FetchFn": "chatgpt_async.transport",
    "GetMessageByIdFunction": "chatgpt_async.stores.functions",
    "MemoryStore": "chatgpt_async.stores.memory",
    "MessageStore": "chatgpt_async.stores.protocol",
    "MessageStream": "chatgpt_async.streams",
    "UpsertMessageFunction": "chatgpt_async.stores.functions",
}

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AbortedError",
    "AuthenticationError",
    "BadRequestError",
    "BlockedByCloudflareError",
    "ChatGPTAPI",
    "ChatGPTError",
    "ChatGPTErrorType",
    "ChatMessage",
    "ConfigurationError",
    "ConflictError",
    "ContentFilterError",
    "ContextLengthError",
    "ContextReport",
    "FetchFn",
    "GetMessageByIdFunction",
    "InternalServerError",
    "InvalidResponseError",
    "MemoryStore",
    "MessageNotFoundError",
    "MessageStore",
    "MessageStream",
    "Moderation",
    "NotFoundError",
    "PermissionDeniedError",
    "PoolError",
    "PromptTooLongError",
    "QuotaExceededError",
    "RateLimitError",
    "RequestTooLargeError",
    "Role",
    "Secret",
    "SendMessageOptions",
    "ServerOverloadedError",
    "StreamError",
    "StreamInterruptedError",
    "TokenExpiredError",
    "UnprocessableEntityError",
    "UpsertMessageFunction",
    "Usage",
    "__version__",
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
