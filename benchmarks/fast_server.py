"""A loopback server that is faster than any client: its answers are bytes that were made once.

Strategy: a process of its own, so that its work is no part of a client's CPU time. The path of a request says what is
asked for, as every client lets its caller choose a base URL: `/{events}/{events_per_chunk}/v1/chat/completions` for chunks
of HTTP that hold so many events each, written at once; `/{events}/{events_per_chunk}/{pieces}/{pause}/v1/chat/completions` for
the same in so many pieces, with so many milliseconds between them, so that many streams are under way at the same time.
Connections are kept.

Rules:

1. It loads the standard library alone, and runs as a file: `python -I benchmarks/fast_server.py` prints its port.
2. As OpenAI's server, it sends the usage of a stream only to those who ask for it, with `stream_options`.
3. `GET /most` says how many streams in pieces it was sending at once, at most, since that was asked last.
4. It ends when its standard input does: nobody has to kill it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from functools import cache

REPLY = "A monad is a monoid in the category of endofunctors; what is the problem?"
"""The text of a plain reply."""

BACKLOG = 4_096
"""So many connections may wait to be taken: a crowd comes in one moment."""

_USAGE = {"prompt_tokens": 40, "completion_tokens": 20, "total_tokens": 60}
_PATH = re.compile(rb"POST /(\d+)/(\d+)(?:/(\d+)/(\d+))?/v1/chat/completions ")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def stream_text(events: int) -> str:
    """The text of a streamed reply that comes in so many pieces, one for each event."""
    return "".join(_pieces(events))


def _pieces(events: int) -> list[str]:
    return [f" word{number}" if number else "word0" for number in range(events)]


def _event(choices: list[object], **more: object) -> bytes:
    chunk = {
        "id": "chatcmpl-Bxq3Vv5vX0dTn2rKcG8pYwL1sHf4Z",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "gpt-5.4-mini",
        "choices": choices,
        **more,
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def _choice(delta: dict[str, str], finish_reason: str | None = None) -> list[object]:
    return [{"index": 0, "delta": delta, "finish_reason": finish_reason}]


def _chunks(events: int, events_per_chunk: int, *, has_usage: bool) -> list[bytes]:
    """The body of a streamed answer, in chunks of HTTP."""
    sent = [_event(_choice({"role": "assistant", "content": ""}))]
    sent += [_event(_choice({"content": piece})) for piece in _pieces(events)]
    sent.append(_event(_choice({}, "stop")))
    if has_usage:
        sent.append(_event([], usage=_USAGE))
    sent.append(b"data: [DONE]\n\n")
    chunks = [
        b"".join(sent[begin : begin + events_per_chunk])
        for begin in range(0, len(sent), events_per_chunk)
    ]
    return [*(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks), b"0\r\n\r\n"]


@cache
def streamed_answer(events: int, events_per_chunk: int, *, has_usage: bool) -> bytes:
    """The answer to a request with `"stream": true`, head included."""
    return _HEAD + b"".join(_chunks(events, events_per_chunk, has_usage=has_usage))


@cache
def parted_answer(
    events: int, events_per_chunk: int, pieces: int, *, has_usage: bool
) -> Sequence[bytes]:
    """The same in so many parts, or fewer where there are not as many chunks; none ends within a chunk."""
    chunks = _chunks(events, events_per_chunk, has_usage=has_usage)
    length = -(-len(chunks) // pieces)
    parts = [b"".join(chunks[begin : begin + length]) for begin in range(0, len(chunks), length)]
    return _HEAD + parts[0], *parts[1:]


@cache
def plain_answer() -> bytes:
    """The answer to any other request, head included."""
    completion = {
        "id": "chatcmpl-Bxq3Vv5vX0dTn2rKcG8pYwL1sHf4Z",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-5.4-mini",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": REPLY},
                "finish_reason": "stop",
            }
        ],
        "usage": _USAGE,
    }
    body = json.dumps(completion).encode()
    return _JSON_HEAD % len(body) + body


class _Streams:
    """The streams in pieces that are under way."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def begin(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def end(self) -> None:
        self.now -= 1

    def told(self) -> bytes:
        """The answer to `GET /most`."""
        body = b"%d" % self.most
        self.most = self.now
        return _JSON_HEAD % len(body) + body


class _Connection(asyncio.Protocol):
    """One connection, and what came over it that is no whole request yet."""

    def __init__(self, streams: _Streams) -> None:
        self.received = b""
        self.streams = streams
        self.next_part: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        if self.next_part is not None:
            self.next_part.cancel()
            self.streams.end()

    def data_received(self, data: bytes) -> None:
        self.received += data
        while True:
            head, end, rest = self.received.partition(b"\r\n\r\n")
            announced = _LENGTH.search(head)
            length = int(announced[1]) if announced else 0
            if not end or len(rest) < length:
                return
            self.received = rest[length:]
            self.answer(head, rest[:length])

    def answer(self, head: bytes, body: bytes) -> None:
        """Answer a request, or begin to."""
        asked = _PATH.match(head)
        if asked is None:
            is_count = head.startswith(b"GET /most ")
            not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            self.transport.write(self.streams.told() if is_count else not_found)
            return
        request = json.loads(body)
        if not request.get("stream"):
            self.transport.write(plain_answer())
            return
        events, events_per_chunk, pieces, pause = (int(number or 0) for number in asked.groups())
        has_usage = bool((request.get("stream_options") or {}).get("include_usage"))
        if not pieces:
            self.transport.write(streamed_answer(events, events_per_chunk, has_usage=has_usage))
            return
        self.streams.begin()
        parts = parted_answer(events, events_per_chunk, pieces, has_usage=has_usage)
        self.send_part(parts, 0, pause / 1e3)

    def send_part(self, parts: Sequence[bytes], number: int, pause: float) -> None:
        """Send a part of an answer, and the next one after a pause."""
        self.transport.write(parts[number])
        self.next_part = None
        if number + 1 == len(parts):
            self.streams.end()
            return
        loop = asyncio.get_running_loop()
        self.next_part = loop.call_later(pause, self.send_part, parts, number + 1, pause)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    streams = _Streams()
    server = await loop.create_server(lambda: _Connection(streams), "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
