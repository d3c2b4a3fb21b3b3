from __future__ import annotations

from math import inf
from typing import Any

import pytest

from chatgpt import ChatMessage, ConfigurationError
from chatgpt.core.call_options import CallOptions, call_options, joined_params, question_of
from tests.stepping import settings

QUESTION = ("parent_message_id", "conversation_id", "message_id", "name")


def call(
    text: object = "hi",
    client: dict[str, Any] | None = None,
    wants_parts: bool = False,
    **given: Any,
) -> CallOptions:
    own = settings(**(client or {}))
    question_of(text, **{name: given.pop(name) for name in QUESTION if name in given})
    return call_options(own, is_iterated=wants_parts, **given)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"text": 5}, TypeError, "text must be a str, not int"),
        ({"text": b"hi"}, TypeError, "text must be a str, not bytes"),
        ({"text": None}, TypeError, "text must be a str, not NoneType"),
        ({"text": ""}, ValueError, "text must not be empty"),
        ({"text": "a\ud800"}, ValueError, "text holds a lone surrogate, U\\+D800, at index 1"),
        ({"name": "\udfff"}, ValueError, "name holds a lone surrogate"),
        ({"name": ""}, ValueError, "name must not be blank"),
        ({"parent_message_id": ""}, ValueError, "parent_message_id must not be blank"),
        ({"parent_message_id": 7}, TypeError, "parent_message_id must be a str"),
        ({"parent_message_id": ChatMessage(id="a", text="")}, TypeError, "give the message's id"),
        ({"conversation_id": " "}, ValueError, "conversation_id must not be blank"),
        ({"message_id": ""}, ValueError, "message_id must not be blank"),
        ({"on_progress": "print"}, TypeError, "on_progress must be a function, not str"),
        ({"stream": 1}, TypeError, "stream must be True, False or None, not int"),
        ({"timeout": -1}, ValueError, "timeout must be more than 0"),
        ({"timeout": "x"}, TypeError, "timeout must be a number"),
        ({"system_message": 1}, TypeError, "system_message must be a str"),
        ({"completion_params": {"max_tokens": 0}}, ValueError, "must be at least 1, not 0"),
        ({"completion_params": {"max_tokens": "7"}}, TypeError, "must be an int, not str"),
        ({"completion_params": {"model": 7}}, TypeError, "must be a str, not int"),
        ({"completion_params": {"x": {1, 2}}}, ValueError, "is not JSON"),
    ],
)
def test_options_that_are_wrong(given: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call(given.pop("text", "hi"), **given)


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="parentMessageId"):
        call(parentMessageId="x")


def test_surrogate_pairs_in_arguments_are_joined() -> None:
    assert question_of("\ud83d\udc4b").text == "👋"


@pytest.mark.parametrize(
    ("stream", "wants_parts", "is_streamed", "is_reported"),
    [
        (None, False, False, False),
        (None, True, True, True),
        (True, False, True, False),
        (False, True, False, False),
    ],
)
def test_when_an_answer_is_streamed(
    stream: bool | None, wants_parts: bool, is_streamed: bool, is_reported: bool
) -> None:
    options = call(stream=stream, wants_parts=wants_parts)
    assert (options.is_streamed, options.is_reported) == (is_streamed, is_reported)


def test_parameters_of_the_call_win_and_none_takes_one_away() -> None:
    client = {"completion_params": {"temperature": 1, "top_p": 0.5, "user": None}}
    options = call(client=client, completion_params={"temperature": 0, "top_p": None, "n": 1})
    assert options.params == {"temperature": 0, "n": 1}


def test_the_limit_of_the_reply_has_the_name_that_the_model_knows() -> None:
    assert call(client={"max_response_tokens": 9}).params == {"max_completion_tokens": 9}
    assert call(client={"max_response_tokens": 9, "model": "gpt-4"}).params == {"max_tokens": 9}
    assert call(client={"model": "gpt-4"}).params == {}


def test_a_limit_among_the_parameters_is_sent_as_it_is_and_reserved() -> None:
    options = call(client={"max_response_tokens": 9}, completion_params={"max_tokens": 7})
    assert options.params == {"max_tokens": 7}
    assert options.response_limit == 7


def test_one_limit_of_the_call_stands_for_both_of_the_client() -> None:
    client = {"completion_params": {"max_tokens": 5, "n": 1}}
    options = call(client=client, completion_params={"max_completion_tokens": 7})
    assert options.params == {"max_completion_tokens": 7, "n": 1}


def test_the_model_of_the_call_brings_its_family() -> None:
    options = call(client={"model": "gpt-4"}, completion_params={"model": "gpt-4o"})
    assert (options.model, options.family.prefix) == ("gpt-4o", "gpt-4o")


def test_no_room_for_a_prompt_in_the_model_of_the_call() -> None:
    with pytest.raises(ConfigurationError, match="max_response_tokens is 9000, .* no room for a prompt in a window of 8192"):  # fmt: skip
        call(
            client={"max_response_tokens": 9000, "model": "gpt-4o"},
            completion_params={"model": "gpt-4"},
        )
    with pytest.raises(ConfigurationError, match="the limit in completion_params is 8192"):
        call(client={"model": "gpt-4"}, completion_params={"max_tokens": 8192})


def test_defaults_of_a_call() -> None:
    options = call(client={"timeout": 3, "system_message": "S"})
    assert (options.timeout, options.system_message, options.params) == (3.0, "S", {})
    assert call(system_message="").system_message == ""
    assert call(timeout=inf).timeout == call(timeout=10**400).timeout == inf


def test_options_of_text_completions() -> None:
    text = {"model": "davinci-002"}
    options = call(client=text, prompt_prefix="", prompt_suffix="x")
    assert (options.endpoint, options.prompt_prefix, options.prompt_suffix) == (
        "completions",
        "",
        "x",
    )
    assert call(client={**text, "endpoint": "chat"}).endpoint == "chat"
    assert call(client={**text, "max_response_tokens": 9}).params == {"max_tokens": 9}
    assert call(client={**text, "system_message": "S"}, prompt_prefix="P").prompt_prefix == "P"
    wrong: list[dict[str, Any]] = [{"prompt_prefix": "x"}, {"prompt_suffix": ""}]
    for given in wrong:
        with pytest.raises(ValueError, match="are for text completions, and 'gpt-5.4-mini'"):
            call(**given)
    with pytest.raises(ValueError, match="in the place of system_message"):
        call(client=text, prompt_prefix="x", system_message="y")
    with pytest.raises(TypeError, match="prompt_suffix must be a str, not int"):
        call(client=text, prompt_suffix=5)


def test_parameters_over_parameters() -> None:
    outer = {"max_tokens": 5, "n": 1, "seed": 2}
    assert joined_params(outer, {"max_completion_tokens": 7, "seed": None}) == {
        "n": 1,
        "seed": None,
        "max_completion_tokens": 7,
    }
    assert joined_params(outer, {"max_completion_tokens": None}) == {
        **outer,
        "max_completion_tokens": None,
    }
    assert joined_params(outer, {}) == outer


def test_two_limits_of_the_reply_are_one_too_many() -> None:
    both = {"max_tokens": 5, "max_completion_tokens": 6}
    for make in (
        lambda: settings(completion_params=both),
        lambda: call_options(settings(), completion_params=both),
    ):
        with pytest.raises(ConfigurationError, match="limits the reply twice"):
            make()
    own = {"max_tokens": 5, "max_completion_tokens": None}
    assert call_options(settings(), completion_params=own).response_limit == 5


def test_what_a_request_holds_besides_parameters_is_the_sdks_own() -> None:
    own = {"messages": [], "prompt": "x", "stream": False, "seed": 7}
    for endpoint in ("chat", "completions"):
        options = call_options(settings(endpoint=endpoint), completion_params=own)
        assert options.params == {"seed": 7}
