"""One call of a client under a watchdog, and what came of it.

Strategy: a call is blocking for a test, on every engine. It runs in a thread of its own, which is given
`DEADLINE` seconds; then it hangs, and the test fails at once instead of standing still. What it brought is
one value, `Seen`, that a test compares and the report shows.

Rules:

1. Three things must never happen, and are counted before the test fails: a hang, an error that is no
   `ChatGPTError`, and an error whose `partial` is not the text of the parts that were handed out.
2. A reply is the text of its parts, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pytest
from attrs import frozen

from chatgpt import ChatGPTError, ChatMessage
from tests.reliability.report import Report

DEADLINE: Final = 10.0
"""Seconds that a call may take under a fault."""

Call = Callable[[list[str]], object]
"""Does something with a client, and notes the deltas of the parts that it is handed."""


@frozen
class Seen:
    """What a caller saw of one call.

    Attributes:
        kind: the name of the error's class; `None` where there was a reply.
        text: the text of the reply; that of the error's `partial` where there was none.
        status_code, code, limit: what the error says.
        message: its words.
        error: the error itself.
    """

    kind: str | None = None
    text: str | None = None
    status_code: int | None = None
    code: str | None = None
    limit: str | None = None
    message: str = ""
    error: ChatGPTError | None = None

    @property
    def outcome(self) -> tuple[str | None, str, int | None, str | None, str | None]:
        """All that is the same on every engine: class, text, status, code, limit."""
        return self.kind, self.text or "", self.status_code, self.code, self.limit

    @property
    def in_words(self) -> str:
        """For the report, in Markdown."""
        if self.kind is None:
            return "the reply"
        words = f"`{self.kind}`"
        for name in ("status_code", "code", "limit"):
            if (value := getattr(self, name)) is not None:
                words += f", `{name} == {value!r}`"
        return words + (", the text so far in `partial`" if self.text else "")


def reply_seen(text: str) -> Seen:
    """What is to be seen where there is a reply."""
    return Seen(text=text)


def error_seen(
    kind: type[ChatGPTError],
    status_code: int | None = None,
    code: str | None = None,
    *,
    partial: str = "",
    limit: str | None = None,
) -> Seen:
    """What is to be seen where there is an error."""
    return Seen(kind.__name__, partial, status_code, code, limit)


def observe(report: Report, call: Call, *, is_watched: bool, deadline: float = DEADLINE) -> Seen:
    """Run one call, and tell what came of it.

    Args:
        report: counts what must not happen.
        call: the call; it appends the delta of each part that it is handed to the list it is given.
        is_watched: whether it is handed parts at all.
        deadline: seconds after which it hangs.
    """
    parts: list[str] = []
    outcomes: list[object] = []

    def work() -> None:
        try:
            outcomes.append(call(parts))
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            outcomes.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(deadline)
    if not outcomes:
        report.count("hangs")
        pytest.fail(f"The call was not done after {deadline:g} s; it was handed {parts!r}.")
    return _classified(report, outcomes[0], "".join(parts) if is_watched else None)


def _classified(report: Report, outcome: object, told: str | None) -> Seen:
    if isinstance(outcome, ChatMessage):
        if told is not None and told != outcome.text:
            report.count("lost partials")
            pytest.fail(f"The reply is {outcome.text!r}, but the parts were {told!r}.")
        return Seen(text=outcome.text)
    if not isinstance(outcome, ChatGPTError):
        report.count("untyped errors")
        if not isinstance(outcome, BaseException):
            pytest.fail(f"Neither a reply nor an error: {outcome!r}.")
        outcome.add_note("It is no ChatGPTError.")
        raise outcome
    if told is not None and (outcome.partial or "") != told:
        report.count("lost partials")
        pytest.fail(f"partial is {outcome.partial!r}, but the parts were {told!r}: {outcome!r}")
    return Seen(
        type(outcome).__name__,
        outcome.partial,
        outcome.status_code,
        outcome.code,
        getattr(outcome, "limit", None),
        outcome.message,
        outcome,
    )


# --- the ways to send a message --------------------------------------------------------------


def see_plain(
    report: Report, client: Any, text: str = "hi", *, deadline: float = DEADLINE, **options: Any
) -> Seen:
    """Send a message and wait for the reply."""

    def call(_: list[str]) -> object:
        return client.send_message(text, **options)

    return observe(report, call, is_watched=False, deadline=deadline)


def see_progress(
    report: Report, client: Any, text: str = "hi", *, deadline: float = DEADLINE, **options: Any
) -> Seen:
    """Send a message with `on_progress`."""

    def call(parts: list[str]) -> object:
        def note(part: ChatMessage) -> None:
            parts.append(part.delta or "")

        return client.send_message(text, on_progress=note, **options)

    return observe(report, call, is_watched=True, deadline=deadline)


def see_stream(
    report: Report, client: Any, text: str = "hi", *, deadline: float = DEADLINE, **options: Any
) -> Seen:
    """Send a message and iterate over the parts of the reply."""

    def call(parts: list[str]) -> object:
        with client.stream_message(text, **options) as stream:
            for part in stream:
                parts.append(part.delta or "")  # noqa: PERF401 - it may end before its end
        return stream.result()

    return observe(report, call, is_watched=True, deadline=deadline)


WAYS: Final[Mapping[str, Callable[..., Seen]]] = {
    "plain": see_plain,
    "on_progress": see_progress,
    "stream": see_stream,
}


def assert_same(seen: Seen, expected: Seen, *also: Seen) -> None:
    """Compare what was seen with what is promised, or with one of several things that are."""
    allowed: Sequence[Seen] = (expected, *also)
    outcomes = [one.outcome for one in allowed]
    assert seen.outcome in outcomes, f"{seen.outcome} is not {outcomes}: {seen.message}"
