"""The chat completions of OpenAI's API, as typed dictionaries.

The names are those of the `openai` namespace of npm `chatgpt` 5.2, so that code which is moved
over finds them. They describe; nothing is checked at run time, because servers that speak the
same protocol leave out what they like. Every field of an answer is therefore optional.
"""

from __future__ import annotations

from typing import Final, Literal, NotRequired, TypeAlias, TypedDict


class ChatCompletionRequestMessageRoleEnum:
    """The roles of a request's messages."""

    System: Final = "system"
    User: Final = "user"
    Assistant: Final = "assistant"


class ChatCompletionResponseMessageRoleEnum:
    """The roles of an answer's messages."""

    System: Final = "system"
    User: Final = "user"
    Assistant: Final = "assistant"


CreateChatCompletionRequestStop: TypeAlias = list[str] | str
"""Up to 4 sequences at which the model stops."""


class ChatCompletionRequestMessage(TypedDict):
    """One message of a request."""

    role: Literal["system", "user", "assistant", "developer", "tool"]
    content: str | list[dict[str, object]] | None
    name: NotRequired[str]
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[dict[str, object]]]
    tool_call_id: NotRequired[str]


class ChatCompletionResponseMessage(TypedDict, total=False):
    """The message of an answer."""

    role: str
    content: str | None
    refusal: str | None
    reasoning: str | None
    reasoning_content: str | None


class CreateChatCompletionStreamOptions(TypedDict, total=False):
    """What a stream carries besides the text."""

    include_usage: bool
    include_obfuscation: bool


class CreateChatCompletionRequest(TypedDict):
    """The body of `POST /chat/completions`: what the SDK sets, and the common parameters."""

    model: str
    messages: list[ChatCompletionRequestMessage]
    stream: NotRequired[bool]
    stream_options: NotRequired[CreateChatCompletionStreamOptions]
    temperature: NotRequired[float]
    top_p: NotRequired[float]
    n: NotRequired[int]
    stop: NotRequired[CreateChatCompletionRequestStop]
    max_tokens: NotRequired[int]
    max_completion_tokens: NotRequired[int]
    presence_penalty: NotRequired[float]
    frequency_penalty: NotRequired[float]
    logit_bias: NotRequired[dict[str, float]]
    reasoning_effort: NotRequired[str]
    seed: NotRequired[int]
    user: NotRequired[str]


class CreateCompletionResponseUsage(TypedDict, total=False):
    """The tokens of an exchange, as a server counts them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int] | None
    completion_tokens_details: dict[str, int] | None


class CreateChatCompletionResponseChoicesInner(TypedDict, total=False):
    """One answer of a completion."""

    index: int
    message: ChatCompletionResponseMessage
    finish_reason: str | None


class CreateChatCompletionResponse(TypedDict, total=False):
    """A whole completion."""

    id: str
    object: str
    created: int
    model: str
    choices: list[CreateChatCompletionResponseChoicesInner]
    usage: CreateCompletionResponseUsage | None


class CreateChatCompletionDeltaResponseChoicesInner(TypedDict, total=False):
    """One answer's part of a chunk."""

    index: int
    delta: ChatCompletionResponseMessage
    finish_reason: str | None


class CreateChatCompletionDeltaResponse(TypedDict, total=False):
    """One chunk of a streamed completion."""

    id: str
    object: str
    created: int
    model: str
    choices: list[CreateChatCompletionDeltaResponseChoicesInner]
    usage: CreateCompletionResponseUsage | None
