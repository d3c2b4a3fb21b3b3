"""Scenario: many streams at once, on one client and one event loop.

Strategy: the client has a first stream, which loads and connects what there is; then all streams begin at the same moment, as a
service's would. The server sends each in pieces of several events, with pauses between them (`fast_server.py`), so that every
stream lasts for more than a second, and those that are open are open together. A client that is still at work when the next
piece comes reads more of it at a time; so each of the pieces is so large that this changes little.

Rules:

1. Each client has the number of connections that it has by default: `chatgpt_async` 256, so that the other streams wait for
   one; `openai` 1,000, and the floor as many. What the server was sending at once, at most, is reported.
2. The cost is divided by the events of all streams; memory is the most that the process had resident.
"""

from __future__ import annotations

import asyncio

from benchmarks.peer_clients import ASYNC_CLIENTS
from benchmarks.sizes import Sizes
from benchmarks.spending import Spent, now, peak_memory, report, shared, since


def measure(name: str, origin: str, sizes: Sizes) -> None:
    """Measure a client.

    Args:
        name: of `ASYNC_CLIENTS`.
        origin: of the server.
        sizes: how much is done.
    """
    events, pieces, pause = sizes["stream_events"], sizes["pieces"], sizes["pause"]
    spent, texts = asyncio.run(
        _crowd(name, f"{origin}/{events}/1/{pieces}/{pause}/v1", sizes["streams"], events)
    )
    memory = peak_memory()
    from urllib.request import urlopen

    with urlopen(f"{origin}/most") as answer:  # noqa: S310 - the loopback server
        most = int(answer.read())
    at_once: Spent = {"count": most}
    report({"crowd_event": spent, "crowd_memory": memory, "crowd_at_once": at_once}, sorted(texts))


async def _crowd(name: str, url: str, streams: int, events: int) -> tuple[Spent, set[str]]:
    """The cost of an event, and the texts that were read, which should be one."""
    _, stream = ASYNC_CLIENTS[name](url)
    await stream()
    begin = now()
    texts = await asyncio.gather(*(stream() for _ in range(streams)))
    return shared(since(begin), streams * events), set(texts)
