"""What is known of each family of models: window, largest reply, encoding, what it refuses.

Strategy: one small table, looked up by the longest prefix of the model's name, and one of the days on
which OpenAI ends its models. A model that no row knows fails open: no window is assumed, nothing is
refused, its counts are marked approximate. What the tables get wrong, the server's errors mend
(lessons.py).

Rules:

1. A name is stripped of `provider/`, `ft:` and whatever follows a `:` first: `openai/gpt-5.4`,
   `ft:gpt-4o:acme::7p4lURel` and `gpt-4.1:free` are of their family. A prefix ends where a word ends,
   dates and variants may follow: `gpt-4-0613` is of the family `gpt-4`, `gpt-4all` and `gpt-4.7` are
   not. (A prefix with a dot at its end is for the versions that have no row of their own.)
2. `max_input` and `max_output` are tokens. Where `shares_window` is true they share one window,
   which `max_input` gives; elsewhere the input has a window of its own.
3. To add a family, add a row. For one client, `model_family=` says it: another model's name, or a
   `ModelFamily` of your own. Sources: LiteLLM 1.109.1 for windows and what reasoning models refuse,
   tiktoken 0.14.0 for encodings, openai-python 3.54.0 and OpenAI's page on deprecations for the days.
4. A count is exact only where OpenAI has published how it counts: gpt-3.5, gpt-4 and gpt-4o (the
   cookbook's notebook). The cost of a message is not known for later models, nor is the encoding of gpt-6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from attrs import evolve, frozen

DEFAULT_MODEL: Final = "gpt-5.4-mini"

NEWEST_ENCODING: Final = "o200k_base"

ENCODINGS: Final = ("cl100k_base", NEWEST_ENCODING)
"""Those whose vocabularies are in the package."""

EndpointName: TypeAlias = Literal["chat", "completions"]
"""Chat completions, or text completions: what is posted is a list of messages, or one text."""

ENDPOINTS: Final[tuple[EndpointName, ...]] = ("chat", "completions")

LimitName: TypeAlias = Literal["max_tokens", "max_completion_tokens"]
"""The request's field for the largest reply: reasoning models take only the second."""

LIMIT_NAMES: Final[tuple[LimitName, ...]] = ("max_tokens", "max_completion_tokens")


@frozen
class ModelFamily:
    """A family of models that share their limits and habits.

    Attributes:
        prefix: what the names of the family begin with.
        max_input: the largest prompt in tokens, or `None` where it is not known.
        max_output: the largest reply in tokens, or `None` where it is not known.
        shares_window: whether prompt and reply together must fit into `max_input`.
        encoding: the encoding that counts its tokens, `"cl100k_base"` or `"o200k_base"`.
        limit_name: the request's field that limits the reply.
        is_approximate: whether counts are only a guess: the encoding is not known for sure, or the cost of a
            message is not.
        endpoint: whether it is asked with messages (`"chat"`) or with one text (`"completions"`).
        refuses: parameters that it never takes.
        refuses_when_reasoning: parameters that it takes only with `reasoning_effort="none"`.
        default_effort: its `reasoning_effort` where the request gives none, as far as it is known.
        message_end: in the text of a prompt, what ends a message.
        instructions_end: in the text of a prompt, what ends the instructions.
    """

    prefix: str = ""
    max_input: int | None = None
    max_output: int | None = None
    shares_window: bool = True
    encoding: str = NEWEST_ENCODING
    limit_name: LimitName = "max_tokens"
    is_approximate: bool = False
    endpoint: EndpointName = "chat"
    refuses: frozenset[str] = frozenset()
    refuses_when_reasoning: frozenset[str] = frozenset()
    default_effort: str | None = None
    message_end: str = "<|endoftext|>"
    instructions_end: str = "<|endoftext|>"

    def with_window(self, max_input: int | None, *, shares_window: bool = True) -> ModelFamily:
        """The family with another window in place of its own.

        Args:
            max_input: the largest prompt in tokens; `None` changes nothing.
            shares_window: whether prompt and reply together must fit into it.
        """
        if max_input is None:
            return self
        return evolve(self, max_input=max_input, shares_window=shares_window)

    def reserve(self, max_response_tokens: int | None) -> int:
        """Tokens that are kept free for the reply.

        `max_response_tokens` where it is given, else min(largest reply, 4096, window / 4), so that
        a small window is not eaten up by room for a reply that will not come.

        Args:
            max_response_tokens: the largest reply in tokens that was asked for.
        """
        if max_response_tokens is not None:
            return max_response_tokens
        quarter = self.max_input // 4 if self.max_input is not None else 4096
        return min(self.max_output or 4096, 4096, quarter)

    def prompt_limit(self, reserved_tokens: int) -> int | None:
        """The room for a prompt in tokens, or `None` where no window is known.

        Args:
            reserved_tokens: what is kept free for the reply, in tokens (`reserve`).
        """
        if self.max_input is None:
            return None
        return self.max_input - reserved_tokens if self.shares_window else self.max_input

    def refused(self, params: Mapping[str, object]) -> frozenset[str]:
        """The parameters that it refuses beside these ones.

        Args:
            params: the fields of a request.
        """
        effort = params.get("reasoning_effort", self.default_effort)
        return self.refuses if effort == "none" else self.refuses | self.refuses_when_reasoning


# --- the table of families -------------------------------------------------------------------

_CL100K: Final = "cl100k_base"
_PENALTIES: Final = frozenset({"presence_penalty", "frequency_penalty"})
_STOP: Final = frozenset({"stop"})
_SAMPLING: Final = frozenset({"temperature", "top_p", "logprobs", "top_logprobs"})


def _reasoning(
    prefix: str,
    max_input: int,
    max_output: int = 128_000,
    *,
    shared: bool = False,
    refuses: frozenset[str] = _PENALTIES | _STOP,
    when_reasoning: frozenset[str] = _SAMPLING,
    effort: str | None = None,
) -> ModelFamily:
    return ModelFamily(
        prefix,
        max_input,
        max_output,
        shared,
        limit_name="max_completion_tokens",
        is_approximate=True,
        refuses=refuses,
        refuses_when_reasoning=when_reasoning,
        default_effort=effort,
    )


def _o_series(prefix: str, refuses: frozenset[str] = _PENALTIES | _STOP) -> ModelFamily:
    return _reasoning(prefix, 200_000, 100_000, shared=True, refuses=refuses | _SAMPLING)


def _later(prefix: str) -> ModelFamily:
    """Versions of which nothing is known but that they are reasoning models."""
    return ModelFamily(prefix, limit_name="max_completion_tokens", is_approximate=True)


def _chat(
    prefix: str, window: int, max_output: int, *, is_approximate: bool = False
) -> ModelFamily:
    return ModelFamily(prefix, window, max_output, is_approximate=is_approximate)


def _older(prefix: str, window: int) -> ModelFamily:
    return ModelFamily(prefix, window, 4_096, encoding=_CL100K)


def _text(prefix: str, window: int, *, is_approximate: bool = False) -> ModelFamily:
    return ModelFamily(
        prefix,
        window,
        window if is_approximate else 4_096,
        encoding=_CL100K,
        is_approximate=is_approximate,
        endpoint="completions",
    )


_GPT_6: Final = _reasoning("gpt-6", 922_000, refuses=_PENALTIES)
_NOTHING: Final[frozenset[str]] = frozenset()

FAMILIES: Final[tuple[ModelFamily, ...]] = (
    _GPT_6,
    _later("gpt-6."),
    evolve(_GPT_6, prefix="gpt-6.1-terra"),
    evolve(_GPT_6, prefix="gpt-6-astra", refuses=_SAMPLING | _PENALTIES),
    evolve(_GPT_6, prefix="gpt-6.1-sol", refuses=_SAMPLING | _PENALTIES),
    _later("gpt-5."),
    _reasoning("gpt-5.6", 922_000),
    _reasoning("gpt-5.5", 1_050_000, shared=True),
    _reasoning("gpt-5.4", 1_050_000, shared=True, effort="none"),
    _reasoning("gpt-5.4-mini", 272_000, effort="none"),
    _reasoning("gpt-5.4-nano", 272_000, effort="none"),
    _reasoning("gpt-5.2", 272_000, effort="none"),
    _reasoning("gpt-5.1", 272_000, effort="none"),
    _reasoning("gpt-5", 272_000, refuses=_SAMPLING | _PENALTIES | _STOP),
    _reasoning(
        "gpt-5-chat", 128_000, 16_384, shared=True, refuses=_NOTHING, when_reasoning=_NOTHING
    ),
    _reasoning("gpt-5.1-chat", 128_000, 16_384, shared=True, effort="none"),
    _reasoning("gpt-5.2-chat", 128_000, 16_384, shared=True, effort="none"),
    _reasoning("gpt-5.3-chat", 128_000, 16_384, shared=True),
    _reasoning("chat-latest", 400_000, shared=True, refuses=_NOTHING, when_reasoning=_NOTHING),
    _o_series("o1", refuses=_PENALTIES),
    _o_series("o3"),
    _o_series("o4-mini"),
    # The vocabulary of o200k_base, messages framed otherwise; its window is the server's choice.
    ModelFamily("gpt-oss", is_approximate=True),
    _chat("gpt-4.1", 1_047_576, 32_768, is_approximate=True),
    _chat("gpt-4.5", 128_000, 16_384, is_approximate=True),
    _chat("gpt-4o", 128_000, 16_384),
    _chat("gpt-4o-2024-05-13", 128_000, 4_096),
    _chat("chatgpt-4o", 128_000, 16_384),
    _chat("gpt-audio", 128_000, 16_384, is_approximate=True),
    *(_older(f"gpt-4-{name}", 128_000) for name in ("turbo", "1106", "0125", "vision")),
    _older("gpt-4-32k", 32_768),
    _older("gpt-4", 8_192),
    _older("gpt-3.5-turbo", 16_385),
    _older("gpt-35-turbo", 16_385),
    _text("gpt-3.5-turbo-instruct", 8_192),
    _text("gpt-35-turbo-instruct", 8_192),
    _text("davinci-002", 16_384),
    _text("babbage-002", 16_384),
    _text("code-davinci", 8_001, is_approximate=True),
    _text("text-davinci", 4_097, is_approximate=True),
    *(_text(f"text-{name}", 2_049, is_approximate=True) for name in ("curie", "babbage", "ada")),
    evolve(
        _text("text-chat-davinci", 4_097, is_approximate=True),
        message_end="<|im_end|>",
        instructions_end="<|im_sep|>",
    ),
)

UNKNOWN_FAMILY: Final = ModelFamily(is_approximate=True)

SHUTDOWN_DAYS: Final[Mapping[str, str]] = {
    model: day
    for day, models in {
        "2023-03-23": "code-davinci-002",
        "2024-01-04": "text-ada-001 text-babbage-001 text-curie-001 text-davinci-002 text-davinci-003",
        "2024-09-13": "gpt-3.5-turbo-0301 gpt-3.5-turbo-0613 gpt-3.5-turbo-16k",
        "2024-12-06": "gpt-4-vision-preview",
        "2025-06-06": "gpt-4-32k",
        "2025-07-14": "gpt-4.5-preview",
        "2025-07-28": "o1-preview",
        "2025-10-27": "o1-mini",
        "2026-02": "chatgpt-4o-latest codex-mini-latest",
        "2026-03-26": "gpt-4-0125-preview gpt-4-0314 gpt-4-turbo-preview",
        "2026-05-07": "gpt-4o-audio-preview gpt-4o-mini-audio-preview",
        "2026-07-23": "gpt-4o-mini-search-preview gpt-4o-search-preview gpt-5-chat-latest gpt-5.1-chat-latest gpt-5.1-codex",
        "2026-08-10": "gpt-5.2-chat-latest gpt-5.3-chat-latest",
        "2026-09-28": "babbage-002 davinci-002 gpt-3.5-turbo-1106 gpt-3.5-turbo-instruct",
        "2026-10-23": "gpt-3.5-turbo gpt-4 gpt-4-1106-preview gpt-4-turbo gpt-4.1-nano gpt-4o-2024-05-13 o1 o3-mini o4-mini",
        "2026-12-11": "gpt-5 gpt-5-mini gpt-5-nano o3",
        "2027-01-14": "gpt-4.1 gpt-4.1-mini gpt-4o gpt-4o-mini",
        "2027-01-20": "gpt-audio-mini",
        "2027-04-01": "gpt-5.1 gpt-5.4-nano",
    }.items()
    for model in models.split()
}
"""The day on which OpenAI ends a model, or the month where no more is known, as ISO 8601 writes it. Snapshots (`-2024-08-06`, `-0613`) end with
their model, unless they stand here themselves."""

_SNAPSHOT: Final = re.compile(r"-(?:\d{4}-\d\d-\d\d|\d{4})$")


@lru_cache(256)
def family_of(model: str) -> ModelFamily:
    """Find the family of a model by the longest prefix of its name.

    Args:
        model: a model's name, with or without `provider/` and `ft:`.

    Returns:
        Its row of `FAMILIES`, or `UNKNOWN_FAMILY`.
    """
    name = _bare(model)
    rows = (family for family in FAMILIES if _begins(name, family.prefix))
    return max(rows, key=lambda family: len(family.prefix), default=UNKNOWN_FAMILY)


def shutdown_day(model: str) -> str | None:
    """The day on which OpenAI ends a model (`"2026-10-23"`), or `None` where none is known."""
    name = _bare(model)
    return SHUTDOWN_DAYS.get(name) or SHUTDOWN_DAYS.get(_SNAPSHOT.sub("", name))


def is_shut_down(model: str, now: datetime) -> bool:
    """Whether OpenAI has ended a model."""
    day = shutdown_day(model)
    return day is not None and f"{now:%Y-%m-%d}" >= day


def _bare(model: str) -> str:
    return model.lower().rpartition("/")[2].removeprefix("ft:").partition(":")[0]


def _begins(name: str, prefix: str) -> bool:
    """Whether a name begins with a prefix that ends where a word of it ends."""
    rest = name.removeprefix(prefix)
    return name.startswith(prefix) and (
        prefix.endswith(".") or not (rest[:1].isalnum() or rest.startswith("."))
    )
