"""The documentation, built once for all tests that look at it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from attrs import frozen

ROOT: Final = Path(__file__).parents[2]


@frozen
class Build:
    """What Sphinx made.

    Attributes:
        html: the folder of the pages.
        warnings: what it had to complain about, a line each.
    """

    html: Path
    warnings: str


def build(source: Path, folder: Path) -> Build:
    """Build the pages of a folder as `make docs` does, but that warnings do not end it: they are told."""
    command = [sys.executable, "-m", "sphinx", "-q", "-n", "-b", "html", "-c", str(ROOT / "docs")]
    html = folder / "html"
    done = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(source), str(html)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Build(html, done.stderr)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The pages of `docs/`."""
    return build(ROOT / "docs", tmp_path_factory.mktemp("documentation"))
