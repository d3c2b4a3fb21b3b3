"""`chatgpt chat` as a person has it: on a terminal, with a prompt."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Final

import pexpect
import pytest

from chatgpt import ChatMessage
from chatgpt.testing import Answer, ChatGPTServer, Fault, RecordedRequest
from tests.cli.answers import HeldParts
from tests.cli.processes import (
    COMMAND,
    LIMIT,
    environment,
    exit_code,
    on_terminal,
    opened_store,
    plain,
)
from tests.cli.screens import finished, read_until

PROMPT: Final = "\x1b[?2004h> "
PROMPT_WITHIN: Final = "\x1b[?2004h... "
UP: Final = "\x1b[A"


@pytest.fixture
def env(tmp_path: Path, chatgpt_server: ChatGPTServer) -> dict[str, str]:
    return environment(tmp_path, chatgpt_server)


@contextmanager
def chatting(*arguments: str, env: dict[str, str], **how: Any) -> Iterator[pexpect.spawn[str]]:
    """A chat that waits for the first message, and is left in the end."""
    with on_terminal(["chat", *arguments], env=env, **how) as terminal:
        terminal.expect_exact(PROMPT)
        yield terminal
        terminal.sendeof()
        assert exit_code(terminal) == 0


def typed(terminal: pexpect.spawn[str], text: str, then: str = PROMPT) -> str:
    """Type a line; what appears until the next prompt."""
    terminal.send(f"{text}\r")
    terminal.expect_exact(then)
    return plain(terminal.before)


def asked(server: ChatGPTServer) -> list[object]:
    """What was said in the last request, without its instructions."""
    said = server.requests[-1].messages
    return [message["content"] for message in said if message["role"] != "system"]


def thread(folder: Path) -> list[ChatMessage]:
    """The messages that lead to where the conversation last used stands."""
    with opened_store(folder) as store:
        (place,) = store.conversations(limit=1)
        return store.path(place.last_message_id)[::-1]


def texts(messages: list[ChatMessage]) -> list[str]:
    return [message.text for message in messages]


# --- messages and answers --------------------------------------------------------------------


def test_each_message_goes_on_with_the_conversation(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.replies = ["Hello **Ada**.", "Yes."]
    with chatting(env=env) as terminal:
        shown = typed(terminal, "I am Ada.")
        assert "Hello Ada." in shown  # as Markdown
        typed(terminal, "   ")  # nothing is sent
        assert "Yes." in typed(terminal, "Sure? \\x Grüße 東京")
    assert asked(chatgpt_server) == ["I am Ada.", "Hello **Ada**.", "Sure? \\x Grüße 東京"]
    assert texts(thread(tmp_path)) == [*asked(chatgpt_server), "Yes."]
    assert len(chatgpt_server.requests) == 2


def test_raw_answers(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = ["**bold**"]
    with chatting("--raw", "--no-store", env=env) as terminal:
        assert "**bold**" in typed(terminal, "hi")


def test_a_message_of_several_lines(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    with chatting("--no-store", env=env) as terminal:
        typed(terminal, "one\\", PROMPT_WITHIN)
        typed(terminal, "two\\", PROMPT_WITHIN)
        typed(terminal, "three")
        assert asked(chatgpt_server)[-1] == "one\ntwo\nthree"
        typed(terminal, '"""', PROMPT_WITHIN)
        typed(terminal, "/help is no command here\\", PROMPT_WITHIN)
        typed(terminal, "", PROMPT_WITHIN)
        typed(terminal, "  end", PROMPT_WITHIN)
        typed(terminal, '"""')
        assert asked(chatgpt_server)[-1] == "/help is no command here\\\n\n  end"
        typed(terminal, '\x1b[200~def f():\r\treturn \'\\\r"""\r/exit\r\x1b[201~')
        assert asked(chatgpt_server)[-1] == 'def f():\n\treturn \'\\\n"""\n/exit'
        typed(terminal, "//exit")
        assert asked(chatgpt_server)[-1] == "/exit"
        typed(terminal, '"""', PROMPT_WITHIN)
        typed(terminal, "the end of the input ends a block", PROMPT_WITHIN)
        terminal.sendeof()
        terminal.expect_exact(PROMPT)
        assert asked(chatgpt_server)[-1] == "the end of the input ends a block"


def test_an_error_is_a_line_and_the_chat_goes_on(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    with chatting(env=env) as terminal:
        typed(terminal, "first")
        for fault in (Fault(status=401), Fault(cut_after=300)):
            chatgpt_server.inject(fault)
            shown = typed(terminal, "lost")
            assert shown.count("chatgpt: ") == 1
            assert "Traceback" not in shown
            assert chatgpt_server.api_key not in shown
        assert "There is no command /nothing: /help lists them." in typed(terminal, "/nothing")
        terminal.send(UP + UP)
        typed(terminal, "")
        assert "You said: lost" in texts(thread(tmp_path))[-1]
    assert [message.text for message in thread(tmp_path) if message.role == "user"] == [
        "first",
        "lost",
    ]
    with chatting("-d", env=env) as terminal:
        chatgpt_server.inject(Fault(status=401))
        shown = typed(terminal, "hi")
        assert "Traceback" in shown
        assert "AuthenticationError" in shown
        assert chatgpt_server.api_key not in shown


def test_a_store_that_fails_does_not_hide_the_answer(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    parts = HeldParts("The", " answer.")
    chatgpt_server.replies = parts
    with chatting("--raw", env=env) as terminal:
        terminal.send("hi\r")
        terminal.expect_exact("The")
        with opened_store(tmp_path) as store:
            store.file.rename(tmp_path / "elsewhere")
            store.file.mkdir()
        parts.release()
        terminal.expect_exact(PROMPT)
        shown = plain(terminal.before)
        assert " answer.\n" in shown
        assert "chatgpt: " in shown


# --- Ctrl-C, Ctrl-D, signals -----------------------------------------------------------------


def test_ctrl_c_stops_an_answer_and_nothing_of_it_is_kept(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    parts = HeldParts("Once", " upon", " a time", free=2)
    with chatting(env=env) as terminal:
        typed(terminal, "first")
        chatgpt_server.replies = parts
        terminal.send("tell me\r")
        terminal.expect_exact("upon")
        terminal.sendintr()
        terminal.expect_exact("stopped; the conversation stands where it stood")
        terminal.expect_exact(PROMPT)
        parts.release()
        assert len(thread(tmp_path)) == 2
        chatgpt_server.replies = None
        assert "message 2" in typed(terminal, "and now?")
    assert [message.text for message in thread(tmp_path) if message.role == "user"] == [
        "first",
        "and now?",
    ]


def test_an_impatient_ctrl_c_does_not_leave(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.replies = parts = HeldParts("Once", " more")
    with on_terminal(["chat", "--no-store", "--raw"], env=env) as terminal:
        terminal.expect_exact(PROMPT)
        terminal.send("tell me\r")
        terminal.expect_exact("Once")
        for _ in range(5):
            terminal.sendintr()
        terminal.expect_exact("stopped;")
        terminal.send("/model\r" * 2)  # a Ctrl-C that comes late may clear the first one
        terminal.expect_exact("gpt-5.4-mini")
        parts.release()
        terminal.send("/exit\r")
        assert exit_code(terminal) == 0


def test_ctrl_c_at_the_prompt_clears_the_line_and_says_once_how_to_leave(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    with chatting("--no-store", env=env) as terminal:
        hints = 0
        for line in ("half a line", '"""\rhalf a block', ""):
            terminal.send(line)
            terminal.expect_exact(line[-5:])
            terminal.sendintr()
            terminal.expect_exact(PROMPT)
            hints += plain(terminal.before).count("Ctrl-D or /exit leaves")
        assert hints == 1
        typed(terminal, "whole")
    assert asked(chatgpt_server) == ["whole"]


@pytest.mark.parametrize("options", [[], ["--raw"]])
def test_a_signal_leaves_the_terminal_as_it_was(
    env: dict[str, str], chatgpt_server: ChatGPTServer, options: list[str]
) -> None:
    parts, has_asked = HeldParts("", free=0), Event()

    def respond(request: RecordedRequest) -> Answer:
        has_asked.set()
        return parts(request)

    chatgpt_server.replies = respond
    with on_terminal(["chat", "--no-store", *options], env=env) as terminal:
        before = read_until(terminal, r"\x1b\[\?2004h> ")
        terminal.send("hi\r")
        before += read_until(terminal, r"\x1b\[\?25l")  # the spinner hides the cursor
        assert has_asked.wait(LIMIT)
        terminal.kill(signal.SIGTERM)
        screen, code = finished(terminal, before=before)
    parts.release()
    assert (screen.is_cursor_shown, code) == (True, 143)


@pytest.mark.parametrize("options", [[], ["--raw"]])
def test_ctrl_c_before_the_question_is_sent_leaves_the_cursor_shown(
    env: dict[str, str], options: list[str]
) -> None:
    with on_terminal(["chat", "--no-store", *options], env=env) as terminal:
        before = read_until(terminal, r"\x1b\[\?2004h> ")
        terminal.send("hi\r")
        before += read_until(terminal, r"\x1b\[\?25l")
        terminal.sendintr()
        before += read_until(terminal, r"\x1b\[\?2004h> ")
        terminal.sendeof()
        screen, code = finished(terminal, before=before)
    assert (screen.is_cursor_shown, code) == (True, 0)


def test_a_signal_at_the_prompt(env: dict[str, str]) -> None:
    with on_terminal(["chat", "--no-store"], env=env) as terminal:
        terminal.expect_exact(PROMPT)
        terminal.kill(signal.SIGTERM)
        terminal.expect_exact("\x1b[?2004l")  # what is pasted then comes as it is
        assert exit_code(terminal) == 143


# --- line editing ----------------------------------------------------------------------------


def test_what_was_typed_is_there_in_the_next_chat(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    with chatting(env=env) as terminal:
        typed(terminal, '"""', PROMPT_WITHIN)
        typed(terminal, "/two", PROMPT_WITHIN)
        typed(terminal, "lines", PROMPT_WITHIN)
        typed(terminal, '"""')
        typed(terminal, "/model")
    (file,) = (tmp_path / "state").rglob("*.jsonl")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    kept = file.read_text()
    assert kept.splitlines() == [r'"//two\nlines"', '"/model"']  # and no answer
    with chatting("--no-store", env=env) as terminal:
        typed(terminal, "not kept")
        typed(terminal, UP + UP + UP)
        assert asked(chatgpt_server)[-1] == "/two\nlines"
    assert file.read_text() == kept


def test_a_history_that_cannot_be_read_or_written_is_no_error(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    with chatting(env=env) as terminal:
        typed(terminal, "one")
        typed(terminal, UP)
    assert asked(chatgpt_server)[::2] == ["one", "one"]


def test_tab_completes_commands(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    with chatting("--no-store", env=env) as terminal:
        assert "gpt-5.4-mini" in typed(terminal, "/mo\t")
        typed(terminal, "a /mo\t.")
    assert asked(chatgpt_server) == ["a /mo."]


# --- which conversation ----------------------------------------------------------------------


def test_a_conversation_goes_on(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    with chatting("-n", "ada", env=env) as terminal:
        chatgpt_server.inject(Fault(status=401))
        typed(terminal, "not answered")
        typed(terminal, "I am Ada.")
        with opened_store(tmp_path) as store:
            assert [each.name for each in store.conversations()] == ["ada"]
    for options in (["-c"], ["-n", "ada"]):
        with on_terminal(["chat", *options], env=env) as terminal:
            terminal.expect_exact(PROMPT)
            shown = plain(terminal.before)
            assert "chatgpt: ada goes on; it has" in shown
            assert "You said:" in shown
            typed(terminal, "Again.")
            terminal.sendeof()
            assert exit_code(terminal) == 0
    assert asked(chatgpt_server)[::2] == ["I am Ada.", "Again.", "Again."]
    assert len(thread(tmp_path)) == 6


def test_piped_text_is_the_first_message(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    (tmp_path / "f.py").write_text("/usr/bin\n\nprint(1)\n")
    with chatting(env=env, piped_in=tmp_path / "f.py") as terminal:
        assert "You said:" in plain(terminal.before)
        typed(terminal, "Explain.")
    assert asked(chatgpt_server)[::2] == ["/usr/bin\n\nprint(1)", "Explain."]


@pytest.mark.parametrize(("fault", "code"), [(Fault(), 0), (Fault(status=401), 3)])
def test_piped_text_where_nobody_can_type(
    env: dict[str, str], chatgpt_server: ChatGPTServer, fault: Fault, code: int
) -> None:
    """Output is a terminal, but not the one of the process: the first message is the last."""
    chatgpt_server.inject(fault)
    screen, output = os.openpty()
    try:
        done = subprocess.run(
            [COMMAND, "chat", "--no-store"],
            env=env,
            input=b"hi\n",
            stdout=output,
            stderr=subprocess.PIPE,
            start_new_session=True,
            timeout=LIMIT,
            check=False,
        )
        os.write(output, b"end")
        assert (b"You said: hi" in os.read(screen, 10_000)) is (code == 0)
    finally:
        os.close(screen)
        os.close(output)
    assert done.returncode == code
    assert asked(chatgpt_server) == ["hi"]


def test_answers_that_go_into_a_file(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    """The prompt is on the terminal all the same, and errors end nothing."""
    chatgpt_server.replies = ["**One**", "Two"]
    with on_terminal(["chat"], env=env, piped_to=tmp_path / "answers") as terminal:
        seen = ""
        for line in ("first", "/nothing", "second"):
            seen += read_until(terminal, "> ")
            terminal.send(f"{line}\n")
        seen += read_until(terminal, "> ")
        terminal.sendeof()
        assert exit_code(terminal) == 0
    assert "There is no command /nothing" in seen
    assert (tmp_path / "answers").read_text() == "**One**\nTwo\n"
