"""`chatgpt chat`: the line by line conversation.

Strategy: who types decides. A person has a prompt, and sees an error as a line after which the chat goes on. A script, whose
input and output are both no terminal, has no prompt, and its chat ends with the first error. Where text is piped in and
a person reads, that text is the first message, and the person goes on at the terminal.

Rules:

1. Ctrl-C stops what is going on and never the chat; at a prompt it clears the line. Further ones, while it stops, change nothing.
2. What a person typed can be got back before it is sent, so that nothing is lost when that fails.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import NoReturn, Unpack

from chatgpt.cli.chat_commands import COMMANDS, run_command
from chatgpt.cli.client_options import TalkOptions
from chatgpt.cli.exit_codes import report_error, say
from chatgpt.cli.line_history import LineHistory, history_file
from chatgpt.cli.line_input import SLASH, LineInput, next_message, take_terminal
from chatgpt.cli.open_chat import OpenChat
from chatgpt.cli.standard_input import piped_text
from chatgpt.cli.terminal import is_person_reading, is_person_typing


def chat(*, is_raw: bool, **options: Unpack[TalkOptions]) -> None:
    """Talk until the input ends, or `/exit`.

    Args:
        is_raw: whether answers are shown as they are.
        options: the conversation, and the client.
    """
    with ExitStack() as stack:
        opened = OpenChat(stack, is_raw=is_raw, **options)
        is_debugging = options["is_debugging"]
        if is_person_reading():
            opened.show_what_goes_on()
        if not is_person_typing() and is_person_reading():
            text = piped_text() or ""
            if not take_terminal():
                _send(opened, text)
                return
            with _errors_shown(is_debugging=is_debugging):
                _send(opened, text)
        history = LineHistory(history_file(), is_written=options["is_stored"])
        lines = LineInput(list(COMMANDS), history)
        if is_person_typing():
            _talk(opened, lines, is_debugging=is_debugging)
        else:
            _follow_script(opened, lines)


def _follow_script(opened: OpenChat, lines: LineInput) -> None:
    """Do what each line says, to the end of the input or the first error."""
    while not opened.is_over:
        try:
            text = next_message(lines)
        except EOFError:
            return
        _do(opened, text)


def _talk(opened: OpenChat, lines: LineInput, *, is_debugging: bool) -> None:
    """Do what a person types, until they leave."""
    say("/help lists what else can be done, Ctrl-D leaves")
    knows_how_to_leave = False
    while not opened.is_over:
        try:
            text = next_message(lines)
            if text.strip():
                lines.remember(text)
        except EOFError:
            lines.end_line()
            return
        except KeyboardInterrupt:
            lines.end_line()
            if not knows_how_to_leave:
                say("Ctrl-D or /exit leaves")
                knows_how_to_leave = True
            continue
        with _errors_shown(is_debugging=is_debugging):
            _do(opened, text)


def _do(opened: OpenChat, text: str) -> None:
    """Send a message, or run a command."""
    if text.startswith(SLASH) and not text.startswith(2 * SLASH):
        run_command(opened, text)
    elif text.strip() in ("exit", "quit"):  # as in other programs that talk line by line
        opened.is_over = True
    else:
        _send(opened, text.removeprefix(SLASH))


def _send(opened: OpenChat, text: str) -> None:
    if text.strip():
        opened.send(text)


@contextmanager
def _errors_shown(*, is_debugging: bool) -> Iterator[None]:
    """Show an error as one line; Ctrl-C ends what is done in here, once."""

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGINT, lambda *_: None)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    except KeyboardInterrupt:
        say("stopped; the conversation stands where it stood")
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - a chat outlives what fails in it
        report_error(error, is_debugging=is_debugging)
    finally:
        signal.signal(signal.SIGINT, before)
