"""The original's cases of text completions (npm `chatgpt` 4), replayed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chatgpt import (
    APITimeoutError,
    ChatGPTError,
    InvalidResponseError,
    StreamError,
    StreamInterruptedError,
)
from chatgpt.testing import RawAnswer
from tests.engines import Engine
from tests.recordings import TEXT_GOLDEN
from tests.test_golden import (
    Replay,
    check_case,
    check_progress,
    check_requests,
    raw_answer,
    replaying,
)

DIFFERENT = {
    "v4-nochoices": "typed errors",
    "v4-prefix-suffix": "an empty prefix or suffix is none; the original falls back to its own",
    "v4-stream-no-done": "typed, with the partial text; the original hangs",
    "v4-timeout": "typed",
}


class TextReplay(Replay):
    """A case of text completions: the original's own prefix is given as the instructions."""

    defaults: Mapping[str, Any] = {
        "maxModelTokens": 4096,
        "maxResponseTokens": 1000,
        "systemMessage": None,
        "completionParams": {
            "model": "text-davinci-003",
            "temperature": 0.8,
            "top_p": 1,
            "presence_penalty": 1,
        },
    }

    def _client(self, given: dict[str, Any]) -> Any:
        label = given.get("assistantLabel", "ChatGPT")
        instructions = (
            f"You are {label}, a large language model trained by OpenAI.\nCurrent date: 2023-03-20"
        )
        return super()._client({"systemMessage": instructions, **given})


@pytest.mark.parametrize("name", [name for name in TEXT_GOLDEN if name not in DIFFERENT])
def test_a_case_that_agrees(engine: Engine, name: str) -> None:
    with replaying(engine, name, TextReplay) as replay:
        check_case(replay)


def test_the_list_of_differences_names_cases() -> None:
    assert set(DIFFERENT) <= set(TEXT_GOLDEN)
    assert len(TEXT_GOLDEN) == 17


# --- each difference -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (0, InvalidResponseError, "holds no reply"),
        (1, StreamError, "Something"),
        (2, StreamError, "Too many"),
    ],
)
def test_nochoices(engine: Engine, number: int, kind: type[ChatGPTError], message: str) -> None:
    with replaying(engine, "v4-nochoices", TextReplay) as replay:
        for call in replay.calls[:number]:
            with pytest.raises(ChatGPTError):
                replay.send(call)
        with pytest.raises(kind, match=message):
            replay.send(replay.calls[number])


def test_prefix_suffix(engine: Engine) -> None:
    with replaying(engine, "v4-prefix-suffix", TextReplay) as replay:
        for call in replay.calls:
            replay.send(call)
        prompts = [request.json["prompt"] for request in replay.server.requests]
        original = [request["body_json"]["prompt"] for request in replay.case["requests"]]
        assert prompts[0] == original[0]
        assert prompts[1] == "User:\n\nHello<|endoftext|>"
        replay.answer_with(raw_answer(replay.case["requests"][0]["answered_with"]))
        call = {**replay.calls[0], "args": ["Hello", {}]}
        replay.send(call)
        assert replay.server.requests[-1].json["prompt"] == original[1]


def test_stream_no_done(engine: Engine) -> None:
    with replaying(engine, "v4-stream-no-done", TextReplay) as replay:
        with pytest.raises(StreamInterruptedError) as caught:
            replay.send(replay.calls[0])
        assert caught.value.partial == "Hello"
        check_progress(replay, replay.calls[0])
        check_requests(replay)


def test_timeout(engine: Engine) -> None:
    with replaying(engine, "v4-timeout", TextReplay) as replay:
        silent = RawAnswer([b"", b"HTTP/1.1 200 OK\r\n\r\n"], pause=1.5)
        replay.answer_with(silent)
        with pytest.raises(APITimeoutError) as caught:
            replay.send(replay.calls[0])
        assert caught.value.limit == "total"
