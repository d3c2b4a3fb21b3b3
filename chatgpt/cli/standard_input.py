"""Standard input that joins the prompt.

Rules:

1. What a prompt lacks is waited for: without one, or with `-` as a word of it, input is read to its end.
2. What it may not need is not waited for without end: beside a prompt, a pipe to which nothing is written for
   `PATIENCE` seconds is left alone, with a word on standard error, unless another program of a pipeline may still write
   (`pipelines.py`). (A program that starts others often leaves a pipe open to which nobody ever writes.) Once
   something has come, the rest is waited for.
3. A terminal is never read.
4. Bytes that are no UTF-8 are replaced; what holds zero bytes is no text, and refused.
"""

from __future__ import annotations

import os
import sys
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Sequence
from errno import EBADF
from queue import Empty, SimpleQueue
from select import select
from threading import Thread
from typing import Final

import click

from chatgpt.cli.exit_codes import say
from chatgpt.cli.pipelines import has_writer_beside
from chatgpt.cli.terminal import is_person_typing

PATIENCE: Final = 5.0
"""Seconds for the first byte of input that a prompt may not need."""

MOST_BYTES: Final = 50_000_000
"""More than any model takes."""

PIECE: Final = 64 * 1024
WAIT: Final = "-"
"""The word of a prompt that says that input comes, behind the others."""


def joined_prompt(words: Sequence[str]) -> str:
    """The prompt of a command line: its words, and standard input after them.

    Args:
        words: the words; a prompt that is one argument is one of them.

    Raises:
        click.UsageError: there is none.
    """
    is_waited_for = WAIT in words or not words
    said = " ".join(word for word in words if word != WAIT)
    found = piped_text(is_waited_for=is_waited_for)
    parts = [part for part in (said, found) if part is not None and part.strip()]
    if not parts:
        raise click.UsageError(
            'Give a prompt: chatgpt "What is a monad?", or text on standard input.'
        )
    return "\n\n".join(parts)


def piped_text(*, is_waited_for: bool = True) -> str | None:
    """Read standard input to its end; `None` where it is a terminal, or nothing comes that must not be waited for.

    Raises:
        click.UsageError: it is no text, or more than any model takes.
        OSError: it cannot be read.
    """
    if is_person_typing() or sys.stdin is None:
        return None
    pieces: SimpleQueue[bytes | OSError] = SimpleQueue()
    # A thread, because not every system can wait for a pipe in another way; os.read, because a thread that
    # is left inside the buffer of sys.stdin makes the end of the interpreter fail.
    Thread(target=_read_pieces, args=(sys.stdin.fileno(), pieces), daemon=True).start()
    try:
        piece = pieces.get(timeout=None if is_waited_for else PATIENCE)
    except Empty:
        if not has_writer_beside(sys.stdin.fileno()):
            say(
                f"nothing came on standard input for {PATIENCE:g} seconds, so it is not part of the prompt "
                "(- as a word of the prompt waits for it, </dev/null says that there is none)"
            )
            return None
        say("waiting for standard input (</dev/null says that there is none)")
        piece = pieces.get()
    read = bytearray()
    while piece:
        if isinstance(piece, OSError):
            raise piece
        read += piece
        if b"\0" in piece and not read.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            raise click.UsageError("Standard input is no text: it holds zero bytes.")
        if len(read) > MOST_BYTES:
            raise click.UsageError(f"Standard input has more than {MOST_BYTES:,} bytes.")
        piece = pieces.get()
    return _text(bytes(read))


def _read_pieces(descriptor: int, pieces: SimpleQueue[bytes | OSError]) -> None:
    """Read to the end, which is an empty piece, or to the error that ends it."""
    while True:
        try:
            piece: bytes | OSError = os.read(descriptor, PIECE)
        except BlockingIOError:  # whoever made the pipe does not wait for it
            select([descriptor], [], [])
            continue
        except OSError as error:
            piece = error if error.errno != EBADF else b""  # a stream that is closed has nothing
        pieces.put(piece)
        if not piece or isinstance(piece, OSError):
            return


def _text(read: bytes) -> str:
    if read.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        text = read.decode("utf-16", "replace")
    else:
        text = read.removeprefix(BOM_UTF8).decode("utf-8", "replace")
    return text.rstrip("\r\n")
