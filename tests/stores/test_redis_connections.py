"""How a `RedisStore` reaches real servers, what it says when it does not, and what it never says."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from redis.backoff import NoBackoff
from redis.retry import Retry

from chatgpt import ConfigurationError, StoreError
from chatgpt.core.errors import MessageIdTakenError
from chatgpt.stores.redis import RedisStore
from tests import redis_server as servers
from tests.engines import Engine
from tests.redis_server import (
    CountingProxy,
    Make,
    RedisServer,
    kind_of_store,
    listed,
    message,
    texts,
    thread,
    until,
)
from tests.test_secrecy import check
from tests.test_secrecy import shown as shown_whole

make = servers.make_redis_store
raw = servers.raw_redis


PASSWORD = "canary-password"


@pytest.fixture
def store(make: Make, redis_server: RedisServer) -> Any:
    return make(redis_server.url)


# --- connections -----------------------------------------------------------------------------


def test_a_server_that_was_restarted(make: Make) -> None:
    with RedisServer("appendonly yes", "appendfsync always") as server:
        store = make(server.url)
        store.save(thread(2))
        server.stop()
        server.start()
        assert texts(store.path("m1")) == ["1", "0"]
        server.kill()
        server.start()
        store.save([message("next")])
        assert store.get("next") is not None


def test_a_connection_that_was_closed_while_idle(make: Make, redis_server: RedisServer) -> None:
    with CountingProxy(redis_server.port) as proxy:
        store = make(proxy.url)
        for turn in range(5):
            store.save([message(f"turn {turn}")])
            assert store.get(f"turn {turn}") is not None
            proxy.cut()
        assert proxy.connections == 5


def test_a_server_that_is_gone(make: Make) -> None:
    with RedisServer() as server:
        store = make(server.url)
        store.save(thread(2))
        server.kill()
        work: list[Callable[[], object]] = [
            lambda: store.get("m1"),
            lambda: store.path("m1"),
            lambda: store.save(thread(2)),
        ]
        for each in work:
            begin = time.monotonic()
            with pytest.raises(StoreError) as caught:
                each()
            assert time.monotonic() - begin < 5
            assert f"Redis at 127.0.0.1:{server.port} failed: " in str(caught.value)
            assert "\n" not in str(caught.value)
            assert isinstance(caught.value.__cause__, redis.ConnectionError)
        server.start()
        assert store.get("m1") is None


def test_a_server_that_says_nothing(make: Make, redis_server: RedisServer) -> None:
    with CountingProxy(redis_server.port) as proxy:
        store = make(f"{proxy.url}?socket_timeout=0.3")
        store.save(thread(2))
        proxy.is_deaf = True
        begin = time.monotonic()
        with pytest.raises(StoreError, match="Timeout"):
            store.path("m1")
        assert time.monotonic() - begin < 2
        proxy.is_deaf = False
        assert len(store.path("m1")) == 2


def test_timeouts(engine: Engine) -> None:
    kind = kind_of_store(engine)
    for url in ("redis://localhost", "rediss://localhost", "unix:///tmp/socket"):
        options = kind(url)._address.pool().connection_kwargs
        assert (options["socket_connect_timeout"], options["socket_timeout"]) == (5, 10)
    options = kind("redis://x?socket_timeout=3&socket_connect_timeout=2")._address.pool()
    assert options.connection_kwargs["socket_connect_timeout"] == 2
    assert options.connection_kwargs["socket_timeout"] == 3


def test_a_crash_loses_nothing_that_was_acknowledged(make: Make) -> None:
    with RedisServer("appendonly yes", "appendfsync always") as server:
        store = make(server.url)
        acknowledged: list[str] = []
        failed = threading.Event()

        def work(number: int) -> None:
            try:
                for turn in range(100_000):
                    own = f"{number}.{turn}"
                    store.save([message(f"{own} q"), message(f"{own} a", f"{own} q")])
                    acknowledged.append(own)
            except StoreError:
                failed.set()

        with ThreadPoolExecutor(4) as pool:
            for number in range(4):
                pool.submit(work, number)
            until(lambda: len(acknowledged) > 40)
            server.kill()
            assert failed.wait(10)
        server.start()
        for own in acknowledged:
            assert [each.id for each in store.path(f"{own} a")] == [f"{own} a", f"{own} q"]


def test_other_ways_to_a_server(
    make: Make, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    over_socket = make(f"unix://{redis_server.socket}?db=3")
    over_socket.save(thread(2))
    assert repr(over_socket).endswith(f"at {redis_server.socket}>")
    monkeypatch.setenv("REDIS_URL", f"{redis_server.url}/3")
    assert len(make(None).path("m1")) == 2
    assert make(redis_server.url).path("m1") == []


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, Path]]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    with RedisServer(
        f"tls-cert-file {folder / 'cert.pem'}",
        f"tls-key-file {folder / 'key.pem'}",
        f"tls-ca-cert-file {folder / 'ca.pem'}",
        "tls-auth-clients no",
        tls=True,
    ) as server:
        yield server, folder


def test_tls(make: Make, tls_server: tuple[RedisServer, Path]) -> None:
    server, folder = tls_server
    store = make(f"{server.url}?ssl_ca_certs={folder / 'ca.pem'}")
    store.save(thread(2))
    assert len(store.path("m1")) == 2
    with pytest.raises(StoreError, match=f"127.0.0.1:{server.port} failed"):
        make(server.url).get("m1")  # its certificate is trusted by nobody


def test_closed_stores_open_again(store: Any, raw: redis.Redis, engine: Engine) -> None:
    def clients() -> int:
        return len(raw.client_list())

    before = clients()
    for turn in range(3):
        store.save([message(f"turn {turn}")])
        assert clients() == before + 1
        store.close()
        until(lambda: clients() == before)
    assert len(listed(engine, store.all_messages())) == 3


def test_closing_waits_for_calls(make: Make, redis_server: RedisServer, raw: redis.Redis) -> None:
    before = len(raw.client_list())
    store = make(redis_server.url)
    store.save(thread(2))
    raw.client_pause(400, all=True)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(store.path, "m1")
        time.sleep(0.1)
        begin = time.monotonic()
        store.close()
        assert time.monotonic() - begin < 0.2
        assert len(reading.result()) == 2
    until(lambda: len(raw.client_list()) <= before)


def test_a_store_outlives_a_fork(redis_server: RedisServer, key_prefix: str) -> None:
    with RedisStore(redis_server.url, key_prefix=key_prefix) as store:
        store.save(thread(4))
        store._connections._opening.acquire()  # as another thread may hold it
        child = os.fork()
        if not child:
            status = 1
            try:
                gc.collect()
                store.save([message("of the child", "m3")])
                status = 0 if len(store.path("of the child")) == 5 else 2
            finally:
                os._exit(status)
        store._connections._opening.release()
        for _ in range(20):
            assert len(store.path("m3")) == 4
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(store.path("of the child")) == 5


def test_more_threads_than_connections(redis_server: RedisServer, key_prefix: str) -> None:
    url = f"{redis_server.url}?max_connections=2"
    with RedisStore(url, key_prefix=key_prefix) as store, ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda number: store.save([message(str(number))]), range(200)))
        assert len(list(store.all_messages())) == 200


# --- what a server refuses -------------------------------------------------------------------


def test_a_server_that_refuses(make: Make) -> None:
    with RedisServer() as server:
        store = make(server.url)
        store.save(thread(2))
        server.ask("CONFIG SET maxmemory 1")
        with pytest.raises(StoreError, match="maxmemory"):
            store.save([message("a"), message("b", "a")])
        server.ask("CONFIG SET maxmemory 0")
        assert store.get("a") is None
        assert store.replies("a") == []
        server.ask("REPLICAOF 127.0.0.1 1")
        with pytest.raises(StoreError, match="read only") as caught:
            store.save([message("a"), message("b", "a")])
        assert isinstance(caught.value.__cause__, redis.ResponseError)
        assert "\n" not in str(caught.value)
        server.ask("REPLICAOF NO ONE")
        server.ask(f"SET {{{store._keys.key_prefix}}}:replies:a x")
        with pytest.raises(StoreError, match="WRONGTYPE"):
            store.save([message("a"), message("b", "a")])
        assert store.get("a") is None
        store.save([message("a")])


def test_what_the_caller_was_handling_stays_as_it_is(make: Make, redis_server: RedisServer) -> None:
    store = make("redis://127.0.0.1:1")
    mine = KeyError("mine")
    try:
        raise mine
    except KeyError:
        with pytest.raises(StoreError):
            store.get("x")
    assert mine.__traceback__ is not None


# --- secrets ---------------------------------------------------------------------------------


def shown(error: BaseException) -> str:
    """An error in every way in which it may be shown; the frame of the test has the password."""
    assert error.__traceback__ is not None
    return shown_whole(error.with_traceback(error.__traceback__.tb_next))


@pytest.fixture(scope="module")
def locked_server() -> Iterator[RedisServer]:
    with RedisServer(f"requirepass {PASSWORD}") as server:
        yield server


@contextmanager
def repeating_server() -> Iterator[int]:
    """A server that knows no AUTH, and says what it was sent, as Redis does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    while data := client.recv(65_536):
                        said = " ".join(f"'{word}'" for word in data.decode().split())
                        client.sendall(f"-ERR unknown command, args: {said}\r\n".encode())

        threading.Thread(target=answer, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_no_password_is_shown(
    make: Make, locked_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    place = f"127.0.0.1:{locked_server.port}"
    store = make(f"redis://:{PASSWORD}@{place}/0")
    store.save(thread(2))
    outputs = [repr(store), repr(store._address)]
    outputs.append(repr(pickle.dumps(getattr(store, "_behind", store))))
    with pytest.raises(MessageIdTakenError) as taken:
        store.save([message("m1", "m0", 3)])
    outputs.append(shown(taken.value))
    with repeating_server() as port:
        urls = [
            f"redis://user:{PASSWORD}-wrong@{place}",
            f"redis://{PASSWORD}@{place}",
            f"redis://{place}?password={PASSWORD}-wrong&username=u",
            f"redis://:{PASSWORD}@127.0.0.1:1",
            f"redis://:{PASSWORD}@nowhere.invalid",
            f"rediss://:{PASSWORD}@{place}?socket_timeout=0.3&socket_connect_timeout=0.3",
            f"unix:///nowhere?password={PASSWORD}",
            f"redis://:{PASSWORD}@127.0.0.1:{port}",
            f"redis://:canary%2Dpassword%21@127.0.0.1:{port}",
        ]
        for url in urls:
            store = make(url)
            outputs.append(repr(store))
            with pytest.raises(StoreError) as failed:
                store.path("m1")
            outputs.append(shown(failed.value))
            assert re.match(r"Redis at [\w./:]+ failed: \w", str(failed.value))
    outputs.append(caplog.text)
    for output in outputs:
        check(output)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{PASSWORD}/x@localhost",
        f"redis://:{PASSWORD}#x@localhost",
        f"redis://:{PASSWORD}?x@localhost",
        f"redis://:1234/{PASSWORD}@localhost",
        f"redis://:{PASSWORD}@localhost/{PASSWORD}",
        f"redis://:{PASSWORD}@localhost:99999",
        f"redis://:{PASSWORD}@localhost:port",
        f"redis://:{PASSWORD}@localhost?no_such_option=1",
        f"redis://:{PASSWORD}@localhost?db={PASSWORD}",
        f"redis://:{PASSWORD}@localhost?protocol={PASSWORD}",
        f"rediss://:{PASSWORD}@localhost?ssl_cert_reqs={PASSWORD}",
        f"redis://:{PASSWORD}@[localhost",
        f"redis://:{PASSWORD}@",
        f"http://:{PASSWORD}@localhost",
        f"unix://:{PASSWORD}@",
        PASSWORD,
        "",
    ],
)
def test_urls_that_cannot_be_used(engine: Engine, url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        kind_of_store(engine)(url)
    assert "Redis server" in str(caught.value)
    check(shown(caught.value))


def test_a_password_of_a_client_is_not_shown(locked_server: RedisServer, key_prefix: str) -> None:
    password = f"{PASSWORD}-wrong"
    with redis.Redis(
        port=locked_server.port, password=password, retry=Retry(NoBackoff(), 0)
    ) as client:
        store = RedisStore.of_client(client, key_prefix=key_prefix)
        with pytest.raises(StoreError, match=f"localhost:{locked_server.port}") as caught:
            store.get("x")
        check(shown(caught.value) + repr(store))


def test_pickles(
    engine: Engine, locked_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = kind_of_store(engine)
    place = f"127.0.0.1:{locked_server.port}"
    url = f"redis://:{PASSWORD}@{place}"
    plain = pickle.loads(pickle.dumps(kind("redis://here:1/2", key_prefix="p", time_to_live=3)))
    assert repr(plain) == "<RedisStore 'p' at here:1>"
    assert plain._address.url.reveal() == "redis://here:1/2"
    assert plain._keys._life == 3_000

    left = pickle.loads(pickle.dumps(kind(url)))
    with pytest.raises(ConfigurationError, match="not carried by a pickle"):
        engine.adopt(left).get("x")

    monkeypatch.setenv("REDIS_URL", url)
    pickled = pickle.dumps(kind())
    check(repr(pickled))
    monkeypatch.delenv("REDIS_URL")
    again = pickle.loads(pickled)
    with pytest.raises(ConfigurationError, match="set REDIS_URL in the environment"):
        engine.adopt(again).get("x")
    monkeypatch.setenv("REDIS_URL", url)
    assert engine.adopt(again).get("x") is None

    import copy

    assert engine.adopt(copy.deepcopy(kind(url))).get("x") is None


# --- clusters and clients --------------------------------------------------------------------


def test_a_cluster(redis_cluster: RedisServer, key_prefix: str) -> None:
    with (
        redis.RedisCluster.from_url(redis_cluster.url) as cluster,
        redis.Redis.from_url(redis_cluster.url, decode_responses=True) as single,
    ):
        with pytest.raises(redis.ResponseError, match="CROSSSLOT|same slot"):
            single.execute_command("MSET", "a", "1", "b", "2")
        for client in (cluster, single):
            store = RedisStore.of_client(client, key_prefix=key_prefix, time_to_live=100)
            messages = thread(700)
            store.save(messages)
            store.save([message("other", "m1")])
            assert store.path("m699") == messages[::-1]
            assert len(store.replies("m1")) == 2
            assert len(list(store.all_messages())) == 701
            with pytest.raises(MessageIdTakenError):
                store.save([message("m5")])
            store.close()
            with pytest.raises(TypeError, match="cannot be pickled"):
                pickle.dumps(store)
        assert single.ping()
        assert repr(RedisStore.of_client(cluster)).endswith("at the nodes of a cluster>")


def test_what_can_be_given(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, url = kind_of_store(engine), "redis://localhost"
    for options, error, words in (
        ({"key_prefix": ""}, ConfigurationError, "key_prefix must not be empty"),
        ({"key_prefix": "{a}"}, ConfigurationError, "no braces"),
        ({"key_prefix": b"a"}, TypeError, "key_prefix must be a str, not bytes"),
        ({"time_to_live": 0}, ConfigurationError, "time_to_live must be more than 0"),
        ({"time_to_live": -1}, ConfigurationError, "time_to_live must be more than 0"),
        ({"time_to_live": "1"}, TypeError, "time_to_live must be a number"),
    ):
        with pytest.raises(error, match=words):
            kind(url, **options)
    with pytest.raises(TypeError, match="url must be a str, not int"):
        kind(1)
    with pytest.raises(TypeError, match=r"client must be a redis.*, not a builtins.dict"):
        kind.of_client({})
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(ConfigurationError, match="or set REDIS_URL"):
        kind()
    assert kind(url, time_to_live=float("inf"))._keys._life == ""
    assert re.fullmatch(r"<RedisStore 'chatgpt' at \[::1\]:6379>", repr(kind("redis://[::1]")))
    for name in [name for name in sys.modules if re.match(r"redis(\.|$)", name)]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=re.escape("pip install 'chatgpt-sdk[redis]'")):
        kind(url)


def test_redis_is_imported_late() -> None:
    code = "import sys, chatgpt.stores.redis, chatgpt_async.stores.redis; print('redis' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
