"""How much work a process does, counted as well as the machine can: in instructions, or in seconds of CPU.

Strategy: a counter runs a command to its end and says what its processes took. There are three, the best first:

* `valgrind`: the instructions that the process executes outside the kernel. They do not depend on what else the machine
  does, so one round is enough, and several processes may be counted at once. The tool is cachegrind without its caches: it
  counts the same instructions as callgrind (to a tenth of a percent), in two thirds of the time, as it keeps no call graph.
* `perf`: the same, from the processor's own counters, at full speed. Many virtual machines have none. It varies a
  little with how a run went: how much a read finds, who waits for a lock.
* `seconds`: the CPU time, user and system. It varies by a tenth and more with the rest of the machine, so there is more
  work in a run, there are more rounds, and the tolerance is wider.

Rules:

1. All threads of the process count, in each of the three.
2. The environment is made here, and is small: libraries look through all of its variables in each request, and the order
   of sets hangs on `PYTHONHASHSEED`. (`python -I` would ignore that variable.) There is no home, so nobody's `.netrc` and
   `.valgrindrc` are read.
3. Python's own allocator stays. valgrind's advice to switch it off (`PYTHONMALLOC=malloc`) is for those who look for
   errors of memory; counting gives no warnings about it, and another allocator would be another program.
4. A counter is tried before it is trusted: it may be installed and not allowed.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

LIMIT: Final = 300.0
"""Seconds after which a process hangs; under valgrind, on a busy machine, one may take half a minute."""

ENVIRONMENT: Final[Mapping[str, str]] = {
    "HOME": os.devnull,
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    **{name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ},
}
"""All that a counted process is told of the machine."""


class CountingFailedError(Exception):
    """A process failed, or was not counted; the message says how."""


@frozen
class Counted:
    """A command that has ended.

    Attributes:
        amounts: what each of its processes took, in the unit of the counter and in the order in which they ended; one
            amount for all of them together, where the counter does not tell forks apart.
        printed: its standard output.
    """

    amounts: Sequence[float]
    printed: str


Count = Callable[[Sequence[str], Path], Counted]
"""Runs a command in a folder, and counts it.

Raises:
    CountingFailedError: the command failed, or could not be counted.
"""


@frozen
class Counter:
    """A way to count.

    Attributes:
        name: what it is called, on the command line and in files.
        unit: of what it counts.
        count: does it.
        rounds: how often everything should be counted, for the medians.
        scale: how many times as much work should be done as valgrind needs, for differences that stand out.
        at_once: whether processes that run at the same time leave each other's figures alone.
        tells_forks_apart: whether each fork of a process has an amount of its own, what was done before it included.
        tolerance: by how much a ratio may grow before that means something, as a share of it.
    """

    name: str
    unit: str
    count: Count
    rounds: int
    scale: int
    at_once: bool
    tells_forks_apart: bool
    tolerance: float


def with_valgrind(command: Sequence[str], folder: Path) -> Counted:
    """Count the instructions of a command with valgrind.

    Args:
        command: a program and its arguments.
        folder: where it runs.

    Raises:
        CountingFailedError: there is no valgrind, or the command failed.
    """
    with tempfile.TemporaryDirectory() as kept:
        printed = _run(
            ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--branch-sim=no",
             f"--cachegrind-out-file={kept}/%p", f"--log-file={os.devnull}", *command],
            folder,
        )  # fmt: skip
        files = sorted(Path(kept).iterdir(), key=lambda file: file.stat().st_mtime_ns)
        amounts = [summary_of(file.read_text("utf-8", errors="replace")) for file in files]
    if not amounts:
        raise CountingFailedError("valgrind counted nothing")
    return Counted(amounts, printed)


def with_perf(command: Sequence[str], folder: Path) -> Counted:
    """Count the instructions of a command with the processor's counters.

    Args:
        command: a program and its arguments.
        folder: where it runs.

    Raises:
        CountingFailedError: there is no perf, there are no counters, or the command failed.
    """
    with tempfile.TemporaryDirectory() as kept:
        counts = Path(kept, "counts")
        printed = _run(
            ["perf", "stat", "-x,", "-e", "instructions:u", "-o", str(counts), "--", *command],
            folder,
        )
        text = counts.read_text("utf-8", errors="replace") if counts.exists() else ""
    return Counted([perf_sum_of(text)], printed)


def in_seconds(command: Sequence[str], folder: Path) -> Counted:
    """Take the CPU time of a command; no other child of this process may end meanwhile.

    Args:
        command: a program and its arguments.
        folder: where it runs.

    Raises:
        CountingFailedError: the command failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = _run(command, folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Counted([spent], printed)


COUNTERS: Final[Sequence[Counter]] = (
    Counter(
        "valgrind",
        "instructions",
        with_valgrind,
        rounds=1,
        scale=1,
        at_once=True,
        tells_forks_apart=True,
        tolerance=0.15,
    ),
    Counter(
        "perf",
        "instructions",
        with_perf,
        rounds=5,
        scale=5,
        at_once=False,
        tells_forks_apart=False,
        tolerance=0.15,
    ),
    Counter(
        "seconds",
        "seconds of CPU",
        in_seconds,
        rounds=7,
        scale=25,
        at_once=False,
        tells_forks_apart=False,
        tolerance=0.5,
    ),
)
"""All that there are, the best first."""


def choose(
    name: str | None = None, counters: Sequence[Counter] = COUNTERS
) -> tuple[Counter, Mapping[str, str]]:
    """Choose the best counter that works on this machine.

    Args:
        name: the only one to be tried; by default all are.
        counters: those that there are, the best first.

    Returns:
        The counter, and for each better one why it does not work.

    Raises:
        CountingFailedError: none works.
    """
    refused: dict[str, str] = {}
    for counter in counters:
        if name in (None, counter.name):
            try:
                counter.count(["true"], Path.cwd())
            except CountingFailedError as failure:
                refused[counter.name] = str(failure)
            else:
                return counter, refused
    raise CountingFailedError("; ".join(refused.values()) or f"there is no counter {name}")


def summary_of(text: str) -> int:
    """The instructions in a file of cachegrind, or of callgrind, which counts nothing else either.

    Args:
        text: the file.

    Raises:
        CountingFailedError: it has no sum, or counts something else.
    """
    events = re.search(r"^events: (.*)$", text, re.MULTILINE)
    # Older ones write the sum twice, before and behind the lines of the functions.
    found = re.search(r"^(?:summary|totals): (\d+)\s*$", text, re.MULTILINE)
    if events is None or events[1].split() != ["Ir"] or found is None:
        raise CountingFailedError("valgrind wrote no sum of instructions")
    return int(found[1])


def perf_sum_of(text: str) -> int:
    """The instructions in the output of `perf stat -x,`.

    A processor with two kinds of cores has a line for each kind; one on which the process did not run was not counted.

    Args:
        text: the output.

    Raises:
        CountingFailedError: nothing was counted.
    """
    amounts = [line.split(",")[0] for line in text.splitlines() if "instructions" in line]
    counted = [int(amount) for amount in amounts if amount.isdecimal()]
    if not counted:
        raise CountingFailedError(f"perf: {', '.join(amounts) or 'nothing counted'}")
    return sum(counted)


def _run(command: Sequence[str], folder: Path) -> str:
    """Run a command to its end; what it printed."""
    try:
        ended = subprocess.run(  # noqa: S603 - the commands above
            command, cwd=folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=LIMIT, check=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise CountingFailedError(f"there is no {command[0]}") from None
    except subprocess.TimeoutExpired:
        raise CountingFailedError(f"{command} took longer than {LIMIT:.0f} s") from None
    except subprocess.CalledProcessError as failure:
        said = f"{failure.stdout}{failure.stderr}"
        raise CountingFailedError(
            f"{command} ended with the code {failure.returncode}:\n{said}"
        ) from None
    return ended.stdout
