"""A conversation as the tree of its messages: each branch, and where it stands.

Strategy: most of a conversation is a line, each message with one reply; a tree that went one step to the right with each
of them, or at each branch, would leave the screen. So the line on which the conversation stands stays at the left, from the
first message to the last; a reply that was left for another one is a side branch, one step to the right, before the line
goes on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from attrs import field, frozen

from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange, LoadConversation, LoadReplies
from chatgpt.core.threads import check_message, load_thread

SHORTEST_ID: Final = 8
"""How many letters of an id are shown at least."""

SPARE: Final = 3
"""How many letters of an id are shown beyond those that tell it from the others: a conversation goes on."""

SHOWN_TEXT: Final = 60
"""How many letters of a message are shown."""

MOST_STEPS: Final = 6
"""How far to the right branches of branches go."""


def _as_tuple(messages: Iterable[ChatMessage]) -> Sequence[ChatMessage]:
    return tuple(messages)


class _Printer(Protocol):
    """What IPython's printer has that is used here."""

    def text(self, text: str) -> None: ...


@frozen
class TreeRow:
    """A message as a tree shows it.

    Attributes:
        message: the message; none that is hidden.
        depth: how many steps to the right it stands, at most 6.
        begins_branch: whether a side branch begins with it.
        is_here: whether the conversation stands at it.
    """

    message: ChatMessage
    depth: int
    begins_branch: bool
    is_here: bool

    @property
    def speaker(self) -> str:
        """Who said it: the name, or the role."""
        return self.message.name or self.message.role

    @property
    def beginning(self) -> str:
        """The beginning of what was said, in one line of at most 60 letters."""
        said = " ".join(self.message.text.split())
        return said if len(said) <= SHOWN_TEXT else f"{said[: SHOWN_TEXT - 1]}…"


@frozen(repr=False)
class ConversationTree:
    """A conversation with all its branches. Made by `chat.tree()`.

    `print(tree)` shows a line for each message: the beginning of its id, who, the beginning of what was said, and `*`
    where the conversation stands. A notebook shows the same, and a click on a line shows the whole message.

    Attributes:
        messages: all its messages, oldest first, hidden ones too.
        last_message_id: the id of the message where it stands; `None` for nowhere.
    """

    messages: Sequence[ChatMessage] = field(converter=_as_tuple)
    last_message_id: str | None = None

    def rows(self) -> list[TreeRow]:
        """The messages that are not hidden, in the order in which they are shown."""
        return list(_rows(self.messages, self.last_message_id))

    def ids(self) -> Mapping[str, str]:
        """By id, its beginning that tells it from all others, and a little more: later ones will be told apart, too."""
        shown: dict[str, str] = {}
        left, length = {message.id for message in self.messages}, 1
        while left:
            counts = Counter(each[:length] for each in left)
            alone = {each for each in left if counts[each[:length]] == 1 or len(each) <= length}
            shown.update((each, each[: max(SHORTEST_ID, length + SPARE)]) for each in alone)
            left -= alone
            length += 1
        return shown

    def __repr__(self) -> str:
        return f"<ConversationTree of {len(self.messages)} messages, at {self.last_message_id}>"

    def __str__(self) -> str:
        ids = self.ids()
        return "\n".join(
            f"{_before(row)}{'* ' if row.is_here else ''}{_printable(ids[row.message.id])} "
            f"{_printable(row.speaker)}: {_printable(row.beginning)}"
            for row in self.rows()
        )

    def _repr_pretty_(self, printer: _Printer, is_cycle: object) -> None:  # noqa: ARG002 - IPython gives it
        printer.text(str(self))

    def _repr_html_(self) -> str:
        from chatgpt.core.displays import tree_in_html

        return tree_in_html(self)


def read_tree(message_id: str | None) -> Exchange[ConversationTree]:
    """Read the whole conversation of a message.

    Where the store does not know conversations apart, it is what replies to the first message of the thread, and to its
    replies; of a first message that was edited, the others are not found then.

    Args:
        message_id: where the conversation stands; `None` before its first message.

    Raises:
        MessageNotFoundError: the store does not hold it.
        ConfigurationError: the store cannot find replies.
    """
    if message_id is None:
        return ConversationTree(())
    thread = yield from load_thread(message_id)
    messages = {message.id: message for message in reversed(thread)}
    conversation_id = thread[0].conversation_id
    known = None if conversation_id is None else (yield from LoadConversation(conversation_id))
    if known is not None:
        for message in known:
            check_message(message)
        return ConversationTree((messages | {each.id: each for each in known}).values(), message_id)
    messages = {thread[-1].id: thread[-1]}
    waiting = [*messages]
    while waiting:
        for reply in (yield from LoadReplies(waiting.pop())):
            check_message(reply)
            if reply.id not in messages:  # it would close a circle
                messages[reply.id] = reply
                waiting.append(reply.id)
    return ConversationTree(messages.values(), message_id)


def _rows(messages: Sequence[ChatMessage], here: str | None) -> Iterator[TreeRow]:
    """The visible messages as they are shown."""
    replies = _visible_replies(messages)
    known = {message.id: message for message in messages}
    line = set()
    at = known.get(here or "")
    while at is not None and at.id not in line:
        line.add(at.id)
        at = known.get(at.parent_message_id or "")
    waiting: list[TreeRow] = []

    def follow(following: Sequence[ChatMessage], depth: int) -> None:
        if following:
            goes_on = next((each for each in following if each.id in line), following[-1])
            waiting.append(TreeRow(goes_on, depth, False, goes_on.id == here))
            sides = [each for each in following if each is not goes_on]
            waiting.extend(
                TreeRow(each, min(depth + 1, MOST_STEPS), True, each.id == here)
                for each in reversed(sides)
            )

    shown = set()
    # Behind the first messages those that reply to each other in a circle, which an import may bring.
    for first in (replies[None], *([each] for each in messages if not each.is_hidden)):
        follow([each for each in first if each.id not in shown], 0)
        while waiting:  # no recursion: a conversation may be deep
            row = waiting.pop()
            if row.message.id not in shown:
                shown.add(row.message.id)
                yield row
                follow(replies[row.message.id], row.depth)


def _visible_replies(
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


def _before(row: TreeRow) -> str:
    """What stands to the left of a row."""
    return "│  " * (row.depth - 1) + "├─ " if row.begins_branch else "│  " * row.depth


def _printable(text: str) -> str:
    """A text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
