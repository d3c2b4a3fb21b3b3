"""What a person sees on a terminal: Markdown that grows in place, a spinner, nothing that the terminal would obey.

Strategy: a pseudo-terminal of the kernel runs the command, and pyte makes a screen of what it was sent. What is on the screen
while an answer is still being written is looked at while the server holds the rest of it.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from chatgpt import ChatMessage
from chatgpt.testing import Answer, ChatGPTServer, Fault
from tests.cli.answers import HeldParts
from tests.cli.processes import environment, on_terminal, opened_store, run
from tests.cli.screens import COLOURS, MOVES, Screen, finished, read_until

SPINNER = re.compile("[\u2800-\u28ff]")


@pytest.fixture
def env(tmp_path: Path, chatgpt_server: ChatGPTServer) -> dict[str, str]:
    return environment(tmp_path, chatgpt_server)


def messages_in(folder: Path) -> int:
    with opened_store(folder) as store:
        return len(list(store.all_messages()))


# --- Markdown --------------------------------------------------------------------------------

MARKDOWN = """# The title

A *paragraph* that is **long** enough to be wrapped at the end of a line of eighty columns.

1. one
2. two with `code`

   and a paragraph

- a

```python
def f(x):
    return "東京"
```

| name | value |
|------|------:|
| 東京 | 1 |
| b | 22 |

> quoted

The end 👋."""

SHOWN = [
    "                                   The title",
    "A paragraph that is long enough to be wrapped at the end of a line of eighty",
    "columns.",
    " 1 one",
    " 2 two with code",
    "   and a paragraph",
    " • a",
    " def f(x):",
    '     return "東京"',
    " name  value",
    " ───────────",
    " 東京      1",
    " b        22",
    "▌ quoted",
    "The end 👋.",
]
"""Without the blank lines between its blocks."""


def written(screen: Screen) -> list[str]:
    """The lines of a screen that are not blank."""
    return [line for line in screen.lines if line]


def test_an_answer_is_markdown(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    """Whether it comes at once, or is drawn again and again, or is no stream; and it looks the same."""
    layouts = []
    for options, pause in (([], 0.004), ([], 0.0), (["--no-stream"], 0.0)):
        chatgpt_server.replies = [MARKDOWN]
        chatgpt_server.inject(Fault(part_delay=pause))
        with on_terminal([*options, "hi"], env=env) as terminal:
            screen, code = finished(terminal)
        assert (code, screen.is_cursor_shown) == (0, True)
        assert written(screen) == SHOWN
        assert COLOURS.search(screen.sent)
        layouts.append(screen.text)
    assert len(set(layouts)) == 1


def test_an_answer_grows_in_place(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    parts = HeldParts("# Title\n\nThis is *writ", "ten* anew.\n\nMore.", free=1)
    chatgpt_server.replies = parts
    with on_terminal(["hi"], env=env) as terminal:
        begun = read_until(terminal, r"\*writ")
        shown = Screen(begun)
        assert [line.strip() for line in shown.lines if line] == ["Title", "This is *writ"]
        assert not shown.is_cursor_shown
        parts.release()
        screen, code = finished(terminal, before=begun)
    assert (code, screen.is_cursor_shown) == (0, True)
    assert [line.strip() for line in screen.lines] == [
        "Title",
        "",
        "This is written anew.",
        "",
        "More.",
    ]


LONG = "\n\n".join(
    [
        "\n".join(f"- item {number}" for number in range(60)),
        "| row | 東京 |\n|---|---|\n"
        + "\n".join(f"| row {number} | {number} |" for number in range(50)),
        "```\n" + "\n".join(f"code {number}" for number in range(50)) + "\n```",
        " ".join(f"word{number}" for number in range(400)),
        "The end.",
    ]
)


@pytest.mark.parametrize("dimensions", [(24, 80), (3, 40)])
def test_an_answer_that_is_longer_than_the_screen(
    env: dict[str, str], chatgpt_server: ChatGPTServer, dimensions: tuple[int, int]
) -> None:
    """What scrolls away is whole, and there once."""
    chatgpt_server.replies = [LONG]
    chatgpt_server.inject(Fault(part_delay=0.0005))
    with on_terminal(["hi"], env=env, dimensions=dimensions) as terminal:
        screen, code = finished(terminal, dimensions)
    assert (code, screen.is_cursor_shown) == (0, True)
    assert re.findall(r"item (\d+)", screen.text) == [str(number) for number in range(60)]
    assert re.findall(r"row (\d+) +\1\b", screen.text) == [str(number) for number in range(50)]
    assert re.findall(r"code (\d+)", screen.text) == [str(number) for number in range(50)]
    assert re.findall(r"word(\d+)", screen.text) == [str(number) for number in range(400)]
    assert screen.lines[-1] == "The end."
    assert max(map(len, screen.lines)) <= dimensions[1]


def test_the_width_of_the_terminal_is_kept(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    """Also by letters that take two columns, and by a word that is longer than a line."""
    chatgpt_server.replies = ["東京" * 30 + " and " + "x" * 50]
    dimensions = (24, 40)
    with on_terminal(["hi"], env=env, dimensions=dimensions) as terminal:
        screen, _ = finished(terminal, dimensions)
    assert "".join(screen.lines).replace(" ", "") == "東京" * 30 + "and" + "x" * 50
    assert screen.lines[0] == "東京" * 10


# --- before the answer -----------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--raw"]])
def test_a_spinner_until_the_answer_begins(
    env: dict[str, str], chatgpt_server: ChatGPTServer, options: list[str]
) -> None:
    parts = HeldParts("Hello.", free=0)
    chatgpt_server.replies = parts
    with on_terminal([*options, "hi"], env=env) as terminal:
        waiting = read_until(terminal, SPINNER.pattern)
        parts.release()
        screen, code = finished(terminal, before=waiting)
    assert (code, screen.lines, screen.is_cursor_shown) == (0, ["Hello."], True)


def test_a_failure_leaves_its_line_alone(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.inject(Fault(status=400), Fault(cut_after=600))
    with on_terminal(["hi"], env=env) as terminal:
        screen, code = finished(terminal)
    assert (code, screen.is_cursor_shown) == (7, True)
    (line,) = [line for line in screen.lines if line]
    assert line.startswith("chatgpt: 400 Bad Request")
    with on_terminal(["hi"], env=env) as terminal:
        screen, code = finished(terminal)
    assert (code, screen.is_cursor_shown) == (8, True)
    assert screen.lines[0] == "You"
    assert screen.lines[1].startswith("chatgpt: The connection was lost")


# --- what is not wanted ----------------------------------------------------------------------


def test_raw(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = [MARKDOWN]
    with on_terminal(["--raw", "hi"], env=env, dimensions=(40, 100)) as terminal:
        screen, code = finished(terminal, (40, 100))
    assert (code, screen.text) == (0, MARKDOWN)


def test_json_is_json_on_a_terminal_too(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = ["# \x1b[31mA"]
    with on_terminal(["--json", "hi"], env=env) as terminal:
        screen, code = finished(terminal)
    assert code == 0
    assert '"text": "# \\u001b[31mA"' in screen.sent
    assert "\x1b" not in screen.sent


def test_no_colour(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = [MARKDOWN]
    colourless = {**env, "NO_COLOR": "1"}
    with on_terminal(["hi"], env=colourless) as terminal:
        screen, _ = finished(terminal)
    assert written(screen) == SHOWN
    assert not COLOURS.search(screen.sent)
    for words in (["list"], ["show"], ["show", "--tree"], ["search", "hi"]):
        with on_terminal(words, env=colourless) as terminal:
            screen, code = finished(terminal)
        assert code == 0
        assert not COLOURS.search(screen.sent)


@pytest.mark.parametrize("kind", ["dumb", None])
def test_a_terminal_that_cannot_move(
    env: dict[str, str], chatgpt_server: ChatGPTServer, kind: str | None
) -> None:
    """No spinner, no drawing anew: an answer is printed once. Without `TERM` nothing is known of a terminal."""
    chatgpt_server.replies = lambda _: Answer(text=MARKDOWN)
    given = environment(Path(env["HOME"]), chatgpt_server, TERM=kind)
    for words in (["hi"], ["--raw", "hi"], ["show"]):
        with on_terminal(words, env=given) as terminal:
            screen, code = finished(terminal)
        assert code == 0
        assert not MOVES.search(screen.sent), words
        assert not SPINNER.search(screen.sent), words
        assert screen.text.count("The end 👋.") == 1


def test_a_terminal_without_the_letters_of_an_answer(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.replies = ["# Hi\n\n- 東京\n\n| a | b |\n|---|---|\n| 1 | 2 |"]
    with on_terminal(["hi"], env={**env, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}) as terminal:
        screen, code = finished(terminal)
    assert code == 0
    assert "Hi" in screen.lines[0]
    assert "??" in screen.text
    assert screen.sent.isascii()


def test_a_terminal_whose_size_changes(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    """What comes after that has the new width."""
    parts = HeldParts("The beginning.\n\n", "word " * 40)
    chatgpt_server.replies = parts
    with on_terminal(["hi"], env=env) as terminal:
        begun = read_until(terminal, "beginning")
        terminal.setwinsize(24, 30)
        parts.release()
        screen, code = finished(terminal, (24, 30), before=begun)
    assert (code, screen.is_cursor_shown) == (0, True)
    assert screen.lines[-7:] == [*["word word word word word word"] * 6, "word word word word"]


def test_between_pipes_nothing_is_for_a_terminal(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path
) -> None:
    """Whatever the environment says of colours."""
    chatgpt_server.replies = lambda _: Answer(text=MARKDOWN)
    loud = {**env, "FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TTY_COMPATIBLE": "1"}
    for words in (
        ["-n", "mine", "hi"],
        ["--no-stream", "hi"],
        ["--json", "-s", "hi"],
        ["list"],
        ["list", "--json"],
        ["show", "mine"],
        ["show", "--tree"],
        ["show", "--raw"],
        ["search", "paragraph"],
        ["export"],
        ["export", "-f", str(tmp_path / "out.html")],
        ["rename", "mine", "other"],
        ["doctor"],
        ["--help"],
        ["completion", "bash"],
        ["ls-cache"],
        ["rm", "-y", "other"],
        ["rm-cache", "-y"],
        ["show", "nix"],
    ):
        done = run(words, env=loud)
        assert done.returncode == (9 if "nix" in words else 0), words
        assert "\x1b" not in done.stdout + done.stderr, words
        assert not SPINNER.search(done.stdout + done.stderr), words


def test_each_stream_is_looked_at_by_itself(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path
) -> None:
    """An answer that goes into a file is raw, though standard error is a terminal."""
    chatgpt_server.replies = [MARKDOWN]
    file = tmp_path / "answer.md"
    with on_terminal(["hi"], env=env, piped_to=file) as terminal:
        screen, code = finished(terminal)
    assert (code, screen.sent, file.read_text()) == (0, "", f"{MARKDOWN}\n")


# --- what a terminal would obey --------------------------------------------------------------

EVIL = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x9b1m\x7f\x08\rback\u202eturned\x00"


def test_an_answer_never_commands_the_terminal(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    text = f"Hello {EVIL}.\n\n```\n{EVIL}\n```\n\n[link]({EVIL}) `{EVIL}` [a](http://b.c/\x07)"
    for options in ([], ["--raw"], ["--no-stream"]):
        chatgpt_server.replies = [text]
        with on_terminal([*options, "hi"], env=env) as terminal:
            screen, code = finished(terminal)
        assert code == 0
        assert_harmless(screen)


def test_what_is_kept_never_commands_the_terminal(env: dict[str, str], tmp_path: Path) -> None:
    with opened_store(tmp_path) as store:
        question = ChatMessage(id=f"q{EVIL}", text=f"say {EVIL}", conversation_id=f"c{EVIL}")
        answer = ChatMessage(
            id="a", text=f"# said {EVIL}", role="assistant", name=f"bot{EVIL}",
            parent_message_id=question.id, conversation_id=question.conversation_id,
        )  # fmt: skip
        store.save([question, answer])
    for words in (
        ["list"],
        ["show"],
        ["show", "--raw"],
        ["show", "--tree"],
        ["search", "say"],
        ["search", "said"],
        ["export", "-f", f"{tmp_path}/a\x1b[31mb.md"],
        ["show", "\x1b[31mnix"],
        ["show", "--\x1b[31mnix"],
        ["-p", "\x1b[31m", "hi"],
        ["import", "\x1b[31mnix"],
        ["export", "-f", "/\x1b[31mnix/a.md"],
        ["completion", "\x1b[31mnix"],
    ):
        with on_terminal(words, env=env) as terminal:
            screen, _ = finished(terminal)
        assert screen.lines, words
        assert_harmless(screen)
    with on_terminal(["rm", "c"], env=env) as terminal:
        asked = read_until(terminal, r"\[y/N\]: ")
        terminal.sendline("y")
        screen, code = finished(terminal, before=asked)
    assert code == 0
    assert_harmless(screen)


def test_what_a_server_says_of_an_error_never_commands_the_terminal(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    body = '{"error": {"message": "no \\u001b[2J\\u009b1m\\u0007", "code": "\\u001b[31m"}}'
    chatgpt_server.inject(Fault(status=400, body=body, headers={"x-request-id": "r\x1b[31m"}))
    with on_terminal(["hi"], env=env) as terminal:
        screen, code = finished(terminal)
    assert code == 7
    assert_harmless(screen)


def assert_harmless(screen: Screen) -> None:
    """What moves the cursor is the command's own; a title, colours in red, a bell or a cleared screen is not."""
    assert not re.search("\x1b(?:]0|\\[2J|\\[31m)|[\0\x07\x08\x7f\x9b\u202e]", screen.sent)


# --- being interrupted -----------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--raw"]])
def test_ctrl_c_in_mid_answer(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path, options: list[str]
) -> None:
    """What came stays on the screen; nothing of it is kept."""
    assert run(["-n", "mine", "before"], env=env).returncode == 0
    parts = HeldParts("The **first** half", " and the other.")
    chatgpt_server.replies = parts
    with on_terminal([*options, "-n", "mine", "hi"], env=env) as terminal:
        begun = read_until(terminal, " half")
        terminal.sendintr()
        screen, code = finished(terminal, before=begun)
    parts.release()
    assert (code, screen.is_cursor_shown) == (130, True)
    first = "The **first** half" if options else "The first half"
    # The terminal itself shows "^C", wherever the cursor is.
    assert [line for line in screen.text.replace("^C", "").splitlines() if line] == [
        first,
        "chatgpt: stopped; nothing of it is kept",
    ]
    assert messages_in(tmp_path) == 2


@pytest.mark.parametrize(("sent", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_the_answer_begins(
    env: dict[str, str],
    chatgpt_server: ChatGPTServer,
    tmp_path: Path,
    sent: signal.Signals,
    expected: int,
) -> None:
    parts = HeldParts("Never.", free=0)
    chatgpt_server.replies = parts
    with on_terminal(["hi"], env=env) as terminal:
        waiting = read_until(terminal, SPINNER.pattern)
        parts.wait_until_asked()
        terminal.kill(sent)
        screen, code = finished(terminal, before=waiting)
    parts.release()
    assert (code, screen.is_cursor_shown) == (expected, True)
    assert not SPINNER.search(screen.text)
    said = "chatgpt: stopped; nothing of it is kept" if sent == signal.SIGINT else ""
    assert screen.text.replace("^C", "").strip() == said
    assert messages_in(tmp_path) == 0


def test_sigterm_in_mid_answer(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    parts = HeldParts("The first half", " and the other.")
    chatgpt_server.replies = parts
    with on_terminal(["hi"], env=env) as terminal:
        begun = read_until(terminal, " half")
        terminal.kill(signal.SIGTERM)
        screen, code = finished(terminal, before=begun)
    parts.release()
    assert (code, screen.is_cursor_shown, screen.lines) == (143, True, ["The first half"])
