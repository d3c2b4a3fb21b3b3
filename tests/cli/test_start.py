"""What is loaded to start: help is quick, and a pipe needs nothing of a terminal. Modules are counted, not seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import command_start
from chatgpt.testing import ChatGPTServer
from tests.cli.processes import COMMAND, environment


def loaded(*arguments: str, env: dict[str, str]) -> set[str]:
    """The modules that a run of the command loads."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", COMMAND, *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.rpartition("|") for line in done.stderr.splitlines() if "import time" in line)
    return {name.strip() for _, _, name in lines}


def test_help_loads_click_and_little_else(tmp_path: Path) -> None:
    env = environment(tmp_path)
    env.pop("COVERAGE_PROCESS_START", None)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import click"],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    floor = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    more = {name for name in loaded("--help", env=env) - floor if not name.startswith("chatgpt")}
    # What click itself loads to lay help out for the width of the terminal, and the signals.
    assert more <= {
        *("click._textwrap", "textwrap", "signal", "locale", "_locale", "gettext"),
        *("shutil", "zlib", "bz2", "_bz2", "lzma", "_lzma", "_compression"),
    }


def test_a_prompt_in_a_pipe_loads_nothing_of_a_terminal(tmp_path: Path) -> None:
    with ChatGPTServer(["Hello"]) as server:
        modules = loaded("hi", env=environment(tmp_path, server))
    assert "requests" in modules
    assert not {
        name for name in modules if name.partition(".")[0] in ("rich", "pygments", "markdown_it")
    }


def test_the_benchmark_of_the_start_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_start, "ROUNDS", 1)
    command_start.main()
    assert capsys.readouterr().out.startswith("chatgpt --help takes ")
