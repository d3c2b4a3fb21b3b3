"""How the time to build a prompt grows with the thread, where not everything is counted: 5,000 messages against 1,000.

Ratios in one run, medians of interleaved rounds. The thread is read from the store in one batch and
built in one pass, so five times the messages should take about five times as long. (`prompts.py` measures prompts that are
counted from one end to the other.)
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from chatgpt import ChatMessage, MemoryStore, Role
from chatgpt.core.fitting import Budget, Prompt, build_prompt
from chatgpt.core.models import UNKNOWN_FAMILY
from chatgpt.core.needs import CountTokens, Exchange, LoadThread, LoadTokenizer, Running
from chatgpt.core.prompts import ChatFormat
from chatgpt.core.threads import load_history
from chatgpt.tokenizer import load_tokenizer

ROUNDS = 7
SMALL, LARGE = 1_000, 5_000
SENTENCE = "The quick brown fox jumps over the lazy dog, and message number {} says so too."


def make_store(count: int) -> tuple[MemoryStore, str]:
    """A store that holds a thread of `count` messages, and the id of the last one."""
    store = MemoryStore()
    parent = None
    for number in range(count):
        role: Role = "assistant" if number % 2 else "user"
        message = ChatMessage(
            id=f"m{number}", text=SENTENCE.format(number), role=role, parent_message_id=parent
        )
        store.save([message])
        parent = message.id
    assert parent is not None
    return store, parent


def build(
    store: MemoryStore, parent: str, window: int | None, tokenizer: CountTokens | None
) -> Prompt:
    """Read a thread and build its prompt, as a call does."""

    def exchange() -> Exchange[Prompt]:
        history = yield from load_history(parent)
        return (
            yield from build_prompt(
                [ChatMessage(id="question", text="And now?", parent_message_id=parent)],
                history,
                ChatFormat("Be brief."),
                Budget(UNKNOWN_FAMILY.with_window(window), 1_000, tokenizer),
                {},
            )
        )

    running = Running(exchange())
    while (need := running.need) is not None:
        match need:
            case LoadThread(message_id, limit):
                running.resume(store.path(message_id, limit))
            case LoadTokenizer(encoding):
                running.resume(load_tokenizer(encoding))
    return running.result()


def timed(work: Callable[[], object]) -> float:
    """Seconds of CPU that some work takes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main() -> None:
    """Measure, and print the ratios."""
    stores = {count: make_store(count) for count in (SMALL, LARGE)}
    load_tokenizer("o200k_base")("warm")
    cases = {"everything fits, by bound": None, "half is left out": 50_000}
    for name, window in cases.items():
        seconds: dict[int, list[float]] = {SMALL: [], LARGE: []}
        for _ in range(ROUNDS):
            for count, (store, parent) in stores.items():
                seconds[count].append(timed(lambda: build(store, parent, window, None)))  # noqa: B023
        small, large = (statistics.median(seconds[count]) for count in (SMALL, LARGE))
        print(
            f"{name:26} {SMALL}: {small * 1e3:7.2f} ms   {LARGE}: {large * 1e3:7.2f} ms   ratio {large / small:.2f}"
        )


if __name__ == "__main__":
    main()
