"""Markdown on a terminal, block by block: a paragraph, a list, a table, a fence of code.

Strategy: rich draws Markdown as a whole, and puts blank lines around some blocks and not around others. A block that is
drawn by itself looks the same whenever it is drawn, be it at once or while its text is still growing; between two blocks
there is one blank line.

Rules:

1. Nothing that was said is swallowed: HTML and the definitions of links are text, and the address of a link is shown.
2. Nothing that was said commands the terminal. It is made harmless once it is parsed: Markdown has ways to spell any character.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, TypeAlias

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console
from rich.markdown import Markdown
from rich.segment import Segment, Segments

from chatgpt.cli.terminal import harmless

Lines: TypeAlias = list[list[Segment]]
"""Lines of a terminal, without their ends."""


_PARSER: Final = (
    MarkdownIt("commonmark", {"html": False})
    .enable(["strikethrough", "table"])
    .disable("reference")
)


def print_markdown(on: Console, text: str) -> None:
    """Print the text of a message as Markdown."""
    blocks, rest = blocks_of(text.replace("\r", ""))
    drawn = [lines_of(on, block) for block in (*blocks, rest)]
    for number, lines in enumerate(filter(None, drawn)):
        print_lines(on, [[], *lines] if number else lines)


def blocks_of(text: str) -> tuple[list[str], str]:
    """Part a text into its blocks, and the last one, which may still be growing. It holds no carriage returns."""
    # Paired tokens and their ends begin at the same line, and so do nested ones: only a later line begins a block.
    begins = [token.map[0] for token in _PARSER.parse(text) if token.level == 0 and token.map]
    later = [after for before, after in pairwise(begins) if after > before]
    lines = text.split("\n")
    blocks = ["\n".join(lines[begin:end]) for begin, end in pairwise([0, *later])]
    return blocks, "\n".join(lines[later[-1] if later else 0 :])


def lines_of(on: Console, block: str) -> Lines:
    """Draw a block, for the width of a console.

    Returns:
        Its lines, from the first one that shows something to the last one; none for one that shows nothing.
    """
    options = on.options.update(height=None)
    markdown = Markdown("", code_theme="ansi_dark", hyperlinks=False)  # the colours of the terminal
    markdown.parsed = _harmless(_PARSER.parse(block))
    lines = [_without_blank_end(line) for line in on.render_lines(markdown, options, pad=False)]
    shown = [number for number, line in enumerate(lines) if line]
    return lines[shown[0] : shown[-1] + 1] if shown else []


def _harmless(tokens: list[Token]) -> list[Token]:
    for token in tokens:
        token.content = harmless(token.content)
        token.attrs = {
            name: harmless(value) if isinstance(value, str) else value
            for name, value in token.attrs.items()
        }
        _harmless(token.children or [])
    return tokens


def print_lines(on: Console, lines: Lines) -> None:
    """Print lines as they are."""
    printed = [segment for line in lines for segment in (*line, Segment.line())]
    on.print(Segments(printed), end="")


def _without_blank_end(line: list[Segment]) -> list[Segment]:
    """A line without what rich fills it up with, which a person who copies it does not want."""
    end = len(line)
    while end and not line[end - 1].text.strip():
        end -= 1
    if not end:
        return []
    last = line[end - 1]
    return [*line[: end - 1], Segment(last.text.rstrip(), last.style)]
