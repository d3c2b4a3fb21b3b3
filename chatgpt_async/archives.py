"""`chatgpt.archives` and `chatgpt.imports` for async stores: files are read and written in worker threads.

A cancelled call ends at the next thing that it asks of the store, and is waited for until then. A file that was to be
written is not there, and what was saved of an import is there. `on_progress` is called in the event loop: an async
function, or a plain one, which must not block.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from chatgpt import archives, imports
from chatgpt.archives import ArchiveFormat, ArchivePath
from chatgpt.core.validation import function_of
from chatgpt.import_reports import ArchiveProgress, ImportReport
from chatgpt.imports import DEFAULT_MAX_CONVERSATION_BYTES
from chatgpt.stores.protocol import MessageStore as PlainStore
from chatgpt_async.stores.asking import ask_store
from chatgpt_async.stores.protocol import MessageStore

T = TypeVar("T")


async def export_messages(
    store: MessageStore | PlainStore,
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
    told = function_of("on_progress", on_progress)
    work = archives.exporting(destination, format, message_id, conversation_id, told)
    return await ask_store(work, store)


async def import_messages(
    source: ArchivePath,
    store: MessageStore | PlainStore,
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
    work = archives.importing(source, function_of("on_progress", on_progress))
    return await ask_store(work, store)


async def import_chatgpt_export(
    path: str | os.PathLike[str],
    store: MessageStore | PlainStore,
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
    told = function_of("on_progress", on_progress)
    work = imports.importing_export(path, max_conversation_bytes, told)
    return await ask_store(work, store)
