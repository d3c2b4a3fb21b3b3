"""Real servers of Redis on loopback, a proxy that counts round trips, and stores on every engine.

Where there is no `redis-server`, the tests that need one are skipped, and say so.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

import pytest
import redis

from chatgpt import ChatMessage
from chatgpt.stores.redis import RedisStore
from chatgpt_async.stores.redis import RedisStore as AsyncRedisStore
from tests.engines import Engine
from tests.stepping import thread_of

PROGRAM: Final = shutil.which("redis-server")

_ATTEMPTS: Final = 5


def until(is_so: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for something to be so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to be so"
        time.sleep(0.01)


class RedisServer:
    """A server of its own, in a folder of its own.

    Args:
        options: what is given to `redis-server`, without the dashes.
        cluster: whether it is the only node of a cluster, which enforces its slots.
        tls: whether it speaks TLS.

    Attributes:
        port: where it listens on loopback.
        socket: the path of its Unix socket.
        folder: where it keeps what it keeps; it is removed in the end.
    """

    def __init__(self, *options: str, cluster: bool = False, tls: bool = False) -> None:
        if PROGRAM is None:
            pytest.skip("redis-server is not installed")
        self._options = options
        self._is_cluster = cluster
        self._is_tls = tls
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.socket = self.folder / "redis.sock"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of its database 0."""
        return f"{'rediss' if self._is_tls else 'redis'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, at its port once it has one."""
        for _ in range(_ATTEMPTS):
            port = self.port or _free_port()
            if self._starts(port):
                self.port = port
                break
        else:
            raise AssertionError("redis-server does not start")
        if self._is_cluster and b"cluster_slots_assigned:0" in self.ask("CLUSTER INFO"):
            assert self.ask("CLUSTER ADDSLOTSRANGE 0 16383") == b"+OK\r\n"
        if self._is_cluster:
            until(lambda: b"cluster_state:ok" in self.ask("CLUSTER INFO"))

    def _starts(self, port: int) -> bool:
        listen = ["--port", "0", "--tls-port"] if self._is_tls else ["--port"]
        options = [part for option in self._options for part in f"--{option}".split()]
        cluster = ["--cluster-enabled", "yes"] if self._is_cluster else []
        self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [
                *(PROGRAM or "", *listen, str(port), "--bind", "127.0.0.1", "--save", ""),
                *("--unixsocket", str(self.socket), "--dir", str(self.folder)),
                *(*cluster, *options),
            ],
            stdout=subprocess.DEVNULL,
        )
        end = time.monotonic() + 10
        while self._process.poll() is None and time.monotonic() < end:
            try:
                if self.ask("PING").startswith((b"+PONG", b"-NOAUTH")):
                    return True
            except OSError:
                time.sleep(0.01)
        self.stop()
        return False

    def ask(self, command: str) -> bytes:
        """Send a command whose answer is short, and return that as it comes."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(5)
            asking.connect(str(self.socket))
            asking.sendall(command.encode() + b"\r\n")
            return asking.recv(65_536)

    def pause(self) -> None:
        """Have it hang, in the midst of whatever it does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on after `pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it in order, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 55_000:  # a cluster listens 10,000 further up, too
            return port


class CountingProxy:
    """Passes bytes to a server and back, and counts how often one side has to wait for the other.

    Attributes:
        round_trips: how often the client began to send, at first or after an answer.
        connections: how many were opened.
        is_deaf: whether nothing is passed on any more: the client waits.
    """

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.round_trips = 0
        self.connections = 0
        self.is_deaf = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Close the connections that are open, as a server does with idle ones."""
        while self._open:
            each = self._open.pop()
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(self._server)
            self._open += [client, server]
            asked = [False]
            for source, target, is_client in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self._pass_on, args=(source, target, is_client, asked), daemon=True
                ).start()

    def _pass_on(
        self, source: socket.socket, target: socket.socket, is_client: bool, asked: list[bool]
    ) -> None:
        try:
            while data := source.recv(65_536):
                if is_client and not asked[0]:
                    self.round_trips += 1
                asked[0] = is_client
                if not self.is_deaf:
                    target.sendall(data)
        except OSError:
            pass
        finally:
            for each in (source, target):
                each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.close()
        self.cut()


# --- stores --------------------------------------------------------------------------------

_MOMENT: Final = datetime(2026, 1, 2, tzinfo=UTC)


def kind_of_store(engine: Engine) -> Any:
    return RedisStore if engine.name == "sync" else AsyncRedisStore


def listed(engine: Engine, messages: Any) -> list[Any]:
    async def collected() -> list[Any]:
        return [each async for each in messages]

    return list(messages) if engine.name == "sync" else list(engine.run(collected))


def texts(messages: Sequence[ChatMessage]) -> list[str]:
    return [message.text for message in messages]


def thread(length: int) -> list[ChatMessage]:
    return thread_of([str(number) for number in range(length)])


def message(message_id: str, parent_id: str | None = None, minute: int = 0) -> ChatMessage:
    created = _MOMENT + timedelta(minutes=minute)
    return ChatMessage(
        id=message_id, text=f"said by {message_id}", parent_message_id=parent_id, created_at=created
    )


# --- fixtures --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A server that all tests share; each has keys of its own (`key_prefix`)."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisServer]:
    """The only node of a cluster, shared like `redis_server`."""
    with RedisServer(cluster=True) as server:
        yield server


@pytest.fixture
def key_prefix() -> str:
    """What the keys of a test begin with."""
    return f"test-{uuid4()}"


Make = Callable[..., Any]


@pytest.fixture
def make_redis_store(engine: Engine, key_prefix: str) -> Make:
    """Makes a store of the engine, with the face of the sync one; it is closed after the test."""

    def made(url: str | None, **options: Any) -> Any:
        store = kind_of_store(engine)(url, **{"key_prefix": key_prefix, **options})
        return engine.adopt(store)

    return made


@pytest.fixture
def raw_redis(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client that sees what a store keeps."""
    with redis.Redis.from_url(redis_server.url) as client:
        yield client
