"""`examples/conversation.py`: it streams, branches, and goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatgpt import SQLiteStore
from chatgpt.testing import ChatGPTServer, Fault
from tests.cli.processes import environment
from tests.examples.programs import run

SCRIPT = "conversation.py"


def test_the_second_run_goes_on(tmp_path: Path, chatgpt_server: ChatGPTServer) -> None:
    env = environment(tmp_path, chatgpt_server)

    first = run(SCRIPT, folder=tmp_path, env=env, stdin="Name a river.\nName another one.\n")
    second = run(SCRIPT, folder=tmp_path, env=env, stdin="Which is larger?\n")

    assert (first.returncode, first.stderr) == (0, "")
    assert "# 4 messages so far; it began with: Name a river." in second.stdout
    assert "That is message 3 of our conversation; it began with: Name a river." in second.stdout
    assert [request.json["stream"] for request in chatgpt_server.requests] == [True] * 3


def test_it_makes_branches_and_goes_on_from_the_last_one(
    tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.replies = ["Red.", "Blue.", "The Elbe.", "Lake Constance.", "Because."]
    env = environment(tmp_path, chatgpt_server)

    lines = ["A colour?", "/again", "A river?", "/edit A lake?", "/undo"]
    first = run(SCRIPT, folder=tmp_path, env=env, stdin="\n".join(lines))
    run(SCRIPT, folder=tmp_path, env=env, stdin="Why?\n")

    assert "# back to before: A lake?" in first.stdout
    tree = first.stdout.partition("with all its branches")[2]
    assert all(said in tree for said in ("A colour?", "Red.", "Blue.", "A river?", "A lake?"))
    with SQLiteStore(tmp_path / "conversations.db") as store:
        (found,) = store.find_conversations("example")
        messages = {message.text: message for message in store.conversation_messages(found.id)}
    assert messages["Red."].parent_message_id == messages["Blue."].parent_message_id
    assert messages["A river?"].parent_message_id == messages["Blue."].id
    assert messages["A lake?"].parent_message_id == messages["Blue."].id
    assert messages["Why?"].parent_message_id == messages["Blue."].id


def test_another_beginning_is_a_branch_of_the_same_conversation(
    tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    env = environment(tmp_path, chatgpt_server)

    run(SCRIPT, folder=tmp_path, env=env, stdin="Name a river.\n")
    second = run(SCRIPT, folder=tmp_path, env=env, stdin="/undo\nName a lake.\n")

    assert (second.returncode, second.stderr) == (0, "")
    tree = second.stdout.partition("with all its branches")[2]
    assert all(said in tree for said in ("Name a river.", "Name a lake."))
    with SQLiteStore(tmp_path / "conversations.db") as store:
        (found,) = store.find_conversations("example")
        assert found.message_count == 4


def test_a_failure_is_said_and_the_conversation_goes_on(
    tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.inject(Fault(status=400))

    done = run(
        SCRIPT,
        folder=tmp_path,
        env=environment(tmp_path, chatgpt_server),
        stdin="/again\nFails.\n/agian\nSucceeds.\n",
    )

    assert done.returncode == 0
    assert "# ValueError: There is no reply yet" in done.stderr
    assert "# BadRequestError: " in done.stderr
    assert "# ValueError: There is no /agian, only /again, /edit and /undo." in done.stderr
    assert "You said: Succeeds. That is the first message" in done.stdout


@pytest.mark.parametrize(
    ("options", "key", "says"),
    [
        ([], None, "ConfigurationError: api_key is missing"),
        (["--file", "no/folder.db"], "sk-test", "StoreError: There is no folder"),
        (["--name", "-"], "sk-test", "ValueError: "),
    ],
    ids=["key", "folder", "name"],
)
def test_what_ends_it_is_said_in_a_line(
    options: list[str], key: str | None, says: str, tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    server = chatgpt_server if key else None
    env = environment(tmp_path, server, OPENAI_API_KEY=key)

    done = run(SCRIPT, *options, folder=tmp_path, env=env, stdin="Hello!\n")

    assert done.returncode == 1
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1
