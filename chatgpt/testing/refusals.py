"""What the server refuses of a request, in OpenAI's words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from attrs import frozen

CountRequest: TypeAlias = Callable[[Mapping[str, Any]], int]
"""Counts the tokens of a request's prompt: its `messages` or its `prompt`."""


@frozen
class Refusal:
    """A 400.

    Attributes:
        message, param, code: what it says.
    """

    message: str
    param: str | None = None
    code: str | None = None


def count_words(request: Mapping[str, Any]) -> int:
    """The words of a prompt: enough to see that a figure arrives."""
    messages = request.get("messages") or [{"content": request.get("prompt", "")}]
    return sum(len(str(message.get("content")).split()) for message in messages)


def refusal_of(
    request: Mapping[str, Any],
    *,
    is_chat: bool,
    refused_parameters: Collection[str],
    context_length: int | None,
    count: CountRequest,
) -> Refusal | None:
    """What is wrong with a request, or `None`.

    Args:
        request: its body.
        is_chat: whether it asks for a chat completion.
        refused_parameters: those that the model does not take.
        context_length: the window for prompt and reply in tokens, or `None` for any.
        count: counts the prompt.
    """
    return (
        _incomplete(request, is_chat=is_chat)
        or _unsupported(request, refused_parameters)
        or _too_long(request, context_length, count)
    )


def _incomplete(request: Mapping[str, Any], *, is_chat: bool) -> Refusal | None:
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
    request: Mapping[str, Any], context_length: int | None, count: CountRequest
) -> Refusal | None:
    if context_length is None:
        return None
    tokens = count(request)
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
