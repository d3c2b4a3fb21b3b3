"""The check of stored ratios: what fails it and what does not, how work is counted, and that the clients do it.

No test asserts a time, nor what anything costs.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from attrs import evolve

from benchmarks import check, instructions
from benchmarks.check import ROWS, Cost, Ratios, commands, compare, report, starts, works
from benchmarks.check_clients import NAMES
from benchmarks.instructions import (
    COUNTERS,
    Counter,
    CountingFailedError,
    choose,
    in_seconds,
    perf_sum_of,
    summary_of,
)
from benchmarks.processes import serving

VALGRIND = next(counter for counter in COUNTERS if counter.name == "valgrind")


# --- what is said of ratios ---


@pytest.mark.parametrize(
    ("found", "verdict", "fails"),
    [
        (2.0, "", False),
        (2.28, "", False),  # 14 % more
        (2.32, "worse", True),  # 16 %
        (1.72, "", False),  # 14 % less
        (1.68, "better", False),  # 16 %
        (None, "not counted", True),
    ],
)
def test_worse_by_more_than_the_tolerance_fails(
    found: float | None, verdict: str, fails: bool
) -> None:
    there = {} if found is None else {"round_trip": found}
    [finding] = compare({"round_trip": 2.0}, there, 0.15)
    assert (finding.verdict, finding.fails) == (verdict, fails)


def test_what_is_not_stored_fails() -> None:
    [finding] = compare({}, {"round_trip": 2.0}, 0.15)
    assert finding.verdict == "not stored"
    assert finding.fails
    assert finding.change is None


def costs_of(**ratios: float) -> dict[str, Cost]:
    """Costs with these ratios, and for all other rows 2."""
    return {name: Cost(1_000 * ratios.get(name, 2.0), 1_000) for name in ROWS}


STORED = Ratios.here(VALGRIND, costs_of())


def said_of(stored: Ratios, counter: Counter = VALGRIND, **ratios: float) -> tuple[str, bool]:
    costs = costs_of(**ratios)
    return report(stored, Ratios.here(counter, costs), costs, counter)


def test_the_table_says_which_and_by_how_much() -> None:
    said, is_well = said_of(STORED, round_trip=2.5, client=1.5)
    assert not is_well
    [worse] = [line for line in said.splitlines() if "WORSE" in line]
    assert worse.split() == "plain round trip 2,500 1,000 2.500 2.000 +25.0% WORSE".split()
    [better] = [line for line in said.splitlines() if line.endswith("better")]
    assert "import to client" in better
    assert "-25.0%" in better
    assert f"1 of {len(ROWS)} ratios fail: worse by more than 15%" in said


def test_better_is_said_and_is_no_failure() -> None:
    said, is_well = said_of(STORED, client=1.5)
    assert is_well
    assert "No ratio is worse by more than 15%." in said
    assert "store the new ratios" in said
    assert "store" not in said_of(STORED)[0].replace("stored", "")


@pytest.mark.parametrize(
    ("stored", "why", "tolerance"),
    [
        (evolve(STORED, python="3.0"), "of Python 3.0, here ", 0.35),
        (evolve(STORED, machine="m68k"), "on m68k, here ", 0.35),
        (evolve(STORED, counter="perf"), "counted by perf, here valgrind", 0.35),
        (evolve(STORED, counter="seconds"), "counted by seconds, here valgrind", 1),
        (evolve(STORED, counter="an abacus"), "counted by an abacus, here valgrind", 1),
    ],
)
def test_what_was_taken_otherwise_is_compared_coarsely_and_that_is_said(
    stored: Ratios, why: str, tolerance: float
) -> None:
    said, is_well = said_of(stored, round_trip=2 * (1 + tolerance - 0.01))
    assert is_well
    assert why in said
    assert f"worse by more than {tolerance:.0%}" in said
    assert not said_of(stored, round_trip=2 * (1 + tolerance + 0.01))[1]
    assert "taken otherwise" not in said_of(STORED)[0]


def test_other_versions_of_libraries_are_said_and_change_nothing() -> None:
    stored = evolve(STORED, versions={**STORED.versions, "requests": "1.0", "gone": "2.0"})
    said, is_well = said_of(stored, round_trip=2.5)
    assert not is_well
    assert "requests 1.0, here " in said
    assert "gone 2.0, here none" in said
    assert "libraries" not in said_of(STORED)[0]


def test_seconds_have_a_wider_tolerance() -> None:
    seconds = next(counter for counter in COUNTERS if counter.name == "seconds")
    stored = Ratios.here(seconds, costs_of())
    said, is_well = said_of(stored, seconds, round_trip=2.9)
    assert is_well
    assert "worse by more than 50%" in said
    assert "valgrind" in said
    assert "valgrind" not in said_of(STORED)[0]
    assert not said_of(stored, seconds, round_trip=3.1)[1]


# --- the command ---


def exit_code(monkeypatch: pytest.MonkeyPatch, costs: dict[str, Cost], *arguments: str) -> int:
    """That of the command, with these costs."""
    monkeypatch.setattr(check, "choose", lambda _: (VALGRIND, {}))
    monkeypatch.setattr(check, "measure", lambda _: costs)
    return check.main(arguments)


def test_what_is_stored_is_what_is_compared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ["--ratios", str(tmp_path / "ratios.json")]
    assert exit_code(monkeypatch, costs_of(), *file) == 1
    assert capsys.readouterr().out.count("NOT STORED") == len(ROWS)
    assert exit_code(monkeypatch, costs_of(), "--store", *file) == 0
    assert Ratios.load(tmp_path / "ratios.json") == STORED
    assert exit_code(monkeypatch, costs_of(round_trip=2.2), *file) == 0
    assert exit_code(monkeypatch, costs_of(round_trip=2.4), *file) == 1
    assert "WORSE" in capsys.readouterr().out


def test_what_was_not_counted_fails_and_is_not_stored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ["--ratios", str(tmp_path / "ratios.json")]
    STORED.save(tmp_path / "ratios.json")
    costs = costs_of(client=3)
    del costs["round_trip"]
    assert exit_code(monkeypatch, costs, *file) == 1
    assert "NOT COUNTED" in capsys.readouterr().out
    assert exit_code(monkeypatch, costs, "--store", *file) == 1
    assert Ratios.load(tmp_path / "ratios.json") == STORED


def test_the_rows_are_those_that_are_stored() -> None:
    assert list(Ratios.load().ratios) == list(ROWS)


# --- counting ---

CACHEGRIND = """\
desc: I1 cache:         32768 B, 64 B, 8-way associative
cmd: true
events: Ir
fl=./csu/../csu/libc-start.c
fn=__libc_start_main@@GLIBC_2.34
128 2
fn=???
0 131
summary: 127875
"""
CALLGRIND = """\
# callgrind format
version: 1
creator: callgrind-3.19.0
cmd:  true
part: 1

desc: Trigger: Program termination

positions: line
events: Ir
summary: 126755


ob=(4) /usr/libexec/valgrind/vgpreload_core-amd64-linux.so
fl=(134) ???
fn=(484) 0x0000000000001100
0 12

totals: 126755
"""


def test_the_sum_of_valgrind_is_read() -> None:
    assert summary_of(CACHEGRIND) == 127_875
    assert summary_of(CALLGRIND) == 126_755


@pytest.mark.parametrize("text", ["", "events: Ir\n", CACHEGRIND.replace("Ir", "Ir I1mr ILmr")])
def test_what_is_no_sum_of_instructions_is_refused(text: str) -> None:
    with pytest.raises(CountingFailedError, match="no sum"):
        summary_of(text)


PERF_HEAD = "# started on Fri Nov 27 00:25:27 2026\n\n"


def test_the_sum_of_perf_is_read() -> None:
    assert perf_sum_of(f"{PERF_HEAD}90738009,,instructions:u,28765432,100.00,,\n") == 90_738_009
    kinds_of_cores = (
        "90738009,,cpu_core/instructions:u/,28765432,100.00,,\n"
        "<not counted>,,cpu_atom/instructions:u/,0,0.00,,\n"
    )
    assert perf_sum_of(PERF_HEAD + kinds_of_cores) == 90_738_009


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{PERF_HEAD}<not supported>,,instructions:u,0,100.00,,\n", "<not supported>"),
        (PERF_HEAD, "nothing counted"),
    ],
)
def test_what_perf_cannot_count_is_refused(text: str, why: str) -> None:
    with pytest.raises(CountingFailedError, match=why):
        perf_sum_of(text)


def test_without_valgrind_and_perf_seconds_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    true = shutil.which("true")
    assert true is not None
    (tmp_path / "true").symlink_to(true)
    monkeypatch.setattr(instructions, "ENVIRONMENT", {"PATH": str(tmp_path)})
    counter, refused = choose()
    assert counter.name == "seconds"
    assert refused == {"valgrind": "there is no valgrind", "perf": "there is no perf"}
    with pytest.raises(CountingFailedError, match="there is no valgrind"):
        choose("valgrind")


def test_a_counter_that_is_there_and_does_not_work_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, script in {
        "valgrind": "exit 0",
        "perf": "echo not allowed >&2; exit 1",
        "true": "",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(instructions, "ENVIRONMENT", {"PATH": str(tmp_path)})
    counter, refused = choose()
    assert counter.name == "seconds"
    assert "counted nothing" in refused["valgrind"]
    assert "not allowed" in refused["perf"]


IN_FORKS = """
import os, threading

def work(length):
    print(sum(range(length)), flush=True)

for length in (10, 300_000):
    child = os.fork()
    if not child:
        thread = threading.Thread(target=work, args=(length,))
        thread.start()
        thread.join()
        os._exit(0)
    os.waitpid(child, 0)
work(100)
"""


def test_valgrind_counts_each_fork_with_its_threads() -> None:
    try:
        counter, _ = choose("valgrind")
    except CountingFailedError as refusal:
        pytest.skip(f"valgrind counts nothing here: {refusal}")
    counted = counter.count([sys.executable, "-I", "-S", "-c", IN_FORKS], Path.cwd())
    assert counted.printed.split() == ["45", "44999850000", "4950"]
    little, much, _ = counted.amounts
    # For each number a step of the loop, the number, and an addition.
    assert much - little > 300_000 * 10


def test_a_process_that_fails_says_how() -> None:
    with pytest.raises(CountingFailedError, match="(?s)code 1.*out of order"):
        in_seconds([sys.executable, "-c", "exit('out of order')"], Path.cwd())


# --- what is run ---


def test_two_works_of_a_row_differ_in_one_number() -> None:
    for name in NAMES:
        least, *others = works(name, 3).values()
        for work in others:
            [(larger, smaller)] = [
                pair for pair in zip(work, least, strict=True) if len({*pair}) > 1
            ]
            assert larger > smaller


def test_all_that_rows_need_is_counted_once() -> None:
    needed = {name for row in ROWS.values() for name in (*row.ours, *row.floor)} - {None}
    for in_forks in (True, False):
        run = [*commands("http://unused", in_forks=in_forks), *starts()]
        names = [name for command in run for name in command.names]
        assert len(names) == len(set(names))
        assert set(names) == needed
        assert all(len(command.texts) in (0, len(command.names)) for command in run)


def test_each_client_reads_what_was_sent() -> None:
    with serving() as origin:
        for command in commands(origin):
            check.run(command, in_seconds)
        [least, *_] = commands(origin, names=["floor"], in_forks=False)
        with pytest.raises(CountingFailedError, match="floor least has read another text"):
            check.run(evolve(least, texts=[["something else"]]), in_seconds)
        unknown = evolve(least, arguments=[*least.arguments[:-1], "[1, 1, 0, 1, 1]"])
        with pytest.raises(CountingFailedError, match="ended with the code 1"):
            check.run(unknown, in_seconds)
    for command in starts():
        check.run(command, in_seconds)
