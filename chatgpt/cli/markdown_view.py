"""An answer as Markdown that grows in place, on a terminal.

Strategy: what a terminal has scrolled away cannot be changed any more, and drawing a long answer again and again would
take longer and longer. So only the end of an answer is drawn anew (rich's `Live`): the block of Markdown that is still being
written, a paragraph, a list, a table. A block behind which another one has begun is final: it is printed above, once.

Rules:

1. What is drawn anew is never higher than the screen. The upper lines of a block that is, are printed above, too; what
   follows in it may change how they should look (a column of a table grows wider), and they stay as they were.
2. The first part is shown at once. After that the screen is drawn at most `PER_SECOND` times a second, by a thread of
   rich, and less often where drawing is slow: it takes at most a tenth of the time.
3. Leaving early leaves what came.
"""

from __future__ import annotations

from itertools import pairwise
from time import monotonic
from types import TracebackType
from typing import Final, Self, TypeAlias

from attrs import evolve, frozen
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment, Segments
from rich.spinner import Spinner

from chatgpt import ChatMessage
from chatgpt.cli.answer_views import AnswerView
from chatgpt.cli.terminal import console, harmless

PER_SECOND: Final = 12
SHARE: Final = 10
"""After a drawing, the next one is at least so many times its duration away."""

MARK: Final = 4
"""A last line that is shorter may still become another kind of block: `2` the item `2.` of a list."""

Lines: TypeAlias = list[list[Segment]]


def markdown(text: str) -> Markdown:
    """The text of a message as Markdown, in the colours of the terminal."""
    return Markdown(harmless(text), code_theme="ansi_dark")


def final_blocks(text: str) -> tuple[list[str], str]:
    """Part a growing text into the blocks of Markdown that what follows does not change, and the rest.

    Paired tokens and their ends begin at the same line, and so do nested ones: only a later line begins a block.
    """
    begins = [token.map[0] for token in Markdown(text).parsed if token.level == 0 and token.map]
    begins = [after for before, after in pairwise(begins) if after > before]
    lines = text.split("\n")
    if begins and len("\n".join(lines[begins[-1] :])) < MARK:
        begins.pop()
    borders = [0, *begins]
    blocks = ["\n".join(lines[begin:end]) for begin, end in pairwise(borders)]
    return blocks, "\n".join(lines[borders[-1] :])


def _without_blank_ends(lines: Lines) -> Lines:
    """Lines from the first one that shows something to the last one."""
    shown = [number for number, line in enumerate(lines) if any(part.text.strip() for part in line)]
    return lines[shown[0] : shown[-1] + 1] if shown else []


@frozen
class _End:
    """The end of an answer: what is drawn anew.

    Attributes:
        text: what is not final.
        printed: how many of its lines are above, and will not change.
        is_first: whether nothing is before it.
    """

    text: str = ""
    printed: int = 0
    is_first: bool = True


class MarkdownView(AnswerView):
    """Shows one answer as Markdown; a spinner until it begins."""

    def __init__(self) -> None:
        self._console = console()
        self._end = _End()  # replaced as a whole: rich's thread reads it
        self._has_begun = False
        self._spinner = Spinner("dots")
        self._next_drawing = 0.0  # seconds of the monotonic clock
        self._drawn: tuple[_End, int, Lines] | None = None
        self._live = Live(
            self, console=self._console, refresh_per_second=PER_SECOND, transient=True
        )

    def __enter__(self) -> Self:
        try:
            self._live.start(refresh=True)
        except BaseException:  # an interrupt: nobody else would show the cursor again
            self._live.stop()
            raise
        return self

    def show(self, part: ChatMessage) -> None:
        """Let what is new be drawn."""
        if part.rewritten:
            self._print_rest()
            self._end = _End(harmless(part.text), is_first=False)
        elif part.delta:
            self._end = evolve(self._end, text=self._end.text + harmless(part.delta))
        else:
            return
        if not self._has_begun or monotonic() >= self._next_drawing:
            self._has_begun = True
            self._print_what_is_final()
            self._live.refresh()

    def finish(self, reply: ChatMessage) -> None:
        """Take the whole where no part was shown."""
        if not self._has_begun:
            self._has_begun = True
            self._end = _End(harmless(reply.text))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._has_begun = True  # no spinner is left behind
        self._print_rest()
        self._live.stop()

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the end of the answer, as much of it as the screen holds."""
        if not self._has_begun:
            yield self._spinner
            return
        end = self._end
        for line in self._lines(end, options.max_width)[end.printed :][-self._height :]:
            yield from line
            yield Segment.line()

    @property
    def _height(self) -> int:
        return max(1, self._console.height - 2)

    def _lines(self, end: _End, width: int) -> Lines:
        """The lines of the end of the answer; those that were drawn last, where it is too early for others."""
        drawn = self._drawn
        if drawn is not None and drawn[1] == width and drawn[0].is_first == end.is_first:
            is_early = monotonic() < self._next_drawing and end.text.startswith(drawn[0].text)
            if is_early or drawn[0].text == end.text:
                return drawn[2]
        return self._drawn_lines(end, width)

    def _drawn_lines(self, end: _End, width: int) -> Lines:
        begun = monotonic()
        options = self._console.options.update(width=width, height=None)
        lines = self._console.render_lines(markdown(end.text), options, pad=False)
        lines = _without_blank_ends(lines)
        if lines and not end.is_first:
            lines.insert(0, [])  # one blank line between blocks
        self._drawn = end, width, lines
        now = monotonic()
        self._next_drawing = now + max(1 / PER_SECOND, SHARE * (now - begun))
        return lines

    def _print_what_is_final(self) -> None:
        """Print above what will not change, and what the screen does not hold."""
        blocks, rest = final_blocks(self._end.text)
        for block in blocks:
            self._print(evolve(self._end, text=block))
        if blocks:
            self._end = _End(rest, is_first=False)
        end = self._end
        lines = self._drawn_lines(end, self._console.width)
        if len(lines) - end.printed > self._height:
            printed = len(lines) - self._height
            self._end = evolve(end, printed=printed)
            self._print_lines(lines[end.printed : printed])

    def _print_rest(self) -> None:
        """Print all that is there."""
        if self._end.text.strip():
            self._print(self._end)

    def _print(self, final: _End) -> None:
        """Print above what is final, and draw nothing of it anew."""
        lines = self._drawn_lines(final, self._console.width)
        self._end = _End(is_first=False)
        self._print_lines(lines[final.printed :])

    def _print_lines(self, lines: Lines) -> None:
        printed = [segment for line in lines for segment in (*line, Segment.line())]
        self._console.print(Segments(printed), end="")
