"""What one read brings is handed on at once, as a whole and in its order."""

from __future__ import annotations

from typing import Any

import pytest

from chatgpt import StreamError
from chatgpt.core.needs import ReadChunk, ReportEvent, ReportProgress
from tests.core.web import made
from tests.core.web.made import SNAPSHOTS, events
from tests.stepping import Answered, Stepper, chunk, send, sse

ERROR = {"error": {"message": "overloaded"}}


def test_the_parts_of_a_read_are_reported_together() -> None:
    first, second = sse(chunk("a"), chunk("b"), done=False), sse(chunk("c", "stop"))
    stepper = Stepper(Answered(first, second))
    assert send(stepper, wants_parts=True).text == "abc"
    reported = [[part.text for part in need.parts] for need in stepper.of(ReportProgress)]
    assert reported == [["a", "ab"], ["abc"]]


def test_what_came_before_an_error_in_the_same_read_is_the_callers() -> None:
    stepper = Stepper(Answered(sse(chunk("a"), chunk("b"), ERROR, done=False)))
    with pytest.raises(StreamError) as caught:
        send(stepper, wants_parts=True)
    assert [part.delta for part in stepper.parts] == ["a", "b"]
    assert caught.value.partial == "ab"


def test_an_event_is_seen_before_its_part_and_behind_those_before_it() -> None:
    seen: list[Any] = []
    stepper = Stepper(Answered(events(*SNAPSHOTS)))
    made.send(stepper, on_conversation_response=seen.append)
    order = [
        "part" if isinstance(need, ReportProgress) else "event"
        for need in stepper.needs
        if isinstance(need, ReportProgress | ReportEvent)
    ]
    assert "event" in order
    assert order.count("part") == len(stepper.parts)
    assert all(len(need.parts) == 1 for need in stepper.of(ReportProgress))
    assert order[: 2 * order.count("part")].count("part") >= 2
    assert len(stepper.of(ReadChunk)) <= 3
