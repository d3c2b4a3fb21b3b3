"""What a call costs with this package, and with what one would take instead.

    python -m benchmarks.peers --npm /tmp/npm-chatgpt    # measures, writes results.json, prints the tables
    python -m benchmarks.plots                           # draws what the documentation shows of it

Strategy: one server (`fast_server.py`), and for each client, scenario and round a process that measures itself
(`client_process.py`, `npm_client.mjs`). Rounds are interleaved, A B C A B C, so that a machine that is slower for a while is
slower for all; a first round, which fills caches of code and files, is not counted.

Rules:

1. What is compared is CPU time of the client's process; wall time is recorded beside it.
2. Every client must have read the same text, or there are no figures.
3. Who is not installed is left out, and named.
4. A run of a part only, of some clients or scenarios, does not replace the file that the documentation shows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.plan import NPM, PEERS, SCENARIOS, command, npm_package, why_missing
from benchmarks.processes import ClientFailedError, allow_open_files, run_client, serving
from benchmarks.results import RESULTS, Figures, Measured, Results, table
from benchmarks.sizes import WHOLE, Sizes
from benchmarks.targets import target_table


def measure(
    clients: Iterable[str] = PEERS,
    scenarios: Sequence[str] = tuple(SCENARIOS),
    *,
    rounds: int,
    sizes: Sizes = WHOLE,
    npm: Path | None = None,
    has_npm_thread: bool = True,
    has_warm_up: bool = True,
) -> Results:
    """Measure clients against each other.

    Args:
        clients: names of `PEERS`; by default all.
        scenarios: names of `SCENARIOS`; by default all.
        rounds: how often each, at most.
        sizes: how much is done.
        npm: the folder where `npm install chatgpt` was run; by default it is left out.
        has_npm_thread: whether npm `chatgpt` builds the prompt of a long thread, too, which takes it about half a minute.
        has_warm_up: whether there is a round before them that is not counted.

    Raises:
        ClientFailedError: a client failed, or read another text.
    """
    clients = [*clients]
    missing = {name: why for name in clients if (why := why_missing(name, npm))}
    left_out = {PEERS[name].title: why for name, why in missing.items()}
    figures: dict[str, Figures] = {name: {} for name in clients if name not in missing}
    planned: list[tuple[str, str, int | None]] = []
    for scenario in scenarios:
        if not allow_open_files(SCENARIOS[scenario].files(sizes)):
            left_out[scenario] = "too few files may be open"
            continue
        for name, most in SCENARIOS[scenario].clients.items():
            if name not in figures:
                continue
            if name == NPM and scenario == "prompts" and not has_npm_thread:
                left_out[f"the long thread of {PEERS[name].title}"] = "as was asked"
            else:
                planned.append((scenario, name, most))
    with serving() as origin:
        for number in range(0 if has_warm_up else 1, rounds + 1):
            begin = time.monotonic()
            for scenario, name, most in planned:
                if most is not None and not 1 <= number <= most:
                    continue
                measured, texts = run_client(command(scenario, name, origin, sizes, npm))
                if texts != [*SCENARIOS[scenario].texts(name, sizes)]:
                    raise ClientFailedError(f"{name} has read another text than was sent")
                if number:
                    _keep(figures[name], measured)
            print(f"round {number} of {rounds}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    return Results(
        date=datetime.now(UTC).date().isoformat(),
        machine=_machine(),
        versions=_versions(figures, npm),
        sizes=sizes,
        rounds=rounds,
        clients={
            name: Measured(PEERS[name].title, PEERS[name].baseline, PEERS[name].is_floor, kept)
            for name, kept in figures.items()
        },
        left_out=left_out,
    )


def _keep(kept: Figures, measured: Mapping[str, Mapping[str, float]]) -> None:
    for metric, kinds in measured.items():
        for kind, figure in kinds.items():
            # Four digits mean something, at most.
            kept.setdefault(metric, {}).setdefault(kind, []).append(float(f"{figure:.4g}"))


def _versions(names: Iterable[str], npm: Path | None) -> dict[str, str]:
    names = [*names]
    packages = dict.fromkeys(package for name in names for package in PEERS[name].packages)
    versions = {package: version(package) for package in packages}
    versions["Python"] = platform.python_version()
    if npm and NPM in names:
        versions["npm chatgpt"] = json.loads(npm_package(npm).read_text("utf-8"))["version"]
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
    """Measure, write the results, and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description="Compare with other clients."
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--scenarios", nargs="+", choices=SCENARIOS, default=[*SCENARIOS], help="by default all"
    )
    parser.add_argument(
        "--seconds", type=float, default=WHOLE["seconds"],
        help="of CPU for each figure of a round",
    )  # fmt: skip
    parser.add_argument(
        "--npm", type=Path, default=os.environ.get("CHATGPT_NPM"),
        help="where `npm install chatgpt` was run; by default $CHATGPT_NPM",
    )  # fmt: skip
    parser.add_argument(
        "--no-npm-thread", action="store_true",
        help="leave out the long thread of npm chatgpt, which takes it about half a minute",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=Path,
        help="the file that is written; by default the one of the documentation, if all is measured",
    )  # fmt: skip
    parser.add_argument("names", nargs="*", help=f"by default all: {', '.join(PEERS)}")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(PEERS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    results = measure(
        given.names or PEERS,
        given.scenarios,
        rounds=given.rounds,
        sizes={**WHOLE, "seconds": given.seconds},
        npm=given.npm and given.npm.resolve(),
        has_npm_thread=not given.no_npm_thread,
    )
    is_whole = not given.names and len(given.scenarios) == len(SCENARIOS)
    if path := given.results or (RESULTS if is_whole else None):
        results.save(path)
    print(table(results), target_table(results, has_all=is_whole), sep="\n\n")


if __name__ == "__main__":
    main()
