r"""What a person types, or a script pipes in, as messages.

Strategy: the library `readline`, where it is there, edits lines, knows what was typed before, and takes what is pasted as
one text. Without it, or without a terminal, lines come as they are.

Rules:

1. A message is a line. One that ends with `\` goes on with the next line; a line of three quotation marks begins a
   block, which ends with another one. The end of the input ends both.
2. A text of several lines that comes as one, pasted or from the history, is a message as it is.
3. In a block nothing is a command: one that begins with a slash gets a second one, which is how a message that begins so
   is typed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Final

from chatgpt.cli.line_history import LineHistory
from chatgpt.cli.terminal import is_person_reading, is_person_typing

try:
    import readline
except ImportError:  # Windows
    HAS_EDITING = False
else:
    HAS_EDITING = True

PROMPT: Final = "> "
PROMPT_WITHIN: Final = "... "
"""What stands before the further lines of a message."""

QUOTES: Final = '"""'
SLASH: Final = "/"


class LineInput:
    """Standard input, line by line.

    Args:
        commands: what Tab completes at the beginning of a line.
        history: what was typed before.
    """

    def __init__(self, commands: Sequence[str], history: LineHistory) -> None:
        self._history = history
        self._is_edited = HAS_EDITING and is_person_typing() and is_person_reading()
        if isinstance(sys.stdin, TextIOWrapper):
            encoding = None if is_person_typing() else "utf-8-sig"
            sys.stdin.reconfigure(encoding=encoding, errors="replace")
        if self._is_edited:
            _prepare_editing(commands, history.texts())

    def read(self, prompt: str) -> str:
        """Read a line, or a text that was pasted as one.

        Raises:
            EOFError: there is no more.
            KeyboardInterrupt: the line is to be forgotten.
        """
        if self._is_edited:
            return input(prompt)
        if is_person_typing():
            _prompt(prompt)
        line = "" if sys.stdin is None else sys.stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\r\n")

    def remember(self, text: str) -> None:
        """Let a text be found again."""
        if self._is_edited:
            readline.add_history(text)
            self._history.add(text)

    def end_line(self) -> None:
        """Leave the line in which a prompt stands."""
        if is_person_typing():
            _prompt("\n")


def next_message(lines: LineInput) -> str:
    """Read the next message, as it could have been typed in one line.

    Raises:
        EOFError: there is no more.
        KeyboardInterrupt: what was typed is to be forgotten.
    """
    first = lines.read(PROMPT)
    if first.strip() == QUOTES:
        text = "\n".join(_block(lines))
        return f"{SLASH}{text}" if text.startswith(SLASH) else text
    said = [first]
    while said[-1].endswith("\\") and "\n" not in said[-1]:
        said[-1] = said[-1][:-1]
        try:
            said.append(lines.read(PROMPT_WITHIN))
        except EOFError:
            break
    return "\n".join(said).strip("\n")


def take_terminal() -> bool:
    """Let standard input, which was read to its end, be the terminal; whether there is one."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return False
    os.dup2(terminal, sys.stdin.fileno())  # in its place: there readline looks for it
    os.close(terminal)
    return True


def _block(lines: LineInput) -> list[str]:
    said: list[str] = []
    try:
        while (line := lines.read(PROMPT_WITHIN)).strip() != QUOTES:
            said.append(line)
    except EOFError:
        pass
    return said


def _prompt(text: str) -> None:
    """Write to the terminal, beside an answer that goes elsewhere."""
    stream = sys.stdout if is_person_reading() else sys.stderr
    if stream.isatty():
        stream.write(text)
        stream.flush()


def _prepare_editing(commands: Sequence[str], past: Sequence[str]) -> None:
    def complete(beginning: str, number: int) -> str | None:
        found = [each for each in commands if beginning and each.startswith(beginning)]
        return found[number] if number < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims("")  # a command is the whole line
    readline.set_auto_history(False)  # a message of several lines is one
    if "libedit" in (readline.__doc__ or ""):
        readline.parse_and_bind("bind ^I rl_complete")
    else:
        readline.parse_and_bind("tab: complete")
        readline.parse_and_bind("set enable-bracketed-paste on")  # Python turns it off
    for text in past:
        readline.add_history(text)
