"""How an answer appears on standard output.

Strategy: a view is entered before the question is sent, is shown each part of the answer (`show` is what a client
calls as `on_progress`), and in the end the whole of it. Whatever ends it early leaves what came on the screen.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from attrs import asdict

from chatgpt import ChatMessage, StoreError
from chatgpt.cli.terminal import can_move, console, harmless, is_person_reading

if TYPE_CHECKING:
    from rich.status import Status


OnProgress: TypeAlias = Callable[[ChatMessage], object]
"""What a client calls with each part of an answer."""


class AnswerView:
    """Shows one answer; this one shows nothing."""

    def __enter__(self) -> Self:
        """The question is about to be sent."""
        return self

    def show(self, part: ChatMessage) -> None:
        """A part came."""

    def finish(self, reply: ChatMessage) -> None:
        """The answer is complete."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing more comes."""


def view_of(*, is_raw: bool, is_json: bool = False, is_streamed: bool = True) -> AnswerView:
    """Choose the view of an answer: as it is, as JSON, or, on a terminal that can move its cursor, as Markdown.

    Args:
        is_raw: whether the text is wanted as it is.
        is_json: whether JSON is.
        is_streamed: whether its parts are.
    """
    if is_json:
        return JsonLinesView() if is_streamed else JsonView()
    if is_raw or not can_move():
        return RawView()
    from chatgpt.cli.markdown_view import MarkdownView

    return MarkdownView()


def show_answer(view: AnswerView, answer: Callable[[OnProgress], ChatMessage]) -> ChatMessage:
    """Show an answer as it is written.

    Args:
        view: where it appears.
        answer: asks for it; it is given the function that shows each part.

    Returns:
        The whole of it. Where it cannot be kept it is shown all the same, before the `StoreError` is raised.
    """
    with view:
        try:
            reply = answer(view.show)
        except StoreError as error:
            if error.unsaved_messages:
                view.finish(error.unsaved_messages[-1])
            raise
        view.finish(reply)
    return reply


class RawView(AnswerView):
    """The text as it comes. A terminal shows a spinner before it, and is sent nothing that it would obey."""

    def __init__(self) -> None:
        self._is_terminal = is_person_reading()
        self._spinner: Status | None = None
        self._last = ""  # the last letter that was written

    def __enter__(self) -> Self:
        if can_move():
            self._spinner = console().status("")
            try:
                self._spinner.start()
            except BaseException:  # an interrupt: nobody else would show the cursor again
                self._stop_spinner()
                raise
        return self

    def show(self, part: ChatMessage) -> None:
        """Write what is new; what was written cannot be taken back, so text that was rewritten comes anew."""
        self._write(f"\n{part.text}" if part.rewritten else part.delta or "")

    def finish(self, reply: ChatMessage) -> None:
        """Write the whole where no part was shown."""
        if not self._last:
            self._write(reply.text)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Where something else has ended the answer, an output that is gone is no news.
        with suppress(*(() if kind is None else (OSError,))):
            self._stop_spinner()
            if self._last not in ("", "\n"):
                self._write("\n")

    def _write(self, text: str) -> None:
        if text:
            self._stop_spinner()
            self._last = text[-1]
            sys.stdout.write(harmless(text) if self._is_terminal else text)
            sys.stdout.flush()

    def _stop_spinner(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None


class JsonView(AnswerView):
    """One JSON object: the reply."""

    def finish(self, reply: ChatMessage) -> None:
        """Write the reply."""
        print_json(json_of(reply))


class JsonLinesView(JsonView):
    """JSON Lines: an object for each part, with `delta`, and the reply in the end."""

    def show(self, part: ChatMessage) -> None:
        """Write what is new."""
        if part.rewritten:
            print_json({"text": part.text})
        elif part.delta:
            print_json({"delta": part.delta})


def json_of(message: ChatMessage) -> dict[str, object]:
    """What is told of a message as JSON: always the same keys, `None` where something is not known."""
    usage = message.usage
    return {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "parent_message_id": message.parent_message_id,
        "role": message.role,
        "name": message.name,
        "text": message.text,
        "reasoning": message.reasoning,
        "model": message.model,
        "finish_reason": message.finish_reason,
        "usage": usage and asdict(usage),
        "created_at": message.created_at and message.created_at.isoformat(),
        "request_id": message.request_id,
    }


def print_json(value: object) -> None:
    """Write a value as one line of JSON. It is ASCII: no terminal obeys it, and every encoding has it."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
