"""What the server refuses of a request, in OpenAI's words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from attrs import frozen

from chatgpt.testing.requests import RecordedRequest

CountTokens: TypeAlias = Callable[[RecordedRequest], int]
"""Counts the tokens of a request's prompt: its `messages`, or the `prompt` in its `json`."""


@frozen
class Refusal:
    """A 400.

    Attributes:
        message, param, code: what it says.
    """

    message: str
    param: str | None = None
    code: str | None = None


def count_words(request: RecordedRequest) -> int:
    """The words of a prompt: enough to see that a figure arrives."""
    messages = request.messages or [{"content": request.json.get("prompt", "")}]
    return sum(len(str(message.get("content")).split()) for message in messages)


def refusal_of(
    request: Mapping[str, Any],
    *,
    refused_parameters: Collection[str],
    context_length: int | None,
    tokens: int,
) -> Refusal | None:
    """What a model refuses of a complete request, or `None`.

    Args:
        request: its body.
        refused_parameters: those that the model does not take.
        context_length: the window for prompt and reply in tokens, or `None` for any.
        tokens: what its prompt takes.
    """
    return _unsupported(request, refused_parameters) or _too_long(request, context_length, tokens)


def incompleteness_of(request: Mapping[str, Any], *, is_chat: bool) -> Refusal | None:
    """What a request lacks, or what it has that is none; `None` where it is complete.

    Args:
        request: its body.
        is_chat: whether it asks for a chat completion.
    """
    if not isinstance(request.get("model"), str):
        return Refusal("you must provide a model parameter", "model")
    name = "messages" if is_chat else "prompt"
    if not request.get(name):
        return Refusal(f"Missing required parameter: '{name}'.", name)
    nulls = [name for name, value in request.items() if value is None]
    if nulls:
        return Refusal(f"Invalid type for '{nulls[0]}': null.", nulls[0])
    if not isinstance(request.get("stream_options", {}), dict):
        return Refusal("Invalid type for 'stream_options': expected an object.", "stream_options")
    if request.get("stream_options") is not None and not request.get("stream"):
        return Refusal(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )
    return None


def _unsupported(request: Mapping[str, Any], refused: Collection[str]) -> Refusal | None:
    for name in refused:
        if name == "stream" and request.get("stream"):
            return Refusal(
                "Your organization must be verified to stream this model.",
                name,
                "unsupported_value",
            )
        if name != "stream" and name in request:
            hint = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
            return Refusal(
                f"Unsupported parameter: '{name}' is not supported with this model.{hint}",
                name,
                "unsupported_parameter",
            )
    return None


def _too_long(
    request: Mapping[str, Any], context_length: int | None, tokens: int
) -> Refusal | None:
    if context_length is None:
        return None
    completion = request.get("max_completion_tokens", request.get("max_tokens", 0))
    if tokens + completion <= context_length:
        return None
    asked = (
        f"you requested {tokens + completion} tokens ({tokens} in the messages, {completion} in the "
        "completion)"
        if completion
        else f"your messages resulted in {tokens} tokens"
    )
    return Refusal(
        f"This model's maximum context length is {context_length} tokens. However, {asked}. Please "
        "reduce the length of the messages.",
        "messages",
        "context_length_exceeded",
    )
