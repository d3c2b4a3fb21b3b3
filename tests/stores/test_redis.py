"""What a `RedisStore` keeps in real servers, and how it gets there, on every engine where it matters."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from attrs import evolve

import chatgpt.stores.redis_keys
from chatgpt.core.errors import MessageIdTakenError
from chatgpt.stores.redis import RedisStore
from tests import redis_server as servers
from tests.engines import Engine
from tests.redis_server import (
    CountingProxy,
    Make,
    RedisServer,
    listed,
    message,
    texts,
    thread,
    until,
)

make = servers.make_redis_store
raw = servers.raw_redis


@pytest.fixture
def store(make: Make, redis_server: RedisServer) -> Any:
    return make(redis_server.url)


# --- round trips -----------------------------------------------------------------------------


def test_round_trips(
    make: Make, redis_server: RedisServer, engine: Engine, raw: redis.Redis
) -> None:
    with CountingProxy(redis_server.port) as proxy:
        store = make(proxy.url)

        def trips(work: Callable[[], Any]) -> int:
            before = proxy.round_trips
            work()
            return proxy.round_trips - before

        store.save(thread(1_000))  # and the connection is open
        assert trips(lambda: store.save(thread(1_002)[1_000:])) == 1
        assert trips(lambda: texts(store.path("m1001"))[:999] != []) == 1
        assert len(store.path("m1001")) == 1_002
        assert trips(lambda: store.path("m1001", 20)) == 1
        assert trips(lambda: store.get("m5")) == 1
        assert trips(lambda: store.replies("m5")) == 1
        assert trips(lambda: store.save([])) == 0
        assert trips(lambda: store.path("m1001", 0)) == 0
        keys: Any = raw.dbsize()  # those of other tests, too
        assert trips(lambda: listed(engine, store.all_messages())) < 20 + keys // 250
        assert proxy.connections == 1


def test_a_time_to_live_takes_no_further_round_trip(make: Make, redis_server: RedisServer) -> None:
    with CountingProxy(redis_server.port) as proxy:
        store = make(proxy.url, time_to_live=60)
        store.save(thread(500))
        before = proxy.round_trips
        store.save(thread(501)[500:])
        store.path("m500", 20)
        assert proxy.round_trips - before == 2


def test_a_thread_that_is_longer_than_a_script_goes_through(
    make: Make, redis_server: RedisServer, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatgpt.stores.redis_keys, "STEPS", 7)
    store = make(redis_server.url, time_to_live=1_000)
    messages = thread(31)
    store.save(messages)
    assert store.path("m30") == messages[::-1]
    for limit in (1, 6, 7, 8, 30, 31, 40):
        assert store.path("m30", limit) == messages[::-1][:limit]
    store.save([message("a", "b"), message("b", "a")])
    assert len(store.path("a", 9)) == 2
    raw.pexpire(raw.keys("*:message:m0")[-1], 5_000)
    (first,) = raw.keys(f"{{{store._keys.key_prefix}}}:message:m0")
    raw.pexpire(first, 5_000)
    store.path("m30", 2)
    assert raw.pttl(first) > 900_000


# --- what is kept ----------------------------------------------------------------------------


def test_saving_and_reading(store: Any, engine: Engine) -> None:
    messages = thread(5)
    store.save(messages[:2])
    store.save(messages[2:])
    store.save([evolve(messages[0], text="put otherwise")])
    assert texts(store.path("m4")) == ["4", "3", "2", "1", "put otherwise"]
    assert texts(store.path("m4", 2)) == ["4", "3"]
    assert store.path("m4", 0) == store.path("nowhere") == []
    assert store.get("m3") == messages[3]
    assert store.get("nowhere") is store.get("\ud800") is store.get("") is None
    store.save([message("late", "m1", 2), message("early", "m1", 1)])
    assert [reply.id for reply in store.replies("m1")][-2:] == ["early", "late"]
    ids = [each.id for each in listed(engine, store.all_messages())]
    assert ids == ["m0", "m1", "m2", "m3", "m4", "late", "early"]


def test_circles_and_gaps(store: Any) -> None:
    store.save([message("a", "b"), message("b", "a"), message("own", "own"), message("c", "gone")])
    assert [each.id for each in store.path("a")] == ["a", "b"]
    assert [each.id for each in store.path("own")] == ["own"]
    assert [each.id for each in store.path("c")] == ["c"]


def test_unusual_ids_and_texts(store: Any, engine: Engine) -> None:
    ids = ["\0", "a b", "*", "[a-z]", "{x}", "}{", "\\", "a\r\nb", "🧑‍🚀", "é" * 200, "message:a"]
    parents = [None, *ids]
    messages = [
        evolve(message(own, parent), text=f"\0 🧑‍🚀 \ud83d \r\n {own}")
        for own, parent in zip(ids, parents, strict=False)
    ]
    store.save(messages)
    assert store.path(ids[-1]) == messages[::-1]
    assert listed(engine, store.all_messages()) == messages
    assert store.replies("*") == [messages[3]]
    store.save([message("below", "\ud800 is no parent")])
    assert [each.id for each in store.path("below")] == ["below"]
    for unusable in ("", " ", "\ud800"):
        with pytest.raises(ValueError, match="id"):
            store.save([message("good"), message(unusable)])
    assert store.get("good") is None


def test_prefixes_with_glob_characters(
    make: Make, redis_server: RedisServer, engine: Engine
) -> None:
    prefix = "a*?[b]\\c"
    stores = [make(redis_server.url, key_prefix=each) for each in (prefix, "axx[b]\\c", "axxb\\c")]
    for number, store in enumerate(stores):
        store.save([message(f"of {number}")])
    for number, store in enumerate(stores):
        assert [each.id for each in listed(engine, store.all_messages())] == [f"of {number}"]


def test_many_messages_are_listed_in_order(store: Any, raw: redis.Redis, engine: Engine) -> None:
    messages = thread(2_345)
    for begin in range(0, 2_345, 500):
        store.save(messages[begin : begin + 500])
    store.save(messages[100:200])
    raw.set(f"{{{store._keys.key_prefix}}}:message:of another kind", "x")
    assert listed(engine, store.all_messages()) == messages


# --- ids that are taken ----------------------------------------------------------------------


def test_an_id_that_is_taken(store: Any) -> None:
    store.save([message("a"), message("b", "a")])
    with pytest.raises(MessageIdTakenError) as caught:
        store.save([message("new"), message("b", "a", 1), message("a", "b")])
    assert caught.value.message_ids == ["b", "a"]
    assert store.get("new") is None
    assert store.replies("b") == []
    assert store.get("a") == message("a")
    with pytest.raises(MessageIdTakenError):
        store.save([message("twice"), message("twice", minute=1)])
    assert store.get("twice") is None
    store.save([message("b", "a")])


def test_one_of_many_threads_wins(redis_server: RedisServer, key_prefix: str) -> None:
    with RedisStore(redis_server.url, key_prefix=key_prefix) as store:

        def work(number: int) -> int:
            won = 0
            for turn in range(20):
                try:
                    store.save([message(f"id {turn}", minute=number)])
                    won += 1
                except MessageIdTakenError:
                    pass
            return won

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(work, range(8))) == 20


RACE = """
import sys
from datetime import UTC, datetime
from chatgpt import ChatMessage
from chatgpt.core.errors import MessageIdTakenError
from chatgpt.stores.redis import RedisStore

url, prefix, minute = sys.argv[1:]
store = RedisStore(url, key_prefix=prefix)
store.get("open")
print("ready", flush=True)
sys.stdin.readline()
won = 0
for turn in range(200):
    made = ChatMessage(id=str(turn), text=minute, created_at=datetime(2026, 1, 1, 0, int(minute), tzinfo=UTC))
    try:
        store.save([made])
        won += 1
    except MessageIdTakenError:
        pass
print(won)
"""


def test_one_of_two_processes_wins(redis_server: RedisServer, key_prefix: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, redis_server.url, key_prefix, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    won = [int(process.communicate()[0]) for process in processes]
    assert sum(won) == 200


# --- what cannot be read ---------------------------------------------------------------------


def damage(raw: redis.Redis, prefix: str, message_id: str, record: bytes) -> None:
    assert raw.hset(f"{{{prefix}}}:message:{message_id}", "record", record) == 0


def test_what_cannot_be_read_is_passed_over(
    store: Any,
    raw: redis.Redis,
    key_prefix: str,
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
) -> None:
    messages = thread(10)
    store.save(messages)
    bad = {"m7": b'{"id": "m7", "canary', "m5": b"\xff\x00", "m4": b'{"id": "m3", "text": "x"}'}
    for message_id, record in bad.items():
        damage(raw, key_prefix, message_id, record)
    for message_id in ("m0", "m2"):
        raw.hdel(f"{{{key_prefix}}}:message:{message_id}", "record")
    readable = ["9", "8", "6", "3", "1"]
    with caplog.at_level(logging.WARNING, "chatgpt"):
        assert texts(store.path("m9")) == readable
        assert all(repr(message_id) in caplog.text for message_id in (*bad, "m0", "m2"))
        assert "canary" not in caplog.text
        for limit in range(1, 8):
            assert texts(store.path("m9", limit)) == readable[:limit]
        assert texts(store.path("m7")) == readable[2:]
        assert store.get("m7") is None
        assert store.replies("m6") == []
        assert texts(listed(engine, store.all_messages())) == readable[::-1]
    unreadable = listed(engine, store.unreadable_messages())
    assert [(each.id, each.record) for each in unreadable] == [
        ("m0", b""),
        ("m2", b""),
        ("m4", bad["m4"]),
        ("m5", bad["m5"]),
        ("m7", bad["m7"]),
    ]
    assert all(each.reason and "\n" not in each.reason for each in unreadable)
    store.save([messages[7]])  # it is the same one
    assert store.get("m7") == messages[7]


# --- time to live ----------------------------------------------------------------------------


def test_messages_expire_together(
    redis_server: RedisServer, raw: redis.Redis, key_prefix: str
) -> None:
    store = RedisStore(redis_server.url, key_prefix=key_prefix, time_to_live=0.3)
    store.save(thread(3))
    store.save([message("branch", "m0")])
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        assert len(store.path("m2", 1)) == 1
        time.sleep(0.05)
    assert texts(store.path("m2")) == ["2", "1", "0"]
    assert store.get("branch") is None
    assert [each.id for each in store.replies("m0")] == ["m1"]
    assert raw.smembers(f"{{{key_prefix}}}:replies:m0") == {b"m1"}
    until(lambda: store.get("m2") is None)
    until(lambda: raw.keys(f"{{{key_prefix}}}:*") == [f"{{{key_prefix}}}:last-number".encode()])


def test_reading_a_thread_refreshes_its_replies_too(
    make: Make, redis_server: RedisServer, raw: redis.Redis
) -> None:
    store = make(redis_server.url, time_to_live=1_000)
    store.save([*thread(3), message("orphan", "gone")])
    keys = [key for key in raw.keys(f"{{{store._keys.key_prefix}}}:*") if b"last" not in key]
    assert len(keys) == 7
    for key in keys:
        assert 900_000 < raw.pttl(key) <= 1_000_000
        raw.pexpire(key, 5_000)
    store.path("m2", 1)
    store.path("orphan")
    assert all(raw.pttl(key) > 900_000 for key in keys)
    kept = make(redis_server.url)
    kept.save([*thread(3), message("orphan", "gone")])
    kept.path("m2")
    assert {raw.pttl(key) for key in keys} == {-1}
