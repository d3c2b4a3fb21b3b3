"""A conversation of the web flow goes on in its own account; what `test_sending` leaves open of a call's way."""

from __future__ import annotations

import pytest
from attrs import evolve

from chatgpt import ChatMessage, PoolError
from chatgpt.core import errors
from chatgpt.core.needs import Exchange, ReadChunk, ReportProgress
from chatgpt.core.pool.failures import NOT_FOUND, ON_COOLDOWN, TIMEOUT
from chatgpt.core.pool.needs import AwaitAccount, UseAccount
from chatgpt.core.pool.sending import LONGEST_NAP
from tests.core.pool.playing import REPLY, Account, Outcome, Pool

IN_CONVERSATION = evolve(REPLY, conversation_id="c")


def web(*outcomes: Outcome) -> Account:
    return Account(*outcomes, keeps_threads=True)


def test_a_conversation_goes_on_in_its_account() -> None:
    pool = Pool(a=web(), b=web(IN_CONVERSATION))
    pool.send(account_id="b")
    follow_up = pool.call(conversation_id="c")
    follow_up.run()
    assert follow_up.needs[0] == UseAccount("b")
    assert pool.books.looked_up == ["c"]
    assert pool.used == [*"bb"]


def test_a_conversation_waits_for_its_account() -> None:
    pool = Pool(a=web(), b=web())
    pool.books.remember("c", "b")
    first = pool.call(account_id="b")
    follow_up = pool.call(conversation_id="c").go_on_to(AwaitAccount)
    first.run()
    follow_up.run()
    assert pool.used == [*"bb"]


def test_the_account_of_a_conversation_is_not_to_be_had() -> None:
    pool = Pool(a=web(), b=web())
    pool.books.remember("c", "b")
    pool.cool("b", 1000.0)
    error = pool.failed(conversation_id="c")
    assert (error.type, error.is_final, error.account_id) == (ON_COOLDOWN, False, "b")
    pool.remove("b")
    error = pool.failed(conversation_id="c")
    assert (error.type, error.is_final, error.account_id) == (NOT_FOUND, True, "b")


def test_nobody_knows_where_a_conversation_lives() -> None:
    pool = Pool(a=web(), b=web())
    error = pool.failed(conversation_id="c")
    assert (error.type, error.is_final, error.account_id) == (NOT_FOUND, True, None)
    assert "'c'" in error.message
    assert pool.is_idle


def test_an_unknown_conversation_lives_in_the_only_account() -> None:
    """But not one of an account that is gone."""
    pool = Pool(a=web())
    assert pool.send(conversation_id="c", is_only=True) is REPLY
    pool.books.remember("d", "gone")
    error = pool.failed(conversation_id="d", is_only=True)
    assert (error.type, error.account_id) == (NOT_FOUND, "gone")
    assert pool.used == ["a"]


def test_who_names_the_account_need_not_look_it_up() -> None:
    pool = Pool(a=web(), b=web())
    pool.books.remember("c", "b")
    call = pool.call(conversation_id="c", account_id="a")
    call.run()
    assert pool.used == ["a"]
    assert pool.books.looked_up == []


def test_what_is_no_conversation_of_the_web_flow_is_not_remembered() -> None:
    for account in (web(REPLY), Account(IN_CONVERSATION)):
        pool = Pool(a=account)
        pool.send()
        assert pool.books.conversations == {}


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_conversation_is_remembered_before_its_reply_is_complete(is_closed: bool) -> None:
    """Its parts name it: the caller may go on with it though the stream was left, or has broken."""

    def breaking() -> Exchange[ChatMessage]:
        yield from ReportProgress([IN_CONVERSATION])
        yield from ReadChunk(1.0)
        raise errors.StreamInterruptedError("x")

    pool = Pool(a=web(breaking))
    call = pool.call().go_on_to(ReportProgress)
    assert pool.books.conversations == {"c": "a"}
    if is_closed:
        call.close()
    else:
        with pytest.raises(PoolError):
            call.run()
    assert pool.is_idle


def test_a_conversation_is_looked_up_while_others_must_be_asked_for_it() -> None:
    pool = Pool(a=web(), b=web())
    pool.books.remember("c", "b")
    pool.books.unwritten = []
    call = pool.call(conversation_id="c").go_on_to(AwaitAccount)
    pool.books.catch_up()
    call.run()
    assert (call.naps, pool.used) == ([LONGEST_NAP], ["b"])


def test_a_conversation_is_not_found_in_time() -> None:
    pool = Pool(a=web(), b=web())
    pool.books.unwritten = []
    with pytest.raises(PoolError) as caught:
        pool.send(conversation_id="c", timeout=2.5)
    assert caught.value.type == TIMEOUT
    pool.books.catch_up()
    assert pool.is_idle
