"""From an error to its one line on standard error, and its exit code.

Rules:

1. `EXIT_CODES` is the whole truth: docs/how-to/command.md shows it, and a test compares them word by word.
2. A line repeats nothing that the SDK's error does not say: no secret is in those. With `--debug` the traceback comes
   before it, without the values of variables.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Final, TextIO

import click

from chatgpt.cli import PACKAGES, missing_package
from chatgpt.cli.terminal import harmless

INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
SIGNALLED: Final = 128
"""What a signal adds its number to."""

NOT_FOUND: Final = 9

EXIT_CODES: Final[Sequence[tuple[int, str, tuple[str, ...]]]] = (
    (0, "all is well", ()),
    (
        1,
        "anything else: a file that cannot be read or written, a check of `doctor` that failed",
        (),
    ),
    (
        2,
        "an option or a setting is wrong, or the key is missing",
        ("ConfigurationError", "ValueError", "TypeError"),
    ),
    (3, "the key or token is refused", ("AuthenticationError", "PermissionDeniedError")),
    (4, "too many requests, or the quota is used up", ("RateLimitError",)),
    (5, "the server cannot be reached", ("APIConnectionError",)),
    (6, "a time limit passed", ("APITimeoutError",)),
    (7, "the request is refused, or too long", ("APIStatusError", "PromptTooLongError")),
    (
        8,
        "the server failed, or its answer was cut or makes no sense",
        ("InternalServerError", "StreamError", "StreamInterruptedError", "InvalidResponseError"),
    ),
    (NOT_FOUND, "no such conversation or message", ("MessageNotFoundError",)),
    (10, "the store of the conversations failed", ("StoreError",)),
    (INTERRUPTED, "Ctrl-C", ()),
    (BROKEN_PIPE, "nobody reads standard output any more", ()),
    (143, "SIGTERM; 129: SIGHUP", ()),
)
"""The exit codes: what each one means, and the names of the errors that it is for."""

OTHER: Final = 1

_CODES: Final = {name: code for code, _, names in EXIT_CODES for name in names}


class NotFoundInStore(click.ClickException):
    """There is no such conversation."""

    exit_code = NOT_FOUND


def exit_code_of(error: BaseException) -> int:
    """The exit code of an error."""
    if isinstance(error, click.ClickException):
        return error.exit_code
    # The class itself before those that it is derived from.
    return next(
        (_CODES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _CODES), OTHER
    )


def line_of(error: BaseException) -> str:
    """What is said of an error."""
    if isinstance(error, click.ClickException):
        words = error.format_message()
    elif isinstance(error, ModuleNotFoundError) and error.name in PACKAGES:
        words = missing_package(error.name)
    elif isinstance(error, OSError) and error.strerror and error.filename:
        words = f"{error.filename}: {error.strerror}"
    elif isinstance(error, OSError) or exit_code_of(error) != OTHER:
        words = str(error)
    else:
        words = f"{type(error).__name__}: {error} (--debug shows more)"
    request_id = getattr(error, "request_id", None)
    if request_id:
        words += f" (request id {request_id})"
    return words


def say(words: str) -> None:
    """Write words of the command's own to standard error, in one line."""
    click.echo(f"chatgpt: {harmless(' '.join(words.split()))}", err=True)


def say_warnings() -> None:
    """Let a warning of the SDK be one line, too."""

    def show(
        message: Warning | str,
        category: type[Warning],  # noqa: ARG001
        filename: str,  # noqa: ARG001
        lineno: int,  # noqa: ARG001
        file: TextIO | None = None,  # noqa: ARG001
        line: str | None = None,  # noqa: ARG001
    ) -> None:
        say(str(message))

    warnings.showwarning = show


def report_error(error: BaseException, *, is_debugging: bool) -> int:
    """Say what an error is, with its traceback where somebody looks for its cause; return the exit code."""
    if is_debugging:
        import traceback

        shown = "".join(traceback.format_exception(error))
        click.echo(harmless(shown), err=True, nl=False)
    say(line_of(error))
    try:
        sys.stdout.flush()
    except OSError:  # such as that of a full disk, which is what was said
        _drop_output()
    return exit_code_of(error)


def leave_quietly() -> int:
    """Return the exit code where nobody reads standard output any more."""
    _drop_output()
    return BROKEN_PIPE


def _drop_output() -> None:
    """Let what is still to be written to standard output go nowhere: the interpreter writes it in the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
