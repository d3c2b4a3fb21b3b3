"""What a caller may set for one call: the question, and how it is to be answered.

Strategy and rules are those of `options`: everything is checked here, once, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypedDict

from attrs import field, frozen

from chatgpt.core.cancelling import CancelToken
from chatgpt.core.messages import ChatMessage
from chatgpt.core.models import LIMIT_NAMES, EndpointName, ModelFamily
from chatgpt.core.options import ClientSettings, check_room, response_limit
from chatgpt.core.validation import (
    function_of,
    identifier,
    kind_of,
    optional_text,
    params_of,
    seconds_of,
    text_to_send,
    token_of,
)

_OWN_FIELDS: Final = frozenset({"messages", "prompt", "stream"})
"""What a request holds besides parameters: like npm `chatgpt`, the SDK writes them itself."""


class AnswerOptions(TypedDict, total=False):
    """The options that say how a message is answered, for code that hands them on."""

    stream: bool | None
    system_message: str | None
    prompt_prefix: str | None
    prompt_suffix: str | None
    completion_params: Mapping[str, object] | None
    timeout: float | None
    abort: CancelToken | None
    on_progress: Callable[[ChatMessage], object] | None


class QuestionOptions(TypedDict, total=False):
    """The options that place a new message in a thread, for code that hands them on."""

    parent_message_id: str | None
    conversation_id: str | None
    message_id: str | None
    name: str | None


class SendMessageOptions(QuestionOptions, AnswerOptions, total=False):
    """The options of `send_message`, for code that hands them on. They are those of `ChatGPTAPI.send_message`."""


@frozen(kw_only=True)
class Question:
    """A new message, checked."""

    text: str = field(repr=False)
    parent_message_id: str | None
    conversation_id: str | None
    message_id: str | None
    name: str | None


def question_of(
    text: object,
    *,
    parent_message_id: object = None,
    conversation_id: object = None,
    message_id: object = None,
    name: object = None,
) -> Question:
    """Check a new message and its place.

    Raises:
        TypeError, ValueError: an option is wrong.
    """
    return Question(
        text=text_to_send("text", text),
        parent_message_id=identifier("parent_message_id", parent_message_id),
        conversation_id=identifier("conversation_id", conversation_id),
        message_id=identifier("message_id", message_id),
        name=identifier("name", name),
    )


@frozen(kw_only=True)
class CallOptions:
    """How a message is answered, checked and joined with the client's settings.

    Attributes:
        is_streamed: whether the answer is asked for as a stream.
        is_reported: whether its parts go to the caller.
        model, family: the model that is asked, and what is known of it.
        endpoint: where it is asked.
        params: the completion parameters, the client's and the call's.
        response_limit: the largest reply in tokens that is asked for, or `None`.
        timeout: seconds for the whole call.
        abort: the token that stops it.
    """

    is_streamed: bool
    is_reported: bool
    system_message: str | None = field(repr=False)
    prompt_prefix: str | None = field(repr=False)
    prompt_suffix: str | None = field(repr=False)
    model: str
    family: ModelFamily
    endpoint: EndpointName
    params: Mapping[str, object] = field(repr=False)
    response_limit: int | None
    timeout: float
    abort: CancelToken | None


def call_options(
    settings: ClientSettings,
    *,
    stream: object = None,
    system_message: object = None,
    prompt_prefix: object = None,
    prompt_suffix: object = None,
    completion_params: object = None,
    timeout: object = None,
    abort: object = None,
    on_progress: object = None,
    is_iterated: bool = False,
) -> CallOptions:
    """Check the options of a call.

    The options are those of `send_message`; `is_iterated` says that the caller iterates over the
    parts. Where somebody takes them the reply is streamed, unless `stream` says otherwise.

    Raises:
        TypeError, ValueError: an option is wrong.
        ConfigurationError: a limit is wrong, or leaves no room for a prompt.
    """
    params = _call_params(settings, completion_params)
    model = identifier("completion_params['model']", params.pop("model", None)) or settings.model
    family = settings.family(model)
    endpoint = settings.endpoint_of(family)
    in_params = response_limit(params)
    limit = settings.max_response_tokens if in_params is None else in_params
    option = "max_response_tokens" if in_params is None else "the limit in completion_params"
    check_room(family, option, limit)
    if limit is not None and not params.keys() & set(LIMIT_NAMES):
        params[family.limit_name if endpoint == "chat" else "max_tokens"] = limit
    prefix = optional_text("prompt_prefix", prompt_prefix)
    suffix = optional_text("prompt_suffix", prompt_suffix)
    own_system_message = optional_text("system_message", system_message)
    _check_prompt_options(endpoint, model, prefix, suffix, own_system_message)
    function_of("on_progress", on_progress)
    wants_parts = is_iterated or on_progress is not None
    if stream is not None and not isinstance(stream, bool):
        raise TypeError(f"stream must be True, False or None, not {kind_of(stream)}.")
    is_streamed = wants_parts if stream is None else stream
    return CallOptions(
        is_streamed=is_streamed,
        is_reported=wants_parts and is_streamed,
        system_message=settings.system_message if system_message is None else own_system_message,
        prompt_prefix=prefix,
        prompt_suffix=suffix,
        model=model,
        family=family,
        endpoint=endpoint,
        params={name: value for name, value in params.items() if name not in _OWN_FIELDS},
        response_limit=limit,
        timeout=settings.timeout if timeout is None else seconds_of("timeout", timeout),
        abort=token_of("abort", abort),
    )


def joined_params(params: Mapping[str, object], own: Mapping[str, object]) -> dict[str, object]:
    """Completion parameters, with those of a call over them.

    One limit of the call stands for both of those before; one that is `None` is taken away.

    Args:
        params: those of the client, or of a conversation.
        own: those of the call; `None` stays `None`, so that they can be laid over others again.
    """
    has_limit = any(own.get(name) is not None for name in LIMIT_NAMES)
    kept = {
        name: value for name, value in params.items() if not (has_limit and name in LIMIT_NAMES)
    }
    return {**kept, **own}


def _call_params(settings: ClientSettings, completion_params: object) -> dict[str, object]:
    """The client's parameters and over them the call's, checked."""
    own = params_of("completion_params", completion_params)
    left_out = (
        completion_params.keys() - own.keys() if isinstance(completion_params, Mapping) else ()
    )
    params = joined_params({**settings.completion_params, "model": settings.model}, own)
    return {name: value for name, value in params.items() if name not in left_out}


def _check_prompt_options(
    endpoint: EndpointName,
    model: str,
    prefix: str | None,
    suffix: str | None,
    system_message: str | None,
) -> None:
    if endpoint == "chat" and not (prefix is None and suffix is None):
        raise ValueError(
            f"prompt_prefix and prompt_suffix are for text completions, and {model!r} is asked for chat "
            "completions: give system_message, or endpoint='completions' to the client."
        )
    if prefix is not None and system_message is not None:
        raise ValueError("prompt_prefix stands in the place of system_message: give one of them.")
