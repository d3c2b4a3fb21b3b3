"""What the standard streams are, and what may be written to a terminal.

Rules:

1. A terminal obeys what it is sent. So what comes from a server, a store or an argument is made harmless before it is
   written to one: control characters are shown, not sent. What goes into a pipe or a file is left as it is.
2. Text that the encoding of a stream has no form for is replaced, and never an error.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

# C0 as their pictures, but for the end of a line and tabs; C1 and DEL; what turns the direction of a line.
_HARMLESS: Final[dict[int, str | None]] = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    **dict.fromkeys((*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd"),
}
for _kept in "\n\t":
    del _HARMLESS[ord(_kept)]
_HARMLESS[ord("\r")] = None


def harmless(text: str) -> str:
    """A text without what a terminal would obey."""
    return text.translate(_HARMLESS)


def prepare_streams() -> None:
    """Let no text fail for the encoding of a stream, nor for a stream that is closed."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def is_person_reading() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def is_person_typing() -> bool:
    """Whether standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def can_move() -> bool:
    """Whether what was written can be taken back: not on a terminal that cannot move its cursor."""
    return is_person_reading() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def console() -> Console:
    """A console of rich on standard output: Markdown, tables, trees. Without a terminal it writes plain text."""
    from rich.console import Console

    class PipedConsole(Console):
        def on_broken_pipe(self) -> None:
            """Let the command know: rich would leave the process on its own."""
            raise BrokenPipeError

    is_terminal = is_person_reading()
    return PipedConsole(
        force_terminal=is_terminal,
        width=None if is_terminal else 200,
        highlight=False,
        markup=False,
        emoji=False,
        no_color=None if is_terminal else True,
    )
