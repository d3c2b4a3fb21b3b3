"""`chatgpt list`, `show`, `search`, `rename`, `rm`, `ls-cache` and `rm-cache`, between pipes and on a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from chatgpt import ChatGPTAPI, ChatMessage, SQLiteStore
from chatgpt.testing import ChatGPTServer
from tests.cli.processes import environment, on_terminal, opened_store, run, store_file
from tests.cli.screens import Screen, finished, read_until

LONG: Final = (
    "A question that is much longer than a line of a terminal of eighty columns can ever show"
)
BEGUN: Final = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path)


def save(
    store: SQLiteStore, conversation_id: str, *texts: str, name: str | None = None, day: int = 0
) -> None:
    """Keep a conversation whose messages are said by turns, a second after each other."""
    messages: list[ChatMessage] = []
    for number, text in enumerate(texts):
        messages.append(
            ChatMessage(
                id=f"{conversation_id}/{number}",
                text=text,
                role="assistant" if number % 2 else "user",
                parent_message_id=messages[-1].id if messages else None,
                conversation_id=conversation_id,
                created_at=BEGUN + timedelta(days=day, seconds=number),
            )
        )
    store.save(messages)
    if name is not None:
        store.name_conversation(conversation_id, name)


@pytest.fixture
def three(tmp_path: Path) -> None:
    """Three conversations; the one begun last is not the one last used."""
    with opened_store(tmp_path) as store:
        save(
            store, "aaaa-1111-x", "Where\tto\nin May?", "**Paris**, the *city*.", name="trip", day=2
        )
        save(store, "aaaa-2222-y", LONG, "No.", "Why?", "So.", day=1)
        save(store, "bbbb-3333-z", "Grüße 東京", "Hello 👋", name="Grüße 東京")


def seen(
    arguments: Sequence[str], env: dict[str, str], dimensions: tuple[int, int] = (24, 80)
) -> Screen:
    """What a person sees of a command that succeeds."""
    with on_terminal(arguments, env=env, dimensions=dimensions) as terminal:
        screen, code = finished(terminal, dimensions)
    assert code == 0, screen.text
    assert max(map(len, screen.lines), default=0) <= dimensions[1]
    return screen


def ids(folder: Path) -> list[str]:
    with opened_store(folder) as store:
        return sorted(each.id for each in store.conversations())


# --- list ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("three")
def test_a_list_between_pipes(env: dict[str, str]) -> None:
    done = run(["list"], env=env)
    assert done.stderr == ""
    assert [line.split("\t") for line in done.stdout.splitlines()] == [
        ["aaaa-111", "2026-01-04T03:04:06+00:00", "2", "trip", "Where to in May?"],
        ["aaaa-222", "2026-01-03T03:04:08+00:00", "4", "", f"{LONG[:79].rstrip()}…"],
        ["bbbb-333", "2026-01-02T03:04:06+00:00", "2", "Grüße 東京", "Grüße 東京"],
    ]
    assert run(["list", "--limit", "1"], env=env).stdout == done.stdout.splitlines(True)[0]
    rows = [json.loads(line) for line in run(["list", "--json"], env=env).stdout.splitlines()]
    assert [row["id"] for row in rows] == ["aaaa-1111-x", "aaaa-2222-y", "bbbb-3333-z"]
    assert rows[0] == {
        "id": "aaaa-1111-x",
        "name": "trip",
        "title": "Where to in May?",
        "message_count": 2,
        "last_message_id": "aaaa-1111-x/1",
        "used_at": "2026-01-04T03:04:06.678000+00:00",
    }


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("dimensions", [(24, 80), (24, 50)])
def test_a_list_on_a_terminal(env: dict[str, str], dimensions: tuple[int, int]) -> None:
    """A line for each; what is too long is cut, but never what says which conversation it is."""
    head, *rows = seen(["list"], env, dimensions).lines
    assert head.split()[:4] == ["id", "used", "messages", "name"]
    assert [row.split()[0] for row in rows] == ["aaaa-111", "aaaa-222", "bbbb-333"]
    assert all(re.search(r" \d+ (d|y) ago ", row) for row in rows)
    assert " trip " in rows[0]
    assert "…" in rows[1]
    assert "Grüße 東京" in rows[2]


def test_lists_of_nothing(env: dict[str, str], tmp_path: Path) -> None:
    for words in (["list"], ["list", "--json"], ["search", "x"]):
        done = run(words, env=env)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "there is no conversation yet" in seen(["list"], env).text
    assert "no message says that" in seen(["search", "x"], env).text


def test_a_list_has_twenty_unless_more_are_asked_for(env: dict[str, str], tmp_path: Path) -> None:
    with opened_store(tmp_path) as store:
        for number in range(30):
            save(store, f"c{number:02}", f"q{number}", day=number)
    listed = run(["list"], env=env).stdout.splitlines()
    assert [line.split("\t")[0] for line in listed] == [f"c{n:02}" for n in range(29, 9, -1)]
    assert len(run(["list", "--all"], env=env).stdout.splitlines()) == 30
    assert len(run(["list", "--limit", "25", "--json"], env=env).stdout.splitlines()) == 25


# --- show ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("three")
def test_a_conversation_is_shown(env: dict[str, str]) -> None:
    """The one last used, or the one of a name, or of the beginning of an id."""
    trip = "user:\nWhere\tto\nin May?\n\nassistant:\n**Paris**, the *city*.\n"
    for words in ([], ["trip"], ["aaaa-1"], ["aaaa-1111-x"], ["--raw"]):
        done = run(["show", *words], env=env)
        assert (done.returncode, done.stdout, done.stderr) == (0, trip, "")
    assert run(["show", "Grüße 東京"], env=env).stdout.endswith("assistant:\nHello 👋\n")
    rows = [
        json.loads(line) for line in run(["show", "trip", "--json"], env=env).stdout.splitlines()
    ]
    assert [(row["role"], row["text"]) for row in rows] == [
        ("user", "Where\tto\nin May?"),
        ("assistant", "**Paris**, the *city*."),
    ]
    assert rows[1]["parent_message_id"] == rows[0]["id"] == "aaaa-1111-x/0"

    assert [line for line in seen(["show"], env).lines if line] == [
        "user",
        "Where   to in May?",
        "assistant",
        "Paris, the city.",
    ]
    assert "**Paris**, the *city*." in seen(["show", "--raw"], env).lines

    done = run(["show", "aaaa"], env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'aaaa' is the beginning of 2 ids: aaaa-111, aaaa-222. Give more of it." in done.stderr


@pytest.fixture
def branches(tmp_path: Path, chatgpt_server: ChatGPTServer) -> None:
    """A conversation with two branches at its beginning, and two at its end."""
    chatgpt_server.replies = lambda request: f"To {request.messages[-1]['content']}"
    with (
        opened_store(tmp_path) as store,
        ChatGPTAPI(
            api_key=chatgpt_server.api_key,
            api_base_url=chatgpt_server.base_url,
            message_store=store,
        ) as client,
    ):
        chat = client.conversation()
        first = chat.send("first")
        chat.send("second")
        chat.regenerate()
        other = client.send_message(
            "another way", parent_message_id=first.id, conversation_id=chat.conversation_id
        )
        assert other.conversation_id is not None
        store.name_conversation(other.conversation_id, "wide")
        store.use_conversation(other.conversation_id, other.id)


@pytest.mark.usefixtures("branches")
def test_a_tree_has_all_branches(env: dict[str, str]) -> None:
    """Of the line that is shown, only one is there."""
    shown = run(["show", "wide"], env=env).stdout
    assert re.findall("^(?:to )?(.+)$", shown, re.MULTILINE | re.IGNORECASE)[1::2] == [
        "first", "first", "another way", "another way"
    ]  # fmt: skip
    done = run(["show", "--tree", "wide"], env=env)
    lines = [
        re.sub(r"(?:chatcmpl-\S*|\b[0-9a-f]{8,}) ", "", line) for line in done.stdout.splitlines()
    ]
    assert lines == [
        "wide  first",
        "user: first",
        "assistant: To first",
        "├─ user: second",
        "│  ├─ assistant: To second",
        "│  assistant: To second",
        "user: another way",
        "* assistant: To another way",
    ]
    on_screen = [line.rstrip() for line in seen(["show", "--tree"], env).lines]
    assert len(on_screen) == len(lines)
    assert [line[:8] for line in on_screen] == [line[:8] for line in done.stdout.splitlines()]


@pytest.mark.usefixtures("branches")
def test_each_id_of_a_tree_means_one_message(env: dict[str, str], tmp_path: Path) -> None:
    """A shown id is the beginning of one id alone."""
    shown = re.findall(r"(\S+) (?:user|assistant): ", run(["show", "--tree"], env=env).stdout)
    with opened_store(tmp_path) as store:
        all_ids = [message.id for message in store.all_messages()]
    assert len(shown) == len(all_ids) == 7
    for each in shown:
        assert sum(identifier.startswith(each) for identifier in all_ids) == 1


def test_a_tree_says_where_it_stands_however_long_the_message_is(
    env: dict[str, str], tmp_path: Path
) -> None:
    with opened_store(tmp_path) as store:
        save(store, "c", "short", LONG, name="mine")
    head, first, last = seen(["show", "--tree"], env).lines
    assert head.startswith("mine")
    assert first.startswith("c/0 user: short")
    assert last.startswith("* c/1 assistant: A question ")
    assert last.endswith("…")


def test_a_deep_conversation_is_shown(env: dict[str, str], tmp_path: Path) -> None:
    """Each message with one reply: the tree does not wander off to the right."""
    with opened_store(tmp_path) as store:
        save(store, "deep", *(f"text {number}" for number in range(2000)))
    lines = run(["show", "--tree"], env=env).stdout.splitlines()
    assert len(lines) == 2001
    assert max(map(len, lines)) < 60
    assert run(["show"], env=env).stdout.count("text ") == 2000


# --- search ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("three")
def test_messages_are_found(env: dict[str, str]) -> None:
    done = run(["search", "PARIS"], env=env)
    row = "aaaa-111\t2026-01-04T03:04:06+00:00\tassistant\t**Paris**, the *city*.\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, row, "")
    assert run(["search", "may", "WHERE"], env=env).stdout.endswith("\tuser\tWhere to in May?\n")
    assert run(["search", "paris", "may"], env=env).stdout == ""
    (found,) = run(["search", "東京", "--json"], env=env).stdout.splitlines()
    assert json.loads(found)["conversation_id"] == "bbbb-3333-z"
    for odd in ('a"b', "AND", "a*b(", "-x -y", "NEAR(a)", "text:a"):
        done = run(["search", "--", odd], env=env)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), odd
    for nothing in ('"', " "):
        done = run(["search", "--", nothing], env=env)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), nothing


@pytest.mark.usefixtures("three")
def test_what_is_found_on_a_terminal(env: dict[str, str]) -> None:
    """The id is one that `show` takes, and the moment is there, however long the text is."""
    head, *rows = seen(["search", "question"], env).lines
    assert head.split() == ["id", "said", "who", "what"]
    assert len(rows) == 1
    assert re.match(r"aaaa-222 +\d+ (?:d|y) ago +user +A question ", rows[0])


# --- rename, rm, rm-cache --------------------------------------------------------------------


@pytest.mark.usefixtures("three")
def test_names(env: dict[str, str], tmp_path: Path) -> None:
    for words in (["trip", "May"], ["aaaa-2", "other"], ["May", "May"], ["Grüße 東京", ""]):
        done = run(["rename", *words], env=env)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with opened_store(tmp_path) as store:
        assert [each.name for each in store.conversations()] == ["May", "other", None]
    for name in ("other", " ", "a\nb", "x" * 101):
        done = run(["rename", "May", name], env=env)
        assert (done.returncode, done.stdout) == (2, ""), name
        assert done.stderr.count("\n") == 1
    assert run(["show", "trip"], env=env).returncode == 9


@pytest.mark.usefixtures("three")
def test_several_are_deleted_or_none(env: dict[str, str], tmp_path: Path) -> None:
    everything = ids(tmp_path)
    for words, code in ((["trip", "nix"], 9), (["trip", "aaaa"], 2), (["trip", ""], 9)):
        done = run(["rm", "-y", *words], env=env)
        assert (done.returncode, done.stdout, ids(tmp_path)) == (code, "", everything)
    done = run(["rm", "-y", "trip", "aaaa-1", "bbbb"], env=env)  # one of them by two ways
    assert (done.returncode, done.stdout, done.stderr) == (
        0, "", "chatgpt: 2 conversations deleted\n"
    )  # fmt: skip
    assert ids(tmp_path) == ["aaaa-2222-y"]
    assert run(["search", "paris"], env=env).stdout == ""


@pytest.mark.usefixtures("three")
def test_what_is_deleted_is_in_no_file(env: dict[str, str], tmp_path: Path) -> None:
    def held(word: str) -> bool:
        files = store_file(tmp_path).parent.glob(f"{store_file(tmp_path).name}*")
        return any(word.encode() in file.read_bytes() for file in files)

    assert held("Paris")
    assert run(["rm", "-y", "trip"], env=env).returncode == 0
    assert (held("Paris"), held("paris"), held("terminal of eighty")) == (False, False, True)
    assert run(["rm-cache", "--yes"], env=env).returncode == 0
    assert (held("terminal of eighty"), held("東京"), ids(tmp_path)) == (False, False, [])


@pytest.mark.usefixtures("three")
def test_a_person_is_asked_before_anything_is_deleted(env: dict[str, str], tmp_path: Path) -> None:
    everything = ids(tmp_path)
    for words, question in (
        (["rm", "trip", "aaaa-2"], "Delete trip"),
        (["rm-cache"], "Delete 3 conversations"),
    ):
        for answer in ("n", "", "N"):
            with on_terminal(words, env=env) as terminal:
                asked = read_until(terminal, r"\[y/N\]: ")
                assert question in Screen(asked).text
                terminal.sendline(answer)
                _, code = finished(terminal)
            assert (code, ids(tmp_path)) == (1, everything), answer
    with on_terminal(["rm", "trip"], env=env) as terminal:
        read_until(terminal, r"\[y/N\]: ")
        terminal.sendline("y")
        _, code = finished(terminal)
    assert (code, ids(tmp_path)) == (0, everything[1:])
    assert seen(["rm", "-y", "bbbb"], env).text == "chatgpt: 1 conversation deleted"
    for words in (["rm", "aaaa"], ["rm-cache"]):  # where there is nobody to ask
        for said in (None, "n\n", "y\n"):
            done = run(words, env=env, stdin=said)
            assert (done.returncode, done.stderr.count("\n"), len(ids(tmp_path))) == (2, 1, 1)
    assert seen(["rm-cache", "--yes"], env).text == "chatgpt: 1 conversation deleted"
    assert ids(tmp_path) == []


@pytest.mark.usefixtures("three")
def test_a_question_can_be_interrupted(env: dict[str, str], tmp_path: Path) -> None:
    everything = ids(tmp_path)
    with on_terminal(["rm", "trip"], env=env) as terminal:
        read_until(terminal, r"\[y/N\]: ")
        terminal.sendintr()
        screen, code = finished(terminal)
    assert (code, ids(tmp_path)) == (130, everything)
    assert "chatgpt: " not in screen.text


def test_where_nothing_is_kept_nothing_is_made(env: dict[str, str], tmp_path: Path) -> None:
    assert run(["ls-cache"], env=env).stdout == f"{store_file(tmp_path)}\n"
    assert run(["rm-cache", "--yes"], env=env).returncode == 0
    assert not store_file(tmp_path).exists()
