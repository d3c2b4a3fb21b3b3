"""The command is a user of the SDK: it imports public names, and no more packages than its extra brings."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import chatgpt
import chatgpt.cli
import chatgpt.testing

MODULES: Final = sorted(Path(chatgpt.cli.__file__).parent.glob("*.py"))
PACKAGES: Final = {"attrs", *chatgpt.cli.PACKAGES}


def imported(module: Path) -> Iterator[tuple[str, str]]:
    """What a module imports: from where, and which name."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or ".", alias.name) for alias in node.names)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_what_is_imported(module: Path) -> None:
    for source, name in imported(module):
        package = source.partition(".")[0]
        if source == "chatgpt":
            assert name in chatgpt.__all__
        elif source == "chatgpt.testing":
            assert name in chatgpt.testing.__all__
        elif package == "chatgpt":
            assert source.startswith("chatgpt.cli")
        else:
            assert package in {*sys.stdlib_module_names, *PACKAGES}, source
