"""The code blocks of the documents: what runs, and what it must print.

Strategy: sybil finds the pages and makes a test of each block; here a block is told by its language. A block that
nobody checks goes wrong unseen, so a language that is not named here fails.

Rules:

1. `python` runs, in the order of the page, all of a page in one namespace. A `text` block that follows it directly is what
   it must have printed; any other `text` is only shown.
2. `console` is one script for bash, in the folder and the environment of the page: lines that begin with `$ ` are run, and
   a line that ends with a backslash goes on in the next one. The first command that fails ends it, and fails. The other
   lines are what must have been printed, standard error included; without any, nothing is compared.
3. In what must be printed, `...` stands for anything.
4. `<!-- not run: reason -->` directly before a block that would run lets it be, where there is a reason.
5. `json` must parse; `toml`, `ini` and `yaml` are only shown. Directives of MyST (`{toctree}`) are no code, unless they
   are blocks of it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout, suppress
from difflib import unified_diff
from functools import partial
from io import StringIO
from typing import Final

import pytest
from _pytest._code.code import Traceback
from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.integration.pytest import SybilItem
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

LIMIT: Final = 60.0
"""Seconds for a console block; none takes so long unless it hangs."""

RUNNABLE: Final = ("python", "console")
DATA: Final = ("text", "toml", "ini", "yaml")

_CODE_DIRECTIVE: Final = re.compile(r"\{(?:code|sourcecode|parsed-literal|eval-rst|mermaid)")
_NOT_RUN: Final = re.compile(r"<!--+\s*not run\b(?P<reason>.*?)--+>", re.IGNORECASE | re.DOTALL)
_blocks: Final = RawFencedCodeBlockLexer(re.compile(r"[ \t]*(?P<language>[^\n]*?)[ \t]*\n"))
_run: Final = PythonEvaluator()


def code_blocks(document: Document) -> Iterable[Region]:
    """The blocks of a page that are checked, as sybil's parsers give them."""
    marks = {mark.end(): mark for mark in _NOT_RUN.finditer(document.text)}
    end_before = 0
    printed: list[str] | None = None
    for block in sorted(_blocks(document), key=lambda block: block.start):
        language = block.lexemes["language"]
        mark = marks.pop(len(document.text[: block.start].rstrip()), None)
        is_next = not document.text[end_before : block.start].strip()
        source, end_before = printed if is_next else None, block.end
        printed = [] if language == "python" and mark is None else None
        block.parsed = block.lexemes["source"]
        block.evaluator = (
            _evaluator(language, printed, source) if mark is None else _of_mark(mark, language)
        )
        if block.evaluator is not None:
            yield block
    for mark in marks.values():
        yield Region(mark.start(), mark.end(), None, lambda _: "There is no block after this mark.")


def _evaluator(
    language: str, printed: list[str] | None, source: list[str] | None
) -> Callable[[Example], str | None] | None:
    """What checks a block; `None` where nothing is to be checked.

    Args:
        language: what its fence says.
        printed: where a block of Python leaves what it prints.
        source: what the block of Python printed that it follows directly.
    """
    if printed is not None:
        return partial(_run_python, printed)
    if language == "console":
        return _run_console
    if language == "json":
        return _parse_json
    if language == "text" and source is not None:
        return lambda example: _difference(str(example.parsed), "".join(source))
    if language in DATA or (language.startswith("{") and not _CODE_DIRECTIVE.match(language)):
        return None
    return lambda _: f"A block of {language or 'no language'} would not be checked."


def _of_mark(mark: re.Match[str], language: str) -> Callable[[Example], str] | None:
    if language not in RUNNABLE:
        return lambda _: f"A block of {language or 'no language'} is not run anyway."
    if not re.fullmatch(r":\s*\w.*", mark["reason"].strip(), re.DOTALL):
        return lambda _: "Say why: <!-- not run: reason -->"
    return None


def _run_python(printed: list[str], example: Example) -> None:
    output = StringIO()
    try:
        with redirect_stdout(output):
            _run(example)
    finally:
        printed[:] = [output.getvalue()]
        sys.stdout.write(printed[0])  # pytest shows it where the block fails


def _run_console(example: Example) -> str | None:
    commands: list[str] = ["set -eo pipefail"]
    expected: list[str] = []
    is_continued = False
    for line in str(example.parsed).splitlines():
        is_command = is_continued or line.startswith("$ ")
        (commands if is_command else expected).append(
            line if is_continued else line.removeprefix("$ ")
        )
        is_continued = is_command and line.endswith("\\")
    if len(commands) == 1:
        return "There is no command: they begin with `$ `."
    code, output = _bash("\n".join(commands))
    if code != 0:
        why = f"ended with the code {code}" if code is not None else f"took over {LIMIT:g} s"
        return f"The script {why}. It printed:\n{output}"
    return _difference("\n".join(expected), output) if expected else None


def _bash(script: str) -> tuple[int | None, str]:
    """Run a script; its exit code, `None` where it had to be stopped, and what it printed.

    What it has left running ends with it. So it prints into a file: such a process keeps a pipe open.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["bash", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code = None
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(LIMIT)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        output.seek(0)
        return code, output.read().decode(errors="replace")


def _parse_json(example: Example) -> str | None:
    try:
        json.loads(str(example.parsed))
    except ValueError as problem:
        return f"This is no JSON: {problem}"
    return None


def _difference(expected: str, output: str) -> str | None:
    """What a page says must be printed, beside what was; `None` where they agree."""
    said, printed = (
        "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
        for text in (expected, output)
    )
    pattern = ".*?".join(re.escape(piece) for piece in said.split("..."))
    if re.fullmatch(pattern, printed, re.DOTALL):
        return None
    lines = unified_diff(
        said.splitlines(), printed.splitlines(), "the page", "printed", lineterm=""
    )
    return "\n".join(lines)


def show_foreign_tracebacks() -> None:
    """Have sybil show what fails outside of a block, where it looks for the block in vain and pytest ends.

    That is what pytest raises after it: a socket was left open.
    """
    own = SybilItem._traceback_filter

    def _traceback_filter(item: SybilItem, error: pytest.ExceptionInfo[BaseException]) -> Traceback:
        try:
            return own(item, error)
        except IndexError:
            return error.traceback

    SybilItem._traceback_filter = _traceback_filter  # type: ignore[assignment, method-assign] # there is no other way in
