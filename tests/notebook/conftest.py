"""A shell of IPython in this process, for what needs no kernel."""

from __future__ import annotations

import atexit
import builtins
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from traitlets.config import Config

from chatgpt.testing import ChatGPTServer


class Shell:
    """A shell that has loaded the magics, and what its cells print.

    Attributes:
        ip: the shell.
    """

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        # Without the history, which is a file; colours would be a part of what is compared.
        config = Config(HistoryManager={"enabled": False}, InteractiveShell={"colors": "nocolor"})
        self.ip = InteractiveShell(config=config)
        self._capsys = capsys
        self.run("%load_ext chatgpt")

    def run(self, cell: str) -> str:
        """Run a cell that goes well; what it printed."""
        result, output = self._run(cell)
        assert result.success, output
        return output

    def fail(self, cell: str) -> str:
        """Run a cell that fails; what it printed, one line."""
        result, output = self._run(cell)
        assert not result.success, output
        *shown, line = output.splitlines()
        assert not any("Error" in each or "Traceback" in each for each in shown), output
        return line

    def _run(self, cell: str) -> tuple[ExecutionResult, str]:
        self._capsys.readouterr()
        result = self.ip.run_cell(cell)
        captured = self._capsys.readouterr()
        return result, captured.out + captured.err

    def value(self, name: str) -> Any:
        """What a variable holds."""
        return self.ip.user_ns[name]

    def complete(self, text: str) -> list[str]:
        """What is offered at the end of a text."""
        with provisionalcompleter():
            return [each.text for each in self.ip.Completer.completions(text, len(text))]

    def close(self) -> None:
        """Close what the magics have open."""
        if "ChatMagics" in self.ip.magics_manager.registry:
            self.run("%unload_ext chatgpt")
        atexit.unregister(self.ip.atexit_operations)
        self.ip.atexit_operations()


@pytest.fixture
def shells(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chatgpt_server: ChatGPTServer,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[list[Shell]]:
    """Makes shells, one after the other, whose environment leads to the embedded server; in an empty folder."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("OPENAI_API_KEY", chatgpt_server.api_key)
    monkeypatch.setenv("OPENAI_BASE_URL", chatgpt_server.base_url)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    kept = {
        name: getattr(sys, name)
        for name in ("excepthook", "displayhook", "ps1")
        if hasattr(sys, name)
    }
    main, names, path = sys.modules["__main__"], dict(vars(builtins)), list(sys.path)
    made: list[Shell] = []
    try:
        yield made
    finally:
        for shell in made:
            shell.close()
        sys.modules["__main__"], sys.path[:] = main, path
        for name in set(vars(builtins)) - set(names):
            delattr(builtins, name)
        vars(builtins).update(names)
        for name, value in kept.items():
            setattr(sys, name, value)


@pytest.fixture
def shell(shells: list[Shell], capsys: pytest.CaptureFixture[str]) -> Shell:
    """A shell that has loaded the magics."""
    shells.append(Shell(capsys))
    return shells[-1]
