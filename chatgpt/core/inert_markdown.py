"""Markdown of a model, as a page may show it that runs what is in it.

Strategy: what a model writes is not to be trusted; it may repeat what stood in a web page. JupyterLab renders the
Markdown of a cell that was executed with its HTML, scripts among it, which may do with the kernel what its owner may
(tried with 4.6: `<script>` and `onerror` ran). So HTML is shown as it was written, as text, and a link that would run a
script is no link. Nothing else changes: where there is neither, the Markdown is the text itself.

Rules:

1. What may begin a tag, a comment, an instruction or an address in angle brackets is written `&lt;`. A `<` of an
   inequality is left alone, because formulas are not read as Markdown.
2. In code nothing is a tag, and `&lt;` would be shown as it is. What counts as code is what every reader of Markdown
   takes for code, whatever stands around it. Where that is in doubt it does not count, and `&lt;` is shown there.
3. JupyterLab takes formulas out before it reads the Markdown, and with them any mark of code in them; a formula ends
   with its paragraph at the latest. It puts them back into the HTML, as they are: in an attribute (of a link, a picture,
   a fence), a quotation mark in a formula would end that. So no formula begins there, and none is put there by its mark
   (`@@0@@`).
4. A link leads to `http`, `https`, `mailto`, a picture in a `data:` address, or within the page; any other is text.
5. JupyterLab writes what describes a picture, and what stands behind a fence, into an attribute as it is. A picture whose
   description is more than words is shown as a link; behind a fence, signs are written as references.
6. An address without brackets goes on to the next space, also over marks of code.

Sources: CommonMark 0.31.2 (4.5 fences, 4.6 HTML blocks, 6.1 code spans, 6.5 autolinks, 6.6 raw HTML), GitHub's tables,
JupyterLab 4.6 (`removeMath`).
"""

from __future__ import annotations

import html
import re
from typing import Final

_FENCE: Final = re.compile(r"( *)(`{3,}|~{3,})(.*)")
_OTHER: Final = re.compile(r"[^\s`~]")
_FENCE_BEHIND_SOMETHING: Final = re.compile(r"[\s>\-+*.)\d]*(?:`{3}|~{3})")
_BRACKET: Final = re.compile(r"\]")
_BACKTICKS: Final = re.compile(r"`+")
_FORMULA: Final = re.compile(r"\$|@@|\\begin|\\\\[(\[]")
_INFO: Final = re.compile(r"([\s>\-+*.)\d\[\]xX#:^]*(?:`{3,}|~{3,}))(.*)", re.DOTALL)
"""A line that may be a fence, and what stands behind the marks."""

_FIRST_IN_ITS_LINE: Final = re.compile(r"[\s>\-+*.)\d\[\]xX#:^]*")
_BLOCK: Final = re.compile(r"<[A-Za-z/!?]")
_TAG: Final = re.compile(
    r"<(?:[/!?]|[A-Za-z][\w-]*(?:[\s\ufeff]*/?>|[\s\ufeff]+[A-Za-z_:]|[\s\ufeff]*\Z)"
    r"|[A-Za-z][A-Za-z0-9+.-]*:)"
)
_ADDRESS: Final = re.compile(r"<(?:https?://|mailto:)[^\s<>\"'`]*>")

_BEFORE_TARGET: Final = re.compile(r"\][(:][\s>]*<?|\\(?:href|url)[\s{]*")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:")
_HARMLESS: Final = re.compile(r"https?:|mailto:|data:image/(?:png|jpe?g|gif|webp)[;,]")
_IGNORED_BY_BROWSERS: Final = re.compile(r"[\x00-\x20\\]+")
_PLAIN_LINK: Final = re.compile(r"\]\((?:[^\s()<>\\$@]|@[A-Za-z])*\)")
_PLAIN_PICTURE: Final = re.compile(r"!\[[^\[\]\"$\\<@`]*\]")
_BEGINS_ADDRESS: Final = re.compile(r"://|www\.|mailto:", re.IGNORECASE)
_REST_OF_ADDRESS: Final = re.compile(r"[^ \t\n]*")
_SUSPICIOUS: Final = re.compile(r"[<\]\\$]|`{3}|~{3}")
"""Without any of these nothing is to be changed."""
_SIGN: Final = re.compile(rf"[<\]\\!$@]|{_BEGINS_ADDRESS.pattern}", re.IGNORECASE)
"""With these a tag, a link, a picture, a formula, its mark or an address begins."""
_WRITTEN_AS: Final = {
    "<": "&lt;",
    "]": "&#93;",
    "\\": "&#92;",
    "!": "&#33;",
    "$": "&#36;",
    "@": "&#64;",
    '"': "&quot;",
}
_WRITTEN_IN_INFO: Final = str.maketrans({sign: _WRITTEN_AS[sign] for sign in '<]\\!$@"'})
_LONGEST_SCHEME: Final = 200
"""How many letters of a target are looked at: each may be written as a reference of several."""


def inert(text: str) -> str:
    """Return Markdown that shows the same, and runs nothing.

    Args:
        text: Markdown of somebody who is not trusted.
    """
    if _SUSPICIOUS.search(text) is None:
        return text
    return "\n".join(_Lines(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")).inert())


class _Lines:
    """Lines of Markdown, and what is known where one of them is read.

    Attributes:
        fence: how far to the right the code around the line is fenced, and with what.
        is_in_doubt: whether readers may not agree on what is fenced from here on.
        has_open_span: whether a line before, of the same paragraph, holds backticks that may open code.
        has_formula: whether the paragraph so far may hold the beginning of a formula.
        has_target: whether a link began in the paragraph, whose address or title may go on.
    """

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._fence: tuple[int, str] | None = None
        self._is_in_doubt = self._has_open_span = self._has_formula = self._has_target = False

    def inert(self) -> list[str]:
        shown: list[str] = []
        before = ""
        for line, following in zip(self._lines, [*self._lines[1:], ""], strict=True):
            if _is_empty(line):
                self._has_open_span = self._has_formula = self._has_target = False
            was_fenced = self._fence is not None
            is_code = self._is_fenced(line, before, following)
            if _FORMULA.search(line):
                self._has_formula = True
            if not is_code:
                line = self._text(line, following)
            elif not was_fenced:
                line = _inert_info(line)
            shown.append(line)
            before = line
        return shown

    def _is_fenced(self, line: str, before: str, following: str) -> bool:
        """Whether a line is fenced code, or a fence."""
        if self._is_in_doubt:
            return False
        found = _FENCE.fullmatch(line)
        if self._fence is None:
            if found is not None and self._opens(found, before):
                self._fence = len(found[1]), found[2]
                return True
            # A fence in a list or a quotation ends with these; where that is, readers do not agree.
            self._is_in_doubt = _FENCE_BEHIND_SOMETHING.match(line) is not None
            return False
        indent, marks = self._fence
        if not _is_empty(line) and not line.startswith(" " * indent):
            # It may end the list around the code.
            self._is_in_doubt = True
            return False
        if found is not None and found[2].startswith(marks) and not _OTHER.search(found[3]):
            self._fence, self._has_open_span = None, False
            self._is_in_doubt = (
                len(found[1]) > max(3, indent)
                or bool(found[3].strip(" "))  # for some readers it does not end the code
                or (self._has_formula and not _is_empty(following))
            )
        return True

    def _opens(self, fence: re.Match[str], before: str) -> bool:
        """Whether a line that looks like the beginning of fenced code is one, whatever stands around it."""
        indent, marks, info = fence.groups()
        if (marks[0] == "`" and "`" in info) or self._has_formula:
            return False
        if before.rstrip().endswith("]:"):  # it is the address of that link
            return False
        # Further to the right it may go on with a paragraph. Behind an empty line it is fenced, or indented, code.
        return len(indent) < 4 or _is_empty(before)

    def _text(self, line: str, following: str) -> str:
        """A line of text, in which there may be code."""
        line = _inert_info(line)
        # An escaped sign, and the border of a cell, are read before code or after it: then nothing is sure to be code.
        # JupyterLab reads marks behind a tilde as text, and several marks between brackets as code of their own.
        is_sure = not (self._is_in_doubt or self._has_open_span or self._has_formula)
        is_plain = not any(sign in line for sign in ("\\`", "|", "~`"))
        torn_by = ("](", "]:") if "``" in line else ("]:",)
        around = f"{line}\n{following}"
        pieces: list[str] = []
        at = self._end_of_address = 0
        while (opening := _BACKTICKS.search(line, at)) is not None:
            runs = _BACKTICKS.finditer(line, opening.end())
            closing = next((each for each in runs if each[0] == opening[0]), None)
            if closing is None:
                self._has_open_span = True
                break
            code = opening.start(), closing.end()
            pieces.append(self._part(around, at, code[0]))
            if code[0] < self._end_of_address:
                is_plain = False
            is_code = is_sure and is_plain and not _is_torn(around, *code, torn_by)
            pieces.append(line[slice(*code)] if is_code else self._part(around, *code))
            at = code[1]
        pieces.append(self._part(around, at, len(line)))
        self._has_open_span = self._has_open_span or (not is_plain and "`" in line)
        return "".join(pieces)

    def _part(self, text: str, start: int, end: int) -> str:
        """A part of a line that is not code; `text` is the line and the one behind it, in which a tag may end."""
        pieces: list[str] = []
        for sign in _SIGN.finditer(text, start, end):
            at = sign.start()
            if sign[0] in _WRITTEN_AS and self._is_dangerous(text, at, end):
                pieces += text[start:at], _WRITTEN_AS[sign[0]]
                start = sign.end()
            elif sign[0] == "]":
                is_link = text.startswith(("](", "]:"), at)
                if is_link and _PLAIN_LINK.match(text, at) is None:
                    self._has_target = True
            elif sign[0] not in _WRITTEN_AS and at >= self._end_of_address:
                self._end_of_address = _REST_OF_ADDRESS.match(text, at).end()
        pieces.append(text[start:end])
        return "".join(pieces)

    def _is_dangerous(self, text: str, at: int, end: int) -> bool:
        """Whether the sign at a place is to be written otherwise."""
        is_in_attribute = self._has_target or at < self._end_of_address
        match text[at]:
            case "<":
                return _begins_tag(text, at, end)
            case "!":
                return text.startswith("![", at) and not _is_plain_picture(text, at)
            case "$":
                return is_in_attribute
            case "@":
                return is_in_attribute and re.match(r"[A-Za-z]", text[at + 1 : at + 2]) is None
            case "\\" if is_in_attribute and _FORMULA.match(text, at) is not None:
                return True
        return _leads_astray(text, at)


def _is_torn(text: str, start: int, end: int, torn_by: tuple[str, ...]) -> bool:
    """Whether code holds the end of a link that would be read before it, and leads astray."""
    ends = (found.start() for found in _BRACKET.finditer(text, start, end))
    return any(text.startswith(torn_by, at) and _leads_astray(text, at) for at in ends)


def _is_empty(line: str) -> bool:
    """Whether a paragraph ends with a line: for some readers other white space does not end it."""
    return not line.strip(" \t")


def _inert_info(line: str) -> str:
    """A line in which what stands behind a fence, if it is one, is not signs but references."""
    found = _INFO.fullmatch(line)
    if found is None or (found[1][-1] == "`" and "`" in found[2] and not _FORMULA.search(found[2])):
        return line
    return found[1] + found[2].translate(_WRITTEN_IN_INFO)


def _is_plain_picture(text: str, at: int) -> bool:
    """Whether a picture is described by words alone; a description goes on where a link in it is none any more."""
    found = _PLAIN_PICTURE.match(text, at)
    return found is not None and not _leads_astray(text, found.end() - 1)


def _begins_tag(text: str, at: int, end: int) -> bool:
    if _ADDRESS.match(text, at, end) is not None:
        return False
    is_first = _FIRST_IN_ITS_LINE.fullmatch(text, 0, at) is not None
    return (_BLOCK if is_first else _TAG).match(text, at) is not None


def _leads_astray(text: str, at: int) -> bool:
    """Whether a link leads where something would run; its target begins behind a place."""
    before = _BEFORE_TARGET.match(text, at)
    if before is None:
        return False
    target = html.unescape(text[before.end() : before.end() + _LONGEST_SCHEME])
    seen = _IGNORED_BY_BROWSERS.sub("", target).casefold()
    return _SCHEME.match(seen) is not None and _HARMLESS.match(seen) is None
