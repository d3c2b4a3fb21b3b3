"""The chat completions of OpenAI's API, as typed dictionaries.

The names are those of the `openai` namespace of npm `chatgpt` 5.2, so that code which is moved
over finds them. They describe; nothing is checked at run time, because servers that speak the
same protocol leave out what they like. Every field of an answer is therefore optional.
"""

from __future__ import annotations

from typing import Final, Literal, NotRequired, TypeAlias, TypedDict


class ChatCompletionRequestMessageRoleEnum:
    """The roles of a request's messages.

    Attributes:
        System (str): `"system"`.
        User (str): `"user"`.
        Assistant (str): `"assistant"`.
    """

    System: Final = "system"
    User: Final = "user"
    Assistant: Final = "assistant"


class ChatCompletionResponseMessageRoleEnum:
    """The roles of an answer's messages.

    Attributes:
        System (str): `"system"`.
        User (str): `"user"`.
        Assistant (str): `"assistant"`.
    """

    System: Final = "system"
    User: Final = "user"
    Assistant: Final = "assistant"


CreateChatCompletionRequestStop: TypeAlias = list[str] | str
"""Up to 4 sequences at which the model stops."""


class ChatCompletionRequestMessage(TypedDict):
    """One message of a request.

    Attributes:
        role: who says it.
        content: what is said: a text, or parts.
        name: the speaker's name.
        reasoning_content: what the model thought before it spoke, where a server wants it back.
        tool_calls: the calls of tools that a reply asked for.
        tool_call_id: in a message of a tool, the call that it answers.
    """

    role: Literal["system", "user", "assistant", "developer", "tool"]
    content: str | list[dict[str, object]] | None
    name: NotRequired[str]
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[dict[str, object]]]
    tool_call_id: NotRequired[str]


class ChatCompletionResponseMessage(TypedDict, total=False):
    """The message of an answer.

    Attributes:
        role: who says it.
        content: what is said.
        refusal: why nothing is.
        reasoning: what was thought, as OpenRouter names it.
        reasoning_content: what was thought, as DeepSeek names it.
    """

    role: str
    content: str | None
    refusal: str | None
    reasoning: str | None
    reasoning_content: str | None


class CreateChatCompletionStreamOptions(TypedDict, total=False):
    """What a stream carries besides the text.

    Attributes:
        include_usage: whether the last chunk tells the usage.
        include_obfuscation: whether chunks are padded, so that their sizes tell nothing.
    """

    include_usage: bool
    include_obfuscation: bool


class CreateChatCompletionRequest(TypedDict):
    """The body of `POST /chat/completions`: what the SDK sets, and the common parameters.

    Attributes:
        model: the model that is asked.
        messages: the messages, oldest first.
        stream: whether the answer is a stream.
        stream_options: what a stream carries besides the text.
        temperature: how free the choice of tokens is, from 0 to 2.
        top_p: the share of likely tokens that are chosen among, from 0 to 1.
        n: how many answers are wanted.
        stop: sequences at which the model stops.
        max_tokens: the largest reply in tokens.
        max_completion_tokens: the largest reply in tokens, reasoning included.
        presence_penalty: from -2 to 2: how much a token is avoided that came before.
        frequency_penalty: from -2 to 2: how much a token is avoided for each time that it came before.
        logit_bias: from -100 to 100 by token: how much it is preferred.
        reasoning_effort: how long a reasoning model thinks.
        seed: a number that makes answers repeat, as far as the server can.
        user: who asks, for the server's own records.
    """

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
    """The tokens of an exchange, as a server counts them.

    Attributes:
        prompt_tokens: the prompt, in tokens.
        completion_tokens: the answer, in tokens.
        total_tokens: their sum, in tokens.
        prompt_tokens_details: parts of the prompt, in tokens: `cached_tokens`, ...
        completion_tokens_details: parts of the answer, in tokens: `reasoning_tokens`, ...
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int] | None
    completion_tokens_details: dict[str, int] | None


class CreateChatCompletionResponseChoicesInner(TypedDict, total=False):
    """One answer of a completion.

    Attributes:
        index: the number of the answer, from 0.
        message: what is said.
        finish_reason: why it ended.
    """

    index: int
    message: ChatCompletionResponseMessage
    finish_reason: str | None


class CreateChatCompletionResponse(TypedDict, total=False):
    """A whole completion.

    Attributes:
        id: the server's id.
        object: what kind of object it is.
        created: when it was made, in seconds since 1970 (UTC).
        model: the model that answered.
        choices: the answers.
        usage: the tokens.
    """

    id: str
    object: str
    created: int
    model: str
    choices: list[CreateChatCompletionResponseChoicesInner]
    usage: CreateCompletionResponseUsage | None


class CreateChatCompletionDeltaResponseChoicesInner(TypedDict, total=False):
    """One answer's part of a chunk.

    Attributes:
        index: the number of the answer, from 0.
        delta: what is new in it.
        finish_reason: why it ended, in its last part.
    """

    index: int
    delta: ChatCompletionResponseMessage
    finish_reason: str | None


class CreateChatCompletionDeltaResponse(TypedDict, total=False):
    """One chunk of a streamed completion.

    Attributes:
        id: the server's id.
        object: what kind of object it is.
        created: when it was made, in seconds since 1970 (UTC).
        model: the model that answered.
        choices: the answers whose parts these are.
        usage: the tokens, in the last chunk, where they were asked for.
    """

    id: str
    object: str
    created: int
    model: str
    choices: list[CreateChatCompletionDeltaResponseChoicesInner]
    usage: CreateCompletionResponseUsage | None
