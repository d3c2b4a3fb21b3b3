"""A conversation as the tree of its messages, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.console import Console
from rich.text import Text

from chatgpt import ChatMessage, ConversationTree, TreeRow
from chatgpt.cli.terminal import console, harmless, is_person_reading


def print_tree(heading: str, messages: Sequence[ChatMessage], here: str | None) -> None:
    """Print the tree of a conversation.

    Args:
        heading: what stands above it.
        messages: all its messages, oldest first.
        here: the id of the message where it stands.
    """
    tree = ConversationTree(messages, here)
    ids = tree.ids()
    screen = console()
    step, begin = ("|  ", "+- ") if screen.options.ascii_only else ("│  ", "├─ ")
    _print_line(screen, Text(harmless(heading), style="bold"))
    for row in tree.rows():
        before = step * (row.depth - 1) + begin if row.begins_branch else step * row.depth
        _print_line(screen, Text(before).append_text(line_of_row(row, ids[row.message.id])))


def line_of_row(row: TreeRow, shown_id: str) -> Text:
    """A message in one line: its id, who, the beginning of what was said, and a mark before it where the conversation stands."""
    line = Text(no_wrap=True, overflow="ellipsis")
    if row.is_here:
        line.append("* ", style="bold green")
    line.append(harmless(f"{shown_id} "), style="dim")
    line.append(harmless(f"{row.speaker}: "), style="bold")
    line.append(harmless(row.beginning))
    return line


def _print_line(screen: Console, line: Text) -> None:
    if is_person_reading():
        screen.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    else:
        click.echo(line.plain)
