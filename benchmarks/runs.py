"""Scenario: many calls, one after the other, on one client: what it needs stays what it was.

Rules:

1. The store keeps so few messages that it is full before the process is looked at first. The default one keeps 10,000, and
   grows until it holds them.
2. Memory is what is resident, at that moment: the peak would not show what was given back.
"""

from __future__ import annotations

from benchmarks.peer_clients import Client, awaited, make_chatgpt, make_chatgpt_async
from benchmarks.sizes import Sizes
from benchmarks.spending import growth, open_sockets, report, resident_memory


def _client(name: str, url: str, capacity: int) -> Client:
    if name == "chatgpt":
        from chatgpt import MemoryStore

        return make_chatgpt(url, message_store=MemoryStore(capacity))
    from chatgpt_async import MemoryStore as AsyncMemoryStore

    return awaited(*make_chatgpt_async(url, message_store=AsyncMemoryStore(capacity)))


def measure(name: str, origin: str, sizes: Sizes) -> None:
    """Measure one of ours.

    Args:
        name: `"chatgpt"` or `"chatgpt_async"`.
        origin: of the server.
        sizes: how much is done.
    """
    first = sizes["first_calls"]
    ask, _ = _client(name, f"{origin}/1/1/v1", first)  # a call stores two messages
    ask(first)
    memory, sockets = resident_memory(), open_sockets()
    text = ask(sizes["calls"] - first)
    figures = {
        "run_memory": growth(memory, resident_memory()),
        "run_sockets": growth(sockets, open_sockets()),
    }
    report(figures, [text])
