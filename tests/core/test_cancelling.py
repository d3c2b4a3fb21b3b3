from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from chatgpt import AbortedError, CancelToken
from chatgpt.core.needs import Need, ObeyToken, ReadChunk, SaveMessages, SendRequest, Sleep
from tests.stepping import (
    Answered,
    Stepper,
    chunk,
    completion,
    json_answer,
    official_call,
    send,
    sse,
    surroundings,
)


def test_a_token_tells_once_it_is_cancelled() -> None:
    token = CancelToken()
    told: list[str] = []
    token.tell(lambda: told.append("first"))
    take_back = token.tell(lambda: told.append("second"))
    take_back()
    take_back()
    assert repr(token) == "<CancelToken, not cancelled>"
    token.cancel()
    assert token.is_cancelled
    assert told == ["first"]
    assert repr(token) == "<CancelToken, cancelled>"
    token.tell(lambda: told.append("late"))
    assert told == ["first", "late"]


def test_it_can_be_a_handler_itself() -> None:
    token = CancelToken()
    token.cancel(15, None)
    assert token.is_cancelled


def test_a_function_that_fails_keeps_nobody_from_being_told() -> None:
    def fail() -> None:
        raise LookupError

    token, told = CancelToken(), list[str]()
    token.tell(fail)
    token.tell(lambda: told.append("second"))
    for _ in range(2):
        with pytest.raises(LookupError):
            token.cancel()
    assert told == ["second", "second"]


@pytest.mark.parametrize("spread", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_holds_in_one_process(spread: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="A CancelToken holds in one process"):
        spread(CancelToken())


def test_nobody_is_missed_however_the_threads_meet() -> None:
    for _ in range(300):
        token, told = CancelToken(), threading.Event()
        threads = [
            threading.Thread(target=token.cancel),
            threading.Thread(target=token.tell, args=(told.set,)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert told.is_set()


def test_a_token_may_be_taken_back_while_it_tells() -> None:
    token = CancelToken()
    back: list[Callable[[], None]] = []
    back.append(token.tell(lambda: back[1]()))
    back.append(token.tell(lambda: None))
    token.cancel()


def test_a_call_with_a_cancelled_token_sends_nothing() -> None:
    token = CancelToken()
    token.cancel()
    stepper = Stepper(json_answer({}))
    with pytest.raises(AbortedError, match=r"The call was stopped by its CancelToken\."):
        send(stepper, abort=token)
    assert len(stepper.answers) == 1
    assert len(stepper.store) == 0
    with pytest.raises(AbortedError):  # nothing else is asked either
        send(stepper, abort=token, parent_message_id="unknown")


def test_the_token_is_obeyed_before_anything_else() -> None:
    token = CancelToken()
    stepper = Stepper(Answered(sse(chunk("Hi", "stop"))))
    send(stepper, abort=token, wants_parts=True)
    assert isinstance(stepper.needs[0], ObeyToken)
    assert len(stepper.of(ObeyToken)) == 1
    unaborted = Stepper(Answered(sse(chunk("Hi", "stop"))))
    send(unaborted, wants_parts=True)
    assert unaborted.of(ObeyToken) == []


class Stopped(Stepper):
    """Has a token, which is cancelled as soon as something is so."""

    def __init__(self, *answers: Answered, when: Callable[[Stopped, Need[Any]], bool]) -> None:
        super().__init__(*answers)
        self.token = CancelToken()
        self._when = when

    def meet(self, need: Need[Any]) -> object:
        if self._when(self, need):
            self.token.cancel()
        return super().meet(need)


@pytest.mark.parametrize("kind", [SendRequest, Sleep, ReadChunk])
def test_each_wait_can_be_stopped(kind: type[Need[Any]]) -> None:
    """Also where the answer is an error, whose body is worth little."""
    refusals = [json_answer({"error": {"message": "x"}}, status=500) for _ in range(3)]
    stepper = Stopped(*refusals, when=lambda _, need: isinstance(need, kind))
    with pytest.raises(AbortedError) as caught:
        send(stepper, abort=stepper.token)
    assert caught.value.partial is None
    assert len(stepper.of(SendRequest)) == 1
    assert isinstance(stepper.needs[-1], kind)


def test_what_came_before_is_in_the_error() -> None:
    stepper = Stopped(
        Answered(sse(chunk("One "), done=False), sse(chunk("two"), done=False)),
        when=lambda stepper, _: len(stepper.parts) == 2,
    )
    with pytest.raises(AbortedError) as caught:
        send(stepper, abort=stepper.token, wants_parts=True)
    assert caught.value.partial == "One two"
    assert len(stepper.store) == 0


def test_a_reply_that_is_complete_is_kept() -> None:
    """It is paid for: a token that is cancelled while it is saved comes too late."""
    stepper = Stopped(
        json_answer(completion("Hi")), when=lambda _, need: isinstance(need, SaveMessages)
    )
    assert send(stepper, abort=stepper.token).text == "Hi"
    assert len(stepper.store) == 2


def test_wrong_tokens() -> None:
    for wrong, said in (
        (threading.Event(), "abort must be a CancelToken, not Event"),
        (CancelToken, "abort must be a CancelToken: make one of the class"),
        (True, "abort must be a CancelToken, not bool"),
    ):
        with pytest.raises(TypeError, match=said):
            official_call(surroundings(), abort=wrong)
