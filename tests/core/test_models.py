from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from chatgpt.core.models import (
    FAMILIES,
    SHUTDOWN_DAYS,
    UNKNOWN_FAMILY,
    family_of,
    is_shut_down,
    shutdown_day,
)

O200K, CL100K = "o200k_base", "cl100k_base"
NEW, OLD = "max_completion_tokens", "max_tokens"

# A model of each family: window, largest reply, whether they share it, encoding, name of the limit.
ROWS = {
    "gpt-6-sol": ("gpt-6", 922_000, 128_000, False, O200K, NEW),
    "gpt-6.1-terra": ("gpt-6.1-terra", 922_000, 128_000, False, O200K, NEW),
    "gpt-6-astra": ("gpt-6-astra", 922_000, 128_000, False, O200K, NEW),
    "gpt-6.1-sol": ("gpt-6.1-sol", 922_000, 128_000, False, O200K, NEW),
    "gpt-6.2-astra-law": ("gpt-6.", None, None, True, O200K, NEW),
    "gpt-5.3-codex": ("gpt-5.", None, None, True, O200K, NEW),
    "gpt-5.6-luna": ("gpt-5.6", 922_000, 128_000, False, O200K, NEW),
    "gpt-5.5-2026-04-23": ("gpt-5.5", 1_050_000, 128_000, True, O200K, NEW),
    "gpt-5.4": ("gpt-5.4", 1_050_000, 128_000, True, O200K, NEW),
    "gpt-5.4-mini-2026-03-17": ("gpt-5.4-mini", 272_000, 128_000, False, O200K, NEW),
    "gpt-5.4-nano": ("gpt-5.4-nano", 272_000, 128_000, False, O200K, NEW),
    "gpt-5.2-2025-12-11": ("gpt-5.2", 272_000, 128_000, False, O200K, NEW),
    "gpt-5.1": ("gpt-5.1", 272_000, 128_000, False, O200K, NEW),
    "gpt-5-mini": ("gpt-5", 272_000, 128_000, False, O200K, NEW),
    "gpt-5-chat-latest": ("gpt-5-chat", 128_000, 16_384, True, O200K, NEW),
    "gpt-5.1-chat-latest": ("gpt-5.1-chat", 128_000, 16_384, True, O200K, NEW),
    "gpt-5.2-chat-latest": ("gpt-5.2-chat", 128_000, 16_384, True, O200K, NEW),
    "gpt-5.3-chat-latest": ("gpt-5.3-chat", 128_000, 16_384, True, O200K, NEW),
    "chat-latest": ("chat-latest", 400_000, 128_000, True, O200K, NEW),
    "o1-pro": ("o1", 200_000, 100_000, True, O200K, NEW),
    "o3-mini": ("o3", 200_000, 100_000, True, O200K, NEW),
    "o4-mini": ("o4-mini", 200_000, 100_000, True, O200K, NEW),
    "gpt-oss-120b": ("gpt-oss", None, None, True, O200K, OLD),
    "gpt-4.1-nano": ("gpt-4.1", 1_047_576, 32_768, True, O200K, OLD),
    "gpt-4.5-preview": ("gpt-4.5", 128_000, 16_384, True, O200K, OLD),
    "gpt-4o-mini-2024-07-18": ("gpt-4o", 128_000, 16_384, True, O200K, OLD),
    "gpt-4o-2024-05-13": ("gpt-4o-2024-05-13", 128_000, 4_096, True, O200K, OLD),
    "chatgpt-4o-latest": ("chatgpt-4o", 128_000, 16_384, True, O200K, OLD),
    "gpt-audio-1.5": ("gpt-audio", 128_000, 16_384, True, O200K, OLD),
    "gpt-4-turbo-2024-04-09": ("gpt-4-turbo", 128_000, 4_096, True, CL100K, OLD),
    "gpt-4-1106-preview": ("gpt-4-1106", 128_000, 4_096, True, CL100K, OLD),
    "gpt-4-0125-preview": ("gpt-4-0125", 128_000, 4_096, True, CL100K, OLD),
    "gpt-4-vision-preview": ("gpt-4-vision", 128_000, 4_096, True, CL100K, OLD),
    "gpt-4-32k-0613": ("gpt-4-32k", 32_768, 4_096, True, CL100K, OLD),
    "gpt-4-0613": ("gpt-4", 8_192, 4_096, True, CL100K, OLD),
    "gpt-3.5-turbo-1106": ("gpt-3.5-turbo", 16_385, 4_096, True, CL100K, OLD),
    "gpt-35-turbo": ("gpt-35-turbo", 16_385, 4_096, True, CL100K, OLD),
    "gpt-3.5-turbo-instruct": ("gpt-3.5-turbo-instruct", 8_192, 4_096, True, CL100K, OLD),
    "gpt-35-turbo-instruct": ("gpt-35-turbo-instruct", 8_192, 4_096, True, CL100K, OLD),
    "davinci-002": ("davinci-002", 16_384, 4_096, True, CL100K, OLD),
    "babbage-002": ("babbage-002", 16_384, 4_096, True, CL100K, OLD),
    "code-davinci-002": ("code-davinci", 8_001, 8_001, True, CL100K, OLD),
    "text-davinci-003": ("text-davinci", 4_097, 4_097, True, CL100K, OLD),
    "text-curie-001": ("text-curie", 2_049, 2_049, True, CL100K, OLD),
    "text-babbage-001": ("text-babbage", 2_049, 2_049, True, CL100K, OLD),
    "text-ada-001": ("text-ada", 2_049, 2_049, True, CL100K, OLD),
    "text-chat-davinci-002-20230126": ("text-chat-davinci", 4_097, 4_097, True, CL100K, OLD),
}


@pytest.mark.parametrize("model", ROWS)
def test_the_row_of_a_model(model: str) -> None:
    family = family_of(model)
    assert (
        family.prefix,
        family.max_input,
        family.max_output,
        family.shares_window,
        family.encoding,
        family.limit_name,
    ) == ROWS[model]
    is_text = re.search(r"instruct|davinci|babbage|text-", model) is not None
    assert family.endpoint == ("completions" if is_text else "chat")
    # What OpenAI has published: the cookbook's notebook on counting tokens.
    is_published = re.match(r"gpt-4(?!\.)|chatgpt-4o|gpt-3|davinci|babbage", model) is not None
    assert family.is_approximate == (not is_published)


def test_every_row_is_tested_and_reached_by_its_own_prefix() -> None:
    assert sorted(row[0] for row in ROWS.values()) == sorted(row.prefix for row in FAMILIES)
    for family in FAMILIES:
        assert family_of(family.prefix) is family


def test_what_every_row_refuses_is_tested() -> None:
    assert {family_of(model).prefix for model in REFUSED} >= {row.prefix for row in FAMILIES}


SAMPLING = {"temperature", "top_p", "logprobs", "top_logprobs"}
PENALTIES = {"presence_penalty", "frequency_penalty"}

# What is refused by default, with `reasoning_effort="none"` and with `"low"`: wire facts, A.2.
REFUSED: dict[str, tuple[set[str], set[str], set[str]]] = {
    "o1": (SAMPLING | PENALTIES,) * 3,
    "o3": (SAMPLING | PENALTIES | {"stop"},) * 3,
    "o4-mini": (SAMPLING | PENALTIES | {"stop"},) * 3,
    "gpt-5-nano": (SAMPLING | PENALTIES | {"stop"},) * 3,
    "gpt-5-chat-latest": (set(), set(), set()),
    **dict.fromkeys(
        ["gpt-5.1", "gpt-5.2", "gpt-5.4", "gpt-5.4-mini", "gpt-5.4-nano"],
        (PENALTIES | {"stop"}, PENALTIES | {"stop"}, SAMPLING | PENALTIES | {"stop"}),
    ),
    **dict.fromkeys(
        ["gpt-5.5", "gpt-5.6-sol"],
        (SAMPLING | PENALTIES | {"stop"}, PENALTIES | {"stop"}, SAMPLING | PENALTIES | {"stop"}),
    ),
    **dict.fromkeys(
        ["gpt-6-sol", "gpt-6-luna", "gpt-6.1-terra"],
        (SAMPLING | PENALTIES, PENALTIES, SAMPLING | PENALTIES),
    ),
    "gpt-6-astra": (SAMPLING | PENALTIES,) * 3,
    "gpt-6.1-sol": (SAMPLING | PENALTIES,) * 3,
    **dict.fromkeys(
        ["gpt-6.2-sol", "gpt-6.7", "gpt-5.7-mini", "chat-latest"], (set(), set(), set())
    ),
    **dict.fromkeys(
        ["gpt-5.1-chat-latest", "gpt-5.2-chat-latest"],
        (PENALTIES | {"stop"}, PENALTIES | {"stop"}, SAMPLING | PENALTIES | {"stop"}),
    ),
    "gpt-5.3-chat-latest": (
        SAMPLING | PENALTIES | {"stop"},
        PENALTIES | {"stop"},
        SAMPLING | PENALTIES | {"stop"},
    ),
    **dict.fromkeys(
        [
            row
            for row in ROWS
            if re.match(r"gpt-4|chatgpt|gpt-3|gpt-audio|gpt-oss|.*davinci|babbage|text-", row)
        ]
        + ["llama3.1", "curie"],
        (set(), set(), set()),
    ),
}


@pytest.mark.parametrize("model", REFUSED)
def test_what_a_family_refuses_and_when(model: str) -> None:
    family = family_of(model)
    by_default, with_none, with_low = REFUSED[model]
    assert family.refused({}) == by_default
    assert family.refused({"reasoning_effort": "none"}) == with_none
    assert family.refused({"reasoning_effort": "low"}) == with_low


@pytest.mark.parametrize(
    ("model", "prefix"),
    [
        ("openai/gpt-4o", "gpt-4o"),
        ("openrouter/openai/gpt-4o:free", "gpt-4o"),
        ("ft:gpt-3.5-turbo:acme::7p4lURel", "gpt-3.5-turbo"),
        ("GPT-4", "gpt-4"),
        ("gpt-5.4@2026", "gpt-5.4"),
    ],
)
def test_what_surrounds_a_name_is_stripped(model: str, prefix: str) -> None:
    assert family_of(model).prefix == prefix


@pytest.mark.parametrize(
    "model",
    [
        "llama3.1:70b", "curie", "someone/ada-7b", "anthropic/claude", "", "mistral-large", "my-deployment", "gpt-4all-j", "gpt-4.7", "gpt-4omni",
        "o10", "gpt-50",
    ],
)  # fmt: skip
def test_an_unknown_model_fails_open(model: str) -> None:
    family = family_of(model)
    assert family is UNKNOWN_FAMILY
    assert family.prompt_limit(family.reserve(None)) is None
    assert family.refused({"reasoning_effort": "high"}) == frozenset()
    assert (family.encoding, family.is_approximate) == ("o200k_base", True)
    assert shutdown_day(model) is None


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("gpt-4", "2026-10-23"),
        ("gpt-4-0613", "2026-10-23"),
        ("gpt-4-0314", "2026-03-26"),
        ("gpt-3.5-turbo-0125", "2026-10-23"),
        ("gpt-3.5-turbo-1106", "2026-09-28"),
        ("ft:gpt-3.5-turbo-0125:acme::1", "2026-10-23"),
        ("openai/o1-2024-12-17", "2026-10-23"),
        ("gpt-5-mini-2025-08-07", "2026-12-11"),
        ("gpt-4o-2024-11-20", "2027-01-14"),
        ("gpt-4o-2024-05-13", "2026-10-23"),
        ("text-davinci-003", "2024-01-04"),
        ("code-davinci-002", "2023-03-23"),
        ("chatgpt-4o-latest", "2026-02"),
        ("gpt-5.4-mini", None),
        ("gpt-5.2", None),
        ("gpt-5-codex", None),
        ("gpt-6-sol", None),
    ],
)
def test_the_last_day_of_a_model(model: str, day: str | None) -> None:
    assert shutdown_day(model) == day


def test_days_are_written_as_iso_8601_does() -> None:
    assert all(re.fullmatch(r"20\d\d-[01]\d(-[0-3]\d)?", day) for day in SHUTDOWN_DAYS.values())


@pytest.mark.parametrize(
    ("model", "when", "is_over"),
    [
        ("chatgpt-4o-latest", datetime(2026, 1, 31, tzinfo=UTC), False),
        ("chatgpt-4o-latest", datetime(2026, 2, 1, tzinfo=UTC), True),
        ("o3", datetime(2026, 12, 10, tzinfo=UTC), False),
        ("o3", datetime(2026, 12, 11, tzinfo=UTC), True),
        ("llama3.1", datetime(2036, 1, 1, tzinfo=UTC), False),
    ],
)
def test_the_day_itself_is_past(model: str, when: datetime, is_over: bool) -> None:
    assert is_shut_down(model, when) == is_over


def test_the_room_for_the_reply() -> None:
    assert family_of("gpt-5.4").reserve(None) == 4096
    assert family_of("gpt-4").reserve(None) == 8192 // 4
    assert family_of("gpt-4").reserve(17) == 17
    assert family_of("gpt-4").with_window(400).reserve(None) == 100


def test_a_shared_window_is_shared_and_another_is_not() -> None:
    assert family_of("gpt-5.4").prompt_limit(50_000) == 1_000_000
    assert family_of("gpt-5.4-mini").prompt_limit(50_000) == 272_000
    assert family_of("gpt-5.4-mini").with_window(60_000).prompt_limit(50_000) == 10_000
