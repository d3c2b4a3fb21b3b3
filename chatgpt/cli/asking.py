"""`chatgpt ask`: one prompt, one answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Unpack

from chatgpt.cli.answer_views import show_answer, view_of
from chatgpt.cli.standard_input import joined_prompt
from chatgpt.cli.talks import TalkOptions, give_name, note_what_is_missing, open_place, open_talk


class AskOptions(TalkOptions):
    """How a question is asked, and its answer shown.

    Attributes:
        is_streamed: whether the answer is asked for as a stream; `None` for what suits its view.
        is_raw, is_json: how the answer is shown.
    """

    is_streamed: bool | None
    is_raw: bool
    is_json: bool


def ask(words: Sequence[str], **options: Unpack[AskOptions]) -> None:
    """Ask, and print the answer."""
    is_json, is_streamed = options["is_json"], options["is_streamed"]
    if is_streamed is None:
        is_streamed = not is_json
    with ExitStack() as stack:
        store, begun = open_place(stack, options)
        talk = open_talk(stack, options, store, begun)
        prompt = joined_prompt(words)  # waited for once all else is known to be right
        reply = show_answer(
            view_of(is_raw=options["is_raw"], is_json=is_json, is_streamed=is_streamed),
            lambda show: talk.send(prompt, stream=is_streamed, on_progress=show),
        )
        note_what_is_missing(reply)
        if store is not None and begun is None and options["name"] is not None:
            give_name(store, reply, options["name"])
