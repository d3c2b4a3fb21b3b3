"""The command `chatgpt` as a process of its own: between pipes, or on a pseudo-terminal.

Strategy: what is installed is what runs, with an environment that has nothing of the machine's but its `PATH`. The server
it talks to runs in the process of the test, and its store is a file that the test can open.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pexpect
from coverage import Coverage

from chatgpt import SQLiteStore
from chatgpt.testing import ChatGPTServer

COMMAND: Final = str(Path(sys.executable).with_name("chatgpt"))

ROOT: Final = Path(__file__).parents[2]

LIMIT: Final = 30.0
"""Seconds for whatever a test waits for; nothing takes that long unless it hangs."""

_ESCAPES: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])"
)


def environment(
    folder: Path, server: ChatGPTServer | None = None, **more: str | None
) -> dict[str, str]:
    """The environment of a process.

    Args:
        folder: where it has its home, and its store.
        server: which server it talks to, with a key or an access token that this one accepts.
        more: further variables; `None` takes one away.
    """
    variables: dict[str, str | None] = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_STATE_HOME": str(folder / "state"),
        "CHATGPT_STORE": str(store_file(folder)),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
    }
    if Coverage.current() is not None:  # the process is measured, too
        variables["COVERAGE_PROCESS_START"] = str(ROOT / "setup.cfg")
        variables["COVERAGE_FILE"] = str(ROOT / ".coverage")
    if server is not None:
        variables["OPENAI_BASE_URL"] = server.base_url
        variables["OPENAI_API_KEY"] = server.api_key
    variables.update(more)
    return {name: value for name, value in variables.items() if value is not None}


def store_file(folder: Path) -> Path:
    """Where a process with this folder keeps its conversations."""
    return folder / "conversations.db"


@contextmanager
def opened_store(folder: Path) -> Iterator[SQLiteStore]:
    """The store of the processes with this folder."""
    with SQLiteStore(store_file(folder)) as store:
        yield store


def run(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    stdin: str | bytes | int | None = None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command between pipes, to its end.

    Args:
        arguments: those of the command line.
        env: the whole environment, such as `environment` makes it.
        stdin: what is piped in, or an open descriptor; `None` for `/dev/null`.
        folder: where it runs; by default where the test does.
    """
    return _ended([COMMAND, *arguments], env, stdin, folder)


def in_shell(
    script: str, arguments: Sequence[str] = (), *, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the command in a script of bash, which calls it as `"$@"`, with `/dev/null` as its standard input.

    Args:
        script: the script.
        arguments: those of the command line.
        env: the whole environment.
    """
    return _ended(["bash", "-c", script, "bash", COMMAND, *arguments], env, None, None)


def _ended(
    command: Sequence[str],
    env: Mapping[str, str],
    stdin: str | bytes | int | None,
    folder: Path | None,
) -> subprocess.CompletedProcess[str]:
    given = stdin.encode() if isinstance(stdin, str) else stdin
    if given is None:
        given = subprocess.DEVNULL
    done = subprocess.run(
        command,
        env=env,
        cwd=folder,
        stdin=given if isinstance(given, int) else None,
        input=None if isinstance(given, int) else given,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def start(
    arguments: Sequence[str], *, env: Mapping[str, str], stdin: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Start the command between pipes that the test holds; used as a context manager, it is waited for.

    Args:
        arguments: those of the command line.
        env: the whole environment.
        stdin: `subprocess.DEVNULL` where it is given none.
    """
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [COMMAND, *arguments],
        env=env,
        stdin=stdin,
        stdout=pipe,
        stderr=pipe,
        encoding="utf-8",
        bufsize=1,
    )


@contextmanager
def on_terminal(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    piped_in: Path | None = None,
    piped_to: Path | None = None,
    folder: Path | None = None,
    dimensions: tuple[int, int] = (24, 80),
) -> Iterator[pexpect.spawn[str]]:
    """Start the command on a pseudo-terminal; it is killed in the end, if it still runs.

    Args:
        arguments: those of the command line.
        env: the whole environment.
        piped_in: a file that is piped into its standard input, in place of the terminal.
        piped_to: a file that has its standard output, in place of the terminal.
        folder: where it runs; by default where the test does.
        dimensions: lines and columns.
    """
    command = [COMMAND, *arguments]
    if piped_in is not None:
        command = _in_shell('file=$1; shift; cat "$file" | "$@"', piped_in, command)
    if piped_to is not None:
        command = _in_shell('file=$1; shift; exec "$@" > "$file"', piped_to, command)
    with warnings.catch_warnings():  # newer Pythons warn of a fork beside the threads of the server
        warnings.simplefilter("ignore", DeprecationWarning)
        terminal = pexpect.spawn(
            command[0],
            command[1:],
            env=dict(env),
            cwd=folder and str(folder),
            dimensions=dimensions,
            encoding="utf-8",
            timeout=LIMIT,
        )
    terminal.delaybeforesend = None
    try:
        yield terminal
    finally:
        terminal.close(force=True)


def _in_shell(script: str, file: Path, command: Sequence[str]) -> list[str]:
    return ["/bin/sh", "-c", script, "sh", str(file), *command]


def exit_code(terminal: pexpect.spawn[str]) -> int | None:
    """Wait for the end of a process on a terminal; `None` where a signal ended it."""
    terminal.expect(pexpect.EOF)
    terminal.wait()
    terminal.ptyproc.delayafterclose = 0  # type: ignore[attr-defined] # what it waits for has happened
    terminal.close()
    return terminal.exitstatus


def plain(text: str | None) -> str:
    """What a terminal was sent, without its escape sequences and with the line ends of text."""
    return _ESCAPES.sub("", text or "").replace("\r\n", "\n").replace("\r", "")
