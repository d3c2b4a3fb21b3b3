"""The session, stepped by hand: what its endpoint may answer, and what is shown of that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatgpt import (
    APIStatusError,
    AuthenticationError,
    BlockedByCloudflareError,
    ChatGPTError,
    InternalServerError,
    InvalidResponseError,
    Secret,
    StreamError,
    StreamInterruptedError,
    TokenExpiredError,
)
from chatgpt.core.limits import Limits
from chatgpt.core.needs import SendRequest, Sleep
from chatgpt.core.secrets import SecretMask
from chatgpt.core.web.session import SessionAccess
from tests.core.web.made import session, surroundings
from tests.stepping import LOST, Answered, Stepper, json_answer

USER = {"id": "user-abc", "name": "A B", "email": "a@example.com"}
FOREIGN = "eyJhbGciOi.access.token"


def ask(stepper: Stepper, **given: Any) -> tuple[Secret, SessionAccess]:
    settings = session(**given)
    access = SessionAccess(settings, surroundings(stepper))
    limits = Limits(stepper.clock, total=60, idle=60, connect=10)
    return stepper.run(access.valid_token(limits, settings.redactor())), access


def test_the_request() -> None:
    stepper = Stepper(json_answer({"user": USER, "accessToken": "t"}))
    token, access = ask(
        stepper,
        api_base_url="https://proxy.example/api/",
        backend_api_base_url="https://proxy.example/b",
    )
    assert (token, access.user) == (Secret("t"), USER)
    request = stepper.of(SendRequest)[0].request
    assert (request.method, request.url) == ("GET", "https://proxy.example/api/auth/session")
    assert request.headers["cookie"].reveal() == (
        "cf_clearance=clearance-token-1; __Secure-next-auth.session-token=session-token-1"
    )
    assert "authorization" not in request.headers
    assert request.body == b""


def test_nobody_is_known_before() -> None:
    stepper = Stepper()
    assert SessionAccess(session(), surroundings(stepper)).user is None


def test_nobody_is_known_after_a_session_that_is_over() -> None:
    stepper = Stepper(json_answer({"user": USER, "accessToken": "t"}), json_answer({}), json_answer({}, 500))  # fmt: skip
    settings = session(max_retries=0)
    access = SessionAccess(settings, surroundings(stepper))
    limits = Limits(stepper.clock, total=60, idle=60, connect=10)
    stepper.run(access.valid_token(limits, SecretMask([])))
    access.keep(None)
    assert access.user == USER
    assert stepper.run(access.has_valid_token(limits, SecretMask([]))) is False
    assert access.user is None


def test_a_refusal_by_status_says_so_too() -> None:
    stepper = Stepper(json_answer({"user": USER, "accessToken": "t"}), json_answer({}, 401))
    access = SessionAccess(session(), surroundings(stepper))
    limits = Limits(stepper.clock, total=60, idle=60, connect=10)
    stepper.run(access.valid_token(limits, SecretMask([])))
    access.keep(None)
    assert stepper.run(access.has_valid_token(limits, SecretMask([]))) is False
    assert access.user is None


def test_the_user_is_optional() -> None:
    for user in ({}, {"user": None}, {"user": "x"}):
        token, access = ask(Stepper(json_answer({"accessToken": "t", **user})))
        assert (token, access.user) == (Secret("t"), None)


@pytest.mark.parametrize(
    ("answer", "kind", "shown"),
    [
        (json_answer({}), AuthenticationError, "Nobody is signed in: session_token is wrong"),
        (json_answer(None), AuthenticationError, "Nobody is signed in"),
        (Answered(b""), AuthenticationError, "Nobody is signed in"),
        (json_answer({"user": USER}), AuthenticationError, "Nobody is signed in"),
        (json_answer({"accessToken": 5}), AuthenticationError, "Nobody is signed in"),
        (json_answer({"accessToken": ""}), AuthenticationError, "Nobody is signed in"),
        (json_answer({"error": "RefreshAccessTokenError"}), TokenExpiredError, "The session is over"),
        (json_answer({"error": "RefreshAccessTokenError", "accessToken": FOREIGN, "user": USER}), TokenExpiredError, "The session is over"),
        (json_answer({"error": "\ud800bad"}), AuthenticationError, "\ufffdbad"),
        (json_answer({"error": "Whatever", "accessToken": FOREIGN}), AuthenticationError, r"\(Whatever\)"),
        (json_answer({"error": {"message": "boom", "accessToken": FOREIGN}}), StreamError, "boom"),
        (json_answer({"detail": "no"}), StreamError, "no"),
        (json_answer([]), InvalidResponseError, "no JSON object"),
        (Answered(b"<html><title>Login</title></html>"), InvalidResponseError, "'Login'"),
        (Answered(f'{{"accessToken": "{FOREIGN}", "user": '.encode()), InvalidResponseError, "not JSON"),
        (Answered(f'{{"accessToken": "{FOREIGN}", "us'.encode(), LOST), StreamInterruptedError, "lost"),
        (json_answer({"error": "RefreshAccessTokenError", "sessionToken": "a/b/c/d/e"}), TokenExpiredError, "The session is over"),
        (json_answer({"accessToken": FOREIGN, "detail": "x"}, 401), AuthenticationError, "401"),
        (json_answer({"message": f"x {FOREIGN}", "accessToken": FOREIGN}, 400), APIStatusError, r"x \*\*\*"),
        (Answered(b"<title>Just a moment...</title>", status=403), BlockedByCloudflareError, "Cloudflare"),
        (Answered(b"", status=304), APIStatusError, "304, without a reason"),
        (json_answer({}, 307), APIStatusError, "redirects are not followed"),
    ],
)  # fmt: skip
def test_what_is_no_session(answer: Answered, kind: type[ChatGPTError], shown: str) -> None:
    with pytest.raises(kind, match=shown) as caught:
        ask(Stepper(answer))
    error = caught.value
    assert error.status_code == answer.head.status
    shown_of_it = json.dumps([str(error), error.body, error.code, error.type])
    assert FOREIGN not in shown_of_it
    assert "a/b/c" not in shown_of_it
    assert USER["email"] not in shown_of_it


def test_it_is_asked_again() -> None:
    stepper = Stepper(json_answer({}, 503), LOST, json_answer({"accessToken": "t"}))
    assert ask(stepper)[0] == Secret("t")
    assert len(stepper.of(Sleep)) == 2
    with pytest.raises(InternalServerError):
        ask(Stepper(*(json_answer({}, 500) for _ in range(3))))


def test_a_token_that_no_header_may_hold() -> None:
    with pytest.raises(InvalidResponseError, match="access token is not visible ASCII"):
        ask(Stepper(json_answer({"accessToken": "a\r\nb: c"})))


def test_the_token_is_masked_from_then_on() -> None:
    settings = session()
    stepper = Stepper(json_answer({"accessToken": FOREIGN}))
    access, redact = SessionAccess(settings, surroundings(stepper)), SecretMask([])
    stepper.run(access.valid_token(Limits(stepper.clock, total=9, idle=9, connect=9), redact))
    assert redact(f"Bearer {FOREIGN}") == "Bearer ***"
