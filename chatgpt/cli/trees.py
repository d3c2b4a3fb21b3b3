"""A conversation as the tree of its messages: each branch, and where it stands.

Strategy: most of a conversation is a line, each message with one reply; a tree that went one step to the right with each
of them, or at each branch, would leave the screen. So the line on which the conversation stands stays at the left, from the
first message to the last; a reply that was left for another one is a side branch, one step to the right, before the line
goes on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import click
from rich.console import Console
from rich.text import Text

from chatgpt import ChatMessage
from chatgpt.cli.conversation_store import short_ids
from chatgpt.cli.terminal import console, harmless, is_person_reading

SPARE: Final = 3
"""How many letters of an id are shown beyond those that tell it from the others: a conversation goes on."""

SHOWN_TEXT: Final = 60
"""How many letters of a message are shown."""


MOST_STEPS: Final = 6
"""How far to the right branches of branches go."""


def print_tree(heading: str, messages: Sequence[ChatMessage], here: str | None) -> None:
    """Print the tree of a conversation.

    Args:
        heading: what stands above it.
        messages: all its messages, oldest first.
        here: the id of the message where it stands.
    """
    ids = short_ids((message.id for message in messages), SPARE)
    screen = console()
    step, begin = ("|  ", "+- ") if screen.options.ascii_only else ("│  ", "├─ ")
    _print_line(screen, Text(harmless(heading), style="bold"))
    for depth, is_begin, message in _rows(messages, here):
        steps = min(depth, MOST_STEPS)
        before = step * (steps - 1) + begin if is_begin else step * steps
        line = line_of_message(message, ids[message.id], is_here=message.id == here)
        _print_line(screen, Text(before).append_text(line))


def _print_line(screen: Console, line: Text) -> None:
    if is_person_reading():
        screen.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    else:
        click.echo(line.plain)


def _rows(
    messages: Sequence[ChatMessage], here: str | None
) -> Iterator[tuple[int, bool, ChatMessage]]:
    """The visible messages as they are shown: how deep each one stands, and whether it begins a side branch."""
    replies = visible_replies(messages)
    known = {message.id: message for message in messages}
    line = set()
    at = known.get(here or "")
    while at is not None and at.id not in line:
        line.add(at.id)
        at = known.get(at.parent_message_id or "")
    waiting: list[tuple[int, bool, ChatMessage]] = []

    def follow(following: Sequence[ChatMessage], depth: int) -> None:
        if following:
            goes_on = next((each for each in following if each.id in line), following[-1])
            waiting.append((depth, False, goes_on))
            sides = [each for each in following if each is not goes_on]
            waiting.extend((depth + 1, True, each) for each in reversed(sides))

    shown = set()
    # Behind the first messages those that reply to each other in a circle, which an import may bring.
    for first in (replies[None], *([each] for each in messages if not each.is_hidden)):
        follow([each for each in first if each.id not in shown], 0)
        while waiting:  # no recursion: a conversation may be deep
            depth, is_begin, message = waiting.pop()
            if message.id not in shown:
                shown.add(message.id)
                yield depth, is_begin, message
                follow(replies[message.id], depth)


def visible_replies(
    messages: Sequence[ChatMessage],
) -> Mapping[str | None, Sequence[ChatMessage]]:
    """The visible replies to each visible message, in the order of `messages`; under `None` the first ones.

    What replies to a hidden message replies to the visible one before that.
    """
    known = {message.id: message for message in messages}
    replies: dict[str | None, list[ChatMessage]] = defaultdict(list)
    for message in messages:
        if message.is_hidden:
            continue
        parent, passed = known.get(message.parent_message_id or ""), set()
        while parent is not None and parent.is_hidden and parent.id not in passed:
            passed.add(parent.id)
            parent = known.get(parent.parent_message_id or "")
        if parent is not None and parent.is_hidden:
            parent = None  # in a circle
        replies[None if parent is None else parent.id].append(message)
    return replies


def line_of_message(message: ChatMessage, shown_id: str, *, is_here: bool) -> Text:
    """A message in one line: its id, who, the beginning of what was said, and a mark before it where the conversation stands."""
    said = " ".join(message.text.split())
    shown = said if len(said) <= SHOWN_TEXT else f"{said[: SHOWN_TEXT - 1]}…"
    line = Text(no_wrap=True, overflow="ellipsis")
    if is_here:
        line.append("* ", style="bold green")
    line.append(harmless(f"{shown_id} "), style="dim")
    line.append(harmless(f"{message.name or message.role}: "), style="bold")
    line.append(harmless(shown))
    return line
