r"""From Markdown to plain text, as `markdown=False` of the session client asks for it.

Strategy: markdown-it-py (extra `markdown`), which reads CommonMark, gives the paragraphs; what marks
them up is dropped. The result is that of npm `chatgpt` 3, which used remark and strip-markdown:

1. Headings, quotes and the items of lists are paragraphs; blank lines stand between them, and a line
   end after the last.
2. Blocks of code, HTML, and lines across the page are left out. An image is its description.
3. What would mean something if the text were read as Markdown again has a backslash before it:
   `2 \* 3`, `snake\_case`. A space or tab at the edge of a line is written as a reference.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from chatgpt.core.errors import ConfigurationError

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token


SHORT: Final = 1024
PATIENCE: Final = 16


def load_plain_text() -> Callable[[], Callable[[str], str]]:
    """Load what makes, for each reply, what turns its Markdown into plain text.

    Raises:
        ConfigurationError: the extra `markdown` is not installed.
    """
    if find_spec("markdown_it") is None:
        raise ConfigurationError(
            "markdown=False needs markdown-it-py, which the extra 'markdown' brings: "
            "pip install 'chatgpt-sdk[markdown]'"
        )
    from markdown_it import MarkdownIt

    return partial(PlainText, MarkdownIt("commonmark"))


class PlainText:
    """Turns Markdown into plain text, again and again while it grows.

    What stands before the last block of a text, or before the last item of its last list, does not change
    any more once that has a whole line (but for a link that is defined later, which shows when the whole
    text is read anew). So it is read once. A last block that is long is read when it has grown by a
    sixteenth, lest the work grow with its square.

    Args:
        parser: reads CommonMark.
    """

    def __init__(self, parser: MarkdownIt) -> None:
        self._parser = parser
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._references: dict[str, Any] = {}
        self._closed = ""
        self._paragraphs: list[str] = []
        self._markdown = ""
        self._text = ""

    def __call__(self, markdown: str) -> str:
        """Return the plain text of a Markdown text, or of how it began."""
        if "\r" in markdown:  # one at the end may be half of a line end
            markdown = markdown.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
        if not markdown.startswith(self._closed):
            self._begin_anew()
        open_length = len(markdown) - len(self._closed)
        is_hardly_longer = len(markdown) - len(self._markdown) < open_length // PATIENCE
        if open_length > SHORT and is_hardly_longer and markdown.startswith(self._markdown):
            return self._text
        self._markdown, self._text = markdown, self._read(markdown)
        return self._text

    def _read(self, markdown: str) -> str:
        open_text = markdown[len(self._closed) :]
        tokens = self._parser.parse(open_text, {"references": {**self._references}})
        paragraphs = [*self._paragraphs, *_paragraphs_of(tokens)]
        last = _last_part_of(tokens)
        closed = _lines(open_text, (tokens[last].map or [0])[0]) if last else ""
        if closed and "\n" in open_text[len(closed) :]:  # half a line may yet become anything
            self._closed += closed
            self._paragraphs += _paragraphs_of(
                self._parser.parse(closed, {"references": self._references})
            )
        text = "\n\n".join(paragraphs)
        return text if not text or text.endswith("\n") else f"{text}\n"


def _last_part_of(tokens: Sequence[Token]) -> int:
    """Where the last block begins, or the last item of a list that is the last block."""
    blocks = (
        number for number, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0
    )
    last = max(blocks, default=0)
    if tokens and tokens[last].type in ("bullet_list_open", "ordered_list_open"):
        items = (number for number in range(last, len(tokens)) if _begins_item(tokens[number]))
        *_, last_item = items
        if last_item > last + 1:
            return last_item
    return last


def _begins_item(token: Token) -> bool:
    return token.type == "list_item_open" and token.level == 1


def _lines(text: str, count: int) -> str:
    """The first lines of a text, with their ends."""
    end = 0
    for _ in range(count):
        end = text.index("\n", end) + 1
    return text[:end]


def _paragraphs_of(tokens: Sequence[Token]) -> list[str]:
    return [
        escaped("".join(_texts_of(token.children or [])))
        for token in tokens
        if token.type == "inline"
    ]


def _texts_of(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        match token.type:
            case "text" | "code_inline":
                yield token.content
            case "softbreak" | "hardbreak":
                yield "\n"
            case "image":
                described = "".join(_texts_of(token.children or []))
                yield described or str(token.attrs.get("title", ""))


# --- what keeps its place in Markdown --------------------------------------------------------


@frozen
class _Rule:
    """A character that means something in Markdown.

    Attributes:
        character: the character.
        found: where it does; its first group is what stands before the character.
        has_before, has_after: whether that depends on what stands around it.
    """

    character: str
    found: re.Pattern[str]
    has_before: bool
    has_after: bool


def _rule(character: str, *, before: str = "", after: str = "") -> _Rule:
    found = re.compile(f"({before}){re.escape(character)}{after}")
    return _Rule(character, found, bool(before), bool(after))


_LINE: Final = r"[\r\n][\t ]*"
_NUMBER: Final = rf"{_LINE}\d+"
_GAP: Final = r"[ \t\r\n]"

# CommonMark: thematic breaks, headings, lists, quotes, fences, HTML, emphasis, code, links, images,
# references, hard breaks.
_RULES: Final = (
    *(_rule(space, after=r"[\r\n]") for space in "\t "),
    *(_rule(space, before=r"[\r\n]") for space in "\t "),
    *(_rule(character) for character in "*[_`"),
    *(_rule(character, before=_LINE) for character in "#=>~"),
    _rule("!", after=r"\["),
    _rule("&", after="[#A-Za-z]"),
    _rule("<", after="[!/?A-Za-z]"),
    _rule("\\", after=r"[\r\n]"),
    _rule("(", before=r"\]"),
    _rule(")", before=_NUMBER),
    _rule(".", before=_NUMBER, after=rf"(?:{_GAP}|\Z)"),
    _rule("+", before=_LINE, after=_GAP),
    _rule("-", before=_LINE, after=r"[ \t\r\n-]"),
)
_PUNCTUATION: Final = frozenset(string.punctuation)  # that of ASCII, as CommonMark has it
_ESCAPE: Final = re.compile(rf"\\(?=[{re.escape(string.punctuation)}])")


def escaped(text: str) -> str:
    """A paragraph that reads the same when it is read as Markdown.

    Args:
        text: what it says.
    """
    framed = f"\n{text}\n"
    places: dict[int, _Rule] = {}
    for rule in _RULES:
        if rule.character in text:
            for match in rule.found.finditer(framed):
                # The first rule of a place counts, and those that hold anywhere come first.
                places.setdefault(match.end(1), rule)
    pieces: list[str] = []
    start = 1
    for place in sorted(places):
        if not start <= place <= len(text) or _is_covered(place, places, len(text)):
            continue
        # A backslash before what gets one would be taken for its escape.
        pieces.append(_with_escapes(framed[start:place], "\\"))
        if framed[place] in _PUNCTUATION:
            pieces.append("\\")
            start = place
        else:
            pieces.append(f"&#x{ord(framed[place]):X};")
            start = place + 1
    pieces.append(_with_escapes(framed[start:-1], "\n"))
    return "".join(pieces)


def _is_covered(place: int, places: dict[int, _Rule], length: int) -> bool:
    """Whether the neighbour that gives a character its meaning loses its own anyway."""
    rule, following, previous = places[place], places.get(place + 1), places.get(place - 1)
    return (
        rule.has_after
        and place < length
        and following is not None
        and not (following.has_before or following.has_after)
    ) or (
        rule.has_before and previous is not None and not (previous.has_before or previous.has_after)
    )


def _with_escapes(text: str, after: str) -> str:
    return _ESCAPE.sub(r"\\\\", text + after)[: -len(after)] if "\\" in text else text
