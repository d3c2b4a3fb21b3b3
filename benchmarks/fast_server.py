"""A loopback server that is faster than any client: its answers are bytes that were made once.

Strategy: a process of its own, so that its work is no part of a client's CPU time. The path of a request says what is
asked for, `/{events}/{events_per_chunk}/v1/chat/completions`, as every client lets its caller choose a base URL. A
streamed answer is written at once, as chunks of HTTP that hold so many events each. Connections are kept.

Rules:

1. It loads the standard library alone, and runs as a file: `python -I benchmarks/fast_server.py` prints its port.
2. As OpenAI's server, it sends the usage of a stream only to those who ask for it, with `stream_options`.
3. It ends when its standard input does: nobody has to kill it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from functools import cache

REPLY = "A monad is a monoid in the category of endofunctors; what is the problem?"
"""The text of a plain reply."""

_USAGE = {"prompt_tokens": 40, "completion_tokens": 20, "total_tokens": 60}
_PATH = re.compile(rb"POST /(\d+)/(\d+)/v1/chat/completions ")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


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


@cache
def streamed_answer(events: int, events_per_chunk: int, *, has_usage: bool) -> bytes:
    """The answer to a request with `"stream": true`, head included."""
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
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + body + b"0\r\n\r\n"


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
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def answer(head: bytes, body: bytes) -> bytes:
    """What a request is answered with."""
    asked = _PATH.match(head)
    if asked is None:
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    request = json.loads(body)
    if not request.get("stream"):
        return plain_answer()
    has_usage = bool((request.get("stream_options") or {}).get("include_usage"))
    return streamed_answer(int(asked[1]), int(asked[2]), has_usage=has_usage)


class _Connection(asyncio.Protocol):
    """One connection, and what came over it that is no whole request yet."""

    def __init__(self) -> None:
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while True:
            head, end, rest = self.received.partition(b"\r\n\r\n")
            announced = _LENGTH.search(head)
            length = int(announced[1]) if announced else 0
            if not end or len(rest) < length:
                return
            self.received = rest[length:]
            self.transport.write(answer(head, rest[:length]))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
