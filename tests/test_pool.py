"""The pool of the official flow through its public face, on all engines: accounts, follow-ups, changes while in use.

Strategy: the server knows the accounts apart by their keys and lets them fail as the tests say (`tests.pools`). The
accounts are asked in turn, the first one first, so that it is known who answers.
"""

from __future__ import annotations

import copy
import json
import pickle
import threading
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, Final

import pytest

import chatgpt
from chatgpt import (
    ChatGPTError,
    ChatMessage,
    ConfigurationError,
    MessageNotFoundError,
    PoolError,
    Secret,
)
from chatgpt.testing import ChatGPTServer, RawAnswer
from tests.engines import Engine, behind
from tests.pools import (
    OUT_OF_QUOTA,
    RATE_LIMITED,
    FailingAccounts,
    HeldReplies,
    accounts_of,
    at_once,
    caught,
    key,
    keys_of,
    pool_of,
    running,
    server,
    waiting,
)
from tests.reliability.canaries import API_KEY, Search
from tests.reliability.gates import gate, needs_fork, run
from tests.reliability.scripts import until
from tests.reliability.wire import answer_of

__all__ = ["gate", "server"]  # fixtures

COOLDOWN: Final = 60.0

# --- accounts --------------------------------------------------------------------------------


def test_accounts_are_asked_in_turn(engine: Engine, server: ChatGPTServer) -> None:
    pool = pool_of(engine, server, 3)
    replies = [pool.send_message(str(number)) for number in range(6)]
    assert [reply.account_id for reply in replies] == ["account-1", "account-2", "account-3"] * 2
    assert keys_of(server) == [key(1), key(2), key(3)] * 2
    assert [*pool.accounts] == ["account-1", "account-2", "account-3"]
    assert repr(behind(pool)) == "<ChatGPTPool of 3 accounts: account-1, account-2, account-3>"


def test_accounts_may_be_clients_and_options_and_have_ids(
    engine: Engine, server: ChatGPTServer
) -> None:
    client = engine.client(api_key=key(1), api_base_url=server.base_url)
    own = {"api_key": key(2), "account_id": "own", "max_concurrent": 7}
    pool = engine.pool([client, own], defaults={"api_base_url": server.base_url}, max_concurrent=3)
    assert pool.accounts["account-1"] is behind(client)
    told = pool.status()
    assert [(name, status.max_concurrent) for name, status in told.items()] == [
        ("account-1", 3),
        ("own", 7),
    ]
    assert [pool.send_message("hi").account_id for _ in range(2)] == ["account-1", "own"]
    named = engine.pool({"a": client, "b": {"api_key": key(3), "api_base_url": server.base_url}})
    assert [named.send_message("hi").account_id for _ in range(2)] == ["a", "b"]
    assert keys_of(server) == [key(1), key(2), key(1), key(3)]


def test_an_account_of_the_caller(engine: Engine, server: ChatGPTServer) -> None:
    pool = pool_of(engine, server, 3)
    replies = [pool.send_message("hi", account_id="account-3") for _ in range(2)]
    assert {reply.account_id for reply in replies} == {"account-3"}
    with pool.stream_message("hi", account_id="account-2") as stream:
        assert {part.account_id for part in stream} == {"account-2"}


def test_account_ids_are_on_parts_and_in_the_store(engine: Engine, server: ChatGPTServer) -> None:
    store = engine.package.MemoryStore()
    pool = pool_of(engine, server, message_store=store)
    parts: list[ChatMessage] = []
    reply = pool.send_message("hi", on_progress=parts.append)
    assert {part.account_id for part in parts} == {"account-1"}
    assert engine.run(store.get, reply.id) == reply
    assert reply.account_id == "account-1"
    assert engine.run(store.get, reply.parent_message_id).account_id is None


@pytest.mark.parametrize("whose", ["memory", "the pool's", "the clients'", "functions"])
def test_a_follow_up_may_go_to_any_account(
    engine: Engine, server: ChatGPTServer, whose: str
) -> None:
    kept: dict[str, ChatMessage] = {}
    own: dict[str, dict[str, Any]] = {
        "the clients'": {"message_store": engine.package.MemoryStore()},
        "functions": {
            "get_message_by_id": kept.get,
            "upsert_message": lambda message: kept.update({message.id: message}),
        },
    }
    options = {"message_store": engine.package.MemoryStore()} if whose == "the pool's" else {}
    clients = [engine.client(**account) for account in accounts_of(server, 3, **own.get(whose, {}))]
    pool = engine.pool(clients, **options)
    reply = pool.send_message("One")
    for number in (2, 3, 4):
        reply = pool.send_message(f"No. {number}", parent_message_id=reply.id)
        assert f"message {number} of our conversation; it began with: One" in reply.text
        assert reply.account_id == f"account-{(number - 1) % 3 + 1}"
    assert (whose == "functions") == (len(kept) == 8)


def test_an_unknown_parent_is_an_error(engine: Engine, server: ChatGPTServer) -> None:
    pool = pool_of(engine, server)
    with pytest.raises(MessageNotFoundError):
        pool.send_message("hi", parent_message_id="nobody")
    assert server.requests == []
    assert {status.failures for status in pool.status().values()} == {0}
    assert running(pool) == 0


def test_different_stores_are_refused(engine: Engine, server: ChatGPTServer) -> None:
    first, second = (
        engine.client(**account, message_store=engine.package.MemoryStore())
        for account in accounts_of(server, 2)
    )
    with pytest.raises(ConfigurationError, match="different stores"):
        engine.pool([first, second])
    # What the pool is told wins.
    engine.pool([first, second], message_store=engine.package.MemoryStore())
    pool = engine.pool([first])
    with pytest.raises(ConfigurationError, match="different stores"):
        pool.add_account(second)
    assert [*pool.accounts] == ["account-1"]


# --- wrong options ---------------------------------------------------------------------------

WRONG_CALLS: Final = [
    ({"text": ""}, "text"),
    ({"text": 5}, "text"),
    ({"account_id": 5}, "account_id"),
    ({"account_id": " "}, "account_id"),
    ({"timeout": 0}, "timeout"),
    ({"timeout": "1"}, "timeout"),
    ({"abort": 5}, "abort"),
    ({"name": 5}, "name"),
    ({"parent_message_id": 5}, "parent_message_id"),
    ({"completion_params": 5}, "completion_params"),
    ({"system_message": 5}, "system_message"),
    ({"action": "variant"}, "action"),
    ({"on_conversation_response": print}, "on_conversation_response"),
]


@pytest.mark.parametrize(("options", "name"), WRONG_CALLS)
def test_wrong_options_of_a_call(
    engine: Engine, server: ChatGPTServer, options: dict[str, Any], name: str
) -> None:
    pool = pool_of(engine, server)
    for method in (pool.send_message, pool.stream_message):
        with pytest.raises((TypeError, ValueError), match=name):
            method(**{"text": "hi", **options})
    with pytest.raises((TypeError, ValueError), match="on_progress"):
        pool.send_message("hi", on_progress=5)
    assert server.requests == []
    assert {status.calls for status in pool.status().values()} == {0}


WRONG_POOLS: Final = [
    ({"accounts": 5}, "accounts"),
    ({"accounts": "sk-1"}, "accounts"),
    ({"accounts": ["sk-1"]}, "account must be"),
    ({"accounts": [{5: 5}]}, "account must be"),
    ({"accounts": {"": {}}}, "account_id"),
    ({"accounts": {5: {}}}, "account_id"),
    ({"accounts": [{"api_key": "sk-1", "nonsense": 1}]}, "'account-1'.*nonsense"),
    ({"accounts": [{"api_key": "sk-1", "timeout": -1}]}, "'account-1'.*timeout"),
    ({"accounts": [{"account_id": "a"}, {"account_id": "a"}], "defaults": {"api_key": "sk-1"}}, "account_id 'a'"),
    ({"accounts": {"b": {"account_id": "a"}}}, "account_id.*twice"),
    ({"accounts": [{"max_concurrent": 0}]}, "max_concurrent"),
    ({"accounts": [{"api_key": "sk-1"}, {"access_token": "abcdef"}]}, "official flow"),
    ({"cooldown": -1}, "cooldown"),
    ({"cooldown": True}, "cooldown"),
    ({"cooldown": float("inf")}, "cooldown"),
    ({"cooldown": float("nan")}, "cooldown"),
    ({"max_concurrent": 0}, "max_concurrent"),
    ({"max_concurrent": 1.5}, "max_concurrent"),
    ({"failover": 1}, "failover"),
    ({"timeout": 0}, "timeout"),
    ({"defaults": []}, "defaults"),
    ({"message_store": 5}, "message_store"),
    ({"key_prefix": ""}, "key_prefix"),
    ({"lease_seconds": 0}, "lease_seconds"),
    ({"redis_url": "http://nowhere"}, "URL of a Redis server"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "name"), WRONG_POOLS)
def test_wrong_options_of_a_pool(engine: Engine, options: dict[str, Any], name: str) -> None:
    with pytest.raises((TypeError, ValueError), match=name):
        engine.pool(**{"accounts": [], **options})


def test_an_account_of_the_other_twin_is_refused(engine: Engine, server: ChatGPTServer) -> None:
    other = chatgpt if engine.name != "sync" else __import__("chatgpt_async")
    with pytest.raises(TypeError, match="client of this twin"):
        engine.pool([other.ChatGPTAPI(api_key=key(1), api_base_url=server.base_url)])


# --- status, and changes while in use --------------------------------------------------------


def test_status(engine: Engine, server: ChatGPTServer) -> None:
    held = HeldReplies(says_first=True)
    server.replies = FailingAccounts(sk_2=RATE_LIMITED, sk_3=OUT_OF_QUOTA)
    pool = engine.pool(accounts_of(server, 4), max_concurrent=1)
    before = pool.status()
    assert {status.state for status in before.values()} == {"ready"}
    assert {(status.calls, status.failures) for status in before.values()} == {(0, 0)}
    for _ in range(2):
        pool.send_message("hi")
    server.replies = held
    with pool.stream_message("hi", account_id="account-1"):
        told = pool.status()
        assert [status.account_id for status in told.values()] == [*told]
        assert [status.state for status in told.values()] == ["busy", "cooling", "out", "ready"]
        assert [status.running for status in told.values()] == [1, 0, 0, 0]
        assert [status.calls for status in told.values()] == [2, 1, 1, 1]
        assert [status.failures for status in told.values()] == [0, 1, 1, 0]
        assert [status.reason for status in told.values()] == [
            None, "chatgpt:pool:rate-limit", "chatgpt:pool:rate-limit", None,
        ]  # fmt: skip
        assert [status.until is None for status in told.values()] == [True, False, True, True]
        for name, status in told.items():
            assert status.since.utcoffset() == timedelta(0)
            assert status.since > before[name].since
            assert status.max_concurrent == 1
    held.is_open.set()
    assert pool.status()["account-1"].state == "ready"
    assert pool.status()["account-1"].since > told["account-1"].since


def test_a_new_account_takes_who_waits(engine: Engine, server: ChatGPTServer) -> None:
    held = HeldReplies(says_first=True)
    server.replies = lambda request: held(request) if request.api_key == key(1) else "new"
    pool = pool_of(engine, server, 1, max_concurrent=1)
    (_, options) = accounts_of(server, 2)
    with pool.stream_message("hi"):
        replies: list[ChatMessage] = []
        threads = [threading.Thread(target=lambda: replies.append(pool.send_message("waits")))]
        threads[0].start()
        until(lambda: waiting(pool) == 1)
        assert pool.add_account(options) == "account-2"
        threads[0].join()
    assert [reply.account_id for reply in replies] == ["account-2"]
    assert pool.status()["account-2"].max_concurrent == 1
    with pytest.raises(ConfigurationError, match="account_id 'account-2'"):
        pool.add_account(options, account_id="account-2")
    assert pool.add_account(options, account_id="more", max_concurrent=5) == "more"
    assert pool.status()["more"].max_concurrent == 5
    held.is_open.set()


def test_an_account_that_is_put_back_takes_who_waits(engine: Engine, server: ChatGPTServer) -> None:
    failing = FailingAccounts(sk_1=RATE_LIMITED)
    server.replies = failing
    pool = engine.pool(accounts_of(server, 1, max_retries=0), max_concurrent=1)
    replies: list[ChatMessage] = []
    thread = threading.Thread(target=lambda: replies.append(pool.send_message("hi")))
    thread.start()
    until(lambda: pool.status()["account-1"].state == "cooling" and waiting(pool) == 1)
    failing.failing.clear()
    pool.restore_account("account-1")
    thread.join()
    assert [reply.account_id for reply in replies] == ["account-1"]
    status = pool.status()["account-1"]
    assert (status.state, status.reason, status.calls, status.failures) == ("ready", None, 2, 1)


@pytest.mark.parametrize("is_made", [True, False])
def test_removing_an_account_in_use(engine: Engine, server: ChatGPTServer, is_made: bool) -> None:
    """Its call goes on to its end; nobody is given it any more."""
    held = HeldReplies(says_first=True)
    server.replies = lambda request: held(request) if request.api_key == key(1) else "other"
    accounts = accounts_of(server, 2)
    if not is_made:
        accounts = [engine.client(**account) for account in accounts]
    pool = engine.pool(accounts, max_concurrent=1)
    with pool.stream_message("hi", account_id="account-1") as stream:
        assert next(stream).delta == "first"
        pool.remove_account("account-1")
        assert [*pool.accounts] == [*pool.status()] == ["account-2"]
        assert pool.send_message("hi").account_id == "account-2"
        held.is_open.set()
        assert "".join(part.delta or "" for part in stream) == " second"
    assert stream.result().text == "first second"
    assert caught(PoolError, lambda: pool.send_message("hi", account_id="account-1")).type == (
        "chatgpt:pool:account-not-found"
    )


def test_who_waits_for_an_account_that_is_removed(engine: Engine, server: ChatGPTServer) -> None:
    held = HeldReplies(says_first=True)
    server.replies = held
    pools = {
        "chatgpt:pool:no-accounts": (pool_of(engine, server, 1, max_concurrent=1), None),
        "chatgpt:pool:account-not-found": (
            pool_of(engine, server, 2, max_concurrent=1),
            "account-1",
        ),
    }
    errors: dict[str, Any] = {}

    def wait(kind: str) -> None:
        pool, wanted = pools[kind]
        errors[kind] = caught(PoolError, lambda: pool.send_message("hi", account_id=wanted))

    with ExitStack() as stack:
        threads = [threading.Thread(target=wait, args=[kind]) for kind in pools]
        for pool, _ in pools.values():
            stack.enter_context(pool.stream_message("hi", account_id="account-1"))
        for thread in threads:
            thread.start()
        for pool, _ in pools.values():
            until(lambda pool=pool: waiting(pool) == 1)  # type: ignore[misc]
            pool.remove_account("account-1")
        for thread in threads:
            thread.join()
    assert {kind: error.type for kind, error in errors.items()} == {kind: kind for kind in pools}
    held.is_open.set()


def test_refreshing_is_of_the_web_flow(engine: Engine, server: ChatGPTServer) -> None:
    with pytest.raises(TypeError, match="web flow"):
        pool_of(engine, server).refresh_account("account-1")


# --- the object ------------------------------------------------------------------------------


def test_closing_closes_what_the_pool_has_made(engine: Engine, server: ChatGPTServer) -> None:
    given = engine.client(api_key=key(1), api_base_url=server.base_url)
    pool = engine.pool([given, *accounts_of(server, 2)[1:]])
    for _ in range(2):
        pool.send_message("hi")
    pool.close()
    for _ in range(2):
        pool.send_message("hi")
    kept, closed = (
        [request.client_port for request in server.requests if request.api_key == key(number)]
        for number in (1, 2)
    )
    assert len({*kept}) == 1
    assert len({*closed}) == 2


def test_a_pickled_pool(
    engine: Engine, server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        monkeypatch.setenv(f"KEY_{number}", key(number))
    accounts: Any = {
        f"a{n}": {"api_key": Secret(key(n), f"KEY_{n}"), "api_base_url": server.base_url, "max_concurrent": n}
        for n in (1, 2)
    }  # fmt: skip
    server.replies = FailingAccounts(sk_1=RATE_LIMITED)
    pool = engine.pool(accounts, cooldown=7)
    pool.send_message("hi")
    pickled = pickle.dumps(behind(pool))
    assert b"sk-1" not in pickled
    twin = engine.adopt(pickle.loads(pickled))
    assert repr(twin) == repr(pool)
    told = twin.status()
    assert [(s.state, s.calls, s.max_concurrent) for s in told.values()] == [("ready", 0, 1), ("ready", 0, 2)]  # fmt: skip
    assert twin.send_message("hi").account_id == "a2"
    assert keys_of(server) == [key(1), key(2)] * 2
    status = twin.status()["a1"]
    assert abs(status.until - status.since - timedelta(seconds=21)) < timedelta(milliseconds=1)


def test_a_copied_pool(engine: Engine, server: ChatGPTServer) -> None:
    pool = pool_of(engine, server)
    for way in (copy.copy, copy.deepcopy):
        twin = engine.adopt(way(behind(pool)))
        assert [twin.send_message("hi").account_id for _ in range(2)] == ["account-1", "account-2"]
    assert {status.calls for status in pool.status().values()} == {0}


def test_a_copy_does_not_close_what_it_was_given(engine: Engine, server: ChatGPTServer) -> None:
    given = engine.client(api_key=key(1), api_base_url=server.base_url)
    pool = engine.pool([given])
    twin = engine.adopt(copy.copy(behind(pool)))
    given.send_message("hi")
    twin.close()
    given.send_message("hi")
    assert len({request.client_port for request in server.requests}) == 1


FORKING: Final = """
import os, sys
from chatgpt import ChatGPTPool
url = sys.argv[1]
pool = ChatGPTPool([{"api_key": "sk-test", "api_base_url": url}] * 2, max_concurrent=1)
def running(): return [status.running for status in pool.status().values()]
with pool.stream_message("held") as stream:
    assert next(stream).delta == "first"
    child = os.fork()
    if child == 0:
        assert running() == [0, 0], running()
        assert {pool.send_message("child").account_id for _ in range(2)} == {"account-1", "account-2"}
        assert running() == [0, 0], running()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert running() == [1, 0], running()
    assert pool.send_message("open").account_id == "account-2"
    assert "".join(part.delta or "" for part in stream) == " second"
assert running() == [0, 0], running()
"""


@needs_fork
def test_a_fork(gate: ChatGPTServer) -> None:
    """The child has the accounts, and none of the calls of its parent."""
    ended = run("-W", "ignore::DeprecationWarning", "-c", FORKING, gate.base_url)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_no_secret_is_shown(engine: Engine, server: ChatGPTServer) -> None:
    """In no repr, error, traceback, pickle or copy, be it that the server repeats it."""
    search = Search()
    told = json.dumps({"error": {"message": f"The key {API_KEY} is bad", "code": API_KEY}}).encode()
    options = {"api_key": API_KEY, "api_base_url": server.base_url, "max_retries": 0}
    pool = engine.pool([options, options])
    for status in (b"401 Unauthorized", b"429 Too Many Requests", b"500 Oh", b"402 Oh", b"400 No"):
        server.replies = lambda _, status=status: RawAnswer([answer_of(told, status=status)])
        error = caught(ChatGPTError, lambda: pool.send_message("hi", timeout=20))
        search.value(f"an error for {status.decode()}", error)
        for name in pool.accounts:
            pool.restore_account(name)
    search.value("the pool", pool)
    search.value("its status", pool.status())
    assert search.finds == []


def test_no_secret_of_the_defaults_is_shown(engine: Engine, server: ChatGPTServer) -> None:
    search = Search()
    defaults = {"api_key": API_KEY, "api_base_url": server.base_url}
    search.value("the pool", engine.pool([{}], defaults=defaults))
    assert search.finds == []


@pytest.mark.parametrize("wrong", [{"timeout": -1}, {"nonsense": 1}, {"max_concurrent": 0}])
def test_no_secret_is_shown_by_a_constructor_that_fails(
    engine: Engine, server: ChatGPTServer, wrong: dict[str, Any]
) -> None:
    search = Search()
    account = {"api_key": API_KEY, "api_base_url": server.base_url, **wrong}
    error = caught((TypeError, ValueError), lambda: engine.pool([account]))
    search.value("the error", error)
    assert search.finds == []


def test_calls_at_once_of_one_account(engine: Engine, server: ChatGPTServer) -> None:
    """In the official flow an account takes any number."""
    together = threading.Barrier(12)
    server.replies = lambda _: str(together.wait(10))
    pool = pool_of(engine, server, 1)
    assert pool.status()["account-1"].max_concurrent is None
    replies = at_once(12, lambda _: pool.send_message("hi"))
    assert len({reply.text for reply in replies}) == 12
    assert running(pool) == 0
