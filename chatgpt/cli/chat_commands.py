"""The `/commands` of a chat.

Rules:

1. What was asked for (a list, a tree, a figure) goes to standard output; what is said about it to standard error.
2. A command that cannot be done says why, as an error with the exit code 2, and changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import click
from attrs import frozen

from chatgpt import ChatMessage, ConversationTree, export_messages
from chatgpt.cli.archives import DOCUMENTS
from chatgpt.cli.exit_codes import say
from chatgpt.cli.open_chat import ANY_TEXT, OpenChat
from chatgpt.cli.terminal import (
    counted,
    harmless,
    ignored_interrupts,
    is_person_reading,
    is_person_typing,
)

NO_INSTRUCTIONS: Final = ("''", '""')


@frozen
class Command:
    """A command of a chat.

    Attributes:
        argument: how its argument is called; empty where it takes none.
        help: what it does, in a few words.
        run: does it; it is given the argument, which may be empty.
        is_official: whether it is for the official flow alone.
    """

    argument: str
    help: str
    run: Callable[[OpenChat, str], None]
    is_official: bool = True


def run_command(chat: OpenChat, line: str) -> None:
    """Run the command of a line that begins with a slash.

    Raises:
        click.UsageError: there is none, or it cannot be done.
        ChatGPTError, OSError, ValueError: what it asked for failed.
    """
    name, *rest = line.split(maxsplit=1)
    argument = "".join(rest).strip()
    command = COMMANDS.get(name)
    if command is None:
        raise click.UsageError(
            f"There is no command {name}: /help lists them. A message that begins with a slash "
            "is typed with two."
        )
    if argument and not command.argument:
        raise click.UsageError(f"{name} takes no argument.")
    if command.is_official and not chat.is_official:
        raise click.UsageError(f"{name} is for the official flow: --web cannot do it.")
    command.run(chat, argument)


def _regenerate(chat: OpenChat, _: str) -> None:
    chat.show_answer(lambda show: chat.conversation.regenerate(on_progress=show))


def _edit(chat: OpenChat, text: str) -> None:
    question = _last_question(chat)
    if not text:
        text = _edited(question.text)
        if text in ("", question.text.removesuffix("\n")):
            say("nothing is changed, so nothing is sent")
            return
    chat.show_answer(lambda show: chat.conversation.edit(question.id, text, on_progress=show))


def _last_question(chat: OpenChat) -> ChatMessage:
    for message in reversed(chat.conversation.history()):
        if message.role == "user" and not message.is_hidden:
            return message
    raise click.UsageError("There is no question before this.")


def _edited(text: str) -> str:
    """A text as a person leaves it in an editor; empty where it was not saved."""
    if not is_person_typing():
        raise click.UsageError("/edit needs a text where nobody types.")
    with ignored_interrupts():  # an editor has its own Ctrl-C
        edited = click.edit(text, extension=".md")
    # An editor ends the last line, if there was an end of it or not.
    return "" if edited is None or not edited.strip() else edited.removesuffix("\n")


def _undo(chat: OpenChat, _: str) -> None:
    question = chat.undo()
    if question is None:
        raise click.UsageError("There is no question to take back.")
    say(f"taken back: {_line(chat, question)}")
    if chat.conversation.parent_message_id is None:
        say(
            "this is the beginning; until something is said, a later -c goes on from where the chat was"
        )


def _branch(chat: OpenChat, beginning: str) -> None:
    messages = chat.messages()
    if not beginning:
        from chatgpt.cli.trees import print_tree

        print_tree(chat.label, messages, chat.conversation.parent_message_id)
        return
    found = [each for each in messages if not each.is_hidden and each.id.startswith(beginning)]
    if not found:
        raise click.UsageError(f"No message here has an id that begins with {beginning!r}.")
    message = min(found, key=lambda each: len(each.id))
    if len(found) > 1 and message.id != beginning:
        raise click.UsageError(
            f"{beginning!r} is the beginning of {len(found)} ids: give more of it."
        )
    chat.stand_at(message.id)
    say(f"goes on from {_line(chat, message)}")


def _line(chat: OpenChat, message: ChatMessage) -> str:
    """A message as the tree shows it."""
    from chatgpt.cli.trees import line_of_row

    tree = ConversationTree(chat.messages())
    row = next(row for row in tree.rows() if row.message.id == message.id)
    return line_of_row(row, tree.ids()[message.id]).plain


def _system(chat: OpenChat, text: str) -> None:
    if text:
        chat.instructions = "" if text in NO_INSTRUCTIONS else text
        say("the instructions are set")
    else:
        _print(chat.instructions or "There are no instructions.")


def _model(chat: OpenChat, name: str) -> None:
    if name:
        chat.model = name
        say(f"{name} is asked")
    else:
        _print(chat.model)


def _save(chat: OpenChat, target: str) -> None:
    if target.lower().endswith(DOCUMENTS):
        if chat.kept is None:
            raise click.UsageError("With --web --no-store the messages are on the server alone.")
        file = Path(os.path.expanduser(target))  # noqa: PTH111 - which leaves what it does not know
        count = export_messages(chat.kept, file, conversation_id=chat.known_id)
        say(f"{counted(count, 'message')} exported to {file}")
    elif _is_like_a_file(target):
        raise click.UsageError(
            f"A file is saved whose name ends with one of {', '.join(DOCUMENTS)}."
        )
    elif chat.store is None:
        raise click.UsageError(
            f"With --no-store nothing is kept; a file can be saved: /save chat{DOCUMENTS[0]}"
        )
    elif target:
        chat.give_name(target)
        say(f"named {target}")
    else:
        _print(f"{chat.label} in {chat.store.file}")


def _is_like_a_file(target: str) -> bool:
    ending = Path(target).suffix[1:]
    return bool(target) and (Path(target).name != target or (ending.isalpha() and len(ending) <= 5))


def _tokens(chat: OpenChat, _: str) -> None:
    stands = chat.conversation.parent_message_id
    last = None if stands is None or chat.kept is None else chat.kept.get(stands)
    usage = None if last is None else last.usage
    if usage is not None:
        thought = f", {usage.reasoning_tokens} of them thought" if usage.reasoning_tokens else ""
        cached = f", {usage.cached_tokens} of them cached" if usage.cached_tokens else ""
        _print(
            f"last answer: {usage.completion_tokens} tokens{thought}; its prompt: {usage.prompt_tokens}{cached}"
        )
    elif last is not None:
        _print("last answer: the server told no figures")
    context = chat.conversation.preview(ANY_TEXT).context
    limit = f" of {context.prompt_limit}" if context.prompt_limit is not None else ""
    left_out = f"; {context.left_out} messages do not fit" if context.left_out else ""
    _print(f"next prompt: {context.prompt_tokens} tokens{limit} and its text{left_out}")


def _help(chat: OpenChat, _: str) -> None:
    """List the commands, and the signs."""
    rows = [
        (f"{name} {command.argument}".rstrip(), command.help)
        for name, command in COMMANDS.items()
        if chat.is_official or not command.is_official
    ]
    formatter = click.HelpFormatter(max_width=80)
    formatter.write_dl([*rows, *SIGNS])
    _print(formatter.getvalue().rstrip())


def _exit(chat: OpenChat, _: str) -> None:
    chat.is_over = True


def _print(text: str) -> None:
    click.echo(harmless(text) if is_person_reading() else text)


COMMANDS: Final[Mapping[str, Command]] = {
    "/regenerate": Command("", "Another answer to the last question.", _regenerate),
    "/edit": Command("[TEXT]", "Ask the last question anew, by default in an editor.", _edit),
    "/undo": Command("", "Take the last question back.", _undo),
    "/branch": Command("[ID]", "Show all branches, or go on from a message.", _branch),
    "/system": Command("[TEXT]", "Show or set the instructions; '' for none.", _system),
    "/model": Command("[NAME]", "Show or set the model.", _model),
    "/save": Command(
        "[NAME or FILE]",
        "Name the conversation, or write it into a .md, .html or .jsonl.",
        _save,
        is_official=False,
    ),
    "/tokens": Command("", "Tokens of the last answer, and of the next prompt.", _tokens),
    "/help": Command("", "List all this.", _help, is_official=False),
    "/exit": Command("", "Leave; so does Ctrl-D.", _exit, is_official=False),
    "/quit": Command("", "The same.", _exit, is_official=False),
}
"""The commands, in the order in which they are listed."""

SIGNS: Final = (
    ("//...", "A message that begins with one slash."),
    ("...\\", "The message goes on in the next line."),
    ('"""', "Begins a message of several lines, and ends it."),
    ("Ctrl-C", "Stops an answer, or clears the line."),
)
