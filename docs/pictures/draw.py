"""Draws the pictures of the documentation anew.

    python docs/pictures/draw.py                         # all of them, in place
    python docs/pictures/draw.py --into /tmp thread-tree # some of them, elsewhere

Strategy: each picture is a module with a function that returns the text of a file. The committed
files are what the documentation shows; building it draws nothing. (The benchmarks draw their plots
themselves, as `benchmark-*.svg`.)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

import architecture
import command
import thread_tree

PICTURES: Final[dict[str, Callable[[], str]]] = {
    "architecture": architecture.draw,
    "thread-tree": thread_tree.draw,
    "command": command.draw,
}


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description="Draw the pictures of the documentation.")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent)
    parser.add_argument("names", nargs="*", help=f"by default all: {', '.join(PICTURES)}")
    given = parser.parse_args()
    for name in given.names or PICTURES:
        if name not in PICTURES:
            parser.error(f"there is no picture {name!r}; there are {', '.join(PICTURES)}")
        (given.into / f"{name}.svg").write_text(PICTURES[name](), encoding="utf-8")


if __name__ == "__main__":
    main()
