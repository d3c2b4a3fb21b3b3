"""What the tests of this directory tried, and the page that says so: `docs/reliability.md`.

Strategy: each test says what it tried (`tried`) and what went wrong (`count`), and `make reliability` writes
the page from that. So the page holds what a run has shown, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

Failing: TypeAlias = Literal["hangs", "untyped errors", "lost partials", "secrets found"]

FAILINGS: Final[tuple[Failing, ...]] = ("hangs", "untyped errors", "lost partials", "secrets found")

BAR: Final = "&#124;"
"""A bar within a cell, which ends it otherwise."""

ENGINES: Final = ("sync", "asyncio", "trio")


class Report:
    """What was tried so far.

    Attributes:
        failings: how often each thing happened that must not happen.
    """

    def __init__(self) -> None:
        self.failings: Counter[Failing] = Counter()
        self._cases: Counter[tuple[str, str, str, str]] = Counter()

    def tried(self, group: str, fault: str, engine: str, seen: str, cases: int = 1) -> None:
        """Something was tried, and went as it should.

        Args:
            group: the heading of the table: `"Deadlines"`.
            fault: what was wrong: `"the server accepts and says nothing"`.
            engine: `"sync"`, `"asyncio"`, `"trio"`, or `"-"` where no engine has a part in it.
            seen: what the caller sees: "`APITimeoutError`, `limit == 'idle'`".
            cases: how often it was tried.
        """
        self._cases[group, fault, seen, engine] += cases

    def count(self, failing: Failing, number: int = 1) -> None:
        """Something happened that must not happen; the test fails, too."""
        self.failings[failing] += number

    def page(self) -> str:
        """The page, in Markdown."""
        total = sum(self._cases.values())
        figures = ", ".join(f"{self.failings[name]} {name}" for name in FAILINGS)
        lines = [
            "# Reliability",
            "",
            "What was tried against the network at its worst, and what a caller saw. `make reliability` wrote this",
            "page from a run of the tests in `tests/reliability`; do not edit it. The limits were tried with streamed calls:",
            "a plain one has no `idle_timeout`.",
            "",
            f"**{total:,} cases: {figures}.**",
        ]
        for group in dict.fromkeys(key[0] for key in self._cases):
            lines += ["", f"## {group}", "", "| fault | engine | what the caller sees | cases |"]
            lines += ["|---|---|---|---:|", *self._rows(group)]
        return "\n".join([*lines, ""])

    def _rows(self, group: str) -> Iterator[str]:
        """One row for each fault and outcome; the engines on which it is the same share it."""
        for fault, seen in dict.fromkeys(key[1:3] for key in self._cases if key[0] == group):
            engines = [key[3] for key in self._cases if key[:3] == (group, fault, seen)]
            ordered = [name for name in ENGINES if name in engines] or engines
            cases = sum(self._cases[group, fault, seen, name] for name in engines)
            cells = (fault, ", ".join(ordered), seen, f"{cases:,}")
            yield f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"
