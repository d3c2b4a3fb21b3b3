"""What is known of each family of models: window, largest reply, encoding, name of the limit.

Strategy: one small table, looked up by the longest prefix of the model's name. A model that no
row knows fails open: no window is assumed, nothing is refused, its counts are marked approximate.

Rules:

1. A name is stripped of `provider/`, `ft:` and whatever follows a `:` first: `openai/gpt-5.4`,
   `ft:gpt-4o:acme::7p4lURel` and `gpt-4.1:free` are of their family.
2. `max_input` and `max_output` are tokens. Where `shares_window` is true they share one window,
   which `max_input` gives; elsewhere the input has a window of its own.
3. To add a family, add a row. Sources: LiteLLM 1.109.1 for windows, tiktoken 0.14.0 for
   encodings; gpt-6 has no published encoding, so its counts are approximate.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from attrs import evolve, frozen

DEFAULT_MODEL: Final = "gpt-5.4-mini"

NEWEST_ENCODING: Final = "o200k_base"

LimitName: TypeAlias = Literal["max_tokens", "max_completion_tokens"]
"""The request's field for the largest reply: reasoning models take only the second."""


@frozen
class ModelFamily:
    """A family of models that share their limits.

    Attributes:
        prefix: what the names of the family begin with.
        max_input: the largest prompt in tokens, or `None` where it is not known.
        max_output: the largest reply in tokens, or `None` where it is not known.
        shares_window: whether prompt and reply together must fit into `max_input`.
        encoding: the encoding that counts its tokens.
        limit_name: the request's field that limits the reply.
        is_approximate: whether counts with `encoding` are only a guess.
    """

    prefix: str
    max_input: int | None = None
    max_output: int | None = None
    shares_window: bool = True
    encoding: str = NEWEST_ENCODING
    limit_name: LimitName = "max_tokens"
    is_approximate: bool = False

    def with_window(self, max_model_tokens: int | None) -> ModelFamily:
        """The family with the caller's window in place of its own."""
        if max_model_tokens is None:
            return self
        return evolve(self, max_input=max_model_tokens, shares_window=True)

    def reserve(self, max_response_tokens: int | None) -> int:
        """Tokens that are kept free for the reply.

        `max_response_tokens` where it is given, else min(largest reply, 4096, window / 4), so that
        a small window is not eaten up by room for a reply that will not come.
        """
        if max_response_tokens is not None:
            return max_response_tokens
        quarter = self.max_input // 4 if self.max_input is not None else 4096
        return min(self.max_output or 4096, 4096, quarter)

    def prompt_limit(self, reserved_tokens: int) -> int | None:
        """The room for a prompt in tokens, or `None` where no window is known."""
        if self.max_input is None:
            return None
        return self.max_input - reserved_tokens if self.shares_window else self.max_input


def _reasoning(
    prefix: str, max_input: int, max_output: int = 128_000, *, shared: bool = False
) -> ModelFamily:
    return ModelFamily(prefix, max_input, max_output, shared, limit_name="max_completion_tokens")


def _classic(
    prefix: str, window: int, max_output: int, encoding: str = NEWEST_ENCODING
) -> ModelFamily:
    return ModelFamily(prefix, window, max_output, encoding=encoding)


_CL100K: Final = "cl100k_base"

FAMILIES: Final[tuple[ModelFamily, ...]] = (
    evolve(_reasoning("gpt-6", 922_000), is_approximate=True),
    _reasoning("gpt-5.6", 922_000),
    _reasoning("gpt-5.5", 1_050_000, shared=True),
    _reasoning("gpt-5.4", 1_050_000, shared=True),
    _reasoning("gpt-5.4-mini", 272_000),
    _reasoning("gpt-5.4-nano", 272_000),
    _reasoning("gpt-5", 272_000),
    _reasoning("gpt-5-chat", 128_000, 16_384, shared=True),
    _reasoning("gpt-5.1-chat", 128_000, 16_384, shared=True),
    _reasoning("gpt-5.2-chat", 128_000, 16_384, shared=True),
    _reasoning("gpt-5.3-chat", 128_000, 16_384, shared=True),
    evolve(_reasoning("chat-latest", 400_000), is_approximate=True),
    _reasoning("o1", 200_000, 100_000, shared=True),
    _reasoning("o3", 200_000, 100_000, shared=True),
    _reasoning("o4-mini", 200_000, 100_000, shared=True),
    _classic("gpt-4.1", 1_047_576, 32_768),
    _classic("gpt-4.5", 128_000, 16_384),
    _classic("gpt-4o", 128_000, 16_384),
    _classic("gpt-4o-2024-05-13", 128_000, 4_096),
    _classic("chatgpt-4o", 128_000, 16_384),
    evolve(_classic("gpt-audio", 128_000, 16_384), is_approximate=True),
    _classic("gpt-4-turbo", 128_000, 4_096, _CL100K),
    _classic("gpt-4-1106", 128_000, 4_096, _CL100K),
    _classic("gpt-4-0125", 128_000, 4_096, _CL100K),
    _classic("gpt-4-vision", 128_000, 4_096, _CL100K),
    _classic("gpt-4-32k", 32_768, 4_096, _CL100K),
    _classic("gpt-4", 8_192, 4_096, _CL100K),
    _classic("gpt-3.5-turbo", 16_385, 4_096, _CL100K),
    _classic("gpt-35-turbo", 16_385, 4_096, _CL100K),
    _classic("gpt-3.5-turbo-instruct", 8_192, 4_096, _CL100K),
    _classic("davinci-002", 16_384, 4_096, _CL100K),
    _classic("babbage-002", 16_384, 4_096, _CL100K),
)

UNKNOWN_FAMILY: Final = ModelFamily("", is_approximate=True)


def family_of(model: str) -> ModelFamily:
    """Find the family of a model by the longest prefix of its name.

    Args:
        model: a model's name, with or without `provider/` and `ft:`.

    Returns:
        Its row of `FAMILIES`, or `UNKNOWN_FAMILY`.
    """
    name = model.lower().rpartition("/")[2].removeprefix("ft:").partition(":")[0]
    rows = (family for family in FAMILIES if name.startswith(family.prefix))
    return max(rows, key=lambda family: len(family.prefix), default=UNKNOWN_FAMILY)
