from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from chatgpt import ChatMessage, MessageNotFoundError, Role
from chatgpt.core.needs import LoadThread
from chatgpt.core.threads import fit_turns, load_history
from chatgpt.stores import MemoryStore
from tests.stepping import Stepper, thread_of


def test_a_thread_is_read_in_one_batch() -> None:
    stepper = Stepper()
    stepper.store.save(thread_of(["a", "b", "c"]))
    history = stepper.run(load_history("m2"))
    assert [message.text for message in history.messages] == ["c", "b", "a"]
    assert history.missing_message_id is None
    assert history.conversation_id == "c"
    assert stepper.needs == [LoadThread("m2", None)]


def test_no_parent_is_a_new_conversation_and_asks_for_nothing() -> None:
    stepper = Stepper()
    assert stepper.run(load_history(None)).messages == ()
    assert stepper.needs == []


def test_an_unknown_parent_raises() -> None:
    with pytest.raises(MessageNotFoundError, match="'nowhere' is not in the message store"):
        Stepper().run(load_history("nowhere"))


def test_a_missing_ancestor_ends_the_history_and_is_named() -> None:
    store = MemoryStore()
    store.save(thread_of(["a", "b", "c"])[1:])
    history = Stepper(store=store).run(load_history("m2"))
    assert [message.text for message in history.messages] == ["c", "b"]
    assert history.missing_message_id == "m0"


def test_a_history_that_was_cut_by_the_limit_misses_nothing() -> None:
    stepper = Stepper()
    stepper.store.save(thread_of(["a", "b", "c"]))
    assert stepper.run(load_history("m2", 2)).missing_message_id is None


def roles(letters: str) -> list[ChatMessage]:
    """A thread, newest first, from the roles oldest first: `u` and `a`."""
    kinds: dict[str, Role] = {"u": "user", "a": "assistant"}
    thread = [
        ChatMessage(id=str(n), text="", role=kinds[letter]) for n, letter in enumerate(letters)
    ]
    return thread[::-1]


@pytest.mark.parametrize(
    ("letters", "room", "fitting"),
    [
        ("", 5, 0),
        ("ua", 1, 0),
        ("ua", 2, 2),
        ("uaua", 3, 2),
        ("uaua", 4, 4),
        ("uaaua", 4, 2),
        ("uaaua", 5, 5),
        ("uu", 1, 1),
        ("auau", 2, 1),
        ("aua", 2, 2),
        ("aua", 3, 3),
        ("aaa", 2, 0),
        ("aaa", 3, 3),
    ],
)
def test_history_is_kept_by_whole_turns(letters: str, room: int, fitting: int) -> None:
    assert fit_turns(roles(letters), lambda _: 1, room) == (fitting, fitting)


@given(st.text("ua", max_size=30), st.integers(-2, 40))
def test_what_is_kept_fits_and_begins_with_a_turn(letters: str, room: int) -> None:
    messages = roles(letters)
    fitting, tokens = fit_turns(messages, lambda _: 1, room)
    assert tokens == fitting
    assert fitting <= max(room, 0)
    assert fitting in (0, len(messages)) or messages[fitting - 1].role == "user"


def test_costs_are_asked_once_and_no_further_than_needed() -> None:
    asked: list[str] = []

    def cost(message: ChatMessage) -> int:
        asked.append(message.id)
        return 1

    fit_turns(roles("uaua" * 10), cost, 3)
    assert asked == ["39", "38", "37", "36"]


def test_a_circle_misses_nothing() -> None:
    """Some store may hold one; it is walked once."""
    stepper = Stepper()
    first, second = thread_of(["a", "b"])
    stepper.store.save([evolve(first, parent_message_id=second.id), second])
    history = stepper.run(load_history("m1"))
    assert ([message.id for message in history.messages], history.missing_message_id) == (
        ["m1", "m0"],
        None,
    )
