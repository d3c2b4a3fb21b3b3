"""What an error says of its account: a row for each class, so that none is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from chatgpt.core import errors
from chatgpt.core.errors import ChatGPTError
from chatgpt.core.pool.failures import (
    LONGEST_REST,
    NO_ACCOUNTS,
    NOT_FOUND,
    RATE_LIMIT,
    TIMEOUT,
    UNAVAILABLE,
    UNKNOWN,
    Verdict,
    pool_error,
    refusal,
    refused_login,
    unknown_account,
    verdict_of,
)

COOLDOWN = 60.0

NOBODY: None = None
OUT = Verdict(RATE_LIMIT, is_out=True)
LIMITED = Verdict(RATE_LIMIT, 180.0)
FORBIDDEN = Verdict(UNKNOWN, 300.0)
FAILED = Verdict(UNAVAILABLE, 120.0, blames="request")
STRANGE = Verdict(UNKNOWN, 300.0, blames="request")

ROWS: dict[type[ChatGPTError], tuple[int | None, Verdict | None]] = {
    errors.ChatGPTError: (None, NOBODY),
    errors.ConfigurationError: (None, NOBODY),
    errors.MessageNotFoundError: (None, NOBODY),
    errors.PromptTooLongError: (None, NOBODY),
    errors.StoreError: (None, NOBODY),
    errors.MessageIdTakenError: (None, NOBODY),
    errors.APIConnectionError: (None, FAILED),
    errors.APITimeoutError: (None, FAILED),
    errors.AbortedError: (None, NOBODY),
    errors.StreamInterruptedError: (200, FAILED),
    errors.StreamError: (None, STRANGE),
    errors.InvalidResponseError: (200, STRANGE),
    errors.APIStatusError: (None, STRANGE),
    errors.BadRequestError: (400, NOBODY),
    errors.ContextLengthError: (400, NOBODY),
    errors.ContentFilterError: (400, NOBODY),
    errors.UnprocessableEntityError: (422, NOBODY),
    errors.AuthenticationError: (401, FORBIDDEN),
    errors.TokenExpiredError: (401, FORBIDDEN),
    errors.PermissionDeniedError: (403, FORBIDDEN),
    errors.BlockedByCloudflareError: (403, FORBIDDEN),
    errors.UnusualActivityError: (403, FORBIDDEN),
    errors.NotFoundError: (404, NOBODY),
    errors.ConflictError: (409, FAILED),
    errors.RequestTooLargeError: (413, NOBODY),
    errors.RateLimitError: (429, LIMITED),
    errors.QuotaExceededError: (429, OUT),
    errors.ConcurrentRequestError: (429, LIMITED),
    errors.InternalServerError: (500, FAILED),
    errors.ServerOverloadedError: (503, FAILED),
    errors.PoolError: (None, NOBODY),
}  # fmt: skip
"""Each class with a status that it comes with, and what its account has to do with it, with a cooldown of 60 s."""


def classes(root: type[ChatGPTError]) -> set[type[ChatGPTError]]:
    found = {root}.union(*(classes(kind) for kind in root.__subclasses__()))
    return {kind for kind in found if kind.__module__ == errors.__name__}


def test_every_class_of_errors_has_a_row() -> None:
    assert classes(ChatGPTError) == set(ROWS)


@pytest.mark.parametrize("kind", ROWS, ids=lambda kind: kind.__name__)
def test_what_an_account_has_to_do_with_an_error(kind: type[ChatGPTError]) -> None:
    status_code, expected = ROWS[kind]
    assert verdict_of(kind("x", status_code=status_code), COOLDOWN) == expected


@pytest.mark.parametrize(
    ("status_code", "expected"),
    [
        (302, STRANGE), (307, STRANGE), (402, OUT), (405, NOBODY), (408, FAILED), (409, FAILED),
        (410, NOBODY), (418, NOBODY), (499, NOBODY), (600, STRANGE),
    ],
)  # fmt: skip
def test_statuses_without_a_class_of_their_own(status_code: int, expected: Verdict | None) -> None:
    assert verdict_of(errors.APIStatusError("x", status_code=status_code), COOLDOWN) == expected


def test_payment_required_takes_an_account_out_whatever_its_class() -> None:
    for error in (
        errors.APIStatusError("x", status_code=402),
        errors.StreamError("x", status_code=402),
    ):
        assert verdict_of(error, 0.0) == OUT


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("connect", FAILED),
        ("idle", FAILED),
        ("total", Verdict(TIMEOUT, 0.0, blames="deadline")),
    ],
)
def test_limits_of_a_call(limit: errors.TimeoutLimit, expected: Verdict) -> None:
    """Of the call's own deadline the account knows nothing."""
    error = errors.APITimeoutError("x")
    error.limit = limit
    assert verdict_of(error, COOLDOWN) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"code": "insufficient_quota"}, OUT),
        ({"type": "insufficient_quota"}, OUT),
        ({"code": "429", "type": "insufficient_quota"}, OUT),
        ({"code": "credit_balance_too_low"}, OUT),
        ({"code": "usage_limit_reached"}, OUT),
        ({"code": "monthly_spend_limit"}, OUT),
        ({"code": "rate_limit_exceeded"}, LIMITED),
        ({"type": "rate_limit_error"}, LIMITED),
        ({"code": "RATE_LIMIT_EXCEEDED"}, LIMITED),
        ({"code": "too_many_requests"}, LIMITED),
        ({"code": "429"}, LIMITED),
        ({"type": "server_error"}, FAILED),
        ({"type": "overloaded_error"}, FAILED),
        ({"code": "service_unavailable"}, FAILED),
        ({"code": "timeout"}, FAILED),
        ({"code": "500"}, FAILED),
        ({"code": "502"}, FAILED),
        ({"code": "503"}, FAILED),
        ({"code": "504"}, FAILED),
        ({"code": "529"}, FAILED),
        ({"code": "something_new"}, STRANGE),
        ({}, STRANGE),
    ],
)
def test_errors_within_an_answer_go_by_their_names(
    names: dict[str, Any], expected: Verdict
) -> None:
    assert verdict_of(errors.StreamError("x", **names), COOLDOWN) == expected


@pytest.mark.parametrize(
    "names",
    [
        {"code": "moderation_blocked", "type": "moderation"},
        {"code": "content_filter"},
        {"code": "context_length_exceeded", "type": "invalid_request_error"},
        {"code": "400"},
    ],
)
def test_what_is_wrong_with_the_message_is_nothing_of_the_account(names: dict[str, Any]) -> None:
    """The same with a status of 400 is not, either."""
    assert verdict_of(errors.StreamError("x", **names), COOLDOWN) is None


def test_names_count_within_an_answer_alone() -> None:
    error = errors.BadRequestError("x", status_code=400, code="rate_limit_exceeded")
    assert verdict_of(error, COOLDOWN) is None


@pytest.mark.parametrize(
    ("asked", "seconds"), [(None, 180), (0, 180), (179.9, 180), (181.5, 181.5), (1e9, LONGEST_REST)]
)
def test_a_server_may_ask_for_a_longer_rest(asked: float | None, seconds: float) -> None:
    for error in (
        errors.RateLimitError("x", status_code=429, retry_after=asked),
        errors.StreamError("x", code="429", retry_after=asked),
    ):
        verdict = verdict_of(error, COOLDOWN)
        assert verdict is not None
        assert verdict.cooldown == seconds


def test_what_a_server_asks_for_after_another_error_is_not_the_accounts() -> None:
    error = errors.ServerOverloadedError("x", status_code=503, retry_after=999.0)
    assert verdict_of(error, COOLDOWN) == FAILED


@pytest.mark.parametrize("kind", ROWS, ids=lambda kind: kind.__name__)
def test_without_a_cooldown_nothing_rests(kind: type[ChatGPTError]) -> None:
    """A server's wish included; a quota that is used up is another matter."""
    error = kind("x", status_code=ROWS[kind][0], retry_after=999.0)
    with_one, without = verdict_of(error, COOLDOWN), verdict_of(error, 0.0)
    assert (with_one is None) == (without is None)
    if with_one is not None and without is not None:
        assert without == Verdict(with_one.type, 0.0, with_one.is_out, with_one.blames)


def test_a_login_that_fails() -> None:
    assert refused_login(COOLDOWN) == Verdict(UNKNOWN, 300.0, blames="account")
    assert refused_login(0.0).cooldown == 0.0


# --- the errors of a pool ------------------------------------------------------------------------


def test_the_error_of_a_pool_tells_all_that_the_error_of_the_account_does() -> None:
    error = errors.RateLimitError(
        "slow down",
        status_code=429,
        status_text="Too Many Requests",
        code="rate_limit_exceeded",
        param="messages",
        type="tokens",
        body={"error": "x"},
        request_id="req-1",
        retry_after=7.0,
        partial="Hel",
        is_final=False,
    )
    made = pool_error(error, Verdict(RATE_LIMIT, 180.0), "a")
    own = {"message": "The account 'a' failed: slow down", "type": RATE_LIMIT, "account_id": "a"}
    assert vars(made) == {**vars(error), **own}
    assert str(made) == own["message"]
    assert made.__cause__ is error


@pytest.mark.parametrize(
    ("is_out", "is_final", "expected"),
    [(False, False, False), (False, True, True), (False, None, False), (True, False, True)],
)
def test_a_pool_that_is_worth_asking_again(
    is_out: bool, is_final: bool | None, expected: bool
) -> None:
    error = errors.RateLimitError("x", is_final=is_final)
    assert pool_error(error, Verdict(RATE_LIMIT, is_out=is_out), "a").is_final is expected


def test_the_cause_is_kept_without_the_frames_of_the_core() -> None:
    def fail() -> None:
        written = "canary"
        try:
            int(written)
        except ValueError:
            raise errors.StreamError("x")  # noqa: B904 - the context is what it is about

    with pytest.raises(errors.StreamError) as caught:
        fail()
    made = pool_error(caught.value, Verdict(UNKNOWN), "a")
    assert made.__cause__ is caught.value
    assert caught.value.__traceback__ is None
    assert caught.value.__context__ is None


def test_a_refusal_of_the_pools_own() -> None:
    made = refusal(NO_ACCOUNTS, "none")
    assert (made.type, made.is_final, made.account_id, made.retry_after) == (
        NO_ACCOUNTS, False, None, None,
    )  # fmt: skip
    cause = OSError("Redis is away")
    made = refusal(UNAVAILABLE, "x", cause=cause, retry_after=3.0, account_id="a", is_final=True)
    assert made.__cause__ is cause
    assert (made.retry_after, made.account_id, made.is_final) == (3.0, "a", True)


def test_an_account_that_the_pool_does_not_have() -> None:
    made = unknown_account("z", ["a", "b"])
    assert (made.type, made.is_final, made.account_id) == (NOT_FOUND, True, "z")
    assert made.message == "The pool has no account 'z'. It has 'a', 'b'."
    assert unknown_account("z", []).message == "The pool has no account 'z'. It has none."


def test_a_refusal_may_know_better_than_its_cause_when_to_come_back() -> None:
    cause = errors.RateLimitError("x", retry_after=7.0)
    assert refusal(TIMEOUT, "x", cause=cause).retry_after == 7.0
    assert refusal(TIMEOUT, "x", cause=cause, retry_after=0.0).retry_after == 0.0
