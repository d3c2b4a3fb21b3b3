"""`python -m fuzzing`: run the targets, one process each, because libFuzzer never returns."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

LONGEST_INPUT = 8192
SECONDS_OF_AN_INPUT = 20


def main() -> int:
    """Run what the command line asks for; return 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzzing", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--target", choices=["streams", "deltas", "errors"], help="this one alone")
    parser.add_argument("--findings", type=Path, default=Path(__file__).parent / "findings")
    parser.add_argument("--again", type=Path, metavar="FILE", help="play a finding again")
    parser.add_argument("--in-process", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.in_process is not None:
        _fuzz(chosen.target, chosen.in_process)
    if chosen.again is not None:
        from fuzzing.targets import TARGETS

        TARGETS[chosen.target or parser.error("--again needs --target")][0](
            chosen.again.read_bytes()
        )
        return 0
    names = [chosen.target] if chosen.target else ["streams", "deltas", "errors"]
    return max(_run(name, chosen.seconds, chosen.findings) for name in names)


def _run(name: str, seconds: int, findings: Path) -> int:
    """Run one target in a process of its own; return 1 where it found something."""
    from fuzzing.targets import TARGETS, WORDS

    findings.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f"fuzzing-{name}-") as directory:
        corpus, words = Path(directory, "corpus"), Path(directory, "words")
        corpus.mkdir()
        for number, seed in enumerate(TARGETS[name][1]()):
            Path(corpus, f"seed-{number}").write_bytes(seed)
        words.write_text("".join(f"{json.dumps(word)}\n" for word in WORDS))
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST_INPUT}",
            f"-timeout={SECONDS_OF_AN_INPUT}",
            f"-dict={words}",
            f"-artifact_prefix={findings / name}-",
            "-print_final_stats=1",
        ]
        sys.stderr.write(f"--- {name}, {seconds} s\n")
        command = [sys.executable, "-m", "fuzzing", "--target", name, "--in-process"]
        return int(subprocess.run([*command, *options, corpus], check=False).returncode != 0)  # noqa: S603 - this program itself


def _fuzz(name: str, options: list[str]) -> None:
    """Give the process to libFuzzer."""
    import atheris

    with atheris.instrument_imports(include=["chatgpt", "sseclient"]):
        from fuzzing.targets import MUTATORS, TARGETS

    def mutate(data: bytes, largest: int, seed: int) -> bytes:
        """By turns as libFuzzer does, and as what the bytes mean suggests."""
        if seed % 2:
            mutated: bytes = atheris.Mutate(data, largest)
            return mutated
        return MUTATORS[name](data, Random(seed).randrange)[:largest]  # noqa: S311 - libFuzzer's chance

    atheris.Setup([sys.argv[0], *options], TARGETS[name][0], custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
