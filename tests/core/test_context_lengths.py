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
        ("maximum context length is 99999999999999999999 tokens", (None, True, None)),
        ("maximum context length is 2000000000 tokens", (None, True, None)),
        ("You passed 5000 input tokens and requested 100 output tokens. However, the model's context length is only 4096 tokens, resulting in a maximum input length of 3996 tokens.", (4096, True, 5000)),
        ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", (4096, True, 5000)),
        ("Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens", (4096, True, 5000)),
        ("The prompt is too long: 140017, model maximum context length: 131071", (131071, True, 140017)),
        ("request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it", (8192, True, 9000)),
        ("Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192", (8192, True, 9000)),
        ("Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)", (8192, True, None)),
        ("prompt token count of 140000 exceeds the limit of 128000", (128000, True, 140000)),
        ("Input length 9000 exceeds maximum allowed token size 8192", (8192, True, 9000)),
        ("Your conversation is near the maximum context length (usage > 95%)", (None, True, None)),
        (f"{LONGEST} 30000 characters.", (None, True, None)),
        ("maximum context length exceeded: image size 2048 > 1024 pixels", (None, True, None)),
        ("context length exceeded: number of tools 200 > 128", (None, True, None)),
        ("The context window is 20 messages long; you sent 30.", (None, True, None)),
        ("prompt is too long: 3 documents > 2", (None, True, None)),
        ("prompt too long; exceeded max context length by 4 tokens", (None, True, None)),
        ("This prompt exceeds the context window of gpt-4o.", (None, True, None)),
        ("exceeds the context window of model claude-3-5", (None, True, None)),
        (f"{LONGEST} 32k", (None, True, None)),
        (f"{LONGEST} 128.000", (None, True, None)),
        ("greater than the context length (n_keep: 5000>= n_ctx: 4096)", (4096, True, None)),
        (f"This endpoint's maximum context length is 8192 tokens. However, you requested about 22857 tokens (14857 of text input, 8000 in the output).", (8192, True, 14857)),  # noqa: F541
        (f"{LONGEST} 4097 tokens, however you requested 4322 tokens (4066 in your prompt; 256 for the completion).", (4097, True, 4066)),
        ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", (32768, True, 40000)),
        ("the decoder prompt is longer than the maximum model length of 2048.", (2048, True, None)),
        (f"{LONGEST} 4096 tokens and your request has 5000 input tokens", (4096, True, 5000)),
        ("This model's maximum prompt length is 131072 but the request contains 200000 tokens.", (131072, False, 200000)),
        ("The input token count (40000) exceeds the maximum number of tokens allowed (32768).", (32768, False, None)),
        ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length", (200000, True, None)),
        ("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]", (129024, False, None)),
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
        ({"n_ctx": 10**30, "n_prompt_tokens": 10**400}, ContextFigures()),
        ({"n_ctx": 8192, "n_prompt_tokens": -1}, ContextFigures(8192)),
        ({"error": {"n_ctx": True}}, ContextFigures()),
        ({"error": "text"}, ContextFigures()),
        ([], ContextFigures()),
    ],
)
def test_figures_in_fields(body: object, figures: ContextFigures) -> None:
    assert context_figures("the request exceeds the available context size", body) == figures
