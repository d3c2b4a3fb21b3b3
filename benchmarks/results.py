"""What was measured, `results.json`, and the table that pages show of it.

Strategy: the file holds the figure of every round, in seconds and bytes; what is shown are medians. To measure one thing
more, report it in the clients, and add it to `METRICS`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, Self

from attrs import asdict, frozen

from benchmarks.sizes import Sizes

RESULTS: Final = Path(__file__).with_name("results.json")

Figures = dict[str, dict[str, list[float]]]
"""For each metric and kind (`cpu`, `wall`: seconds; `bytes`, `count`), the figures of all rounds."""


@frozen
class Metric:
    """Something that is shown.

    Attributes:
        name, kind: where it stands in the figures of a client.
        title: what it is, with its unit.
        scale: how many of that unit a second or a byte is.
    """

    name: str
    kind: str
    title: str
    scale: float

    def shown(self, figures: Figures) -> float | None:
        """The median, in the unit of the title; `None` where it was not measured."""
        rounds = figures.get(self.name, {}).get(self.kind)
        return median(rounds) * self.scale if rounds else None


STREAM: Final = Metric("stream_event", "cpu", "streamed event, µs", 1e6)
FIRST_REPLY: Final = Metric("first_reply", "cpu", "start to first reply, ms", 1e3)
CROWD: Final = Metric("crowd_event", "cpu", "event of many streams, µs", 1e6)
METRICS: Final = (
    STREAM,
    Metric("round_trip", "cpu", "plain round trip, µs", 1e6),
    Metric("make", "cpu", "import to client, ms", 1e3),
    FIRST_REPLY,
    Metric("memory", "bytes", "peak memory, MB", 1e-6),
)
"""Those of the table."""


@frozen
class Measured:
    """A client, and what it cost.

    Attributes:
        title: what it is called, in Markdown.
        baseline: which of ours it is compared with: the one of its own kind, sync or async.
        is_floor: whether it is what nothing built on the same libraries can be faster than.
        figures: of all rounds.
    """

    title: str
    baseline: str
    is_floor: bool
    figures: Figures


@frozen
class Results:
    """A whole run.

    Attributes:
        date: the day, as ISO 8601 writes it.
        machine: what it ran on.
        versions: of what was compared, and of what ran it.
        sizes: how much was done.
        rounds: how often each client was measured, at most.
        clients: by their names.
        left_out: the clients that were not there, what else was not measured, and why.
    """

    date: str
    machine: str
    versions: Mapping[str, str]
    sizes: Sizes
    rounds: int
    clients: Mapping[str, Measured]
    left_out: Mapping[str, str]

    @classmethod
    def load(cls, path: Path = RESULTS) -> Self:
        """Read a file."""
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        clients = {name: Measured(**client) for name, client in read.pop("clients").items()}
        return cls(**read, clients=clients)

    def save(self, path: Path = RESULTS) -> None:
        """Write a file."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        # The figures of all rounds in one line.
        text = re.sub(r"\[[^\[\]{}]*\]", lambda rounds: " ".join(rounds[0].split()), text)
        path.write_text(text + "\n", encoding="utf-8")

    def rounds_of(self, name: str, metric: str, kind: str) -> list[float]:
        """The figures of all rounds; none where it was not measured.

        Args:
            name: of the client.
            metric: what was measured.
            kind: `"cpu"`, `"wall"`, `"bytes"` or `"count"`.
        """
        client = self.clients.get(name)
        return client.figures.get(metric, {}).get(kind, []) if client else []

    def ratio(self, metric: Metric, name: str) -> float | None:
        """A client's cost, divided by that of ours of its kind; `None` where one was not measured."""
        client = self.clients[name]
        ours = self.clients.get(client.baseline)
        base = metric.shown(ours.figures) if ours else None
        theirs = metric.shown(client.figures)
        return theirs / base if theirs is not None and base else None


def number(figure: float) -> str:
    """A figure with the digits that mean something."""
    return f"{figure:,.0f}" if figure >= 10 else f"{figure:.1f}" if figure >= 1 else f"{figure:.2f}"


def table(results: Results) -> str:
    """The table, and a sentence on how it was measured, in Markdown."""
    rows: list[Sequence[str]] = [
        ["client", *(metric.title for metric in METRICS)],
        ["---", *("---:" for _ in METRICS)],
    ]
    for name, client in results.clients.items():
        if not any(metric.name in client.figures for metric in METRICS):
            continue
        is_ours = name == client.baseline
        title = f"**{client.title}**" if is_ours else client.title
        rows.append([title, *(_cell(results, metric, name) for metric in METRICS)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    lines += [
        "",
        f"CPU time, medians of up to {results.rounds} rounds; in brackets, how many times ours of the same kind, sync or async.",
        f"Streams of {results.sizes['events']:,} events, one in each chunk of HTTP. {results.date}, {results.machine};",
        f"{versions}.",
    ]
    if results.left_out:
        left_out = ", ".join(f"{title} ({why})" for title, why in results.left_out.items())
        lines.append(f"Left out: {left_out}.")
    return "\n".join(lines)


def _cell(results: Results, metric: Metric, name: str) -> str:
    client = results.clients[name]
    figure = metric.shown(client.figures)
    if figure is None:
        return ""
    if name == client.baseline:
        return f"**{number(figure)}**"
    ratio = results.ratio(metric, name)
    return number(figure) if ratio is None else f"{number(figure)} ({number(ratio)}×)"  # noqa: RUF001 - it is what it looks like
