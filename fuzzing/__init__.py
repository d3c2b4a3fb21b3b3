r"""Fuzzing of what reads the bytes of a server, with atheris (libFuzzer, guided by coverage).

Three targets (`targets.py`): how bytes become a reply (`streams`), the operations of the web flow's newer
dialect (`deltas`), and what an error says (`errors`). Each begins with recorded answers, keeps what reaches
new code, and checks what must hold for every answer (`outcomes.py`).

    $ python -m pip install atheris
    $ python -m fuzzing --seconds 60              # all targets, so many seconds each
    $ python -m fuzzing --seconds 600 --target deltas

An input that breaks a promise is written to `--findings` (a directory, by default `fuzzing/findings`), and
the run ends with status 1. `python -m fuzzing --target deltas --again FILE` plays it once more. Make it a test in
`tests/reliability/test_fuzzing_examples.py`.

The mutations of `tests/reliability/test_mutations.py` (`mutations.py`) need no atheris: they know what an
event is, and play whole calls.
"""
