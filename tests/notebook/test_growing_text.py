"""Texts that grow: how often a cell is updated, and what it shows at the end; what a terminal is written.

How soon and how often is the subject here, so these tests read the clock: what must happen within an eighth of a second is
given two, and what may happen ten times a second is counted in every second.
"""

from __future__ import annotations

import sys
import threading
import time
from itertools import pairwise

import pytest

from chatgpt import ChatMessage
from chatgpt.growing_text import CellText, PrintedText, growing_text
from tests.redis_server import until

MOST_UPDATES = 10
SOON = 2.0
WORDS = [f"word {number} " for number in range(3000)]


class Display:
    """Where a cell's updates arrive."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.times: list[float] = []
        self.threads: set[threading.Thread] = set()

    def publish(self, text: str) -> None:
        self.texts.append(text)
        self.times.append(time.monotonic())
        self.threads.add(threading.current_thread())

    def most_in_a_second(self) -> int:
        return max(sum(begin <= each < begin + 1 for each in self.times) for begin in self.times)


@pytest.fixture
def display() -> Display:
    return Display()


def part(text: str, delta: str | None, rewritten: bool = False) -> ChatMessage:
    return ChatMessage(id="a", role="assistant", text=text, delta=delta, rewritten=rewritten)


def feed(cell: CellText | PrintedText, *deltas: str) -> None:
    for delta in deltas:
        cell.take(part("never read", delta))


# --- in a cell -------------------------------------------------------------------------------


def test_a_fast_stream_is_shown_ten_times_a_second_at_most(display: Display) -> None:
    end = time.monotonic() + 1.5
    fed = []
    with CellText(display.publish, "") as cell:
        for word in WORDS:
            feed(cell, word)
            fed.append(word)
            time.sleep(0.001)
            if time.monotonic() > end:
                break
    assert display.texts[-1] == "".join(fed)
    assert display.most_in_a_second() <= MOST_UPDATES
    assert len(display.texts) > 5, "it did not grow"
    assert len(set(display.texts)) == len(display.texts), "an update that shows nothing new"
    assert all(later.startswith(text) for text, later in pairwise(display.texts))


def test_a_stream_that_is_steady_is_shown_ten_times_a_second_at_most(display: Display) -> None:
    with CellText(display.publish, "") as cell:
        for word in WORDS[:14]:
            feed(cell, word)
            time.sleep(0.08)  # more often than that, and not as often as it is drawn
    assert display.most_in_a_second() <= MOST_UPDATES


def test_a_burst_is_shown_at_once_and_whole(display: Display) -> None:
    with CellText(display.publish, "") as cell:
        feed(cell, *WORDS)
    assert display.texts[-1] == "".join(WORDS)
    assert len(display.texts) <= 2
    assert threading.current_thread() not in display.threads


def test_a_part_is_shown_soon_though_nothing_follows_it(display: Display) -> None:
    with CellText(display.publish, "") as cell:
        for number in range(1, 4):
            begin = time.monotonic()
            feed(cell, "word ")
            until(lambda: display.texts[-1:] == ["word " * number])  # noqa: B023 - it is called at once
            assert time.monotonic() - begin < SOON


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit()])
def test_what_came_is_shown_when_it_failed(display: Display, error: BaseException) -> None:
    with pytest.raises(type(error)):
        with CellText(display.publish, "") as cell:
            feed(cell, "one ")
            until(lambda: bool(display.texts))
            feed(cell, "two ", "three")
            raise error
    assert display.texts[-1] == "one two three"


def test_nothing_is_shown_of_nothing(display: Display) -> None:
    with CellText(display.publish, "") as cell:
        feed(cell, "", "")
        cell.take(part("never read", None))
    assert display.texts == []


def test_what_was_there_already_is_shown_first(display: Display) -> None:
    with CellText(display.publish, "begun, ") as cell:
        until(lambda: display.texts == ["begun, "])
        feed(cell, "half done")
    assert display.texts[-1] == "begun, half done"
    with CellText(display.publish, "over"):
        """Nothing more comes."""
    assert display.texts[-1] == "over"


def test_what_was_taken_back_is_gone(display: Display) -> None:
    with CellText(display.publish, "begun, ") as cell:
        feed(cell, "wrong")
        until(lambda: "wrong" in display.texts[-1])
        cell.take(part("all anew", "new", rewritten=True))
        feed(cell, ", and on")
    assert display.texts[-1] == "all anew, and on"


def test_what_was_taken_back_to_nothing_is_gone(display: Display) -> None:
    with CellText(display.publish, "") as cell:
        feed(cell, "wrong")
        until(lambda: bool(display.texts))
        cell.take(part("", "", rewritten=True))
    assert display.texts[-1] == ""


def test_its_thread_ends_with_it(display: Display) -> None:
    before = threading.active_count()
    with CellText(display.publish, "") as cell:
        feed(cell, "word")
    assert threading.active_count() == before


def test_updates_that_are_slow_are_fewer_and_the_last_one_is_whole(display: Display) -> None:
    def publish(text: str) -> None:
        time.sleep(0.3)
        display.publish(text)

    with CellText(publish, "") as cell:
        for word in WORDS[:50]:
            feed(cell, word)
            time.sleep(0.01)
    assert display.texts[-1] == "".join(WORDS[:50])
    assert len(display.texts) <= 4


# --- on a terminal ---------------------------------------------------------------------------


def test_a_terminal_is_written_what_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    with PrintedText("begun, ") as printed:
        assert capsys.readouterr().out == "begun, "
        feed(printed, "half ")
        assert capsys.readouterr().out == "half "
        feed(printed, "done", "")
        printed.take(part("never read", None))
        assert capsys.readouterr().out == "done"
    assert capsys.readouterr().out == "\n"


def test_a_terminal_is_written_nothing_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with PrintedText("") as printed:
        feed(printed, "")
    assert capsys.readouterr().out == ""


def test_a_terminal_has_the_line_ended_when_it_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        with PrintedText("") as printed:
            feed(printed, "half")
            raise KeyboardInterrupt
    assert capsys.readouterr().out == "half\n"


def test_a_terminal_is_written_all_anew_where_something_was_taken_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with PrintedText("") as printed:
        printed.take(part("first", "first", rewritten=True))
        feed(printed, " try")
        printed.take(part("second", "second", rewritten=True))
        feed(printed, " try")
    assert capsys.readouterr().out == "first try\nsecond try\n"


def test_outside_of_a_notebook_it_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(growing_text(), PrintedText)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert isinstance(growing_text(), PrintedText)
    assert "IPython" not in sys.modules, "IPython was loaded to ask"
