"""The core does no I/O: what it imports and calls, read from its syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import chatgpt.core.web

ROOT = Path(chatgpt.core.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

ALLOWED = {
    "__future__", "abc", "attr", "attrs", "base64", "collections", "contextlib", "copy", "datetime", "email", "fractions", "functools", "html", "inspect", "ipaddress", "itertools",
    "json", "math", "re", "sseclient", "types", "typing", "urllib",
}  # fmt: skip
ONLY = {
    "datetime": {"UTC", "datetime", "timedelta"},
    "urllib": {"SplitResult", "quote", "unquote", "urlsplit", "urlunsplit"},
}
FORBIDDEN_CALLS = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_are_pure(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            modules = [node.module or ""]
            allowed_names = ONLY.get(modules[0].partition(".")[0])
            if allowed_names:
                assert {alias.name for alias in node.names} <= allowed_names
        else:
            continue
        for module in modules:
            if module.startswith("chatgpt"):
                assert module.startswith("chatgpt.core"), f"{path} imports {module}"
            else:
                assert module.partition(".")[0] in ALLOWED, f"{path} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_awaited_opened_or_asked_of_the_moment(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"{path}:{node.lineno} calls {node.func.id}"
        if isinstance(node, ast.Attribute):
            assert (
                node.attr not in {"now", "utcnow", "today"}
                or not isinstance(node.value, ast.Name)
                or node.value.id != "datetime"
            ), f"{path}:{node.lineno} asks for the date"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_exchange_yields_in_finally(path: Path) -> None:
    """A generator that is closed must not ask for anything more."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Try):
            for statement in node.finalbody:
                assert not any(
                    isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in ast.walk(statement)
                )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_file_opens_with_its_strategy(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_the_overview_names_every_module() -> None:
    overview = chatgpt.core.__doc__ or ""
    names = {path.name for path in FILES if path.parent == ROOT} - {"__init__.py", "version.py"}
    assert {name for name in names if name not in overview} == set()


def test_the_overview_of_the_web_flow_names_every_module() -> None:
    overview = chatgpt.core.web.__doc__ or ""
    names = {path.name for path in FILES if path.parent == ROOT / "web"} - {"__init__.py"}
    assert {name for name in names if name not in overview} == set()
