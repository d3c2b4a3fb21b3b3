"""What becomes of a call whose account fails: who is blamed, and whether another account is tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from attrs import evolve

from chatgpt import ChatMessage, PoolError
from chatgpt.core import errors
from chatgpt.core.errors import ChatGPTErrorType
from chatgpt.core.needs import Exchange, ReadChunk, ReportProgress
from chatgpt.core.pool.failures import (
    NO_ACCOUNTS,
    NOT_FOUND,
    ON_COOLDOWN,
    RATE_LIMIT,
    TIMEOUT,
    UNAVAILABLE,
    UNKNOWN,
    verdict_of,
)
from chatgpt.core.pool.needs import AwaitAccount, LeaveAccount, UseAccount
from chatgpt.core.secrets import Secret
from tests.core.pool.playing import COOLDOWN, REPLY, Account, Pool
from tests.stepping import Clock

TOKEN = Secret("token-1")


def limited() -> errors.RateLimitError:
    return errors.RateLimitError("slow down", status_code=429, is_final=False)


def broken() -> errors.InternalServerError:
    return errors.InternalServerError("it broke", status_code=500, is_final=False)


def forbidden() -> errors.PermissionDeniedError:
    return errors.PermissionDeniedError("no", status_code=403)


def out_of_time() -> errors.APITimeoutError:
    error = errors.APITimeoutError("it took too long")
    error.limit = "total"
    return error


def failures(pool: Pool) -> dict[str, int]:
    """How often each account has failed, of those that have."""
    found = {name: pool.record(name).failures for name in pool.accounts}
    return {name: number for name, number in found.items() if number}


# --- the next account ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "rest"),
    [
        (limited(), 180.0),
        (broken(), 120.0),
        (forbidden(), 300.0),
        (errors.AuthenticationError("x", status_code=401), 300.0),
        (errors.APIConnectionError("x"), 120.0),
        (errors.StreamInterruptedError("x"), 120.0),
        (errors.StreamError("x"), 300.0),
        (errors.InvalidResponseError("x"), 300.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_call_moves_on_to_the_next_account_at_once(
    error: errors.ChatGPTError, rest: float
) -> None:
    pool = Pool(a=Account(error), b=Account())
    verdict = verdict_of(error, COOLDOWN)
    assert verdict is not None
    call = pool.call()
    assert call.run() is REPLY
    assert call.needs == [
        UseAccount("a"),
        ReadChunk(1.0),
        LeaveAccount("a", verdict),
        UseAccount("b"),
        ReadChunk(1.0),
    ]
    assert (pool.rest("a"), pool.rest("b")) == (rest, 0.0)
    assert failures(pool) == {"a": 1}
    assert pool.is_idle


def test_a_call_that_moves_on_was_there_before_those_who_wait() -> None:
    pool = Pool(a=Account(limited()), b=Account())
    moving, running = pool.call().go_on_to(ReadChunk), pool.call().go_on_to(ReadChunk)
    waiting = pool.call()
    moving.go_on_to(AwaitAccount)
    running.run()
    moving.go_on_to(UseAccount)
    assert moving.naps == []
    assert isinstance(waiting.running.need, AwaitAccount)
    assert [call.run() for call in (moving, waiting)] == [REPLY, REPLY]


def test_books_that_lag_behind_do_not_give_the_same_account_again() -> None:
    pool = Pool(a=Account(limited()), b=Account())
    call = pool.call().go_on_to(LeaveAccount)
    pool.books.unwritten = []
    call.step()
    assert isinstance(call.running.need, AwaitAccount)
    pool.books.catch_up()
    assert call.run() is REPLY
    assert pool.used == [*"ab"]


def test_the_next_account_has_what_is_left_of_the_calls_time() -> None:
    accounts = {"a": Account(limited()), "b": Account()}
    pool = Pool(**accounts)
    call = pool.call(timeout=50.0).go_on_to(ReadChunk)
    pool.clock.seconds += 20
    call.run()
    assert [account.timeouts for account in accounts.values()] == [[50.0], [30.0]]


def test_what_is_wrong_with_accounts_is_tried_with_every_one() -> None:
    pool = Pool(**{name: Account(limited(), max_retries=1) for name in "abcde"})
    error = pool.failed(timeout=100.0)
    assert (error.type, error.account_id) == (RATE_LIMIT, "e")
    assert pool.used == [*"abcde"]
    assert failures(pool) == dict.fromkeys("abcde", 1)
    assert pool.clock.seconds == Clock().seconds  # they rest too long to wait for


@pytest.mark.parametrize("max_retries", [0, 1, 2])
@pytest.mark.parametrize("cooldown", [0.0, COOLDOWN])
def test_what_may_be_the_requests_fault_does_not_wear_out_the_pool(
    max_retries: int, cooldown: float
) -> None:
    pool = Pool(**{name: Account(broken(), max_retries=max_retries) for name in "abcde"})
    error = pool.failed(cooldown=cooldown)
    tried = "abcde"[: max_retries + 1]
    assert (error.type, error.account_id) == (UNAVAILABLE, tried[-1])
    assert pool.used == [*tried]
    assert failures(pool) == dict.fromkeys(tried, 1)


def test_of_several_failures_those_of_the_request_alone_are_counted() -> None:
    outcomes = [limited(), broken(), forbidden(), broken(), limited()]
    accounts = [Account(outcome, max_retries=2) for outcome in outcomes]
    pool = Pool(**dict(zip("abcde", accounts, strict=True)), f=Account())
    assert pool.send() is REPLY
    assert pool.used == [*"abcdef"]


def test_an_account_that_has_cooled_down_is_tried_again() -> None:
    pool = Pool(a=Account(limited()))
    call = pool.call()
    assert call.run() is REPLY
    assert pool.used == [*"aa"]
    assert sum(call.naps) == 180.0


def test_what_comes_back_too_late_is_not_waited_for() -> None:
    pool = Pool(**{name: Account(limited(), limited()) for name in "ab"})
    error = pool.failed(timeout=200.0)
    assert (error.type, error.account_id) == (RATE_LIMIT, "b")
    assert pool.used == [*"abab"]
    assert pool.clock.seconds == Clock().seconds + 180.0


def test_no_other_account_is_free_in_time() -> None:
    """The error tells what became of the first one, too."""
    pool = Pool(a=Account(limited()), b=Account())
    running = pool.call(account_id="b").go_on_to(ReadChunk)
    error = pool.failed(timeout=5.0)
    cause = error.__cause__
    assert (error.type, error.is_final, error.status_code) == (TIMEOUT, False, 429)
    assert isinstance(cause, PoolError)
    assert (cause.type, cause.account_id, error.account_id) == (RATE_LIMIT, "a", "a")
    assert error.message.endswith(f"Before that: {cause}")
    running.run()
    assert pool.is_idle


def test_without_a_cooldown_an_account_is_not_asked_again() -> None:
    pool = Pool(a=Account(limited()), b=Account(limited()))
    error = pool.failed(cooldown=0.0)
    assert (error.type, error.account_id) == (RATE_LIMIT, "b")
    assert pool.used == [*"ab"]
    assert (pool.rest("a"), pool.rest("b")) == (0.0, 0.0)
    assert failures(pool) == {"a": 1, "b": 1}


def test_without_a_cooldown_the_other_account_is_waited_for() -> None:
    """The one that failed serves others meanwhile."""
    pool = Pool(a=Account(limited()), b=Account())
    running = pool.call(account_id="b").go_on_to(ReadChunk)
    call = pool.call(cooldown=0.0).go_on_to(LeaveAccount).go_on_to(AwaitAccount)
    assert pool.send() is REPLY
    running.run()
    assert call.run() is REPLY
    assert pool.used == [*"baab"]


@pytest.mark.parametrize("status_code", [401, 403])
@pytest.mark.parametrize("cooldown", [0.0, COOLDOWN])
def test_what_has_refused_its_key_is_not_asked_again(status_code: int, cooldown: float) -> None:
    """It would do so again when it has cooled down. Another call may find that it was mended."""
    kinds = {401: errors.AuthenticationError, 403: errors.PermissionDeniedError}
    pool = Pool(a=Account(kinds[status_code]("x", status_code=status_code)))
    error = pool.failed(cooldown=cooldown)
    assert (error.type, error.status_code, pool.used) == (UNKNOWN, status_code, ["a"])
    assert pool.rest("a") == 5 * cooldown
    assert pool.send(cooldown=cooldown) is REPLY


def test_a_quota_takes_the_account_out_and_the_call_on() -> None:
    quota = errors.QuotaExceededError("x", status_code=429)
    pool = Pool(a=Account(quota), b=Account(errors.APIStatusError("x", status_code=402)))
    error = pool.failed()
    assert (error.type, error.account_id, error.is_final) == (RATE_LIMIT, "b", True)
    assert (pool.record("a").is_out, pool.record("b").is_out) == (True, True)


# --- the caller has seen a part of the reply -----------------------------------------------------


def cut_off() -> Exchange[ChatMessage]:
    yield from ReportProgress([evolve(REPLY, text="Hel")])
    raise errors.StreamInterruptedError("cut", partial="Hel")


def test_what_was_delivered_is_not_sent_again() -> None:
    pool = Pool(a=Account(cut_off), b=Account())
    error = pool.failed()
    assert (error.type, error.partial, error.account_id) == (UNAVAILABLE, "Hel", "a")
    assert pool.used == ["a"]
    assert pool.rest("a") == 120.0


# --- no other account may answer -----------------------------------------------------------------

BOUND: list[tuple[dict[str, Any], bool]] = [
    ({"failover": False}, False),
    ({"account_id": "a"}, False),
    ({}, True),
    ({"conversation_id": "c"}, True),
]


@pytest.mark.parametrize(("options", "keeps_threads"), BOUND, ids=str)
@pytest.mark.parametrize("cooldown", [0.0, COOLDOWN])
def test_a_call_that_is_bound_fails_with_its_account(
    options: dict[str, Any], keeps_threads: bool, cooldown: float
) -> None:
    pool = Pool(
        a=Account(broken(), keeps_threads=keeps_threads), b=Account(keeps_threads=keeps_threads)
    )
    pool.books.remember("c", "a")
    error = pool.failed(cooldown=cooldown, **options)
    assert (error.type, error.account_id) == (UNAVAILABLE, "a")
    assert pool.used == ["a"]
    assert pool.rest("a") == 2 * cooldown


@pytest.mark.parametrize(("options", "keeps_threads"), [*BOUND, ({}, False)], ids=str)
def test_a_client_repeats_a_request_where_no_other_account_does(
    options: dict[str, Any], keeps_threads: bool
) -> None:
    accounts = [Account(keeps_threads=keeps_threads) for _ in "ab"]
    pool = Pool(a=accounts[0], b=accounts[1])
    pool.books.remember("c", "a")
    pool.send(**options)
    assert accounts[0].repeats == [bool(options) or keeps_threads]


def test_a_client_that_is_alone_repeats_a_request() -> None:
    alone = Account()
    Pool(a=alone).send()
    assert alone.repeats == [True]


@pytest.mark.parametrize("is_out", [False, True])
def test_a_client_repeats_a_request_while_the_others_rest(is_out: bool) -> None:
    alone = Account()
    pool = Pool(a=alone, b=Account())
    pool.cool("b", 1.0, is_out=is_out)
    pool.send()
    assert alone.repeats == [True]


@pytest.mark.parametrize(("cooldown", "timeout"), [(0.0, 600.0), (COOLDOWN, 100.0)])
def test_a_client_that_nobody_can_follow_repeats_a_request(cooldown: float, timeout: float) -> None:
    """The other one rests, or has failed it already."""
    last = Account()
    pool = Pool(a=Account(limited()), b=last)
    pool.send(cooldown=cooldown, timeout=timeout)
    assert last.repeats == [True]


def test_what_a_client_has_repeated_is_not_repeated_again() -> None:
    account = Account(broken())
    error = Pool(a=account).failed()
    assert (error.type, account.repeats) == (UNAVAILABLE, [True])


# --- what is nobody's fault ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        errors.BadRequestError("x", status_code=400),
        errors.NotFoundError("x", status_code=404),
        errors.MessageNotFoundError("x"),
        errors.StoreError("x"),
        errors.AbortedError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_is_not_the_accounts_goes_to_the_caller_as_it_is(
    error: errors.ChatGPTError,
) -> None:
    pool = Pool(a=Account(error), b=Account())
    with pytest.raises(type(error)) as caught:
        pool.send()
    assert caught.value is error
    assert error.account_id == "a"
    assert pool.used == ["a"]
    assert failures(pool) == {}
    assert pool.is_idle


def test_the_end_of_the_calls_time_is_not_the_accounts_fault() -> None:
    pool = Pool(a=Account(out_of_time()), b=Account())
    error = pool.failed()
    assert (error.type, error.account_id) == (TIMEOUT, "a")
    assert isinstance(error.__cause__, errors.APITimeoutError)
    assert pool.used == ["a"]
    assert (failures(pool), pool.rest("a")) == ({}, 0.0)


# --- tokens and logins ---------------------------------------------------------------------------


def test_a_token_that_is_forbidden_is_renewed_once() -> None:
    account = Account(forbidden(), keeps_threads=True, token=TOKEN)
    pool = Pool(a=account)
    call = pool.call(timeout=50.0).go_on_to(ReadChunk)
    pool.clock.seconds += 20
    assert call.run() is REPLY
    assert account.renewed == [TOKEN]
    assert account.timeouts == [50.0, 30.0]
    assert account.repeats == [True, True]
    assert (pool.used, failures(pool), pool.rest("a")) == (["a"], {}, 0.0)


@pytest.mark.parametrize("before", [None, TOKEN])
def test_the_token_that_was_forbidden_is_renewed_and_no_other(before: Secret | None) -> None:
    """The attempt may have got the first one; and another call may have renewed it meanwhile."""
    got = Secret("got meanwhile")

    def forbidding() -> Exchange[ChatMessage]:
        account.current = got
        yield from ReadChunk(1.0)
        raise forbidden()

    account = Account(forbidding, keeps_threads=True, token=before)
    Pool(a=account).send()
    assert account.renewed == [before or got]


def test_an_account_that_is_forbidden_with_a_new_token_is_blamed() -> None:
    account = Account(forbidden(), forbidden(), keeps_threads=True, token=TOKEN)
    pool = Pool(a=account)
    error = pool.failed()
    assert (error.type, error.status_code) == (UNKNOWN, 403)
    assert account.renewed == [TOKEN]
    assert (failures(pool), pool.rest("a")) == ({"a": 1}, 300.0)


def test_what_comes_of_the_new_token_is_what_counts() -> None:
    account = Account(forbidden(), limited(), keeps_threads=True, token=TOKEN)
    pool = Pool(a=account)
    assert pool.failed().type == RATE_LIMIT
    assert pool.rest("a") == 180.0


@pytest.mark.parametrize(
    ("error", "token", "renewals"),
    [
        (forbidden(), None, 0),
        (errors.UnusualActivityError("x", status_code=403), TOKEN, 1),
        (errors.BlockedByCloudflareError("x", status_code=403), TOKEN, 0),
        (errors.AuthenticationError("x", status_code=401), TOKEN, 0),  # the client did so itself
        (limited(), TOKEN, 0),
    ],
    ids=["no token", "unusual activity", "Cloudflare", "401", "429"],
)
def test_what_a_new_token_could_mend(
    error: errors.ChatGPTError, token: Secret | None, renewals: int
) -> None:
    account = Account(error, error, keeps_threads=True, token=token)
    Pool(a=account).failed()
    assert len(account.renewed) == renewals
    assert len(account.timeouts) == 1 + renewals


def test_a_login_that_fails_by_an_error_of_the_callers_own_is_the_accounts_fault() -> None:
    """It goes to the caller past the exchange, which is closed."""
    account = Account(forbidden(), keeps_threads=True, token=TOKEN)
    pool = Pool(a=account)
    call = pool.call().go_on_to(ReadChunk)
    call.step()
    account.logins_that_failed += 1
    call.close()
    assert (failures(pool), pool.rest("a")) == ({"a": 1}, 300.0)
    assert pool.record("a").reason == UNKNOWN
    assert pool.is_idle


def test_a_call_that_is_closed_is_not_its_accounts_fault() -> None:
    pool = Pool(a=Account(keeps_threads=True, token=TOKEN))
    pool.accounts["a"].logins_that_failed = 3  # before
    pool.call().go_on_to(ReadChunk).close()
    assert (failures(pool), pool.rest("a"), pool.is_idle) == ({}, 0.0, True)


def test_a_call_that_is_closed_after_its_account_has_failed_says_so() -> None:
    pool = Pool(a=Account(limited()), b=Account())
    pool.call().go_on_to(LeaveAccount).close()
    assert (failures(pool), pool.rest("a"), pool.is_idle) == ({"a": 1}, 180.0, True)


# --- the seven types -----------------------------------------------------------------------------


def all_cool() -> Pool:
    pool = Pool(a=Account())
    pool.cool("a", 1000.0)
    return pool


def all_busy() -> Pool:
    pool = Pool(a=Account())
    pool.call().go_on_to(ReadChunk)
    return pool


def failing(error: Exception) -> Callable[[], Pool]:
    return lambda: Pool(a=Account(error))


TYPES: dict[ChatGPTErrorType, tuple[Callable[[], Pool], dict[str, Any]]] = {
    ON_COOLDOWN: (all_cool, {"account_id": "a"}),
    NOT_FOUND: (all_cool, {"account_id": "z"}),
    NO_ACCOUNTS: (all_cool, {}),
    TIMEOUT: (all_busy, {}),
    RATE_LIMIT: (failing(errors.RateLimitError("x")), {"failover": False}),
    UNAVAILABLE: (failing(errors.InternalServerError("x")), {"failover": False}),
    UNKNOWN: (failing(errors.AuthenticationError("x")), {"failover": False}),
}


def test_there_are_no_other_types() -> None:
    assert set(TYPES) == set(get_args(ChatGPTErrorType))


@pytest.mark.parametrize("kind", TYPES)
def test_each_type_is_raised(kind: ChatGPTErrorType) -> None:
    make, options = TYPES[kind]
    assert make().failed(**options).type == kind
