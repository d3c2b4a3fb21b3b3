"""From ChatGPT's own data export to a message store.

    from chatgpt import SQLiteStore
    from chatgpt.imports import import_chatgpt_export

    report = import_chatgpt_export("export.zip", SQLiteStore("conversations.db"))

Strategy: a file of an export may take a gigabyte, so nothing of it is held but the conversation that is
being read. The bytes come piece by piece (`chatgpt.export_files`), one conversation after the other is made of them
(`chatgpt.json_elements`), and the core makes messages of each.

Rules:

1. What cannot be read is a problem in the report, and never an exception; what is beside it is read. A file that was
   named itself and holds nothing of the kind is the caller's mistake.
2. No input takes memory without bound: a conversation has so many bytes, values and nodes. One that has more is
   passed over, and reading goes on after it.
3. A conversation is saved in one write. Where a store holds other messages under its ids, it gets other ids;
   what is imported again gets the same ones, so nothing is doubled.
4. What the store raises is raised; the conversations before are saved, and importing again is safe.
5. A conversation may come twice in an export: an older state of it adds its messages, and changes nothing else.
6. Problems repeat nothing of what was said.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from importlib.util import find_spec
from typing import Final

from attrs import define, evolve

from chatgpt.core.errors import ConfigurationError, MessageIdTakenError
from chatgpt.core.validation import plain_function
from chatgpt.core.web.exports import ExportedConversation, ExportError, read_conversation
from chatgpt.export_files import ExportFile, export_files
from chatgpt.import_reports import (
    ArchiveProgress,
    ImportedConversation,
    ImportProblem,
    ImportReport,
    Problems,
)
from chatgpt.json_elements import TOO_MANY_VALUES, JSONElements, Unread
from chatgpt.stores.asking import Asking, ask_store, save, tell
from chatgpt.stores.protocol import MessageStore, check_store

DEFAULT_MAX_CONVERSATION_BYTES: Final = 64 * 1024 * 1024
MEMORY_PER_NODE: Final = 1024
"""What the messages of a conversation take at most for each node, beside the nodes and what they say."""
ATTEMPTS: Final = 10


def import_chatgpt_export(
    path: str | os.PathLike[str],
    store: MessageStore,
    *,
    max_conversation_bytes: int = DEFAULT_MAX_CONVERSATION_BYTES,
    on_progress: Callable[[ArchiveProgress], object] | None = None,
) -> ImportReport:
    """Save the conversations of a data export.

    Args:
        path: the zip that ChatGPT sent, one of its `conversations.json`, `conversations-000.json`, ..., or a
            folder that holds these.
        store: where the messages are saved, one conversation at a time.
        max_conversation_bytes: a conversation that takes more of the file is passed over. So is one that takes,
            by estimate, more than seven times as much memory (and more than 100 MiB): one that has millions of
            values, or a node for each 150 bytes of this bound.
        on_progress: called with an `ArchiveProgress` after each conversation, and at the end; its `fraction` is that of
            the bytes of the files, `None` if they cannot be told in advance. What it raises ends the work.

    Returns:
        What was saved, and what could not be read.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it holds no conversations: the zip or the folder has no file of that name, or the file is of
            another kind. (In a zip or a folder, a file of another kind is a problem in the report.)
        ConfigurationError: the extra `import` is not installed.
        Exception: what the store raises.
    """
    told = plain_function("on_progress", on_progress)
    return ask_store(importing_export(path, max_conversation_bytes, told), check_store(store))


def importing_export(
    path: str | os.PathLike[str],
    max_conversation_bytes: int,
    on_progress: Callable[[ArchiveProgress], object] | None,
) -> Asking[ImportReport]:
    """The work of `import_chatgpt_export`, which has the same arguments."""
    imported = _Imported()
    problems = Problems()
    files, found = _found(path, max_conversation_bytes)
    meter = _Meter(files)
    reading = _read(files, found, max_conversation_bytes, meter)
    with closing(reading):
        for item in reading:
            if isinstance(item, ImportProblem):
                problems.add([item])
                continue
            where = f"conversation {item.id[:100]!r}"
            problems.add(ImportProblem(where, reason) for reason in item.problems)
            stored = yield from _saved(imported.without_older_head(item))
            if stored is None:
                reason = "other messages are stored under all of its ids"
                problems.add([ImportProblem(where, reason)])
            else:
                imported.add(stored)
            yield from tell(on_progress, imported.message_count, meter.fraction)
    yield from tell(on_progress, imported.message_count, 1.0)
    return ImportReport(imported.listed(), imported.message_count, problems.listed())


def _saved(conversation: ExportedConversation) -> Asking[ExportedConversation | None]:
    """Save a conversation; returns it with the ids under which it is stored."""
    for _ in range(ATTEMPTS):
        try:
            yield from save(conversation.messages)
        except MessageIdTakenError as error:
            conversation = conversation.renamed(set(error.message_ids))
        else:
            return conversation
    return None


@define
class _State:
    """What is known of a conversation that was saved.

    Attributes:
        conversation: its newest state, without its messages.
        head_id: the id under which its head is stored.
        ids: the hashes of the ids of its messages: eight bytes each.
    """

    conversation: ExportedConversation
    head_id: str
    ids: array[int]


class _Imported:
    """The conversations that were saved, each once.

    Attributes:
        message_count: how many messages they have.
    """

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}
        self.message_count = 0

    def without_older_head(self, conversation: ExportedConversation) -> ExportedConversation:
        """A conversation without its head, if a newer one is stored."""
        state = self._states.get(conversation.id)
        if state is None or not conversation.is_older_than(state.conversation):
            return conversation
        return conversation.without_head(state.head_id)

    def add(self, conversation: ExportedConversation) -> None:
        """Note a conversation as it was saved."""
        ids = array("q", [hash(message.id) for message in conversation.messages])
        state = self._states.get(conversation.id)
        known = evolve(conversation, messages=(), problems=())
        if state is None:
            self._states[conversation.id] = _State(known, conversation.messages[0].id, ids)
            self.message_count += len(ids)
            return
        before = len(state.ids)
        state.ids = array("q", {*state.ids, *ids})
        self.message_count += len(state.ids) - before
        if not conversation.is_older_than(state.conversation):
            state.conversation, state.head_id = known, conversation.messages[0].id

    def listed(self) -> tuple[ImportedConversation, ...]:
        """Them, in the order in which they were first met."""
        return tuple(
            ImportedConversation(
                state.conversation.id,
                state.conversation.title,
                state.conversation.current_node,
                len(state.ids),
            )
            for state in self._states.values()
        )


def read_chatgpt_export(
    path: str | os.PathLike[str],
    *,
    max_conversation_bytes: int = DEFAULT_MAX_CONVERSATION_BYTES,
) -> Generator[ExportedConversation | ImportProblem, None, None]:
    """Read the conversations of a data export, one at a time.

    Args:
        path: the zip that ChatGPT sent, one of its `conversations.json`, `conversations-000.json`, ..., or a
            folder that holds these.
        max_conversation_bytes: a conversation that takes more of the file is passed over. So is one that takes,
            by estimate, more than seven times as much memory (and more than 100 MiB): one that has millions of
            values, or a node for each 150 bytes of this bound. It is looked at from time to time: one of a few
            KiB more may get through.

    Returns:
        A generator, which can be left at any time. The conversations come in the order of the export, with
        what could not be read between them.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it holds no conversations. That a file is of another kind is told when it is read.
        ConfigurationError: the extra `import` is not installed.
    """
    files, problems = _found(path, max_conversation_bytes)
    return _read(files, problems, max_conversation_bytes, _Meter(files))


def _found(
    path: str | os.PathLike[str], max_conversation_bytes: int
) -> tuple[list[ExportFile], list[tuple[str, str]]]:
    """The files that are to be read, and what is wrong with the export as a whole; arguments are checked."""
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
    return export_files(path)


class _Meter:
    """How much was read of some files, as far as they tell their sizes."""

    def __init__(self, files: list[ExportFile]) -> None:
        sizes = [file.size for file in files if file.size is not None]
        self._total = sum(sizes) if len(sizes) == len(files) else None
        self._done = self._end = 0

    @property
    def fraction(self) -> float | None:
        """How much was read, of 1; `None` where nobody knows how much there is."""
        return self._done / self._total if self._total else None

    def pieces_of(self, file: ExportFile) -> Iterator[bytes]:
        """Begin with the next file: the one before is done with, be it damaged."""
        self._done = self._end
        self._end += file.size or 0
        for piece in file.pieces():
            self._done = min(self._done + len(piece), self._end)  # a zip may say anything
            yield piece


def _read(
    files: list[ExportFile], problems: list[tuple[str, str]], max_bytes: int, meter: _Meter
) -> Generator[ExportedConversation | ImportProblem, None, None]:
    for where, reason in problems:
        yield ImportProblem(where, reason)
    for file in files:
        elements = JSONElements(meter.pieces_of(file), max_bytes)
        for number, element in enumerate(elements.read(), start=1):
            read = _conversation(element, elements)
            if isinstance(read, str):
                yield ImportProblem(f"{file.name}, conversation {number}", read)
            else:
                yield read
        if file.is_named and not elements.has_list and not elements.is_damaged:
            raise ValueError(
                f"The file {file.name!r} holds no conversations: {'; '.join(elements.problems)}. "
                "(import_messages reads JSON Lines, as export_messages writes them.)"
            )
        for reason in elements.problems:
            yield ImportProblem(file.name, reason)


def _conversation(element: object, elements: JSONElements) -> ExportedConversation | str:
    """Read one element; where that cannot be, the reason."""
    if isinstance(element, Unread):
        return element.reason
    if not isinstance(element, dict):
        return "it is no object"
    mapping = element.get("mapping")
    if isinstance(mapping, dict) and not elements.has_room_for(MEMORY_PER_NODE * len(mapping)):
        return TOO_MANY_VALUES
    try:
        return read_conversation(element)
    except ExportError as error:
        return str(error)
