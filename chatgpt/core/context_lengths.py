"""The figures in a server's words when a prompt is too long for the model.

Every server has its own (users' reports name the sources):

    OpenAI      This model's maximum context length is 4097 tokens, however you requested 4119 tokens
                (3119 in the messages, 1000 in the completion).
                ... However, your messages resulted in 4358 tokens.
                ... (3992 in the messages, 120 in the functions).
                Input tokens exceed the configured limit of 272000 tokens.
    OpenRouter  ... (14857 of text input, 8000 in the output).
    Mistral     Prompt contains 40000 tokens ..., too large for model with 32768 maximum context length
    llama.cpp   {"type": "exceed_context_size_error", "n_prompt_tokens": 9000, "n_ctx": 8192}
    Anthropic   prompt is too long: 210000 tokens > 200000 maximum
    vLLM        You passed 5000 input tokens ... However, the model's context length is only 4096 tokens
    SGLang      The input (5000 tokens) is longer than the model's context length (4096 tokens).
    Moonshot    Your request exceeded model token limit: 8192 (requested: 9000)
    DashScope   Range of input length should be [1, 129024]
    xAI         This model's maximum prompt length is 131072 but the request contains 200000 tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import frozen

_NUMBER: Final = (
    r"(\d[\d,_]{0,14})(?![.,]?\d|\w|%| (?:characters|messages|pixels|documents|images))"
)
"""A whole number; `128k`, `128.000` and `95%` may mean anything."""
_LARGEST: Final = 10**9
"""Tokens beyond which a figure is nonsense."""
_LIMITS: Final = (
    rf"n_ctx\W{{0,4}}{_NUMBER}",
    rf"maximum (?:context|model|sequence) length(?: (?:is|of)|:) {_NUMBER}",
    rf"{_NUMBER} maximum context length",
    rf"tokens > {_NUMBER}|\d \+ \d+ > {_NUMBER}",
    rf"context (?:length|window|size)(?: of this model)? (?:is|of) (?:only )?{_NUMBER}",
    rf"context (?:length|size) \({_NUMBER} tokens",
    rf"(?:token limit:|limit is|the limit of|maximum allowed token size) {_NUMBER}",
)
_INPUT_LIMIT: Final = re.compile(
    rf"(?:configured limit of|maximum prompt length is|range of input length should be \[1,|maximum number of (?:input )?tokens allowed) \(?{_NUMBER}",
    re.IGNORECASE,
)
_PARTS: Final = re.compile(
    rf"{_NUMBER} (?:in|of|for) (?:the |your )?([a-z]+(?: [a-z]+)?)", re.IGNORECASE
)
_OF_THE_REPLY: Final = ("completion", "output")
_TOKENS: Final = (
    rf"resulted in {_NUMBER}",
    rf"too long: {_NUMBER}",
    rf"(?:prompt|request) (?:contains|has|is) (?:at least )?{_NUMBER}",
    rf"(?:passed|keep the first|token count of|input length) {_NUMBER}",
    rf"(?:input|request) \({_NUMBER} tokens",
    rf"(?:current length is|received) {_NUMBER}",
)


@frozen
class ContextFigures:
    """What a server told.

    Attributes:
        limit: the window in tokens.
        is_shared: whether prompt and reply share it.
        tokens: what the prompt takes, in tokens.
    """

    limit: int | None = None
    is_shared: bool = True
    tokens: int | None = None


def context_figures(message: str, body: object) -> ContextFigures:
    """Find the figures in an error.

    Args:
        message: the server's words.
        body: what it wrote, parsed.
    """
    details = body.get("error", body) if isinstance(body, Mapping) else None
    if isinstance(details, Mapping):
        window, tokens = _positive(details.get("n_ctx")), _positive(details.get("n_prompt_tokens"))
        if window is not None:
            return ContextFigures(window, tokens=tokens)
    input_limit = _INPUT_LIMIT.search(message)
    limit = _number_in(message, _LIMITS) if input_limit is None else _as_number(input_limit)
    in_parts = sum(
        _as_number(match) or 0
        for match in _PARTS.finditer(message)
        if not any(word in match[2].lower() for word in _OF_THE_REPLY)
    )
    return ContextFigures(limit, input_limit is None, in_parts or _number_in(message, _TOKENS))


def _number_in(message: str, patterns: tuple[str, ...]) -> int | None:
    found = (re.search(pattern, message, re.IGNORECASE) for pattern in patterns)
    return next((_as_number(match) for match in found if match is not None), None)


def _as_number(match: re.Match[str]) -> int | None:
    number = next(group for group in match.groups() if group is not None)
    return _positive(int(re.sub(r"[,_]", "", number)))


def _positive(value: object) -> int | None:
    return value if type(value) is int and 0 < value <= _LARGEST else None
