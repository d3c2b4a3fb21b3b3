"""A text that grows where a person reads it: in the cell of a notebook, or on a terminal.

Strategy: a cell is drawn anew as a whole with each update, so it is updated now and then, and a terminal is written
what is new. The updates are made by a thread, so that what came is on display soon, also when nothing follows it for a
while; that works alike for streams that wait (`chatgpt`) and for those that are awaited (`chatgpt_async`).

Rules:

1. At most ten updates in any second: one every eighth of a second, and the last one at once.
2. What is on display at the end is the text to its last letter, also when the stream failed or was interrupted.
3. Nothing is shown before there is something to show.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Final, Protocol, Self
from uuid import uuid4

from chatgpt.core.inert_markdown import inert
from chatgpt.core.messages import ChatMessage

SECONDS_BETWEEN_UPDATES: Final = 1 / 8


class GrowingText(Protocol):
    """Where a growing text is shown; used with `with`."""

    def take(self, part: ChatMessage) -> None:
        """Show a part of a stream, beside those before it."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def growing_text(begun: str = "") -> GrowingText:
    """Where a text is shown that grows: the running cell of a notebook, or else standard output.

    Args:
        begun: what is there already.
    """
    publish = cell_of_notebook()
    return PrintedText(begun) if publish is None else CellText(publish, begun)


def cell_of_notebook() -> Callable[[str], None] | None:
    """What shows a text in the running cell, in place of what it showed before; `None` outside of a notebook."""
    # Where nobody has loaded IPython there is no notebook, and it is not loaded to ask. A terminal of IPython has no
    # kernel, and cannot show anything in the place of something else.
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display

    display_id = str(uuid4())
    is_shown = False

    def publish(text: str) -> None:
        nonlocal is_shown
        bundle = {"text/plain": text, "text/markdown": inert(text)}
        display(bundle, raw=True, display_id=display_id, update=is_shown)
        is_shown = True

    return publish


class PrintedText:
    """A text that grows on standard output.

    Args:
        begun: what is there already.
    """

    def __init__(self, begun: str) -> None:
        self._begun = begun
        self._is_empty = True

    def take(self, part: ChatMessage) -> None:
        """Write what is new; where something was taken back, the whole text again, in a new line."""
        if part.rewritten:
            self._write(f"{'' if self._is_empty else chr(10)}{part.text}")
        else:
            self._write(part.delta or "")

    def __enter__(self) -> Self:
        self._write(self._begun)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_empty:
            self._write("\n")

    def _write(self, text: str) -> None:
        if text:
            self._is_empty = False
            sys.stdout.write(text)
            sys.stdout.flush()


class CellText:
    """A text that grows in the cell of a notebook.

    Args:
        publish: shows a text in place of the one before.
        begun: what is there already.
    """

    def __init__(self, publish: Callable[[str], None], begun: str) -> None:
        self._publish = publish
        self._begun = begun
        # What is new, and whether it takes the place of all before; `None` is the end. No lock: an interrupt may come
        # while one is taken or given back.
        self._parts: SimpleQueue[tuple[str, bool] | None] = SimpleQueue()
        # The thread publishes as if it were the cell that runs: that is known by the context.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._keep_up,), daemon=True)

    def take(self, part: ChatMessage) -> None:
        """Show a part soon."""
        # The text is read here: it may be joined of pieces that others read, too.
        if part.rewritten:
            self._parts.put((part.text, True))
        elif part.delta:
            self._parts.put((part.delta, False))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.put(None)
        self._thread.join()

    def _keep_up(self) -> None:
        """Update the display until the text is over."""
        pieces, is_new, due = [self._begun], bool(self._begun), monotonic()
        while True:
            try:
                part = self._parts.get(timeout=max(due - monotonic(), 0) if is_new else None)
                if part is None:
                    break
                piece, is_whole = part
                if is_whole:
                    pieces.clear()
                pieces.append(piece)
                is_new = True
            except Empty:
                """An update is due."""
            if is_new and monotonic() >= due:
                pieces = ["".join(pieces)]
                self._publish(pieces[0])
                is_new, due = False, monotonic() + SECONDS_BETWEEN_UPDATES
        if is_new:
            self._publish("".join(pieces))
