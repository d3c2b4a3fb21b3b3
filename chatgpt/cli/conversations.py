"""`chatgpt list`, `show`, `search`, `rename`, `rm`, `ls-cache` and `rm-cache`: the conversations that are kept.

Rules:

1. On a terminal there are tables, Markdown and trees; in a pipe, lines whose columns are parted by tabs, in an order that
   stays. With `--json`, JSON.
2. Nothing is deleted that a person, or `--yes`, has not agreed to. Nothing is made where it is only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import click

from chatgpt import ChatMessage, StoredConversation
from chatgpt.cli.answer_views import json_of, print_json
from chatgpt.cli.conversation_store import (
    SHOWN_ID,
    check_is_no_id,
    find_conversation,
    label_of,
    open_store,
    read_store,
    short_ids,
    store_file,
)
from chatgpt.cli.exit_codes import say
from chatgpt.cli.terminal import console, counted, harmless, is_person_reading, is_person_typing

WIDEST: Final = 24
"""How wide all but the last column of a table may be, in columns of the terminal; the last one has what is left."""

LEAST: Final = 6
"""And how wide the last one is at least."""

GAP: Final = "  "


def list_conversations(limit: int | None, *, is_json: bool) -> None:
    """List the conversations, last used first; at most `limit`, and all of them if that is `None`."""
    found = read_store(lambda store: store.conversations(limit=limit))
    if is_json:
        for each in found:
            print_json(_json_of_conversation(each))
        return
    ids = short_ids(each.id for each in found)
    rows = [
        (
            ids[each.id],
            _age(each.used_at),
            str(each.message_count),
            each.name or "",
            each.title or "",
        )
        for each in found
    ]
    _print_table(
        ("id", "used", "messages", "name", "begins with"), rows, "there is no conversation yet"
    )


def show_conversation(wanted: str | None, *, is_tree: bool, is_raw: bool, is_json: bool) -> None:
    """Show a conversation: the line of messages that leads to where it stands, or all its branches.

    Raises:
        NotFoundInStore: there is none.
        click.UsageError: there are several, or it cannot be shown in two ways at once.
    """
    if is_raw and (is_tree or is_json):
        raise click.UsageError(
            "--raw is for text alone: leave out one of --raw, --tree and --json."
        )
    with open_store(is_made=False) as store:
        conversation = find_conversation(store, wanted)
        if is_tree:
            messages = store.conversation_messages(conversation.id)
        else:
            messages = store.path(conversation.last_message_id)[::-1]
    visible = [message for message in messages if not message.is_hidden]
    if is_json:
        for message in visible:
            print_json(json_of(message))
    elif is_tree:
        from chatgpt.cli.trees import print_tree

        heading = f"{label_of(conversation)}  {conversation.title or ''}"
        print_tree(heading, messages, conversation.last_message_id)
    else:
        print_messages(visible, is_raw=is_raw)


def print_messages(messages: Sequence[ChatMessage], *, is_raw: bool = False) -> None:
    """Print messages: who, and what was said."""
    screen = console()
    for number, message in enumerate(messages):
        if number:
            click.echo()
        who, text = message.name or message.role, message.text
        if not is_person_reading():
            click.echo(f"{who}:\n{text}")
            continue
        screen.print(harmless(who), style="bold")
        if is_raw:
            click.echo(harmless(text))
        else:
            from chatgpt.cli.markdown_blocks import print_markdown

            print_markdown(screen, text)


def search_messages(query: str, limit: int, *, is_json: bool) -> None:
    """Find messages, the best ones first."""
    found = read_store(lambda store: store.search(query, limit=limit))
    if is_json:
        for message in found:
            print_json(json_of(message))
        return
    rows = [
        (
            (message.conversation_id or "")[:SHOWN_ID],
            _age(message.created_at),
            message.role,
            _excerpt(message.text, query),
        )
        for message in found
    ]
    _print_table(("id", "said", "who", "what"), rows, "no message says that")


def rename_conversation(wanted: str, name: str) -> None:
    """Give a conversation a name, or take it away."""
    with open_store(is_made=False) as store:
        conversation = find_conversation(store, wanted)
        if name:
            check_is_no_id(store, name)
        store.name_conversation(conversation.id, name or None)


def delete_conversations(wanted: Sequence[str], *, is_sure: bool) -> None:
    """Delete conversations; either all of them are found, or none is deleted."""
    with open_store(is_made=False) as store:
        found = {each.id: each for each in (find_conversation(store, one) for one in wanted)}
        if not is_sure:
            labels = ", ".join(f"{label_of(each)} ({each.title or ''})" for each in found.values())
            _ask_about(f"Delete {labels} for good?")
        for conversation_id in found:
            store.delete_conversation(conversation_id)
    say(f"{counted(len(found), 'conversation')} deleted")


def print_store_file() -> None:
    """Print where the conversations are kept."""
    file = str(store_file())
    click.echo(harmless(file) if is_person_reading() else file)


def delete_all(*, is_sure: bool) -> None:
    """Delete all conversations."""
    if not store_file().exists():
        return
    with open_store(is_made=False) as store:
        count = counted(len(store.conversations()), "conversation")
        if not is_sure:
            _ask_about(f"Delete {count} in {store.file} for good?")
        store.clear()
    say(f"{count} deleted")


def _ask_about(question: str) -> None:
    """Ask whether something is to be done.

    Raises:
        click.UsageError: there is nobody to ask.
        click.exceptions.Exit: it is not, with code 1.
    """
    if not is_person_typing():
        raise click.UsageError("Nothing is deleted: there is no terminal to ask at, and no --yes.")
    if not click.confirm(harmless(question), err=True):
        raise click.exceptions.Exit(1)


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], otherwise: str) -> None:
    """Print a table; a person is told otherwise where it is empty."""
    if not is_person_reading():
        for row in rows:
            click.echo("\t".join(_one_line(cell) for cell in row))
        return
    if not rows:
        say(otherwise)
        return
    from rich.text import Text

    lines = [[Text(harmless(_one_line(cell))) for cell in row] for row in (heads, *rows)]
    screen = console()
    widths = [
        min(max(cell.cell_len for cell in column), WIDEST) for column in zip(*lines, strict=True)
    ]
    widths[-1] = max(LEAST, screen.width - sum(widths[:-1]) - len(GAP) * len(widths[:-1]))
    for number, line in enumerate(lines):
        for cell, width in zip(line, widths, strict=True):
            cell.truncate(width, overflow="ellipsis", pad=cell is not line[-1])
        screen.print(Text(GAP).join(line), style="" if number else "bold", no_wrap=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _excerpt(text: str, query: str, around: int = 60) -> str:
    """The part of a text in which the first word of a query stands, and so many characters around it."""
    words = [word.strip('"') for word in query.split()]
    at = max(0, text.lower().find(words[0].lower())) if words else 0
    begin, end = max(0, at - around), at + 2 * around
    return f"{'…' if begin else ''}{text[begin:end]}{'…' if end < len(text) else ''}"


def _age(moment: datetime | None) -> str:
    """How long ago something was: on a terminal in words, else as the moment itself."""
    if moment is None:
        return ""
    if not is_person_reading():
        return moment.isoformat(timespec="seconds")
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for size, unit in ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "now"


def _json_of_conversation(conversation: StoredConversation) -> dict[str, object]:
    return {
        "id": conversation.id,
        "name": conversation.name,
        "title": conversation.title,
        "message_count": conversation.message_count,
        "last_message_id": conversation.last_message_id,
        "used_at": conversation.used_at and conversation.used_at.isoformat(),
    }
