"""A recording of the command `chatgpt`, on a terminal, against the embedded server.

Strategy: each line runs in bash on a pseudo-terminal, as a person would type it; pyte makes of the bytes the screen
that it leaves behind, and rich makes an SVG of that. So what is shown is what a terminal shows, colours and all.

Rules:

1. The SVG loads nothing: the web fonts that rich refers to are taken out, and a font of fixed width is asked for.
2. The ids and ages are those of the recording, so that it is another one each time.
"""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pexpect
import pyte
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

from chatgpt.testing import ChatGPTServer

LINES: Final[dict[str, list[str]]] = {
    'chatgpt "What is a monad?"': [],
    'chatgpt -n trip "Where to in May?"': [],
    "chatgpt chat -n trip": ["By the sea?", "/regenerate", "/quit"],
    "chatgpt list": [],
    "chatgpt show trip --tree": [],
}
"""What is typed: at the prompt of the shell, and then at that of the command."""

_REPLIES: Final = [
    """A **monad** is a *wrapper* with two rules:

1. `unit` puts a value in;
2. `bind` hands it to the next step.

```python
[2 * x for x in [1, 2]]  # the list monad
```
""",
    "**Lisbon**, for the light.",
    "Then **Porto**, with a sea wind.",
    "**Cascais**: a train goes there.",
]

_WIDTH, _HEIGHT = 88, 60

_FOREIGN: Final = re.compile(r"\s*(?:@font-face \{.*?\}|<!--.*?-->)", re.DOTALL)
"""What in an SVG of rich names other hosts."""


def draw() -> str:
    """Record it."""
    screen = pyte.Screen(_WIDTH, _HEIGHT)
    stream = pyte.Stream(screen)
    with TemporaryDirectory() as folder, ChatGPTServer(_REPLIES) as server:
        for number, (line, typed) in enumerate(LINES.items()):
            before = "\r\n" if number else ""
            stream.feed(f"{before}\x1b[1;32m$\x1b[0m \x1b[1m{line}\x1b[0m\r\n")
            stream.feed(_written(line, typed, Path(folder), server))
    return _svg(_shown(screen))


def _written(line: str, typed: list[str], folder: Path, server: ChatGPTServer) -> str:
    """What a line writes to its terminal."""
    variables = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "CHATGPT_STORE": str(folder / "conversations.db"),
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": server.api_key,
    }
    with warnings.catch_warnings():  # newer Pythons warn of a fork beside the threads of the server
        warnings.simplefilter("ignore", DeprecationWarning)
        terminal = pexpect.spawn(
            "bash",
            ["-c", line],
            env=variables,
            dimensions=(_HEIGHT, _WIDTH),
            encoding="utf-8",
            timeout=60,
        )
    written = ""
    with terminal:
        for words in typed:
            terminal.expect("> ")
            written += f"{terminal.before}{terminal.after}"
            terminal.sendline(words)
        terminal.expect(pexpect.EOF)
        written += terminal.before or ""
    if terminal.exitstatus:
        raise RuntimeError(f"{line} ended with {terminal.exitstatus}: {written}")
    return written


def _shown(screen: pyte.Screen) -> Text:
    """What stands on a screen, down to its last line."""
    lines = []
    for number in range(_HEIGHT):
        line = Text()
        for column in range(_WIDTH):
            shown = screen.buffer[number][column]
            style = Style(
                color=_colour(shown.fg),
                bgcolor=_colour(shown.bg),
                bold=shown.bold,
                italic=shown.italics,
                underline=shown.underscore,
                strike=shown.strikethrough,
                reverse=shown.reverse,
            )
            line.append(shown.data, style)
        line.rstrip()
        lines.append(line)
    while lines and not lines[-1].plain:
        lines.pop()
    return Text("\n").join(lines)


def _colour(name: str) -> str | None:
    """A colour of pyte as rich names it."""
    if name == "default":
        return None
    if re.fullmatch("[0-9a-f]{6}", name):
        return f"#{name}"
    return name.replace("brown", "yellow").replace("bright", "bright_")


def _svg(shown: Text) -> str:
    """The picture of a terminal that shows it."""
    console = Console(
        record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(shown)
    picture = console.export_svg(title="chatgpt", theme=MONOKAI, unique_id="chatgpt")
    picture = _FOREIGN.sub("", picture).replace("Fira Code", "Liberation Mono")
    return re.sub(r"[ \t]+$", "", picture, flags=re.MULTILINE)
