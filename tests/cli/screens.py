"""What a person sees of a command on a terminal: pyte makes a screen of the bytes, with what was scrolled away."""

from __future__ import annotations

import re
from typing import Final

import pexpect
import pyte

from tests.cli.processes import exit_code

_HISTORY: Final = 10_000

COLOURS: Final = re.compile(r"\x1b\[(?:[\d;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[\d;]*)?m")
"""What sets a colour."""

MOVES: Final = re.compile(r"\x1b\[(?:\d+(?:;\d+)?)?[A-HJKf]|\x1b\[\?\d+[hl]")
"""What moves the cursor, hides it, or takes back what was written."""


class Screen:
    """A terminal, after it was sent a text.

    Args:
        sent: all that was written to it.
        dimensions: its lines and columns.

    Attributes:
        sent: what was given.
        lines: all lines that were ever written, without blank ones at the end.
        is_cursor_shown: whether a person sees where the cursor is.
    """

    def __init__(self, sent: str, dimensions: tuple[int, int] = (24, 80)) -> None:
        height, self._width = dimensions
        screen = pyte.HistoryScreen(self._width, height, history=_HISTORY, ratio=1)
        pyte.Stream(screen).feed(sent)
        rows = [*screen.history.top, *(screen.buffer[number] for number in range(height))]
        lines = [
            "".join(row[column].data for column in range(self._width)).rstrip() for row in rows
        ]
        while lines and not lines[-1]:
            lines.pop()
        self.sent = sent
        self.lines = lines
        self.is_cursor_shown = not screen.cursor.hidden

    @property
    def text(self) -> str:
        """All its lines."""
        return "\n".join(self.lines)


def finished(
    terminal: pexpect.spawn[str], dimensions: tuple[int, int] = (24, 80), *, before: str = ""
) -> tuple[Screen, int | None]:
    """Wait for the end of a process: the screen that it leaves, and its exit code.

    Args:
        terminal: where it runs.
        dimensions: lines and columns of that.
        before: what was read of it already.
    """
    code = exit_code(terminal)
    return Screen(f"{before}{terminal.before or ''}", dimensions), code


def read_until(terminal: pexpect.spawn[str], pattern: str) -> str:
    """Read what a process writes until it has written something; all of that."""
    terminal.expect(pattern)
    return f"{terminal.before or ''}{terminal.after or ''}"
