from __future__ import annotations

import json
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt.core import errors
from chatgpt.core.error_bodies import is_error, read_error, status_error, stream_error
from chatgpt.core.needs import ResponseHead
from chatgpt.core.secrets import Secret, SecretMask, tokens_in


def as_is(text: str) -> str:
    return text


def head(status: int, reason: str = "", **headers: str) -> ResponseHead:
    return ResponseHead(
        status, reason, {name.replace("_", "-"): value for name, value in headers.items()}
    )


@pytest.mark.parametrize(
    ("body", "message", "kind", "param", "code"),
    [
        ({"error": {"message": "m", "type": "t", "param": "p", "code": "c"}}, "m", "t", "p", "c"),
        ({"error": {"message": "m", "code": 429}}, "m", None, None, "429"),
        ({"error": "text"}, "text", None, None, None),
        ([{"error": {"code": 400, "message": "m", "status": "INVALID"}}], "m", None, None, "400"),
        ({"object": "error", "message": "m", "type": "t", "param": None, "code": 40001}, "m", "t", None, "40001"),
        ({"type": "error", "code": "c", "message": "m", "param": None}, "m", "error", None, "c"),
        ({"detail": "Not Found"}, "Not Found", None, None, None),
        ({"detail": "invalid_token"}, "invalid_token", None, None, "invalid_token"),
        ({"detail": {"message": "m", "type": "t", "param": None, "code": "token_expired"}}, "m", "t", None, "token_expired"),
        ({"detail": [{"loc": ["body", "x"], "msg": "bad", "type": "v"}, {"loc": ["y"], "msg": "worse", "type": "w"}]}, "body.x: bad; y: worse", "v", "body.x", None),
        ({"message": "m"}, "m", None, None, None),
        ({"object": "error", "message": {"detail": [{"loc": ["b"], "msg": "no"}]}, "type": "t"}, "b: no", "t", "b", None),
        ({"message": '{"detail": "inner"}', "code": 3001}, "inner", None, None, "3001"),
        ({"error": {"code": "error", "message": {"code": "token_expired", "message": "m"}}}, "m", None, None, "token_expired"),
        ({"error": {"message": "m"}, "message": "outer"}, "m", None, None, None),
        ({"choices": [{"error": {"code": 502, "message": "m"}, "finish_reason": "error"}]}, "m", None, None, "502"),
        ({"error": {"code": "error", "message": {"code": "token_expired"}, "type": "401 Unauthorized"}}, None, "401 Unauthorized", None, "token_expired"),
        ({"error": {}}, None, None, None, None),
        (None, None, None, None, None),
    ],
)  # fmt: skip
def test_the_shapes_of_errors(
    body: object, message: str | None, kind: str | None, param: str | None, code: str | None
) -> None:
    details = read_error(json.dumps(body))
    assert (details.message, details.type, details.param, details.code) == (
        message,
        kind,
        param,
        code,
    )
    assert details.body == body


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", None),
        ("Bad  gateway\n here", "Bad gateway here"),
        (
            "<html><head><title> 502 Bad Gateway </title></head></html>",
            "a page of HTML, '502 Bad Gateway'",
        ),
        ("<html></html>", "a page of HTML"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_bodies_that_are_no_json(text: str, message: str | None) -> None:
    assert read_error(text).message == message


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (307, "", errors.APIStatusError),
        (400, '{"error": {"message": "bad"}}', errors.BadRequestError),
        (400, '{"error": {"message": "m", "code": "context_length_exceeded"}}', errors.ContextLengthError),
        (400, '{"error": {"message": "This model\'s maximum context length is 4097 tokens", "code": null}}', errors.ContextLengthError),
        (400, '{"error": {"message": "m", "type": "exceed_context_size_error", "code": 400}}', errors.ContextLengthError),
        (400, '{"error": {"message": "litellm.ContextWindowExceededError: too long"}}', errors.ContextLengthError),
        (400, '{"error": {"message": "Input tokens exceed the configured limit of 272000 tokens"}}', errors.ContextLengthError),
        (400, '{"error": {"message": "context length exceeded", "param": "messages", "code": "invalid_request_error"}}', errors.ContextLengthError),
        (400, '{"error": {"message": "context length exceeded", "param": "input_tokens"}}', errors.ContextLengthError),
        # What names another parameter is about that one.
        (400, '{"error": {"message": "Unknown parameter: \'context_length\'.", "param": "context_length", "code": "unknown_parameter"}}', errors.BadRequestError),
        (400, '{"error": {"message": "Unrecognized request argument supplied: context_window"}}', errors.BadRequestError),
        (400, '{"error": {"message": "context_length: Extra inputs are not permitted"}}', errors.BadRequestError),
        (400, '{"error": {"message": "Invalid \'truncation\': \'auto\' or \'disabled\' (context window handling)", "param": "truncation", "code": "invalid_value"}}', errors.BadRequestError),
        (400, '{"error": {"message": "temperature is not supported with this model (context length 8192 models only)", "code": "unsupported_parameter"}}', errors.BadRequestError),
        (400, '{"error": {"message": "maximum context length of a description is 1024", "param": "tools[0].function.description"}}', errors.BadRequestError),
        (400, '{"error": {"message": "filtered", "code": "content_filter"}}', errors.ContentFilterError),
        (401, '{"error": {"message": "no", "code": "invalid_api_key"}}', errors.AuthenticationError),
        (401, '{"detail": {"message": "m", "code": "token_expired"}}', errors.TokenExpiredError),
        (402, '{"error": {"message": "pay"}}', errors.APIStatusError),
        (403, '{"error": {"message": "no"}}', errors.PermissionDeniedError),
        (403, "<html><title>Just a moment...</title></html>", errors.BlockedByCloudflareError),
        (403, "<html><div class='cf-error-details cf-error-1020'></div></html>", errors.BlockedByCloudflareError),
        (403, "<html><title>Unable to load site</title></html>", errors.BlockedByCloudflareError),
        (403, "<html><title>Forbidden</title></html>", errors.PermissionDeniedError),
        (403, '{"detail": "Our systems have detected unusual activity from your system. Please try again later."}', errors.UnusualActivityError),
        (403, '{"detail": "Our systems have detected unusual activity from your device."}', errors.UnusualActivityError),
        (403, '{"detail": "Unusual activity has been detected from your device. Try again later."}', errors.UnusualActivityError),
        (401, '{"detail": {"message": "m", "code": "invalid_jwt"}}', errors.AuthenticationError),
        (401, '{"detail": "invalid_token"}', errors.AuthenticationError),
        (401, '{"error": {"code": "error", "message": {"code": "token_expired"}, "param": null, "type": "401 Unauthorized"}}', errors.TokenExpiredError),
        (404, '{"detail": {"message": "Conversation not found", "code": "history_disabled_conversation_not_found"}}', errors.NotFoundError),
        (413, '{"detail": {"message": "The message is too long", "code": "message_length_exceeds_limit"}}', errors.RequestTooLargeError),
        (429, '{"detail": "Too many requests in 1 hour. Try again later."}', errors.RateLimitError),
        (429, '{"detail": "Only one message at a time. Please allow any other responses to complete."}', errors.ConcurrentRequestError),
        (429, '{"detail": {"code": "model_cap_exceeded", "clears_in": 60}}', errors.RateLimitError),
        (404, "", errors.NotFoundError),
        (408, "", errors.APIStatusError),
        (409, "", errors.ConflictError),
        (413, "<html></html>", errors.RequestTooLargeError),
        (422, '{"detail": []}', errors.UnprocessableEntityError),
        (429, '{"error": {"message": "slow", "code": "rate_limit_exceeded"}}', errors.RateLimitError),
        (429, '{"error": {"message": "pay", "type": "insufficient_quota", "code": null}}', errors.QuotaExceededError),
        (429, '{"error": {"message": "pay", "type": "x", "code": "project_spend_limit_exceeded"}}', errors.QuotaExceededError),
        (500, "", errors.InternalServerError),
        (502, "<html></html>", errors.InternalServerError),
        (503, '{"error": {"message": "m", "code": "server_is_overloaded"}}', errors.ServerOverloadedError),
        (503, "", errors.InternalServerError),
        (529, "", errors.InternalServerError),
    ],
)  # fmt: skip
def test_the_class_of_a_status(status: int, body: str, kind: type) -> None:
    assert type(status_error(head(status), body, as_is)) is kind


def test_what_an_error_of_a_status_carries() -> None:
    body = '{"error": {"message": "Slow down.", "type": "tokens", "param": "p", "code": "rate_limit_exceeded"}}'
    error = status_error(head(429, "Too Many Requests", x_request_id="req_1"), body, as_is)
    assert str(error) == "429 Too Many Requests: Slow down."
    assert (error.status_code, error.status_text, error.request_id) == (
        429,
        "Too Many Requests",
        "req_1",
    )
    assert (error.type, error.param, error.code) == ("tokens", "p", "rate_limit_exceeded")
    assert error.body == json.loads(body)


def test_an_error_without_a_body_has_a_message_all_the_same() -> None:
    error = status_error(head(503, "Service Unavailable"), "", as_is)
    assert str(error) == "503 Service Unavailable, without a reason"
    assert error.body is None


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"detail": "Too many requests in 1 hour. Try again later."}, 3600),
        ({"detail": "Too many requests in 24 hours. Try again later."}, 86400),
        ({"detail": "Try again in 5 minutes."}, 300),
        ({"detail": {"code": "model_cap_exceeded", "message": "You've hit your limit.", "clears_in": 1234}}, 1234),
        ({"detail": {"code": "model_cap_exceeded", "clears_in": 12.5}}, 12.5),
        ({"detail": {"code": "x", "message": "m", "clears_in": "soon"}}, None),
        ({"detail": {"code": "x", "message": "m", "clears_in": -1}}, None),
        ({"detail": {"code": "x", "message": "m", "clears_in": 1e300}}, None),
        ({"detail": "Too many requests, please slow down"}, None),
        # The words of other servers tell of a period, not of a time to wait.
        ({"error": {"message": "Limit: 100 requests in 1 hour."}}, None),
    ],
)  # fmt: skip
def test_the_time_that_the_backend_tells(body: object, seconds: float | None) -> None:
    assert status_error(head(429), json.dumps(body), as_is).retry_after == seconds


def test_a_page_of_cloudflare_is_one_line() -> None:
    page = (
        "<!DOCTYPE html>\n<html><title>Just a moment...</title>\n" + 1000 * "<p>x</p>\n" + "</html>"
    )
    error = status_error(head(403, "Forbidden"), page, as_is)
    assert str(error).startswith(
        "403 Forbidden: Cloudflare asks for a browser (a page of HTML, 'Just a moment...')"
    )
    assert "\n" not in str(error)
    assert error.body is None


def test_a_code_is_better_than_no_message() -> None:
    body = '{"detail": {"code": "model_cap_exceeded", "clears_in": 77}}'
    assert str(status_error(head(429), body, as_is)) == "429: code model_cap_exceeded"


def test_a_page_may_begin_with_a_mark_of_its_byte_order() -> None:
    page = "\ufeff<html><title>Just a moment...</title></html>"
    assert type(status_error(head(403), page, as_is)) is errors.BlockedByCloudflareError


def test_what_was_not_modified_is_no_redirect() -> None:
    error = status_error(head(304, "Not Modified"), "", as_is)
    assert str(error) == "304 Not Modified, without a reason"


def test_a_redirect_says_why_it_is_not_followed() -> None:
    error = status_error(head(307, "Temporary Redirect", location="https://elsewhere"), "", as_is)
    assert "redirects are not followed" in str(error)


def test_long_messages_are_cut() -> None:
    assert len(str(status_error(head(400), json.dumps({"error": "x" * 10_000}), as_is))) < 520


def test_a_key_that_the_server_repeats_is_masked_everywhere() -> None:
    redact = SecretMask([Secret("sk-canary-1")])
    body = (
        '{"error": {"message": "Incorrect API key provided: sk-canary-1.", "param": "sk-canary-1"}}'
    )
    for error in (
        status_error(head(401), body, redact),
        status_error(head(401), "<title>sk-canary-1</title>", redact),
        stream_error(body, redact, partial=""),
    ):
        assert "canary" not in repr(vars(error)) + str(error)
        assert "***" in str(error)


@pytest.mark.parametrize(
    ("secret", "body", "status", "kind"),
    [
        (
            "context",
            '{"error": {"message": "m", "code": "context_length_exceeded"}}',
            400,
            errors.ContextLengthError,
        ),
        (
            "insufficient",
            '{"error": {"message": "m", "type": "insufficient_quota"}}',
            429,
            errors.QuotaExceededError,
        ),
        (
            "overloaded",
            '{"error": {"message": "m", "code": "server_is_overloaded"}}',
            503,
            errors.ServerOverloadedError,
        ),
    ],
)
def test_a_mask_does_not_hide_what_the_error_is(
    secret: str, body: str, status: int, kind: type
) -> None:
    error = status_error(head(status), body, SecretMask([Secret(secret)]))
    assert type(error) is kind
    assert secret not in repr(vars(error))


@pytest.mark.parametrize(
    ("secret", "body"),
    [
        ('sk-a"b', json.dumps({"error": {"message": 'no: sk-a"b', "x": ['sk-a"b'], 'sk-a"b': 1}})),
        ("sk-a\\b", json.dumps({"error": "no: sk-a\\b"})),
        ("sk/abcdef==", '{"error": "no: sk\\/abcdef\\u003d\\u003d"}'),
        ("sk/abcdef==", '{"error": "no: sk%2Fabcdef%3D%3D"}'),
        ("Bearer sk-other", '{"error": "no: sk-other"}'),
        ("sid=abcdefgh; x=1", '{"error": "no: abcdefgh"}'),
        ("http://user:pass-word@h", '{"error": "no: pass-word"}'),
    ],
)
def test_a_secret_is_masked_however_it_is_repeated(secret: str, body: str) -> None:
    reason = f"Unauthorized {secret}"
    error = status_error(
        head(401, reason, x_request_id=f"req {secret}"), body, SecretMask([Secret(secret)])
    )
    shown = repr(vars(error)) + str(error)
    for form in (secret, "sk-other", "abcdef", "pass-word", "sk-a"):
        assert form not in shown or form not in secret
    assert "***" in str(error)


def test_a_key_at_a_cut_is_masked() -> None:
    redact = SecretMask([Secret("sk-verysecretkey123456")])
    for text in ("x" + " " * 1978 + "sk-verysecretkey123456", "x" * 490 + "sk-verysecretkey123456"):
        error = status_error(head(401), text, redact)
        assert "very" not in repr(vars(error)) + str(error)


def test_a_dummy_key_mutilates_no_text() -> None:
    assert (
        str(status_error(head(400), '{"error": "a box of x"}', SecretMask([Secret("x")])))
        == "400: a box of x"
    )


def test_an_error_in_an_answer_carries_the_text_so_far() -> None:
    error = stream_error('{"error": {"message": "boom", "code": 502}}', as_is, partial="Hel")
    assert str(error) == "The server reported an error in its answer: boom"
    assert (error.partial, error.code) == ("Hel", "502")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"error": {"message": "m"}}, True),
        ({"error": "text", "choices": []}, True),
        ({"error": None, "choices": []}, False),
        ({"type": "error", "message": "m"}, True),
        ({"object": "error"}, True),
        ({"detail": "m"}, True),
        ({"message": "m"}, True),
        ({"message": "", "type": "ping"}, False),
        ({"detail": None}, False),
        ({"choices": [], "message": "a server's greeting"}, False),
        ({"usage": {}}, False),
        ({}, False),
        ([{"error": "text"}], True),
        ([{"x": 1}, 2], False),
        ([], False),
        ("v1", False),
        (None, False),
    ],
)
def test_what_is_an_error(answer: object, expected: bool) -> None:
    assert is_error(answer, is_whole=False) is expected


def test_a_text_is_an_error_as_the_whole_answer() -> None:
    assert is_error("boom", is_whole=True)
    assert not is_error(" ", is_whole=True)
    assert not is_error(17, is_whole=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["error", "detail", "message", "code", "type", "param", "loc", "msg", "x"]
            ),
            inner,
        )
    ),
    max_leaves=20,
)


@given(
    st.integers(300, 599),
    JSON.map(json.dumps) | st.text() | st.binary().map(lambda b: b.decode("utf-8", "replace")),
)
def test_any_body_gives_a_typed_error_with_a_message(status: int, text: str) -> None:
    error = status_error(head(status, "Reason"), text, as_is)
    assert str(error)
    assert error.status_code == status
    assert all(
        value is None or isinstance(value, str) for value in (error.type, error.param, error.code)
    )


@pytest.mark.parametrize(
    "body",
    [
        "<html><title>" + " " * 60_000 + "x",
        "<html><title" + " " * 60_000,
        "<title>" * 9_000,
        "eyJ-" * 15_000,
        "eyJaaaaaa." * 6_000,
        "session-token" * 5_000,
        "exceed" * 10_000,
        '"access_token"' * 4_000,
        '"access_token"' + " " * 60_000,
        "in 1" * 15_000,
    ],
    ids=lambda body: body[:16],
)
def test_no_body_takes_for_ever(body: str) -> None:
    """Most of a second is far more than any of these needs; a pattern that runs wild takes minutes."""
    began = process_time()
    tokens_in(body)
    status_error(head(400), body, SecretMask([Secret("a secret")]))
    assert process_time() - began < 1


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("<html><TITLE lang=en>\n A  page </TITLE>", "a page of HTML, 'A  page'"),
        ("<html><title></title>", "a page of HTML"),
        ("<html><title>never closed", "a page of HTML"),
        ("<p>none", "a page of HTML"),
        ("<400> InternalError.Algo: no", "<400> InternalError.Algo: no"),
    ],
)
def test_the_title_of_a_page(page: str, shown: str) -> None:
    assert read_error(page).message == shown
