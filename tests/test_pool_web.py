"""The pool of the web flow through its public face, on all engines: logins, conversations that live somewhere, no
message sent twice.

Strategy: a login function gives each account a token of its own, which the server accepts; so the token of a request
says which account sent it.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest

from chatgpt import (
    BlockedByCloudflareError,
    ChatGPTError,
    ChatMessage,
    ConcurrentRequestError,
    ConfigurationError,
    InternalServerError,
    PermissionDeniedError,
    PoolError,
    StreamInterruptedError,
    TokenExpiredError,
)
from chatgpt.testing import ChatGPTServer, Fault
from tests.engines import Engine, behind
from tests.pools import HeldReplies, LimitedAccounts, at_once, caught, running, waiting
from tests.reliability.canaries import PASSWORD, Search
from tests.reliability.scripts import until

COOLDOWN: Final = 60.0
UNKNOWN_CONVERSATION: Final = "67aa804e-4678-8006-970a-23d76d933f3c"
UNKNOWN_PARENT: Final = "0f2d8b0e-8f0e-4c26-8a8e-0d9f0a2d6a11"
FORBIDDEN: Final = Fault(status=403, body='{"detail": "You do not have access."}')
CONCURRENT: Final = Fault(
    status=429,
    body='{"detail": "Only one message at a time. Please allow any other responses to complete before'
    ' sending another message, or wait one minute."}',
)


class Logins:
    """Gets access tokens, as a `get_access_token` of the caller does.

    Attributes:
        emails: whose were asked for, in order.
        accounts: the emails, by the tokens that were given.
        failing: what is raised for an email instead.
    """

    def __init__(self, server: ChatGPTServer) -> None:
        self.emails: list[str] = []
        self.accounts: dict[str | None, str] = {}
        self.failing: dict[str, Exception] = {}
        self._server = server

    def __call__(self, *, email: Any, password: Any, session_token: Any) -> str:
        name: str = email.reveal() if hasattr(email, "reveal") else email
        self.emails.append(name)
        if name in self.failing:
            raise self.failing[name]
        token = self._server.web.access_token()
        self.accounts[token] = name
        return token

    def senders(self) -> list[str]:
        """The emails of the accounts that sent the messages."""
        return [self.accounts[request.api_key] for request in self._server.requests]


@pytest.fixture
def logins(chatgpt_server: ChatGPTServer) -> Logins:
    return Logins(chatgpt_server)


@pytest.fixture
def make(engine: Engine, chatgpt_server: ChatGPTServer, logins: Logins) -> Callable[..., Any]:
    """Makes a pool of so many accounts that log in."""
    url = chatgpt_server.proxy_options["api_reverse_proxy_url"]

    def make_pool(count: int = 2, **options: Any) -> Any:
        accounts = {
            f"a{number}": {"email": f"{number}@example.com", "password": PASSWORD}
            for number in range(1, count + 1)
        }
        defaults = {"get_access_token": logins, "api_reverse_proxy_url": url}
        return engine.pool(accounts, defaults=defaults, **options)

    return make_pool


def follow(pool: Any, reply: ChatMessage, **options: Any) -> ChatMessage:
    """Answer a reply."""
    sent: ChatMessage = pool.send_message(
        "And?", parent_message_id=reply.id, conversation_id=reply.conversation_id, **options
    )
    return sent


def check_rest(pool: Any, kind: str, cooldowns: float, account_id: str = "a1") -> None:
    status = pool.status()[account_id]
    assert (status.state, status.reason, status.failures) == ("cooling", kind, 1)
    rest = timedelta(seconds=cooldowns * COOLDOWN)
    assert abs(status.until - status.since - rest) < timedelta(milliseconds=1)


# --- conversations ---------------------------------------------------------------------------


def test_accounts_log_in_when_they_are_asked(make: Callable[..., Any], logins: Logins) -> None:
    pool = make(3)
    assert logins.emails == []
    replies = [pool.send_message("hi") for _ in range(6)]
    assert [reply.account_id for reply in replies] == ["a1", "a2", "a3"] * 2
    assert logins.emails == ["1@example.com", "2@example.com", "3@example.com"]
    assert logins.senders() == logins.emails * 2
    assert {status.max_concurrent for status in pool.status().values()} == {1}


def test_a_follow_up_returns_to_its_account(make: Callable[..., Any]) -> None:
    pool = make()
    parts: list[ChatMessage] = []
    first = pool.send_message("One", on_progress=parts.append)
    assert {part.account_id for part in parts} == {first.account_id} == {"a1"}
    other = pool.send_message("Another one")
    assert other.account_id == "a2"
    for number in (2, 3):
        first = follow(pool, first)
        assert first.account_id == "a1"
        assert f"message {number} of our conversation; it began with: One" in first.text
    with pool.stream_message(
        "Go on", parent_message_id=other.id, conversation_id=other.conversation_id
    ) as stream:
        assert {part.account_id for part in stream} == {"a2"}


def test_a_conversation_of_a_stream_is_known(make: Callable[..., Any]) -> None:
    pool = make()
    with pool.stream_message("One") as stream:
        for _ in stream:
            pass
    assert follow(pool, stream.result()).account_id == stream.result().account_id == "a1"


def test_a_follow_up_waits_for_its_account(
    make: Callable[..., Any], chatgpt_server: ChatGPTServer
) -> None:
    pool = make()
    reply = pool.send_message("One")
    held = HeldReplies(says_first=True)
    chatgpt_server.replies = held
    replies: list[ChatMessage] = []
    with pool.stream_message("long", account_id="a1") as stream:
        thread = threading.Thread(target=lambda: replies.append(follow(pool, reply)))
        thread.start()
        until(lambda: waiting(pool) == 1)
        assert pool.status()["a2"].state == "ready"
        held.is_open.set()
        for _ in stream:
            pass
    thread.join()
    assert [reply.account_id for reply in replies] == ["a1"]
    assert running(pool) == 0


def test_who_waits_for_the_account_of_a_conversation_does_nothing_meanwhile(
    make: Callable[..., Any],
    chatgpt_server: ChatGPTServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = make()
    reply = pool.send_message("One")
    held = HeldReplies(says_first=True)
    chatgpt_server.replies = held
    with pool.stream_message("long", account_id="a1") as stream:
        with caplog.at_level(logging.DEBUG, "chatgpt"):
            thread = threading.Thread(target=lambda: follow(pool, reply))
            thread.start()
            until(lambda: waiting(pool) == 1)
            time.sleep(0.2)
            waits = sum("AwaitAccount" in message for message in caplog.messages)
        held.is_open.set()
        for _ in stream:
            pass
    thread.join()
    assert 1 <= waits <= 3


def test_a_conversation_whose_account_cools_down(
    make: Callable[..., Any], chatgpt_server: ChatGPTServer
) -> None:
    pool = make()
    reply = pool.send_message("One")
    chatgpt_server.inject(Fault(status=500))
    caught(PoolError, lambda: follow(pool, reply))
    sent = len(chatgpt_server.requests)
    error = caught(PoolError, lambda: follow(pool, reply, timeout=30))
    assert (error.type, error.account_id) == ("chatgpt:pool:account-on-cooldown", "a1")
    assert 30 < error.retry_after <= 2 * COOLDOWN
    assert len(chatgpt_server.requests) == sent
    pool.restore_account("a1")
    assert follow(pool, reply).account_id == "a1"


def test_a_conversation_that_nobody_knows(
    make: Callable[..., Any], chatgpt_server: ChatGPTServer, logins: Logins
) -> None:
    pool = make()
    ids = {"parent_message_id": UNKNOWN_PARENT, "conversation_id": UNKNOWN_CONVERSATION}
    for call in (
        lambda: pool.send_message("hi", **ids),
        lambda: pool.stream_message("hi", **ids).__enter__(),
    ):
        error = caught(PoolError, call)
        assert (error.type, error.account_id, error.is_final) == (
            "chatgpt:pool:account-not-found",
            None,
            True,
        )
        assert UNKNOWN_CONVERSATION in str(error)
    assert chatgpt_server.requests == []
    assert logins.emails == []
    assert running(pool) == waiting(pool) == 0


def test_a_conversation_of_before(make: Callable[..., Any]) -> None:
    """A new pool is told by the reply's `account_id` where it lives; with one account there is no question."""
    old = make()
    reply = [old.send_message(text) for text in ("One", "Two")][1]
    assert reply.account_id == "a2"
    pool = make()
    assert "began with: Two" in follow(pool, reply, account_id=reply.account_id).text
    assert "began with: Two" in follow(pool, reply).text  # it is known now
    assert "began with: Two" in follow(make(1), reply).text


# --- limits ----------------------------------------------------------------------------------


def test_an_account_answers_one_message_at_a_time(
    make: Callable[..., Any], chatgpt_server: ChatGPTServer
) -> None:
    counting = LimitedAccounts(1)
    chatgpt_server.replies = counting
    pool = make(4)
    replies = at_once(24, lambda number: pool.send_message(str(number)))
    follows = at_once(24, lambda number: follow(pool, replies[number]))
    for number, (reply, followed) in enumerate(zip(replies, follows, strict=True)):
        assert reply.account_id == followed.account_id
        assert followed.text.endswith(f"began with: {number}")
    assert counting.refusals == 0
    assert set(counting.most.values()) == {1}
    assert len(counting.calls) == 4
    assert all(0.8 * 12 <= calls <= 1.2 * 12 for calls in counting.calls.values())
    assert running(pool) == 0


# --- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "cause", "cooldowns"),
    [
        (Fault(status=500), "chatgpt:pool:unavailable", InternalServerError, 2),
        (CONCURRENT, "chatgpt:pool:rate-limit", ConcurrentRequestError, 3),
        (Fault(cut_after=2500, omit_done=True), "chatgpt:pool:unavailable", StreamInterruptedError, 2),
    ],
)  # fmt: skip
def test_a_message_is_sent_once(
    make: Callable[..., Any],
    chatgpt_server: ChatGPTServer,
    fault: Fault,
    kind: str,
    cause: type[ChatGPTError],
    cooldowns: int,
) -> None:
    chatgpt_server.inject(fault)
    pool = make()
    error = caught(PoolError, lambda: pool.send_message("hi"))
    assert (error.type, error.account_id, type(error.__cause__)) == (kind, "a1", cause)
    assert error.partial == error.__cause__.partial
    assert (vars(pickle.loads(pickle.dumps(error))), len(chatgpt_server.requests)) == (vars(error), 1)  # fmt: skip
    check_rest(pool, kind, cooldowns)
    assert pool.send_message("hi").account_id == "a2"


def test_a_token_that_has_expired_is_renewed(
    make: Callable[..., Any], chatgpt_server: ChatGPTServer, logins: Logins
) -> None:
    pool = make()
    reply = pool.send_message("One")
    chatgpt_server.web.expire_access_tokens()
    assert follow(pool, reply).account_id == "a1"
    assert logins.emails == ["1@example.com"] * 2
    assert len(chatgpt_server.requests) == 3
    assert pool.status()["a1"].failures == 0


def test_a_token_that_is_refused_twice_blames_the_account(
    make: Callable[..., Any], chatgpt_server: ChatGPTServer, logins: Logins
) -> None:
    pool = make()
    expired = Fault(
        status=401, body='{"detail": {"message": "It has expired", "code": "token_expired"}}'
    )
    chatgpt_server.inject(expired, expired)
    error = caught(PoolError, lambda: pool.send_message("hi"))
    assert (error.type, error.account_id) == ("unknown", "a1")
    assert type(error.__cause__) is TokenExpiredError
    assert (logins.emails, len(chatgpt_server.requests)) == (["1@example.com"] * 2, 2)
    check_rest(pool, "unknown", 5)


@pytest.mark.parametrize("way", ["send", "stream"])
def test_a_token_that_is_forbidden_is_renewed_once(
    make: Callable[..., Any], chatgpt_server: ChatGPTServer, logins: Logins, way: str
) -> None:
    pool = make()
    chatgpt_server.inject(FORBIDDEN)
    if way == "send":
        reply = pool.send_message("hi")
    else:
        with pool.stream_message("hi") as stream:
            assert [*stream]
        reply = stream.result()
    assert reply.account_id == "a1"
    assert (logins.emails, len(chatgpt_server.requests)) == (["1@example.com"] * 2, 2)
    assert len({request.api_key for request in chatgpt_server.requests}) == 2
    assert pool.status()["a1"].failures == 0
    pool.send_message("hi", account_id="a2")
    chatgpt_server.inject(FORBIDDEN, FORBIDDEN)
    sent = len(chatgpt_server.requests)
    error = caught(PoolError, lambda: pool.send_message("hi", account_id="a1"))
    assert (error.type, error.account_id) == ("unknown", "a1")
    assert type(error.__cause__) is PermissionDeniedError
    assert len(chatgpt_server.requests) == sent + 2
    check_rest(pool, "unknown", 5)


def test_the_page_of_cloudflare_is_no_matter_of_the_token(
    make: Callable[..., Any], chatgpt_server: ChatGPTServer, logins: Logins
) -> None:
    page = "<html><title>Just a moment...</title></html>"
    chatgpt_server.inject(Fault(status=403, body=page, headers={"content-type": "text/html"}))
    pool = make()
    error = caught(PoolError, lambda: pool.send_message("hi"))
    assert type(error.__cause__) is BlockedByCloudflareError
    assert (logins.emails, len(chatgpt_server.requests)) == (["1@example.com"], 1)
    check_rest(pool, "unknown", 5)


def test_a_token_that_was_given_is_not_renewed(
    engine: Engine, chatgpt_server: ChatGPTServer
) -> None:
    pool = engine.pool([chatgpt_server.proxy_options] * 2)
    chatgpt_server.inject(FORBIDDEN)
    error = caught(PoolError, lambda: pool.send_message("hi"))
    assert (error.type, error.account_id) == ("unknown", "account-1")
    assert len(chatgpt_server.requests) == 1


# --- logins ----------------------------------------------------------------------------------


class LoginError(Exception):
    """One of the caller's."""


def test_a_login_that_fails(make: Callable[..., Any], logins: Logins) -> None:
    """Its error comes as it is; the account rests, and the next message goes to another one."""
    own = LoginError("captcha")
    logins.failing = {"1@example.com": own}
    pool = make()
    error = caught(LoginError, lambda: pool.send_message("hi"))
    assert error is own
    check_rest(pool, "unknown", 5)
    assert running(pool) == 0
    assert pool.send_message("hi").account_id == "a2"
    logins.failing.clear()
    pool.restore_account("a1")
    assert pool.send_message("hi", account_id="a1").account_id == "a1"


@pytest.mark.parametrize("returned", [None, 5, ""])
def test_a_login_that_returns_no_token(
    engine: Engine, chatgpt_server: ChatGPTServer, returned: object
) -> None:
    def log_in(**_: object) -> Any:
        return returned

    url = chatgpt_server.proxy_options["api_reverse_proxy_url"]
    accounts = [{"get_access_token": log_in, "api_reverse_proxy_url": url}]
    pool = engine.pool([*accounts, chatgpt_server.proxy_options])
    caught((TypeError, ConfigurationError), lambda: pool.send_message("hi"))
    assert pool.send_message("hi").account_id == "account-2"
    check_rest(pool, "unknown", 5, "account-1")


def test_accounts_with_sessions(engine: Engine, chatgpt_server: ChatGPTServer) -> None:
    pool = engine.pool([chatgpt_server.session_options] * 2)
    assert type(pool.accounts["account-1"]).__name__ == "ChatGPTSessionAPI"
    reply = pool.send_message("One")
    assert pool.send_message("Another").account_id == "account-2"
    assert follow(pool, reply).account_id == reply.account_id == "account-1"
    by_conversation = pool.send_message("More", conversation_id=reply.conversation_id)
    assert "message 3 of our conversation; it began with: One" in by_conversation.text
    chatgpt_server.web.expire_access_tokens()
    chatgpt_server.web.sign_out()
    error = caught(PoolError, lambda: pool.send_message("hi", account_id="account-1"))
    assert (error.type, error.account_id) == ("unknown", "account-1")
    assert pool.status()["account-1"].state == "cooling"


def test_refreshing_an_account(
    make: Callable[..., Any], chatgpt_server: ChatGPTServer, logins: Logins
) -> None:
    pool = make()
    pool.send_message("hi")
    old = chatgpt_server.requests[-1].api_key
    chatgpt_server.inject(Fault(status=500))
    caught(PoolError, lambda: pool.send_message("hi", account_id="a1"))
    pool.refresh_account("a1")
    assert logins.emails == ["1@example.com"] * 2
    assert pool.status()["a1"].state == "ready"
    pool.send_message("hi", account_id="a1")
    assert chatgpt_server.requests[-1].api_key != old
    assert logins.emails == ["1@example.com"] * 2
    own = LoginError("captcha")
    logins.failing = {"1@example.com": own}
    assert caught(LoginError, lambda: pool.refresh_account("a1")) is own
    error = caught(PoolError, lambda: pool.refresh_account("nobody"))
    assert (error.type, error.account_id) == ("chatgpt:pool:account-not-found", "nobody")


# --- options, secrets ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["system_message", "completion_params", "name", "stream", "prompt_prefix", "prompt_suffix"],
)
def test_options_of_the_other_flow(
    make: Callable[..., Any], chatgpt_server: ChatGPTServer, name: str
) -> None:
    pool = make()
    values: dict[str, object] = {"stream": True, "completion_params": {"n": 1}}
    with pytest.raises(TypeError, match=f"{name} is an option of the official flow"):
        pool.send_message("hi", **{name: values.get(name, "x")})
    with pytest.raises(ValueError, match="action"):
        pool.send_message("hi", action="nonsense")
    with pytest.raises(ValueError, match="conversation_id must be"):
        pool.send_message("hi", conversation_id="nonsense", parent_message_id=UNKNOWN_PARENT)
    with pytest.raises(ValueError, match="parent_message_id is missing"):
        pool.stream_message("hi", conversation_id=UNKNOWN_CONVERSATION)
    assert chatgpt_server.requests == []


def test_raw_events_and_variants(make: Callable[..., Any]) -> None:
    pool = make()
    events: list[Any] = []
    first = pool.send_message("One", on_conversation_response=events.append)
    assert events
    again = pool.send_message(
        "One",
        action="variant",
        message_id=first.parent_message_id,
        parent_message_id=first.id,
        conversation_id=first.conversation_id,
    )
    assert again.account_id == "a1"


def test_no_secret_is_shown(make: Callable[..., Any], chatgpt_server: ChatGPTServer) -> None:
    search = Search()
    pool = make()
    told = f'{{"detail": "No {PASSWORD}"}}'
    for status in (401, 403, 429, 500):
        chatgpt_server.inject(*[Fault(status=status, body=told)] * 2)
        search.value("an error", caught(ChatGPTError, lambda: pool.send_message("hi")))
        chatgpt_server.clear_faults()
        for name in pool.accounts:
            pool.restore_account(name)
    search.text("the pool", repr(behind(pool)), repr(pool.accounts))
    search.value("its status", pool.status())
    assert search.finds == []
