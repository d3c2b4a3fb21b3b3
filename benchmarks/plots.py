"""Draws what the documentation shows of `results.json`: three plots, and two tables in the pages that have a place for them.

    python -m benchmarks.plots

Strategy: measuring takes minutes and a quiet machine, drawing neither; so they are apart, and a test sees that what is shown is
what was measured.

Rules:

1. Bars are horizontal, begin at zero, and carry their figures; the scale is linear.
2. A plot has a background of its own, for light and dark pages. Its text is text, in the reader's own fonts.
3. The same results give the same file: nothing in it is random, or of today.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from benchmarks.results import CROWD, FIRST_REPLY, STREAM, Metric, Results, number, table
from benchmarks.targets import target_table

ROOT: Final = Path(__file__).parents[1]
PICTURES: Final = ROOT / "docs" / "pictures"
PLOTS: Final = {
    "benchmark-stream": (STREAM, "CPU time for each event of a stream, µs"),
    "benchmark-start": (FIRST_REPLY, "CPU time from the start of a process to its first reply, ms"),
    "benchmark-crowd": (CROWD, "CPU time for each event of 1,000 streams at once, µs"),
}
PAGES: Final = (ROOT / "README.md", ROOT / "docs" / "explanation" / "benchmarks.md")
"""Those that may show a table: where its marks are."""

TABLES: Final[Mapping[str, Callable[[Results], str]]] = {
    "benchmarks": table,
    "targets": target_table,
}
"""By the name in their marks."""
BEGIN: Final = "<!-- {}: from results.json, by python -m benchmarks.plots -->"
END: Final = "<!-- {}: end -->"

# The colours of the other pictures.
PAPER, INK, FAINT = "#fbfaf7", "#1f2933", "#52606d"
OURS, OTHERS, FLOOR = "#2563eb", "#9aa5b1", "#d9dee4"
STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "chatgpt-sdk",
    # matplotlib brings it, so that places are computed alike everywhere.
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
}


def draw(results: Results, metric: Metric, title: str) -> str:
    """A plot of one metric, the least cost on top, as the text of an SVG file."""
    bars = sorted(
        (shown, name)
        for name, client in results.clients.items()
        if (shown := metric.shown(client.figures)) is not None
    )
    with mpl.rc_context(STYLE):
        margins = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12)
        figure = Figure(figsize=(7.8, 1.0 + 0.32 * len(bars)), layout=margins)
        figure.set_facecolor(PAPER)
        axes = figure.add_subplot(facecolor=PAPER)
        axes.set_title(title, loc="left", color=INK, fontsize=11)
        for place, (shown, name) in enumerate(bars):
            client = results.clients[name]
            is_ours = name == client.baseline
            colour = OURS if is_ours else FLOOR if client.is_floor else OTHERS
            [bar] = axes.barh(place, shown, height=0.7, color=colour)
            bar.set_gid(f"bar-{name}")
            axes.annotate(
                number(shown),
                (shown, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=OURS if is_ours else INK,
                fontweight="bold" if is_ours else "normal",
            )
        names = [results.clients[name].title.replace("`", "") for _, name in bars]
        axes.set_yticks(range(len(bars)), names, color=INK)
        for label, (_, name) in zip(axes.get_yticklabels(), bars, strict=True):
            if name == results.clients[name].baseline:
                label.set(color=OURS, fontweight="bold")
        axes.invert_yaxis()
        axes.margins(x=0.09, y=0.02)
        axes.set_xlim(left=0)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", colors=FAINT)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(FAINT)
        drawn = StringIO()
        unsaid = dict.fromkeys(["Creator", "Date", "Format", "Type"])
        figure.savefig(drawn, format="svg", metadata={"Title": title, **unsaid})
    return "".join(line.rstrip() + "\n" for line in drawn.getvalue().splitlines())


def with_tables(page: str, results: Results) -> str:
    """A page with the tables of these results between their marks; as it is, where it has none."""
    for name, made in TABLES.items():
        begin, end = BEGIN.format(name), END.format(name)
        block = f"{begin}\n\n{made(results)}\n\n{end}"
        between = f"{re.escape(begin)}.*?{re.escape(end)}"
        page = re.sub(between, lambda _: block, page, flags=re.DOTALL)  # noqa: B023 - called at once
    return page


def main() -> None:
    """Draw everything anew."""
    results = Results.load()
    for name, (metric, title) in PLOTS.items():
        PICTURES.joinpath(f"{name}.svg").write_text(draw(results, metric, title), "utf-8")
    for path in PAGES:
        page = path.read_text("utf-8")
        if (shown := with_tables(page, results)) != page:
            path.write_text(shown, "utf-8")


if __name__ == "__main__":
    main()
