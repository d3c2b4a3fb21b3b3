"""`chatgpt export` and `chatgpt import`: conversations into files, and back.

Rules:

1. What takes long shows a progress bar on standard error, where that is a terminal.
2. What could not be imported is told line by line on standard error, and the rest is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from stat import S_ISREG
from typing import Final, Literal

import click

from chatgpt import ArchiveProgress, export_messages, import_chatgpt_export, import_messages
from chatgpt.cli.conversation_store import find_conversation, open_store
from chatgpt.cli.exit_codes import say
from chatgpt.cli.terminal import counted, harmless, is_person_reading

LINES: Final = (".jsonl", ".ndjson")
"""What the names of files of JSON Lines end with."""

EXPORTS: Final = (".zip", ".json")
"""What those of ChatGPT's own export end with."""

DOCUMENTS: Final = (".md", ".markdown", ".html", ".htm", *LINES)
"""What the names of files end with that can be written."""

MOST_PROBLEMS: Final = 20
"""How many problems of an import are told; all are counted."""

STANDARD_STREAM: Final = Path("-")


def export_conversations(
    wanted: str | None,
    *,
    file: Path | None,
    chosen_format: Literal["jsonl", "markdown", "html"] | None,
    is_all: bool,
) -> None:
    """Write a conversation, or all of them, into a file or to standard output.

    Args:
        wanted: the conversation; `None` for the one last used.
        file: where to; `None`, or `-`, for standard output.
        chosen_format: how; `None` for what the name of the file ends with, or Markdown.
        is_all: whether all of them are meant.

    Raises:
        NotFoundInStore: there is no such conversation.
        click.UsageError: there are several, or it is not clear what is meant.
        OSError: the file cannot be written.
    """
    if is_all and wanted is not None:
        raise click.UsageError("--all exports every conversation: leave out --all, or the one.")
    target = None if file == STANDARD_STREAM else file
    if target is not None and chosen_format is None and target.suffix.lower() not in DOCUMENTS:
        raise click.UsageError(
            f"Give --format, or a FILE that ends with one of {', '.join(DOCUMENTS)}."
        )
    shown = BytesIO() if target is None and is_person_reading() else None
    with open_store(is_made=False) as store:
        conversation_id = None if is_all else find_conversation(store, wanted).id
        with _progress("exporting", is_shown=target is not None or _goes_into_a_file()) as report:
            count = export_messages(
                store,
                target or shown or sys.stdout.buffer,
                format=chosen_format or ("markdown" if target is None else None),
                conversation_id=conversation_id,
                on_progress=report,
            )
    if shown is not None:
        click.echo(harmless(shown.getvalue().decode()), nl=False)
    if target is not None:
        say(f"{counted(count, 'message')} exported to {target}")


def import_conversations(file: Path) -> None:
    """Read conversations from a file.

    Args:
        file: JSON Lines, also from standard input as `-`, or ChatGPT's own export.

    Raises:
        click.UsageError, ValueError: it is no such file.
        OSError: it cannot be read.
        click.exceptions.Exit: with code 1, nothing of it could be imported.
    """
    is_piped = file == STANDARD_STREAM
    if not (is_piped or file.is_dir() or file.suffix.lower() in (*LINES, *EXPORTS)):
        raise click.UsageError(
            f"{file} is neither JSON Lines of `chatgpt export` ({', '.join(LINES)}) nor ChatGPT's own data export "
            f"({', '.join(EXPORTS)}, or its folder)."
        )
    with open_store() as store, _progress("importing", is_shown=not is_piped) as report:
        if is_piped:
            imported = import_messages(sys.stdin.buffer, store, on_progress=report)
        elif file.suffix.lower() in LINES:
            imported = import_messages(file, store, on_progress=report)
        else:
            imported = import_chatgpt_export(file, store, on_progress=report)
    for problem in imported.problems[:MOST_PROBLEMS]:
        say(f"{problem.where}: {problem.reason}")
    if len(imported.problems) > MOST_PROBLEMS:
        say("...")
    of = (
        f" of {counted(len(imported.conversations), 'conversation')}"
        if imported.conversations
        else ""
    )
    problems = counted(len(imported.problems), "problem")
    say(f"{counted(imported.message_count, 'message')}{of} imported, {problems}")
    if imported.problems and not imported.message_count:
        raise click.exceptions.Exit(1)


def _goes_into_a_file() -> bool:
    """Whether standard output is a file: what reads a pipe may write to the terminal, too."""
    return S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)


@contextmanager
def _progress(what: str, *, is_shown: bool) -> Iterator[Callable[[ArchiveProgress], object] | None]:
    """A progress bar while something takes long; `None` where nobody would see it."""
    if not is_shown or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.fields[count]:,} messages"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None, count=0)

        def report(done: ArchiveProgress) -> None:
            total = None if done.fraction is None else 1.0
            progress.update(
                task, total=total, completed=done.fraction or 0.0, count=done.message_count
            )

        yield report
