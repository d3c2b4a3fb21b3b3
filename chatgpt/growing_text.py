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
        self._pieces = [begun]
        self._has_more = threading.Condition()
        self._is_shown = not begun
        self._is_over = False
        # The thread publishes as if it were the cell that runs: that is known by the context.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._keep_up,), daemon=True)

    def take(self, part: ChatMessage) -> None:
        """Show a part soon."""
        with self._has_more:
            if part.rewritten:
                self._pieces = [part.text]
            elif part.delta:
                self._pieces.append(part.delta)
            else:
                return
            self._is_shown = False
            self._has_more.notify()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._has_more:
            self._is_over = True
            self._has_more.notify()
        self._thread.join()

    def _keep_up(self) -> None:
        """Update the display until the text is over."""
        is_over = False
        while not is_over:
            with self._has_more:
                self._has_more.wait_for(lambda: self._is_over or not self._is_shown)
                is_over = self._is_over
                is_new, self._is_shown = not self._is_shown, True
                self._pieces = ["".join(self._pieces)]
                text = self._pieces[0]
            if is_new:
                self._publish(text)
            if not is_over:
                with self._has_more:
                    self._has_more.wait_for(lambda: self._is_over, SECONDS_BETWEEN_UPDATES)
