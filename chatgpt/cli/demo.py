"""`chatgpt demo`: a conversation with the embedded server, which shows what the SDK does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import click

from chatgpt import ChatGPTAPI, ChatMessage
from chatgpt.cli.answer_views import show_answer, view_of
from chatgpt.cli.conversations import print_messages
from chatgpt.cli.terminal import console
from chatgpt.testing import ChatGPTServer, Fault

QUESTIONS: Final = (
    "My name is Ada, and I like short answers.",
    "What is a monad? Grüße aus 東京 👋",
    "And what was the first thing that I told you?",
)
PAUSE: Final = 0.02
"""Seconds between two parts of an answer: as in life, a word takes a moment."""


def demo() -> None:
    """Hold the conversation, and print it as a person would see it."""
    with ChatGPTServer() as server:
        server.inject(*[Fault(part_delay=PAUSE)] * (len(QUESTIONS) + 1))
        click.echo(f"The embedded server listens at {server.base_url}: no key, no network.")
        with ChatGPTAPI(api_key=server.api_key, api_base_url=server.base_url) as client:
            chat = client.conversation()
            for question in QUESTIONS:
                console().print(f"\nYou: {question}", style="bold")
                _show(partial(chat.send, question))
            console().print(
                "\nThe last answer once more; the one before stays beside it:", style="bold"
            )
            reply = _show(chat.regenerate)
            console().print("\nThe thread, from the store:", style="bold")
            print_messages(client.thread(reply.id))


def _show(answer: Callable[..., ChatMessage]) -> ChatMessage:
    """Show an answer as it is written, and what it took."""
    reply = show_answer(view_of(is_raw=False), lambda show: answer(on_progress=show))
    tokens = reply.usage.total_tokens if reply.usage is not None else 0
    console().print(f"[{reply.model}, {tokens} tokens, {reply.finish_reason}]", style="dim")
    return reply
