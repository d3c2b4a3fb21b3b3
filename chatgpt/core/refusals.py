"""What a refusal names: which parameters the model does not take, in the words of many servers.

Strategy: a name alone is not enough. A server names a parameter, too, when its value is out of range or
does not go with another one; these are mistakes of the caller. So the words around a name must say
that it is not supported as such, and nothing else: after "is not supported" comes the model, or the end of
the sentence. What is not understood is no refusal, and stays an error.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Final

from chatgpt.core.error_bodies import words_of
from chatgpt.core.errors import APIStatusError

_CODES: Final = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
_OF_A_VALUE: Final = re.compile(
    r"(?:invalid|missing|integer|decimal|number|string|array)_(?!request|param|arg)"
)
"""Codes of a bad value (OpenAI: `invalid_value`, `integer_above_max_value`, ...). `invalid_request_error` and
DashScope's `invalid_parameter_error` are codes of everything."""
_NO_PARAM: Final = frozenset({"", "None", "null"})
"""What servers write where they name no parameter (LiteLLM writes the first two)."""
_DEEPEST: Final = 8
_LONGEST: Final = 2_000

_ENGLISH: Final = frozenset({"seed", "stop", "stream"})
"""Names that are words of English, too: they count only in quotes, or where a name must stand."""

_OTHER: Final = r"\[?['\"`]?\w+['\"`]?\]?"
_NOUN: Final = r"(?:argument|parameter|field|name|key|property|option)s?"
_NOT: Final = (
    r"(?:not (?:currently |yet )?(?:be )?(?:supported|permitted|allowed|available|recogni[sz]ed|accepted)|unsupported|deprecated"
    r"|no longer supported)"
)
_A_MODEL: Final = (
    r"(?:with|for|by|in|on|from|when using) (?:(?:this|the)(?: \w+)? (?:model|endpoint|deployment|provider|organization|request|api)"
    r"|reasoning|[\w.-]+ models?)\b"
)
_ADVICE: Final = r"[,:]? (?:- )?(?:please|use|remove|omit|try|did you mean)\b"
_END: Final = rf"(?:{_ADVICE}|\s*(?:[!;)\]}}\"'`]|\(request\b|\.(?!\d| it must)|$))"
_AS_SUCH: Final = rf"(?: {_A_MODEL})?(?: any ?more| yet| currently| at this time)?{_END}"
"""By the model, or at all: what goes on otherwise ("together with", "above 2", "until") says why, and teaches nothing."""

_EXTRA: Final = re.compile(r"extra (?:inputs|fields|parameters)", re.IGNORECASE)
_STREAMS_NOT: Final = re.compile(
    r"verified to stream"
    rf"|(?:model|endpoint|server|deployment|provider)\b[^.]{{0,40}}\bdo(?:es)?(?: not|n't) support stream(?:ing)?(?: responses?)?{_AS_SUCH}"
    rf"|\bstream(?:ing)?(?:=true)? (?:is |are )?(?:not supported|unsupported|not available|not enabled){_AS_SUCH}",
    re.IGNORECASE,
)
_REASONING: Final = r"\breasoning_content\b"
_WANTS_REASONING: Final = re.compile(
    rf"{_REASONING}.{{0,80}}(?:must be passed back|(?:is|are) missing)|missing.{{0,20}}{_REASONING}",
    re.IGNORECASE,
)
_REFUSES_REASONING: Final = re.compile(
    rf"{_REASONING}.{{0,40}}(?:extra (?:inputs|fields)|{_NOT})"
    rf"|(?:unknown|unsupported|unrecogni[sz]ed|unexpected|extra).{{0,60}}{_REASONING}",
    re.IGNORECASE,
)


def unsupported_in(error: APIStatusError, names: Collection[str], model: str) -> frozenset[str]:
    """The parameters that the model does not take.

    Args:
        error: the refusal.
        names: the parameters that are looked for.
        model: the model's name.
    """
    forbidden = frozenset(step for step, *_ in _forbidden_fields(error.body, 0))
    if forbidden:
        return forbidden.intersection(names)
    if error.code is not None and _OF_A_VALUE.match(error.code):
        return frozenset()
    words = _words_of(error, model)
    if error.param is None or error.param in _NO_PARAM:
        return frozenset(name for name in names if _is_refused(name, words))
    name = error.param.removeprefix("$.").removeprefix("body.").partition(".")[0]
    is_refused = name in names and (error.code in _CODES or _is_refused(name, words))
    return frozenset({name}) if is_refused else frozenset()


def refuses_stream(error: APIStatusError, model: str) -> bool:
    """Whether the model does not stream at all."""
    if error.param not in (None, "stream", *_NO_PARAM):
        return False
    words = _words_of(error, model)
    return bool(_STREAMS_NOT.search(words)) or _is_refused("stream", words)


def wants_reasoning(error: APIStatusError) -> bool:
    """Whether the server wants back what was thought before its replies."""
    return _WANTS_REASONING.search(words_of(error)[:_LONGEST]) is not None


def refuses_reasoning(error: APIStatusError) -> bool:
    """Whether it refuses that."""
    if any("reasoning_content" in place for place in _forbidden_fields(error.body, 0)):
        return True
    is_named = (error.param or "").endswith("reasoning_content") and error.code in _CODES
    return is_named or _REFUSES_REASONING.search(words_of(error)[:_LONGEST]) is not None


def _words_of(error: APIStatusError, model: str) -> str:
    """The server's words, "this model" in the place of its name."""
    bare = re.escape(model.rpartition("/")[2])
    name = rf"(?:\b(?:the )?model:? )?['\"`]?(?<![\w.-])(?:[\w.-]+/)*{bare}(?:-\d[\d-]*)?(?![\w-])['\"`]?"
    return re.sub(name, "this model", words_of(error)[:_LONGEST], flags=re.IGNORECASE)


def _forbidden_fields(body: object, depth: int) -> Iterator[list[str]]:
    """The places of the fields that pydantic forbids: each item says for itself what is wrong with it."""
    if depth > _DEEPEST:
        return
    if isinstance(body, list):
        for item in body[:64]:
            yield from _forbidden_fields(item, depth + 1)
    elif isinstance(body, Mapping):
        place = body.get("loc")
        if isinstance(place, list) and isinstance(body.get("msg"), str):
            steps = [step for step in place if isinstance(step, str) and step != "body"]
            if steps and _EXTRA.search(body["msg"]):
                yield steps
        for item in body.values():
            yield from _forbidden_fields(item, depth + 1)


def _is_refused(name: str, words: str) -> bool:
    return any(pattern.search(words) for pattern in _patterns(name))


@lru_cache(64)
def _patterns(name: str) -> tuple[re.Pattern[str], ...]:
    """The sentences that say that a parameter is not supported."""
    first, *rest = name.split("_")
    camel = first + "".join(word.capitalize() for word in rest)  # xAI's
    bare = rf"(?:{re.escape(name)}|{re.escape(camel)})"
    quoted = rf"\[?['\"`]{bare}['\"`]\]?"
    anyhow = rf"\[?['\"`]?{bare}['\"`]?+\]?+(?!\w)(?! at | in (?!(?:the )?request))"
    named = quoted if name in _ENGLISH else rf"(?<![\w.'\"`]){anyhow}"
    list_after = rf"(?:(?:,? and|,? or|,) {_OTHER})*"
    list_before = rf"(?:{_OTHER}(?:, | and | or ))*"
    unknown = r"(?:unsupported|unknown|unrecogni[sz]ed|unexpected|incompatible|not support(?:ed)?)"
    which = r"(?: (?:the|these|this|following|additional|request|keyword|body|input|completion|sampling))*"
    supplied = r"(?: supplied| provided| passed| given)?[^\w.;'\"`]{0,4}"
    this_model = r"(?:with|for|by) (?:this|the) model"
    sentences = (
        # Unknown parameter: 'x'. / Unrecognized request argument supplied: x / does not support parameters: ['x']
        rf"\b{unknown}{which} {_NOUN}{supplied}{list_before}{anyhow}",
        # does not support the 'x' field / doesn't support x.
        rf"(?:not|n't) support(?:ed)? (?:the )?{named}(?: {_NOUN})?{_END}",
        # Argument not supported on this model: x / parameters are not supported with this model: x, y
        rf"{_NOUN} (?:are )?(?:currently )?not supported[^.:;]{{0,40}}: {list_before}{anyhow}",
        # 'x' is not supported with this model / `x` and `y` are not supported / x is deprecated
        rf"{named}{list_after} (?:{_NOUN} )?(?:is|are) {_NOT}{_AS_SUCH}",
        rf"(?<![\w.'\"`]){bare} is {_NOT} {_A_MODEL}{_END}",
        # 'x': not supported for this model / `x` cannot be used with this model / request x from this model
        rf"{named}:? (?:not supported|cannot be used) {this_model}",
        rf"not allowed to request {bare} from this model",
        # 'x' does not support 0.5 with this model / gpt-5 models don't support x=0.2
        rf"{named} does(?: not|n't) support\b.{{0,40}}?(?: {this_model}|\. only the default)",
        rf"models?\b[^.]{{0,60}} do(?:es)?(?: not|n't) support {bare}=",
        # x: Extra inputs are not permitted / Extra parameters ['x'] are not allowed / x: unexpected field
        rf"(?<![\w.]){anyhow}:? (?:extra (?:inputs|fields) (?:are )?not permitted|unexpected field)",
        rf"extra (?:inputs|fields|parameters|properties)[^.]{{0,60}}?['\"`\[]+{bare}\b",
        # {'type': 'extra_forbidden', 'loc': ('body', 'x')
        rf"extra_forbidden['\"], ['\"]loc['\"]: \(['\"]body['\"], ['\"]{bare}['\"]",
        # Additional properties are not allowed ('x', 'y' were unexpected)
        rf"{quoted}{list_after} (?:was|is|were) unexpected",
    )
    return tuple(re.compile(sentence, re.IGNORECASE) for sentence in sentences)
