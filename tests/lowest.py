"""The lowest versions that `pyproject.toml` allows, as constraints for pip: `make test-lowest` installs them.

Strategy: floors of what users install (the dependencies and the extras, but those of `OF_DEVELOPERS`) become
`name==version`. What has no floor, what only developers need and what others bring is left to pip.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

PROJECT: Final = Path(__file__).parents[1] / "pyproject.toml"

OF_DEVELOPERS: Final = ("bench", "dev", "docs", "examples", "test")
"""The extras that no user of the package needs."""

FLOORS: Final = ("==", ">=", "~=")
"""The operators that say the lowest version."""


def requirements() -> Iterator[Requirement]:
    """What users install, with every extra of theirs."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    for line in [
        *project["dependencies"],
        *(line for name in extras if name not in OF_DEVELOPERS for line in extras[name]),
    ]:
        requirement = Requirement(line)
        if requirement.name != project["name"]:
            yield requirement


def constraints() -> Iterator[str]:
    """One line for each floor."""
    for requirement in requirements():
        for specifier in requirement.specifier:
            if specifier.operator in FLOORS:
                yield f"{requirement.name}=={specifier.version}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in constraints())
