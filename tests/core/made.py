"""Refusals and figures of a server, for tests that step the official flow by hand."""

from __future__ import annotations

from typing import Any

from chatgpt import ChatMessage
from tests.stepping import Answered, count_words, json_answer, thread_of


def refused(message: str, param: str | None = None, code: str | None = None) -> Answered:
    return json_answer({"error": {"message": message, "param": param, "code": code}}, 400)


def unsupported(name: str) -> Answered:
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    return refused(message, name, "unsupported_parameter")


def changes_of(reply: ChatMessage) -> list[tuple[str, str]]:
    assert reply.context is not None
    return [(change.parameter, change.change) for change in reply.context.changes]


def too_long(limit: int, tokens: int) -> Answered:
    return refused(
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in "
        f"{tokens} tokens.",
        "messages",
        "context_length_exceeded",
    )


def usage(prompt_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": 5,
        "total_tokens": prompt_tokens + 5,
    }


def server_count(body: Any) -> int:
    return 3 + sum(3 + 1 + count_words(message["content"]) for message in body["messages"])


def cut_thread(text: str) -> list[ChatMessage]:
    *before, last = thread_of(["word " * 60, text])
    cut = ChatMessage(
        id=last.id, text=text, role="assistant", parent_message_id="m0", finish_reason="length"
    )
    return [*before, cut]
