from __future__ import annotations

import pytest

from chatgpt.core.models import FAMILIES, UNKNOWN_FAMILY, family_of


@pytest.mark.parametrize(
    ("model", "max_input", "max_output", "encoding", "limit_name"),
    [
        ("gpt-5.4-mini", 272_000, 128_000, "o200k_base", "max_completion_tokens"),
        ("gpt-5.4-mini-2026-03-17", 272_000, 128_000, "o200k_base", "max_completion_tokens"),
        ("gpt-5.4", 1_050_000, 128_000, "o200k_base", "max_completion_tokens"),
        ("gpt-5.2-2025-12-11", 272_000, 128_000, "o200k_base", "max_completion_tokens"),
        ("gpt-5.2-chat-latest", 128_000, 16_384, "o200k_base", "max_completion_tokens"),
        ("gpt-6.1-terra", 922_000, 128_000, "o200k_base", "max_completion_tokens"),
        ("o3-2025-04-16", 200_000, 100_000, "o200k_base", "max_completion_tokens"),
        ("gpt-4o-mini-2024-07-18", 128_000, 16_384, "o200k_base", "max_tokens"),
        ("gpt-4.1-nano", 1_047_576, 32_768, "o200k_base", "max_tokens"),
        ("gpt-4-0613", 8_192, 4_096, "cl100k_base", "max_tokens"),
        ("gpt-4-turbo-2024-04-09", 128_000, 4_096, "cl100k_base", "max_tokens"),
        ("gpt-3.5-turbo-1106", 16_385, 4_096, "cl100k_base", "max_tokens"),
        ("openai/gpt-4o", 128_000, 16_384, "o200k_base", "max_tokens"),
        ("openrouter/openai/gpt-4o:free", 128_000, 16_384, "o200k_base", "max_tokens"),
        ("ft:gpt-3.5-turbo:acme::7p4lURel", 16_385, 4_096, "cl100k_base", "max_tokens"),
        ("GPT-4", 8_192, 4_096, "cl100k_base", "max_tokens"),
    ],
)
def test_the_longest_prefix_wins(
    model: str, max_input: int, max_output: int, encoding: str, limit_name: str
) -> None:
    family = family_of(model)
    assert (family.max_input, family.max_output) == (max_input, max_output)
    assert (family.encoding, family.limit_name) == (encoding, limit_name)


@pytest.mark.parametrize(
    "model", ["llama3.1:70b", "anthropic/claude", "", "mistral-large", "my-deployment"]
)
def test_an_unknown_model_fails_open(model: str) -> None:
    family = family_of(model)
    assert family is UNKNOWN_FAMILY
    assert family.prompt_limit(family.reserve(None)) is None
    assert family.is_approximate
    assert family.encoding == "o200k_base"


def test_every_row_is_reached_by_its_own_prefix() -> None:
    for family in FAMILIES:
        assert family_of(family.prefix) is family


def test_the_room_for_the_reply() -> None:
    assert family_of("gpt-5.4").reserve(None) == 4096
    assert family_of("gpt-4").reserve(None) == 8192 // 4
    assert family_of("gpt-4").reserve(17) == 17
    assert family_of("gpt-4").with_window(400).reserve(None) == 100


def test_a_shared_window_is_shared_and_another_is_not() -> None:
    assert family_of("gpt-5.4").prompt_limit(50_000) == 1_000_000
    assert family_of("gpt-5.4-mini").prompt_limit(50_000) == 272_000
    assert family_of("gpt-5.4-mini").with_window(60_000).prompt_limit(50_000) == 10_000
