"""`chatgpt export` and `chatgpt import`: conversations into files, and back."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Final

import pytest

from chatgpt import ChatMessage
from chatgpt.testing import ChatGPTServer
from tests.cli.processes import environment, on_terminal, opened_store, run, store_file
from tests.cli.screens import finished

TEXT: Final = "Grüße aus **東京** 👋\n\n```python\nprint(1)\n```"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The store has two conversations; of the one last used, a branch is left."""
    with opened_store(tmp_path) as store:
        store.save([ChatMessage(id="o", text="other", conversation_id="other-1")])
        store.save(
            [
                ChatMessage(id="q", text=TEXT, conversation_id="talk-2"),
                *(
                    ChatMessage(
                        id=f"a{number}", text=f"answer {number}", role="assistant",
                        parent_message_id="q", conversation_id="talk-2",
                    )
                    for number in range(2)
                ),
            ]
        )  # fmt: skip
        store.name_conversation("talk-2", "talk")
        store.use_conversation("talk-2", "a0")
    return environment(tmp_path)


def another(tmp_path: Path, env: dict[str, str]) -> dict[str, str]:
    """The same with an empty store."""
    return {**env, "CHATGPT_STORE": str(tmp_path / "another.db")}


# --- export ----------------------------------------------------------------------------------


def test_a_conversation_goes_to_standard_output(env: dict[str, str]) -> None:
    """As Markdown, with all its branches, unless another format is given."""
    done = run(["export"], env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# Grüße aus ")
    for text in (TEXT, "answer 0", "answer 1"):
        assert done.stdout.count(text) == 1
    assert "other" not in done.stdout
    assert run(["export", "talk", "-f", "-"], env=env).stdout == done.stdout
    lines = run(["export", "talk", "--format", "jsonl"], env=env).stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["q", "a0", "a1"]
    page = run(["export", "--format", "html"], env=env).stdout
    assert page.startswith("<!DOCTYPE html>")
    assert "<p>answer 0</p>" in page
    assert '"other"' in run(["export", "other-1", "--format", "jsonl"], env=env).stdout


def test_a_conversation_goes_into_a_file(env: dict[str, str], tmp_path: Path) -> None:
    """Its name says the format, unless that is given; a file that is there is replaced."""
    for name, options, beginning in (
        ("a.md", [], "# Grüße"),
        ("a.html", [], "<!DOCTYPE html>"),
        ("a.jsonl", [], '{"'),
        ("a.txt", ["--format", "markdown"], "# Grüße"),
        ("a.md", ["--format", "jsonl"], '{"'),
    ):
        done = run(["export", "-f", name, *options], env=env, folder=tmp_path)
        assert (done.returncode, done.stdout) == (0, ""), name
        assert done.stderr == f"chatgpt: 3 messages exported to {name}\n"
        assert (tmp_path / name).read_text().startswith(beginning)
    for words, code in (
        (["-f", "a.txt"], 2),  # which format is that?
        (["-f", "nowhere/a.md"], 1),
        (["-f", "."], 2),
    ):
        done = run(["export", *words], env=env, folder=tmp_path)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), words
    assert (tmp_path / "a.txt").read_text().startswith("# Grüße")


def test_everything_comes_back_byte_for_byte(env: dict[str, str], tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    assert run(["export", "--all", "-f", str(first)], env=env).returncode == 0
    assert len(first.read_bytes().splitlines()) == 4
    assert first.read_text() == run(["export", "--all", "--format", "jsonl"], env=env).stdout
    there = another(tmp_path, env)
    for _ in range(2):  # importing again doubles nothing
        done = run(["import", str(first)], env=there)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == "chatgpt: 4 messages imported, 0 problems\n"
        assert run(["export", "--all", "-f", str(second)], env=there).returncode == 0
        assert second.read_bytes() == first.read_bytes()
    lines = first.read_bytes()
    third = {**env, "CHATGPT_STORE": str(tmp_path / "third.db")}
    assert run(["import", "-"], env=third, stdin=lines).returncode == 0
    assert run(["export", "--all", "--format", "jsonl"], env=third).stdout == lines.decode()
    done = run(["show", "talk-2"], env=there)
    assert done.stdout.startswith(f"user:\n{TEXT}\n\nassistant:\nanswer ")


def test_nothing_to_export(env: dict[str, str], tmp_path: Path) -> None:
    empty = another(tmp_path, env)
    assert run(["export"], env=empty).returncode == 9
    done = run(["export", "--all", "--format", "jsonl"], env=empty)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (9, "", 1)
    assert not Path(empty["CHATGPT_STORE"]).exists()


# --- import ----------------------------------------------------------------------------------


def exported() -> list[object]:
    """The `conversations.json` of ChatGPT's own export: one conversation, and something that is none."""

    def node(key: str, parent: str | None, role: str, text: str) -> dict[str, object]:
        content = {"content_type": "text", "parts": [text]}
        message = {"id": key, "author": {"role": role}, "content": content, "create_time": 7.25}
        return {"id": key, "parent": parent, "children": [], "message": message}

    mapping = {
        "root": {"id": "root", "parent": None, "message": None},
        "m0": node("m0", "root", "user", "Good morning, Zoë 👋"),
        "m1": node("m1", "m0", "assistant", "Good morning!"),
        "m2": node("m2", "m0", "assistant", "Hello!"),
    }
    talk = {"id": "talk-9", "title": "A greeting", "mapping": mapping, "current_node": "m1"}
    return [talk, 5]


def test_an_export_of_chatgpt(env: dict[str, str], tmp_path: Path) -> None:
    """The zip, the folder, or the file in it; what cannot be imported is told, and the rest is."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    file = folder / "conversations.json"
    file.write_text(json.dumps(exported()))
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(file, file.name)
    for number, path in enumerate((file, folder, archive)):
        there = {**env, "CHATGPT_STORE": str(tmp_path / f"{number}.db")}
        done = run(["import", str(path)], env=there)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr.splitlines() == [
            "chatgpt: conversations.json, conversation 2: it is no object",
            "chatgpt: 4 messages of 1 conversation imported, 1 problem",
        ]
        assert run(["list"], env=there).stdout.split("\t")[4] == "A greeting\n"
        assert run(["show"], env=there).stdout.endswith("assistant:\nGood morning!\n")
        assert "Hello!" in run(["show", "--tree", "talk-9"], env=there).stdout


def test_an_imported_conversation_goes_on(
    env: dict[str, str], tmp_path: Path, chatgpt_server: ChatGPTServer
) -> None:
    """Where its reader was, without the other branch."""
    (tmp_path / "conversations.json").write_text(json.dumps(exported()))
    given = {**env, **environment(tmp_path, chatgpt_server)}
    assert run(["import", "conversations.json"], env=given, folder=tmp_path).returncode == 0
    done = run(["-c", "-n", "talk-9", "And now?"], env=given)
    assert (done.returncode, done.stderr) == (0, "")
    assert [each["content"] for each in chatgpt_server.requests[0].messages[1:]] == [
        "Good morning, Zoë 👋",
        "Good morning!",
        "And now?",
    ]


def test_files_that_cannot_be_imported(env: dict[str, str], tmp_path: Path) -> None:
    """One line says why; what was kept before is as it was."""
    before = run(["export", "--all", "--format", "jsonl"], env=env).stdout
    for name, content in (
        ("other.jsonl", b"This is no JSON.\n"),
        ("empty.json", b""),
        ("broken.zip", b"PK\3\4 and no more"),
        ("picture.png", b"\x89PNG\r\n\x1a\n\0\0"),
    ):
        (tmp_path / name).write_bytes(content)
        done = run(["import", name], env=env, folder=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), name
        assert done.stderr.count("\n") == 1, name
        assert run(["export", "--all", "--format", "jsonl"], env=env).stdout == before


def test_what_can_be_read_of_a_broken_file_is_imported(env: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "cut.jsonl"
    file.write_text(run(["export", "--all", "--format", "jsonl"], env=env).stdout[:-20])
    done = run(["import", str(file)], env=another(tmp_path, env))
    first, last = done.stderr.splitlines()
    assert done.returncode == 0
    assert first.startswith("chatgpt: line 4: this is not JSON")
    assert last == "chatgpt: 3 messages imported, 1 problem"


def test_a_file_of_which_nothing_can_be_imported_is_an_error(
    env: dict[str, str], tmp_path: Path
) -> None:
    """A script must not go on as if it had its conversations."""
    for name, content in (("a.jsonl", b'{"id": "x"}\n{broken\n'), ("a.json", b'[{"id": ')):
        (tmp_path / name).write_bytes(content)
        done = run(["import", name], env=env, folder=tmp_path)
        assert "0 messages imported" in done.stderr
        assert done.returncode == 1


# --- progress --------------------------------------------------------------------------------


def test_progress_is_for_a_terminal_alone(env: dict[str, str], tmp_path: Path) -> None:
    """It is on standard error, also where standard output is a pipe; and it is gone in the end."""
    file = tmp_path / "all.jsonl"
    with on_terminal(
        ["export", "--all", "-f", str(file)], env=env, dimensions=(24, 200)
    ) as terminal:
        screen, code = finished(terminal, (24, 200))
    assert (code, screen.is_cursor_shown) == (0, True)
    assert "exporting" in screen.sent
    assert screen.lines == [f"chatgpt: 4 messages exported to {file}"]

    there = another(tmp_path, env)
    with on_terminal(["import", str(file)], env=there) as terminal:
        screen, code = finished(terminal)
    assert (code, screen.is_cursor_shown) == (0, True)
    assert "importing" in screen.sent
    assert screen.lines == ["chatgpt: 4 messages imported, 0 problems"]

    piped = tmp_path / "piped.jsonl"
    words = ["export", "--all", "--format", "jsonl"]
    with on_terminal(words, env=env, piped_to=piped) as terminal:
        screen, code = finished(terminal)
    assert (code, screen.lines, "exporting" in screen.sent) == (0, [], True)
    assert piped.read_bytes() == file.read_bytes()

    # What goes to the terminal itself is not mixed with a bar.
    with on_terminal(["export", "other-1"], env=env) as terminal:
        screen, code = finished(terminal)
    assert code == 0
    assert screen.lines[0] == "# other"
    assert screen.lines[-1] == "other"
    done = run(["import", str(file)], env=there)
    assert "importing" not in done.stderr + done.stdout
    assert store_file(tmp_path).exists()
