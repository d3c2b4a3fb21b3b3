"""An answer as Markdown that grows in place, on a terminal.

Strategy: what a terminal has scrolled away cannot be changed any more, and drawing a long answer again and again would
take longer and longer. So only the end of an answer is drawn anew (rich's `Live`): the block that is still being written.
A block behind which another one has begun is final: it is printed above, once.

Rules:

1. What is drawn anew is never higher than the screen. The upper lines of a block that is, are printed above, too, and stay
   as they were: where what follows changes how they should look (a column of a table grows wider), or the terminal becomes
   another one, some lines may stand twice. No word is lost.
2. The first part is shown at once. After that the screen is drawn at most `PER_SECOND` times a second, and less often
   where drawing is slow: it takes at most a tenth of the time.
3. While an answer comes, a thread draws it, and nobody else: Ctrl-C comes to the main thread, and never in the midst of a
   drawing. Leaving early leaves what came.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from types import TracebackType
from typing import Final, Self

from attrs import frozen
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.spinner import Spinner

from chatgpt import ChatMessage
from chatgpt.cli.answer_views import AnswerView
from chatgpt.cli.markdown_blocks import Lines, blocks_of, lines_of, print_lines
from chatgpt.cli.terminal import console

PER_SECOND: Final = 12
SHARE: Final = 10
"""After a drawing, the next one is at least so many times its duration away."""

MARK: Final = 4
"""A last block that is shorter may still become another kind of it: `2` the item `2.` of a list."""

AROUND: Final = 3
"""Lines of the screen that are left free: a blank one above, that of the cursor, and one for what a person types."""


@frozen
class _Above:
    """How much of the block that is still being written is above, and will not change.

    Attributes:
        lines: what those lines say.
    """

    lines: Sequence[str]

    def count_in(self, lines: Lines) -> int:
        """How many of the lines of the block that is.

        Where they are other ones now (the terminal has another width, a column of a table has grown), rather one too few
        than one too many.
        """
        if [_text(line) for line in lines[: len(self.lines)]] == self.lines:
            return len(self.lines)
        above, count = sum(map(_letters, self.lines)), 0
        for count, line in enumerate(lines):
            above -= _letters(_text(line))
            if above < 0:
                return count
        return count + 1 if lines else 0


def _text(line: Sequence[Segment]) -> str:
    return "".join(part.text for part in line)


def _letters(line: str) -> int:
    return len("".join(line.split()))


class MarkdownView(AnswerView):
    """Shows one answer as Markdown; a spinner until it begins."""

    def __init__(self) -> None:
        self._console = console()
        self._live = Live(self, console=self._console, auto_refresh=False, transient=True)
        self._spinner = Spinner("dots")
        self._parts: SimpleQueue[ChatMessage | None] = SimpleQueue()
        self._thread = Thread(target=self._draw_parts, daemon=True)
        self._next_drawing = 0.0  # seconds of the monotonic clock
        self._text = ""  # what is not final
        self._above = _Above([])
        self._is_first = True  # whether it has nothing before it
        self._has_begun = False
        self._end: Lines = []  # what is drawn anew

    def __enter__(self) -> Self:
        try:
            self._live.start()
            self._thread.start()
        except BaseException:  # an interrupt: nobody else would show the cursor again
            self._live.stop()
            raise
        return self

    def show(self, part: ChatMessage) -> None:
        """Let what is new be drawn."""
        self._parts.put(part)

    def finish(self, reply: ChatMessage) -> None:
        """Take the whole where no part was shown."""
        self._wait()
        if not self._has_begun:
            self._add(reply.text)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Where something else has ended the answer, a terminal that is gone is no news.
        with suppress(*(() if kind is None else (OSError,))):
            try:
                self._wait()
                self._has_begun = True  # no spinner is left behind
                self._print_rest()
            finally:
                self._live.stop()

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the spinner, or the end of the answer, and a line for the ^C that a terminal shows."""
        if not self._has_begun:
            yield self._spinner
        for line in self._end:
            yield from (*line, Segment.line())
        yield Segment.line()

    # --- the thread --------------------------------------------------------------------------

    def _wait(self) -> None:
        """Wait until the thread has taken all parts, and take those that it has left."""
        if self._thread.is_alive():
            self._parts.put(None)
            self._thread.join()
        self._take(self._next_parts(0.0))

    def _draw_parts(self) -> None:
        """Draw what comes, or how the spinner turns, until nothing more comes."""
        is_drawn = False
        with suppress(OSError):  # the terminal is gone: the main thread meets that, too
            while True:
                waits = not self._has_begun or not is_drawn
                parts = self._next_parts(self._next_drawing if waits else None)
                if self._take(parts):
                    return
                is_drawn = is_drawn and not parts
                if monotonic() >= self._next_drawing or (self._has_begun and not self._end):
                    self._draw()
                    is_drawn = True

    def _take(self, parts: Sequence[ChatMessage | None]) -> bool:
        """Take parts as text; whether no more come."""
        for part in filter(None, parts):
            if part.rewritten:
                self._print_rest()
                self._add(part.text)
            elif part.delta:
                self._add(part.delta)
        return None in parts

    def _next_parts(self, until: float | None) -> list[ChatMessage | None]:
        """Wait for parts, until that time of the monotonic clock; without one, for ever. `None` is the end of them."""
        parts: list[ChatMessage | None] = []
        with suppress(Empty):
            wait = None if until is None else max(0.0, until - monotonic())
            parts.append(self._parts.get(timeout=wait))
            while True:
                parts.append(self._parts.get_nowait())
        return parts

    def _add(self, text: str) -> None:
        self._has_begun = True
        self._text += text.replace("\r", "")  # of \r\n, which may come in two parts

    def _draw(self) -> None:
        begun = monotonic()
        blocks, rest = blocks_of(self._text)
        if blocks and len(rest) < MARK:
            rest = f"{blocks.pop()}\n{rest}"
        self._print_blocks(blocks)
        self._text = rest
        lines = self._lines_of(self._text)
        printed = self._above.count_in(lines)
        end = max(printed, len(lines) - max(1, self._console.height - AROUND))
        above, self._end = lines[printed:end], lines[end:]
        self._above = _Above([_text(line) for line in lines[:end]])
        if above:
            print_lines(self._console, above)
        else:
            self._live.refresh()
        now = monotonic()
        self._next_drawing = now + max(1 / PER_SECOND, SHARE * (now - begun))

    def _print_rest(self) -> None:
        """Print all that is there."""
        blocks, rest = blocks_of(self._text)
        self._print_blocks((*blocks, rest))
        self._text = ""

    def _print_blocks(self, blocks: Iterable[str]) -> None:
        """Print above what is final, and draw nothing of it anew."""
        for block in blocks:
            lines = self._lines_of(block)
            above = lines[self._above.count_in(lines) :]
            self._end, self._above = [], _Above([])
            if lines:
                self._is_first = False
                print_lines(self._console, above)

    def _lines_of(self, block: str) -> Lines:
        lines = lines_of(self._console, block)
        return lines if self._is_first or not lines else [[], *lines]
