"""How the command ends: each exit code for real, and what is said of an error, which is one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from chatgpt.cli.exit_codes import (
    BROKEN_PIPE,
    EXIT_CODES,
    INTERRUPTED,
)
from chatgpt.testing import Answer, ChatGPTServer, Fault
from tests.cli.answers import HeldParts
from tests.cli.processes import LIMIT, environment, in_shell, opened_store, run, start, store_file

KEY: Final = "sk-canary-0123456789"

ONCE: Final = {"x-should-retry": "false"}
"""What lets the SDK try no second time."""


@pytest.fixture
def env(tmp_path: Path, chatgpt_server: ChatGPTServer) -> dict[str, str]:
    return environment(tmp_path, chatgpt_server)


def messages_in(folder: Path) -> int:
    with opened_store(folder) as store:
        return len(list(store.all_messages()))


def assert_one_line(complaint: str, *words: str) -> None:
    """What is said is one line, which begins with the command and has no secret."""
    assert complaint.startswith("chatgpt: ")
    assert complaint.endswith("\n")
    assert complaint.count("\n") == 1
    assert KEY not in complaint
    for word in words:
        assert word in complaint


def test_the_page_has_each_exit_code() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/command.md").read_text()
    rows = [f"| {code} | {meaning} |" for code, meaning, _ in EXIT_CODES]
    assert "\n".join(["| code | |", "|---|---|", *rows, ""]) in page


# --- the server ------------------------------------------------------------------------------


def refusal(status: int, message: str, code: str | None = None, kind: str = "x") -> Fault:
    body = f'{{"error": {{"message": "{message}", "type": "{kind}", "code": "{code}"}}}}'
    return Fault(status=status, body=body, headers=ONCE)


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (refusal(403, "Your country is not supported."), 3, "403 Forbidden: Your country"),
        (refusal(429, "Slow\\n\\n down."), 4, "429 Too Many Requests: Slow down."),
        (refusal(429, "You exceeded it.", "insufficient_quota"), 4, "You exceeded it."),
        (refusal(400, "Bad.", "unsupported_value"), 7, "400 Bad Request: Bad."),
        (refusal(500, "Oops."), 8, "500 Internal Server Error: Oops."),
        (Fault(cut_after=600), 8, "The connection was lost within the answer"),
        (Fault(error_after=3), 8, "The server had an error while answering."),
        (Fault(status=200, body="<html>Sign in</html>"), 8, "not JSON"),
    ],
)
def test_a_server_that_does_not_answer_as_it_should(
    env: dict[str, str],
    chatgpt_server: ChatGPTServer,
    tmp_path: Path,
    fault: Fault,
    code: int,
    words: str,
) -> None:
    chatgpt_server.inject(fault)
    done = run(["hi"], env=env)
    assert done.returncode == code
    assert_one_line(done.stderr, words, "(request id req_1)")
    if fault.status is not None:
        assert done.stdout == ""
    else:  # what came of the answer is printed, and its line ended
        assert done.stdout.startswith("You")
        assert done.stdout.endswith("\n")
    assert messages_in(tmp_path) == 0


def test_a_key_that_is_refused(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    for words, given in ((["hi"], {**env, "OPENAI_API_KEY": KEY}), (["-k", KEY, "hi"], env)):
        done = run(words, env=given)
        assert (done.returncode, done.stdout) == (3, "")
        assert_one_line(done.stderr, "401 Unauthorized")


def test_a_token_that_is_refused(tmp_path: Path, chatgpt_server: ChatGPTServer) -> None:
    host = chatgpt_server.proxy_options["api_reverse_proxy_url"]
    env = environment(tmp_path, OPENAI_ACCESS_TOKEN=KEY)
    done = run(["--web", "--host", host, "hi"], env=env)
    assert (done.returncode, done.stdout) == (3, "")
    assert_one_line(done.stderr, "401 Unauthorized", "expired")


def test_a_server_that_cannot_be_reached(env: dict[str, str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # nothing listens
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        done = run(["--host", url, "hi"], env={**env, "OPENAI_API_KEY": KEY})
    assert (done.returncode, done.stdout) == (5, "")
    assert_one_line(done.stderr, "Connection refused")


def test_a_time_limit(env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path) -> None:
    """Before the answer, and within it: what came is printed."""
    silent, slow = HeldParts("Never", free=0), HeldParts("The first", " half")
    for parts, printed in ((silent, ""), (slow, "The first\n")):
        chatgpt_server.replies = parts
        done = run(["-t", "0.4", "hi"], env=env)
        parts.release()
        assert (done.returncode, done.stdout) == (6, printed)
        assert_one_line(done.stderr, "0.4 s (timeout)")
    assert messages_in(tmp_path) == 0


def test_a_request_that_is_refused(tmp_path: Path) -> None:
    with ChatGPTServer(models=["gpt-4o"]) as server:
        env = environment(tmp_path, server)
        done = run(["-m", "gpt-9", "hi"], env=env)
        assert (done.returncode, done.stdout) == (7, "")
        assert_one_line(done.stderr, "404 Not Found: The model `gpt-9` does not exist")
        done = run(["--host", f"{server.base_url}/nowhere", "hi"], env=env)
        assert done.returncode == 7
        assert_one_line(done.stderr, "404 Not Found: Invalid URL")

        # The SDK counts, and sends nothing.
        server.requests.clear()
        done = run(["-m", "gpt-4o", "-p", "max_tokens=500", "hi"], env=env, stdin="hi " * 140_000)
        assert (done.returncode, done.stdout) == (7, "")
        assert_one_line(done.stderr, "tokens")
        assert server.requests == []


# --- the store -------------------------------------------------------------------------------


def test_a_conversation_that_is_not_there(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    for words in (
        ["-c", "hi"],
        ["show"],
        ["show", "nix"],
        ["show", "--tree", "nix"],
        ["export"],
        ["export", "nix"],
        ["rename", "nix", "new"],
        ["rm", "nix"],
    ):
        done = run(words, env=env)
        assert (done.returncode, done.stdout) == (9, ""), words
        assert_one_line(done.stderr, "There is no conversation")
    assert chatgpt_server.requests == []


def test_a_store_that_cannot_be_opened(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path
) -> None:
    """It is found before the question is sent, and can be told to do without."""
    text = tmp_path / "text.db"
    text.write_text("This is no database, and it is left as it is.\n" * 100)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    files = [text, text / "conversations.db", tmp_path]
    if os.geteuid() != 0:  # whom no mode keeps out
        files.append(closed / "conversations.db")
    for file in files:
        given = {**env, "CHATGPT_STORE": str(file)}
        for words in (["hi"], ["list"], ["show"], ["rm-cache"]):
            done = run(words, env=given)
            if words != ["hi"] and file == text / "conversations.db":
                continue  # there is none
            assert (done.returncode, done.stdout) == (10, ""), (file, words)
            assert_one_line(done.stderr, str(file))
        assert run(["--no-store", "hi"], env=given).returncode == 0
    assert len(chatgpt_server.requests) == len(files)
    assert text.read_text().startswith("This is no database")


def test_an_answer_that_cannot_be_kept_is_printed(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path
) -> None:
    """The disk is full, or here the file as large as the process may write it."""
    assert run(["-n", "mine", "hi"], env=env).returncode == 0
    text = "word " * 20_000
    chatgpt_server.replies = lambda _: Answer(parts=[text])
    limited = 'ulimit -f 64; "$@"'
    env.pop("COVERAGE_PROCESS_START", None)  # its file could not be written, either
    for words in (["-n", "mine", "hi"], ["--no-stream", "new"]):
        done = in_shell(limited, words, env=env)
        assert (done.returncode, done.stdout) == (10, f"{text}\n"), words
        assert_one_line(done.stderr)
    done = in_shell(limited, ["--json", "hi"], env=env)
    assert (done.returncode, f'"text": "{text}"' in done.stdout) == (10, True)
    assert messages_in(tmp_path) == 2


# --- the command line, and what else can go wrong ---------------------------------------------


def test_a_missing_key(tmp_path: Path) -> None:
    done = run(["hi"], env=environment(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, "OPENAI_API_KEY")


def test_wrong_command_lines(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    wrong: Sequence[tuple[Sequence[str], str]] = (
        (["--nix", "hi"], "--nix"),
        (["list", "--nix"], "--nix"),
        (["list", "--limit", "0"], "--limit"),
        (["list", "one"], "one"),
        (["search"], "WORDS"),
        (["rename", "one"], "NAME"),
        (["rm"], "CONVERSATION"),
        (["import"], "FILE"),
        (["import", "nowhere.jsonl"], "nowhere.jsonl"),
        (["export", "--format", "pdf"], "pdf"),
        (["export", "--all", "one"], "--all"),
        (["completion", "tcsh"], "tcsh"),
        (["serve", "--port", "70000"], "--port"),
        (["hi", "-p"], "-p"),
    )
    for words, said in wrong:
        done = run(words, env=env)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert_one_line(done.stderr, said)
    assert chatgpt_server.requests == []


def test_an_output_that_cannot_be_written(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    """A full disk, and a descriptor that is closed."""
    for words in (["hi"], ["--json", "hi"], ["--no-stream", "hi"], ["list"], ["show"], ["export"]):
        done = in_shell('"$@" >/dev/full', words, env=env)
        assert done.returncode == 1, (words, done)
        assert_one_line(done.stderr, "No space left on device")
    for words in (["hi"], ["list"]):
        done = in_shell('"$@" >&-', words, env=env)
        assert done.returncode in (0, 1), (words, done)
        assert done.stderr.count("\n") <= 1, words


def test_a_pipe_that_nobody_reads_any_more(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path
) -> None:
    """`| head -1` is quiet. An answer that was not finished is not kept."""
    chatgpt_server.replies = lambda _: Answer(parts=["first\n" + "and more\n" * 30_000])
    for words in (["hi"], ["-s", "hi"]):
        done = in_shell('"$@" | head -1; exit ${PIPESTATUS[0]}', words, env=env)
        assert (done.returncode, done.stdout, done.stderr) == (BROKEN_PIPE, "first\n", ""), words
    assert messages_in(tmp_path) == 0
    assert run(["hi"], env=env).returncode == 0
    for words in (["--no-stream", "hi"], ["show"], ["export"], ["export", "--format", "jsonl"]):
        done = in_shell('"$@" | head -c 1; exit ${PIPESTATUS[0]}', words, env=env)
        assert (done.returncode, len(done.stdout), done.stderr) == (BROKEN_PIPE, 1, ""), words


def test_signals_between_pipes(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path
) -> None:
    """What came was printed, and nothing is kept."""
    for sent, code in (
        (signal.SIGINT, INTERRUPTED),
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 129),
    ):
        parts = HeldParts("The first", " half")
        chatgpt_server.replies = parts
        with start(["hi"], env=env) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            assert process.stdout.read(9) == "The first"
            process.send_signal(sent)
            assert process.stdout.read() == "\n"
            assert process.stderr is not None
            said = "chatgpt: stopped; nothing of it is kept\n" if sent == signal.SIGINT else ""
            assert process.stderr.read() == said
        parts.release()
        assert process.returncode == code
    assert messages_in(tmp_path) == 0


def test_a_wait_for_input_can_be_interrupted(env: dict[str, str], tmp_path: Path) -> None:
    with start(["-"], env=env) as process:
        while not store_file(tmp_path).exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 143


# --- what is said ----------------------------------------------------------------------------


def test_debugging_shows_how_it_came_without_secrets(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    """A log, a traceback without values, and the same line in the end."""
    given = {**env, "OPENAI_API_KEY": KEY}
    quiet = run(["What is my secret?"], env=given)
    for words in (["--debug", "What is my secret?"], ["What is my secret?", "-d", "-k", KEY]):
        done = run(words, env=given)
        assert (done.returncode, done.stdout) == (3, "")
        *log, last = done.stderr.splitlines()
        assert last.partition(" (request")[0] == quiet.stderr.partition(" (request")[0]
        assert "Traceback (most recent call last):" in log
        assert any("SendRequest" in line for line in log)
        assert KEY not in done.stderr
        assert "my secret" not in done.stderr
    done = run(["show", "nix", "--debug"], env=env)
    assert done.returncode == 9
    given = {**env, "CHATGPT_STORE": "/dev/null/x"}
    done = run(["hi", "--debug"], env=given)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        10,
        "Traceback (most recent call last):",
    )
    assert run(["-d", "--json", "hi"], env=env).stdout.startswith('{"id"')


def test_a_warning_is_one_harmless_line() -> None:
    """As libraries write them, in several lines; and with what they were given."""
    code = (
        "import warnings; from chatgpt.cli.exit_codes import say_warnings; say_warnings(); "
        "warnings.warn('Two\\nlines \x1b[31m')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True
    )
    assert_one_line(done.stderr, "Two lines ␛[31m")
