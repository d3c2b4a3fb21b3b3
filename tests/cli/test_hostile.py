"""What a server, a file, a name or a terminal can do to the command, and must not."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

from chatgpt import ChatMessage
from chatgpt.cli.markdown_blocks import blocks_of
from chatgpt.testing import Answer, ChatGPTServer
from tests.cli.answers import HeldParts
from tests.cli.processes import (
    COMMAND,
    LIMIT,
    environment,
    exit_code,
    in_shell,
    on_terminal,
    opened_store,
    run,
)
from tests.cli.screens import Screen, finished, read_until

ESCAPES: Final = re.compile("\x1b(?:]|\\[2J)|[\x07\x9b\u202e]")
"""What is not sent to a terminal: titles, clipboards, a cleared screen, bells, turned lines."""


@pytest.fixture
def env(tmp_path: Path, chatgpt_server: ChatGPTServer) -> dict[str, str]:
    return environment(tmp_path, chatgpt_server)


def asked(env: dict[str, str], dimensions: tuple[int, int] = (24, 80)) -> Screen:
    """The screen of a question."""
    with on_terminal(["hi"], env=env, dimensions=dimensions) as terminal:
        screen, code = finished(terminal, dimensions)
    assert code == 0
    return screen


# --- what is said ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "See <http://x/%1b%5D52;c;cHduZWQ=%1b%5C%1b[2J%9b2J>.",
        "[here](http://x/%1b%5D0;title%07)",
        "![picture](http://x/%1b%5D0;title%07)",
        "&#27;]0;title&#7; and &#8238; and &#x9b;2J",
        "`\x1b]0;title\x07`",
        "```\x1b]0;title\x07\ncode\x1b[2J\n```",
    ],
)
def test_markdown_spells_no_escape_sequence(
    env: dict[str, str], chatgpt_server: ChatGPTServer, text: str
) -> None:
    chatgpt_server.replies = [text]
    assert not ESCAPES.search(asked(env).sent)
    with on_terminal(["show"], env=env) as terminal:
        screen, _ = finished(terminal)
    assert not ESCAPES.search(screen.sent)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A vector<int> and\n\n<div>hidden</div>", ["vector<int>", "<div>hidden</div>"]),
        ("<think>hm</think>", ["<think>hm</think>"]),
        ("[here][1]\n\n[1]: http://example.com/a\n\n[^1]: note", ["[here][1]", "http://example.com/a", "note"]),
        ("[the page](http://example.com/b)", ["the page", "http://example.com/b"]),
        ("| op | meaning |\n|---|---|\n| `a || b` | logical or |\n", ["logical or"]),
        ("|a|b|\n|-|-|\n|x|https://docs.example.com/en/stable/a/very/long/address/of/it.html|\n", [".html"]),
        (f"|{'a|' * 40}\n|{'-|' * 40}\n|{'b|' * 39}end|\n", ["end"]),
        ("1. See ![the diagram](https://e.com/d.png) here", ["See the diagram (https://e.com/d.png) here"]),
        ("\n".join(f"{'  ' * level}- level{level}" for level in range(14)), ["level0", "level13"]),
        ("one\r\n\r\n- two\r\n- three\r\n\r\nfour", ["one", "two", "three", "four"]),
    ],
)  # fmt: skip
def test_nothing_that_was_said_is_swallowed(
    env: dict[str, str], chatgpt_server: ChatGPTServer, text: str, shown: list[str]
) -> None:
    """However it comes: letter by letter, or at once."""
    chatgpt_server.replies = [Answer(parts=list(text)), text]
    screens = [asked(env).text for _ in range(2)]
    for screen in screens:
        folded = screen.replace("\n", "")
        assert [each for each in shown if each not in screen and each not in folded] == []
    assert screens[0] == screens[1]


@pytest.mark.parametrize("columns", [40, 79, 200])
def test_a_terminal_that_changes_its_width_loses_no_word(
    env: dict[str, str], chatgpt_server: ChatGPTServer, columns: int
) -> None:
    words = [f"w{number}w" for number in range(900)]
    parts = HeldParts(" ".join(words[:600]), " " + " ".join(words[600:]))
    chatgpt_server.replies = parts
    with on_terminal(["hi"], env=env, dimensions=(24, 80)) as terminal:
        begun = read_until(terminal, "w599w")
        terminal.setwinsize(24, columns)
        parts.release()
        assert exit_code(terminal) == 0
        sent = begun + (terminal.before or "")
    assert [word for word in words if word not in sent] == []


def test_blocks_are_the_text() -> None:
    text = "1. one\n\n2. two\n\n```\na\n\nb\n```\n\nend"
    blocks, rest = blocks_of(text)
    assert (len(blocks), rest) == (2, "end")
    assert "\n".join([*blocks, rest]) == text


def test_a_tree_of_many_branches_is_whole(env: dict[str, str], tmp_path: Path) -> None:
    """Each question asked again thirty times, on a terminal of forty columns."""
    with opened_store(tmp_path) as store:
        parent, saved = None, []
        for number in range(30):
            question = f"q{number}"
            saved.append(
                ChatMessage(id=question, text="?", parent_message_id=parent, conversation_id="c")
            )
            for answer in ("a", "b"):
                parent = f"{question}{answer}"
                saved.append(
                    ChatMessage(
                        id=parent,
                        text="!",
                        role="assistant",
                        parent_message_id=question,
                        conversation_id="c",
                    )
                )
        store.save(saved)
        store.use_conversation("c", "q29b")
    with on_terminal(["show", "--tree"], env=env, dimensions=(24, 40)) as terminal:
        screen, _ = finished(terminal, (24, 40))
    assert len(screen.lines) == len(run(["show", "--tree"], env=env).stdout.splitlines()) == 91
    assert screen.lines[-2:] == ["├─ q29a assistant: !", "* q29b assistant: !"]


def test_a_tree_of_circles_ends(env: dict[str, str], tmp_path: Path) -> None:
    """An import may bring messages that reply to each other; every visible one is shown, once."""
    parents = {
        "a": "b",
        "b": "a",
        "h1": "h2",
        "h2": "h1",
        "own": "own",
        "under": "h1",
        "root": None,
    }
    with opened_store(tmp_path) as store:
        store.save(
            [
                ChatMessage(
                    id=each,
                    text=each,
                    parent_message_id=parent,
                    conversation_id="c",
                    is_hidden=each[0] == "h",
                )
                for each, parent in parents.items()
            ]
        )
    for words in (["show", "--tree"], ["show"], ["show", "--tree", "--json"]):
        assert run(words, env=env).returncode == 0
    shown = run(["show", "--tree"], env=env).stdout.splitlines()[1:]
    assert sorted(line.rpartition(" ")[2] for line in shown) == ["a", "b", "own", "root", "under"]


# --- what is piped in, and where it goes -----------------------------------------------------


def test_input_that_cannot_be_read_is_an_error(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    """Nothing is asked without it."""
    with socket.socket() as unconnected:
        failed = subprocess.run(
            [COMMAND, "summarize"],
            env=env,
            stdin=unconnected.fileno(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (1, "", 1)
    done = in_shell(f"{COMMAND} summarize < /dev/zero", env=env)
    assert (done.returncode, done.stderr) == (
        2, "chatgpt: Standard input is no text: it holds zero bytes.\n",
    )  # fmt: skip
    assert chatgpt_server.requests == []


def test_a_pipe_that_does_not_wait_is_waited_for(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with subprocess.Popen(
        [COMMAND, "summarize", "-"], env=env, stdin=read, stdout=subprocess.PIPE, text=True
    ) as process:
        os.close(read)
        os.write(write, b"first ")
        time.sleep(0.5)  # it reads when there is nothing to read
        os.write(write, b"and last")
        os.close(write)
        process.communicate(timeout=LIMIT)
    assert chatgpt_server.requests[-1].messages[-1]["content"] == "summarize\n\nfirst and last"


def test_help_onto_a_full_disk_is_an_error(env: dict[str, str]) -> None:
    for words in ("--help", "ask --help", "--version", "list"):
        done = in_shell(f"{COMMAND} {words} > /dev/full", env=env)
        assert "Traceback" not in done.stderr
        assert done.returncode == (0 if words == "list" else 1)


def test_a_terminal_without_a_size(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = ["Hello there"] * 3
    for columns in ("0", "-1", "wide"):
        assert "Hello there" in asked({**env, "COLUMNS": columns}).text


# --- what is kept ----------------------------------------------------------------------------


def test_no_shell_runs_what_is_in_a_name(env: dict[str, str], tmp_path: Path) -> None:
    names = {
        "1": "$(reboot)",
        "2": "my trip",
        "3": "`x`",
        "4": "trip;x",
        "5": "東京-plan",
        "$(x)6": None,
    }
    with opened_store(tmp_path) as store:
        for conversation_id, name in names.items():
            store.save(
                [ChatMessage(id=f"m{conversation_id}", text="hi", conversation_id=conversation_id)]
            )
            store.name_conversation(conversation_id, name)
    done = run(
        [],
        env={
            **env,
            "_CHATGPT_COMPLETE": "bash_complete",
            "COMP_WORDS": "chatgpt show ",
            "COMP_CWORD": "2",
        },
    )
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == {
        "1",
        "2",
        "3",
        "4",
        "東京-plan",
    }


def test_a_history_that_nobody_can_read_is_no_error(env: dict[str, str], tmp_path: Path) -> None:
    history = tmp_path / "state" / "chatgpt" / "chat_history.jsonl"
    history.parent.mkdir(parents=True)
    history.write_text("[" * 100_000 + "\n" + json.dumps("earlier") + "\n")
    with on_terminal(["chat"], env=env) as terminal:
        terminal.expect("> ")
        terminal.send("\x1b[A")
        terminal.expect("earlier")
        terminal.sendintr()
        terminal.expect("leaves\r\n.*> ")
        terminal.sendeof()
        assert exit_code(terminal) == 0
    history.unlink()
    os.mkfifo(history)
    with on_terminal(["chat"], env=env) as terminal:
        terminal.expect("> ")
        terminal.sendline("hi")
        terminal.expect("You said: hi(?s:.*)> ")
        terminal.sendeof()
        assert exit_code(terminal) == 0


def test_parameters_of_the_command_itself_are_refused(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    for given in ("stream=false", "messages=[]", "prompt=x"):
        done = run(["-p", given, "hi"], env=env)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert chatgpt_server.requests == []
    done = run(["-p", f"user={'[' * 100_000}", "hi"], env=env)
    assert done.returncode == 0
    assert json.loads(chatgpt_server.requests[-1].body)["user"] == "[" * 100_000


# --- signals ---------------------------------------------------------------------------------


def test_a_stopped_command_leaves_the_cursor(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    """Ctrl-Z in mid-answer; the answer goes on when the command does."""
    parts = HeldParts("The first half", " and the other.")
    chatgpt_server.replies = parts
    with on_terminal(["hi"], env=env) as terminal:
        begun = read_until(terminal, "first half")
        assert terminal.pid is not None
        os.kill(terminal.pid, signal.SIGTSTP)
        begun += read_until(terminal, re.escape("\x1b[?25h"))
        os.kill(terminal.pid, signal.SIGCONT)
        parts.release()
        screen, code = finished(terminal, before=begun)
    assert (code, screen.is_cursor_shown) == (0, True)
    assert screen.text.endswith("The first half and the other.")
