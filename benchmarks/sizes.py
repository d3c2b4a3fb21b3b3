"""How much is done in each scenario: known to the command that measures, and to the processes that are measured.

Strategy: a dictionary, because it goes to a process as JSON, and loading this file must cost next to nothing there.
"""

from __future__ import annotations

from typing import TypedDict


class Sizes(TypedDict):
    """How much is done.

    Fields:
        seconds: of CPU, for which a kind of work is repeated in each round; it is done at least once.
        events: pieces of text in a stream, each an event in a chunk of HTTP of its own.
        batch: events in a chunk of HTTP, where there are many.
        long_events: pieces of text in a long stream.
        messages: in the thread whose prompt is built.
        many_messages: in the longer one.
        streams: how many there are at once.
        stream_events: pieces of text in each of those.
        pieces: in so many parts each of those is sent.
        pause: milliseconds between two of the parts.
        calls: how many calls are made one after the other.
        first_calls: after so many of them the process is looked at first.
    """

    seconds: float
    events: int
    batch: int
    long_events: int
    messages: int
    many_messages: int
    streams: int
    stream_events: int
    pieces: int
    pause: int
    calls: int
    first_calls: int


WHOLE: Sizes = {
    "seconds": 0.25,
    "events": 2_000,
    "batch": 64,
    "long_events": 20_000,
    "messages": 1_000,
    "many_messages": 10_000,
    "streams": 1_000,
    "stream_events": 200,
    "pieces": 10,
    "pause": 150,
    "calls": 10_000,
    "first_calls": 1_000,
}
"""What `make bench` does."""


_BATCHED = ("chatgpt", "openai", "floor", "chatgpt_async", "openai_async", "floor_async")
_LONG = ("chatgpt", "floor", "chatgpt_async", "floor_async")


def streams_of(client: str, sizes: Sizes) -> dict[str, tuple[int, int]]:
    """The kinds of stream that a client is measured with, by their metrics: events, and events in a chunk of HTTP.

    Args:
        client: its name.
        sizes: how much is done.
    """
    streams = {"stream_event": (sizes["events"], 1)}
    if client in _BATCHED:
        streams["stream_event_batched"] = (sizes["events"], sizes["batch"])
    if client in _LONG:
        streams["stream_event_long"] = (sizes["long_events"], 1)
    return streams
