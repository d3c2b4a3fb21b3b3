"""Whether something may still be written to a pipe by another program of a pipeline.

Strategy: `slow | chatgpt "explain"` looks to `chatgpt` like a prompt beside a pipe that some program opened, and to which
nobody will ever write. But a program of a pipeline has not started this one, and a program that leaves a pipe open has. Linux
tells who holds the other end of a pipe (`/proc`); other systems do not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_PROCESSES: Final = Path("/proc")


def has_writer_beside(descriptor: int) -> bool:
    """Whether a process that has not started this one can write to a pipe.

    Args:
        descriptor: the end of the pipe that is read here.

    Returns:
        False, too, where nobody can tell.
    """
    with suppress(OSError, ValueError):
        pipe = str((_PROCESSES / "self" / "fd" / str(descriptor)).readlink())
        if pipe.startswith("pipe:"):
            others = {int(each.name) for each in _PROCESSES.iterdir() if each.name.isdecimal()}
            others -= {os.getpid(), *_ancestors()}
            return any(_can_write(process, pipe) for process in others)
    return False


def _ancestors() -> Iterator[int]:
    process = os.getppid()
    while process > 0:
        yield process
        # After the name of the program, which is in brackets and may hold any: the state, and the parent.
        stat = (_PROCESSES / str(process) / "stat").read_text(errors="replace")
        process = int(stat.rpartition(")")[2].split()[1])


def _can_write(process: int, pipe: str) -> bool:
    folder = _PROCESSES / str(process)
    with suppress(OSError, StopIteration):  # it is somebody else's, or has ended
        for link in (folder / "fd").iterdir():
            with suppress(OSError):
                if str(link.readlink()) == pipe:
                    told = (folder / "fdinfo" / link.name).read_text().splitlines()
                    flags = next(line.split()[1] for line in told if line.startswith("flags:"))
                    if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:
                        return True
    return False
