"""The notebooks of the documentation, executed: no cell fails, and what they show is what is committed."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import anyio
import nbformat
import pytest

FOLDER: Final = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS: Final = sorted(FOLDER.glob("*.ipynb"))
MOST_UPDATES: Final = 10

EXECUTE: Final = runpy.run_path(str(FOLDER / "execute.py"))
"""`docs/` is no package."""
execute: Final[Callable[[Path, Path], Coroutine[Any, Any, Any]]] = EXECUTE["execute"]
written: Final[Callable[[Any], str]] = EXECUTE["written"]


def test_there_are_notebooks() -> None:
    assert {"first-steps.ipynb", "magics.ipynb"} <= {path.name for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_shows_what_is_committed(path: Path, tmp_path: Path) -> None:
    done = anyio.run(execute, path, tmp_path)  # in an event loop, as a notebook server does
    committed = path.read_text(encoding="utf-8")
    assert written(done.nb).splitlines() == committed.splitlines(), (
        "python docs/notebooks/execute.py writes it anew"
    )
    shown = {
        cell.id: sum(output.output_type in EXECUTE["SHOWS"] for output in cell.get("outputs", ()))
        for cell in done.nb.cells
    }
    for cell_id, messages in done.shown.items():
        kinds = [kind for kind, _ in messages]
        assert kinds.count("display_data") == shown[cell_id], "something was shown and not kept"
        times = [time for kind, time in messages if kind == "update_display_data"]
        for begin in times:
            assert sum(begin <= each < begin + 1 for each in times) <= MOST_UPDATES
    growing = {
        cell.id
        for cell in done.nb.cells
        if cell.source.startswith("%%chat") or "stream_message" in cell.source
    }
    assert all(
        [kind for kind, _ in done.shown[cell_id]].count("update_display_data") >= 1
        for cell_id in growing
    ), "a stream did not grow"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_holds_nothing_of_the_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not any(
        each in text for each in ("127.0.0.1", "localhost", "sk-", str(Path.home()) + "/")
    )
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(cell.metadata for cell in notebook.cells)
