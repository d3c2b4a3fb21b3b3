"""Proxies that carry bytes: CONNECT of HTTP, and SOCKS 5. On loopback, for one connection at a time."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self


class Tunnel:
    """A proxy that asks for a user name and a password.

    Attributes:
        asked: where its clients wanted to go, and with which credentials.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # closing alone wakes nobody
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            with self.open(client) as server:
                back = threading.Thread(target=_carry, args=(server, client), daemon=True)
                back.start()
                _carry(client, server)
                back.join(5)

    def open(self, client: socket.socket) -> socket.socket:
        """Connect to where the client wants to go: by CONNECT."""
        head = b""
        while b"\r\n\r\n" not in head:
            received = client.recv(65536)
            if not received:
                raise ConnectionError("the client went away")
            head += received
        lines = head.decode("latin-1").split("\r\n")
        where = lines[0].split(" ")[1]
        given = [line.partition(": ")[2] for line in lines if line.lower().startswith("proxy-auth")]
        self.asked.append((where, *given))  # type: ignore[arg-type] # without credentials the test fails
        host, _, port = where.rpartition(":")
        server = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return server


class SocksTunnel(Tunnel):
    """The same, by SOCKS 5 (RFC 1928 and 1929)."""

    def open(self, client: socket.socket) -> socket.socket:
        received = client.makefile("rb")
        _, count = received.read(2)
        received.read(count)
        client.sendall(b"\x05\x02")  # a user name and a password are wanted
        received.read(1)
        user = received.read(received.read(1)[0])
        password = received.read(received.read(1)[0])
        client.sendall(b"\x01\x00")
        _, _, _, kind = received.read(4)
        name = received.read(4 if kind == 1 else received.read(1)[0])
        host = socket.inet_ntoa(name) if kind == 1 else name.decode()
        (port,) = struct.unpack(">H", received.read(2))
        self.asked.append((f"{host}:{port}", f"{user.decode()}:{password.decode()}"))
        server = socket.create_connection((host, port))
        client.sendall(b"\x05\x00\x00\x01" + bytes(6))
        return server


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
