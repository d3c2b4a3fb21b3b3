"""What a refusal teaches: the wordings of real servers, and what must teach nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt import RequestChange
from chatgpt.core.error_bodies import status_error
from chatgpt.core.errors import APIStatusError
from chatgpt.core.lessons import SAMPLING_PARAMETERS, Lesson, Lessons, adapt, learned_from
from chatgpt.core.models import UNKNOWN_FAMILY, EndpointName, ModelFamily, family_of
from chatgpt.core.needs import ResponseHead

SENT = {
    "model": "m",
    "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 9,
    "temperature": 0.5,
    "top_p": 1,
    "stop": ["END"],
    "seed": 7,
    "presence_penalty": 1,
    "reasoning_effort": "low",
}


def refusal(
    message: str, param: str | None = None, code: object = None, status: int = 400, **fields: Any
) -> APIStatusError:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return refused_with({"error": {**error, **fields}}, status)


def refused_with(body: object, status: int = 400) -> APIStatusError:
    head = ResponseHead(status, "Bad Request", {})
    return status_error(head, json.dumps(body), lambda text: text)


def learned(error: APIStatusError, lesson: Lesson | None = None, **sent: object) -> dict[str, Any]:
    return dict(learned_from(error, {**SENT, **sent}, lesson or Lesson()))


UNSUPPORTED = "is not supported with this model."


@pytest.mark.parametrize(
    "error",
    [
        refusal(f"Unsupported parameter: 'max_tokens' {UNSUPPORTED} Use 'max_completion_tokens' instead.", "max_tokens", "unsupported_parameter"),
        refusal(f"Unsupported parameter: 'max_tokens' {UNSUPPORTED}", "max_tokens"),
        refusal(f"Unsupported parameter: 'max_tokens' {UNSUPPORTED} Use 'max_completion_tokens' instead."),
        refused_with({"detail": [{"type": "extra_forbidden", "loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted"}]}, 422),
        refusal("'max_tokens' is not supported with o-series models, please use 'max_completion_tokens'"),
        refusal("max_tokens is not supported when using reasoning models"),
        refusal("property 'max_tokens' is unsupported, did you mean 'max_completion_tokens'?"),
        refusal("litellm.UnsupportedParamsError: model does not support parameters: ['max_tokens']", code="400"),
    ],
)  # fmt: skip
def test_the_limit_gets_its_other_name(error: APIStatusError) -> None:
    assert learned(error) == {"limit_name": "max_completion_tokens"}
    wrong = Lesson(limit_name="max_tokens")
    assert learned(error, wrong) == {"limit_name": None}, "it is taken back"
    assert learned(error, prompt="text") == {}, "text completions know one name"


def test_a_server_that_knows_only_the_old_name_of_the_limit() -> None:
    body = {"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "Extra inputs are not permitted"}]}, "type": "invalid_request_error"}  # fmt: skip
    error = refused_with(body, 422)
    assert learned(error, max_completion_tokens=9) == {"limit_name": "max_tokens"}


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (refusal(f"Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) value is supported.", "temperature", "unsupported_value"), {"temperature"}),  # noqa: F541
        (refusal(f"Unsupported parameter: 'temperature' {UNSUPPORTED}", "temperature"), {"temperature"}),
        (refusal("temperature is deprecated for this model"), {"temperature"}),
        (refusal("`temperature` and `top_p` are not supported"), {"temperature", "top_p"}),
        (refusal("Unrecognized request argument supplied: stream_options"), {"stream_options"}),
        (refusal("Unrecognized request argument supplied: seed"), {"seed"}),
        (refusal("Unknown parameter: 'stop'.", "stop", "unknown_parameter"), {"stop"}),
        (refusal("stream_options: Extra inputs are not permitted"), {"stream_options"}),
        (refusal("got an unexpected keyword argument 'presence_penalty'"), {"presence_penalty"}),
        (refusal("Unknown parameter: 'stream_options.include_usage'.", "stream_options.include_usage", "unknown_parameter"), {"stream_options"}),
        (refused_with({"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}, 422), {"stream_options"}),
        (refused_with({"detail": [
            {"type": "less_than_equal", "loc": ["body", "temperature"], "msg": "Input should be less than or equal to 1.5"},
            {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"},
        ]}, 422), {"seed"}),
        (refusal(f"Unsupported parameter: 'seed' {UNSUPPORTED}", "None", "400"), {"seed"}),
        (refusal(f"Unsupported parameter: 'seed' {UNSUPPORTED}", ""), {"seed"}),
        (refusal("Unknown parameter: 'seed'.", "$.seed"), {"seed"}),
        (refusal("Argument not supported on this model: presencePenalty"), {"presence_penalty"}),
        (refusal('Invalid JSON payload received. Unknown name "seed": Cannot find field.'), {"seed"}),
        (refusal("This model does not support the parameters temperature, top_p and seed."), {"temperature", "top_p", "seed"}),
        (refused_with({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": json.dumps({"error": {"message": f"Unsupported parameter: 'seed' {UNSUPPORTED}"}})}}}), {"seed"}),
        (refusal("The model does not support the 'stop' field. Please remove it."), {"stop"}),
        (refusal("Invalid request: parameter 'temperature' is not allowed for reasoning models"), {"temperature"}),
        (refusal("`top_p` cannot be used with this model"), {"top_p"}),
        (refusal("Invalid parameter 'temperature': not supported for this model"), {"temperature"}),
        (refusal("Extra inputs are not permitted, field: 'seed', value: 7"), {"seed"}),
        (refusal("Extra parameters ['stream_options'] are not allowed when extra-parameters is not set"), {"stream_options"}),
        (refusal("Additional properties are not allowed ('stream_options' was unexpected)"), {"stream_options"}),
        (refusal("Error code 400: seed: unexpected field"), {"seed"}),
        (refusal("seed: Extra inputs are not permitted"), {"seed"}),
        (refusal("Unsupported parameter: 'seed'", None, "invalid_parameter_error"), {"seed"}),
        (refusal("You are not allowed to request top_p from this model"), {"top_p"}),
        (refusal("Additional properties are not allowed ('seed', 'top_p' were unexpected)"), {"seed", "top_p"}),
        (refusal("The following parameters are not supported with this model: temperature, top_p"), {"temperature", "top_p"}),
        (refusal("The following fields are currently not supported: temperature, presence_penalty", "", ""), {"temperature", "presence_penalty"}),
        (refusal("This model does not support top_p."), {"top_p"}),
        (refusal("This model doesn't support the temperature field. Remove temperature and try again."), {"temperature"}),
        (refusal("Unable to submit request because seed is not supported by this model"), {"seed"}),
        (refusal("Unsupported value: 'temperature' does not support 0.7. Only the default (1) value is supported."), {"temperature"}),
        (refusal("property 'stream_options' is unsupported, did you mean 'stream'?"), {"stream_options"}),
        (refusal("property 'top_p' is unsupported, did you mean 'top_k'?", code="invalid_request_error"), {"top_p"}),
        (refusal('litellm.BadRequestError: GroqException - {"error":{"message":"property \'seed\' is unsupported","type":"invalid_request_error"}}'), {"seed"}),
        (refusal("Malformed input request: #: extraneous key [top_p] is not permitted, please reformat your input and try again."), {"top_p"}),
        (refusal("presence_penalty is not supported yet."), {"presence_penalty"}),
        (refusal("presence_penalty is not currently supported"), {"presence_penalty"}),
        (refusal("stream_options is not supported (request id: 2026)"), {"stream_options"}),
        (refusal("temperature is not supported with this model, please remove it"), {"temperature"}),
        (refusal("temperature is not supported: please remove it"), {"temperature"}),
        (refusal("temperature is not supported with this model - remove it"), {"temperature"}),
        (refusal("Model incompatible request argument supplied: temperature"), {"temperature"}),
        (refusal("[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted', 'input': 7}]"), {"seed"}),
        (refusal("gpt-5 models (including gpt-5-codex) don't support temperature=0.2. Only temperature=1 is supported."), {"temperature"}),
        (refusal("word " * 200 + f"Unsupported parameter: 'seed' {UNSUPPORTED}"), {"seed"}),
    ],
)  # fmt: skip
def test_what_can_be_done_without_is_left_out(error: APIStatusError, names: set[str]) -> None:
    assert learned(error) == {"refused": frozenset(names)}


@pytest.mark.parametrize(
    "error",
    [
        refusal("Your organization must be verified to stream this model. Please go to: ...", "stream", "unsupported_value"),
        refusal("Unsupported value: 'stream' does not support true with this model. Only the default (false) value is supported.", "stream", "unsupported_value"),
        refusal("This model does not support streaming."),
        refusal("Streaming is not supported for this model."),
        refusal("Streaming is not supported.", "None", "400"),
        refusal("Stream is not supported for this model"),
        refusal("streaming not supported"),
        refusal("stream=true is not supported"),
    ],
)  # fmt: skip
def test_a_model_that_does_not_stream(error: APIStatusError) -> None:
    assert learned(error) == {"streams": False}
    assert learned(error, stream=False) == {}


@pytest.mark.parametrize(
    "message",
    [
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
        "Missing `reasoning_content` field in the assistant message at message index 2.",
        "thinking is enabled but reasoning_content is missing in assistant tool call message",
    ],
)
def test_a_server_that_wants_the_reasoning_back(message: str) -> None:
    error = refusal(message, code="invalid_request_error")
    assert learned(error) == {"wants_reasoning": True}
    assert learned(error, Lesson(wants_reasoning=True)) == {}
    assert learned(error, messages=[{"role": "user", "content": "a"}]) == {}, "nothing to send back"


EXTRA = "Extra inputs are not permitted"


@pytest.mark.parametrize(
    "error",
    [
        refusal(f"messages.1.reasoning_content: {EXTRA}"),
        refusal("no", "messages[1].reasoning_content", "unsupported_parameter"),
        refusal("Unknown parameter: 'messages[1].reasoning_content'."),
        refusal("property 'reasoning_content' is unsupported"),
        refused_with({"detail": [{"type": "extra_forbidden", "loc": ["body", "messages", 1, "reasoning_content"], "msg": EXTRA}]}, 422),
    ],
)  # fmt: skip
def test_a_server_that_does_not_want_the_reasoning_after_all(error: APIStatusError) -> None:
    assert learned(error, Lesson(wants_reasoning=True)) == {"wants_reasoning": False}
    assert learned(error) == {}


def test_a_window_that_the_server_tells() -> None:
    error = refusal("This model's maximum context length is 4097 tokens", "messages", "context_length_exceeded")  # fmt: skip
    assert learned(error) == {"max_input": 4097, "shares_window": True}
    error = refusal("Input tokens exceed the configured limit of 272000 tokens.")
    assert learned(error) == {"max_input": 272_000, "shares_window": False}
    assert learned(refusal("too long", code="context_length_exceeded")) == {}


@pytest.mark.parametrize(
    "error",
    [
        refusal("Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 5 instead.", "temperature", "decimal_above_max_value"),
        refusal("max_tokens is too large: 50000. This model supports at most 4096 completion tokens", "max_tokens", "invalid_value"),
        refusal("Could not finish the message because max_tokens or model output limit was reached."),
        refusal("Function tools with reasoning_effort are not supported for MODEL in /v1/chat/completions", "reasoning_effort"),
        refusal("Unsupported value: 'messages[0].role' does not support 'developer' with this model.", "messages[0].role", "unsupported_value"),
        refusal("Unsupported parameter: 'top_k' is not supported with this model.", "top_k", "unsupported_parameter"),
        refusal("The model does not support images. Please stop sending them."),
        refusal("Upstream is not available; the seed server is unknown."),
        refusal("'temperature' should be between 0 and 2"),
        refusal("Streaming is not supported with response_format json_object."),
        refusal("`temperature` is not supported with `stream`", "temperature"),
        refusal("'n' greater than 1 is not supported when 'stream' is true", "n"),
        refusal("tools are only supported when stream is not set"),
        refusal("This model does not support streaming with tools."),
        refusal("Invalid value for 'temperature': 3 is not allowed; it must be at most 2.", "temperature", "invalid_value"),
        refusal("Invalid schema for function 'get_weather': In context=('properties', 'temperature'), 'default' is not permitted."),
        refusal("Unknown name \"seed\" at 'tools[0].function_declarations[0].parameters': Cannot find field."),
        refusal("'top_p' is not allowed unless 'temperature' is true"),
        refusal("max_tokens above 4096 is not supported by this model.", "max_tokens"),
        refusal(f"Unsupported parameter: 'seed' {UNSUPPORTED}", None, "invalid_value"),
        refusal("Unknown parameter: 'web_search_options.search_context_size'.", "web_search_options.search_context_size", "unknown_parameter"),
        refusal("m"),
        *map(refusal, [
            "messages.0.seed: Extra inputs are not permitted",
            "An early stop is not supported by this tool",
            "'n' does not support temperature values",
            "This model does not support streaming responses when tools are used",
            "Streaming is not supported for this model when tools are used.",
            "Streaming is not supported for this model with n > 1.",
            "Streaming is not supported in this api together with response_format",
            "'seed' is not supported in the request when stream is set",
            "unknown parameter 'foo', did you mean 'stop'?",
            "Unsupported parameter foo. Allowed: temperature",
            "unknown model name seed",
            "The tool name seed is unknown; unsupported tool name `stop`",
            "unsupported key `stop` in message 2",
            "unexpected field 'name' or 'seed' in tool",
            "Unsupported tool property 'temperature'",
            "Property 'temperature' is not allowed in tool input schema",
            "`temperature` is not available for the token id 99999",
            "'seed' is not recognized as an integer",
            "temperature is not accepted as string",
            "`temperature` is not available until you verify your account",
            "`temperature` is not available on your plan",
            "max_tokens is not supported at this value",
            "`top_p` is not allowed because `temperature` is false",
            "stream_options is not allowed since stream is false",
            "`seed` is not supported using batch",
            "temperature is not allowed to be above 1",
            "'temperature' does not support values above 2.",
            "'temperature' does not support negative numbers.",
            "'presence_penalty' is not supported outside [-2, 2].",
            "'temperature' is not allowed beyond 2.",
            "temperature is not accepted: must be between 0 and 2.",
            "'temperature' is not allowed, expected a number between 0 and 2.",
            "Unsupported value for parameter 'temperature'",
            "Unexpected key 'foo' in option 'seed'",
            "temperature and top_p are not supported simultaneously",
            "temperature and top_p are not allowed both",
            "'top_p' is not allowed: 'seed' must be 1.",
            "max_tokens is not supported above 4096",
            "'max_tokens' is not allowed. It must be >= 16",
        ]),
        refused_with("temperature"),
        refused_with({"detail": [{"type": "less_than_equal", "loc": ["body", "temperature"], "msg": "Input should be less than or equal to 1.5"}]}, 422),
        *(
            refusal(f"Unsupported parameter: 'temperature' {UNSUPPORTED}", "temperature", "unsupported_parameter", status)
            for status in (401, 403, 404, 409, 413, 429, 500, 503)
        ),
    ],
    ids=lambda error: f"{error.status_code}-{error.message[17:60]}",
)  # fmt: skip
def test_nothing_else_teaches_anything(error: APIStatusError) -> None:
    assert learned(error) == {}


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "message", "param", "code", "detail", "loc", "msg"]),
                inner,
            )
        ),
        max_leaves=12,
    )
)
def test_any_body_is_survived(body: object) -> None:
    learned(refused_with(body))


@pytest.mark.parametrize(
    "code", ["unsupported_parameter", "unsupported_value", "unknown_parameter"]
)
def test_a_code_is_enough_where_the_parameter_is_named(code: str) -> None:
    assert learned(refusal("no", "seed", code)) == {"refused": frozenset({"seed"})}
    assert learned(refusal("no", None, code)) == {}
    assert learned(refusal("no", "seed", "invalid_value")) == {}


def test_a_model_is_called_by_its_name() -> None:
    for model, name in [
        ("gpt-5", "gpt-5"),
        ("openai/gpt-5", "gpt-5-2025-08-07"),
        ("gpt-5", "openai/gpt-5"),
        ("qwen2.5:7b", "model 'qwen2.5:7b'"),
        ("my (own) model+", "the model my (own) model+"),
    ]:
        error = refusal(f"`seed` is not supported for {name}.")
        assert learned(error, model=model) == {"refused": frozenset({"seed"})}
        error = refusal(f"Streaming is not supported with {name}")
        assert learned(error, model=model) == {"streams": False}
    for model in ("gpt-5", "m", "with", ""):
        assert learned(refusal("`seed` is not supported for gpt-5-turbo."), model=model) == {}
        assert learned(refusal("`seed` is not supported with `n`."), model=model) == {}


@pytest.mark.parametrize("name", sorted(SAMPLING_PARAMETERS))
def test_whatever_steers_the_choice_can_be_done_without(name: str) -> None:
    error = refusal(f"Unsupported parameter: '{name}' {UNSUPPORTED}", name, "unsupported_parameter")
    sent: dict[str, Any] = {name: 1}
    assert learned(error, **sent) == {"refused": frozenset({name})}


# --- heeding ---------------------------------------------------------------------------------


def adapted(
    params: dict[str, object],
    *,
    family: ModelFamily = UNKNOWN_FAMILY,
    endpoint: EndpointName = "chat",
    is_streamed: bool = False,
    lesson: Lesson | None = None,
) -> tuple[dict[str, object], bool, set[tuple[str, str, bool]]]:
    made = adapt(
        params,
        is_streamed=is_streamed,
        family=family,
        endpoint=endpoint,
        lesson=lesson or Lesson(),
    )
    changes: set[tuple[str, str, bool]] = {
        (change.parameter, change.change, change.is_learned) for change in made.changes
    }
    return dict(made.params), made.is_streamed, changes


def test_an_unknown_model_gets_what_is_given() -> None:
    params: dict[str, object] = {"max_tokens": 5, "temperature": 1, "stop": "x", "n": 2}
    assert adapted(params) == (params, False, set())
    params["max_completion_tokens"] = 6
    assert adapted(params)[0] == params


def test_what_the_family_refuses_is_not_sent() -> None:
    params: dict[str, object] = {"max_tokens": 5, "temperature": 0, "stop": "x", "n": 2}
    assert adapted(params, family=family_of("o3")) == (
        {"max_completion_tokens": 5, "n": 2},
        False,
        {
            ("max_tokens", "renamed", False),
            ("temperature", "left out", False),
            ("stop", "left out", False),
        },
    )
    none: dict[str, object] = {"temperature": 0, "reasoning_effort": "none"}
    assert adapted(none, family=family_of("gpt-5.6-sol")) == (none, False, set())


def test_a_classic_model_takes_both_names_of_the_limit() -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        assert adapted({name: 5}, family=family_of("gpt-4o")) == ({name: 5}, False, set())


def test_what_a_family_refuses_it_refuses_of_chat_completions() -> None:
    own = {"stop": ["END"], "max_tokens": 5}
    taken, _, changes = adapted(own, family=family_of("o3"), endpoint="completions")
    assert (taken, changes) == (own, set())


def test_text_completions_know_one_name() -> None:
    assert adapted({"max_completion_tokens": 5}, endpoint="completions") == (
        {"max_tokens": 5},
        False,
        {("max_completion_tokens", "renamed", False)},
    )


def test_lessons_are_heeded() -> None:
    lesson = Lesson(
        limit_name="max_completion_tokens",
        refused=frozenset({"seed", "stream_options"}),
        wants_reasoning=True,
    )
    assert adapted({"max_tokens": 5, "seed": 1}, lesson=lesson, is_streamed=True) == (
        {"max_completion_tokens": 5},
        True,
        {
            ("max_tokens", "renamed", True),
            ("seed", "left out", True),
            ("stream_options", "left out", True),
            ("reasoning_content", "added", True),
        },
    )


def test_usage_is_asked_for_in_streams_alone() -> None:
    usage = {"include_usage": True}
    assert adapted({}, is_streamed=True) == ({"stream_options": usage}, True, set())
    own: dict[str, object] = {"stream_options": {"include_usage": False}}
    assert adapted(own, is_streamed=True) == (own, True, set())
    assert adapted(own) == ({}, False, set())
    assert adapted(own, is_streamed=True, lesson=Lesson(streams=False)) == (
        {},
        False,
        {("stream", "left out", True)},
    )


@given(
    sent=st.dictionaries(
        st.sampled_from(sorted(SAMPLING_PARAMETERS | {"max_tokens", "max_completion_tokens"})),
        st.integers(1, 9),
    ),
    refused=st.lists(
        st.sampled_from(
            sorted(SAMPLING_PARAMETERS | {"max_tokens", "max_completion_tokens", "stream_options"})
        )
    ),
    is_streamed=st.booleans(),
)
def test_a_call_ends_whatever_is_refused(
    sent: dict[str, object], refused: list[str], is_streamed: bool
) -> None:
    """Each refusal that teaches something changes the request: no two are the same."""
    lessons = Lessons()
    seen: list[object] = []
    is_renamed = False
    while True:
        lesson = lessons.of("chat", "m")
        params, streams, _ = adapted(sent, lesson=lesson, is_streamed=is_streamed)
        body = {**params, "stream": streams}
        assert body not in seen
        seen.append(body)
        name = next((name for name in refused if name in body), None)
        if name is None:
            return
        error = refusal(f"Unsupported parameter: '{name}' {UNSUPPORTED}", name)
        new = learned_from(error, body, lesson)
        if not new or ("limit_name" in new and is_renamed):
            return
        is_renamed = is_renamed or "limit_name" in new
        lessons.keep("chat", "m", **new)


def test_lessons_are_kept_by_endpoint_and_model() -> None:
    lessons = Lessons()
    lessons.keep("chat", "a", streams=False)
    lessons.keep("chat", "a", max_input=10, refused=frozenset({"seed"}))
    lessons.keep("chat", "a", refused=frozenset({"stop"}))
    assert lessons.of("chat", "a") == Lesson(
        streams=False, max_input=10, refused=frozenset({"seed", "stop"})
    )
    assert lessons.of("chat", "b") == lessons.of("completions", "a") == Lesson()


def test_the_smaller_window_counts() -> None:
    gpt_4 = family_of("gpt-4")
    assert Lesson().narrowed(gpt_4) is gpt_4
    assert Lesson(max_input=10_000).narrowed(gpt_4) is gpt_4
    assert Lesson(max_input=4_000).narrowed(gpt_4).max_input == 4_000
    assert Lesson(max_input=4_000).narrowed(UNKNOWN_FAMILY).max_input == 4_000
    assert not Lesson(max_input=4_000, shares_window=False).narrowed(gpt_4).shares_window


def test_a_change_says_what_it_is() -> None:
    change = RequestChange("stop", "left out", is_learned=True)
    assert (change.parameter, change.change, change.is_learned) == ("stop", "left out", True)
