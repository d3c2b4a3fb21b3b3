"""The prompt of a long thread: one batch, one pass. Work is counted, not timed."""

from __future__ import annotations

import shutil

import pytest

from benchmarks import stores
from benchmarks.long_thread import build, make_store
from chatgpt import ChatMessage, MemoryStore
from chatgpt.core.fitting import Budget, build_prompt
from chatgpt.core.models import UNKNOWN_FAMILY
from chatgpt.core.needs import LoadThread
from chatgpt.core.prompts import ChatFormat
from chatgpt.core.threads import load_history
from tests.stepping import Stepper, count_words, thread_of


@pytest.mark.parametrize("count", [1_000, 5_000])
def test_each_message_is_counted_once(count: int) -> None:
    asked: list[str] = []

    def tokenizer(text: str) -> int:
        asked.append(text)
        return 1

    store, parent = make_store(count)
    prompt = build(store, parent, 10_000_000, tokenizer)
    assert len(prompt.messages) == count + 2
    # The text and the role of each message, of the system message and of the question.
    assert len(asked) == 2 * (count + 2)


def test_a_long_thread_is_read_in_one_batch_and_counted_as_far_as_needed() -> None:
    stepper = Stepper(tokenizer=count_words)
    stepper.store.save(thread_of(["word " * 20] * 5_000))
    history = stepper.run(load_history("m4999"))
    assert stepper.needs == [LoadThread("m4999", None)]
    counted: dict[str, ChatMessage] = {}
    prompt = stepper.run(
        build_prompt(
            [ChatMessage(id="question", text="word " * 20)],
            history,
            ChatFormat(),
            Budget(UNKNOWN_FAMILY.with_window(1_000), 0),
            counted,
        )
    )
    assert prompt.context.message_count == 41
    assert prompt.context.left_out == 4_960
    # The turn that did not fit any more had to be counted to see it.
    assert len(counted) == 43  # the question included


def test_the_stores_are_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stores, "LENGTH", 20)
    monkeypatch.setattr(stores, "ROUNDS", 1)
    stores.main()
    lines = capsys.readouterr().out.splitlines()
    names = (
        ["memory", "SQLite", "Redis"]
        if shutil.which("redis-server")
        else ["redis-server", "memory", "SQLite"]
    )
    assert [line.split()[0] for line in lines] == names
    for name, store in (("one by one", stores.one_by_one), ("whole", stores.as_a_whole)):
        held = MemoryStore()
        held.save(stores.thread_of(20))
        assert len(store(held)) == 20, name
