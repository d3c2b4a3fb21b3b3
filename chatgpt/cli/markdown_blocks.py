"""Markdown on a terminal, block by block: a paragraph, a list, a table, a fence of code.

Strategy: rich draws Markdown as a whole, and puts blank lines around some blocks and not around others. A block that is
drawn by itself looks the same whenever it is drawn, be it at once or while its text is still growing; between two blocks
there is one blank line.

Rules:

1. Nothing that was said is swallowed: HTML and the definitions of links are text, the addresses of links and pictures are
   shown (the titles of links, and what stands behind the language of a fence, are not), and a table that would not show all
   its cells is shown as it is written.
2. Nothing that was said commands the terminal. It is made harmless once it is parsed: Markdown has ways to spell any character.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Final, TypeAlias

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown, MarkdownElement, TableElement
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from chatgpt.cli.terminal import harmless

Lines: TypeAlias = list[list[Segment]]
"""Lines of a terminal, without their ends."""


_PARSER: Final = (
    MarkdownIt("commonmark", {"html": False, "maxNesting": 100})
    .enable(["strikethrough", "table"])
    .disable("reference")
)


_BAR: Final = re.compile(r"(?<!\\)\|")
"""What parts the cells of a table."""

NARROWEST: Final = 4
"""How many columns of a terminal a column of a table takes at least."""


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
    tokens = _PARSER.parse(block)
    drawn: Markdown | Text
    if _would_be_cut(tokens, block, options.max_width):
        drawn = Text(harmless(block))
    else:
        drawn = _Markdown(
            "", code_theme="ansi_dark", hyperlinks=False
        )  # the colours of the terminal
        drawn.parsed = _prepared(tokens)
    lines = [_without_blank_end(line) for line in on.render_lines(drawn, options, pad=False)]
    shown = [number for number, line in enumerate(lines) if line]
    return lines[shown[0] : shown[-1] + 1] if shown else []


class _Table(TableElement):
    """A table whose cells are folded where they are too narrow; rich would cut them."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                for column in table.columns:
                    column.overflow = "fold"
            yield table


class _Markdown(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "table_open": _Table,
    }


def _would_be_cut(tokens: Sequence[Token], block: str, width: int) -> bool:
    """Whether a block is a table that does not show all its cells: a row has more than the head, or they are too many."""
    tables = [token.map for token in tokens if token.type == "table_open" and token.map]
    lines = block.split("\n")
    for begin, end in tables:
        counts = [len(_BAR.split(line.strip().strip("|"))) for line in lines[begin:end]]
        if max(counts) > counts[0] or counts[0] * NARROWEST > width:
            return True
    return False


def _prepared(tokens: list[Token]) -> list[Token]:
    """Tokens that are harmless, and pictures as their words and their addresses: rich would put them elsewhere."""
    for token in tokens:
        token.children = _prepared(token.children or []) if token.type != "image" else None
        if token.type == "image":
            token.type, token.tag = "text", ""
            token.content = f"{token.content} ({token.attrs.get('src', '')})"
        token.content = harmless(token.content)
        token.attrs = {
            name: harmless(value) if isinstance(value, str) else value
            for name, value in token.attrs.items()
        }
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
