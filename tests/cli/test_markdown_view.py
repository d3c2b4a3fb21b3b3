"""What the view of an answer leaves, whatever becomes of its drawings. (How it looks: `test_terminal.py`.)"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from rich.console import Console
from rich.segment import Segment

from chatgpt import ChatMessage
from chatgpt.cli import markdown_view
from chatgpt.cli.markdown_blocks import lines_of
from chatgpt.cli.markdown_view import MarkdownView, _Above, _text
from chatgpt.cli.terminal import console


def part(delta: str, *, rewritten: bool = False) -> ChatMessage:
    return ChatMessage(id="m", text=delta, delta=delta, role="assistant", rewritten=rewritten)


def left_by(parts: Sequence[ChatMessage], capsys: pytest.CaptureFixture[str]) -> list[str]:
    view = MarkdownView()
    with view:
        for each in parts:
            view.show(each)
        view.finish(ChatMessage(id="m", text="".join(each.text for each in parts)))
    return [line for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_a_terminal_that_goes_away_takes_no_text_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The thread that draws ends with its first drawing."""

    def draw(_: MarkdownView) -> None:
        raise OSError("the terminal is gone")

    monkeypatch.setattr(MarkdownView, "_draw", draw)
    assert left_by([part("one"), part(" two\n\n"), part("three")], capsys) == ["one two", "three"]


def test_what_is_rewritten_comes_anew(capsys: pytest.CaptureFixture[str]) -> None:
    assert left_by([part("one"), part("two", rewritten=True), part(" three")], capsys) == [
        "one", "two three"
    ]  # fmt: skip


def test_an_answer_in_one_part(capsys: pytest.CaptureFixture[str]) -> None:
    view = MarkdownView()
    with view:
        view.finish(part("# whole"))
    assert capsys.readouterr().out.strip() == "whole"


def drawn(text: str, width: int) -> list[list[Segment]]:
    screen = console()
    return lines_of(Console(width=width, legacy_windows=False, file=screen.file), text)


@pytest.mark.parametrize("width", [10, 40, 60, 79, 81, 200])
def test_what_is_above_is_found_again_at_another_width(width: int) -> None:
    """Rather a line is shown twice than a word not at all."""
    text = " ".join(f"w{number}w" for number in range(300))
    at_first, now = drawn(text, 80), drawn(text, width)
    above = _Above([_text(line) for line in at_first[:7]])
    assert above.count_in(at_first) == 7
    count = above.count_in(now)
    gone = {word for line in now[:count] for word in _text(line).split()}
    assert gone <= {word for line in at_first[:7] for word in _text(line).split()}
    assert len(now[count:]) < len(now) or width == 200


def test_blocks_that_come_at_once_are_printed_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """More of them than the screen holds, and the last one is too short to be told what it is."""
    monkeypatch.setattr(markdown_view, "PER_SECOND", 1e9)
    paragraphs = [f"q{number}" for number in range(60)]
    text = "\n\n".join(paragraphs)
    shown = left_by([part(f"{text}\n\n1"), part(". item\n\nand"), part(" the end")], capsys)
    assert shown == [*paragraphs, " 1 item", "and the end"]
