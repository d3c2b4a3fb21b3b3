"""A server on loopback that does with its connections what a script says: the network at its worst.

Strategy: the fixture's server (`chatgpt.testing`) speaks HTTP as it should be; this one holds sockets. The
first connections are given to the scripts, one each; on every further one, and on what a script leaves open,
requests are answered well, with `well`. So a test can break one exchange and see that the next is not harmed.

Rules:

1. A script is over when it returns; `Wire.keep` hands the connection back to be answered well from then on.
   Otherwise it is closed: what was written is followed by a FIN.
2. Nothing here waits for ever: every wait of a socket ends after `PATIENCE` seconds.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, Self, TypeAlias

PATIENCE: Final = 20.0

WELL_TEXT: Final = "Still here."

WELL: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 83\r\n\r\n"
    b'{"id":"","choices":[{"message":{"content":"Still here."},"finish_reason":"stop"}]} '
)
"""What a request is answered with where nothing is broken."""


class Wire:
    """One connection, as a script sees it.

    Attributes:
        request: the request that was read last, head and body; empty before that.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        # Without it, what is written in two pieces waits for an acknowledgement.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self.request = b""
        self.is_kept = False
        self._received = b""

    def read_request(self) -> bytes:
        """Read one request; empty where the client closed the connection instead of sending one."""
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            if not self._receive():
                return b""
        announced = re.search(rb"(?i)\ncontent-length: *(\d+)", self._received[:end])
        size = end + 4 + (int(announced[1]) if announced else 0)
        while len(self._received) < size:
            if not self._receive():
                return b""
        self.request, self._received = self._received[:size], self._received[size:]
        return self.request

    def send(self, data: bytes) -> bool:
        """Write; return whether the client was still there to take it."""
        try:
            self.connection.sendall(data)
        except OSError:
            return False
        return True

    def pour(self, pieces: Iterable[bytes]) -> int:
        """Write one piece after the other until the client leaves; return how many bytes it took."""
        taken = 0
        for piece in pieces:
            if not self.send(piece):
                break
            taken += len(piece)
        return taken

    def keep(self) -> None:
        """Leave the connection open: further requests on it are answered well."""
        self.is_kept = True

    def reset(self) -> None:
        """Close the connection with a RST; what was written and not yet read may be lost."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def end_writing(self) -> None:
        """Shut down this side alone: a FIN, while reading goes on."""
        self.connection.shutdown(socket.SHUT_WR)

    def wait_until_left(self) -> bool:
        """Take whatever comes until the client closes the connection; return whether it did."""
        try:
            while self.connection.recv(65536):
                continue
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def _receive(self) -> bool:
        try:
            received = self.connection.recv(65536)
        except OSError:
            return False
        self._received += received
        return bool(received)


Script: TypeAlias = Callable[[Wire], None]


class RawServer:
    """Gives its connections to scripts.

    Args:
        scripts: for the first connections, one each; more may be appended.
        well: answers every request that no script answers.
        tls: how TLS is spoken; `None` for plain text.

    Attributes:
        scripts: those that are not used yet.
        requests: all requests that were read, heads and bodies, in their order.
        connections: how many connections were accepted.
        problems: what a script raised; a test fails when it leaves the server.
    """

    def __init__(
        self, *scripts: Script, well: bytes = WELL, tls: ssl.SSLContext | None = None
    ) -> None:
        self.scripts: list[Script] = list(scripts)
        self.requests: list[bytes] = []
        self.connections = 0
        self.problems: list[BaseException] = []
        self._well = well
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]

    @property
    def base_url(self) -> str:
        """What a client takes as `api_base_url`."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
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
        with self._lock:
            left = [*self._open]
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if error is None and self.problems:
            raise self.problems[0]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                script = self.scripts.pop(0) if self.scripts else None
                threading.Thread(target=self._serve, args=(connection, script), daemon=True).start()

    def _serve(self, connection: socket.socket, script: Script | None) -> None:
        with self._lock:
            self._open.add(connection)
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._follow(Wire(connection), script)
        except OSError:
            pass  # the client left, which is its right
        except BaseException as problem:  # noqa: BLE001 - raised where the test leaves the server
            self.problems.append(problem)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _follow(self, wire: Wire, script: Script | None) -> None:
        read = wire.read_request

        def recording() -> bytes:
            request = read()
            if request:
                self.requests.append(request)
            return request

        wire.read_request = recording  # type: ignore[method-assign] # whoever reads, it is noted
        if script is not None:
            script(wire)
            if not wire.is_kept:
                return
        while wire.read_request():
            if not wire.send(self._well):
                return


# --- scripts ---------------------------------------------------------------------------------


def answering(*pieces: bytes, pause: float = 0.0, keep: bool = False) -> Script:
    """Read the request, write these bytes, with pauses between, and close the connection, or keep it open."""

    def script(wire: Wire) -> None:
        wire.read_request()
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(pause)
            wire.send(piece)
        if keep:
            wire.keep()

    return script


def ending_its_side(answer: bytes) -> Script:
    """Read the request, write these bytes, and send a FIN; the other direction stays open."""

    def script(wire: Wire) -> None:
        wire.read_request()
        wire.send(answer)
        wire.end_writing()
        wire.wait_until_left()

    return script


def closing_late(answer: bytes) -> Script:
    """Read the request, write these bytes, and close the connection a while after."""

    def script(wire: Wire) -> None:
        wire.read_request()
        wire.send(answer)
        time.sleep(0.3)

    return script


def resetting_at_once(wire: Wire) -> None:
    """Reset the connection before anything is read."""
    wire.reset()


def closing_at_once(_: Wire) -> None:
    """Close the connection before anything is read."""


def answering_and_resetting(answer: bytes) -> Script:
    """Read the request, write these bytes, and reset the connection."""

    def script(wire: Wire) -> None:
        wire.read_request()
        wire.send(answer)
        wire.reset()

    return script


def answering_and_staying(answer: bytes) -> Script:
    """Read the request, write these bytes, and say nothing more until the client leaves."""

    def script(wire: Wire) -> None:
        wire.read_request()
        wire.send(answer)
        wire.wait_until_left()

    return script


def pouring(head: bytes, piece: bytes, times: int, taken: list[int]) -> Script:
    """Read the request, write a head and then one piece again and again; note how much was taken."""

    def script(wire: Wire) -> None:
        wire.read_request()
        wire.send(head)
        taken.append(wire.pour([piece] * times))

    return script


# --- what is written -------------------------------------------------------------------------


def answer_of(
    body: bytes, *headers: bytes, status: bytes = b"200 OK", length: int | None = None
) -> bytes:
    """An answer with a content length, which may be another than that of its body."""
    told = b"content-length: %d" % (len(body) if length is None else length)
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers, told, b"", body])


def chunked_answer(*chunks: bytes, headers: Sequence[bytes] = ()) -> bytes:
    """An answer in chunks, with the last one that ends it."""
    head = b"\r\n".join([b"HTTP/1.1 200 OK", *headers, b"transfer-encoding: chunked", b"", b""])
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def event(text: str = "", *, finish_reason: str | None = None) -> bytes:
    """One event of a stream."""
    choice = {"delta": {"content": text} if text else {}, "finish_reason": finish_reason}
    return b"data: %s\n\n" % json.dumps({"choices": [choice]}).encode()


def document(text: str) -> bytes:
    """A reply that is one document."""
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice]}).encode()
