"""A conversation as the tree of its messages: each branch, and where it stands.

Strategy: most of a conversation is a line, each message with one reply; a tree that went one step to the right with each
of them would leave the screen. So a line of single replies stays in its column, and only branches are indented.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from operator import eq
from typing import Final

from rich.text import Text
from rich.tree import Tree

from chatgpt import ChatMessage
from chatgpt.cli.conversation_store import SHOWN_ID
from chatgpt.cli.terminal import console, harmless

SHOWN_TEXT: Final = 60
"""How many letters of a message are shown."""


def print_tree(heading: str, messages: Sequence[ChatMessage], here: str | None) -> None:
    """Print the tree of a conversation.

    Args:
        heading: what stands above it.
        messages: all its messages, oldest first.
        here: the id of the message where it stands.
    """
    ids = short_ids(message.id for message in messages)
    tree = Tree(Text(harmless(heading), style="bold"))
    replies = visible_replies(messages)
    waiting = [(tree, message) for message in reversed(replies[None])]
    while waiting:  # no recursion: a conversation may be deep
        branch, message = waiting.pop()
        branch.add(line_of_message(message, ids[message.id], is_here=message.id == here))
        following = replies[message.id]
        if len(following) == 1:
            waiting.append((branch, following[0]))
            continue
        waiting += [(branch.children[-1], reply) for reply in reversed(following)]
    console().print(tree)


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
        parent = known.get(message.parent_message_id or "")
        while parent is not None and parent.is_hidden:
            parent = known.get(parent.parent_message_id or "")
        replies[None if parent is None else parent.id].append(message)
    return replies


def short_ids(ids: Iterable[str]) -> Mapping[str, str]:
    """The beginning of each id that none of the others has, with some letters to spare for later ones."""
    ordered = sorted(set(ids))
    shown = {}
    for before, each, after in zip(["", *ordered], ordered, [*ordered[1:], ""], strict=False):
        common = max(_common_length(before, each), _common_length(each, after))
        shown[each] = each[: max(SHOWN_ID, common + 4)]
    return shown


def _common_length(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(bool, map(eq, one, other)))


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
