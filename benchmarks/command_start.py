"""How long `chatgpt --help` takes, against `python -c "import click"`, which nothing made with click can be faster than.

A ratio of the CPU time of processes, medians of interleaved rounds.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROUNDS = 25
FLOOR = [sys.executable, "-c", "import click"]
HELP = [str(Path(sys.executable).with_name("chatgpt")), "--help"]


def cpu_time(command: Sequence[str]) -> float:
    """The CPU time of a process, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - the commands above
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure, and print the ratio."""
    times = [(cpu_time(FLOOR), cpu_time(HELP)) for _ in range(ROUNDS)]
    floor, shown = (statistics.median(each) for each in zip(*times, strict=True))
    print(
        f"chatgpt --help takes {shown / floor:.2f} times as long as importing click (at most 1.5)"
    )


if __name__ == "__main__":
    main()
