"""What a call costs with this package, and with what one would take instead.

    python -m benchmarks.peers --npm /tmp/npm-chatgpt    # measures, writes results.json, prints the table
    python -m benchmarks.plots                           # draws what the documentation shows of it

Strategy: one server (`fast_server.py`), and for each client and round a process (`peer_clients.py`, `npm_client.mjs`) that
measures itself. Rounds are interleaved, A B C A B C, so that a machine that is slower for a while is slower for all; a first
round, which fills caches of code and files, is not counted.

Rules:

1. What is compared is CPU time of the client's process; wall time is recorded beside it.
2. Every client must have read the same text, or there are no figures.
3. Who is not installed is left out, and named.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Timer
from typing import Final

from attrs import field, frozen

from benchmarks.fast_server import REPLY, stream_text
from benchmarks.results import RESULTS, Figures, Measured, Results, table

HERE: Final = Path(__file__).parent
LIMIT: Final = 120.0
"""Seconds after which a client hangs."""

_FOREIGN: Final = re.compile(r"(?:OPENAI|CHATGPT|LITELLM|AZURE)_.*|.*_PROXY", re.IGNORECASE)
"""Variables that would change what a client does."""


@frozen
class Peer:
    """A client that can be measured.

    Attributes:
        title: what it is called, in Markdown.
        baseline: which of ours it is compared with.
        packages: what must be installed.
        is_floor: whether it is the floor of those built on the same libraries.
    """

    title: str
    baseline: str
    packages: Sequence[str] = field(default=())
    is_floor: bool = False


NPM: Final = "npm"
PEERS: Final[Mapping[str, Peer]] = {
    "chatgpt": Peer("`chatgpt`", "chatgpt", ["chatgpt-sdk"]),
    "openai": Peer("`openai`", "chatgpt", ["openai"]),
    "litellm": Peer("`litellm`", "chatgpt", ["litellm"]),
    "floor": Peer(
        "floor: `requests`, `sseclient`", "chatgpt", ["requests", "sseclient-py"], is_floor=True
    ),
    "chatgpt_async": Peer("`chatgpt_async`", "chatgpt_async", ["chatgpt-sdk", "httpx2"]),
    "openai_async": Peer("`openai`, async", "chatgpt_async", ["openai"]),
    "litellm_async": Peer("`litellm`, async", "chatgpt_async", ["litellm"]),
    NPM: Peer("npm `chatgpt`", "chatgpt_async"),
    "floor_async": Peer("floor: `httpx2`", "chatgpt_async", ["httpx2"], is_floor=True),
}
"""In the order of the table."""


class ClientFailedError(Exception):
    """A client did not do what it was asked; the message says what."""


def measure(
    names: Sequence[str],
    *,
    rounds: int,
    events: int = 2_000,
    events_per_chunk: int = 1,
    seconds: float = 0.25,
    npm: Path | None = None,
) -> Results:
    """Measure clients against each other.

    Args:
        names: of `PEERS`.
        rounds: how often each, beside one that is not counted.
        events: pieces of text in a stream.
        events_per_chunk: how many of them come in a chunk of HTTP.
        seconds: of CPU, for which a client streams, and asks, in each round; both are done at least once.
        npm: the folder where `npm install chatgpt` was run.

    Raises:
        ClientFailedError: a client failed, or read another text.
    """
    missing = {name: why for name in names if (why := _why_missing(name, npm))}
    figures: dict[str, Figures] = {name: {} for name in names if name not in missing}
    expected = [REPLY, stream_text(events), REPLY]
    with serving() as origin:
        url = f"{origin}/{events}/{events_per_chunk}/v1"
        for number in range(rounds + 1):
            for name, kept in figures.items():
                measured, texts = run_client(_command(name, npm), url, events, seconds)
                if texts != expected:
                    raise ClientFailedError(f"{name} has read another text than was sent")
                if number:
                    _keep(kept, measured)
            print(f"round {number} of {rounds}", file=sys.stderr)
    return Results(
        date=datetime.now(UTC).date().isoformat(),
        machine=_machine(),
        versions=_versions(figures, npm),
        events=events,
        events_per_chunk=events_per_chunk,
        rounds=rounds,
        clients={
            name: Measured(PEERS[name].title, PEERS[name].baseline, PEERS[name].is_floor, kept)
            for name, kept in figures.items()
        },
        left_out={PEERS[name].title: why for name, why in missing.items()},
    )


@contextmanager
def serving() -> Iterator[str]:
    """The fast server, in a process of its own; its origin."""
    command = [sys.executable, "-I", str(HERE / "fast_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:  # noqa: S603 - this file's own
        assert server.stdin is not None
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.stdin.close()


def run_client(
    command: Sequence[str], url: str, events: int, seconds: float
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Let a client measure itself; its figures, and the texts that it has read.

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
        with subprocess.Popen(  # noqa: S603 - the commands below
            [*command, url, str(events), str(seconds)],
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=environment,
        ) as client:
            guard = Timer(LIMIT, client.kill)
            guard.start()
            assert client.stdout is not None
            for line in client.stdout:
                told = json.loads(line)
                if not figures:
                    told["figures"]["first_reply"]["wall"] = time.perf_counter() - begin
                figures |= told["figures"]
                texts += told["texts"]
            guard.cancel()
        if client.returncode:
            complaints.seek(0)
            said = complaints.read().decode(errors="replace")
            raise ClientFailedError(f"{command} ended with the code {client.returncode}:\n{said}")
    return figures, texts


def _keep(kept: Figures, measured: Mapping[str, Mapping[str, float]]) -> None:
    for metric, kinds in measured.items():
        for kind, figure in kinds.items():
            # Four digits mean something, at most.
            kept.setdefault(metric, {}).setdefault(kind, []).append(float(f"{figure:.4g}"))


def _command(name: str, npm: Path | None) -> list[str]:
    if name == NPM:
        return ["node", str(HERE / "npm_client.mjs"), str(npm)]
    return [sys.executable, "-I", str(HERE / "peer_clients.py"), name]


def _why_missing(name: str, npm: Path | None) -> str | None:
    if name == NPM:
        if shutil.which("node") is None:
            return "there is no Node.js"
        return None if npm and _npm_package(npm).is_file() else "not installed"
    try:
        for package in PEERS[name].packages:
            version(package)
    except PackageNotFoundError:
        return "not installed"
    return None


def _npm_package(npm: Path) -> Path:
    return npm / "node_modules" / "chatgpt" / "package.json"


def _versions(names: Iterator[str] | Mapping[str, object], npm: Path | None) -> dict[str, str]:
    packages = dict.fromkeys(package for name in names for package in PEERS[name].packages)
    versions = {package: version(package) for package in packages}
    versions["Python"] = platform.python_version()
    if npm and NPM in names:
        versions["npm chatgpt"] = json.loads(_npm_package(npm).read_text("utf-8"))["version"]
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)  # noqa: S607 - the one on the path
        versions["Node.js"] = node.stdout.strip().removeprefix("v")
    return versions


def _machine() -> str:
    """The processor, its cores and the system; not whose machine it is."""
    processor = platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        model = re.search(r"^model name\s*: (.+)$", information.read_text("utf-8"), re.MULTILINE)
        processor = model[1].strip() if model else processor
    return f"{os.cpu_count()} cores of {processor}, {platform.system()}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write the results, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description="Compare with other clients."
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--events", type=int, default=2_000, help="in each stream")
    parser.add_argument("--events-per-chunk", type=int, default=1, help="of HTTP")
    parser.add_argument(
        "--seconds", type=float, default=0.25, help="of CPU for each figure of a round"
    )
    parser.add_argument(
        "--npm", type=Path, default=os.environ.get("CHATGPT_NPM"),
        help="where `npm install chatgpt` was run; by default $CHATGPT_NPM",
    )  # fmt: skip
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file that is written")
    parser.add_argument("names", nargs="*", help=f"by default all: {', '.join(PEERS)}")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(PEERS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    results = measure(
        given.names or list(PEERS),
        rounds=given.rounds,
        events=given.events,
        events_per_chunk=given.events_per_chunk,
        seconds=given.seconds,
        npm=given.npm and given.npm.resolve(),
    )
    results.save(given.results)
    print(table(results))


if __name__ == "__main__":
    main()
