"""Saving a reply: what the store has the last word on, and what becomes of a reply that it does not take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from attrs import evolve

from chatgpt import ChatMessage, MessageIdTakenError, StoreError
from chatgpt.core.needs import SaveMessages
from chatgpt.stores import MemoryStore
from tests.stepping import Stepper, completion, json_answer, send, thread_of

CLIENT = {"model": "m", "max_model_tokens": 10_000, "system_message": ""}


class Shared(MemoryStore):
    """A store in which another process saves something just before us."""

    def __init__(self, *foreign: Callable[[Sequence[ChatMessage]], ChatMessage]) -> None:
        super().__init__()
        self._foreign = list(foreign)

    def save(self, messages: Sequence[ChatMessage]) -> None:
        if self._foreign:
            super().save([self._foreign.pop(0)(messages)])
        super().save(messages)


def named_like(index: int) -> Callable[[Sequence[ChatMessage]], ChatMessage]:
    """A foreign message under the id of one that is saved."""
    return lambda messages: ChatMessage(
        id=messages[index].id, text="foreign", conversation_id="foreign"
    )


def test_the_reply_of_another_process_keeps_its_id() -> None:
    store = Shared(named_like(-1))
    stepper = Stepper(json_answer(completion("mine", id="same")), store=store)
    reply = send(stepper, client=CLIENT)
    foreign = store.get("same")
    assert foreign is not None
    assert foreign.text == "foreign"
    assert reply.id != "same"
    assert reply.detail is not None
    assert reply.detail["id"] == "same"
    assert [message.text for message in store.path(reply.id)] == ["mine", "hi"]
    assert len(stepper.of(SaveMessages)) == 2


def test_the_question_of_another_process_keeps_its_id() -> None:
    """The reply is there and paid for: it is not given up for an id."""
    store = Shared(named_like(0))
    stepper = Stepper(json_answer(completion("mine", id="r")), store=store)
    reply = send(stepper, client=CLIENT, message_id="q")
    assert reply.id == "r"
    assert reply.parent_message_id not in {"q", None}
    assert [message.text for message in store.path("r")] == ["mine", "hi"]
    foreign = store.get("q")
    assert foreign is not None
    assert foreign.text == "foreign"


def test_both_may_be_taken_one_after_the_other() -> None:
    store = Shared(named_like(-1), named_like(0))
    stepper = Stepper(json_answer(completion("mine", id="r")), store=store)
    reply = send(stepper, client=CLIENT, message_id="q")
    assert [message.text for message in store.path(reply.id)] == ["mine", "hi"]
    assert len(store) == 4


def test_a_store_that_takes_no_id_is_not_asked_for_ever() -> None:
    class Full(MemoryStore):
        def save(self, messages: Sequence[ChatMessage]) -> None:
            raise MessageIdTakenError.of([message.id for message in messages])

    stepper = Stepper(json_answer(completion("dear", id="r")), store=Full())
    with pytest.raises(StoreError, match="the store takes no id") as caught:
        send(stepper, client=CLIENT)
    assert caught.value.partial == "dear"
    assert [message.text for message in caught.value.unsaved_messages] == ["hi", "dear"]
    assert len(stepper.of(SaveMessages)) == 3


def test_a_message_that_is_another_one_by_now_is_not_recounted() -> None:
    """Another process has put one under the id of a message of the history."""
    store = MemoryStore()
    thread = [evolve(message, text="word " * 40) for message in thread_of(["a", "b"])]
    store.save(thread)
    counted = {"m0": evolve(thread[0], token_counts={"m": 41})}
    foreign = ChatMessage(id="m0", text="foreign", conversation_id="foreign")

    class Changing(Stepper):
        def meet(self, need: object) -> object:
            if isinstance(need, SaveMessages):
                store._messages["m0"] = foreign
            return super().meet(need)  # type: ignore[arg-type] # a need

    stepper = Changing(json_answer(completion("mine", id="r")), store=store)
    reply = send(stepper, client=CLIENT, counted=counted, parent_message_id="m1")
    assert store.get("m0") == foreign
    assert [message.text for message in store.path(reply.id)][:2] == ["mine", "hi"]


def test_an_empty_error_of_taken_ids_is_a_failure() -> None:
    class Odd(MemoryStore):
        def save(self, messages: Sequence[ChatMessage]) -> None:
            raise MessageIdTakenError("which?")

    with pytest.raises(StoreError, match="could not be saved: which") as caught:
        send(Stepper(json_answer(completion("dear")), store=Odd()), client=CLIENT)
    assert caught.value.partial == "dear"


def test_what_a_store_says_itself_may_hold_secrets() -> None:
    class Leaking(MemoryStore):
        def save(self, messages: Sequence[ChatMessage]) -> None:
            raise OSError("postgres://user:hunter22@db is down")

    with pytest.raises(StoreError) as caught:
        send(Stepper(json_answer(completion("dear")), store=Leaking()), client=CLIENT)
    assert "hunter22" not in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("error", [OSError("gone"), StoreError("The disk is gone.")])
def test_a_store_that_fails_just_before_saving_loses_no_reply(error: Exception) -> None:
    class Dying(MemoryStore):
        def get(self, message_id: str) -> ChatMessage | None:
            raise error

    with pytest.raises(StoreError, match="The reply came and could not be saved: ") as caught:
        send(Stepper(json_answer(completion("dear", id="r")), store=Dying()), client=CLIENT)
    assert caught.value.__cause__ is error
    assert caught.value.partial == "dear"
    question, reply = caught.value.unsaved_messages
    assert (question.text, reply.id, reply.parent_message_id) == ("hi", "r", question.id)


def test_a_store_that_fails_before_anything_is_sent_says_so_itself() -> None:
    error = OSError("gone")

    class Dead(MemoryStore):
        def get(self, message_id: str) -> ChatMessage | None:
            raise error

    stepper = Stepper(store=Dead())
    with pytest.raises(OSError, match="gone") as caught:
        send(stepper, client=CLIENT, message_id="q")
    assert caught.value is error
    assert stepper.bodies == []


def test_a_question_that_got_another_id_is_named_so_in_the_report() -> None:
    store = Shared(named_like(0))
    stepper = Stepper(json_answer(completion("mine", id="r")), store=store)
    reply = send(stepper, client=CLIENT, message_id="q")
    assert reply.context is not None
    assert reply.context.oldest_message_id == reply.parent_message_id
    later = Shared()
    later.save(thread_of(["a", "b"]))
    later._foreign.append(named_like(0))
    stepper = Stepper(json_answer(completion("mine", id="r")), store=later)
    reply = send(stepper, client=CLIENT, message_id="q", parent_message_id="m1")
    assert reply.context is not None
    assert reply.context.oldest_message_id == "m0"
