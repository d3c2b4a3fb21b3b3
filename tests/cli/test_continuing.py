"""Conversations that go on from one process to the next, and commands that use one store at once."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from subprocess import DEVNULL
from threading import Barrier, Event

import pytest

from chatgpt import ChatMessage
from chatgpt.testing import ChatGPTServer, RecordedRequest
from tests.cli.processes import LIMIT, environment, opened_store, run, start, store_file


@pytest.fixture
def env(tmp_path: Path, chatgpt_server: ChatGPTServer) -> dict[str, str]:
    return environment(tmp_path, chatgpt_server)


def said(server: ChatGPTServer) -> Sequence[object]:
    """What the user said, as the last request has it."""
    return [each["content"] for each in server.requests[-1].messages if each["role"] == "user"]


def stored(folder: Path) -> dict[str | None, list[str]]:
    """The texts of each conversation by its name, oldest first."""
    with opened_store(folder) as store:
        return {
            each.name: [message.text for message in store.conversation_messages(each.id)]
            for each in store.conversations()
        }


def is_healthy(folder: Path) -> bool:
    with closing(sqlite3.connect(store_file(folder))) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# --- which conversation goes on --------------------------------------------------------------


def test_the_one_last_used_goes_on(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path
) -> None:
    """Not the one begun last; and one that was only looked at was not used."""
    for words in (["-n", "a", "a1"], ["-n", "b", "b1"], ["c1"], ["-n", "a", "a2"]):
        assert run(words, env=env).returncode == 0
    assert said(chatgpt_server) == ["a1", "a2"]
    for words in (["show", "b"], ["list"], ["search", "b1"], ["export", "b"], ["rename", "b", "B"]):
        assert run(words, env=env).returncode == 0
    assert run(["-c", "a3"], env=env).returncode == 0
    assert said(chatgpt_server) == ["a1", "a2", "a3"]
    assert run(["--continue", "--conversation-name", "B", "b2"], env=env).returncode == 0
    assert said(chatgpt_server) == ["b1", "b2"]
    assert run(["-c", "b3"], env=env).returncode == 0
    assert said(chatgpt_server) == ["b1", "b2", "b3"]
    assert run(["new"], env=env).returncode == 0
    assert said(chatgpt_server) == ["new"]
    kept = stored(tmp_path)
    assert {name: texts[::2] for name, texts in kept.items() if name} == {
        "a": ["a1", "a2", "a3"],
        "B": ["b1", "b2", "b3"],
    }


def test_a_conversation_by_the_beginning_of_its_id(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path
) -> None:
    with opened_store(tmp_path) as store:
        store.save(
            [
                ChatMessage(id=f"m{number}", text=f"q{number}", conversation_id=conversation_id)
                for number, conversation_id in enumerate(("abc-1", "abc-2", "abd-3"))
            ]
        )
    assert run(["-c", "-n", "abd", "more"], env=env).returncode == 0
    assert said(chatgpt_server) == ["q2", "more"]

    done = run(["-c", "-n", "abc", "more"], env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'abc' is the beginning of 2 ids: abc-2, abc-1. Give more of it." in done.stderr

    # Without -c a name begins a conversation, whatever ids there are.
    assert run(["-n", "abc", "first"], env=env).returncode == 0
    assert said(chatgpt_server) == ["first"]
    assert run(["-c", "-n", "abc", "second"], env=env).returncode == 0
    assert said(chatgpt_server) == ["first", "second"]


def test_a_conversation_that_is_not_there(
    env: dict[str, str], chatgpt_server: ChatGPTServer
) -> None:
    for words in (["-c", "hi"], ["-c", "-n", "nix", "hi"]):
        done = run(words, env=env)
        assert (done.returncode, done.stdout) == (9, "")
        assert done.stderr.startswith("chatgpt: There is no conversation ")
        assert done.stderr.count("\n") == 1
    assert chatgpt_server.requests == []


def test_a_name_that_cannot_be_one_is_refused_before_the_question_is_sent(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path
) -> None:
    for name in ("", " ", "a\nb", "x" * 101):
        done = run(["-n", name, "hi"], env=env)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), name
    assert chatgpt_server.requests == []
    assert stored(tmp_path) == {}


def test_without_a_store(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    assert run(["--no-store", "hi"], env=env).returncode == 0
    for words in (["-c"], ["-n", "a"]):
        done = run(["--no-store", *words, "hi"], env=env)
        assert (done.returncode, done.stdout) == (2, "")
        assert "--no-store keeps nothing" in done.stderr
    assert len(chatgpt_server.requests) == 1
    assert sorted(tmp_path.iterdir()) == before

    assert run(["hi"], env=env).returncode == 0
    kept = store_file(tmp_path).read_bytes()
    assert run(["--no-store", "hi"], env=env).returncode == 0
    assert store_file(tmp_path).read_bytes() == kept


def test_where_the_store_is(chatgpt_server: ChatGPTServer, tmp_path: Path) -> None:
    """In a folder that is its owner's alone, under the platform's data directory, or where a variable says."""
    home = tmp_path / "home"
    home.mkdir()
    platform = environment(home, chatgpt_server, CHATGPT_STORE=None, XDG_DATA_HOME=None)
    file = Path(run(["ls-cache"], env=platform).stdout.rstrip("\n"))
    assert file.is_relative_to(home)
    assert not file.parent.exists()  # asking does not make it
    assert run(["hi"], env=platform).returncode == 0
    for path, mode in ((file, 0o600), (file.parent, 0o700)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    given = {**platform, "CHATGPT_STORE": "~/mine/of my own.db"}
    assert run(["hi"], env=given).returncode == 0
    assert run(["ls-cache"], env=given).stdout == f"{home}/mine/of my own.db\n"
    assert (home / "mine" / "of my own.db").exists()


# --- at once ---------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["new"], ["-c", "go on"]])
def test_commands_at_once(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path, words: list[str]
) -> None:
    """Eight questions are under way before the first one is answered; every answer is printed and kept."""
    count = 8
    assert run(["begin"], env=env).returncode == 0
    all_asked = Barrier(count)

    def respond(request: RecordedRequest) -> str:
        all_asked.wait(LIMIT)
        return f"An answer to {request.messages[-1]['content']}"

    chatgpt_server.replies = respond
    processes = [start([*words, str(number)], env=env, stdin=DEVNULL) for number in range(count)]
    for number, process in enumerate(processes):
        printed, complaints = process.communicate(timeout=LIMIT)
        prompt = " ".join([*words[-1:], str(number)])
        assert (printed, complaints) == (f"An answer to {prompt}\n", "")
        assert process.returncode == 0
    with opened_store(tmp_path) as store:
        conversations = store.conversations()
        kept = [m.text for each in conversations for m in store.conversation_messages(each.id)]
    assert len(conversations) == (1 if "-c" in words else 1 + count)
    for number in range(count):
        prompt = f"{words[-1]} {number}"
        assert kept.count(prompt) == kept.count(f"An answer to {prompt}") == 1
    assert is_healthy(tmp_path)


def test_an_id_is_not_taken_for_a_new_name(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path
) -> None:
    """As `list` shows it; a shorter beginning may be a name."""
    assert run(["hello"], env=env).returncode == 0
    with opened_store(tmp_path) as store:
        (known,) = store.conversations()
    for words in (["-n", known.id[:8], "again"], ["rename", known.id, known.id[:12]]):
        done = run(words, env=env)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "is the beginning of an id" in done.stderr
    assert run(["-n", known.id[:4], "another"], env=env).returncode == 0
    assert run(["-c", "-n", known.id[:8], "again"], env=env).returncode == 0
    assert [len(request.messages) for request in chatgpt_server.requests] == [2, 2, 4]


def test_two_that_begin_one_name_at_once(
    env: dict[str, str], chatgpt_server: ChatGPTServer, tmp_path: Path
) -> None:
    """One of them has the name; the other's answer is kept, too, and a line says so."""
    is_named = Event()
    both_asked = Barrier(2)

    def respond(request: RecordedRequest) -> str:
        both_asked.wait(LIMIT)
        if request.messages[-1]["content"] == "second":
            is_named.wait(LIMIT)
        return "Yes."

    chatgpt_server.replies = respond
    with start(["-n", "ours", "first"], env=env, stdin=DEVNULL) as first:
        with start(["-n", "ours", "second"], env=env, stdin=DEVNULL) as second:
            assert first.communicate(timeout=LIMIT) == ("Yes.\n", "")
            is_named.set()
            printed, complaint = second.communicate(timeout=LIMIT)
    assert (first.returncode, second.returncode, printed) == (0, 0, "Yes.\n")
    assert complaint.startswith("chatgpt: the conversation ")
    assert complaint.count("\n") == 1
    assert stored(tmp_path) == {"ours": ["first", "Yes."], None: ["second", "Yes."]}
