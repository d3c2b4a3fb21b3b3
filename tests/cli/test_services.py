"""`chatgpt demo`, `serve`, `doctor` and `completion`."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from chatgpt import ChatMessage
from chatgpt.cli.commands import root
from chatgpt.testing import DEFAULT_API_KEY, ChatGPTServer
from tests.cli.processes import (
    COMMAND,
    LIMIT,
    environment,
    in_shell,
    on_terminal,
    opened_store,
    run,
    start,
    store_file,
)
from tests.cli.screens import finished

KEY: Final = "sk-canary-0123456789"


@pytest.fixture
def env(tmp_path: Path, chatgpt_server: ChatGPTServer) -> dict[str, str]:
    return environment(tmp_path, chatgpt_server)


# --- demo ------------------------------------------------------------------------------------


def test_the_demo_needs_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    """Neither a key nor a proxy of the environment matters to it."""
    env = environment(tmp_path, HTTP_PROXY="http://127.0.0.1:1", OPENAI_MODEL="none")
    with start(["demo"], env=env, stdin=subprocess.DEVNULL) as piped:
        with on_terminal(["demo"], env=env, dimensions=(100, 80)) as terminal:
            screen, code = finished(terminal, (100, 80))
        printed, complaints = piped.communicate(timeout=LIMIT)
    assert (piped.returncode, complaints) == (0, "")
    assert "\x1b" not in printed
    assert printed.count("You: ") == 3
    assert printed.count("Grüße aus 東京 👋") >= 2
    assert re.search(r"\[\S+, \d+ tokens, stop\]", printed)
    assert (code, screen.is_cursor_shown) == (0, True)
    assert screen.text.count("You: ") == 3
    assert not store_file(tmp_path).exists()


# --- serve -----------------------------------------------------------------------------------


def test_a_server_for_other_programs(tmp_path: Path) -> None:
    """The first line is its URL, at once also in a pipe; Ctrl-C ends it as it ends everything."""
    env = environment(tmp_path)
    words = ["serve", "--reply", "One.", "--reply", "Two 東京."]
    with start(words, env=env, stdin=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        url = server.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", url)
        said = server.stderr.readline()
        assert DEFAULT_API_KEY in said
        assert f"export OPENAI_BASE_URL={url}" in said
        given = {**env, "OPENAI_BASE_URL": url}
        keyed = {**given, "OPENAI_API_KEY": DEFAULT_API_KEY}
        assert run(["hi"], env=keyed).stdout == "One.\n"
        assert run(["hi"], env=keyed).stdout == "Two 東京.\n"
        assert run(["hi"], env={**given, "OPENAI_API_KEY": KEY}).returncode == 3
        server.send_signal(signal.SIGINT)
        assert server.stdout.read() == ""
        assert server.stderr.read() == ""
    assert server.returncode == 130


def test_a_server_at_a_port_that_takes_any_key(tmp_path: Path) -> None:
    env = environment(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", "--any-key", "--port", str(port)]
    with start(words, env=env, stdin=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == f"http://127.0.0.1:{port}/v1\n"
        given = {**env, "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
        for key in ("", KEY):
            assert run(["hi"], env={**given, "OPENAI_API_KEY": key}).stdout.startswith("You said")
        taken = run(words, env=env)
        assert (taken.returncode, taken.stdout, taken.stderr.count("\n")) == (1, "", 1)
        assert "in use" in taken.stderr
        server.terminate()
    assert server.returncode == 143


# --- doctor ----------------------------------------------------------------------------------


def results(printed: str) -> dict[str, bool]:
    """Each check, and whether it found all well."""
    rows = re.findall(
        r"^(ok|FAIL) +(versions|store|client|route|round trip) ", printed, re.MULTILINE
    )
    return {name: result == "ok" for result, name in rows}


ALL_WELL: Final = dict.fromkeys(("versions", "store", "client", "route", "round trip"), True)


def test_all_is_well(env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path) -> None:
    done = run(["doctor"], env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert results(done.stdout) == ALL_WELL
    assert "Python 3." in done.stdout
    assert f"none yet; it will be {store_file(tmp_path)}" in done.stdout
    assert "key from OPENAI_API_KEY, 7 characters" in done.stdout
    assert f"directly to {chatgpt_server.base_url}/chat/completions" in done.stdout
    assert not store_file(tmp_path).exists()

    run(["hi"], env=env)
    done = run(["doctor", "-k", chatgpt_server.api_key, "-m", "gpt-4o"], env=env)
    assert results(done.stdout) == ALL_WELL
    assert "1 conversation" in done.stdout
    assert chatgpt_server.requests[-1].json["model"] == "gpt-4o"

    asked = len(chatgpt_server.requests)
    done = run(["doctor", "--offline"], env=env)
    assert (done.returncode, "round trip" in done.stdout) == (0, False)
    assert len(chatgpt_server.requests) == asked

    options = chatgpt_server.proxy_options
    web = environment(tmp_path, OPENAI_ACCESS_TOKEN=options["access_token"])
    done = run(["doctor", "--web", "--host", options["api_reverse_proxy_url"]], env=web)
    assert (done.returncode, results(done.stdout)) == (0, ALL_WELL)
    assert options["access_token"] not in done.stdout


def test_a_key_from_the_command_line_is_said_to_be_from_there(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    """Also where the environment has another one."""
    done = run(["doctor", "--offline", "-k", KEY], env=env)
    assert f"from the command line, {len(KEY)} characters" in done.stdout


def test_every_check_is_made_whatever_fails(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path
) -> None:
    """And no secret is shown."""

    def examined(**more: str) -> tuple[str, ...]:
        done = run(["doctor"], env={**env, **more})
        assert (done.returncode, done.stderr) == (1, "")
        assert KEY not in done.stdout
        found = results(done.stdout)
        assert len(done.stdout.splitlines()) == len(found)
        assert found.keys() >= {"versions", "store", "client"}
        return tuple(name for name, is_well in found.items() if not is_well)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # nothing listens
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        assert examined(OPENAI_BASE_URL=nowhere) == ("round trip",)
    assert examined(OPENAI_API_KEY=KEY) == ("round trip",)
    assert examined(OPENAI_API_KEY="", OPENAI_BASE_URL="") == ("client",)
    damaged = tmp_path / "damaged.db"
    damaged.write_text("no database" * 1000)
    assert examined(CHATGPT_STORE=str(damaged)) == ("store",)
    assert examined(CHATGPT_STORE=str(damaged), OPENAI_API_KEY=KEY) == ("store", "round trip")


def test_a_store_with_a_message_that_cannot_be_read(env: dict[str, str], tmp_path: Path) -> None:
    with opened_store(tmp_path) as store:
        store.save([ChatMessage(id="q", text="x", conversation_id="c")])
    with closing(sqlite3.connect(store_file(tmp_path))) as connection:
        connection.execute("UPDATE messages SET record = 'CANARY'")
        connection.commit()
    done = run(["doctor", "--offline"], env=env)
    assert (done.returncode, results(done.stdout)["store"]) == (1, False), done.stdout
    assert "1 message cannot be read" in done.stdout
    assert "CANARY" not in done.stdout


def test_the_password_of_a_proxy_is_not_shown(tmp_path: Path) -> None:
    proxy = "http://ada:hunter2-canary@127.0.0.1:1"
    env = environment(tmp_path, OPENAI_API_KEY=KEY, HTTPS_PROXY=proxy)
    for words, code in ((["doctor", "--offline"], 0), (["--debug", "hi"], 5)):
        done = run(words, env=env)
        assert done.returncode == code
        assert "hunter2" not in done.stdout + done.stderr
        assert KEY not in done.stdout + done.stderr
        if "doctor" in words:
            assert re.search(
                r"route +through http://\S*127\.0\.0\.1:1 to https://api\.openai\.com/", done.stdout
            )


def test_the_checks_on_a_terminal(env: dict[str, str]) -> None:
    with on_terminal(["doctor", "--offline"], env=env) as terminal:
        screen, code = finished(terminal)
    assert (code, screen.sent.count("\x1b[32mok")) == (0, 4)
    with on_terminal(["doctor", "--offline"], env={**env, "NO_COLOR": "1"}) as terminal:
        screen, code = finished(terminal)
    assert (code, "\x1b[32m" in screen.sent) == (0, False)


# --- completion ------------------------------------------------------------------------------


def completed(words: Sequence[str], env: dict[str, str]) -> list[str]:
    """What bash offers for the last one of these words, with the script that the command prints."""
    script = (
        'eval "$("$1" completion bash)"; shift; COMP_WORDS=(chatgpt "$@"); COMP_CWORD=$#; '
        '_chatgpt_completion chatgpt; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    folder = str(Path(COMMAND).parent)
    done = in_shell(script, words, env={**env, "PATH": f"{folder}:{env['PATH']}"})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split("\n")[:-1]


def test_bash_completes(env: dict[str, str], tmp_path: Path) -> None:
    with opened_store(tmp_path) as store:
        for number, name in enumerate(("trip", "trap", None, "my trip")):
            conversation_id = f"abcd-{number}-and-more"
            store.save([ChatMessage(id=str(number), text="x", conversation_id=conversation_id)])
            store.name_conversation(conversation_id, name)
    assert completed(["s"], env) == ["search", "serve", "show"]
    assert set(completed([""], env)) == set(root.commands)
    assert "--conversation-name" in completed(["--c"], env)
    assert completed(["--conv"], env) == ["--conversation-name"]
    assert completed(["show", "--tr"], env) == ["--tree"]
    for words in (
        ["show"],
        ["rm", "trip"],
        ["export"],
        ["rename"],
        ["-n"],
        ["chat", "-n"],
        ["ask", "-n"],
    ):
        assert sorted(completed([*words, "tr"], env)) == ["trap", "trip"], words
    assert completed(["show", "ab"], env) == ["abcd-3-a", "abcd-2-a"]  # a shell would part the name
    assert completed(["completion", ""], env) == ["bash", "zsh", "fish"]
    assert completed(["export", "--format", "j"], env) == ["jsonl"]


def test_bash_completes_names_in_every_script(env: dict[str, str], tmp_path: Path) -> None:
    """No shell parts a name at a letter, whatever its script."""
    with opened_store(tmp_path) as store:
        for name in ("東京", "Zürich"):
            store.save([ChatMessage(id=name, text="x", conversation_id=name)])
            store.name_conversation(name, name)
    assert completed(["show", "東"], env) == ["東京"]
    assert completed(["show", "Z"], env) == ["Zürich"]


def test_completing_makes_and_says_nothing(tmp_path: Path) -> None:
    """Also where the store is damaged, or is not there."""
    env = environment(tmp_path)
    assert completed(["show", ""], env) == [""]
    assert not store_file(tmp_path).exists()
    store_file(tmp_path).write_text("no database")
    assert completed(["show", ""], env) == [""]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_takes_its_script(env: dict[str, str], tmp_path: Path, shell: str) -> None:
    done = run(["completion", shell], env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_CHATGPT_COMPLETE=" in done.stdout
    script = tmp_path / "script"
    script.write_text(done.stdout)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    checked = subprocess.run(
        [shell, "-n", str(script)], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
