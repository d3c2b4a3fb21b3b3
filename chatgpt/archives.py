"""A store as a file, and back: messages as JSON Lines, and documents for people.

Strategy: messages go in batches from a store into a file, and from a file into a store, so that a store of any size needs
little memory: a document of a whole store, and listing a Redis, takes the ids of all messages. The work is written once,
for the stores of both twins (`stores.asking`), and tells how far it is. JSON Lines hold the record of a message on each line
(`core.records`), in the order in which the messages were first saved: so the file of a store, read into an empty one of
any kind that holds so many, makes the same file again, byte for byte. What a store knows of conversations beside their
messages, their names and where they stand, is not in it.

Rules:

1. A file that is written is complete and on the disk, or it is not there: it takes the place of an older one in the
   end, and with its permissions.
2. What cannot be read of a file is reported, with its line, and the rest is imported.
3. Importing puts every message back as the file has it; doing so twice is the same as once.
4. A line is bounded, so a file that is none of ours needs no more memory than others.
"""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOBase
from pathlib import Path
from stat import S_IMODE
from typing import IO, Final, Literal, TypeAlias, cast, get_args
from uuid import uuid4

from chatgpt.core.documents import Document, HtmlDocument, MarkdownDocument
from chatgpt.core.errors import ConfigurationError, MessageIdTakenError, MessageNotFoundError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.records import RecordError, from_json, origin_of, to_json
from chatgpt.core.validation import identifier, plain_function
from chatgpt.import_reports import ArchiveProgress, ImportProblem, ImportReport, Problems
from chatgpt.markdown_pages import markdown_renderer
from chatgpt.stores.asking import (
    BATCH,
    Asking,
    ask_store,
    get_each,
    next_messages,
    read_conversation,
    read_path,
    save,
    tell,
)
from chatgpt.stores.protocol import MessageStore, check_store

ArchiveFormat: TypeAlias = Literal["jsonl", "markdown", "html"]
"""How messages are written: the first can be imported again."""

ArchivePath: TypeAlias = "str | os.PathLike[str] | IO[bytes]"
"""A path, or a binary file that is open."""

_SUFFIXES: Final[dict[str, ArchiveFormat]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
}
MAX_LINE_BYTES: Final = 256 * 1024 * 1024
"""A line that is longer is no message."""


def export_messages(
    store: MessageStore,
    destination: ArchivePath,
    *,
    format: ArchiveFormat | None = None,  # noqa: A002 - what everybody calls it
    message_id: str | None = None,
    conversation_id: str | None = None,
    on_progress: Callable[[ArchiveProgress], object] | None = None,
) -> int:
    """Write the messages of a store into a file: all of them, a thread, or a conversation.

    What the store cannot read is left out (`unreadable_messages`). In HTML, replies are shown as the Markdown that
    they are, if the extra `markdown` is installed.

    Args:
        store: holds the messages.
        destination: the path of the file, or a binary file that is open.
        format: `"jsonl"`, `"markdown"` or `"html"`; by default what the path ends with says.
        message_id: the newest message of a thread, which alone is written; by default everything is.
        conversation_id: the conversation that alone is written, with all its branches; by default everything is.
        on_progress: called with an `ArchiveProgress` after each batch of at most 500 messages that was written, and at
            the end; by default nothing is. What it raises ends the work: there is no new file then.

    Returns:
        How many messages were written. Documents leave hidden ones out.

    Raises:
        MessageNotFoundError: the store does not hold `message_id`, or nothing of `conversation_id`.
        ConfigurationError: both are given; or the store cannot list its messages (a thread can be written all the
            same).
        ValueError: the format cannot be told from the path, or is none.
        OSError: the file cannot be written.
    """
    told = plain_function("on_progress", on_progress)
    work = exporting(destination, format, message_id, conversation_id, told)
    return ask_store(work, check_store(store))


def import_messages(
    source: ArchivePath,
    store: MessageStore,
    *,
    on_progress: Callable[[ArchiveProgress], object] | None = None,
) -> ImportReport:
    """Read messages from a file of JSON Lines, as `export_messages` writes it, into a store.

    Args:
        source: the path of the file, or a binary file that is open.
        store: where they are saved, 500 at a time.
        on_progress: called with an `ArchiveProgress` after each of these, and at the end; its `fraction` is that of the
            bytes of the file, `None` if they cannot be told in advance. What it raises ends the work.

    Returns:
        How many messages were saved, in place of those that are there already; and which lines were not: they hold
        no message, or one whose id belongs to another message in the store.

    Raises:
        ValueError: it is another kind of file.
        OSError: the file cannot be read.
        StoreError: the store failed. What was saved is there; import the file again.
    """
    work = importing(source, plain_function("on_progress", on_progress))
    return ask_store(work, check_store(store))


def _binary(name: str, file: object, mode: str) -> IO[bytes]:
    if isinstance(file, TextIOBase) or not hasattr(file, "write" if mode == "wb" else "readline"):
        raise TypeError(f"{name} must be a path, or a binary file: open it with mode {mode!r}.")
    return cast("IO[bytes]", file)


# --- writing ---------------------------------------------------------------------------------


def exporting(
    destination: ArchivePath,
    given_format: object,
    message_id: object,
    conversation_id: object,
    on_progress: Callable[[ArchiveProgress], object] | None,
) -> Asking[int]:
    """The work of `export_messages`, which has the same arguments."""
    chosen = _format_of(destination, given_format)
    newest = identifier("message_id", message_id)
    conversation = identifier("conversation_id", conversation_id)
    if newest is not None and conversation is not None:
        raise ConfigurationError("Give message_id or conversation_id, not both.")
    wanted = _Wanted(newest, conversation)
    batch = yield from wanted.next_batch()  # before there is a file
    with _written(destination) as file:
        writer = _Lines(file) if chosen == "jsonl" else _Document(file, chosen)
        if chosen == "jsonl" or newest is not None or conversation is not None:
            while batch:
                writer.write(batch)
                yield from tell(on_progress, writer.count, wanted.fraction)
                batch = yield from wanted.next_batch()
        else:
            ids: dict[str | None, list[str]] = {}  # of all messages the ids alone are in memory
            while batch:
                for message in batch:
                    ids.setdefault(message.conversation_id, []).append(message.id)
                batch = yield from wanted.next_batch()
            total, done = sum(map(len, ids.values())), 0
            for own in ids.values():
                for begin in range(0, len(own), BATCH):
                    some = own[begin : begin + BATCH]
                    writer.write((yield from get_each(some)))
                    done += len(some)
                    yield from tell(on_progress, writer.count, done / total)
                writer.end_conversation()
        writer.finish()
        yield from tell(on_progress, writer.count, 1.0)  # the last one who may end it
    return writer.count


class _Wanted:
    """The messages that are wanted, oldest first, some at a time.

    Args:
        newest: the newest one of a thread.
        conversation: the conversation; by default all are wanted.
    """

    def __init__(self, newest: str | None, conversation: str | None) -> None:
        self._newest = newest
        self._conversation = conversation
        self._is_begun = False
        self._known: Sequence[ChatMessage] | None = None
        """All of them, where they can be had without going through the store."""
        self._given = 0

    def next_batch(self) -> Asking[Sequence[ChatMessage]]:
        """The next ones; none at the end.

        Raises:
            MessageNotFoundError: there are none at all, though an id was given.
        """
        is_first, self._is_begun = not self._is_begun, True
        if is_first and self._newest is not None:
            self._known = yield from _thread(self._newest)
        elif is_first and self._conversation is not None:
            self._known = yield from read_conversation(self._conversation)
        batch = (yield from self._listed()) if self._known is None else self._next_known()
        if is_first and not batch and self._conversation is not None:
            raise MessageNotFoundError(
                f"The conversation {self._conversation!r} has no message in the message store."
            )
        return batch

    @property
    def fraction(self) -> float | None:
        """How many of them were given, of 1; `None` where nobody knows how many there are."""
        return self._given / len(self._known) if self._known else None

    def _next_known(self) -> Sequence[ChatMessage]:
        batch = (self._known or ())[self._given : self._given + BATCH]
        self._given += len(batch)
        return batch

    def _listed(self) -> Asking[Sequence[ChatMessage]]:
        while batch := (yield from next_messages()):
            own = [m for m in batch if self._conversation in (None, m.conversation_id)]
            if own:
                return own
        return ()


def _thread(newest: str) -> Asking[Sequence[ChatMessage]]:
    thread = yield from read_path(newest)
    if not thread or thread[0].id != newest:
        raise MessageNotFoundError(
            f"The message {newest!r} is not in the message store, or cannot be read there."
        )
    return thread[::-1]


class _Lines:
    """Writes messages as JSON Lines."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.count = 0

    def write(self, messages: Sequence[ChatMessage]) -> None:
        for message in messages:
            self._file.write(to_json(message) + b"\n")
        self.count += len(messages)

    def end_conversation(self) -> None:
        """Lines need no sections."""

    def finish(self) -> None:
        """Lines need no end."""


class _Document:
    """Writes messages as a document for people."""

    def __init__(self, file: IO[bytes], chosen: ArchiveFormat) -> None:
        is_page = chosen == "html"
        self._document: Document = (
            HtmlDocument(markdown_renderer()) if is_page else MarkdownDocument()
        )
        self._file = file
        self._is_inside = False
        self.count = 0
        self._put(self._document.begin())

    def _put(self, text: str) -> None:
        self._file.write(text.encode())

    def write(self, messages: Sequence[ChatMessage]) -> None:
        for message in messages:
            if not self._is_inside:
                self._put(self._document.conversation(message))
                self._is_inside = True
            self._put(self._document.message(message))
            self.count += not message.is_hidden

    def end_conversation(self) -> None:
        self._is_inside = False

    def finish(self) -> None:
        self._put(self._document.end())


def _format_of(destination: ArchivePath, given: object) -> ArchiveFormat:
    formats: Sequence[ArchiveFormat] = get_args(ArchiveFormat)
    if given is None and isinstance(destination, (str, os.PathLike)):
        given = _SUFFIXES.get(Path(destination).suffix.lower())
    for known in formats:
        if known == given:
            return known
    raise ValueError(
        f"Give format={', '.join(map(repr, formats[:-1]))} or {formats[-1]!r}, or a path that ends with one of "
        f"{', '.join(_SUFFIXES)}; not {given or _shown(destination)!r}."
    )


def _shown(destination: ArchivePath) -> object:
    return os.fspath(destination) if isinstance(destination, os.PathLike) else destination


@contextmanager
def _written(destination: ArchivePath) -> Iterator[IO[bytes]]:
    """A file to write into, which has its name once it is complete."""
    if not isinstance(destination, (str, os.PathLike)):
        yield _binary("destination", destination, "wb")
        return
    path = Path(destination).expanduser().resolve()  # what a link stands for
    if path.exists() and not path.is_file():  # a pipe, a terminal
        with path.open("wb") as file:
            yield file
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(path.parent)!r} to write {path.name!r} into."
        )
    growing = path.with_name(f".{path.name[:100]}.{uuid4()}")
    try:
        with growing.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            growing.chmod(S_IMODE(path.stat().st_mode))
        growing.replace(path)
    except BaseException:
        growing.unlink(missing_ok=True)
        raise


# --- reading ---------------------------------------------------------------------------------

_Numbered: TypeAlias = tuple[int, ChatMessage]
"""A message, and its line."""


def importing(
    source: ArchivePath, on_progress: Callable[[ArchiveProgress], object] | None
) -> Asking[ImportReport]:
    """The work of `import_messages`, which has the same arguments."""
    problems = Problems()
    count = 0
    with _opened(source) as opened:
        file = _MeasuredFile(opened, None if on_progress is None else _bytes_ahead(opened))
        for batch in _batches(file, problems):
            count += yield from _saved(batch, problems)
            yield from tell(on_progress, count, file.fraction)
        yield from tell(on_progress, count, 1.0)
    return ImportReport((), count, problems.listed())


@contextmanager
def _opened(source: ArchivePath) -> Iterator[IO[bytes]]:
    if isinstance(source, (str, os.PathLike)):
        with Path(source).expanduser().open("rb") as file:
            yield file
    else:
        yield _binary("source", source, "rb")


def _bytes_ahead(file: IO[bytes]) -> int | None:
    """How many bytes are still to be read of a file; `None` where only its end tells."""
    is_seekable = getattr(file, "seekable", None)
    if is_seekable is None or not is_seekable():
        return None
    begin = file.tell()
    try:
        file.seek(0, os.SEEK_END)
        return file.tell() - begin
    except OSError:  # such as those of /proc, which have no end to go to
        return None
    finally:
        file.seek(begin)


class _MeasuredFile:
    """A file that is read by lines, and how much of it was.

    Args:
        file: the file.
        size: how many bytes it has; `None` where nobody knows.
    """

    def __init__(self, file: IO[bytes], size: int | None) -> None:
        self._file = file
        self._size = size
        self._count = 0

    def readline(self, limit: int) -> bytes:
        line = self._file.readline(limit)
        self._count += len(line)
        return line

    @property
    def fraction(self) -> float | None:
        """How much was read, of 1."""
        return min(self._count / self._size, 1.0) if self._size else None  # it may grow


def _batches(file: _MeasuredFile, problems: Problems) -> Iterator[list[_Numbered]]:
    """The messages of a file, so many as are saved at a time.

    Raises:
        ValueError: the first line that is not empty holds no JSON object: it is another kind of file.
    """
    batch: list[_Numbered] = []
    is_ours = False
    for number, line in _lines(file):
        try:
            batch.append((number, _message(line)))
        except RecordError as error:
            if not is_ours and not line.startswith(b"{"):
                raise ValueError(
                    f"This is no file of messages in JSON Lines (line {number}: {error}). Give one that "
                    "export_messages has written; import_chatgpt_export reads ChatGPT's own data export."
                ) from None
            problems.add([_problem(number, str(error))])
        is_ours = True
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _message(line: bytes) -> ChatMessage:
    if len(line) > MAX_LINE_BYTES:
        raise RecordError(f"it has more than {MAX_LINE_BYTES} bytes")
    return from_json(line)


def _lines(file: _MeasuredFile) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers; of one that is too long, its beginning."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES + 1)
        if number == 1:
            line = line.removeprefix(BOM_UTF8)
        if stripped := line.strip():
            yield number, stripped


def _saved(batch: Sequence[_Numbered], problems: Problems) -> Asking[int]:
    """Save a batch, but for those whose ids belong to others; how many messages were saved."""
    kept: dict[str, _Numbered] = {}
    for number, message in batch:
        known = kept.setdefault(message.id, (number, message))
        if known[1] is not message:
            if origin_of(known[1]) == origin_of(message):
                kept[message.id] = number, message
            else:
                problems.add([_problem(number, _TAKEN)])
    while kept:
        try:
            yield from save([message for _, message in kept.values()])
        except MessageIdTakenError as error:
            taken = [kept.pop(each) for each in set(error.message_ids) & kept.keys()]
            if not taken:
                raise
            problems.add(_problem(number, _TAKEN) for number, _ in sorted(taken, key=_line))
        else:
            break
    return len(kept)


def _line(numbered: _Numbered) -> int:
    return numbered[0]


_TAKEN: Final = "another message is stored under its id"


def _problem(line: int, reason: str) -> ImportProblem:
    return ImportProblem(where=f"line {line}", reason=reason)
