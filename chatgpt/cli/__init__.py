"""The command `chatgpt`: a chat in the terminal.

Strategy: the command is a user of the SDK like any other: it imports the public names of `chatgpt` and
`chatgpt.testing`, and nothing else of it (`tests/cli/test_public_names.py` holds this). What the command line looks like
stands in `commands.py` and `client_options.py`, which load click alone, so that `chatgpt --help` is quick; what a command
does stands in a module of its own, which is loaded when it is called:

    commands.py             the commands and their options
    client_options.py       the options that several commands share
    root_command.py         which command a command line is; help
    asking.py               chatgpt ask: one prompt, one answer
    chat.py                 chatgpt chat: the line by line conversation (chat_commands.py: its `/commands`)
    open_chat.py            its conversation, and where it stands
    line_input.py           its lines (line_history.py: those of earlier chats)
    conversations.py        list, show, search, rename, rm
    archives.py             export, import
    doctor.py, demo.py, serve.py, completion.py: the commands of these names
    clients.py              from options to a client
    talks.py                a conversation of either flow that goes on
    conversation_store.py   the store of the command, and conversations found in it
    answer_views.py         how an answer appears: raw, or as JSON
    markdown_view.py        or as Markdown that grows in place (markdown_blocks.py: block by block)
    trees.py                a conversation as a tree
    terminal.py             what the standard streams are, and what may be written to a terminal
    standard_input.py       input that joins the prompt (pipelines.py: whether it may still come)
    exit_codes.py           from an error to its one line and exit code

Rules:

1. Standard output has the answer and nothing else; what is said about it goes to standard error.
2. What moves, colours and Markdown are for a terminal alone. Whatever comes from outside and goes to a terminal
   loses its control characters first (`terminal.harmless`).
3. Every way out is an exit code of `exit_codes.py`, and at most one line on standard error.
"""

from __future__ import annotations

import sys
from typing import Final

PACKAGES: Final = ("click", "markdown_it", "platformdirs", "rich")
"""What the extra `cli` brings."""


def missing_package(name: str) -> str:
    """What is said where a package is missing."""
    return f"the command needs the extra 'cli': pip install 'chatgpt-sdk[cli]' ({name} is missing)"


def main() -> None:
    """Run the command with the arguments of the process, and leave it with an exit code."""
    try:
        from chatgpt.cli.commands import run
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        sys.exit(f"chatgpt: {missing_package(error.name)}")
    except KeyboardInterrupt:
        sys.exit(130)
    run()
