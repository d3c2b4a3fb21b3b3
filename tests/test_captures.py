"""Raw answers of real servers, served as they were: each is a right reply or a typed error."""

from __future__ import annotations

import pytest

from chatgpt import (
    AuthenticationError,
    BadRequestError,
    ChatGPTAPI,
    ChatGPTError,
    ContextLengthError,
    InternalServerError,
    InvalidResponseError,
    NotFoundError,
    RateLimitError,
)
from chatgpt.core.moderation import send_moderation
from chatgpt.testing import ChatGPTServer, RawAnswer
from tests.recordings import CAPTURES, body_of, capture
from tests.stepping import Answered, Stepper, settings, surroundings

HELLO = "Hello! How can I help you today? Grüße 你好 👋"
NICE = "Hello. It's nice to meet you."
WELL = "Hello! I'm doing well, thank you for asking. Grüße 👋"
SLOW = "A slow answer that takes its time, chunk by chunk."
GIBBERISH = "l\b$g Op\x0felsely"

REPLIES = {
    "litellm-chat": (HELLO, "stop"),
    "litellm-chat-gzip": (HELLO, "stop"),
    "litellm-chat-stream": (HELLO, "stop"),
    "litellm-chat-stream-gzip": (HELLO, "stop"),
    "litellm-chat-stream-usage": (HELLO, "stop"),
    "litellm-completions": ("Hello from the legacy endpoint.", "stop"),
    "litellm-completions-stream": ("Hello from the legacy endpoint.", "stop"),
    "litellm-completions-chatmodel-stream": (HELLO, "stop"),
    "llamacpp-chat": (GIBBERISH, "length"),
    "llamacpp-chat-stream": (GIBBERISH, "length"),
    "llamacpp-chat-stream-usage": (GIBBERISH, "length"),
    "mockaiapi-chat": (NICE, "stop"),
    "mockaiapi-chat-stream": (NICE, "stop"),
    "mockaiapi-chat-stream-delay": ("Mock stream for: hello", "stop"),
    "mockaiapi-completions": (NICE, "stop"),
    "mockaiapi-completions-stream": (NICE, "stop"),
    "nginx-buf-chat-stream-slow": (SLOW, "stop"),
    "nginx-nobuf-chat-stream-slow": (SLOW, "stop"),
    "nginx-gzipbuf-chat-stream-slow": (SLOW, "stop"),
    "nginx-gzipnobuf-chat-stream-slow": (SLOW, "stop"),
    "openaimockapi-chat": (WELL, "stop"),
    "openaimockapi-chat-stream": (WELL, "stop"),
}
"""Text and finish reason."""

ERRORS: dict[str, tuple[type[ChatGPTError], int, str | None]] = {
    "litellm-401-badkey": (BadRequestError, 400, "400"),
    "litellm-401-malformedkey": (BadRequestError, 400, "400"),
    "litellm-401-nokey": (AuthenticationError, 401, "401"),
    "litellm-404": (NotFoundError, 404, None),
    "litellm-badjson": (BadRequestError, 400, "400"),
    "litellm-context": (ContextLengthError, 400, "400"),
    "litellm-context-stream": (ContextLengthError, 400, "400"),
    "litellm-models": (InvalidResponseError, 200, None),
    "litellm-ratelimit": (RateLimitError, 429, "429"),
    "litellm-ratelimit-stream": (RateLimitError, 429, "429"),
    "mockaiapi-404": (NotFoundError, 404, None),
    "mockaiapi-422": (BadRequestError, 400, None),
    "mockaiapi-badjson": (BadRequestError, 400, None),
    "mockaiapi-chat-400": (BadRequestError, 400, "mock_400"),
    "mockaiapi-chat-401": (AuthenticationError, 401, "mock_401"),
    "mockaiapi-chat-429": (RateLimitError, 429, "mock_429"),
    "mockaiapi-chat-500": (InternalServerError, 500, "mock_500"),
    "mockaiapi-chat-503": (InternalServerError, 503, "mock_503"),
    "mockaiapi-chat-stream-429": (RateLimitError, 429, "mock_429"),
    "mockaiapi-moderations": (InvalidResponseError, 200, None),
    "nginx-readtimeout-stream": (InternalServerError, 504, None),
    "openaimockapi-401": (AuthenticationError, 401, "invalid_api_key"),
    "openaimockapi-401-nokey": (AuthenticationError, 401, "invalid_api_key"),
    "openaimockapi-badjson": (BadRequestError, 400, "invalid_request_error"),
    "openaimockapi-completions": (BadRequestError, 400, "invalid_request_error"),
    "openaimockapi-nomatch": (BadRequestError, 400, "invalid_request_error"),
}
"""Class, status and code."""


def test_the_tables_are_complete() -> None:
    assert sorted([*REPLIES, *ERRORS]) == CAPTURES


@pytest.mark.parametrize("size", [None, 1, 7], ids=["whole", "byte-by-byte", "by-7"])
@pytest.mark.parametrize("name", REPLIES)
def test_a_recorded_reply(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer, name: str, size: int | None
) -> None:
    raw = capture(name)
    pieces = [raw] if size is None else [raw[n : n + size] for n in range(0, len(raw), size)]
    chatgpt_server.replies = [RawAnswer(pieces)]
    reply = client.send_message("hello", stream="stream" in name)
    text, finish_reason = REPLIES[name]
    assert (reply.text, reply.finish_reason) == (text, finish_reason)


@pytest.mark.parametrize("is_streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("name", ERRORS)
def test_a_recorded_error(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer, name: str, is_streamed: bool
) -> None:
    chatgpt_server.replies = [RawAnswer([capture(name)])]
    with pytest.raises(ChatGPTError) as caught:
        client.send_message("hello", stream=is_streamed)
    error = caught.value
    assert (type(error), error.status_code, error.code) == ERRORS[name]
    assert error.message


def test_a_recorded_moderation() -> None:
    stepper = Stepper(Answered(body_of(capture("mockaiapi-moderations"))))
    moderation = stepper.run(send_moderation("hello", "m", settings(), surroundings()))
    assert not moderation.flagged
    assert moderation.category_scores == {"violence": 0.01, "self-harm": 0.01, "hate": 0.0, "sexual": 0.0, "harassment": 0.0}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("litellm-chat", (10, 20, 30, False)),
        ("mockaiapi-chat-stream", (2, 12, 14, False)),
        ("llamacpp-chat", (6, 13, 19, False)),
        ("mockaiapi-completions-stream", (2, 12, 14, False)),
    ],
)
def test_recorded_usage(
    client: ChatGPTAPI,
    chatgpt_server: ChatGPTServer,
    name: str,
    figures: tuple[int, int, int, bool],
) -> None:
    chatgpt_server.replies = [RawAnswer([capture(name)])]
    usage = client.send_message("hello", stream="stream" in name).usage
    assert usage is not None
    assert (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        usage.estimated,
    ) == figures


@pytest.mark.parametrize("name", ["litellm-completions-stream", "llamacpp-chat-stream-usage"])
def test_usage_that_a_server_did_not_tell_is_estimated(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer, name: str
) -> None:
    """LiteLLM sends zeros with every chunk; llama-cpp-python sends nothing though it was asked."""
    chatgpt_server.replies = [RawAnswer([capture(name)])]
    usage = client.send_message("hello", stream=True).usage
    assert usage is not None
    assert usage.estimated
    assert usage.completion_tokens > 0


def test_bodies_are_read_as_they_were_framed() -> None:
    assert body_of(capture("nginx-gzipnobuf-chat-stream-slow")).startswith(b"data: {")
