from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt.core import errors
from chatgpt.core.retry import RetryPolicy, is_final, refill_seconds, retry_after
from tests.stepping import NOW

POLICY = RetryPolicy(max_retries=2)


def status(
    code: int, kind: type[errors.APIStatusError] = errors.APIStatusError, **fields: float
) -> errors.APIStatusError:
    error = kind("x", status_code=code)
    error.retry_after = fields.get("retry_after")
    return error


def delay(
    error: errors.ChatGPTError, retries: int = 0, chance: float = 0.0, **headers: str
) -> float | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    error.is_final = is_final(error, named)
    return POLICY.delay(retries, error, chance=chance)


@pytest.mark.parametrize("code", [408, 409, 429, 500, 502, 503, 504, 529])
def test_statuses_that_are_tried_again(code: int) -> None:
    assert delay(status(code)) == 0.5


@pytest.mark.parametrize("code", [300, 307, 400, 401, 402, 403, 404, 413, 422, 425])
def test_statuses_that_are_not(code: int) -> None:
    assert delay(status(code)) is None


def test_connections_are_tried_again_unless_the_request_may_have_been_answered() -> None:
    assert delay(errors.APIConnectionError("x")) == 0.5
    for limit, expected in (("connect", 0.5), ("idle", None), ("total", None)):
        error = errors.APITimeoutError("x")
        error.limit = limit  # type: ignore[assignment]
        assert delay(error) == expected


def test_what_may_have_reached_the_server_is_not_always_sent_again() -> None:
    once = RetryPolicy(max_retries=2, repeats_sent=False)
    error = errors.APIConnectionError("x")
    error.is_final = is_final(error, {})
    assert once.delay(0, error, chance=0.0, was_sent=True) is None
    assert once.delay(0, error, chance=0.0, was_sent=False) == 0.5
    assert POLICY.delay(0, error, chance=0.0, was_sent=True) == 0.5


def test_a_quota_is_never_tried_again() -> None:
    assert delay(status(429, errors.QuotaExceededError), x_should_retry="true") is None


def test_the_server_may_overrule_the_status() -> None:
    assert delay(status(400), x_should_retry="true") == 0.5
    assert delay(status(500), x_should_retry="false") is None
    assert delay(status(500), x_should_retry="perhaps") == 0.5


def test_other_errors_are_not_tried_again() -> None:
    assert delay(errors.StreamInterruptedError("x")) is None
    assert delay(errors.InvalidResponseError("x")) is None


def test_the_number_of_tries() -> None:
    assert delay(status(500), retries=1) == 1.0
    assert delay(status(500), retries=2) is None
    assert RetryPolicy(0).delay(0, status(500), chance=0) is None


def test_the_wait_doubles_up_to_a_limit_and_is_shortened_by_chance() -> None:
    policy = RetryPolicy(10_000)
    waits = [policy.delay(retries, status(500), chance=0.0) for retries in range(7)]
    assert waits == [0.5, 1, 2, 4, 8, 8, 8]
    assert policy.delay(9_999, status(500), chance=0.0) == 8
    assert policy.delay(0, status(500), chance=1.0) == 0.375


def test_what_the_server_asks_for_is_obeyed() -> None:
    assert delay(status(429, retry_after=3.5), chance=0.9) == 3.5
    assert delay(status(429, retry_after=0.0)) == 0.5


DATE = (NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "494", "retry-after": "1"}, 0.494),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1.0),
        ({"retry-after": DATE}, 90.0),
        ({"retry-after": "Sun, 22 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 -0000"}, 30.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Sun, 99 Nov 20260 99:00:00 GMT"}, None),
        ({"retry-after-ms": "0"}, 0.0),
        # The three forms of RFC 9110, 5.6.7.
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sunday, 22-Nov-26 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun Nov 22 12:00:30 2026"}, 30.0),
    ],
)
def test_what_the_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


def test_a_clock_that_is_wrong_does_no_harm() -> None:
    """A date is compared with the server's own: here it is years later, or earlier."""
    for year in (2020, 2031):
        headers = {
            "date": f"Sun, 22 Nov {year} 12:00:00 GMT",
            "retry-after": f"Sun, 22 Nov {year} 12:00:07 GMT",
        }
        assert retry_after(headers, NOW) == 7.0
    assert retry_after({"date": "today", "retry-after": DATE}, NOW) == 90.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6ms"}, 0.006),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m0.052s"}, 60.052),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        (
            {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1h2m3s4us"},
            3723.000004,
        ),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20"}, 20.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "-1"}, 0.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "soon"}, 0.0),
        ({"x-ratelimit-remaining-tokens": "0"}, 0.0),
        ({"x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "20"}, 0.0),
        ({"x-ratelimit-remaining-tokens": "149984", "x-ratelimit-reset-tokens": "6s"}, 0.0),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "9ms",
                "x-ratelimit-remaining-tokens_usage_based": "0",
                "x-ratelimit-reset-tokens_usage_based": "2s",
            },
            2.0,
        ),
    ],
)
def test_when_a_bucket_is_full_again(headers: dict[str, str], seconds: float) -> None:
    assert refill_seconds(headers) == pytest.approx(seconds)


def test_an_empty_bucket_makes_the_own_wait_longer() -> None:
    """Up to the longest wait, and never what the server asks for."""
    policy = RetryPolicy(2)
    for refill, expected in ((0.1, 0.5), (3.0, 3.0), (360.0, 8.0)):
        assert policy.delay(0, status(429), chance=0.0, refill=refill) == expected
    asked = status(429, retry_after=0.2)
    assert policy.delay(0, asked, chance=0.0, refill=360.0) == 0.2


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_header_is_borne(value: str, other: str) -> None:
    names = ("retry-after", "retry-after-ms", "date", "x-ratelimit-reset-tokens")
    for name in names:
        headers = {"x-ratelimit-remaining-tokens": "0", **dict.fromkeys(names, other), name: value}
        seconds = retry_after(headers, NOW)
        assert seconds is None or seconds >= 0
        assert refill_seconds(headers) >= 0
