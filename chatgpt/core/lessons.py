"""What a server's refusals teach, and how the next request heeds it.

Strategy: a request that is refused because of one of its parameters is mended and sent again. What
was learned is kept for the server and the model, as long as the client lives: the next request does
without the refusal. What is known of the model's family is heeded from the start.

Rules:

1. A lesson is learned from a 400 or a 422 alone (Mistral refuses with the latter), and only if it
   says of a parameter that was sent that the model does not take it (refusals.py), or that the prompt is
   too long (context_lengths.py).
2. Every lesson changes the next request, so that a call ends: what is refused again is an error. A
   lesson that turns out to be wrong is taken back.
3. What the caller asked for and did not get stands in `reply.context.changes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypedDict, Unpack, cast

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
from chatgpt.core.refusals import (
    refuses_reasoning,
    refuses_stream,
    unsupported_in,
    wants_reasoning,
)

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
DISPENSABLE: Final = SAMPLING_PARAMETERS | {STREAM_OPTIONS, *LIMIT_NAMES}
"""What a request can do without, or, a limit, under another name."""
REASONING: Final = "reasoning_content"
INCLUDE_USAGE: Final = {"include_usage": True}

FIRST_GUESS_LASTS: Final = 32
"""Replies for which the first guess of a window holds."""


@frozen
class WindowGuess:
    """What prompt and limit of the reply may take together, where the server refused more and told no figures.

    It is made once a shorter prompt was taken, and holds for so many replies; then the server is asked anew, as
    its window may be larger. Each guess holds for twice as many replies as the one before.

    Attributes:
        tokens: the guess, in tokens as they are counted here; `None` for none.
        replies_left: for how many replies it still holds.
        lasts: for how many replies the next one will.
    """

    tokens: int | None = None
    replies_left: int = 0
    lasts: int = FIRST_GUESS_LASTS

    def made(self, tokens: int) -> WindowGuess:
        """Another guess."""
        return WindowGuess(tokens, self.lasts, self.lasts * 2)

    def after_reply(self) -> WindowGuess:
        """What is left of it after one more reply."""
        if self.replies_left <= 1:
            return WindowGuess(lasts=self.lasts)
        return evolve(self, replies_left=self.replies_left - 1)


NOT_GUESSED: Final = WindowGuess()
"""Before the first one."""


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
        guess: its window, where it told no figures.
        calibration: how it counts.
    """

    limit_name: LimitName | None = None
    refused: frozenset[str] = frozenset()
    streams: bool = True
    wants_reasoning: bool = False
    max_input: int | None = None
    shares_window: bool = True
    guess: WindowGuess = NOT_GUESSED
    calibration: Calibration = NOT_CALIBRATED

    def narrowed(self, family: ModelFamily) -> ModelFamily:
        """The family with the server's window, where that is smaller."""
        if self.max_input is None or (family.max_input or self.max_input) < self.max_input:
            return family
        return family.with_window(self.max_input, shares_window=self.shares_window)


NOTHING: Final = Lesson()
"""What is known of a model before it has taught anything."""


class _LearnedValues(TypedDict, total=False):
    limit_name: LimitName | None
    streams: bool
    wants_reasoning: bool
    max_input: int | None
    shares_window: bool
    guess: WindowGuess
    calibration: Calibration


class Learned(_LearnedValues, total=False):
    """Attributes of a `Lesson` that are new."""

    refused: frozenset[str]


class Lessons:
    """What one client has learned of its server, by endpoint and model. Shared by threads.

    What two threads learn at the same moment of different things is both kept, and so are all parameters that
    are refused. Of two calibrations the last one stays, which is as good as the other.
    """

    def __init__(self) -> None:
        self._learned: dict[tuple[EndpointName, str], _Memory] = {}

    def of(self, endpoint: EndpointName, model: str) -> Lesson:
        """What is known of a model."""
        memory = self._learned.get((endpoint, model))
        return NOTHING if memory is None else memory.lesson()

    def keep(self, endpoint: EndpointName, model: str, **learned: Unpack[Learned]) -> None:
        """Keep what was learned of a model; parameters that are refused add to those before."""
        memory = self._learned.setdefault((endpoint, model), _Memory())
        memory.refused.update(learned.pop("refused", ()))
        memory.values.update(cast("_LearnedValues", learned))
        memory.edition = object()


class _Memory:
    """What was learned of one model.

    Attributes:
        values, refused: what there is to know.
        edition: another one with each thing that was learned.
    """

    def __init__(self) -> None:
        self.values: _LearnedValues = {}
        self.refused: set[str] = set()
        self.edition = object()
        self._made: tuple[object, Lesson] | None = None

    def lesson(self) -> Lesson:
        """All of it; made once, as a call asks for it several times."""
        edition = self.edition  # before the rest is looked at: another thread may learn meanwhile
        if self._made is not None and self._made[0] is edition:
            return self._made[1]
        lesson = Lesson(refused=frozenset(self.refused), **self.values)
        self._made = edition, lesson
        return lesson


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
    # What is known of a family is known of chat completions.
    known = family.refused(params) if endpoint == "chat" else frozenset[str]()
    for name in sorted((known | lesson.refused) & sent.keys()):
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
    if lesson.wants_reasoning and refuses_reasoning(error):
        return {"wants_reasoning": False}
    if not lesson.wants_reasoning and wants_reasoning(error) and _has_replies(sent):
        return {"wants_reasoning": True}
    model = str(sent.get("model"))
    if sent.get("stream") and refuses_stream(error, model):
        return {"streams": False}
    refused = unsupported_in(error, sent.keys() & DISPENSABLE, model)
    for limit_name in LIMIT_NAMES:
        if limit_name in refused:
            return _learned_limit(limit_name, sent, lesson)
    return {"refused": refused} if refused else {}


def _has_replies(sent: Mapping[str, object]) -> bool:
    messages = sent.get("messages")
    return isinstance(messages, list) and any(
        message.get("role") == "assistant" for message in messages
    )


def _learned_limit(refused: LimitName, sent: Mapping[str, object], lesson: Lesson) -> Learned:
    if "prompt" in sent:  # text completions know one name alone
        return {}
    if lesson.limit_name is not None:  # and now it is not taken, either: it was no good lesson
        return {"limit_name": None}
    return {"limit_name": LIMIT_NAMES[1 - LIMIT_NAMES.index(refused)]}


def _learned_window(error: ContextLengthError) -> Learned:
    if error.limit is None:
        return {}
    return {"max_input": error.limit, "shares_window": error.is_shared}
