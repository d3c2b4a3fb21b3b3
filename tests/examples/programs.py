"""The examples as a user runs them: processes of their own, whose environment says where the server is.

`Held` is an answer that waits for the test between two of its parts, so that no test has to guess a time.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Final, overload

from tests.cli.processes import LIMIT, ROOT

EXAMPLES: Final = ROOT / "examples"

_PAUSE: Final = 0.01


def start(
    name: str, *arguments: str | Path, folder: Path, env: Mapping[str, str]
) -> subprocess.Popen[str]:
    """Start an example between pipes; used as a context manager, it is waited for.

    Args:
        name: its file.
        arguments: those of its command line.
        folder: where it runs.
        env: the whole environment.
    """
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        cwd=folder,
        env=dict(env),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        encoding="utf-8",
    )


def run(
    name: str, *arguments: str | Path, folder: Path, env: Mapping[str, str], stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run an example to its end."""
    with start(name, *arguments, folder=folder, env=env) as process:
        try:
            output, problems = process.communicate(stdin, timeout=LIMIT)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, problems)


@contextmanager
def web_service(folder: Path, env: Mapping[str, str]) -> Iterator[str]:
    """Run the web service under uvicorn on a free port; gives its URL. Its log is `service.log` in the folder."""
    command = ["-m", "uvicorn", "--app-dir", str(EXAMPLES / "web_service"), "app:app"]
    log = folder / "service.log"
    with (
        log.open("w") as written,
        subprocess.Popen(
            [sys.executable, *command, "--port", "0"],
            cwd=folder,
            env=dict(env),
            stderr=subprocess.PIPE,
            stdout=written,
            encoding="utf-8",
        ) as process,
    ):
        assert process.stderr is not None
        try:
            for line in process.stderr:
                written.write(line)
                if found := re.search(r"running on (http://\S+)", line):
                    yield found[1]
                    break
            else:
                raise AssertionError(log.read_text())
        finally:
            process.terminate()
            written.write(process.communicate(timeout=LIMIT)[1])
    assert process.returncode in (0, -signal.SIGTERM), log.read_text()
    assert "Application shutdown complete." in log.read_text()


class Held(Sequence[str]):
    """The parts of an answer: the first, and, once `let_go` was called, the others.

    In between it sends empty parts, which nobody shows, so that a server notices at once that nobody listens.
    """

    def __init__(self, *parts: str) -> None:
        self._parts = parts
        self._is_let_go = Event()

    def let_go(self) -> None:
        """Send the others."""
        self._is_let_go.set()

    def __iter__(self) -> Iterator[str]:
        yield self._parts[0]
        for _ in range(int(LIMIT / _PAUSE)):
            if self._is_let_go.wait(_PAUSE):
                break
            yield ""
        yield from self._parts[1:]

    def __len__(self) -> int:
        return len(self._parts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._parts[index]
