from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from chatgpt import ChatMessage
from chatgpt.stores import FunctionStore, MemoryStore, MessageStore
from tests.stepping import thread_of


class Minimal(MessageStore):
    """A store as a user writes it: `get` and `save`."""

    def __init__(self) -> None:
        self.messages: dict[str, ChatMessage] = {}

    def get(self, message_id: str) -> ChatMessage | None:
        return self.messages.get(message_id)

    def save(self, messages: Sequence[ChatMessage]) -> None:
        self.messages.update({message.id: message for message in messages})


def by_functions() -> FunctionStore:
    messages: dict[str, ChatMessage] = {}

    def upsert(message: ChatMessage) -> None:
        messages[message.id] = message

    return FunctionStore(MemoryStore(), messages.get, upsert)


@pytest.fixture(params=[MemoryStore, Minimal, by_functions])
def store(request: pytest.FixtureRequest) -> MessageStore:
    made: MessageStore = request.param()
    return made


def test_what_is_saved_is_found(store: MessageStore) -> None:
    thread = thread_of(["a", "b", "c"])
    store.save(thread)
    assert store.get("m1") == thread[1]
    assert store.get("nowhere") is None


def test_a_path_is_newest_first(store: MessageStore) -> None:
    store.save(thread_of(["a", "b", "c"]))
    assert [message.text for message in store.path("m2")] == ["c", "b", "a"]
    assert [message.text for message in store.path("m2", 2)] == ["c", "b"]
    assert [message.text for message in store.path("m1")] == ["b", "a"]
    assert store.path("m2", 0) == []
    assert store.path("nowhere") == []


def test_a_path_ends_where_a_parent_is_missing(store: MessageStore) -> None:
    store.save(thread_of(["a", "b", "c"])[1:])
    assert [message.text for message in store.path("m2")] == ["c", "b"]


def test_a_circle_ends(store: MessageStore) -> None:
    store.save(
        [
            ChatMessage(id="a", text="", parent_message_id="b"),
            ChatMessage(id="b", text="", parent_message_id="a"),
        ]
    )
    assert [message.id for message in store.path("a")] == ["a", "b"]


def test_saving_again_replaces(store: MessageStore) -> None:
    store.save([ChatMessage(id="a", text="old")])
    store.save([ChatMessage(id="a", text="new")])
    message = store.get("a")
    assert message is not None
    assert message.text == "new"


def test_memory_keeps_what_was_used_last() -> None:
    store = MemoryStore(capacity=3)
    store.save([ChatMessage(id=letter, text=letter) for letter in "abc"])
    store.get("a")
    store.save([ChatMessage(id="d", text="d")])
    assert [letter for letter in "abcd" if store.get(letter)] == ["a", "c", "d"]
    assert len(store) == 3


def test_a_thread_in_memory_loses_its_beginning_first() -> None:
    """However often it is read: the newest messages are those that the next reply needs."""
    store = MemoryStore(capacity=6)
    thread = thread_of([str(number) for number in range(12)])
    for begin in range(0, 12, 2):
        store.save(thread[begin : begin + 2])
        store.path(thread[begin + 1].id)
    assert [message.text for message in store.path("m11")] == ["11", "10", "9", "8", "7", "6"]
    store.path("m11")
    store.save([ChatMessage(id="other", text="")])
    assert [message.text for message in store.path("m11")] == ["11", "10", "9", "8", "7"]


def test_a_store_that_cannot_be_hashed() -> None:
    class Comparable(MemoryStore):  # noqa: PLW1641 - that it has no hash is the point
        def __eq__(self, other: object) -> bool:
            return self is other

    assert len(Comparable(5)) == 0


def test_memory_is_bounded_from_below() -> None:
    with pytest.raises(ValueError, match="at least 2 messages"):
        MemoryStore(capacity=1)
    with pytest.raises(TypeError, match="capacity must be an int, not str"):
        MemoryStore("5")  # type: ignore[arg-type]
    assert repr(MemoryStore()) == "<MemoryStore with 0 of at most 10000 messages>"


def test_memory_pickles_as_its_capacity() -> None:
    store = MemoryStore(capacity=3)
    store.save([ChatMessage(id="a", text="secret words")])
    pickled = pickle.dumps(store)
    assert b"secret words" not in pickled
    restored = pickle.loads(pickled)
    restored.save([ChatMessage(id=letter, text=letter) for letter in "abcd"])
    assert len(restored) == 3


def test_memory_serves_many_threads() -> None:
    store = MemoryStore(capacity=50)

    def work(number: int) -> None:
        for turn in range(100):
            store.save(
                [
                    ChatMessage(
                        id=f"{number}.{turn}", text="", parent_message_id=f"{number}.{turn - 1}"
                    )
                ]
            )
            store.path(f"{number}.{turn}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(store) == 50


def test_saving_alone_by_a_function() -> None:
    saved: list[ChatMessage] = []
    store = FunctionStore(MemoryStore(), upsert_message=saved.append)
    store.save(thread_of(["a", "b"]))
    assert [message.id for message in saved] == ["m0", "m1"]
    assert [message.id for message in store.path("m1")] == ["m1", "m0"]


def test_looking_up_alone_by_a_function() -> None:
    store = FunctionStore(
        MemoryStore(), get_message_by_id={"old": ChatMessage(id="old", text="o")}.get
    )
    store.save([ChatMessage(id="new", text="n", parent_message_id="old")])
    assert [message.id for message in store.path("new")] == ["new", "old"]


def test_a_function_that_returns_something_else() -> None:
    store = FunctionStore(MemoryStore(), get_message_by_id=lambda _: {"id": "x"})  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="must return a ChatMessage or None, not dict"):
        store.get("x")


def test_a_store_that_holds_every_message_reads_threads_in_its_own_way() -> None:
    asked: list[str] = []

    class Asked(MemoryStore):
        def get(self, message_id: str) -> ChatMessage | None:
            asked.append(message_id)
            return super().get(message_id)

    store = FunctionStore(Asked(), upsert_message=lambda _: None)
    store.save(thread_of(["a", "b", "c"]))
    assert [message.id for message in store.path("m2", 2)] == ["m2", "m1"]
    assert asked == []
    by_function = FunctionStore(Asked(), get_message_by_id=lambda _: None)
    by_function.save(thread_of(["a", "b"]))
    assert [message.id for message in by_function.path("m1")] == ["m1", "m0"]
    assert asked == ["m1", "m0"]
