"""What must hold for every answer of a server, however broken.

Strategy: an exchange is stepped by hand (`tests.stepping`), its parts, its reply or its error are written
down as an `Outcome`, and while that is done everything that must hold for any answer is asserted. Two
outcomes are equal when a caller sees the same.

Rules, for every answer:

1. It gives a reply or a `ChatGPTError`, never another exception, after a bounded number of steps.
2. The deltas add up to the text of each part, to the text of the reply, and to `partial`. What comes with
   an error of the web flow is part of `partial` alone: it is the last that is known, and no part any more.
3. Nothing is stored unless there is a reply, and then it is the question and the reply.
4. Every text is valid Unicode.
5. Errors pickle, have a repr, and a message of bounded length.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from chatgpt import ChatGPTError, ChatMessage, StreamError
from chatgpt.core.needs import Need, ReportProgress, SendRequest, TransportFailure
from chatgpt.stores import MemoryStore
from tests.core.web import made
from tests.stepping import Answered, Stepper, send

MOST_STEPS: Final = 200
"""Steps beside the reads and the reports of an exchange: a dozen, and as many again for each request."""
MOST_REQUESTS: Final = 50
LONGEST_MESSAGE: Final = 1100
"""Characters of an error: 500 of the status line, 500 of the body, and what is said around them."""

TEXTS_OF_ERRORS: Final = (
    "message", "status_text", "code", "param", "type", "request_id", "partial",
)  # fmt: skip
TEXTS_OF_MESSAGES: Final = (
    "id", "text", "delta", "model", "reasoning", "finish_reason", "conversation_id", "request_id",
)  # fmt: skip


@frozen
class Outcome:
    """What a caller sees of an exchange.

    Attributes:
        parts: delta, text, reasoning and whether it is a rewriting, of each part.
        text: that of the reply; `None` where there is none.
        error: class, message and texts of the error, in place of a reply.
    """

    parts: tuple[tuple[object, ...], ...]
    text: str | None
    error: tuple[object, ...] | None


class BoundedStepper(Stepper):
    """Gives the same answer to every request, and never steps for ever.

    Args:
        make: makes the answer.
        reads: how many chunks it has.
    """

    def __init__(self, make: Callable[[], Answered], reads: int) -> None:
        super().__init__(*[lambda _: make()] * MOST_REQUESTS, store=MemoryStore())
        self._left = MOST_STEPS + MOST_REQUESTS * (reads + 3)

    def meet(self, need: Need[Any]) -> object:
        """The answer to one need."""
        if not isinstance(need, ReportProgress):
            self._left -= 1
        assert self._left, "the exchange never ends"
        assert self.answers or not isinstance(need, SendRequest), "the exchange sends for ever"
        return super().meet(need)


def play(
    reads: Sequence[bytes],
    *,
    is_web: bool = False,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    failure: TransportFailure | float | None = None,
    is_stripped: bool = False,
    **options: Any,
) -> Outcome:
    """Play one exchange, check it, and return what a caller sees.

    Args:
        reads: the body, as it is read.
        is_web: whether it is the web flow; then the `options` are those of `made.send`.
        status: of the answer.
        headers: of the answer.
        failure: how the connection ends: so, or with so many seconds of silence; well, by default.
        is_stripped: whether white space around the text is no part of the reply.
        options: of `tests.stepping.send`.
    """
    chunks = [*filter(None, reads), *([failure] if failure is not None else [])]
    stepper = BoundedStepper(lambda: Answered(*chunks, status=status, headers=headers), len(chunks))
    ask: Callable[..., ChatMessage] = made.send if is_web else send
    wants_parts = options.get("wants_parts", is_web)
    reply: ChatMessage | None = None
    error: ChatGPTError | None = None
    try:
        reply = ask(stepper, "hi", **options)
    except ChatGPTError as raised:
        error = raised
    parts = stepper.parts
    texts = check_parts(parts)
    stored = [] if is_web else list(stepper.store.all_messages())
    if reply is not None:
        check_message(reply)
        if wants_parts:
            last = texts[-1] if texts else ""
            assert reply.text == (last.strip() if is_stripped else last), (reply.text, texts)
        assert is_web or [message.text for message in stored] == ["hi", reply.text]
    else:
        assert error is not None
        check_error(error)
        assert not stored, "a failed exchange has stored something"
        if wants_parts:
            check_partial(error, texts, is_web=is_web)
    return Outcome(
        tuple((part.delta, part.text, part.reasoning, part.rewritten) for part in parts),
        None if reply is None else reply.text,
        None if error is None else shown_of(error),
    )


def shown_of(error: ChatGPTError) -> tuple[object, ...]:
    """What a caller sees of an error."""
    return (type(error), *(getattr(error, name) for name in TEXTS_OF_ERRORS))


def check_parts(parts: Sequence[ChatMessage]) -> list[str]:
    """Check that each part goes on where the one before ended; return their texts."""
    texts: list[str] = []
    before = ""
    for part in parts:
        check_message(part)
        delta = part.delta
        assert delta is not None
        if part.rewritten:
            kept = part.text.removesuffix(delta)
            assert part.text == kept + delta
            assert before.startswith(kept)
            assert before != kept
        else:
            assert part.text == before + delta, (before, delta, part.text)
        before = part.text
        texts.append(before)
    return texts


def check_partial(error: ChatGPTError, texts: Sequence[str], *, is_web: bool) -> None:
    """Check that an error carries the text that was reported."""
    last = texts[-1] if texts else ""
    partial = error.partial
    if partial is None:
        assert not last
    elif partial != last:
        assert is_web, (partial, last)
        assert isinstance(error, StreamError), (partial, last)


def check_message(message: ChatMessage) -> None:
    """Check a reply or a part: its texts, and that it can be shown."""
    for name in TEXTS_OF_MESSAGES:
        check_text(name, getattr(message, name))
    assert repr(message)


def check_error(error: ChatGPTError) -> None:
    """Check an error: its texts, that it is short, can be shown, and pickles."""
    for name in TEXTS_OF_ERRORS:
        check_text(name, getattr(error, name))
    if isinstance(error.body, str):
        check_text("body", error.body)
    assert error.message
    assert len(error.message) <= LONGEST_MESSAGE, len(error.message)
    assert repr(error)
    assert len(repr(error)) < 20 * LONGEST_MESSAGE
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - it was pickled here
    assert shown_of(copy) == shown_of(error)


def check_text(name: str, text: object) -> None:
    """Check that a text is valid Unicode."""
    if text is not None:
        assert isinstance(text, str), (name, type(text))
        text.encode("utf-8")
