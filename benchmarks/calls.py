"""Scenario: from the start of a process to its first reply; then, warm, round trips and streams.

Strategy: the client is made and has a first reply as the first thing that is done. After 20 more, and one stream of each
kind, it is warm. Then it streams and asks, in turns, each for as long as it was told.

Rules:

1. A kind of stream has a client of its own, as the path of its URL says which kind it is.
2. The kinds take turns in one process, as one is compared with another.
"""

from __future__ import annotations

import time

from benchmarks.peer_clients import CLIENTS
from benchmarks.sizes import Sizes, streams_of
from benchmarks.spending import costs, measured, now, peak_memory, report, shared, since

TRIPS = 20
"""Round trips between two looks at the clock."""


def measure(name: str, origin: str, sizes: Sizes) -> None:
    """Measure a client.

    Args:
        name: of `CLIENTS`.
        origin: of the server.
        sizes: how much is done.
    """
    kinds = streams_of(name, sizes)
    urls = [f"{origin}/{events}/{per_chunk}/v1" for events, per_chunk in kinds.values()]
    begin = now()
    ask, stream = CLIENTS[name](urls[0])
    made = since(begin)
    text = ask(1)
    first_reply = {"cpu": time.process_time()}  # its wall time is seen from outside
    report({"make": made, "first_reply": first_reply, "memory": peak_memory()}, [text])

    streams = [stream, *(CLIENTS[name](url)[1] for url in urls[1:])]
    ask(TRIPS)
    for each in streams:
        each()
    works = {kind: measured(each) for kind, each in zip(kinds, streams, strict=True)}
    works["round_trip"] = measured(lambda: ask(TRIPS))
    counts = {kind: events for kind, (events, _) in kinds.items()} | {"round_trip": TRIPS}
    spent, texts = costs(works, sizes["seconds"])
    report({kind: shared(each, counts[kind]) for kind, each in spent.items()}, texts)
