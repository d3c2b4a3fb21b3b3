from __future__ import annotations

import json

import pytest

from chatgpt import ChatGPTError, InvalidResponseError, StreamError, StreamInterruptedError
from chatgpt.core.moderation import Moderation, send_moderation
from chatgpt.core.needs import SendRequest, TransportFailure
from tests.stepping import Answered, Stepper, json_answer, settings, surroundings

RESULT = {"flagged": True, "categories": {"violence": True}, "category_scores": {"violence": 0.9}}
ANSWER = {"id": "modr-1", "model": "omni-moderation-latest", "results": [RESULT]}


def moderate(stepper: Stepper, text: object = "hi") -> Moderation:
    return stepper.run(
        send_moderation(text, "omni-moderation-latest", settings(max_retries=1), surroundings())
    )


def test_a_moderation() -> None:
    stepper = Stepper(json_answer({"error": "busy"}, 500), json_answer(ANSWER))
    moderation = moderate(stepper)
    assert moderation.flagged
    assert moderation.categories == {"violence": True}
    assert moderation.category_scores == {"violence": 0.9}
    assert (moderation.id, moderation.model, moderation.detail) == (
        "modr-1",
        "omni-moderation-latest",
        ANSWER,
    )
    assert stepper.bodies[1] == {"model": "omni-moderation-latest", "input": "hi"}
    assert stepper.of(SendRequest)[1].request.url == "https://api.openai.com/v1/moderations"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (json_answer({"results": []}), InvalidResponseError),
        (json_answer({"results": [{"flagged": "yes"}]}), InvalidResponseError),
        (json_answer({"error": {"message": "boom"}}), StreamError),
        (json_answer([1]), InvalidResponseError),
        (Answered(b"<html>"), InvalidResponseError),
        (Answered(b""), InvalidResponseError),
        (Answered(b"{", TransportFailure("connection", "reset")), StreamInterruptedError),
        (Answered(b"{", 1e9), TimeoutError),
    ],
)
def test_answers_that_are_no_moderation(answer: Answered, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        moderate(Stepper(answer))
    assert isinstance(caught.value, ChatGPTError)


def test_categories_are_optional() -> None:
    moderation = moderate(Stepper(Answered(json.dumps({"results": [{"flagged": False}]}).encode())))
    assert (moderation.flagged, moderation.categories, moderation.category_scores) == (
        False,
        {},
        {},
    )


def test_text_must_be_text() -> None:
    with pytest.raises(TypeError, match="text must be a str"):
        moderate(Stepper(), 7)
