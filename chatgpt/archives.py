"""A store as a file, and back: messages as JSON Lines, and documents for people.

Strategy: messages go one by one from a store into a file, and in batches from a file into a store; a store of any
size needs little memory. JSON Lines hold the record of a message on each line (`core.records`), in the order in which
the messages were first saved: so the file of a store, read into an empty one of any kind, makes the same file again,
byte for byte.

Rules:

1. A file that is written is complete, or it is not there: it takes the place of an older one in the end.
2. What cannot be read of a file is reported, with its line, and the rest is imported.
3. Importing the same file again changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Final, Literal, TypeAlias, cast, get_args

from chatgpt.core.documents import Document, HtmlDocument, MarkdownDocument
from chatgpt.core.errors import ConfigurationError, MessageIdTakenError, MessageNotFoundError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.records import RecordError, from_json, to_json
from chatgpt.core.validation import identifier
from chatgpt.imports import ImportProblem, ImportReport
from chatgpt.stores.protocol import MessageStore, listing_method

ArchiveFormat: TypeAlias = Literal["jsonl", "markdown", "html"]
"""How messages are written: the first can be imported again."""

ArchivePath: TypeAlias = "str | os.PathLike[str] | IO[bytes]"
"""A path, or a binary file that is open."""

BATCH: Final = 500
"""How many messages are saved at a time."""

_SUFFIXES: Final[dict[str, ArchiveFormat]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
}
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def export_messages(
    store: MessageStore,
    destination: ArchivePath,
    *,
    format: ArchiveFormat | None = None,  # noqa: A002 - what everybody calls it
    message_id: str | None = None,
    conversation_id: str | None = None,
) -> int:
    """Write the messages of a store into a file: all of them, a thread, or a conversation.

    Args:
        store: holds the messages.
        destination: the path of the file, or a binary file that is open.
        format: `"jsonl"`, `"markdown"` or `"html"`; by default what the path ends with says.
        message_id: the newest message of a thread, which alone is written.
        conversation_id: the conversation that alone is written, with all its branches.

    Returns:
        How many messages were written. Documents leave hidden ones out.

    Raises:
        MessageNotFoundError: the store does not hold `message_id`.
        ConfigurationError: the store cannot list its messages; a thread can be written all the same.
        ValueError: the format cannot be told from the path, or is none.
        OSError: the file cannot be written.
    """
    chosen = _format_of(destination, format)
    messages = _source(store, message_id, conversation_id)
    with _written(destination) as file:
        if chosen == "jsonl":
            return _write_lines(messages(), file)
        is_thread = message_id is not None  # it may lead through several conversations
        conversations = [messages()] if is_thread else _by_conversation(store, messages())
        document = HtmlDocument() if chosen == "html" else MarkdownDocument()
        return _write_document(conversations, document, file)


def import_messages(source: ArchivePath, store: MessageStore) -> ImportReport:
    """Read messages from a file of JSON Lines, as `export_messages` writes it, into a store.

    Args:
        source: the path of the file, or a binary file that is open.
        store: where they are saved, 500 at a time.

    Returns:
        How many messages were saved, and which lines were not: they hold no message, or one whose id belongs to
        another message in the store.

    Raises:
        OSError: the file cannot be read.
        StoreError: the store failed. What was saved is there; import the file again.
    """
    if isinstance(source, (str, os.PathLike)):
        with Path(source).expanduser().open("rb") as file:
            return _imported(file, store)
    return _imported(source, store)


# --- writing ---------------------------------------------------------------------------------

_Messages: TypeAlias = Callable[[], Iterable[ChatMessage]]


def _source(store: MessageStore, message_id: object, conversation_id: object) -> _Messages:
    """What lists the messages that are wanted, oldest first."""
    newest = identifier("message_id", message_id)
    conversation = identifier("conversation_id", conversation_id)
    if newest is not None and conversation is not None:
        raise ConfigurationError("Give message_id or conversation_id, not both.")
    if newest is not None:
        thread = store.path(newest)[::-1]
        if not thread:
            raise MessageNotFoundError(f"The message {newest!r} is not in the message store.")
        return lambda: thread
    everything = cast("_Messages", listing_method(store))
    if conversation is None:
        return everything
    return lambda: (m for m in everything() if m.conversation_id == conversation)


def _write_lines(messages: Iterable[ChatMessage], file: IO[bytes]) -> int:
    count = 0
    for message in messages:
        file.write(to_json(message) + b"\n")
        count += 1
    return count


def _write_document(
    conversations: Iterable[Iterable[ChatMessage]], document: Document, file: IO[bytes]
) -> int:
    count = 0
    file.write(document.begin().encode())
    for conversation in conversations:
        for number, message in enumerate(conversation):
            if number == 0:
                file.write(document.conversation(message).encode())
            file.write(document.message(message).encode())
            count += not message.is_hidden
    file.write(document.end().encode())
    return count


def _by_conversation(
    store: MessageStore, messages: Iterable[ChatMessage]
) -> Iterator[Iterable[ChatMessage]]:
    """The messages of one conversation after the other. Only their ids are in memory."""
    ids: dict[str | None, list[str]] = {}
    for message in messages:
        ids.setdefault(message.conversation_id, []).append(message.id)
    for own in ids.values():
        yield filter(None, map(store.get, own))


def _format_of(destination: ArchivePath, given: object) -> ArchiveFormat:
    formats: Sequence[ArchiveFormat] = get_args(ArchiveFormat)
    if given is None and isinstance(destination, (str, os.PathLike)):
        given = _SUFFIXES.get(Path(destination).suffix.lower())
    for known in formats:
        if known == given:
            return known
    raise ValueError(
        f"Give format={', '.join(map(repr, formats[:-1]))} or {formats[-1]!r}, or a path that ends with one of "
        f"{', '.join(_SUFFIXES)}; not {given or destination!r}."
    )


@contextmanager
def _written(destination: ArchivePath) -> Iterator[IO[bytes]]:
    """A file to write into, which has its name once it is complete."""
    if not isinstance(destination, (str, os.PathLike)):
        yield destination
        return
    path = Path(destination).expanduser()
    if path.exists() and not path.is_file():  # a pipe, a terminal
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve()  # what a link stands for
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            file.close()
            Path(file.name).unlink(missing_ok=True)
            raise


# --- reading ---------------------------------------------------------------------------------


def _imported(file: IO[bytes], store: MessageStore) -> ImportReport:
    problems: list[ImportProblem] = []
    messages = _numbered_messages(file, problems)
    count = 0
    while batch := list(islice(messages, BATCH)):
        count += _saved(batch, store, problems)
    problems.sort(key=lambda problem: int(problem.where.partition(" ")[2]))
    return ImportReport(conversations=(), message_count=count, problems=tuple(problems))


def _numbered_messages(
    file: IO[bytes], problems: list[ImportProblem]
) -> Iterator[tuple[int, ChatMessage]]:
    for number, line in enumerate(file, start=1):
        record = line.removeprefix(_BYTE_ORDER_MARK).strip() if number == 1 else line.strip()
        if record:
            try:
                yield number, from_json(record)
            except RecordError as error:
                problems.append(_problem(number, str(error)))


def _saved(
    batch: Sequence[tuple[int, ChatMessage]], store: MessageStore, problems: list[ImportProblem]
) -> int:
    """Save a batch, in one write if that can be; how many messages were saved."""
    try:
        store.save([message for _, message in batch])
    except (MessageIdTakenError, ValueError, TypeError) as error:
        if len(batch) > 1:
            return sum(_saved([each], store, problems) for each in batch)
        problems.append(_problem(batch[0][0], str(error)))
        return 0
    return len(batch)


def _problem(line: int, reason: str) -> ImportProblem:
    return ImportProblem(where=f"line {line}", reason=reason)
