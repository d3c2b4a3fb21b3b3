"""What is stored and exported holds no secret, and a store shows none: its password, what it raises.

Strategy and promises are those of `test_secrets`.
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from chatgpt import ChatMessage, StoreError
from chatgpt.testing import ChatGPTServer, Fault
from tests.engines import Engine, stored_messages
from tests.redis_server import RedisServer, kind_of_store, listed
from tests.reliability.canaries import (
    API_KEY,
    ORGANIZATION,
    PLAIN_HEADER,
    REDIS_PASSWORD,
)
from tests.reliability.public_calls import STORES, official_scene
from tests.reliability.report import Report
from tests.reliability.test_secrets import GROUP, SEEN, Watch, server, watch
from tests.reliability.wire import RawServer

__all__ = ["server", "watch"]  # fixtures


# --- what a server repeats in an answer that is well -----------------------------------------


@pytest.mark.parametrize("is_streamed", [False, True], ids=["plain", "streamed"])
def test_a_reply_that_repeats_the_key_beside_its_text(
    is_streamed: bool, engine: Engine, server: ChatGPTServer, watch: Watch, report: Report
) -> None:
    """`model`, `finish_reason`, `detail`, `usage` and the id of the request are stored with a reply."""
    told = "delta" if is_streamed else "message"
    said = {"role": "assistant", "content": "Fine."}
    answer = {
        "id": "chatcmpl-1",
        "model": f"gpt for {API_KEY}",
        "system_fingerprint": API_KEY,
        "debug": {"headers": {"authorization": f"Bearer {API_KEY}"}},
        "choices": [{"index": 0, told: said, "finish_reason": "stop"}],
    }
    body = f"data: {json.dumps(answer)}\n\n" if is_streamed else json.dumps(answer)
    scene = official_scene(engine, server)
    server.inject(Fault(status=200, body=body, headers={"x-request-id": API_KEY}))
    reply = watch.of("the reply", lambda: scene.client.send_message("hi", stream=is_streamed))
    assert isinstance(reply, ChatMessage)
    for message in stored_messages(scene.client):
        watch.search.value("what is stored", message)
    watch.finish()
    report.tried(GROUP, "the server repeats it beside a reply", engine.name, SEEN)


# --- what is stored --------------------------------------------------------------------------


def test_what_is_stored(
    engine: Engine,
    server: ChatGPTServer,
    watch: Watch,
    report: Report,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Every method of every store, the bytes of its file or server, and every kind of archive."""
    redis_server: RedisServer = request.getfixturevalue("redis_server")
    package = engine.package
    stores = {
        "MemoryStore": package.MemoryStore(),
        "SQLiteStore": package.SQLiteStore(tmp_path / "messages.sqlite3"),
        "RedisStore": package.RedisStore(redis_server.url, key_prefix=f"secrets-{engine.name}"),
    }
    calls = 0
    for name, store in stores.items():
        client = engine.client(
            api_key=API_KEY,
            api_org=ORGANIZATION,
            headers={"X-Api-Key": PLAIN_HEADER},
            api_base_url=server.base_url,
            message_store=store,
            max_retries=0,
        )
        reply = client.send_message("hi", stream=True)
        server.inject(Fault(status=400, body=f'{{"error": "no {API_KEY}"}}'))
        watch.of("a refusal", partial(client.send_message, "hi"))
        for method in STORES[name]:
            watch.of(f"{name}.{method}", partial(_ask, engine, store, method, reply))
            calls += 1
        for kind in ("jsonl", "md", "html"):
            path = tmp_path / f"{name}.{kind}"
            assert engine.run(package.export_messages, store, path) == 2
        report_of_import = engine.run(
            package.import_messages, tmp_path / f"{name}.jsonl", package.MemoryStore()
        )
        watch.search.value("import_messages", report_of_import)
        watch.search.value(name, store)
        if name != "MemoryStore":
            engine.run(store.close)
    keys = _dump_of(redis_server, f"secrets-{engine.name}")
    assert keys
    watch.search.text("Redis", *keys)
    watch.search.files("what is stored", tmp_path)
    watch.finish()
    report.tried(GROUP, "what is stored and exported", engine.name, "no secret in it", cases=calls)


def _dump_of(redis_server: RedisServer, prefix: str) -> list[bytes]:
    """The keys of Redis that have this in them, and what they hold, as Redis would write it to its disk."""
    with redis.Redis.from_url(redis_server.url) as client:
        keys: list[bytes] = list(client.scan_iter(f"*{prefix}*"))
        return [*keys, *(client.dump(key) or b"" for key in keys)]


def _ask(engine: Engine, store: Any, method: str, reply: ChatMessage) -> object:
    match method:
        case "all_messages" | "unreadable_messages":
            return listed(engine, getattr(store, method)())
        case "save":
            return engine.run(store.save, [reply])
        case "close":
            return engine.run(store.close)
        case "search":
            found = store.search("words")
            return (
                listed(engine, found) if hasattr(found, "__aiter__") else engine.run(lambda: found)
            )
        case "conversations":
            return engine.run(store.conversations)
        case "conversation_messages" | "find_conversations":
            return engine.run(getattr(store, method), reply.conversation_id)
        case "name_conversation":
            return engine.run(store.name_conversation, reply.conversation_id, "a name")
        case "use_conversation":
            return engine.run(store.use_conversation, reply.conversation_id, reply.id)
        case "clear" | "delete_conversation":
            thread = engine.run(store.path, reply.id)
            given = () if method == "clear" else (reply.conversation_id,)
            count = engine.run(getattr(store, method), *given)
            assert count == len(thread) == 2
            engine.run(store.save, thread[::-1])  # what comes after it needs them
            return count
        case "of_client":
            return type(store).of_client(object())
        case _:
            return engine.run(getattr(store, method), reply.id)


def test_the_password_of_redis(engine: Engine, watch: Watch, report: Report) -> None:
    """Right, wrong, repeated by the server, and of a server that is not there."""
    logging.getLogger("chatgpt").debug("Redis is asked.")
    with (
        RedisServer(f"requirepass {REDIS_PASSWORD}") as right,
        RedisServer("requirepass x1") as wrong,
    ):
        answer = f"-ERR invalid password '{REDIS_PASSWORD}' of user\r\n".encode()
        with RawServer(*[_repeating(answer)] * 30) as repeating:
            for port, goes_well in (
                (right.port, True), (wrong.port, False), (repeating.port, False), (9, False),
            ):  # fmt: skip
                for url in (
                    f"redis://:{REDIS_PASSWORD}@127.0.0.1:{port}/0",
                    f"redis://127.0.0.1:{port}?password={REDIS_PASSWORD}",
                ):
                    store = kind_of_store(engine)(url)
                    brought = watch.of("get", partial(engine.run, store.get, "m-1"))
                    assert (brought is None) if goes_well else isinstance(brought, StoreError)
                    # Not what hangs on the client of redis-py, which keeps its password in dictionaries.
                    for shown in (repr(store), str(store), f"{store}", pickle.dumps(store)):
                        watch.search.text("the store", shown)
                    engine.run(store.close)
    watch.finish()
    report.tried(GROUP, "the password of Redis", engine.name, SEEN, cases=8)


def _repeating(answer: bytes) -> Callable[[Any], None]:
    def script(wire: Any) -> None:
        if wire.connection.recv(65536):
            wire.send(answer)

    return script


def test_a_store_that_raises(
    engine: Engine, server: ChatGPTServer, watch: Watch, report: Report
) -> None:
    """The frames between hold what was sent."""

    def fail(*_: object) -> Any:
        raise OSError("the disk is full")

    async def fail_later(*_: object) -> Any:
        fail()

    failing = fail if engine.name == "sync" else fail_later
    for option in ("get_message_by_id", "upsert_message"):
        client = engine.client(
            api_key=API_KEY, api_base_url=server.base_url, headers={"X-Api-Key": PLAIN_HEADER},
            **{option: failing},
        )  # fmt: skip
        given: Any = {"parent_message_id": "m-1"} if option == "get_message_by_id" else {}
        error = watch.of(option, partial(client.send_message, "hi", **given))
        assert isinstance(error, (OSError, StoreError))
    watch.finish()
    report.tried(GROUP, "a store that raises", engine.name, SEEN, cases=2)
