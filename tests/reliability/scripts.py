"""What slow and stubborn servers do with a connection (`wire.py`), for the tests of limits, tokens and retries."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from itertools import cycle
from typing import Any, Final

import pytest

from tests.reliability.wire import Script, Wire

PAUSE: Final = 0.02
"""Seconds between the pieces of a server that goes on writing: it is never silent for long."""

MOST_MORE: Final = 5
"""How many pieces a server can write after it is left, at most: one until it is told, some while it is told."""

EVENT: Final = b'data: {"choices": [{"index": 0, "delta": {"content": "word "}}]}\n\n'
FINISHED: Final = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
CHUNKED: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
CLOSED: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


def framed(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


WORD: Final = framed(EVENT)


def repeating(begin: bytes, piece: bytes) -> Script:
    """Write something, and then a piece again and again, until the client leaves."""

    def script(wire: Wire) -> None:
        wire.read_request()
        wire.send(begin)
        while wire.send(piece):
            time.sleep(PAUSE)

    return script


def dripping(begin: bytes, rest: bytes) -> Script:
    """Write something, and then byte after byte, over and over, until the client leaves."""

    def script(wire: Wire) -> None:
        wire.read_request()
        wire.send(begin)
        for value in cycle(rest):
            time.sleep(PAUSE)
            if not wire.send(bytes([value])):
                return

    return script


def silent_from_the_beginning(wire: Wire) -> None:
    time.sleep(3)


def deaf(wire: Wire) -> None:
    """Takes a little of what is sent, and then nothing."""
    wire.connection.recv(10)
    time.sleep(3)


class Writing:
    """A script that writes words until it is left.

    Attributes:
        written: how many pieces it could write.
        is_left: set when it noticed.
    """

    def __init__(self) -> None:
        self.written = 0
        self.is_left = threading.Event()

    def __call__(self, wire: Wire) -> None:
        wire.read_request()
        wire.send(CHUNKED)
        while wire.send(WORD):
            self.written += 1
            time.sleep(PAUSE)
        self.is_left.set()


class Waiting:
    """A script that does something, and then waits until it is left."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.is_left = threading.Event()

    def __call__(self, wire: Wire) -> None:
        self._script(wire)
        if wire.wait_until_left():
            self.is_left.set()


def reading(wire: Wire) -> None:
    wire.read_request()


def hearing(wire: Wire) -> None:
    wire.connection.recv(10)


def sending(answer: bytes) -> Script:
    def script(wire: Wire) -> None:
        wire.read_request()
        wire.send(answer)

    return script


# --- other things ----------------------------------------------------------------------------


def look_up_slowly(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the system take so long to look up `slow.example`, which is this machine."""
    look_up = socket.getaddrinfo

    def slowly(host: Any, *args: Any, **options: Any) -> Any:
        if host not in ("slow.example", b"slow.example"):
            return look_up(host, *args, **options)
        if any(value & socket.AI_NUMERICHOST for value in (*args[4:], options.get("flags", 0))):
            raise socket.gaierror(socket.EAI_NONAME, "it is a name")
        time.sleep(seconds)
        return look_up("127.0.0.1", *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)


def until(is_reached: Callable[[], bool]) -> None:
    """Wait for another thread; fail if it takes too long."""
    end = time.monotonic() + 5
    while not is_reached():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.005)
