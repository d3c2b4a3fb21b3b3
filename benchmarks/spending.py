"""What a process has spent: CPU time, memory, sockets; and how it is told to whoever compares it.

Rules:

1. Loading this costs next to nothing: it is in the process that is measured.
2. CPU time is that of the whole process, user and system, threads included.
3. Memory and sockets are read from `/proc`; where there is none, there are no such figures.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence

Spent = dict[str, float]
"""Figures by their kinds: `cpu` and `wall` in seconds, `bytes`, `count`."""


def now() -> tuple[float, float]:
    """CPU seconds of this process, and wall seconds since some moment."""
    return time.process_time(), time.perf_counter()


def since(begin: tuple[float, float]) -> Spent:
    """What has been spent since then."""
    cpu, wall = now()
    return {"cpu": cpu - begin[0], "wall": wall - begin[1]}


TURNS = 5
"""In so many turns the time of a kind of work is spent, so that a machine that is slower for a while is slower for all kinds."""


def measured(work: Callable[[], str]) -> Callable[[], tuple[Spent, str]]:
    """Some work that says what it has spent, as `costs` takes it."""

    def do() -> tuple[Spent, str]:
        begin = now()
        text = work()
        return since(begin), text

    return do


def costs(
    works: Mapping[str, Callable[[], tuple[Spent, str]]], seconds: float
) -> tuple[dict[str, Spent], list[str]]:
    """What kinds of work cost that take turns.

    Args:
        works: does each kind once, by its name; returns what it has spent, and its text.
        seconds: of CPU, for which each kind is done; each is done at least once.

    Returns:
        The mean cost of doing each kind once, and its last text.
    """
    spent: dict[str, list[Spent]] = {kind: [] for kind in works}
    texts: dict[str, str] = {}

    def cpu(kind: str) -> float:
        return sum(once["cpu"] for once in spent[kind])

    while kinds := [kind for kind in works if not spent[kind] or cpu(kind) < seconds]:
        for kind in kinds:
            enough = cpu(kind) + seconds / TURNS
            while True:
                once, texts[kind] = works[kind]()
                spent[kind].append(once)
                if cpu(kind) >= enough:
                    break
    return {kind: _mean(each) for kind, each in spent.items()}, [texts[kind] for kind in works]


def _mean(spent: Sequence[Spent]) -> Spent:
    return {kind: sum(once[kind] for once in spent) / len(spent) for kind in spent[0]}


def shared(spent: Spent, count: int) -> Spent:
    """What was spent, divided by what it was spent for."""
    return {kind: figure / count for kind, figure in spent.items()}


def peak_memory() -> Spent:
    """The most memory that this program was resident in, in bytes.

    (`getrusage` counts what was there before `exec`, too.)
    """
    return _memory("VmHWM")


def resident_memory() -> Spent:
    """The memory that this program is resident in now, in bytes."""
    return _memory("VmRSS")


def _memory(field: str) -> Spent:
    try:
        with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib is an import
            kilobytes = next(line.split()[1] for line in status if line.startswith(field))
    except OSError:
        return {}
    return {"bytes": int(kilobytes) * 1024}


def open_sockets() -> Spent:
    """How many sockets this process has open."""
    count = 0
    try:
        for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - pathlib is an import
            try:
                target = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115 - as above
            except FileNotFoundError:  # that of the list itself
                continue
            count += target.startswith("socket:")
    except OSError:
        return {}
    return {"count": count}


def growth(before: Mapping[str, float], after: Mapping[str, float]) -> Spent:
    """How much more something is than it was."""
    return {kind: after[kind] - figure for kind, figure in before.items()}


def report(figures: Mapping[str, Mapping[str, float]], texts: Sequence[str] = ()) -> None:
    """Say what was measured, and what was read, for whoever compares it."""
    print(json.dumps({"figures": figures, "texts": [*texts]}), flush=True)
