"""The `/commands` of a chat; most of them in a script, whose lines are piped in."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from chatgpt import ChatMessage
from chatgpt.cli.chat_commands import COMMANDS
from chatgpt.testing import Answer, ChatGPTServer, Fault
from tests.cli.processes import environment, exit_code, on_terminal, opened_store, plain, run, start

PROMPT: Final = "\x1b[?2004h> "


@pytest.fixture
def env(tmp_path: Path, chatgpt_server: ChatGPTServer) -> dict[str, str]:
    return environment(tmp_path, chatgpt_server)


def follow(
    *lines: str, env: dict[str, str], options: Sequence[str] = (), code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Let a chat follow a script, which ends with an exit code."""
    done = run(["chat", *options], env=env, stdin="\n".join(lines))
    assert done.returncode == code, done.stderr
    return done


def asked(server: ChatGPTServer, number: int = -1) -> list[object]:
    """What was said in a request, without its instructions."""
    said = server.requests[number].messages
    return [message["content"] for message in said if message["role"] != "system"]


def instructions(server: ChatGPTServer, number: int) -> list[object]:
    said = server.requests[number].messages
    return [message["content"] for message in said if message["role"] == "system"]


def messages(folder: Path) -> list[ChatMessage]:
    """All messages of the one conversation of the store."""
    with opened_store(folder) as store:
        (conversation,) = store.conversations()
        return store.conversation_messages(conversation.id)


def texts(found: Sequence[ChatMessage]) -> list[str]:
    return [message.text for message in found]


def numbered(count: int) -> list[Answer]:
    return [Answer(text=f"answer {number}", id=f"id-{number}") for number in range(1, count + 1)]


# --- scripts ---------------------------------------------------------------------------------


def test_a_script(env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = ["# One", "Two\n", "Three"]
    given = '\ufefffirst\r\n\n\nsecond\\\nline\n"""\nthird\n\n/help\n'
    done = run(["chat"], env=env, stdin=given)
    assert (done.returncode, done.stdout, done.stderr) == (0, "# One\nTwo\nThree\n", "")
    assert asked(chatgpt_server)[::2] == ["first", "second\nline", "third\n\n/help"]
    assert not list((tmp_path).rglob("*history*"))


def test_an_answer_is_there_before_the_next_line(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    with start(["chat", "--no-store"], env=env) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text in ("one", "two"):
            chatgpt_server.replies = [f"answer to {text}"]
            process.stdin.write(f"{text}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"answer to {text}\n"
        process.stdin.close()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("refused", 3, "chatgpt: "),
        ("/nothing at all", 2, "There is no command /nothing: /help"),
        ("/", 2, "There is no command /: /help"),
        ("/undo it", 2, "/undo takes no argument."),
        ("/undo", 2, "There is no question to take back."),
        ("/regenerate", 2, "There is no reply yet"),
        ("/edit other", 2, "There is no question before this."),
        ("/branch", 2, "Nothing has been said yet."),
        ("/save all.md", 2, "Nothing has been said yet."),
        ("/save", 2, "Nothing has been said yet."),
    ],
)
def test_a_script_ends_with_its_first_error(
    env: dict[str, str], chatgpt_server: ChatGPTServer, line: str, code: int, words: str
) -> None:
    chatgpt_server.inject(Fault(status=401))
    done = follow(line, "never sent", env=env, code=code)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert len(chatgpt_server.requests) == (line == "refused")


def test_nobody_reads_any_more(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    with start(["chat", "--no-store"], env=env) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write("hi\n")
        process.stdin.flush()
        assert process.stderr.read() == ""
    assert process.returncode == 141


# --- the tree --------------------------------------------------------------------------------


def test_regenerate_edit_and_undo(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.replies = numbered(5)
    done = follow("first", "/regenerate", "/edit better", "second", "/undo", "third", env=env)
    assert done.stdout == "".join(f"answer {number}\n" for number in range(1, 6))
    assert done.stderr.startswith("chatgpt: taken back: ")
    assert done.stderr.endswith(" user: second\n")
    requests = [asked(chatgpt_server, number) for number in range(5)]
    assert requests == [
        ["first"],
        ["first"],
        ["better"],
        ["better", "answer 3", "second"],
        ["better", "answer 3", "third"],
    ]
    assert len(messages(tmp_path)) == 9


def test_undo_is_noted_for_the_next_command(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.replies = numbered(3)
    follow("first", "second", "/undo", env=env)
    assert run(["-c", "other"], env=env).stdout == "answer 3\n"
    assert asked(chatgpt_server) == ["first", "answer 1", "other"]


def test_undo_to_the_beginning_begins_another_branch_of_the_conversation(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.replies = numbered(2)
    done = follow("first", "/undo", "/tokens", "/branch", "/undo", env=env, code=2)
    assert "last answer" not in done.stdout
    assert "next prompt: " in done.stdout
    assert "* " not in done.stdout
    assert "a later -c goes on from where the chat was" in done.stderr
    done = follow("/undo", "anew", "/branch", env=env, options=["-c"])
    assert asked(chatgpt_server) == ["anew"]
    assert [
        message.text for message in messages(tmp_path) if message.parent_message_id is None
    ] == [
        "first",
        "anew",
    ]
    assert done.stdout.splitlines()[-1].endswith("* id-2 assistant: answer 2")


@pytest.mark.parametrize("options", [[], ["--no-store"]])
def test_branch(
    env: dict[str, str],
    tmp_path: Path,
    chatgpt_server: ChatGPTServer,
    options: list[str],
) -> None:
    chatgpt_server.replies = numbered(3)
    done = follow("first", "second", "/branch id-1", "third", "/branch", env=env, options=options)
    assert asked(chatgpt_server) == ["first", "answer 1", "third"]
    assert done.stderr == "chatgpt: goes on from id-1 assistant: answer 1\n"
    shown = done.stdout.splitlines()[4:]
    assert [line.split(": ")[-1] for line in shown if line] == [
        "first",
        "answer 1",
        "second",
        "answer 2",
        "third",
        "answer 3",
    ]
    assert [line for line in shown if "* " in line] == [shown[-1]]


def test_a_branch_is_noted_for_the_next_command(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.replies = numbered(3)
    follow("first", "second", "/branch id-1", env=env)
    done = follow("/branch nothing", env=env, options=["-c"], code=2)
    assert "No message here has an id that begins with 'nothing'." in done.stderr
    done = follow("/branch id-", env=env, options=["-c"], code=2)
    assert "'id-' is the beginning of 2 ids" in done.stderr
    follow("third", env=env, options=["-c"])
    assert asked(chatgpt_server) == ["first", "answer 1", "third"]


def test_an_id_that_others_begin_with(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = [Answer(text="a", id="id-1"), Answer(text="b", id="id-11")]
    done = follow("first", "second", "/branch id-1", env=env)
    assert "goes on from id-1 assistant: a" in done.stderr


# --- how it is answered ----------------------------------------------------------------------


def test_system_and_model(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = numbered(4)
    lines = ["/system", "/model", "one", "/system Be terse.\\", "Be kind.", "/system", "two"]
    lines += ["/model gpt-4o", "/model", "/system ''", "/system", "three", "/model  "]
    done = follow(*lines, env=env, options=["-p", "temperature=0.5"])
    assert done.stdout.startswith("You are ChatGPT, ")
    assert done.stdout.endswith(
        "\ngpt-5.4-mini\nanswer 1\nBe terse.\nBe kind.\nanswer 2\ngpt-4o\nThere are no instructions.\n"
        "answer 3\ngpt-4o\n"
    )
    assert instructions(chatgpt_server, 1) == ["Be terse.\nBe kind."]
    assert instructions(chatgpt_server, 2) == []
    assert [request.json["model"] for request in chatgpt_server.requests] == [
        "gpt-5.4-mini",
        "gpt-5.4-mini",
        "gpt-4o",
    ]
    assert chatgpt_server.requests[2].json["temperature"] == 0.5
    assert asked(chatgpt_server)[::2] == ["one", "two", "three"]


def test_tokens(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = ["one two three", Answer(text="none", has_usage=False)]
    done = follow("hi", "/tokens", "more", "/tokens", env=env)
    usage, upcoming, without = (done.stdout.splitlines()[line] for line in (1, 2, 4))
    prompt = chatgpt_server.requests[0].messages
    words = sum(len(str(message["content"]).split()) for message in prompt)
    assert usage == f"last answer: 3 tokens; its prompt: {words}"
    assert upcoming.startswith("next prompt: ")
    assert upcoming.endswith(" of 272000 and its text")
    assert without == "last answer: the server told no figures"
    assert len(chatgpt_server.requests) == 2


# --- saving, help, leaving -------------------------------------------------------------------


def test_save(env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer) -> None:
    follow("another conversation", env=env)
    files = [tmp_path / "a b.md", tmp_path / "b.HTML", tmp_path / "c.jsonl"]
    saving = [f"/save {file}" for file in files]
    done = follow("/save later", "Grüße", "/save", *saving, "/save now", "/save", env=env)
    _, kept, kept_now = done.stdout.splitlines()
    assert kept == f"later in {env['CHATGPT_STORE']}"
    assert kept_now == f"now in {env['CHATGPT_STORE']}"
    assert done.stderr.splitlines() == [
        "chatgpt: named later",
        *(f"chatgpt: 2 messages exported to {file}" for file in files),
        "chatgpt: named now",
    ]
    for file in files:
        content = file.read_text()
        assert "Grüße" in content
        assert "another conversation" not in content
    done = follow("hi", "/save now", env=env, code=2)
    assert "has the name 'now'" in done.stderr
    done = follow("hi", f"/save {tmp_path}/chat.txt", env=env, code=2)
    assert ".md, .markdown, .html" in done.stderr
    done = follow("/save -v", env=env, code=2)
    assert "must not begin with '-'" in done.stderr
    done = follow("hi", f"/save {tmp_path}/nowhere/a.md", env=env, code=1)
    assert done.stderr.count("\n") == 1


def test_save_without_a_store(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    done = follow("hi", f"/save {tmp_path / 'a.jsonl'}", env=env, options=["--no-store"])
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 2
    for line in ("/save", "/save name"):
        done = follow(line, env=env, options=["--no-store"], code=2)
        assert "With --no-store nothing is kept" in done.stderr
    assert not Path(env["CHATGPT_STORE"]).exists()


def test_help_and_exit(env: dict[str, str], chatgpt_server: ChatGPTServer) -> None:
    done = follow("/help", "/exit", "never sent", env=env)
    for name in COMMANDS:
        assert done.stdout.count(f"\n{name} ") + done.stdout.startswith(f"{name} ") == 1
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert follow("/quit", "never sent", env=env).stdout == ""
    assert chatgpt_server.requests == []


def test_the_web_flow(tmp_path: Path, chatgpt_server: ChatGPTServer) -> None:
    options = chatgpt_server.proxy_options
    env = environment(tmp_path, OPENAI_ACCESS_TOKEN=str(options["access_token"]))
    web = ["--web", "--host", options["api_reverse_proxy_url"]]
    file = tmp_path / "web.jsonl"
    done = follow("one", "two", f"/save {file}", "/save web", "/help", env=env, options=web)
    assert "message 2 of our conversation" in done.stdout or "You said: two" in done.stdout
    assert len(file.read_text().splitlines()) == 4
    for name, command in COMMANDS.items():
        assert (f"\n{name} " in done.stdout) is not command.is_official
        if command.is_official:
            refused = follow(name, env=env, options=[*web, "-n", "web"], code=2)
            assert (
                refused.stderr == f"chatgpt: {name} is for the official flow: --web cannot do it.\n"
            )
    follow("three", env=env, options=[*web, "-n", "web"])
    assert len(messages(tmp_path)) == 6


# --- the editor ------------------------------------------------------------------------------


def test_edit_in_an_editor(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    editor = tmp_path / "editor"
    editor.write_text(
        '#!/bin/sh\ncat "$1" > "$HOME/seen"\nif [ -e "$HOME/new" ]; then cp "$HOME/new" "$1"; fi\n'
    )
    editor.chmod(0o700)
    with on_terminal(["chat"], env={**env, "VISUAL": str(editor)}) as terminal:
        terminal.expect_exact(PROMPT)
        for line in ("What is this?", "/edit"):
            terminal.send(f"{line}\r")
            terminal.expect_exact(PROMPT)
        assert "nothing is changed, so nothing is sent" in plain(terminal.before)
        assert (tmp_path / "seen").read_text() == "What is this?\n"
        assert len(chatgpt_server.requests) == 1
        (tmp_path / "new").write_text("What is\nthat?\n")
        terminal.send("/edit\r")
        terminal.expect_exact(PROMPT)
        assert asked(chatgpt_server) == ["What is\nthat?"]
        terminal.send("/exit\r")
        assert exit_code(terminal) == 0
    done = follow("/edit", env=env, options=["-c"], code=2)
    assert "/edit needs a text where nobody types." in done.stderr
