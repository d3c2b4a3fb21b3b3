"""Whether this package costs more than it did: `python -m benchmarks.check`, and `--store` where it should.

Strategy: what ours costs above the libraries that it is built on is a ratio that hardly depends on the machine, so it can
be kept in a file, `stored_ratios.json`, and compared. Ours and its floor do the same work in processes of their own, against
one server (`fast_server.py`), and `instructions.py` counts them: instructions, where the machine can. What a piece of work
costs is the difference of two processes that do less and more of it, divided by how much more; so starting Python, importing
and connecting are no part of it. What starting costs is the difference from an interpreter that does nothing.

How far the ratios repeat, in five runs under valgrind with Python 3.11 on 2 cores that others used as well: those of starting
to the last digit that is stored, those of the async twin to 0.4 %, those of the sync twin to 1.2 % (its watchdog thread wakes by
the clock). Seconds of CPU hold the kernel's work and the waits for memory as well, which makes other ratios: on the same
machine, those of round trips and threads were greater by two thirds. They repeat to a third at best, on a machine that is
busy: a failure in seconds says to look again, on one that has nothing else to do.

Rules:

1. A ratio that is worse by more than 15 % is a failure: the exit code is 1. So is a row that is stored and was not counted,
   or was counted and is not stored. Better by more than 15 % is said, and is none.
2. What was stored with another version of Python, by another counter or on another processor is compared with a wider
   tolerance, and that is said: `ROUGH`, or `COARSE` where one counts instructions and the other takes seconds. Other
   versions of the libraries are said, no more: both sides use them.
3. Every client must have read the text that was sent, or there are no figures (the exit code is 2).
4. Each command runs once uncounted, as the first time writes the files of compiled code.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal, Self

from attrs import asdict, evolve, frozen

from benchmarks.check_clients import LONG, NAMES, REPLYING, Work
from benchmarks.fast_server import REPLY, stream_text
from benchmarks.instructions import (
    COUNTERS,
    Count,
    Counter,
    CountingFailedError,
    choose,
    in_seconds,
)
from benchmarks.processes import serving

STORED: Final = Path(__file__).with_name("stored_ratios.json")
ROOT: Final = Path(__file__).parent.parent
"""Where the processes run: what they import is what stands here."""
ROUGH: Final = 0.35
"""The tolerance for ratios of another Python or processor, as a share of them."""
COARSE: Final = 1.0
"""The tolerance for ratios of seconds where those of instructions are stored, or the other way round."""
LIBRARIES: Final = ("requests", "urllib3", "sseclient-py", "httpx2", "h11", "anyio", "attrs")
"""What the costs of both sides hang on."""
UNITS: Final = {counter.name: counter.unit for counter in COUNTERS}
"""What is counted, by the names of the counters."""


# --- what is counted ---

EVENTS: Final = 512
"""So many more of a stream, one in a chunk of HTTP."""
EVENTS_IN_CHUNKS: Final = 1_024
"""So many more of a stream, many in a chunk."""
TRIPS: Final = 12
"""So many more round trips."""
REPLIES: Final = 4
"""So often a thread is replied to, a short one or a long one."""
SHORT: Final = 100
"""Messages of the short one."""
LEAST: Final = Work(one=64, many=64, trips=2, length=SHORT, replies=REPLIES)


@frozen
class Command:
    """Something that is run.

    Attributes:
        arguments: of Python.
        names: of what is counted, one for each process; that of a client and what it does more of.
        texts: what those must have read.
    """

    arguments: Sequence[str]
    names: Sequence[str]
    texts: Sequence[Sequence[str]] = ()


EMPTY: Final = "empty"
STARTING: Final[Mapping[str, str]] = {
    EMPTY: "",
    "import": "import chatgpt",
    "client": "from chatgpt import ChatGPTAPI; ChatGPTAPI(api_key='sk-loopback')",
    "requests": "import requests",
}
"""What processes that only start do."""


def works(name: str, scale: int = 1) -> dict[str, Work]:
    """What a client does: the least, and more of one thing.

    Args:
        name: of the client.
        scale: how many times what is more is done.
    """
    least = LEAST._replace(replies=REPLIES * scale)
    more = {
        "least": least,
        "one": least._replace(one=least.one + EVENTS * scale),
        "many": least._replace(many=least.many + EVENTS_IN_CHUNKS * scale),
        "trips": least._replace(trips=least.trips + TRIPS * scale),
    }
    return more | {"length": least._replace(length=LONG)} if name in REPLYING else more


def commands(
    origin: str, scale: int = 1, *, in_forks: bool = True, names: Sequence[str] = NAMES
) -> list[Command]:
    """What is run of clients.

    Args:
        origin: of the fast server.
        scale: how many times what is more is done.
        in_forks: whether one command does all works of a client; else each has a command.
        names: of the clients.
    """
    made = []
    for name in names:
        all_works = works(name, scale)
        for together in (
            [all_works] if in_forks else [{more: work} for more, work in all_works.items()]
        ):
            given = [json.dumps(work) for work in together.values()]
            made.append(
                Command(
                    ["-m", "benchmarks.check_clients", name, origin, *given],
                    [f"{name} {more}" for more in together],
                    [_texts(name, work) for work in together.values()],
                )
            )
    return made


def starts() -> list[Command]:
    """What is run of those that only start."""
    return [Command(["-c", code], [name]) for name, code in STARTING.items()]


def _texts(name: str, work: Work) -> list[str]:
    replies = work.replies if name in REPLYING else 0
    return [stream_text(work.one), stream_text(work.many), *[REPLY] * (1 + replies)]


@frozen
class Row:
    """Something that is compared with its floor.

    Attributes:
        title: what costs that.
        ours, floor: the two processes whose difference it is, the one that does more first.
        pieces: how much more it does, at the least scale; 0 for what is done once.
    """

    title: str
    ours: tuple[str, str | None]
    floor: tuple[str, str | None]
    pieces: int = 0


def _row(title: str, kind: str, more: str, pieces: int) -> Row:
    """What `chatgpt` and its floor do more of; of the sync kind, or of the async one."""
    ours, floor = f"chatgpt{kind}", f"floor{kind}"
    return Row(
        title, (f"{ours} {more}", f"{ours} least"), (f"{floor} {more}", f"{floor} least"), pieces
    )


ROWS: Final[Mapping[str, Row]] = {
    "stream_one": _row("streamed event, one in a chunk", "", "one", EVENTS),
    "stream_many": _row("streamed event, 64 in a chunk", "", "many", EVENTS_IN_CHUNKS),
    "stream_one_async": _row("streamed event, async, one in a chunk", "_async", "one", EVENTS),
    "stream_many_async": _row(
        "streamed event, async, 64 in a chunk", "_async", "many", EVENTS_IN_CHUNKS
    ),
    "round_trip": _row("plain round trip", "", "trips", TRIPS),
    "round_trip_async": _row("plain round trip, async", "_async", "trips", TRIPS),
    "thread_message": _row("message of a long thread", "", "length", REPLIES * (LONG - SHORT)),
    "client": Row("import to client / import requests", ("client", EMPTY), ("requests", EMPTY)),
    "import": Row("import chatgpt / start Python", ("import", EMPTY), (EMPTY, None)),
}
"""In the order of the table."""


@frozen
class Cost:
    """What a piece of work costs, in the unit of the counter.

    Attributes:
        ours, floor: with this package, and with the libraries alone.
    """

    ours: float
    floor: float

    @property
    def ratio(self) -> float:
        """How many times the floor ours is."""
        return self.ours / self.floor


def measure(counter: Counter) -> dict[str, Cost]:
    """Count everything.

    Returns:
        The costs of each row, but for those where more work seemed to cost less.

    Raises:
        CountingFailedError: a client failed, or read another text.
    """
    amounts: dict[str, list[float]] = {}
    workers = (os.cpu_count() or 1) if counter.at_once else 1
    with serving() as origin, ThreadPoolExecutor(workers) as pool:
        # Uncounted: these disturb one another.
        list(pool.map(lambda command: run(command, in_seconds), [*commands(origin), *starts()]))
        turns = [
            *commands(origin, counter.scale, in_forks=counter.tells_forks_apart),
            # What only starts is over soon: where one round is not enough, it has more turns.
            *starts() * (1 if counter.rounds == 1 else 3),
        ]
        for _ in range(counter.rounds):
            for command, found in zip(
                turns, pool.map(lambda command: run(command, counter.count), turns), strict=True
            ):
                for name, amount in zip(command.names, found, strict=True):
                    amounts.setdefault(name, []).append(amount)
    medians = {name: median(figures) for name, figures in amounts.items()}
    costs = {name: _cost(row, medians, counter.scale) for name, row in ROWS.items()}
    return {name: cost for name, cost in costs.items() if min(cost.ours, cost.floor) > 0}


def run(command: Command, count: Count) -> Sequence[float]:
    """What the processes of a command took.

    Args:
        command: it is run.
        count: counts it.

    Raises:
        CountingFailedError: it failed, or read another text.
    """
    counted = count([sys.executable, "-s", *command.arguments], ROOT)
    if [json.loads(line) for line in counted.printed.splitlines()] != list(command.texts):
        raise CountingFailedError(f"{command.names[0]} has read another text than was sent")
    return counted.amounts


def _cost(row: Row, amounts: Mapping[str, float], scale: int) -> Cost:
    pieces = row.pieces * scale or 1

    def difference(more: str, less: str | None) -> float:
        return (amounts[more] - (amounts[less] if less else 0)) / pieces

    return Cost(difference(*row.ours), difference(*row.floor))


# --- what was stored ---


@frozen
class Ratios:
    """Ratios, and what they are good for.

    Attributes:
        counter: the name of what counted.
        python: the version of Python, without its last number.
        machine: the kind of processor.
        versions: of the libraries.
        ratios: ours to the floor, for each row.
    """

    counter: str
    python: str
    machine: str
    versions: Mapping[str, str]
    ratios: Mapping[str, float]

    @classmethod
    def here(cls, counter: Counter, costs: Mapping[str, Cost]) -> Self:
        """What was measured just now."""
        return cls(
            counter=counter.name,
            python=".".join(platform.python_version_tuple()[:2]),
            machine=platform.machine(),
            versions={name: version(name) for name in LIBRARIES},
            # Four digits mean something, at most.
            ratios={name: float(f"{cost.ratio:.4g}") for name, cost in costs.items()},
        )

    @classmethod
    def load(cls, path: Path = STORED) -> Self:
        """Read a file."""
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(**read)

    def save(self, path: Path = STORED) -> None:
        """Write a file."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def differences(self, here: Ratios) -> list[str]:
        """Why these are not to be compared closely with what was measured here."""
        told = {
            "counted by": (self.counter, here.counter),
            "of Python": (self.python, here.python),
            "on": (self.machine, here.machine),
        }
        return [
            f"{how} {stored}, here {found}"
            for how, (stored, found) in told.items()
            if stored != found
        ]

    def other_versions(self, here: Ratios) -> list[str]:
        """The libraries that were others."""
        return [
            f"{name} {stored}, here {here.versions.get(name, 'none')}"
            for name, stored in self.versions.items()
            if stored != here.versions.get(name)
        ]


@frozen
class Finding:
    """What has become of a ratio.

    Attributes:
        row: its name.
        stored, found: the ratio; `None` where there is none.
        tolerance: by how much it may grow, as a share of it.
    """

    row: str
    stored: float | None
    found: float | None
    tolerance: float

    @property
    def change(self) -> float | None:
        """By how much it has grown, as a share of it; `None` where one of the two is missing."""
        if self.stored is None or self.found is None:
            return None
        return self.found / self.stored - 1

    @property
    def verdict(self) -> Literal["", "worse", "better", "not stored", "not counted"]:
        """What is to be said of it."""
        if self.stored is None:
            return "not stored"
        if self.change is None:
            return "not counted"
        if self.change > self.tolerance:
            return "worse"
        return "better" if self.change < -self.tolerance else ""

    @property
    def fails(self) -> bool:
        """Whether something is to be done."""
        return self.verdict not in ("", "better")


def compare(
    stored: Mapping[str, float], found: Mapping[str, float], tolerance: float
) -> list[Finding]:
    """Compare ratios.

    Args:
        stored: those of the file, for each row.
        found: those of now.
        tolerance: by how much one may grow, as a share of it.
    """
    return [
        Finding(name, stored.get(name), found.get(name), tolerance)
        for name in dict.fromkeys([*found, *stored])
    ]


# --- what is said ---


def table(findings: Sequence[Finding], costs: Mapping[str, Cost]) -> str:
    """The rows, with their costs and verdicts."""
    lines = [("", "ours", "floor", "ratio", "stored", "change", "")]
    for finding in findings:
        cost = costs.get(finding.row)
        lines.append(
            (
                ROWS[finding.row].title if finding.row in ROWS else finding.row,
                _number(cost.ours if cost else None),
                _number(cost.floor if cost else None),
                _number(finding.found),
                _number(finding.stored),
                "" if finding.change is None else f"{finding.change:+.1%}",
                finding.verdict.upper() if finding.fails else finding.verdict,
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 0 < number < 6 else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _number(figure: float | None) -> str:
    """A figure with the digits that mean something, be it seconds, instructions or a ratio."""
    if figure is None:
        return "-"
    if figure >= 1_000:
        return f"{figure:,.0f}"
    return f"{figure:.2e}" if figure < 0.01 else f"{figure:.3f}"


def report(
    stored: Ratios, here: Ratios, costs: Mapping[str, Cost], counter: Counter
) -> tuple[str, bool]:
    """What has become of the ratios.

    Args:
        stored: those of the file.
        here: those of this run.
        costs: of this run.
        counter: what counted.

    Returns:
        What is to be said, and whether all is well.
    """
    tolerance = counter.tolerance
    lines = []
    if differences := stored.differences(here):
        is_same_unit = counter.unit == UNITS.get(stored.counter)
        tolerance = max(tolerance, ROUGH if is_same_unit else COARSE)
        lines.append(
            f"The stored ratios were taken otherwise ({'; '.join(differences)}): they are compared coarsely."
        )
    if others := stored.other_versions(here):
        lines.append(f"The libraries are others than when they were stored: {'; '.join(others)}.")
    findings = compare(stored.ratios, here.ratios, tolerance)
    lines += ["", table(findings, costs), ""]
    failures = [finding for finding in findings if finding.fails]
    if failures:
        lines.append(
            f"{len(failures)} of {len(findings)} ratios fail: worse by more than {tolerance:.0%}, or missing. "
            "If it has to be so: python -m benchmarks.check --store"
        )
    else:
        lines.append(f"No ratio is worse by more than {tolerance:.0%}.")
    if any(finding.verdict == "better" for finding in findings):
        lines.append("Some are better: store the new ratios, so that they stay so (--store).")
    if counter.tolerance > min(each.tolerance for each in COUNTERS):
        lines.append(
            "Where valgrind is installed, this looks more closely, and minds no busy machine."
        )
    return "\n".join(lines), not failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, or store; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.check",
        description="Compare what this package costs with what it did.",
    )
    parser.add_argument("--store", action="store_true", help="store the ratios of this run")
    parser.add_argument(
        "--counter",
        choices=[counter.name for counter in COUNTERS],
        help="by default the first that works",
    )
    parser.add_argument(
        "--ratios", type=Path, default=STORED, help="the file that is compared, or written"
    )
    given = parser.parse_args(arguments)
    try:
        counter, refused = choose(given.counter)
        for name, why in refused.items():
            print(f"{name} cannot be used: {why}")
        print(
            f"Counting {counter.unit} ({counter.name}); this may take a minute or two.", flush=True
        )
        costs = measure(counter)
    except CountingFailedError as failure:
        print(failure, file=sys.stderr)
        return 2
    here = Ratios.here(counter, costs)
    if given.store and len(costs) < len(ROWS):
        print("More work cost less, so nothing is stored: the machine is too busy to count so.")
        return 1
    if given.store:
        here.save(given.ratios)
    stored = Ratios.load(given.ratios) if given.ratios.exists() else evolve(here, ratios={})
    said, is_well = report(stored, here, costs, counter)
    print(said)
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
