from __future__ import annotations

import pytest

from chatgpt.core.context_lengths import ContextFigures, context_figures

LONGEST = "This model's maximum context length is"


@pytest.mark.parametrize(
    ("message", "figures"),
    [
        (f"{LONGEST} 4097 tokens, however you requested 4119 tokens (3119 in the messages, 1000 in the completion). Please reduce the length.", (4097, True, 3119)),
        (f"{LONGEST} 8192 tokens. However, your messages resulted in 8358 tokens.", (8192, True, 8358)),
        (f"{LONGEST} 4097 tokens. However, you requested 4612 tokens (3992 in the messages, 120 in the functions, and 500 in the completion).", (4097, True, 4112)),
        (f"{LONGEST} 4,097 tokens", (4097, True, None)),
        ("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300123 tokens.", (272000, False, 300123)),
        ("prompt is too long: 210000 tokens > 200000 maximum", (200000, True, 210000)),
        ("The context window of this model is 32768.", (32768, True, None)),
        ("Your input exceeds the context window of this model.", (None, True, None)),
        ("maximum context length is 99999999999999999999 tokens", (999999999999999, True, None)),
        ("", (None, True, None)),
    ],
)  # fmt: skip
def test_figures_in_words(message: str, figures: tuple[int | None, bool, int | None]) -> None:
    assert context_figures(message, None) == ContextFigures(*figures)


@pytest.mark.parametrize(
    ("body", "figures"),
    [
        ({"error": {"n_ctx": 8192, "n_prompt_tokens": 9000}}, ContextFigures(8192, True, 9000)),
        ({"n_ctx": 8192}, ContextFigures(8192)),
        ({"error": {"n_ctx": True}}, ContextFigures()),
        ({"error": "text"}, ContextFigures()),
        ([], ContextFigures()),
    ],
)
def test_figures_in_fields(body: object, figures: ContextFigures) -> None:
    assert context_figures("the request exceeds the available context size", body) == figures
