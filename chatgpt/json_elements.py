r"""The elements of a JSON list that may take a gigabyte, one at a time, in bounded memory.

Strategy: bytes come piece by piece, ijson (extra `import`) makes events of them, the events make one element after
the other. What ijson offers itself, whole objects, names each value by its path: with deep nesting or long names that
takes memory that grows with the square of what was read.

Rules:

1. No input takes memory without bound: an element has so many bytes, so much memory by estimate, and so many levels.
   One that has more is passed over, and reading goes on after it; of a text beyond the bound, the parser is given the
   end.
2. The parser is given text that every parser reads: U+FFFD stands for what is no UTF-8, and for lone surrogates
   (`"\ud83d"`), at which yajl ends a file, or invents a character.
3. A piece that the parser is given ends between two characters of a text, never within an escape.
4. What cannot be read is told in words that repeat nothing of it.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from typing import Any, Final, TypeAlias

from attrs import frozen

from chatgpt.core.surrogates import lenient
from chatgpt.export_files import DamagedFileError

MEMORY_PER_BYTE: Final = 4
"""A text takes so much if one of its characters is an emoji."""
MEMORY_PER_EVENT: Final = 64
MEMORY_FACTOR: Final = 7
MIN_MEMORY: Final = 100 * 1024 * 1024
"""An element takes so many times the bound of its bytes, by estimate, but never less than this."""
MAX_DEPTH: Final = 100
"""Levels of an element. What has some hundreds more could be read, and not be written as JSON again."""
MAX_SKIPPED_DEPTH: Final = 1_000_000
MAX_NAMES: Final = 1_000
"""So many names of an element's fields are kept once, and not once for each field."""

TOO_MANY_VALUES: Final = "it has too many values; a larger max_conversation_bytes reads it"

Events: TypeAlias = Iterator[tuple[str, Any]]
"""What a JSON parser says: a value begins, has a key, ends."""

_BEGINNINGS: Final = ("start_map", "start_array")
_ENDS: Final = ("end_map", "end_array")
_TOO_LARGE: Final = "too_large"
"""An event of our own, which stands between those of the parser; its value says what is too large."""

_NO_LIST: Final = "it holds no list of conversations"
_NO_JSON: Final = "it is no valid JSON from here on: the rest was not read"
_CUT: Final = "it was cut: the file ends too early"
_NO_UTF_8: Final = "it holds bytes that are no UTF-8; U+FFFD replaces them"
_LONE_SURROGATES: Final = "it holds lone surrogates; U+FFFD replaces them"

_OTHER_KINDS: Final = (
    (re.compile(rb"\xff\xfe\0\0|\0\0\xfe\xff|[\[{]\0\0\0|\0\0\0[\[{]"), "UTF-32, not UTF-8"),
    (re.compile(rb"\xff\xfe|\xfe\xff|[\[{]\0|\0[\[{]"), "UTF-16, not UTF-8"),
    (re.compile(rb"PK\x03\x04|PK\x05\x06"), "a zip"),
)
"""What a file begins with that is none of JSON in UTF-8."""

_SPACE: Final = b" \t\r\n"
_MAX_SOLID: Final = 64
"""Between two events, so many bytes that are no white space stand in a text: nothing else is as long."""

_ESCAPE: Final = 6
_BACKSLASH: Final = ord("\\")
_HEX: Final = rb"[0-9a-fA-F]"
_MAYBE_LONE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_HIGH: Final = re.compile(rb"\\u[dD][89abAB]%b{2}" % _HEX)
_LOW: Final = rb"\\u[dD][c-fC-F]%b{2}" % _HEX
_SUSPECT: Final = re.compile(
    rb"%b(?!%b)|(?<!%b)%b|\\\\u[dD]" % (_HIGH.pattern, _LOW, _HIGH.pattern, _LOW)
)
"""A surrogate that stands alone, or might after an escaped backslash. (Possessive quantifiers would do it all in one,
but do not work before Python 3.11.5.)"""
_SURROGATES: Final = re.compile(
    rb"\\\\|%b%b|(\\u[dD][89a-fA-F]%b{2})" % (_HIGH.pattern, _LOW, _HEX)
)
"""An escaped backslash, a pair, or a lone surrogate: the group."""


@frozen
class Unread:
    """An element of which no more is known than why it was not read."""

    reason: str


class JSONElements:
    """A list of conversations: a JSON array, an object that has one as its `conversations`, or one conversation.

    Args:
        pieces: the bytes, in small pieces.
        max_bytes: the bound of one element.

    Attributes:
        problems: what is wrong with the file; complete when all elements were read.
        has_list: whether there are elements, or a list without any.
        is_damaged: whether the bytes ended before the file did.
    """

    def __init__(self, pieces: Iterator[bytes], max_bytes: int) -> None:
        self.problems: list[str] = []
        self.has_list = self.is_damaged = False
        valid = self._without_lone_surrogates(self._valid(pieces))
        self._pieces: Iterator[bytes] = valid
        self._max_bytes = max_bytes
        self._max_memory = max(MEMORY_FACTOR * max_bytes, MIN_MEMORY)
        self._fault: str | None = None
        """Why the events ended too early, until it is told."""
        self._is_inside = False
        """Whether an element has begun and is being built; then, what it took since that piece."""
        self._bytes = self._event_count = 0

    def read(self) -> Iterator[object]:
        """The elements of the list, one at a time; an `Unread` in place of one that cannot be had."""
        events: Events = chain.from_iterable(self._batches())
        try:
            first, _ = next(events, ("", None))
            if first == "start_array":
                yield from self._elements_of_list(events)
            elif first == "start_map":
                yield from self._elements_of_object(events)
            elif first:
                self.problems.append(_NO_LIST)
            for _ in events:  # what stands behind the list is a fault
                pass
        except DamagedFileError as error:
            self._fault = str(error)
        if self._fault is not None:
            self.problems.append(self._fault)

    def has_room_for(self, memory: int) -> bool:
        """Whether the element that was read last may take so much more memory."""
        return self._memory() + memory <= self._max_memory

    def _memory(self) -> int:
        """An estimate of what the element takes, measured with the worst of each kind."""
        return MEMORY_PER_BYTE * self._bytes + MEMORY_PER_EVENT * self._event_count

    def _elements_of_object(self, events: Events) -> Iterator[object]:
        fields: dict[str, Any] = {}
        name = ""
        is_conversation = is_whole = False
        unread: Unread | None = None
        self._begin()
        for event, value in events:
            if event == "map_key":
                name = value
                is_conversation = is_conversation or name == "mapping"
            elif event == "start_array" and name == "conversations":
                fields.clear()
                yield from self._elements_of_list(events)
            elif event == "end_map":
                is_whole = True
                break
            elif event == _TOO_LARGE:
                unread = unread or Unread(value)
            elif self.has_list or unread is not None:
                if event in _BEGINNINGS:
                    self._skip(events, 1)
            elif event in _BEGINNINGS:
                made = self._built({} if event == "start_map" else [], events)
                self._is_inside = True
                unread = made if isinstance(made, Unread) else None
                fields[name] = made
            else:
                fields[name] = value
        self._is_inside = False
        if self.has_list:
            return
        if not is_whole:
            unread = Unread(self._fault or (_CUT if unread is None else unread.reason))
            self._fault = None if is_conversation else unread.reason
        if is_conversation:
            self.has_list = True
            yield fields if unread is None else unread
        elif is_whole:
            self.problems.append(_NO_LIST)

    def _elements_of_list(self, events: Events) -> Iterator[object]:
        self.has_list = True
        self._is_inside = False
        for event, value in events:
            if event == "end_array":
                return
            if event in _BEGINNINGS:
                self._begin()
                yield self._built({} if event == "start_map" else [], events)
            else:
                yield value

    def _begin(self) -> None:
        self._is_inside, self._bytes, self._event_count = True, 0, 0

    def _built(self, root: dict[str, Any] | list[Any], events: Events) -> object:
        """Build a value that has begun."""
        container: Any = root
        above: list[Any] = []
        names: dict[str, str] = {}
        key = ""
        for event, value in events:
            if event == "map_key":
                key = names.get(value) or value
                if key is value and len(names) < MAX_NAMES:
                    names[key] = key
            elif event in _ENDS:
                if not above:
                    self._is_inside = False
                    return root
                container = above.pop()
            elif event in _BEGINNINGS:
                made: Any = {} if event == "start_map" else []
                if type(container) is dict:
                    container[key] = made
                else:
                    container.append(made)
                above.append(container)
                container = made
                if len(above) == MAX_DEPTH:
                    return self._passed_over("it is nested too deeply", len(above) + 1, events)
            elif event == _TOO_LARGE:
                return self._passed_over(value, len(above) + 1, events)
            elif type(container) is dict:
                container[key] = value
            else:
                container.append(value)
        reason, self._fault = self._fault, None
        return Unread(reason or _CUT)

    def _passed_over(self, reason: str, depth: int, events: Events) -> Unread:
        self._is_inside = False
        self._skip(events, depth)
        return Unread(reason)

    def _skip(self, events: Events, depth: int) -> None:
        """Pass over the rest of a value that has so many levels open.

        Raises:
            DamagedFileError: it has more levels than can be counted: the parser remembers each.
        """
        for event, _ in events:
            if event in _BEGINNINGS:
                depth += 1
                if depth > MAX_SKIPPED_DEPTH:
                    raise DamagedFileError("it is nested without end: the rest was not read")
            elif event in _ENDS:
                depth -= 1
                if not depth:
                    return

    # --- the parser --------------------------------------------------------------------------

    def _batches(self) -> Iterator[list[tuple[str, Any]]]:
        """The events, as many at a time as a piece of the file gives."""
        ijson = import_module("ijson")
        events = ijson.sendable_list()
        # As decimals, a number with thousands of digits ends the process (ijson 3.6); as floats, one beyond 64
        # bits ends the file.
        parser = ijson.basic_parse_coro(events, use_float=True)
        silence = solid = 0
        """So many bytes gave no event, and so many of them are no white space."""
        try:
            while sent := self._next_piece(silence, solid):
                parser.send(sent)
                if events:
                    silence = solid = 0
                else:
                    silence += len(sent)
                    solid += len(sent.translate(None, _SPACE))
                if self._is_inside:
                    self._bytes += len(sent)
                    self._event_count += len(events)
                    reason = self._too_large()
                    if reason is not None:
                        yield [(_TOO_LARGE, reason)]
                yield events[:]
                events.clear()
        except (ijson.JSONError, ValueError, ArithmeticError):
            self._fault = _NO_JSON
        if self._fault is None:
            try:
                parser.close()
            except ijson.JSONError:
                self._fault = _CUT
        yield events

    def _too_large(self) -> str | None:
        if self._bytes > self._max_bytes:
            return f"it is larger than max_conversation_bytes ({self._max_bytes})"
        return None if self.has_room_for(0) else TOO_MANY_VALUES

    def _next_piece(self, silence: int, solid: int) -> bytes:
        """What the parser is given next; nothing at the end.

        It reads an unfinished text from its beginning whenever it is given more of it. So a piece of a long
        text grows with it; and of one beyond the bound, the rest is passed over. So is white space that is as
        long.
        """
        if silence > self._max_bytes:
            if solid > _MAX_SOLID:
                return _end_of_text(self._pieces)
            return next(filter(None, (piece.lstrip(_SPACE) for piece in self._pieces)), b"")
        pieces = []
        size = 0
        for piece in self._pieces:
            pieces.append(piece)
            size += len(piece)
            if size * 4 >= silence:
                break
        return b"".join(pieces)

    # --- the bytes ---------------------------------------------------------------------------

    def _until_fault(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from pieces
        except DamagedFileError as error:
            self._fault = str(error)
            self.is_damaged = True

    def _valid(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same bytes without a mark at the beginning, and U+FFFD for what is no UTF-8."""
        decoder = getincrementaldecoder("utf-8-sig")("surrogateescape")
        is_first = True
        is_damaged = False
        for piece in chain(self._until_fault(pieces), [b""]):
            if is_first:
                for beginning, kind in _OTHER_KINDS:
                    if beginning.match(piece):
                        self._fault = f"it is {kind}"
                        return
            is_first = False
            text = decoder.decode(piece, final=not piece)
            try:
                valid = text.encode()
            except UnicodeEncodeError:
                valid = lenient(text).encode()
                if not is_damaged:
                    self.problems.append(_NO_UTF_8)
                is_damaged = True
            if valid:
                yield valid

    def _without_lone_surrogates(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same text with escapes of U+FFFD for lone surrogates, in pieces that end between characters."""
        held = b""
        is_noted = False
        for piece in pieces:
            piece = held + piece  # noqa: PLW2901
            end = _last_border(piece)
            held, piece = piece[end:], piece[:end]  # noqa: PLW2901
            if _MAYBE_LONE.search(piece) is not None:
                mended = _mended(piece)
                if mended != piece and not is_noted:
                    self.problems.append(_LONE_SURROGATES)
                    is_noted = True
                piece = mended  # noqa: PLW2901
            if piece:
                yield piece
        if held:
            yield held


def _last_border(piece: bytes) -> int:
    """The last place of a text that stands between two characters: within no escape, and no pair of them."""
    end = len(piece)
    start = piece.rfind(b"\\", max(end - _ESCAPE + 1, 0))
    if start >= 0 and not _is_escaped(piece, start):
        size = _ESCAPE if piece[start + 1 : start + 2] == b"u" else 2
        if start + size > end:
            end = start
    start = end - _ESCAPE
    if start >= 0 and _HIGH.match(piece, start) and not _is_escaped(piece, start):
        end = start
    return end


def _mended(piece: bytes) -> bytes:
    if _SUSPECT.search(piece) is None:
        return piece
    return _SURROGATES.sub(lambda found: b"\\ufffd" if found[1] else found[0], piece)


def _end_of_text(pieces: Iterator[bytes]) -> bytes:
    """Pass over a text in quotes that has begun; returns what stands from its closing quote on."""
    for piece in pieces:  # which ends between two characters
        end = piece.find(b'"')
        while end > 0 and _is_escaped(piece, end):
            end = piece.find(b'"', end + 1)
        if end >= 0:
            return piece[end:]
    return b""


def _is_escaped(piece: bytes, position: int) -> bool:
    start = position
    while start > 0 and piece[start - 1] == _BACKSLASH:
        start -= 1
    return (position - start) % 2 == 1
