"""The `openai` namespace of the reference: the types of what travels."""

from chatgpt.core.wire.openai import (
    ChatCompletionRequestMessage,
    ChatCompletionRequestMessageRoleEnum,
    ChatCompletionResponseMessage,
    ChatCompletionResponseMessageRoleEnum,
    CreateChatCompletionDeltaResponse,
    CreateChatCompletionDeltaResponseChoicesInner,
    CreateChatCompletionRequest,
    CreateChatCompletionRequestStop,
    CreateChatCompletionResponse,
    CreateChatCompletionResponseChoicesInner,
    CreateChatCompletionStreamOptions,
    CreateCompletionResponseUsage,
)

__all__ = [
    "ChatCompletionRequestMessage",
    "ChatCompletionRequestMessageRoleEnum",
    "ChatCompletionResponseMessage",
    "ChatCompletionResponseMessageRoleEnum",
    "CreateChatCompletionDeltaResponse",
    "CreateChatCompletionDeltaResponseChoicesInner",
    "CreateChatCompletionRequest",
    "CreateChatCompletionRequestStop",
    "CreateChatCompletionResponse",
    "CreateChatCompletionResponseChoicesInner",
    "CreateChatCompletionStreamOptions",
    "CreateCompletionResponseUsage",
]
