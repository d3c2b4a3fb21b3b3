"""What a server's refusals teach, and how the next request heeds it.

Strategy: a request that is refused because of one of its parameters is mended and sent again. What
was learned is kept for the server and the model, as long as the client lives: the next request does
without the refusal. What is known of the model's family is heeded from the start.

Rules:

1. A lesson is learned from a 400 or a 422 alone (Mistral refuses with the latter), and only if it
   names, in `param` or in known wordings, a parameter that was sent and says that it is not
   supported. A value that is out of range is the caller's mistake, and stays an error.
2. Every lesson changes the next request, so that a call ends: what is refused again is an error.
3. What the caller asked for and did not get stands in `reply.context.changes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypedDict, Unpack

from attrs import evolve, frozen

from chatgpt.core.calibration import NOT_CALIBRATED, Calibration
from chatgpt.core.errors import (
    APIStatusError,
    BadRequestError,
    ContextLengthError,
    UnprocessableEntityError,
)
from chatgpt.core.messages import RequestChange
from chatgpt.core.models import LIMIT_NAMES, EndpointName, LimitName, ModelFamily

SAMPLING_PARAMETERS: Final = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "seed",
        "stop",
    }
)
"""What steers how a reply is chosen, and can be done without."""

STREAM_OPTIONS: Final = "stream_options"
REASONING: Final = "reasoning_content"
INCLUDE_USAGE: Final = {"include_usage": True}

_CODES: Final = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
_REFUSAL: Final = re.compile(
    r"unsupported|not (?:be )?(?:supported|permitted|allowed|available|recogni[sz]ed)"
    r"|(?:does|do)(?: not|n't) support|unrecogni[sz]ed|unknown|unexpected|deprecated"
    r"|extra (?:inputs|fields|parameters)",
    re.IGNORECASE,
)
_NO_STREAM: Final = re.compile(
    r"verified to stream|(?:does|do)(?: not|n't) support stream|\bstream(?:ing)? is (?:not|un)",
    re.IGNORECASE,
)
_WANTS_REASONING: Final = re.compile(r"reasoning_content.{0,80}must be passed back", re.IGNORECASE)
_QUOTED: Final = re.compile(r"['\"`]([a-z_]+)['\"`]|: ([a-z_]+)\.?$")
_WORDS: Final = frozenset({"seed", "stop", "stream"})
"""Names that are words of English, too: they count only in quotes."""


@frozen
class Lesson:
    """What is known of a server and a model, beyond the family of the model.

    Attributes:
        limit_name: the field for the largest reply that it takes, where it refused the other one.
        refused: further parameters that it refused.
        streams: whether it streams.
        wants_reasoning: whether it wants back what was thought before its replies.
        max_input: its window in tokens, where it said so.
        shares_window: whether prompt and reply share it.
        calibration: how it counts.
    """

    limit_name: LimitName | None = None
    refused: frozenset[str] = frozenset()
    streams: bool = True
    wants_reasoning: bool = False
    max_input: int | None = None
    shares_window: bool = True
    calibration: Calibration = NOT_CALIBRATED

    def narrowed(self, family: ModelFamily) -> ModelFamily:
        """The family with the server's window, where that is smaller."""
        if self.max_input is None or (family.max_input or self.max_input) < self.max_input:
            return family
        return family.with_window(self.max_input, shares_window=self.shares_window)


NOTHING: Final = Lesson()
"""What is known of a model before it has taught anything."""


class Learned(TypedDict, total=False):
    """Attributes of a `Lesson` that are new."""

    limit_name: LimitName
    refused: frozenset[str]
    streams: bool
    wants_reasoning: bool
    max_input: int
    shares_window: bool
    calibration: Calibration


class Lessons:
    """What one client has learned of its server, by endpoint and model. Shared by threads."""

    def __init__(self) -> None:
        self._lessons: dict[tuple[EndpointName, str], Lesson] = {}

    def of(self, endpoint: EndpointName, model: str) -> Lesson:
        """What is known of a model."""
        return self._lessons.get((endpoint, model), NOTHING)

    def keep(self, endpoint: EndpointName, model: str, **learned: Unpack[Learned]) -> None:
        """Keep what was learned of a model.

        Of two threads that learn at the same moment one may be forgotten, and learn again.
        """
        self._lessons[endpoint, model] = evolve(self.of(endpoint, model), **learned)


# --- heeding ---------------------------------------------------------------------------------


@frozen
class Adaptation:
    """The parameters of a request as the model takes them.

    Attributes:
        params: those that are sent.
        is_streamed: whether the answer is asked for as a stream.
        changes: where this is not what was asked for.
    """

    params: Mapping[str, object]
    is_streamed: bool
    changes: tuple[RequestChange, ...]


def adapt(
    params: Mapping[str, object],
    *,
    is_streamed: bool,
    family: ModelFamily,
    endpoint: EndpointName,
    lesson: Lesson,
) -> Adaptation:
    """Make the parameters of a call those of a request that the model takes.

    Args:
        params: what the caller asks for.
        is_streamed: whether he asks for a stream.
        family: what is known of the model.
        endpoint: where it is sent.
        lesson: what the server taught.
    """
    sent = dict(params)
    changes: list[RequestChange] = []
    accepted = lesson.limit_name or _accepted_limit(family, endpoint)
    for limit_name in LIMIT_NAMES:
        if accepted is not None and limit_name != accepted and limit_name in sent:
            limit = sent.pop(limit_name)
            sent.setdefault(accepted, limit)
            changes.append(RequestChange(limit_name, "renamed", lesson.limit_name is not None))
    if not (is_streamed and lesson.streams):
        sent.pop(STREAM_OPTIONS, None)
    elif STREAM_OPTIONS not in sent:
        sent[STREAM_OPTIONS] = INCLUDE_USAGE
    for name in sorted((family.refused(params) | lesson.refused) & sent.keys()):
        del sent[name]
        changes.append(RequestChange(name, "left out", name in lesson.refused))
    if is_streamed and not lesson.streams:
        changes.append(RequestChange("stream", "left out", is_learned=True))
    if lesson.wants_reasoning:
        changes.append(RequestChange(REASONING, "added", is_learned=True))
    return Adaptation(sent, is_streamed and lesson.streams, tuple(changes))


def _accepted_limit(family: ModelFamily, endpoint: EndpointName) -> LimitName | None:
    """The only name that is taken; `None` where both are, or it is not known."""
    if endpoint == "completions":
        return "max_tokens"
    return "max_completion_tokens" if family.limit_name == "max_completion_tokens" else None


# --- learning --------------------------------------------------------------------------------


def learned_from(error: APIStatusError, sent: Mapping[str, object], lesson: Lesson) -> Learned:
    """What a refusal teaches.

    Args:
        error: the refusal.
        sent: the fields of the request that was refused.
        lesson: what was known when it was made.

    Returns:
        What is to be kept; empty where there is nothing to learn, or the request would be no other one.
    """
    if not isinstance(error, (BadRequestError, UnprocessableEntityError)):
        return {}
    if isinstance(error, ContextLengthError):
        return _learned_window(error)
    message = error.message
    if _WANTS_REASONING.search(message) and not lesson.wants_reasoning:
        return {"wants_reasoning": True}
    if sent.get("stream") and _refuses_stream(error):
        return {"streams": False}
    if error.code not in _CODES and not _REFUSAL.search(message):
        return {}
    named = [*_named_in(error, sent)]
    for limit_name in LIMIT_NAMES:
        if limit_name in named and lesson.limit_name is None:
            other = LIMIT_NAMES[1 - LIMIT_NAMES.index(limit_name)]
            return {"limit_name": other}
    refused = SAMPLING_PARAMETERS.union({STREAM_OPTIONS}).intersection(named)
    return {"refused": lesson.refused | refused} if refused else {}


def _learned_window(error: ContextLengthError) -> Learned:
    if error.limit is None:
        return {}
    return {"max_input": error.limit, "shares_window": error.is_shared}


def _refuses_stream(error: APIStatusError) -> bool:
    if error.param == "stream" and error.code in _CODES:
        return True
    return error.param in (None, "stream") and bool(
        _NO_STREAM.search(error.message)
        or ("stream" in _quoted_in(error.message) and _REFUSAL.search(error.message))
    )


def _named_in(error: APIStatusError, sent: Mapping[str, object]) -> Iterator[str]:
    """The parameters that were sent and are named in an error."""
    if error.param is not None:
        steps = error.param.removeprefix("body.").split(".")
        if steps[0] in sent:
            yield steps[0]
        return
    quoted = _quoted_in(error.message)
    for name in sent:
        if name in quoted or (
            name not in _WORDS and re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", error.message)
        ):
            yield name


def _quoted_in(message: str) -> frozenset[str]:
    """What stands in quotes, or at the end (`Unrecognized request argument supplied: seed`)."""
    return frozenset(map("".join, _QUOTED.findall(message)))
