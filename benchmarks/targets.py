"""What is asked of the twins, as values, and whether a run has met it.

Strategy: a target is a ratio of two figures of one run: a machine that is twice as fast is it for both. It is judged on the
ratio of the medians of all rounds: so it says the same as the table of medians beside it, one round that was disturbed moves it
little, and what takes too long to be measured in every round can be compared, too. How far it is to be trusted is what the
rounds by themselves say: the lowest and the highest ratio of a round are shown beside it.

Rules:

1. A target that is missed is shown as missed; one whose figures are not there, as not measured.
2. What should not grow at all has no ratio: it is asked to grow by so much at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

from attrs import frozen

from benchmarks.results import Results


@frozen
class Figure:
    """Something that was measured: of which client, what, and of which kind."""

    client: str
    metric: str
    kind: str = "cpu"


@frozen
class Target:
    """Something that is asked.

    Attributes:
        what: what is measured, in Markdown.
        against: what it is compared with, in Markdown.
        ours: the figure that should be small.
        theirs: what it is divided by; `None` where it is judged by itself.
        at_most: the largest ratio that will do; by itself, the largest figure.
    """

    what: str
    against: str
    ours: Figure
    theirs: Figure | None
    at_most: float

    def measured(self, results: Results) -> float | None:
        """The ratio of the medians, or the median; `None` where it was not measured."""
        ours = _rounds(results, self.ours)
        if self.theirs is None:
            return median(ours) if ours else None
        theirs = _rounds(results, self.theirs)
        return median(ours) / median(theirs) if ours and theirs and median(theirs) else None

    def by_round(self, results: Results) -> list[float]:
        """The same of each round, as far as both were measured in it."""
        ours = _rounds(results, self.ours)
        if self.theirs is None:
            return ours
        theirs = _rounds(results, self.theirs)
        return [a / b for a, b in zip(ours, theirs, strict=False) if b]

    def is_met(self, results: Results) -> bool | None:
        """Whether it is met; `None` where it was not measured."""
        measured = self.measured(results)
        return None if measured is None else measured <= self.at_most

    @property
    def limit(self) -> str:
        """`at_most`, as it is written."""
        if self.theirs is None:
            return f"{self.at_most / 1e6:g} MB" if self.ours.kind == "bytes" else "none"
        return f"1/{1 / self.at_most:,.0f}" if self.at_most < 1 else f"{self.at_most:g}"

    def shown(self, figure: float) -> str:
        """A figure, as it is written beside it."""
        if self.theirs is None:
            return f"{figure / 1e6:.1f} MB" if self.ours.kind == "bytes" else f"{figure:.0f}"
        if self.at_most < 1:
            return f"1/{_digits(1 / figure)}" if figure else "0"
        return _digits(figure)


def _digits(figure: float) -> str:
    """A figure with three digits, as a ratio that is just missed should not look as if it were met."""
    return f"{figure:,.{0 if figure >= 100 else 1 if figure >= 10 else 2}f}"


def _rounds(results: Results, figure: Figure) -> list[float]:
    return results.rounds_of(figure.client, figure.metric, figure.kind)


def _ratio(
    what: str, against: str, metric: str, ours: str, theirs: str, at_most: float, kind: str = "cpu"
) -> Target:
    """One of our clients against another one, in the same metric."""
    return Target(what, against, Figure(ours, metric, kind), Figure(theirs, metric, kind), at_most)


def _growth(what: str, against: str, ours: str, metric: str, base: str, at_most: float) -> Target:
    """One of our clients against itself, where more is asked of it."""
    return Target(what, against, Figure(ours, metric), Figure(ours, base), at_most)


def _flat(what: str, ours: str, metric: str, kind: str, at_most: float) -> Target:
    """What should not grow, once all is warm."""
    return Target(what, "after the first 1,000, more", Figure(ours, metric, kind), None, at_most)


_SYNC, _ASYNC = "chatgpt", "chatgpt_async"
_EVENT, _BATCHED, _LONG = "stream_event", "stream_event_batched", "stream_event_long"
_CROWD, _PROMPT, _WARM = "crowd_event", "prompt_cold", "prompt_warm"

_EVENTS: Final = (
    _ratio("streamed event", "the floor", _EVENT, _SYNC, "floor", 1.5),
    _ratio("streamed event", "`openai`", _EVENT, _SYNC, "openai", 1 / 9),
    _ratio("streamed event, async", "the floor", _EVENT, _ASYNC, "floor_async", 1.3),
    _ratio("streamed event, async", "`openai`, async", _EVENT, _ASYNC, "openai_async", 1 / 5),
    _ratio("streamed event, 64 in a chunk", "`openai`", _BATCHED, _SYNC, "openai", 1 / 10),
    _ratio(
        "streamed event, 64 in a chunk, async", "`openai`, async",
        _BATCHED, _ASYNC, "openai_async", 1 / 12,
    ),
    _growth("streamed event, one of 20,000", "one of 2,000", _SYNC, _LONG, _EVENT, 1.15),
    _growth("streamed event, one of 20,000, async", "one of 2,000", _ASYNC, _LONG, _EVENT, 1.15),
)  # fmt: skip
_CALLS: Final = (
    _ratio("plain round trip", "`requests`", "round_trip", _SYNC, "floor", 1.25),
    _ratio("plain round trip, async", "`httpx2`", "round_trip", _ASYNC, "floor_async", 1.25),
    _ratio("import to client", "`openai`", "make", _SYNC, "openai", 1 / 4),
    _ratio("import alone", "`openai`", "import", _SYNC, "openai", 1 / 15),
    _ratio("start to first reply", "`openai`", "first_reply", _SYNC, "openai", 1 / 3),
    _ratio("memory after the first reply", "`requests`", "memory", _SYNC, "floor", 1.25, "bytes"),
)
_PROMPTS: Final = (
    _ratio("prompt of 1,000 messages", "npm `chatgpt`", _PROMPT, _SYNC, "npm", 1 / 2_000),
    _growth("the same, counted before", "not counted before", _SYNC, _WARM, _PROMPT, 1 / 10),
    _growth("prompt of 10,000 messages", "of 1,000", _SYNC, f"{_PROMPT}_long", _PROMPT, 11),
    _growth("the same, counted before", "of 1,000", _SYNC, f"{_WARM}_long", _WARM, 11),
)
_CROWDS: Final = (
    _ratio("1,000 streams at once", "the floor", _CROWD, _ASYNC, "floor_async", 1.3),
    _ratio("1,000 streams at once", "`openai`, async", _CROWD, _ASYNC, "openai_async", 1 / 4),
    _ratio(
        "memory for them", "`openai`, async",
        "crowd_memory", _ASYNC, "openai_async", 1 / 2, "bytes",
    ),
)  # fmt: skip
_RUNS: Final = (
    _flat("memory after 10,000 calls", _SYNC, "run_memory", "bytes", 2e6),
    _flat("sockets after 10,000 calls", _SYNC, "run_sockets", "count", 0),
    _flat("memory after 10,000 calls, async", _ASYNC, "run_memory", "bytes", 2e6),
    _flat("sockets after 10,000 calls, async", _ASYNC, "run_sockets", "count", 0),
)
TARGETS: Final[Sequence[Target]] = (*_EVENTS, *_CALLS, *_PROMPTS, *_CROWDS, *_RUNS)


def target_table(results: Results, *, has_all: bool = True) -> str:
    """All targets, and whether they are met, in Markdown.

    Args:
        results: of a run.
        has_all: whether those are in it, too, that were not measured.
    """
    rows = [
        ["what is measured", "against", "at most", "measured", "by round", "is met"],
        ["---", "---", "---:", "---:", "---:", "---"],
    ]
    for target in TARGETS:
        measured = target.measured(results)
        row = [target.what, target.against, target.limit]
        if measured is not None:
            rounds = [target.shown(each) for each in sorted(target.by_round(results))]
            spread = f"{rounds[0]} to {rounds[-1]}" if rounds else ""
            is_met = "yes" if target.is_met(results) else "**no**"
            rows.append([*row, target.shown(measured), spread, is_met])
        elif has_all:
            rows.append([*row, "", "", "not measured"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
