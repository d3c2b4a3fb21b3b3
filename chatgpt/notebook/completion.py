"""The options of the magics and their values, completed."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
)
from IPython.core.interactiveshell import InteractiveShell

from chatgpt.core.models import FAMILIES, SHUTDOWN_DAYS
from chatgpt.notebook.magics import CHAT, CONFIG, ChatMagics
from chatgpt.notebook.settings import names_of_clients

Values: TypeAlias = Callable[[str], Iterable[str]]
"""What an option may take, given how it begins."""

MODELS: Final = sorted(
    family.prefix
    for family in FAMILIES
    if family.prefix not in SHUTDOWN_DAYS and family.prefix[-1:].isalnum()
)


def matcher_of_magics(
    shell: InteractiveShell, magics: ChatMagics
) -> Callable[[CompletionContext], SimpleMatcherResult]:
    """What completes the magics of a shell.

    It is a matcher, not one of the older hooks: beside those, IPython offers names of Python, too.
    """
    options: Mapping[str, ArgumentParser] = {"%%chat": CHAT, "%chat_config": CONFIG}
    values: Mapping[str, Values] = {
        "--model": lambda _: MODELS,
        "--name": lambda _: magics.names(),
        "--store": _files,
        "--client": lambda _: names_of_clients(shell.user_ns),
    }

    def match(context: CompletionContext) -> SimpleMatcherResult:
        before = context.text_until_cursor.removesuffix(context.token).split()
        command = before[0] if before and context.cursor_line == 0 else ""
        if command == "%chat_tree":
            found: Iterable[str] = magics.names()
        elif command in options:
            found = _completed(options[command], values, before[-1], context.token)
        else:
            return {"completions": [], "suppress": False}
        offered = [
            SimpleCompletion(text, type="option")
            for text in found
            if text.startswith(context.token)
        ]
        return {"completions": offered, "suppress": True}

    match.matcher_api_version = 2  # type: ignore[attr-defined] # how IPython knows what it is given
    return match


def _completed(
    parser: ArgumentParser, values: Mapping[str, Values], before: str, beginning: str
) -> Iterable[str]:
    """What may follow the word before: the value of that option, or an option."""
    options = {
        spelling: action
        for action in parser._actions  # noqa: SLF001 - argparse lists them nowhere else
        for spelling in action.option_strings
    }
    if before in options and options[before].nargs != 0:
        long_spelling = options[before].option_strings[-1]
        return values[long_spelling](beginning) if long_spelling in values else ()
    return [spelling for spelling in options if spelling.startswith("--")]


def _files(beginning: str) -> list[str]:
    folder = beginning.rpartition("/")[0]
    found = Path(folder or ".").expanduser().glob("*")
    names = (f"{each.name}{'/' if each.is_dir() else ''}" for each in found)
    return [f"{folder}/{name}" if folder else name for name in names if not name.startswith(".")]
