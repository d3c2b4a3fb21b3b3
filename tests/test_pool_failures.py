"""What becomes of the calls of a pool whose accounts fail, on all engines: failover and errors.

Strategy: as in `tests.test_pool`.
"""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any, Final

import pytest

import chatgpt
from chatgpt import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ChatGPTError,
    ChatMessage,
    InternalServerError,
    InvalidResponseError,
    PermissionDeniedError,
    PoolError,
    QuotaExceededError,
    RateLimitError,
    StreamInterruptedError,
)
from chatgpt.testing import ChatGPTServer, RawAnswer
from tests.chatgpt_async.peers import FIRST_EVENT
from tests.engines import Engine
from tests.pools import (
    FAILED,
    OUT_OF_QUOTA,
    RATE_LIMITED,
    FailingAccounts,
    HeldReplies,
    accounts_of,
    caught,
    check_idle,
    key,
    keys_of,
    pool_of,
    refused,
    server,
)
from tests.reliability.gates import gate
from tests.reliability.wire import answer_of

__all__ = ["gate", "server"]  # fixtures

COOLDOWN: Final = 60.0
CUT: Final = RawAnswer([FIRST_EVENT])
"""A stream that is cut after its first part."""

# --- failover --------------------------------------------------------------------------------

FAILURES: Final = {
    "a rate limit": (RATE_LIMITED, "rate-limit", RateLimitError, 3),
    "a rate limit with a long pause": (
        refused(b"429 Too Many Requests", b"retry-after: 1000"), "rate-limit", RateLimitError, 1000 / COOLDOWN,
    ),
    "a server that fails": (FAILED, "unavailable", InternalServerError, 2),
    "a reset": (RawAnswer([], reset=True), "unavailable", APIConnectionError, 2),
    "a refused key": (refused(b"401 Unauthorized"), "unknown", AuthenticationError, 5),
    "a refusal": (refused(b"403 Forbidden"), "unknown", PermissionDeniedError, 5),
    "nonsense": (RawAnswer([answer_of(b"<html>")]), "unknown", InvalidResponseError, 5),
    "a quota": (OUT_OF_QUOTA, "rate-limit", QuotaExceededError, None),
    "a bill": (refused(b"402 Payment Required"), "rate-limit", ChatGPTError, None),
}  # fmt: skip
"""What an account answers, the type of its error, its cause, and how many cooldowns it takes; `None`: it is out."""


def type_of(name: str) -> str:
    return name if name == "unknown" else f"chatgpt:pool:{name}"


def check_rest(
    pool: Any, kind: str, cooldowns: float | None, account_id: str = "account-1"
) -> None:
    status = pool.status()[account_id]
    assert (status.reason, status.failures, status.running) == (type_of(kind), 1, 0)
    assert status.state == ("out" if cooldowns is None else "cooling")
    if cooldowns is None:
        assert status.until is None
    else:
        rest = timedelta(seconds=cooldowns * COOLDOWN)
        assert abs(status.until - status.since - rest) < timedelta(milliseconds=1)


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_call_moves_on(engine: Engine, server: ChatGPTServer, name: str) -> None:
    failure, kind, _, cooldowns = FAILURES[name]
    server.replies = FailingAccounts(sk_1=failure)
    pool = pool_of(engine, server)
    assert pool.send_message("hi").account_id == "account-2"
    assert keys_of(server) == [key(1), key(2)]
    check_rest(pool, kind, cooldowns)
    with pool.stream_message("hi") as stream:
        assert {part.account_id for part in stream} == {"account-2"}
    assert pool.status()["account-1"].calls == 1


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("way", ["failover=False", "account_id"])
def test_a_failed_call_that_does_not_move_on(
    engine: Engine, server: ChatGPTServer, name: str, way: str
) -> None:
    failure, kind, cause, cooldowns = FAILURES[name]
    server.replies = FailingAccounts(sk_1=failure)
    accounts = accounts_of(server, 2, max_retries=0)
    pool = engine.pool(accounts, failover=way == "account_id")
    options: dict[str, Any] = {"account_id": "account-1"} if way == "account_id" else {}
    error = caught(PoolError, lambda: pool.send_message("hi", **options))
    assert (error.type, error.account_id) == (type_of(kind), "account-1")
    assert type(error.__cause__) is cause or cause is ChatGPTError
    assert error.status_code == error.__cause__.status_code
    assert error.code == error.__cause__.code
    assert error.retry_after == error.__cause__.retry_after
    assert error.is_final is (cooldowns is None or bool(error.__cause__.is_final))
    assert str(error) == f"The account 'account-1' failed: {error.__cause__}"
    check_rest(pool, kind, cooldowns)
    assert keys_of(server) == [key(1)]
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), vars(twin), str(twin)) == (PoolError, vars(error), str(error))


def test_a_connection_that_is_refused(engine: Engine, server: ChatGPTServer) -> None:
    closed = ChatGPTServer()  # it does not listen
    accounts = [{"api_key": key(1), "api_base_url": closed.base_url}, *accounts_of(server, 2)[1:]]
    pool = engine.pool(accounts)
    assert pool.send_message("hi").account_id == "account-2"
    check_rest(pool, "unavailable", 2)
    closed.stop()


def test_an_id_of_the_caller_is_not_taken_by_what_has_failed(
    engine: Engine, server: ChatGPTServer
) -> None:
    server.replies = FailingAccounts(sk_1=RATE_LIMITED)
    pool = pool_of(engine, server)
    reply = pool.send_message("hi", message_id="mine", conversation_id="ours")
    assert (reply.account_id, reply.parent_message_id) == ("account-2", "mine")
    assert pool.send_message("And?", parent_message_id="mine").conversation_id == "ours"


def test_what_no_account_can_help_is_told_as_it_is(engine: Engine, server: ChatGPTServer) -> None:
    server.replies = lambda _: refused(b"400 Bad Request", message="No such thing.")
    pool = pool_of(engine, server)
    error = caught(chatgpt.BadRequestError, lambda: pool.send_message("hi"))
    assert (error.account_id, len(server.requests)) == ("account-1", 1)
    assert {status.state for status in pool.status().values()} == {"ready"}
    assert {status.failures for status in pool.status().values()} == {0}


def test_a_message_does_not_wear_out_the_pool(engine: Engine, server: ChatGPTServer) -> None:
    """What may be its own fault moves it as often as a client repeats a request."""
    server.replies = lambda _: FAILED
    pool = engine.pool(accounts_of(server, 5, max_retries=2))
    error = caught(PoolError, lambda: pool.send_message("hi"))
    assert (error.type, error.account_id) == ("chatgpt:pool:unavailable", "account-3")
    assert keys_of(server) == [key(1), key(2), key(3)]


def test_without_a_cooldown_no_account_is_asked_twice(
    engine: Engine, server: ChatGPTServer
) -> None:
    server.replies = lambda _: RATE_LIMITED
    pool = engine.pool(accounts_of(server, 4, max_retries=0), cooldown=0)
    error = caught(PoolError, lambda: pool.send_message("hi"))
    assert (error.type, error.account_id) == ("chatgpt:pool:rate-limit", "account-4")
    assert keys_of(server) == [key(number) for number in (1, 2, 3, 4)]
    assert {status.state for status in pool.status().values()} == {"ready"}
    server.replies = None
    assert pool.send_message("hi").text


@pytest.mark.parametrize("way", ["stream", "on_progress"])
def test_after_the_first_part_nothing_is_sent_again(
    engine: Engine, server: ChatGPTServer, way: str
) -> None:
    server.replies = FailingAccounts(sk_1=CUT)
    pool = pool_of(engine, server)
    parts: list[ChatMessage] = []

    def call() -> None:
        if way == "on_progress":
            pool.send_message("hi", on_progress=parts.append)
        with pool.stream_message("hi") as stream:
            parts.extend(stream)

    error = caught(PoolError, call)
    assert (error.type, error.account_id, error.partial) == (
        "chatgpt:pool:unavailable",
        "account-1",
        "word ",
    )
    assert type(error.__cause__) is StreamInterruptedError
    assert [part.delta for part in parts] == ["word "]
    assert keys_of(server) == [key(1)]
    check_rest(pool, "unavailable", 2)


def test_parts_that_nobody_saw_are_no_hindrance(engine: Engine, server: ChatGPTServer) -> None:
    server.replies = FailingAccounts(sk_1=CUT)
    pool = pool_of(engine, server)
    assert pool.send_message("hi", stream=True).account_id == "account-2"
    assert keys_of(server) == [key(1), key(2)]


# --- errors ----------------------------------------------------------------------------------


def test_an_account_that_cools_down(engine: Engine, server: ChatGPTServer) -> None:
    server.replies = FailingAccounts(sk_1=RATE_LIMITED, sk_2=RATE_LIMITED)
    pool = pool_of(engine, server)
    error = caught(PoolError, lambda: pool.send_message("hi", timeout=30))
    assert (error.type, error.account_id) == ("chatgpt:pool:rate-limit", "account-2")
    asked = len(server.requests)
    error = caught(PoolError, lambda: pool.send_message("hi", account_id="account-1", timeout=30))
    assert (error.type, error.account_id) == ("chatgpt:pool:account-on-cooldown", "account-1")
    assert (error.is_final, error.__cause__, error.partial) == (False, None, None)
    assert 30 < error.retry_after <= 3 * COOLDOWN
    assert "'account-1' is cooling down" in str(error)
    error = caught(PoolError, lambda: pool.send_message("hi", timeout=30))
    assert (error.type, error.account_id) == ("chatgpt:pool:no-accounts", None)
    assert (error.is_final, error.retry_after is not None) == (False, True)
    assert len(server.requests) == asked


def test_accounts_that_are_out_of_service(engine: Engine, server: ChatGPTServer) -> None:
    server.replies = FailingAccounts(sk_1=OUT_OF_QUOTA, sk_2=OUT_OF_QUOTA)
    pool = pool_of(engine, server, cooldown=0)
    error = caught(PoolError, lambda: pool.send_message("hi"))
    assert (error.type, error.account_id, error.is_final) == (
        "chatgpt:pool:rate-limit",
        "account-2",
        True,
    )
    error = caught(PoolError, lambda: pool.send_message("hi"))
    assert (error.type, error.account_id, error.is_final) == (
        "chatgpt:pool:no-accounts",
        None,
        True,
    )
    assert "restore_account" in str(error)
    assert error.retry_after is None
    server.replies = None
    pool.restore_account("account-2")
    assert pool.send_message("hi").account_id == "account-2"
    assert [status.state for status in pool.status().values()] == ["out", "ready"]


def test_accounts_that_are_not_there(engine: Engine, server: ChatGPTServer) -> None:
    pool = pool_of(engine, server)
    for call in (
        lambda: pool.send_message("hi", account_id="nobody"),
        lambda: pool.stream_message("hi", account_id="nobody").__enter__(),
        lambda: pool.remove_account("nobody"),
        lambda: pool.restore_account("nobody"),
        lambda: pool.refresh_account("nobody"),
    ):
        error = caught(PoolError, call)
        assert (error.type, error.account_id, error.is_final) == (
            "chatgpt:pool:account-not-found",
            "nobody",
            True,
        )
        assert "It has 'account-1', 'account-2'" in str(error)
    for call in (
        lambda: engine.pool([]).send_message("hi"),
        lambda: engine.pool({}).stream_message("hi").__enter__(),
    ):
        error = caught(PoolError, call)
        assert (error.type, error.account_id, error.is_final) == (
            "chatgpt:pool:no-accounts",
            None,
            True,
        )
    assert server.requests == []


def test_deadlines(engine: Engine, server: ChatGPTServer) -> None:
    held = HeldReplies(says_first=True)
    server.replies = held
    pool = pool_of(engine, server, 1, max_concurrent=1)
    error = caught(PoolError, lambda: pool.send_message("hi", stream=True, timeout=0.2))
    assert (error.type, error.account_id, error.partial) == (
        "chatgpt:pool:timeout",
        "account-1",
        "first",
    )
    assert type(error.__cause__) is APITimeoutError
    with pool.stream_message("hi"):
        error = caught(PoolError, lambda: pool.send_message("hi", timeout=0.05))
        assert (error.type, error.account_id) == ("chatgpt:pool:timeout", None)
        assert "No account was free in time" in str(error)
    held.is_open.set()
    check_idle(pool, server, 1)


def test_a_deadline_is_that_of_all_attempts(engine: Engine, server: ChatGPTServer) -> None:
    """A call whose time is over moves nowhere; one that was stopped before it began sends nothing."""
    held = HeldReplies()
    server.replies = held
    pool = pool_of(engine, server, max_concurrent=1)
    error = caught(PoolError, lambda: pool.send_message("hi", timeout=0.1))
    assert (error.type, error.account_id) == ("chatgpt:pool:timeout", "account-1")
    assert keys_of(server) == [key(1)]
    token = chatgpt.CancelToken()
    token.cancel()
    caught(chatgpt.AbortedError, lambda: pool.send_message("hi", abort=token))
    assert keys_of(server) == [key(1)]
    held.is_open.set()
    check_idle(pool, server, 2)


def test_a_deadline_is_no_failure_of_the_account(engine: Engine, server: ChatGPTServer) -> None:
    held = HeldReplies()
    server.replies = held
    pool = pool_of(engine, server, 1)
    caught(PoolError, lambda: pool.send_message("hi", timeout=0.1))
    held.is_open.set()
    assert pool.status()["account-1"].failures == 0
