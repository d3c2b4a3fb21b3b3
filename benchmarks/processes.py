"""The processes of a measurement: one server, and a process for each client, scenario and round.

Rules:

1. A client sees no variable of the environment that would change what it does.
2. A client that hangs is killed, and one that fails says how.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Final

SERVER: Final = Path(__file__).with_name("fast_server.py")
LIMIT: Final = 300.0
"""Seconds after which a client hangs."""

_FOREIGN: Final = re.compile(r"(?:OPENAI|CHATGPT|LITELLM|AZURE)_.*|.*_PROXY", re.IGNORECASE)
"""Variables that would change what a client does."""


class ClientFailedError(Exception):
    """A client did not do what it was asked; the message says what."""


@contextmanager
def serving() -> Iterator[str]:
    """The fast server, in a process of its own; its origin."""
    command = [sys.executable, "-I", str(SERVER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:  # noqa: S603 - this folder's own
        assert server.stdin is not None
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.stdin.close()


def run_client(command: Sequence[str]) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Let a client measure itself; its figures, and the texts that it has read.

    Args:
        command: what the process is started with.

    Raises:
        ClientFailedError: it failed, or took longer than `LIMIT`.
    """
    environment = {
        name: value for name, value in os.environ.items() if not _FOREIGN.fullmatch(name)
    }
    # By default, LiteLLM asks GitHub for its prices when it is imported.
    environment["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    figures: dict[str, dict[str, float]] = {}
    texts: list[str] = []
    with tempfile.TemporaryFile() as complaints:
        begin = time.perf_counter()
        with subprocess.Popen(  # noqa: S603 - those of `plan.command`
            command, stdout=subprocess.PIPE, stderr=complaints, env=environment
        ) as client:
            guard = Timer(LIMIT, client.kill)
            guard.start()
            assert client.stdout is not None
            for line in client.stdout:
                told = json.loads(line)
                if "first_reply" in told["figures"]:
                    told["figures"]["first_reply"]["wall"] = time.perf_counter() - begin
                figures |= told["figures"]
                texts += told["texts"]
            guard.cancel()
        if client.returncode:
            complaints.seek(0)
            said = complaints.read().decode(errors="replace")
            raise ClientFailedError(
                f"{' '.join(command)} ended with the code {client.returncode}:\n{said}"
            )
    return figures, texts


def allow_open_files(count: int) -> bool:
    """Let the processes that are started from now on have so many files open; whether they may.

    Args:
        count: of files, sockets among them.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return True
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= count:
        return True
    if hard != unlimited and hard < count:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return True
