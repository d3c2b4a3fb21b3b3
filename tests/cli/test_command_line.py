"""Which command a command line is, and what its help says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from chatgpt import __version__
from chatgpt.cli.commands import root
from chatgpt.testing import ChatGPTServer
from tests.cli.processes import LIMIT, environment, on_terminal, run
from tests.cli.screens import finished


@pytest.fixture
def env(tmp_path: Path, chatgpt_server: ChatGPTServer) -> dict[str, str]:
    return environment(tmp_path, chatgpt_server)


# --- a prompt, or a command ------------------------------------------------------------------


def test_what_is_a_prompt(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    lines = {
        ("What is a list?",): "What is a list?",
        ("what", "list"): "what list",
        ("ask", "--no-store", "list", "this"): "list this",
        ("--", "list"): "list",
        ("--", "--help"): "--help",
        ("--no-store", "--", "show", "-c"): "show -c",
        ("--no-store", "Why", "--raw", "not?"): "Why not?",
        ("",): "",
    }
    for words, prompt in lines.items():
        done = run(words, env=env)
        if prompt:
            assert (done.returncode, done.stderr) == (0, ""), words
            assert chatgpt_server.requests[-1].messages[-1]["content"] == prompt
        else:
            assert done.returncode == 2
    assert len(chatgpt_server.requests) == len(lines) - 1


def test_a_word_that_is_almost_a_command_is_asked_with_a_hint(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    """A person is asked; a script knows what it does."""
    with on_terminal(["lis"], env=env) as terminal:
        screen, code = finished(terminal)
    assert (code, chatgpt_server.requests[0].messages[-1]["content"]) == (0, "lis")
    assert screen.lines[0] == "chatgpt: 'lis' is asked as a prompt; did you mean chatgpt list?"
    done = run(["lis"], env=env)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_command_behind_options_is_not_sent(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    """It would cost money, and was not meant."""
    for words in (["-m", "gpt-4o", "list"], ["--raw", "show", "trip"], ["-c", "chat"]):
        done = run(words, env=env)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert "is a command: give it first" in done.stderr
        assert done.stderr.count("\n") == 1
    assert chatgpt_server.requests == []


def test_nothing_at_all(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    """A person is shown the help; what is piped in is the prompt."""
    with on_terminal([], env=env, dimensions=(60, 80)) as terminal:
        screen, code = finished(terminal, (60, 80))
    assert (code, screen.lines[0]) == (2, "Usage: chatgpt [OPTIONS] PROMPT...")
    assert run([], env=env, stdin="Hi\n").stdout.startswith("You said: Hi ")
    # There is a terminal, but it gives no prompt: an error, and no wait.
    with on_terminal(["--raw"], env=env) as terminal:
        screen, code = finished(terminal)
    assert (code, screen.text.count("Give a prompt")) == (2, 1)
    assert len(chatgpt_server.requests) == 1


# --- help ------------------------------------------------------------------------------------


def test_help(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    """It names every option and argument, fits into 80 columns, and has no error."""
    for name, command in {"": root, **root.commands}.items():
        words = [name, "--help"] if name else ["--help"]
        done = run(words, env={**env, "COLUMNS": "200"})
        assert (done.returncode, done.stderr) == (0, ""), name
        assert max(map(len, done.stdout.splitlines())) <= 80, name
        assert done.stdout.startswith(f"Usage: chatgpt {name} ".replace("  ", " "))
        options = [*command.params, *(root.commands["ask"].params if not name else [])]
        for option in options:
            if isinstance(option, click.Option):
                for each in (*option.opts, *option.secondary_opts):
                    assert re.search(rf"(?<![\w-]){each}\b", done.stdout), (name, each)
                assert option.help, (name, option.name)
            elif name:
                shown = (option.metavar or option.human_readable_name).strip("[]")
                assert shown in done.stdout, (name, shown)
        for each in root.commands if not name else ():
            assert re.search(rf"^  {each} +[A-Z].*\.$", done.stdout, re.MULTILINE), each
    assert run(["rm", "-h"], env=env).stdout == run(["rm", "--help"], env=env).stdout
    assert chatgpt_server.requests == []


def test_the_version(env: dict[str, str]) -> None:
    done = run(["--version"], env=env)
    assert (done.returncode, done.stdout) == (0, f"chatgpt-sdk {__version__}\n")


def test_the_package_can_be_run(env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chatgpt", "hi"], env=env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("You said: hi ")


@pytest.mark.parametrize("package", ["click", "platformdirs", "rich"])
def test_without_the_extra(env: dict[str, str], tmp_path: Path, package: str) -> None:
    """A package that is not installed is named, in a line that says what to do."""
    hidden = tmp_path / "hidden"
    (hidden / package).mkdir(parents=True)
    error = f"raise ModuleNotFoundError('No module named {package}', name={package!r})"
    (hidden / package / "__init__.py").write_text(error)
    given = {**env, "PYTHONPATH": str(hidden), "CHATGPT_STORE": ""}
    with on_terminal(["hi"], env=given, dimensions=(24, 200)) as terminal:
        screen, code = finished(terminal, (24, 200))
    said = " ".join(line for line in screen.lines if line)
    assert "the command needs the extra 'cli': pip install 'chatgpt-sdk[cli]'" in said
    assert f"{package} is missing" in said
    assert "Traceback" not in said
    assert code == 1
