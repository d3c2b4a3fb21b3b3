"""A conversation as the tree of its messages: each branch, and where it stands.

Strategy: most of a conversation is a line, each message with one reply; a tree that went one step to the right with each
of them would leave the screen. So a run of single replies is one node, a line for each; where there are several replies,
each one begins a node below it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from rich.text import Text
from rich.tree import Tree

from chatgpt import ChatMessage
from chatgpt.cli.conversation_store import short_ids
from chatgpt.cli.terminal import console, harmless

SPARE: Final = 3
"""How many letters of an id are shown beyond those that tell it from the others: a conversation goes on."""

SHOWN_TEXT: Final = 60
"""How many letters of a message are shown."""


def print_tree(heading: str, messages: Sequence[ChatMessage], here: str | None) -> None:
    """Print the tree of a conversation.

    Args:
        heading: what stands above it.
        messages: all its messages, oldest first.
        here: the id of the message where it stands.
    """
    ids = short_ids((message.id for message in messages), SPARE)
    tree = Tree(Text(harmless(heading), style="bold"))
    replies = visible_replies(messages)
    waiting = [(tree, message) for message in reversed(replies[None])]
    while waiting:  # no recursion: a conversation may be deep
        branch, message = waiting.pop()
        run, following = [message], replies[message.id]
        while len(following) == 1:
            run += following
            following = replies[following[0].id]
        lines = (line_of_message(each, ids[each.id], is_here=each.id == here) for each in run)
        node = branch.add(Text("\n", no_wrap=True, overflow="ellipsis").join(lines))
        waiting += [(node, reply) for reply in reversed(following)]
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
