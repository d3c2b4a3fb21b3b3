"""The conversations of a SQLite file: listed, found, named, used, deleted, imported, and where each one stands.

Strategy: what both twins offer is tried on each engine; how it is done, on the sync store, which the async twin calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve

from chatgpt import (
    MessageNotFoundError,
    SQLiteStore,
    StoredConversation,
    StoreError,
    export_messages,
    import_chatgpt_export,
    import_messages,
)
from chatgpt.testing import ChatGPTServer
from tests.engines import Engine
from tests.stepping import thread_of
from tests.stores.conversation_cases import TREE, at, exported, ids, node, place, said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conversations.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(path) as opened:
        yield opened


@pytest.fixture
def twin(engine: Engine, path: Path) -> SQLiteStore:
    """A store of each twin, with the face of the sync one."""
    return engine.adopt(cast("SQLiteStore", engine.package.SQLiteStore(path)))


# --- what both twins offer -------------------------------------------------------------------


def test_the_list(twin: SQLiteStore) -> None:
    assert twin.conversations() == []
    twin.save([said("a1", 1, conversation_id="a"), said("a2", 2, conversation_id="a")])
    twin.save([said("n1", conversation_id="n"), said("alone", 50, conversation_id=None)])
    twin.save([said("b1", 5, conversation_id="b", text=" How\n do  you do? ")])
    twin.save([said("o1", conversation_id="o", text="")])
    listed = twin.conversations()
    assert listed[0] == StoredConversation(
        id="b", name=None, title="How do you do?", message_count=1,
        last_message_id="b1", used_at=at(5),
    )  # fmt: skip
    assert ids(listed) == ["b", "a", "o", "n"]
    assert (listed[2].title, listed[2].used_at) == (None, None)
    assert twin.conversations(limit=2) == listed[:2]
    assert twin.conversations(limit=0) == []
    assert twin.conversations(limit=2**70) == listed
    with pytest.raises(ValueError, match="limit must be at least 0, not -1"):
        twin.conversations(limit=-1)
    with pytest.raises(TypeError, match="limit must be an int"):
        twin.conversations(limit="3")  # type: ignore[arg-type] # the mistake


def test_finding(twin: SQLiteStore) -> None:
    for number, name in enumerate(["abc", "abd", "ab", "b%", "b_", "é"]):
        twin.save([said(f"m{number}", number, conversation_id=name)])
    twin.name_conversation("b_", "abc")
    assert ids(twin.find_conversations("abc")) == ["b_"]  # the name comes before the id
    assert ids(twin.find_conversations("ab")) == ["ab"]
    assert ids(twin.find_conversations("a")) == ["ab", "abd", "abc"]
    assert ids(twin.find_conversations("b")) == ["b_", "b%"]
    assert ids(twin.find_conversations("%")) == []
    assert ids(twin.find_conversations("é")) == ["é"]
    for unknown in ("", " ", "A", "abcd", "\ud800", "\U0010ffff"):
        assert twin.find_conversations(unknown) == []
    (found,) = twin.find_conversations("abd")
    assert (found.last_message_id, found.message_count, found.used_at) == ("m1", 1, at(1))
    with pytest.raises(TypeError, match="An id is a str, not NoneType"):
        twin.find_conversations(None)  # type: ignore[arg-type] # the mistake


def test_the_messages_of_a_conversation(twin: SQLiteStore) -> None:
    thread = thread_of(["q", "a", "q2"])
    branch = said("b", 7, parent_message_id="m0")
    helper = said("h", is_hidden=True)
    twin.save(thread[:2])
    twin.save([said("x", conversation_id="other"), helper, branch])
    twin.save(thread)
    assert twin.conversation_messages("c") == [*thread[:2], helper, branch, thread[2]]
    assert twin.conversation_messages("nothing") == []
    assert twin.conversation_messages("") == []
    (found,) = twin.find_conversations("c")
    assert found.message_count == 4


def test_names(twin: SQLiteStore) -> None:
    twin.save([said("a1", 1, conversation_id="a"), said("b1", 2, conversation_id="b")])
    twin.name_conversation("a", "Ünder the tree 🌳")
    twin.name_conversation("a", "Ünder the tree 🌳")
    assert [each.name for each in twin.conversations()] == [None, "Ünder the tree 🌳"]
    assert place(twin, "a") == ("a1", at(1))  # naming is no use
    with pytest.raises(ValueError, match="The conversation 'a' has the name 'Ünder the tree 🌳'"):
        twin.name_conversation("b", "Ünder the tree 🌳")
    twin.name_conversation("a", "x" * 100)
    twin.name_conversation("b", "Ünder the tree 🌳")
    twin.name_conversation("b", None)
    twin.name_conversation("b", None)
    assert [each.name for each in twin.conversations()] == [None, "x" * 100]
    for bad in ("", " \t", "x" * 101, "a\nb", "\x1b[31m", "a\u2028b", "a\x85", "-rf", "\ud800"):
        with pytest.raises(ValueError, match="^name "):
            twin.name_conversation("b", bad)
        with pytest.raises(ValueError, match="^name "):
            StoredConversation.check_name(bad)
    StoredConversation.check_name("Ünder the tree 🌳")
    for name in ("free", None):
        with pytest.raises(MessageNotFoundError, match="The store has no conversation 'z'"):
            twin.name_conversation("z", name)
    with pytest.raises(TypeError, match="name must be a str, not int"):
        twin.name_conversation("a", 5)  # type: ignore[arg-type] # the mistake
    assert [each.name for each in twin.conversations()] == [None, "x" * 100]
    twin.save([said("c1", 3)])  # the connections still write


def test_using(twin: SQLiteStore) -> None:
    twin.save([said("a1", 1, conversation_id="a"), said("a2", 2, conversation_id="a")])
    twin.save([said("b1", 9, conversation_id="b")])
    before = datetime.now(UTC)
    twin.use_conversation("a", "a1")
    used, _ = twin.conversations()
    assert (used.id, used.last_message_id) == ("a", "a1")
    assert used.used_at is not None
    assert before <= used.used_at <= datetime.now(UTC)
    twin.save([said("a2", 2, conversation_id="a", token_counts={"x": 1})])
    assert place(twin, "a") == ("a1", used.used_at)
    for conversation_id, message_id in (("a", "b1"), ("a", "z"), ("z", "a1"), ("z", "z")):
        with pytest.raises(MessageNotFoundError, match=f"message '{message_id}' in a conversation"):
            twin.use_conversation(conversation_id, message_id)
    assert place(twin, "a") == ("a1", used.used_at)
    assert place(twin, "b") == ("b1", at(9))


def test_deleting(twin: SQLiteStore) -> None:
    twin.save([said("a1", 1, conversation_id="a", text="cherries"), said("b1", 2, text="plums")])
    twin.save([said("a2", 3, conversation_id="a", is_hidden=True), said("alone", text="plums")])
    twin.name_conversation("a", "fruit")
    assert twin.delete_conversation("nothing") == 0
    assert twin.delete_conversation("a") == 2
    assert twin.delete_conversation("a") == 0
    assert twin.find_conversations("fruit") == []
    assert twin.conversation_messages("a") == []
    assert twin.search("cherries") == []
    assert [message.id for message in twin.search("plums")] == ["alone", "b1"]
    with pytest.raises(MessageNotFoundError):
        twin.use_conversation("a", "a1")
    # Id and name may be used again, by others.
    twin.save([said("a1", 4, conversation_id="new", text="pears")])
    twin.name_conversation("new", "fruit")
    assert [message.id for message in twin.search("pears")] == ["a1"]
    assert twin.clear() == 3
    assert twin.clear() == 0
    assert twin.conversations() == []
    assert twin.search("plums") == twin.search("pears") == []
    twin.save([said("a1", 5, text="figs")])
    assert [message.id for message in twin.search("figs")] == ["a1"]


def test_a_client_goes_on_where_a_conversation_stands(
    engine: Engine, chatgpt_server: ChatGPTServer, twin: SQLiteStore
) -> None:
    client = engine.client(
        api_key=chatgpt_server.api_key,
        api_base_url=chatgpt_server.base_url,
        message_store=engine.package.SQLiteStore(twin.file),
    )
    first = client.send_message("What is a monad?")
    second = client.send_message("Shorter.", parent_message_id=first.id)
    other = client.send_message("Something else.")
    (newest, oldest) = twin.conversations()
    assert (newest.title, newest.last_message_id) == ("Something else.", other.id)
    assert (oldest.title, oldest.last_message_id) == ("What is a monad?", second.id)
    assert oldest.message_count == 4
    assert oldest.used_at == second.created_at
    again = client.send_message("Longer.", parent_message_id=first.id)  # counts are saved, too
    assert twin.conversations()[0] == evolve(
        oldest, last_message_id=again.id, message_count=6, used_at=again.created_at
    )


# --- titles ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
        ("word " * 40, "word " * 15 + "word…"),
        ("\n\t \r\n first\u2003line \n\n second", "first line second"),
        (" " * 5_000 + "late", "late"),
        ("\ud83d\ude00 \ud800", "😀 \ufffd"),
        ("\0nul", "\0nul"),
        ("\u3000 \n", None),
        ("é" + "🌳" * 5_000, "é" + "🌳" * 78 + "…"),
    ],
)
def test_a_title_is_how_the_first_message_begins(
    store: SQLiteStore, text: str, title: str | None
) -> None:
    store.save([said("h", is_hidden=True, text="hidden"), said("a", text=text), said("b")])
    (found,) = store.conversations()
    assert found.title == title


# --- where a conversation stands -------------------------------------------------------------


def test_it_stands_at_the_latest_message(store: SQLiteStore) -> None:
    old, tie, newest = said("old", 1), said("tie", 9), said("newest", 9)
    store.save([said("first", 9), tie, old])
    assert place(store) == ("tie", at(9))
    store.save([newest])
    assert place(store) == ("newest", at(9))
    store.save([evolve(tie, token_counts={"x": 1}), said("later but older", 8), said("none")])
    assert place(store) == ("newest", at(9))
    store.save([said("next", 10), evolve(old, token_counts={"x": 1})])
    assert place(store) == ("next", at(10))


def test_messages_without_a_time(store: SQLiteStore) -> None:
    first, second = said("first"), said("second")
    store.save([first, second])
    assert place(store) == ("second", None)
    store.save([first])
    assert place(store) == ("second", None)
    store.save([said("third")])
    assert place(store) == ("third", None)
    store.save([said("timed", -60 * 24 * 365 * 100)])  # before 1970
    assert place(store) == ("timed", at(-60 * 24 * 365 * 100))


def test_times_of_other_zones_and_of_none(store: SQLiteStore) -> None:
    naive = evolve(said("naive"), created_at=at(1).replace(tzinfo=None))
    store.save(
        [naive, evolve(said("zone"), created_at=datetime.fromisoformat("2024-05-01T14:02+02:00"))]
    )
    assert place(store) == ("zone", at(2))
    store.save([evolve(said("edge"), created_at=datetime.fromisoformat("9999-12-31T23:59-12:00"))])
    assert place(store) == ("edge", None)  # no moment of UTC that Python knows
    assert store.conversations()[0].last_message_id == "edge"


def test_hidden_messages_move_nothing(store: SQLiteStore) -> None:
    store.save([said("h1", 5, is_hidden=True), said("h2", 4, is_hidden=True)])
    assert place(store) == ("h1", None)
    assert store.conversations()[0].message_count == 0
    store.save([said("seen", 3), said("h3", 6, is_hidden=True)])
    assert place(store) == ("seen", at(6))
    store.save([said("h4", 9, is_hidden=True)])
    assert place(store) == ("seen", at(6))
    store.save([said("timeless", conversation_id="d")])
    store.save([said("h5", conversation_id="d", is_hidden=True)])
    assert place(store, "d") == ("timeless", None)


def test_what_cannot_be_saved_leaves_no_conversation(store: SQLiteStore) -> None:
    store.save([said("a", 1)])
    with pytest.raises(StoreError):
        store.save([said("new", 2, conversation_id="d"), said("a", 7)])
    assert ids(store.conversations()) == ["c"]
    assert place(store) == ("a", at(1))


def test_ids_that_are_no_valid_unicode(store: SQLiteStore) -> None:
    lost, replaced = "\ud800", "\ufffd"
    store.save([said("l", 2, conversation_id=lost), said("r", 1, conversation_id=replaced)])
    assert ids(store.conversations()) == [lost, replaced]
    store.name_conversation(lost, "lost")
    assert ids(store.find_conversations("lost")) == ids(store.find_conversations(lost)) == [lost]
    store.use_conversation(lost, "l")
    assert [message.id for message in store.conversation_messages(lost)] == ["l"]
    assert store.delete_conversation(lost) == 1
    assert ids(store.conversations()) == [replaced]


# --- imports ---------------------------------------------------------------------------------


def test_an_import_stands_at_its_current_node(store: SQLiteStore, tmp_path: Path) -> None:
    file = exported(tmp_path, *TREE, current_node="chosen")
    import_chatgpt_export(file, store)
    (found,) = store.conversations()
    assert found == StoredConversation(
        id="c", name=None, title="Of trees", message_count=3,
        last_message_id="chosen", used_at=at(4),
    )  # fmt: skip
    import_chatgpt_export(file, store)
    assert store.conversations() == [found]
    store.save([said("on", 6, parent_message_id="chosen"), said("answer", 7)])
    import_chatgpt_export(file, store)
    assert place(store) == ("answer", at(7))
    newer = exported(tmp_path, *TREE, node("new", "q", 9), current_node="new", title="New")
    import_chatgpt_export(newer, store)
    assert place(store) == ("new", at(9))
    assert store.conversations()[0].title == "New"


@pytest.mark.parametrize(
    ("fields", "last"),
    [
        ({"current_node": "tool"}, "tool"),
        ({"current_node": "not there"}, "given up"),
        ({"current_node": None}, "given up"),
        ({"current_node": 5, "title": 5, "update_time": "x"}, "given up"),
        ({"current_node": "chosen", "title": " ", "update_time": None}, "chosen"),
        ({"current_node": "chosen", "update_time": 1e300}, "chosen"),
    ],
)
def test_imports_that_say_other_things(
    store: SQLiteStore, tmp_path: Path, fields: dict[str, Any], last: str
) -> None:
    import_chatgpt_export(exported(tmp_path, *TREE, **fields), store)
    (found,) = store.conversations()
    assert found.last_message_id == last
    assert found.title == ("This is q." if "title" in fields else "Of trees")


def test_a_head_that_tells_a_time_beyond_all_times(store: SQLiteStore) -> None:
    detail: dict[str, object] = {"current_node": "a", "update_time": 10**400}
    store.save([said("c", text="", is_hidden=True, detail=detail), said("a", 1), said("b", 2)])
    assert place(store) == ("a", at(2))


def test_an_import_whose_ids_are_taken(store: SQLiteStore, tmp_path: Path) -> None:
    taken = [said(name, 0, conversation_id="other") for name in ("c", "chosen")]
    store.save(taken)
    import_chatgpt_export(exported(tmp_path, *TREE, current_node="chosen"), store)
    (found,) = store.find_conversations("c")
    assert (found.last_message_id, found.title) == ("c/chosen", "Of trees")


def test_an_archive_stands_where_it_was_gone_on_with(store: SQLiteStore, tmp_path: Path) -> None:
    import_chatgpt_export(exported(tmp_path, *TREE, current_node="chosen"), store)
    store.save([said("on", 6, parent_message_id="chosen")])
    archive = tmp_path / "all.jsonl"
    export_messages(store, archive)
    with SQLiteStore(tmp_path / "copy.db") as copy:
        import_messages(archive, copy)
        assert copy.conversations() == store.conversations()
        assert place(copy) == ("on", at(6))
