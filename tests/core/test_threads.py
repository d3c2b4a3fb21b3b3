from __future__ import annotations

from itertools import repeat

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from chatgpt import ChatMessage, MessageNotFoundError, Role
from chatgpt.core.needs import LoadThread
from chatgpt.core.official import edit, read_thread, regenerate, take_back
from chatgpt.core.threads import fit_turns, load_history
from chatgpt.stores import MemoryStore
from tests.stepping import (
    Stepper,
    completion,
    json_answer,
    official_call,
    send,
    thread_of,
)


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
    assert fit_turns(roles(letters), repeat(1), room) == (fitting, fitting)


@given(st.text("ua", max_size=30), st.integers(-2, 40))
def test_what_is_kept_fits_and_begins_with_a_turn(letters: str, room: int) -> None:
    messages = roles(letters)
    fitting, tokens = fit_turns(messages, repeat(1), room)
    assert tokens == fitting
    assert fitting <= max(room, 0)
    assert fitting in (0, len(messages)) or messages[fitting - 1].role == "user"


def test_costs_are_asked_once_and_no_further_than_needed() -> None:
    asked: list[str] = []

    def cost(message: ChatMessage) -> int:
        asked.append(message.id)
        return 1

    thread = roles("uaua" * 10)
    fit_turns(thread, map(cost, thread), 3)
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


# --- hidden messages, and those that cannot be read ------------------------------------------


def imported() -> list[ChatMessage]:
    """A thread as an import makes it: a head, and between question and answer what a reader does not see."""
    head = ChatMessage(id="head", text="", role="system", is_hidden=True, conversation_id="c")
    question, answer = thread_of(["question", "answer"])
    return [
        head,
        evolve(question, parent_message_id="head"),
        evolve(answer, id="thought", text="SECRET", parent_message_id="m0", is_hidden=True),
        evolve(answer, id="said first", text="wait", parent_message_id="thought"),
        evolve(answer, parent_message_id="said first"),
        evolve(question, id="tool", text="SECRET", role="tool", parent_message_id="m1", is_hidden=True),
    ]  # fmt: skip


def test_hidden_messages_are_no_history_and_part_of_the_thread() -> None:
    stepper = Stepper()
    stepper.store.save(imported())
    history = stepper.run(load_history("tool"))
    assert [message.text for message in history.messages] == ["answer", "wait", "question"]
    assert (history.missing_message_id, history.unreadable_message_ids) == (None, ())
    assert history.conversation_id == "c"
    thread = stepper.run(read_thread("tool"))
    assert [message.id for message in thread] == [
        "head", "m0", "thought", "said first", "m1", "tool",
    ]  # fmt: skip
    assert stepper.run(load_history("head")).conversation_id == "c"


@pytest.mark.parametrize("parent", ["tool", "m1", "head"])
def test_a_hidden_message_can_be_replied_to_and_is_not_sent(parent: str) -> None:
    stepper = Stepper(json_answer(completion(id="new")))
    stepper.store.save(imported())
    reply = send(stepper, "and?", client={"system_message": ""}, parent_message_id=parent)
    said = [] if parent == "head" else ["question", "wait", "answer"]
    assert [message["content"] for message in stepper.bodies[0]["messages"]] == [*said, "and?"]
    question = stepper.store.get(reply.parent_message_id or "")
    assert question is not None
    assert (question.parent_message_id, question.conversation_id) == (parent, "c")


@pytest.mark.parametrize("message_id", ["m1", "tool"])
def test_a_turn_of_several_messages_is_answered_again_as_a_whole(message_id: str) -> None:
    stepper = Stepper(json_answer(completion(id="new")))
    stepper.store.save(imported())
    call = official_call(stepper.surroundings, client={"system_message": ""})
    reply = stepper.run(regenerate(message_id, None, call))
    assert reply.parent_message_id == "m0"
    assert [message["content"] for message in stepper.bodies[0]["messages"]] == ["question"]


def test_an_edit_and_an_undo_pass_over_hidden_messages() -> None:
    stepper = Stepper(json_answer(completion(id="new")))
    stepper.store.save(imported())
    call = official_call(stepper.surroundings, client={"system_message": ""})
    reply = stepper.run(edit("tool", "otherwise", None, call))
    question = stepper.store.get(reply.parent_message_id or "")
    assert question is not None
    assert question.parent_message_id == "head"
    taken = stepper.run(take_back("tool"))
    assert taken is not None
    assert (taken[0].id, taken[1]) == ("m0", "head")


def test_a_thread_that_is_hidden_as_a_whole() -> None:
    stepper = Stepper()
    stepper.store.save(imported())
    call = official_call(stepper.surroundings)
    for asked in (regenerate("head", None, call), edit("head", "x", None, call)):
        with pytest.raises(
            ValueError, match="thread that leads to 'head' has hidden messages only"
        ):
            stepper.run(asked)
    assert stepper.run(take_back("head")) is None


class Damaged(MemoryStore):
    """Holds messages that it cannot read, and passes them over."""

    unreadable: tuple[str, ...] = ()

    def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        return [m for m in super().path(message_id) if m.id not in self.unreadable][:limit]


@pytest.mark.parametrize(
    ("unreadable", "named"),
    [(("m1",), ("m1",)), (("m1", "m2"), ("m2",)), (("m3",), ("m3",)), (("m3", "m1"), ("m3", "m1"))],
)
def test_what_cannot_be_read_is_named(unreadable: tuple[str, ...], named: tuple[str, ...]) -> None:
    store = Damaged()
    store.save(thread_of(["a", "b", "c", "d"]))
    store.unreadable = unreadable
    history = Stepper(store=store).run(load_history("m3"))
    assert history.unreadable_message_ids == named
    assert history.missing_message_id is None


def test_a_beginning_that_cannot_be_read_is_missing() -> None:
    store = Damaged()
    store.save(thread_of(["a", "b"]))
    store.unreadable = ("m0",)
    history = Stepper(store=store).run(load_history("m1"))
    assert (history.missing_message_id, history.unreadable_message_ids) == ("m0", ())


def test_hidden_messages_take_nobody_s_place() -> None:
    """However many there are: a limit counts what could be sent."""
    store = MemoryStore()
    question, answer = thread_of(["question", "answer"])
    tools = [
        evolve(answer, id=f"t{number}", is_hidden=True, parent_message_id=f"t{number - 1}" if number else "m0")
        for number in range(50)
    ]  # fmt: skip
    store.save([question, *tools, evolve(answer, parent_message_id="t49")])
    stepper = Stepper(store=store)
    history = stepper.run(load_history("m1", 10))
    assert [message.text for message in history.messages] == ["answer", "question"]
    assert history.missing_message_id is None
    assert stepper.needs == [LoadThread("m1", 10), LoadThread("m1", None)]


def test_an_undo_passes_over_a_hidden_question() -> None:
    """What a server puts into the user's mouth is not his last message."""
    store = MemoryStore()
    question, answer = thread_of(["question", "answer"])
    helper = evolve(question, id="helper", parent_message_id="m1", is_hidden=True)
    store.save([question, answer, helper])
    taken = Stepper(store=store).run(take_back("helper"))
    assert taken is not None
    assert taken[0].id == "m0"
