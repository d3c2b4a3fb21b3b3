"""What the standard streams are, and what may be written to a terminal.

Rules:

1. A terminal obeys what it is sent. So what comes from a server, a store or an argument is made harmless before it is
   written to one: control characters are shown, not sent. What goes into a pipe or a file is left as it is.
2. Text that the encoding of a stream has no form for is replaced, and never an error.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


def counted(number: int, what: str) -> str:
    """A number of things: `1 message`, `2 messages`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def prepare_streams() -> None:
    """Let no text fail for the encoding of a stream, for a stream that is closed, or for a terminal without a size."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    for name in ("COLUMNS", "LINES"):  # rich would take a zero for the size of the terminal
        size = os.environ.get(name, "1")
        if not size.isdecimal() or int(size) < 1:
            del os.environ[name]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def show_cursor_when_stopped() -> None:
    """Let Ctrl-Z leave the terminal with its cursor, which is hidden while an answer is drawn."""
    number = getattr(signal, "SIGTSTP", None)  # there is none on Windows
    if number is None or not can_move() or signal.getsignal(number) is not signal.SIG_DFL:
        return

    def stop(*_: object) -> None:
        os.write(sys.stdout.fileno(), b"\x1b[?25h")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, stop)  # once it goes on

    signal.signal(number, stop)


@contextmanager
def ignored_interrupts() -> Iterator[None]:
    """Pass Ctrl-C by, which is for another program at the terminal; that one does not inherit this."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
