"""A server whose streams are held until somebody says so, and interpreters of their own that talk to it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from chatgpt.testing import Answer, ChatGPTServer, RecordedRequest, echo

PATIENCE: Final = 30.0


ROOT: Final = Path(__file__).parents[2]


needs_fork: Final = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def wait_until(condition: Callable[[], bool]) -> bool:
    """Wait for what another thread does."""
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


class Endless(Answer):
    """A reply that takes longer than a test waits."""

    @property
    def deltas(self) -> Any:
        for number in range(3000):
            yield f" {number}"
            time.sleep(0.005)


class Gate:
    """What the server answers.

    The stream of a message that begins with "held" is held after its first part, until somebody says "open". That
    of "endless" goes on until its client leaves it, and "was it left?" is answered with yes or no.
    """

    def __init__(self) -> None:
        self._is_open = threading.Event()
        self._endless: RecordedRequest | None = None

    def __call__(self, request: RecordedRequest) -> str | Answer:
        text = str(request.messages[-1]["content"])
        if text == "open":
            self._is_open.set()
        if text == "endless":
            self._endless = request
            return Endless()
        if text == "was it left?":
            endless = self._endless
            assert endless is not None
            return "yes" if wait_until(lambda: endless.is_disconnected) else "no"
        if not text.startswith("held"):
            return echo(request)
        is_open = self._is_open

        class Held(Answer):
            @property
            def deltas(self) -> Any:
                yield "first"
                assert is_open.wait(PATIENCE)
                yield " second"

        return Held()


@pytest.fixture
def gate() -> Iterator[ChatGPTServer]:
    with ChatGPTServer(Gate()) as server:
        yield server


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run an interpreter to its end; a warning about forks of many threads is no matter."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "OPENAI_API_KEY": "sk-test", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
