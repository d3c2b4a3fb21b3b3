"""A pipe that some program left open, and one of a pipeline whose program is slow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/fdinfo").exists(), reason="Linux tells alone")

PROGRAM = "from chatgpt.cli.pipelines import has_writer_beside; print(has_writer_beside(0))"


def answer(shell: str) -> str:
    """What a program says whose standard input a shell has made."""
    done = subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ("sleep 1 | \"$@\"", "True"),
        ("(sleep 1; echo late) | cat | \"$@\"", "True"),
        ("\"$@\" < /dev/null", "False"),
        ("echo early | \"$@\"", "False"),
        ("\"$@\" < /etc/passwd", "False"),
    ],
)  # fmt: skip
def test_a_pipeline(shell: str, expected: str) -> None:
    assert answer(shell) == expected


def test_a_pipe_that_a_program_left_open() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read().strip() == "False"
