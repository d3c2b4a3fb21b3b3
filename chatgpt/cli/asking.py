"""`chatgpt ask`: one prompt, one answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Unpack

import click

from chatgpt.cli.answer_views import show_answer, view_of
from chatgpt.cli.client_options import TalkOptions
from chatgpt.cli.exit_codes import say
from chatgpt.cli.standard_input import joined_prompt
from chatgpt.cli.talks import name_new_conversation, note_what_is_missing, open_place, open_talk


def ask(
    words: Sequence[str],
    *,
    is_streamed: bool | None,
    is_raw: bool,
    is_json: bool,
    **options: Unpack[TalkOptions],
) -> None:
    """Ask, and print the answer.

    Args:
        words: the prompt.
        is_streamed: whether the answer is asked for as a stream; `None` for what suits its view.
        is_raw: whether it is printed as it is.
        is_json: whether it is printed as JSON.
        options: the conversation, and the client.
    """
    if is_raw and is_json:
        raise click.UsageError("--raw is for text alone: leave out one of --raw and --json.")
    if is_streamed is None:
        is_streamed = not is_json
    with ExitStack() as stack:
        store, begun = open_place(stack, options)
        talk = open_talk(stack, options, store, begun)
        prompt = joined_prompt(words)  # waited for once all else is known to be right
        try:
            reply = show_answer(
                view_of(is_raw=is_raw, is_json=is_json, is_streamed=is_streamed),
                lambda show: talk.send(prompt, stream=is_streamed, on_progress=show),
            )
        except KeyboardInterrupt:
            if store is not None:
                say("stopped; nothing of it is kept")
            raise
        note_what_is_missing(reply)
        if store is not None and begun is None and options["name"] is not None:
            name_new_conversation(store, reply, options["name"])
