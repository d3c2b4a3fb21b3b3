"""What the view of an answer leaves, whatever becomes of its drawings. (How it looks: `test_terminal.py`.)"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chatgpt import ChatMessage
from chatgpt.cli.markdown_view import MarkdownView, _Above, _letters
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


@pytest.mark.parametrize("width", [10, 40, 60, 79, 81, 200])
def test_what_is_above_is_found_again_at_another_width(width: int) -> None:
    """Rather a line is shown twice than a word not at all."""
    screen = console()
    text = " ".join(f"w{number}w" for number in range(300))
    at_first = screen.render_lines(text, screen.options.update(width=80), pad=False)
    above = _Above(7, 80, _letters(at_first[:7]))
    assert above.count_in(at_first, 80) == 7
    now = screen.render_lines(text, screen.options.update(width=width), pad=False)
    count = above.count_in(now, width)
    assert _letters(now[:count]) <= above.letters < _letters(now[: count + 1])
