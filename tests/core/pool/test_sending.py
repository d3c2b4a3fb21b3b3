"""How a call comes to an account, and what it leaves behind; `test_attempts` has what becomes of it there."""

from __future__ import annotations

from math import inf

import pytest
from attrs import evolve

from chatgpt import AbortedError, CancelToken, ChatMessage, PoolError
from chatgpt.core import errors
from chatgpt.core.needs import Exchange, ObeyToken, ReadChunk
from chatgpt.core.pool.events import AccountAdded, AccountRestored
from chatgpt.core.pool.failures import (
    NO_ACCOUNTS,
    NOT_FOUND,
    ON_COOLDOWN,
    RATE_LIMIT,
    TIMEOUT,
    UNAVAILABLE,
)
from chatgpt.core.pool.needs import AwaitAccount, LeaveAccount, UseAccount
from chatgpt.core.pool.sending import LONGEST_NAP
from chatgpt.core.secrets import Secret
from tests.core.pool.playing import COOLDOWN, REPLY, Account, Call, Pool
from tests.stepping import Clock

# --- an account is free --------------------------------------------------------------------------


def test_a_message_is_answered() -> None:
    pool = Pool(a=Account())
    call = pool.call()
    assert call.run() is REPLY
    assert call.needs == [UseAccount("a"), ReadChunk(1.0)]
    assert (pool.record("a").calls, pool.record("a").failures) == (1, 0)
    assert pool.is_idle


def test_an_account_has_what_is_left_of_the_calls_time() -> None:
    account = Account()
    pool = Pool(a=account)
    pool.cool("a", 2.5)
    pool.send(timeout=10.0)
    assert account.timeouts == [7.5]


def test_accounts_take_turns() -> None:
    pool = Pool(a=Account(), b=Account(), c=Account())
    for _ in range(6):
        pool.send()
    assert pool.used == [*"abcabc"]


def test_a_message_goes_to_the_account_that_the_caller_names() -> None:
    pool = Pool(a=Account(), b=Account())
    for _ in range(3):
        pool.send(account_id="b")
    assert pool.used == [*"bbb"]


# --- all are busy --------------------------------------------------------------------------------


def test_first_come_first_served() -> None:
    pool = Pool(a=Account(*[evolve(REPLY, id=name) for name in ("r0", "r1", "r2", "r3")]))
    calls = [pool.call() for _ in range(4)]
    calls[0].go_on_to(ReadChunk)
    for call in calls[1:]:
        assert isinstance(call.running.need, AwaitAccount)
    assert [call.run().id for call in calls] == ["r0", "r1", "r2", "r3"]
    assert [call.naps for call in calls] == [[], [], [], []]
    assert pool.is_idle


def test_who_gives_up_makes_room_in_the_queue() -> None:
    pool = Pool(a=Account())
    first, second, third = pool.call(), pool.call(), pool.call()
    second.close()
    first.run()
    assert isinstance(third.running.need, AwaitAccount)
    third.go_on_to(UseAccount)
    assert third.naps == []


def test_a_call_looks_by_itself_and_not_beyond_its_deadline() -> None:
    pool = Pool(a=Account())
    first = pool.call().go_on_to(ReadChunk)
    waiting = pool.call(timeout=2.5 * LONGEST_NAP)
    with pytest.raises(PoolError, match="No account was free in time") as caught:
        waiting.run()
    assert waiting.naps == [LONGEST_NAP, LONGEST_NAP, LONGEST_NAP / 2]
    error = caught.value
    assert (error.type, error.is_final, error.account_id) == (TIMEOUT, False, None)
    assert error.__cause__ is None
    first.run()
    assert pool.is_idle


def test_an_account_that_is_given_too_late_is_not_used() -> None:
    """Nothing is sent that nobody would wait for."""
    pool = Pool(a=Account())
    first = pool.call().go_on_to(ReadChunk)
    late = pool.call(timeout=LONGEST_NAP)
    late.step()
    assert late.running.need is None
    assert pool.books.own.tickets == ()
    given = pool.call(timeout=2 * LONGEST_NAP).go_on_to(AwaitAccount)
    first.run()
    pool.clock.seconds += 2 * LONGEST_NAP
    with pytest.raises(PoolError) as caught:
        given.run()
    assert caught.value.type == TIMEOUT
    assert pool.used == ["a"]
    assert pool.is_idle


def test_a_call_is_awake_when_an_account_has_cooled_down_though_another_is_busy() -> None:
    pool = Pool(a=Account(), b=Account())
    pool.call(account_id="a").go_on_to(ReadChunk)
    pool.cool("b", 0.5)
    call = pool.call(timeout=3.0)
    assert call.run() is REPLY
    assert call.naps == [0.5]


def test_the_last_error_tells_when_an_account_is_free_again() -> None:
    pool = Pool(a=Account(errors.RateLimitError("x")), b=Account(errors.RateLimitError("y")))
    error = pool.failed(timeout=100.0)
    assert (error.type, error.account_id) == (RATE_LIMIT, "b")
    assert error.retry_after == pytest.approx(3 * COOLDOWN)


def test_a_call_for_a_busy_account_waits_though_others_are_free() -> None:
    pool = Pool(a=Account(), b=Account())
    first = pool.call(account_id="a").go_on_to(ReadChunk)
    second = pool.call(account_id="a")
    assert pool.send() is REPLY
    first.run()
    second.run()
    assert pool.used == [*"aba"]


# --- all rest ------------------------------------------------------------------------------------


def test_a_call_waits_until_the_first_has_cooled_down() -> None:
    pool = Pool(a=Account(), b=Account())
    pool.cool("a", 4 * LONGEST_NAP)
    pool.cool("b", 2.25 * LONGEST_NAP)
    call = pool.call()
    call.run()
    assert call.naps == [LONGEST_NAP, LONGEST_NAP, LONGEST_NAP / 4]
    assert pool.used == ["b"]


@pytest.mark.parametrize("timeout", [5.0, 10.0])
def test_a_call_does_not_wait_for_what_comes_too_late(timeout: float) -> None:
    pool = Pool(a=Account(), b=Account(), c=Account())
    pool.cool("a", 30.0)
    pool.cool("b", 10.0)
    pool.cool("c", 0, is_out=True)
    error = pool.failed(timeout=timeout)
    assert (error.type, error.is_final, error.account_id) == (NO_ACCOUNTS, False, None)
    assert error.retry_after == 10.0
    assert "All accounts of the pool are cooling down for 10 s more, beyond" in error.message
    assert pool.clock.seconds == Clock().seconds
    assert pool.used == []


def test_a_call_may_wait_for_ever() -> None:
    pool = Pool(a=Account())
    pool.cool("a", 1000.0)
    call = pool.call(timeout=inf)
    call.run()
    assert sum(call.naps) == 1000.0


def test_a_call_waits_for_an_account_that_is_busy_while_the_others_rest() -> None:
    pool = Pool(a=Account(), b=Account())
    first = pool.call().go_on_to(ReadChunk)
    pool.cool("b", 1000.0)
    second = pool.call()
    first.run()
    second.run()
    assert pool.used == [*"aa"]


def test_accounts_that_are_out_do_not_come_back_by_themselves() -> None:
    pool = Pool(a=Account(), b=Account())
    pool.cool("a", 0, is_out=True)
    pool.cool("b", 0, is_out=True)
    error = pool.failed(timeout=inf)
    assert (error.type, error.is_final, error.retry_after) == (NO_ACCOUNTS, True, None)
    assert "restore_account" in error.message


def test_there_are_no_accounts() -> None:
    error = Pool().failed()
    assert (error.type, error.is_final) == (NO_ACCOUNTS, True)
    assert error.message == "The pool has no accounts."


def test_there_is_no_such_account() -> None:
    error = Pool(a=Account(), b=Account()).failed(account_id="z")
    assert (error.type, error.is_final, error.account_id) == (NOT_FOUND, True, "z")
    assert error.message == "The pool has no account 'z'. It has 'a', 'b'."


def test_the_account_that_is_named_cools_down() -> None:
    pool = Pool(a=Account(), b=Account())
    pool.cool("a", 12.0)
    error = pool.failed(account_id="a", timeout=10.0)
    assert (error.type, error.is_final, error.account_id) == (ON_COOLDOWN, False, "a")
    assert error.retry_after == 12.0
    assert pool.send(account_id="a", timeout=13.0) is REPLY


def test_the_account_that_is_named_is_out() -> None:
    pool = Pool(a=Account(), b=Account())
    pool.cool("a", 0, is_out=True)
    error = pool.failed(account_id="a")
    assert (error.type, error.is_final, error.account_id) == (ON_COOLDOWN, True, "a")
    assert error.retry_after is None


# --- meanwhile -----------------------------------------------------------------------------------


def test_an_account_that_is_put_back_is_used_at_once() -> None:
    pool = Pool(a=Account())
    pool.cool("a", 100.0)
    call = pool.call()
    call.step()
    pool.books.write(AccountRestored("a"))
    call.run()
    assert call.naps == [LONGEST_NAP]


def test_an_account_that_is_added_is_used_at_once() -> None:
    pool = Pool(a=Account())
    pool.call()
    call = pool.call()
    pool.accounts["b"] = Account()
    pool.books.write(AccountAdded("b", 1))
    call.run()
    assert call.naps == []
    assert pool.used == ["b"]


def test_accounts_are_removed_while_calls_wait_for_them() -> None:
    pool = Pool(a=Account(), b=Account())
    running = [pool.call(account_id=name).go_on_to(ReadChunk) for name in "ab"]
    bound, free = pool.call(account_id="a"), pool.call()
    for name, call, kind in (("a", bound, NOT_FOUND), ("b", free, NO_ACCOUNTS)):
        pool.remove(name)
        with pytest.raises(PoolError) as caught:
            call.run()
        assert (caught.value.type, call.naps) == (kind, [LONGEST_NAP])
    assert [call.run() for call in running] == [REPLY, REPLY]
    assert pool.is_idle


def test_an_account_that_is_removed_in_the_last_moment_is_not_used() -> None:
    pool = Pool(a=Account(), b=Account())
    call = pool.call().go_on_to(UseAccount)
    pool.remove("a")
    assert call.run() is REPLY
    assert pool.used == [*"ab"]
    assert pool.is_idle


def test_a_call_whose_account_is_removed_keeps_its_place() -> None:
    pool = Pool(a=Account(), b=Account())
    running = pool.call(account_id="b").go_on_to(ReadChunk)
    first = pool.call().go_on_to(UseAccount)
    second = pool.call()
    pool.remove("a")
    first.go_on_to(AwaitAccount)
    running.run()
    first.go_on_to(UseAccount)
    assert first.naps == []
    assert isinstance(second.running.need, AwaitAccount)


# --- books that must be asked for ----------------------------------------------------------------


def test_what_was_not_written_yet_decides_nothing() -> None:
    """The books as they were say that all accounts are out."""
    pool = Pool(a=Account())
    pool.cool("a", 0, is_out=True)
    pool.books.unwritten = []
    call = pool.call(timeout=100.0)
    for _ in range(3):
        assert call.running.need == AwaitAccount(1, LONGEST_NAP)
        call.step()
    pool.books.unwritten.insert(0, AccountRestored("a"))
    pool.books.catch_up()
    assert call.run() is REPLY


def test_books_that_are_never_written_end_with_the_calls_time() -> None:
    pool = Pool(a=Account())
    pool.books.unwritten = []
    with pytest.raises(PoolError) as caught:
        pool.send(timeout=2.5)
    assert caught.value.type == TIMEOUT
    pool.books.catch_up()
    assert pool.is_idle


def test_books_that_are_out_of_reach() -> None:
    pool = Pool(a=Account())
    pool.call().go_on_to(ReadChunk)
    pool.books.problem = errors.StoreError("Redis is away.")
    error = pool.failed()
    assert (error.type, error.is_final) == (UNAVAILABLE, False)
    assert error.__cause__ is pool.books.problem
    assert error.message.endswith("out of reach: Redis is away.")


def test_books_that_are_out_of_reach_at_the_end_of_the_calls_time() -> None:
    pool = Pool(a=Account())
    pool.call().go_on_to(ReadChunk)
    call = pool.call(timeout=1.0).go_on_to(AwaitAccount)
    pool.books.problem = errors.StoreError("Redis is away.")
    with pytest.raises(PoolError) as caught:
        call.run()
    assert caught.value.type == UNAVAILABLE


# --- stopped -------------------------------------------------------------------------------------


def test_a_call_that_nobody_holds_any_more_gives_its_account_back() -> None:
    pool = Pool(a=Account())
    call = Call(pool).go_on_to(ReadChunk)
    assert not pool.is_idle
    del call
    assert pool.is_idle


def test_a_token_that_is_cancelled_already() -> None:
    pool = Pool(a=Account())
    token = CancelToken()
    token.cancel()
    call = pool.call(abort=token)
    with pytest.raises(AbortedError):
        call.run()
    assert call.needs == [ObeyToken(token)]
    assert pool.record("a").calls == 0


def test_a_token_that_is_cancelled_while_the_call_waits() -> None:
    pool = Pool(a=Account())
    first = pool.call().go_on_to(ReadChunk)
    token = CancelToken()
    call = pool.call(abort=token).go_on_to(AwaitAccount)
    call.step()
    token.cancel()
    with pytest.raises(AbortedError):
        call.run()
    assert pool.books.own.tickets == ()
    first.run()
    assert pool.is_idle
    assert pool.record("a").failures == 0


@pytest.mark.parametrize("is_behind", [False, True], ids=["written at once", "written later"])
def test_a_call_that_is_closed_leaves_nothing_behind(is_behind: bool) -> None:
    """Wherever: it waits, is given an account, fails, waits for another one, renews its token there."""
    steps, is_done = 0, False
    while not is_done:
        pool = Pool(
            a=Account(errors.RateLimitError("x")),
            b=Account(
                errors.PermissionDeniedError("x", status_code=403),
                token=Secret("token-1"),
            ),
        )
        pool.cool("a", 1.5)
        pool.cool("b", 2.5)
        call = pool.call(abort=CancelToken())
        for _ in range(steps):
            call.step()
        is_done = call.running.need is None
        if is_behind:
            pool.books.unwritten = []
        call.close()
        pool.books.catch_up()
        assert pool.is_idle
        assert pool.send(account_id="b") is REPLY  # it is free for others
        steps += 1
    assert pool.used == [*"abb"]
    assert {type(need) for need in call.needs} == {
        ObeyToken, AwaitAccount, UseAccount, ReadChunk, LeaveAccount,
    }  # fmt: skip


def test_a_call_that_is_left_ends_when_its_connection_is_closed() -> None:
    """The next call of the account must not meet it at the server."""
    pool = Pool(a=Account())
    call = pool.call().go_on_to(ReadChunk)
    waiting = pool.call().go_on_to(AwaitAccount)
    call.sending.is_left = True
    call.close()
    assert [*pool.books.own.leases.values()] == ["a"]
    for _ in range(2):  # it may be said twice
        call.sending.end()
    assert waiting.run() is REPLY
    assert pool.is_idle


@pytest.mark.parametrize("error", [TypeError("x"), ValueError("x"), KeyError("x")])
def test_what_a_client_refuses_comes_out_as_it_is(error: Exception) -> None:
    class Strict(Account):
        def send(self, timeout: float, *, repeats: bool) -> Exchange[ChatMessage]:
            raise error

    for account in (Strict(), Account(error)):
        pool = Pool(a=account, b=Account())
        with pytest.raises(type(error)) as caught:
            pool.send()
        assert caught.value is error
        assert pool.is_idle
        assert pool.record("a").failures == 0
