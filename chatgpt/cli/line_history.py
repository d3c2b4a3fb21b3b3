"""What was typed in earlier chats: a file of JSON strings, one a line, so that a text of several lines stays one.

Rules:

1. It holds what a person typed, never an answer, and is for its owner alone.
2. It has at most `MOST_LINES`, and no text that is longer than anybody types.
3. A file that cannot be read or written is no error: a chat goes on without it. What is no line of it is passed over.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from platformdirs import user_state_path

MOST_LINES: Final = 1000
MOST_OF_A_LINE: Final = 10_000
"""Characters of a text that is kept: one that is longer was pasted."""


def history_file() -> Path:
    """Where it is: under the platform's directory for the state of programs."""
    return user_state_path("chatgpt", appauthor=False) / "chat_history.jsonl"


class LineHistory:
    """What was typed, oldest first.

    Args:
        file: where it is kept.
        is_written: whether what is typed now is kept, too.
    """

    def __init__(self, file: Path, *, is_written: bool) -> None:
        self._file = file
        self._is_written = is_written

    def texts(self) -> list[str]:
        """What was typed before."""
        return [text for line in self._lines() if (text := _text_of(line)) is not None]

    def add(self, text: str) -> None:
        """Keep a text."""
        if not self._is_written or len(text) > MOST_OF_A_LINE:
            return
        if self._file.exists() and not self._file.is_file():
            return
        with suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(self._file, f"{json.dumps(text)}\n", os.O_APPEND)
            lines = self._lines()
            if len(lines) > MOST_LINES:
                self._replace("".join(f"{line}\n" for line in lines[-MOST_LINES:]))

    def _lines(self) -> list[str]:
        try:
            if not self._file.is_file():  # a pipe would be waited for
                return []
            return self._file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []

    def _replace(self, content: str) -> None:
        """Write the file anew; another chat reads the old one or the new one, and never a part."""
        new = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        try:
            _write(new, content, os.O_TRUNC)
            new.replace(self._file)
        finally:
            new.unlink(missing_ok=True)


def _write(file: Path, content: str, how: int) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | how, 0o600), "wb") as opened:
        opened.write(content.encode())


def _text_of(line: str) -> str | None:
    try:
        text: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return text if isinstance(text, str) and "\0" not in text else None
