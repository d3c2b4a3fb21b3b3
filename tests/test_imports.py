"""ChatGPT's own data export, from a file to a store."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import chatgpt.export_files
import chatgpt.import_reports
import chatgpt.imports
from chatgpt import (
    ChatGPTAPI,
    ChatMessage,
    ConfigurationError,
    MemoryStore,
    MessageIdTakenError,
    MessageStore,
    StoreError,
)
from chatgpt.core.web.exports import ExportedConversation
from chatgpt.import_reports import ImportProblem
from chatgpt.imports import import_chatgpt_export, read_chatgpt_export
from chatgpt.testing import ChatGPTServer

pytest.importorskip("ijson")

Nodes = dict[str, dict[str, Any]]


def said(key: str, parent: str | None, text: str, role: str = "user", **fields: Any) -> Nodes:
    content = {"content_type": "text", "parts": [text]}
    message = {"id": key, "author": {"role": role}, "content": content, **fields}
    return {key: {"id": key, "parent": parent, "children": [], "message": message}}


def conversation(
    name: str, prefix: str | None = None, text: str = "Good morning, Zoë 👋"
) -> dict[str, Any]:
    prefix = name if prefix is None else prefix
    question, tool, answer = (f"{prefix}-{number}" for number in range(3))
    mapping: Nodes = {
        f"{prefix}-root": {"id": f"{prefix}-root", "parent": None, "message": None},
        **said(question, f"{prefix}-root", text, create_time=7.25),
        **said(tool, question, "search", "assistant", recipient="web"),
        **said(answer, tool, f"An answer of {name}", "assistant"),
        **said(f"{prefix}-other", question, "Abandoned", "assistant"),
    }
    return {"id": name, "title": f"Talk {name}", "mapping": mapping, "current_node": answer}


def written(path: Path, value: object) -> Path:
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return path


def zipped(path: Path, files: dict[str, object], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, value in files.items():
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            archive.writestr(name, data)
    return path


def read(path: Path, **options: Any) -> tuple[list[str], list[tuple[str, str]]]:
    items = list(read_chatgpt_export(path, **options))
    ids = [item.id for item in items if isinstance(item, ExportedConversation)]
    return ids, [(i.where, i.reason) for i in items if isinstance(i, ImportProblem)]


FOUR = [conversation(name) for name in ("a", "b", "c", "d")]


# --- what is read ----------------------------------------------------------------------------


def test_a_file(tmp_path: Path) -> None:
    for name in ("conversations.json", "of any name.txt"):
        store = MemoryStore()
        report = import_chatgpt_export(str(written(tmp_path / name, FOUR[:2])), store)
        first = report.conversations[0]
        assert (first.id, first.title, first.current_node) == ("a", "Talk a", "a-2")
        assert [c.message_count for c in report.conversations] == [5, 5]
        assert (report.message_count, report.problems) == (10, ())
        assert len(store) == 10
        assert [m.id for m in store.path("a-2")] == ["a-2", "a-1", "a-0", "a"]
        question = store.get("a-0")
        assert question is not None
        assert question.text == "Good morning, Zoë 👋"
        assert question.detail == FOUR[0]["mapping"]["a-0"]["message"]


def test_an_object_that_holds_the_list(tmp_path: Path) -> None:
    value = {
        "user": {"conversations": [1]}, "x": [[]], "n": 5, "conversations": FOUR, "more": [{}]
    }  # fmt: skip
    assert read(written(tmp_path / "e.json", value)) == (["a", "b", "c", "d"], [])


def test_with_a_mark_and_white_space(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf \n" + json.dumps(FOUR, ensure_ascii=False, indent=1).encode() + b"\n"
    assert read(written(tmp_path / "e.json", data)) == (["a", "b", "c", "d"], [])


SPLIT: dict[str, object] = {
    "conversations-010.json": FOUR[2:3],
    "conversations-9.json": FOUR[1:2],
    "conversations-000.json": FOUR[:1],
    "conversations-1000.json": FOUR[3:],
}
OTHERS: dict[str, object] = {
    "user.json": {"id": "u"},
    "shared_conversations.json": [{"id": "s"}],
    "conversations-x.json": [{}],
    "conversations.json.bak": [{}],
    "__MACOSX/._conversations-000.json": b"\0\1",
    "chat.html": b"<html>",
}


def test_split_files_in_a_folder(tmp_path: Path) -> None:
    for name, value in (SPLIT | OTHERS).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        written(tmp_path / name, value)
    (tmp_path / "conversations.json").mkdir()
    assert read(tmp_path) == (["a", "b", "c", "d"], [])


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_zip(tmp_path: Path, method: int) -> None:
    path = zipped(tmp_path / "export.zip", SPLIT | OTHERS, method)
    assert read(path) == (["a", "b", "c", "d"], [])
    nested = zipped(tmp_path / "any name", {f"../../x/{n}": v for n, v in SPLIT.items()}, method)
    assert read(nested) == (["a", "b", "c", "d"], [])
    assert {child.name for child in tmp_path.iterdir()} == {"export.zip", "any name"}


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_chatgpt_export(tmp_path / "nowhere.zip")
    for path in (tmp_path, zipped(tmp_path / "e.zip", OTHERS), zipped(tmp_path / "f.zip", {})):
        with pytest.raises(ValueError, match=r"holds no conversations: no conversations\.json, or"):
            import_chatgpt_export(path, MemoryStore())


def test_the_arguments(tmp_path: Path) -> None:
    path = written(tmp_path / "e.json", FOUR)
    with pytest.raises(TypeError, match="max_conversation_bytes must be an int"):
        read_chatgpt_export(path, max_conversation_bytes=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        read_chatgpt_export(path, max_conversation_bytes=0)
    with pytest.raises(TypeError, match="message_store must be a MessageStore"):
        import_chatgpt_export(path, object())  # type: ignore[arg-type]


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chatgpt.imports, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'chatgpt-sdk\[import\]'"):
        read_chatgpt_export(written(tmp_path / "e.json", FOUR))


# --- what cannot be read ---------------------------------------------------------------------


def test_elements_that_are_no_conversations(tmp_path: Path) -> None:
    broken = [FOUR[0], 5, None, "secret", [FOUR[1]], {}, {"mapping": "secret"}, FOUR[1]]
    ids, problems = read(written(tmp_path / "e.json", broken))
    assert ids == ["a", "b"]
    assert [where for where, _ in problems] == [f"e.json, conversation {n}" for n in range(2, 8)]
    assert {reason for _, reason in problems[:4]} == {"it is no object"}
    assert "secret" not in repr(problems)


def test_problems_of_a_conversation_are_in_the_report(tmp_path: Path) -> None:
    value = {**conversation("a"), "current_node": "gone"}
    report = import_chatgpt_export(written(tmp_path / "e.json", [value]), MemoryStore())
    reason = "the current node is not there: the newest leaf takes its place"
    assert report.problems == (ImportProblem("conversation 'a'", reason),)
    assert len(report.conversations) == 1


def test_problems_without_number_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatgpt.import_reports, "MAX_PROBLEMS", 3)
    report = import_chatgpt_export(written(tmp_path / "e.json", [1] * 5 + FOUR), MemoryStore())
    assert [problem.reason for problem in report.problems][2:] == [
        "it is no object",
        "2 more problems are not listed",
    ]
    assert len(report.conversations) == 4


# --- the store -------------------------------------------------------------------------------


def test_importing_again_doubles_nothing(tmp_path: Path) -> None:
    store = MemoryStore()
    path = written(tmp_path / "e.json", FOUR)
    first = import_chatgpt_export(path, store)
    messages = list(store.all_messages())
    assert import_chatgpt_export(path, store) == first
    assert list(store.all_messages()) == messages


def test_equal_ids_in_two_conversations(tmp_path: Path) -> None:
    """Also where only a part of the ids is taken, and where the conversation has grown."""
    partly = conversation("c")
    partly["mapping"] |= said("same-0", "c-2", "in the middle") | said("c-3", "same-0", "end")
    partly["current_node"] = "c-3"
    head = conversation("same-1")
    values = [conversation("a", "same"), conversation("b", "same"), partly, head]
    store = MemoryStore()
    path = written(tmp_path / "e.json", values)
    first = import_chatgpt_export(path, store)
    assert first.problems == ()
    assert [c.current_node for c in first.conversations] == [
        "same-2", "b/same-2", "c/c-3", "same-1/same-1-2"
    ]  # fmt: skip
    assert store.path("b/same-2")[0].text == "An answer of b"
    assert [m.id for m in store.path("c/c-3")] == [
        "c/c-3", "c/same-0", "c-2", "c-1", "c-0", "c"
    ]  # fmt: skip
    assert len(store) == first.message_count
    messages = list(store.all_messages())
    assert import_chatgpt_export(path, store) == first
    assert list(store.all_messages()) == messages
    partly["mapping"] |= said("c-4", "c-3", "more")
    partly["current_node"] = "c-4"
    grown = import_chatgpt_export(written(path, values), store)
    assert grown.conversations[2].current_node == "c/c-4"
    assert len(store) == len(messages) + 1


def test_a_conversation_that_comes_twice(tmp_path: Path) -> None:
    """Split files may hold two states of one; the older one adds what it has, and changes nothing."""
    new = {**conversation("a"), "title": "New", "update_time": 9.5}
    old = {**conversation("a"), "title": "Old", "update_time": 9, "current_node": "a-x"}
    new["mapping"] |= said("a-3", "a-2", "only in the new one")
    old["mapping"] |= said("a-x", "a-0", "only in the old one")
    new["current_node"] = "a-3"
    for values in ([old, FOUR[1], new], [new, FOUR[1], old], [old, new, FOUR[1], old]):
        files = {f"conversations-{n}.json": [value] for n, value in enumerate(values)}
        path = zipped(tmp_path / "e.zip", {**files})
        store = MemoryStore()
        for _ in range(2):
            report = import_chatgpt_export(path, store)
            assert report.problems == ()
            listed = {
                c.id: (c.title, c.current_node, c.message_count) for c in report.conversations
            }
            assert listed == {"a": ("New", "a-3", 7), "b": ("Talk b", "b-2", 5)}
            assert len(report.conversations) == 2
            assert len(store) == report.message_count == 12
            head = store.get("a")
            assert head is not None
            assert head.detail is not None
            assert head.detail["title"] == "New"
    untold = {**old, "update_time": None}
    report = import_chatgpt_export(written(tmp_path / "e.json", [new, untold]), MemoryStore())
    assert [(c.title, c.message_count) for c in report.conversations] == [("Old", 7)]


def test_one_that_comes_twice_under_other_ids(tmp_path: Path) -> None:
    new, old = (conversation("a") | {"update_time": time} for time in (2, 1))
    store = MemoryStore()
    store.save([ChatMessage(id="a", text="another one", role="user")])
    for _ in range(2):
        report = import_chatgpt_export(written(tmp_path / "e.json", [new, old, old]), store)
        assert [(c.current_node, c.message_count) for c in report.conversations] == [("a/a-2", 5)]
        assert len(store) == 6
        assert [m.id for m in store.path("a/a-2")][-1] == "a/a"


def test_an_export_with_another_time_has_the_same_conversation(tmp_path: Path) -> None:
    store = MemoryStore()
    for time in (1.5, 1.25, None):
        value = conversation("a") | {"create_time": time}
        report = import_chatgpt_export(written(tmp_path / "e.json", [value]), store)
        assert report.conversations[0].current_node == "a-2"
    assert len(store) == 5


class Full(MessageStore):
    """A store under whose ids there are always others, or none, or that fails."""

    def __init__(self, failure: Callable[[Sequence[ChatMessage]], Exception]) -> None:
        self.failure = failure
        self.count = 0

    def get(self, message_id: str) -> ChatMessage | None:
        return None

    def save(self, messages: Sequence[ChatMessage]) -> None:
        self.count += 1
        raise self.failure(messages)


def test_a_store_that_takes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "e.json", FOUR[:2])
    full = Full(lambda messages: MessageIdTakenError.of([messages[0].id]))
    report = import_chatgpt_export(path, full)
    assert report.conversations == ()
    assert [problem.where for problem in report.problems] == [
        "conversation 'a'",
        "conversation 'b'",
    ]
    broken = Full(lambda _: StoreError("the disk is full"))
    with pytest.raises(StoreError, match="the disk is full"):
        import_chatgpt_export(path, broken)
    assert broken.count == 1


def test_a_conversation_is_saved_in_one_write(tmp_path: Path) -> None:
    class Counting(MemoryStore):
        writes: list[list[str]] = []  # noqa: RUF012

        def save(self, messages: Sequence[ChatMessage]) -> None:
            self.writes.append(sorted({str(message.conversation_id) for message in messages}))
            super().save(messages)

    store = Counting()
    import_chatgpt_export(written(tmp_path / "e.json", FOUR), store)
    assert store.writes == [["a"], ["b"], ["c"], ["d"]]


def test_an_imported_conversation_goes_on(tmp_path: Path, chatgpt_server: ChatGPTServer) -> None:
    store = MemoryStore()
    path = zipped(tmp_path / "export.zip", {"conversations.json": FOUR})
    imported = import_chatgpt_export(path, store).conversations[1]
    with ChatGPTAPI(
        api_key=chatgpt_server.api_key, api_base_url=chatgpt_server.base_url, message_store=store
    ) as client:
        reply = client.send_message("go on", parent_message_id=imported.current_node)
        assert [(m["role"], m["content"]) for m in chatgpt_server.requests[0].messages[1:]] == [
            ("user", "Good morning, Zoë 👋"),
            ("assistant", "An answer of b"),
            ("user", "go on"),
        ]
        assert reply.conversation_id == imported.id
        branch = client.send_message("go on", parent_message_id="b-other")
        assert [m["content"] for m in chatgpt_server.requests[1].messages[1:]] == [
            "Good morning, Zoë 👋",
            "Abandoned",
            "go on",
        ]
        assert branch.conversation_id == imported.id


# --- memory ----------------------------------------------------------------------------------

MEASURE = """
import sys
from chatgpt import MemoryStore
from chatgpt.imports import import_chatgpt_export
report = import_chatgpt_export(sys.argv[1], MemoryStore(capacity=1000))
size = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(len(report.conversations), len(report.problems), size)
"""
"""`ru_maxrss` were that of the process that starts this one, if it is larger."""


def measured(path: Path) -> tuple[int, int, float]:
    """Conversations, problems, and the memory of a process that imports them, in MB."""
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux tells")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    conversations, problems, size = map(int, done.stdout.split())
    return conversations, problems, size / 1024


@pytest.mark.parametrize("kind", ["json", "zip"])
def test_a_large_export_takes_little_memory(tmp_path: Path, kind: str) -> None:
    text = 'Some words, and "quotes" of Zoë 👋. ' * 60
    one = json.dumps(conversation("name", text=text)).replace("name", "%(name)s")
    count = 60_000_000 // len(one)
    path = tmp_path / "conversations.json"
    with path.open("w") as file:
        file.write("[")
        for number in range(count):
            file.write(("," if number else "") + one % {"name": f"n{number}"})
        file.write("]")
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "e.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z:
            z.write(path, path.name)
        path = tmp_path / "e.zip"
    conversations, problems, size = measured(path)
    assert (conversations, problems) == (count, 0)
    assert size < 100
