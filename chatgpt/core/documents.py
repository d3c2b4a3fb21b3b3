"""Conversations as documents for people: Markdown and HTML.

Strategy: a document is written piece by piece, so that a large one need not be in memory. A conversation is a tree
and a document is not: its messages stand in the order of their saving, each with a number, and where one does not
reply to the one before, it says what it replies to.

Rules:

1. Hidden messages are left out; what replies to one replies to the nearest message that is shown.
2. In HTML nothing that was said is markup, but for the Markdown of replies, where somebody renders it. In Markdown it stands as it was written, but what may reach beyond its end (a block that was left open) is made
   a quote, which ends whatever is in it.
3. A document is valid UTF-8: lone surrogates become U+FFFD.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from html import escape
from typing import Final

from attrs import define, field

from chatgpt.core.messages import ChatMessage
from chatgpt.core.surrogates import lenient

LONGEST_TITLE: Final = 80
"""Characters of a heading."""

_LINE_END: Final = re.compile("\r\n?")
_FENCE: Final = re.compile(r"^([ \t>*+\-0-9.)]*)(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_OPEN_HTML: Final = re.compile(
    r"^ {0,3}<(?:script|pre|style|textarea|!--|\?|![A-Za-z]|!\[CDATA\[)",
    re.MULTILINE | re.IGNORECASE,
)

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.4em; margin-top: 2.5em; }
article { border-left: 3px solid #9aa; margin: 1em 0; padding: 0 1em; }
article.assistant { border-color: #2a8; }
article h2 { font-size: .85em; color: #777; margin: 0; }
article > p { white-space: pre-wrap; }
article { overflow-wrap: anywhere; }
article pre { background: #8882; padding: .6em; overflow-x: auto; }
article table { border-collapse: collapse; } article td, article th { border: 1px solid #8886; padding: .2em .5em; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } }
"""


@define
class Numbering:
    """The numbers of a conversation's messages.

    Attributes:
        count: how many have one.
    """

    count: int = 0
    _shown: dict[str, int] = field(factory=dict)

    def replied_to(self, message: ChatMessage) -> int:
        """The number of the message that one replies to; 0 for none that is shown."""
        parent_id = message.parent_message_id
        return 0 if parent_id is None else self._shown.get(parent_id, 0)

    def add(self, message: ChatMessage) -> None:
        """Give a message the next number; a hidden one has that of what it replies to."""
        if message.is_hidden:
            self._shown[message.id] = self.replied_to(message)
        else:
            self.count += 1
            self._shown[message.id] = self.count


class Document(ABC):
    """What turns messages into the text of a document, piece by piece."""

    def __init__(self) -> None:
        self._numbering = Numbering()

    def conversation(self, first: ChatMessage) -> str:
        """Begin a conversation.

        Args:
            first: the first of its messages.
        """
        self._numbering = Numbering()
        return lenient(self._heading(title_of(first)))

    def message(self, message: ChatMessage) -> str:
        """Write a message; nothing of a hidden one."""
        numbering = self._numbering
        replied_to, before = numbering.replied_to(message), numbering.count
        numbering.add(message)
        if message.is_hidden:
            return ""
        elsewhere = None if replied_to == before else replied_to
        return lenient(self._said(message, numbering.count, elsewhere))

    @abstractmethod
    def begin(self) -> str:
        """What comes first."""

    @abstractmethod
    def end(self) -> str:
        """What comes last."""

    @abstractmethod
    def _heading(self, title: str) -> str:
        """What stands above a conversation."""

    @abstractmethod
    def _said(self, message: ChatMessage, number: int, elsewhere: int | None) -> str:
        """A message; `elsewhere` is what it replies to, where that is not the one before (0: nothing)."""


class MarkdownDocument(Document):
    """Conversations in Markdown."""

    def begin(self) -> str:
        """What comes first."""
        return ""

    def end(self) -> str:
        """What comes last."""
        return ""

    def _heading(self, title: str) -> str:
        return f"# {title}\n\n"

    def _said(self, message: ChatMessage, number: int, elsewhere: int | None) -> str:
        text = _LINE_END.sub("\n", message.text)
        if _reaches_beyond(text):
            text = "> " + text.replace("\n", "\n> ")
        aside = f"*{_aside(elsewhere)}*\n\n" if elsewhere is not None else ""
        return f"## {number}. {_speaker(message)}\n\n{aside}{text}\n\n"


class HtmlDocument(Document):
    """Conversations in HTML, in one page that needs nothing else.

    Args:
        render: turns Markdown into HTML that is safe; by default replies are shown as they were written.
    """

    def __init__(self, render: Callable[[str], str] | None = None) -> None:
        super().__init__()
        self._render = render
        self._sections = 0

    def begin(self) -> str:
        """What comes first."""
        return (
            '<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>Conversations</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        )

    def end(self) -> str:
        """What comes last."""
        return "</body>\n</html>\n"

    def _heading(self, title: str) -> str:
        self._sections += 1
        return f"<h1>{escape(title)}</h1>\n"

    def _said(self, message: ChatMessage, number: int, elsewhere: int | None) -> str:
        aside = ""
        if elsewhere:
            aside = f' &middot; <a href="#{self._anchor(elsewhere)}">{_aside(elsewhere)}</a>'
        elif elsewhere == 0:
            aside = f" &middot; {_aside(elsewhere)}"
        text = message.text
        if message.role == "assistant" and self._render is not None:
            said = f"<div>{self._render(text)}</div>"
        else:
            said = f"<p>{escape(text)}</p>"
        return (
            f'<article class="{escape(message.role)}" id="{self._anchor(number)}">\n'
            f"<h2>{number}. {escape(_speaker(message))}{aside}</h2>\n{said}\n</article>\n"
        )

    def _anchor(self, number: int) -> str:
        return f"c{self._sections}m{number}"


def title_of(first: ChatMessage) -> str:
    """What a conversation is called: the title that ChatGPT gave it, or how it begins, or its id.

    Args:
        first: the first of its messages; that of an imported conversation holds its title.
    """
    title = first.detail.get("title") if first.is_hidden and first.detail is not None else None
    if not isinstance(title, str) or not title.strip():
        title = "" if first.is_hidden else first.text[:1_000]
    words = " ".join(title.split())
    if len(words) > LONGEST_TITLE:
        words = words[: LONGEST_TITLE - 3].rstrip() + "..."
    return words or first.conversation_id or "Conversation"


def _speaker(message: ChatMessage) -> str:
    made = message.created_at
    time = None if made is None else f"{made:%Y-%m-%d %H:%M %Z}".rstrip()
    notes = ", ".join(filter(None, (message.model, time)))
    name = message.name or message.role.capitalize()
    return " ".join((f"{name} ({notes})" if notes else name).split())


def _aside(replied_to: int) -> str:
    return f"in reply to {replied_to}" if replied_to else "from the beginning"


def _reaches_beyond(text: str) -> bool:
    """Whether a block may be open where a text ends, so that it would swallow what follows.

    It is better to say so once too often: blocks of code in lists and quotes end with these, in ways that depend on
    every line between.
    """
    if _OPEN_HTML.search(text):
        return True
    fence: str | None = None
    for before, mark, rest in _FENCE.findall(text):
        if before:  # it may belong to a list or a quote
            return True
        if fence is None:
            fence = None if mark[0] == "`" and "`" in rest else mark
        elif mark.startswith(fence) and not rest.strip(" \t"):
            fence = None
    return fence is not None
