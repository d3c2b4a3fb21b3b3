"""From ChatGPT's own data export to a message store.

    from chatgpt import MemoryStore
    from chatgpt.imports import import_chatgpt_export

    report = import_chatgpt_export("export.zip", MemoryStore())

Strategy: a file of an export may take a gigabyte, so nothing of it is held but the conversation that is
being read. The bytes come piece by piece (`chatgpt.export_files`), ijson (extra `import`) makes events of them,
the events make one conversation after the other, and the core makes messages of each. What ijson offers
itself, whole objects, names each value by its path: with deep nesting or long names that takes memory that
grows with the square of what was read.

Rules:

1. What cannot be read is a problem in the report, and never an exception; what is beside it is read.
2. No input takes memory without bound: a conversation has so many bytes, values and levels. One that has
   more is passed over, and reading goes on after it; of a text beyond the bound, the parser is given the end.
3. A conversation is saved in one write. Where a store holds other messages under its ids, it gets other ids;
   what is imported again gets the same ones, so nothing is doubled.
4. What the store raises is raised; the conversations before are saved, and importing again is safe.
5. Problems repeat nothing of what was said.
"""

from __future__ import annotations

import os
import re
from codecs import getincrementaldecoder
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from typing import Any, Final, TypeAlias

from attrs import frozen

from chatgpt.core.errors import ConfigurationError, MessageIdTakenError
from chatgpt.core.surrogates import lenient
from chatgpt.core.web.exports import ExportedConversation, ExportError, read_conversation
from chatgpt.export_files import PIECE, DamagedFileError, ExportFile, export_files
from chatgpt.import_reports import (
    ImportedConversation,
    ImportProblem,
    ImportReport,
    Problems,
)
from chatgpt.stores.protocol import MessageStore, check_store

DEFAULT_MAX_CONVERSATION_BYTES: Final = 64 * 1024 * 1024
BYTES_PER_EVENT: Final = 24
MIN_EVENTS: Final = 1_000_000
"""A conversation has no more values than one for so many bytes of the bound: small ones take the most memory."""
MAX_DEPTH: Final = 100
"""Levels of a conversation. What has some hundreds more could be read, and not be written as JSON again."""
MAX_SKIPPED_DEPTH: Final = 1_000_000
ATTEMPTS: Final = 10

Events: TypeAlias = Iterator[tuple[str, Any]]
"""What a JSON parser says: a value begins, has a key, ends."""

_BEGINNINGS: Final = ("start_map", "start_array")
_ENDS: Final = ("end_map", "end_array")
_TOO_LARGE: Final = "too_large"
"""An event of our own, which stands between those of the parser."""

_NO_LIST: Final = "it holds no list of conversations"
_NO_JSON: Final = "it is no valid JSON from here on: the rest was not read"
_CUT: Final = "it was cut: the file ends too early"

_IN_TEXT: Final = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_ESCAPE_SIZE: Final = 5
"""The beginning of an escape is no longer, so a text without one in its last bytes may be cut there."""
_PATIENCE: Final = 64
"""So many pieces are tried for such a place."""


def import_chatgpt_export(
    path: str | os.PathLike[str],
    store: MessageStore,
    *,
    max_conversation_bytes: int = DEFAULT_MAX_CONVERSATION_BYTES,
) -> ImportReport:
    """Save the conversations of a data export.

    Args:
        path: the zip that ChatGPT sent, one of its `conversations.json`, `conversations-000.json`, ..., or a
            folder that holds these.
        store: where the messages are saved, one conversation at a time.
        max_conversation_bytes: a conversation that takes more of the file is passed over.

    Returns:
        What was saved, and what could not be read.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it holds no conversations.
        ConfigurationError: the extra `import` is not installed.
        Exception: what the store raises.
    """
    check_store(store)
    saved: list[ImportedConversation] = []
    problems = Problems()
    reading = read_chatgpt_export(path, max_conversation_bytes=max_conversation_bytes)
    for item in reading:
        if isinstance(item, ImportProblem):
            found = [item]
        else:
            where = f"conversation {item.id[:100]!r}"
            found = [ImportProblem(where, reason) for reason in item.problems]
            stored = _saved(item, store)
            if stored is None:
                found.append(ImportProblem(where, "other messages are stored under all of its ids"))
            else:
                saved.append(stored)
        problems.add(found)
    count = sum(conversation.message_count for conversation in saved)
    return ImportReport(tuple(saved), count, problems.listed())


def _saved(conversation: ExportedConversation, store: MessageStore) -> ImportedConversation | None:
    for _ in range(ATTEMPTS):
        try:
            store.save(conversation.messages)
        except MessageIdTakenError as error:
            conversation = conversation.renamed(set(error.message_ids))
        else:
            return ImportedConversation(
                conversation.id,
                conversation.title,
                conversation.current_node,
                len(conversation.messages),
            )
    return None


def read_chatgpt_export(
    path: str | os.PathLike[str],
    *,
    max_conversation_bytes: int = DEFAULT_MAX_CONVERSATION_BYTES,
) -> Iterator[ExportedConversation | ImportProblem]:
    """Read the conversations of a data export, one at a time.

    Args:
        path: the zip that ChatGPT sent, one of its `conversations.json`, `conversations-000.json`, ..., or a
            folder that holds these.
        max_conversation_bytes: a conversation that takes more of the file is passed over. It is looked at
            from time to time: one of a few KiB more may get through.

    Returns:
        An iterator, which can be left at any time. The conversations come in the order of the export, with
        what could not be read between them.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it holds no conversations.
        ConfigurationError: the extra `import` is not installed.
    """
    if type(max_conversation_bytes) is not int:
        raise TypeError(
            f"max_conversation_bytes must be an int, not {type(max_conversation_bytes).__name__}."
        )
    if max_conversation_bytes < 1:
        raise ValueError(
            f"max_conversation_bytes must be at least 1, not {max_conversation_bytes}."
        )
    if find_spec("ijson") is None:
        raise ConfigurationError(
            "Reading an export needs ijson, which the extra 'import' brings: "
            "pip install 'chatgpt-sdk[import]'"
        )
    files, problems = export_files(path)
    return _read(files, problems, max_conversation_bytes)


def _read(
    files: list[ExportFile], problems: list[tuple[str, str]], max_bytes: int
) -> Iterator[ExportedConversation | ImportProblem]:
    for where, reason in problems:
        yield ImportProblem(where, reason)
    for file in files:
        document = _Document(file.pieces(), max_bytes)
        for number, element in enumerate(document.elements(), start=1):
            where = f"{file.name}, conversation {number}"
            if isinstance(element, _Unread):
                yield ImportProblem(where, element.reason)
            elif not isinstance(element, dict):
                yield ImportProblem(where, "it is no object")
            else:
                try:
                    conversation = read_conversation(element)
                except ExportError as error:
                    yield ImportProblem(where, str(error))
                else:
                    yield conversation
        for reason in document.problems:
            yield ImportProblem(file.name, reason)


# --- one file --------------------------------------------------------------------------------


@frozen
class _Unread:
    """An element of which no more is known than why it was not read."""

    reason: str


class _Document:
    """A list of conversations: a JSON array, or an object that has one as its `conversations`.

    Args:
        pieces: the bytes, in small pieces.
        max_bytes: the bound of one element.
    """

    def __init__(self, pieces: Iterator[bytes], max_bytes: int) -> None:
        self.problems: list[str] = []
        self._pieces = self._valid(pieces)
        self._max_bytes = max_bytes
        self._max_events = max(max_bytes // BYTES_PER_EVENT, MIN_EVENTS)
        self._fault: str | None = None
        """Why the events ended too early, until it is told."""
        self._is_inside = False
        """Whether an element has begun and is being built; then, what it took since that piece."""
        self._bytes = self._event_count = 0

    def elements(self) -> Iterator[object]:
        """The elements of the list, one at a time; an `_Unread` in place of one that cannot be had."""
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

    def _elements_of_object(self, events: Events) -> Iterator[object]:
        has_list, name = False, ""
        for event, value in events:
            if event == "map_key":
                name = value
            elif event == "start_array" and name == "conversations":
                has_list = True
                yield from self._elements_of_list(events)
            elif event in _BEGINNINGS:
                self._skip(events, 1)
        if not has_list and self._fault is None:
            self.problems.append(_NO_LIST)

    def _elements_of_list(self, events: Events) -> Iterator[object]:
        for event, value in events:
            if event == "end_array":
                return
            if event in _BEGINNINGS:
                self._is_inside, self._bytes, self._event_count = True, 0, 0
                yield self._built({} if event == "start_map" else [], events)
            else:
                yield value

    def _built(self, root: dict[str, Any] | list[Any], events: Events) -> object:
        """Build an element that has begun."""
        container: Any = root
        above: list[Any] = []
        key = ""
        for event, value in events:
            if event == "map_key":
                key = value
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
                return self._passed_over("it is too large", len(above) + 1, events)
            elif type(container) is dict:
                container[key] = value
            else:
                container.append(value)
        reason, self._fault = self._fault, None
        return _Unread(reason or _CUT)

    def _passed_over(self, reason: str, depth: int, events: Events) -> _Unread:
        self._is_inside = False
        self._skip(events, depth)
        return _Unread(reason)

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

    def _batches(self) -> Iterator[list[tuple[str, Any]]]:
        """The events, as many at a time as a piece of the file gives."""
        ijson = import_module("ijson")
        events = ijson.sendable_list()
        # As decimals, a number with thousands of digits ends the process (ijson 3.6); as floats, one beyond 64
        # bits ends the file.
        parser = ijson.basic_parse_coro(events, use_float=True)
        silence = 0
        """So many bytes gave no event: they belong to one text."""
        sent = b""
        try:
            while sent := self._next_piece(sent, silence):
                parser.send(sent)
                silence = 0 if events else silence + len(sent)
                if self._is_inside:
                    self._bytes += len(sent)
                    self._event_count += len(events)
                    if self._bytes > self._max_bytes or self._event_count > self._max_events:
                        yield [(_TOO_LARGE, None)]
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

    def _next_piece(self, last: bytes, silence: int) -> bytes:
        """What the parser is given next; nothing at the end.

        It reads an unfinished text from its beginning whenever it is given more of it. So a piece of a long
        text grows with it; and of one beyond the bound, the rest is passed over.
        """
        if silence > self._max_bytes:
            if b"\\" not in last[-_ESCAPE_SIZE:]:
                return _end_of_text(self._pieces)
            if silence > self._max_bytes + _PATIENCE * PIECE:
                self._fault = "a text in it has no end: the rest was not read"
                return b""
            return next(self._pieces, b"")
        pieces = []
        size = 0
        for piece in self._pieces:
            pieces.append(piece)
            size += len(piece)
            if size * 4 >= silence:
                break
        return b"".join(pieces)

    def _until_fault(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from pieces
        except DamagedFileError as error:
            self._fault = str(error)

    def _valid(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same bytes without a mark at the beginning, and U+FFFD for what is no UTF-8."""
        decoder = getincrementaldecoder("utf-8-sig")("surrogateescape")
        is_damaged = False
        for piece in chain(self._until_fault(pieces), [b""]):
            text = decoder.decode(piece, final=not piece)
            try:
                valid = text.encode()
            except UnicodeEncodeError:
                valid = lenient(text).encode()
                if not is_damaged:
                    self.problems.append("it holds bytes that are no UTF-8; U+FFFD replaces them")
                is_damaged = True
            if valid:
                yield valid


def _end_of_text(pieces: Iterator[bytes]) -> bytes:
    """Pass over a text in quotes that has begun; returns what stands from its closing quote on."""
    backslash = b""
    for piece in pieces:
        piece = backslash + piece  # noqa: PLW2901
        match = _IN_TEXT.match(piece)
        end = match.end() if match is not None else 0
        if piece[end : end + 1] == b'"':
            return piece[end:]
        backslash = piece[end:]
    return b""
