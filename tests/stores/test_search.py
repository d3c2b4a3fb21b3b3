"""Searching in a SQLite file: words of any language, and nothing that is typed is an operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatgpt import ChatMessage, SQLiteStore
from chatgpt.stores.search_words import MOST_WORDS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(tmp_path / "s.db") as opened:
        yield opened


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("monad", {"monads", "is"}),
        ("MONAD", {"monads", "is"}),
        ("monads", {"monads"}),
        ("monad burrito", {"is"}),
        ('"a burrito"', {"is"}),
        ('"burrito a"', set()),
        ("uber", {"umlaut"}),
        ("世界", {"chinese"}),
        ("你好 世界", {"chinese"}),
        ("界世", set()),
        ("สวัสดี", {"thai"}),
        ("++", {"c"}),
        ("C++", {"c"}),
        ("c++,", {"c"}),
        ("C#", {"sharp"}),
        ("foo_bar", {"snake"}),
        ("foo bar", {"snake", "spaced"}),
        ("a/b", set()),
        ("don't", {"apostrophe"}),
        ("sure.", {"percent"}),
        ("100%", {"percent"}),
        ("_", {"snake"}),
        ('C++ OR "', {"c"}),
        ("a* AND NOT (NEAR", set()),
        ("x'); DROP TABLE messages; --", set()),
        ("\0monad\0", {"monads", "is"}),
        ("\ud800", set()),
        ("tool", set()),
    ],
)
def test_search(store: SQLiteStore, query: str, found: set[str]) -> None:
    said = {
        "monads": "Monads, explained.",
        "is": "A monad is a burrito.",
        "umlaut": "Über allen Gipfeln",
        "chinese": "你好, 世界!",
        "thai": "ผมพูดว่าสวัสดีครับ",
        "c": "I prefer C++ or C.",
        "percent": "100% sure",
        "sharp": "Rather C# than that.",
        "snake": "call foo_bar()",
        "spaced": "foo and bar",
        "apostrophe": "Don't worry",
    }
    store.save([ChatMessage(id=key, text=text) for key, text in said.items()])
    store.save([ChatMessage(id="hidden", text="monad tool 世界", is_hidden=True)])
    assert {message.id for message in store.search(query)} == found
    assert len(list(store.all_messages())) == len(said) + 1


def test_what_was_changed_is_found_as_it_is_now(store: SQLiteStore) -> None:
    message = ChatMessage(id="a", text="the password is swordfish")
    store.save([message])
    assert store.search("swordfish") == [message]
    store.save([evolve(message, text="the password is ***")])
    assert store.search("swordfish") == []
    assert [m.id for m in store.search("password")] == ["a"]
    store.save([evolve(message, text="the password is ***", is_hidden=True)])
    assert store.search("password") == []
    store.save([evolve(message, text="shown again")])
    assert [m.id for m in store.search("shown")] == ["a"]
    (connection,) = store._connections._idle
    connection.execute(
        "INSERT INTO messages_text (messages_text, rank) VALUES ('integrity-check', 0)"
    )


def test_where_and_how_much_is_searched(store: SQLiteStore) -> None:
    store.save(
        [
            ChatMessage(id=f"{place}{number}", text="the same 世界", conversation_id=place)
            for number in range(3)
            for place in "ab"
        ]
    )
    assert len(store.search("same")) == 6
    assert len(store.search("same", limit=4)) == 4
    assert [m.id for m in store.search("世界", limit=2)] == ["b2", "a2"]
    assert {m.id for m in store.search("same", conversation_id="a")} == {"a0", "a1", "a2"}
    for query in ("", " ", '"', '""'):
        with pytest.raises(ValueError, match="no word to look for"):
            store.search(query)
    with pytest.raises(TypeError, match="A query is a text, not bytes"):
        store.search(b"x")  # type: ignore[arg-type] # the mistake
    with pytest.raises(ValueError, match="limit must be at least 0, not -1"):
        store.search("x", limit=-1)
    with pytest.raises(TypeError, match="limit must be an int, not str"):
        store.search("x", limit="5")  # type: ignore[arg-type] # the mistake
    with pytest.raises(TypeError, match="conversation_id must be a str, not int"):
        store.search("x", conversation_id=5)  # type: ignore[arg-type] # the mistake


def test_the_best_ones_come_first(store: SQLiteStore) -> None:
    """The older one says little else."""
    store.save([ChatMessage(id="short", text="A monad.")])
    store.save([ChatMessage(id="long", text="word " * 500 + "monad")])
    assert [message.id for message in store.search("monad")] == ["short", "long"]
    assert [message.id for message in store.search("monad", limit=1)] == ["short"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("你 " * 1_500, ["a"]),
        ("* " * 5_000, ["a"]),
        ("w " * 5_000, ["a"]),
        ("你" * 60_000, []),
        ('"' * 9_999 + "x", []),
    ],
    ids=lambda value: str(value)[:5],
)
def test_whatever_is_pasted_is_looked_for(store: SQLiteStore, query: str, found: list[str]) -> None:
    store.save([ChatMessage(id="a", text="w word 你 *")])
    assert [message.id for message in store.search(query)] == found


def test_only_so_many_words_count(store: SQLiteStore) -> None:
    words = [f"w{number}" for number in range(MOST_WORDS + 10)]
    store.save([ChatMessage(id="a", text=" ".join(words[:MOST_WORDS]))])
    assert [m.id for m in store.search(" ".join(words))] == ["a"]
    assert store.search(" ".join(reversed(words))) == []


def test_what_follows_a_nul_is_found(store: SQLiteStore) -> None:
    store.save([ChatMessage(id="a", text="x\0 你好 C++")])
    for query in ("你好", "C++", "x"):
        assert [m.id for m in store.search(query)] == ["a"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    changes=st.lists(
        st.tuples(st.sampled_from("abc"), st.text(alphabet="xy 世", max_size=6), st.booleans()),
        max_size=12,
    ),
    query=st.text(min_size=1, max_size=10),
)
def test_the_index_is_that_of_the_texts(
    store: SQLiteStore, changes: list[tuple[str, str, bool]], query: str
) -> None:
    for message_id, text, is_hidden in changes:
        store.save([ChatMessage(id=message_id, text=text, is_hidden=is_hidden)])
    (connection,) = store._connections._idle
    indexed = connection.execute(
        "SELECT id FROM messages_text JOIN messages ON number = messages_text.rowid "
        "WHERE messages_text MATCH 'x OR y'"
    )
    assert {row[0].decode() for row in indexed} == {
        message.id
        for message in store.all_messages()
        if not message.is_hidden and {"x", "y"} & set(message.text.split())
    }
    with suppress(ValueError):  # it has no word
        store.search(query)
