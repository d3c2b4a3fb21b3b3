"""A peer on loopback that takes what is sent, says a little or nothing, and sees when it is left."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "word "}}]}\n\n'
FIRST_EVENT = HEAD + b"%x\r\n%s\r\n" % (len(EVENT), EVENT)


class Peer:
    """Accepts one connection, and keeps it open until it is closed from the other side.

    Attributes:
        says: what is sent once something arrived.
        has_heard: set when something arrived.
        is_left: set when the connection was closed from the other side.
    """

    def __init__(self) -> None:
        self.says = b""
        self.has_heard = threading.Event()
        self.is_left = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(10)
            try:
                while connection.recv(65536):
                    if self.says and not self.has_heard.is_set():
                        connection.sendall(self.says)
                    self.has_heard.set()
            except OSError:
                pass  # a reset is a way to leave
            self.is_left.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone wakes nobody
        self._listener.close()


class FullBacklog:
    """A listener that takes no further connection: connecting to it hangs."""

    def __enter__(self) -> Self:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._waiting = []
        for _ in range(4):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", self.port))
            self._waiting.append(waiting)
        time.sleep(0.05)
        with socket.socket() as other:
            other.settimeout(0.1)
            try:
                other.connect(("127.0.0.1", self.port))
            except TimeoutError:
                return self
        raise AssertionError("the backlog is not full")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for waiting in self._waiting:
            waiting.close()
        self._listener.close()


async def until(is_reached: Callable[[], bool]) -> None:
    """Wait for another thread; fail if it takes too long."""
    with anyio.fail_after(5):
        while not is_reached():
            await anyio.sleep(0.005)
