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
5. What stands behind a fence is written into an attribute as it is (JupyterLab), or what describes a picture (marked
   16.4). So behind a fence signs are written as references, and a picture described by more than words is a link.
6. An address without brackets goes on to the next space, also over marks of code.

Sources: CommonMark 0.31.2 (4.5 fences, 4.6 HTML blocks, 6.1 code spans, 6.5 autolinks, 6.6 raw HTML), GitHub's tables,
JupyterLab 4.6 (`removeMath`, and its marked).
"""

from __future__ import annotations

import html
import re
from typing import Final

_FENCE: Final = re.compile(r"( *)(`{3,}|~{3,})(.*)")
_OTHER: Final = re.compile(r"[^\s`~]")
_FENCE_BEHIND_SOMETHING: Final = re.compile(r"[\s>\-+*.)\d]*(?:`{3}|~{3})")
_PAIRED: Final = re.compile(r"\\.|[\[\]~]")
_PAIRED_IN_CODE: Final = re.compile(r"[*_~\]]")
_BACKTICKS: Final = re.compile(r"`+")
_FORMULA: Final = re.compile(r"\$|@@|\\begin|\\\\[(\[]")
_INFO: Final = re.compile(r"([\s>\-+*.)\d\[\]xX#:^]*(?:`{3,}|~{3,}))(.*)", re.DOTALL)
"""A line that may be a fence, and what stands behind the marks."""

_MARKS: Final = " \t\v\f\r>-+*.)0123456789[]xX#:^"
"""What may stand before the first word of a line."""
_BLOCK: Final = re.compile(r"<[A-Za-z/!?]")
_TAG: Final = re.compile(
    r"<(?:[/!?]|[A-Za-z][\w-]*(?:[\s\ufeff]*/?>|[\s\ufeff]+[A-Za-z_:]|[\s\ufeff]*\Z)"
    r"|[A-Za-z][A-Za-z0-9+.-]*:)"
)
_ADDRESS: Final = re.compile(r"<(?:https?://|mailto:)[^\s<>\"'`]*>")

_BEFORE_TARGET: Final = re.compile(r"\][(:][\s>]*<?|\\(?:href|url)[\s{]*")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:")
_UNDECIDED: Final = re.compile(r"[a-z0-9+.-]*(?:&[a-z0-9#]*)?")
"""What may become a scheme with the letters behind it."""
_HARMLESS: Final = re.compile(r"https?:|mailto:|data:image/(?:png|jpe?g|gif|webp)[;,]")
_IGNORED: Final = re.compile(r"[\x00-\x20\\\s\ufeff]+")
_PLAIN_LINK: Final = re.compile(r"\]\((?:[^\s()<>\\$@`]|@[A-Za-z])*\)")
_PLAIN_PICTURE: Final = re.compile(r"!\[[^\[\]\"$\\<@`\n]*\]")
_BEGINS_ADDRESS: Final = re.compile(r"://|www\.|mailto:", re.IGNORECASE)
_REST_OF_ADDRESS: Final = re.compile(r"[^ \t\n]*")
_LETTER: Final = re.compile(r"[A-Za-z]")
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
        open_brackets: how many brackets of the paragraph are open.
        has_tilde: whether the paragraph so far may hold the beginning of what is struck out.
        end_of_address: where an address without brackets ends in the line.
        end_of_marks: where the marks of lists and quotations end in the line.
    """

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._fence: tuple[int, str] | None = None
        self._is_in_doubt = False
        self._begin_paragraph()

    def _begin_paragraph(self) -> None:
        self._has_open_span = self._has_formula = self._has_target = self._has_tilde = False
        self._open_brackets = 0

    def inert(self) -> list[str]:
        shown: list[str] = []
        before = ""
        for line, following in zip(self._lines, [*self._lines[1:], ""], strict=True):
            if _is_empty(line):
                self._begin_paragraph()
            was_fenced = self._fence is not None
            is_code = self._is_fenced(line, before, following)
            if _FORMULA.search(line):
                self._has_formula = True
            if is_code:
                shown.append(line if was_fenced else _inert_info(line))
            else:
                shown.append(self._text(line, following))
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
        if "|" in info:  # for some readers it is the head of a table
            return False
        # Further to the right it may go on with a paragraph. Behind an empty line it is fenced, or indented, code.
        return len(indent) < 4 or _is_empty(before)

    def _text(self, line: str, following: str) -> str:
        """A line of text, in which there may be code."""
        line = _inert_info(line)
        # An escaped sign, and the border of a cell, are read before code or after it: then nothing is sure to be code.
        # JupyterLab reads marks behind a tilde as text.
        is_sure = not (self._is_in_doubt or self._has_open_span or self._has_formula)
        is_plain = not any(sign in line for sign in ("\\`", "|", "~`"))
        around = f"{line}\n{following}"
        pieces: list[str] = []
        at = self._end_of_address = 0
        self._end_of_marks = len(line) - len(line.lstrip(_MARKS))
        while (opening := _BACKTICKS.search(line, at)) is not None:
            runs = _BACKTICKS.finditer(line, opening.end())
            closing = next((each for each in runs if each[0] == opening[0]), None)
            if closing is None:
                self._has_open_span = True
                break
            code = opening.start(), closing.end()
            pieces.append(self._part(around, at, code[0]))
            is_torn = code[0] < self._end_of_address or self._is_torn(line[slice(*code)])
            is_plain = is_plain and not is_torn
            is_code = is_sure and is_plain and not self._has_target
            pieces.append(line[slice(*code)] if is_code else self._part(around, *code))
            at = code[1]
        pieces.append(self._part(around, at, len(line)))
        self._has_open_span = self._has_open_span or (not is_plain and "`" in line)
        return "".join(pieces)

    def _note_opened(self, text: str) -> None:
        for sign in _PAIRED.findall(text):
            if sign == "[":
                self._open_brackets += 1
            elif sign == "]":
                self._open_brackets = max(0, self._open_brackets - 1)
            elif sign == "~":
                self._has_tilde = True

    def _is_torn(self, code: str) -> bool:
        """Whether what began before some code may end in it, and is read first."""
        return (
            (self._open_brackets > 0 and "]" in code)
            or (self._has_tilde and "~" in code)
            or ("`" in code.strip("`") and _PAIRED_IN_CODE.search(code) is not None)
        )

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
                rest = _REST_OF_ADDRESS.search(text, at)
                self._end_of_address = 0 if rest is None else rest.end()
        pieces.append(text[start:end])
        part = "".join(pieces)
        self._note_opened(part)
        return part

    def _is_dangerous(self, text: str, at: int, end: int) -> bool:
        """Whether the sign at a place is to be written otherwise."""
        is_in_attribute = self._has_target or at < self._end_of_address
        match text[at]:
            case "<":
                return _begins_tag(text, at, end, is_first=at <= self._end_of_marks)
            case "!":
                return text.startswith("![", at) and not _is_plain_picture(text, at)
            case "$":
                return is_in_attribute
            case "@":
                return is_in_attribute and _LETTER.match(text, at + 1) is None
            case "\\" if is_in_attribute and _FORMULA.match(text, at) is not None:
                return True
        return _leads_astray(text, at)


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


def _begins_tag(text: str, at: int, end: int, *, is_first: bool) -> bool:
    """Whether a `<` begins a tag; `is_first`: nothing but marks of a list or a quotation is before it."""
    if _ADDRESS.match(text, at, end) is not None:
        return False
    return (_BLOCK if is_first else _TAG).match(text, at) is not None


def _leads_astray(text: str, at: int) -> bool:
    """Whether a link leads where something would run; its target begins behind a place."""
    before = _BEFORE_TARGET.match(text, at)
    if before is None:
        return False
    target = html.unescape(text[before.end() : before.end() + _LONGEST_SCHEME])
    seen = _IGNORED.sub("", target).casefold()
    if len(text) > before.end() + _LONGEST_SCHEME and _UNDECIDED.fullmatch(seen):
        return True
    return _SCHEME.match(seen) is not None and _HARMLESS.match(seen) is None
