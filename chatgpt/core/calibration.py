"""What a server counts, against what is counted here: the difference is learned, and applied.

Strategy: a server's figure for a prompt is compared with the count of the same prompt. The first
comparison gives an offset (a hidden instruction, another cost of a message); two that lie apart give
a slope, too (another vocabulary). Prompts grow little from turn to turn, so a line through the last
two figures is close to the next one.

Rules:

1. No tokenizer is loaded only to compare: a prompt that was sent on a bound waits, with the figure that
   the server told, until something has to be counted.
2. A figure below half of the count is ignored: some servers tell only what they had not in their
   cache. The other way round a figure is at most what the window holds, as the server took it.
3. What a server has taken once, it is trusted to take again: the line rises.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import Final

from attrs import evolve, field, frozen

from chatgpt.core.budget import Counter
from chatgpt.core.messages import ChatMessage
from chatgpt.core.prompts import PromptFormat, prompt_cost

LEAST_SLOPE: Final = 0.5
LARGEST_SLOPE: Final = 2.0
LEAST_DISTANCE: Final = 50
"""Tokens that two prompts must be apart to tell a slope."""


@frozen
class ToldPrompt:
    """A prompt that the server has counted and nobody else.

    Attributes:
        messages, prompt_format: what was sent.
        told: the server's figure for it, in tokens.
        bound: what it takes at most, by its bytes and what was known then of how the server counts.
    """

    messages: Sequence[ChatMessage] = field(repr=False)
    prompt_format: PromptFormat = field(repr=False)
    told: int
    bound: int


@frozen
class Calibration:
    """How a server's figures follow from the counts.

    Attributes:
        counted: the last count that was compared, in tokens; `None` before the first.
        told: the server's figure for it.
        slope: the server's tokens for one that is counted.
        waiting: a prompt that is still to be compared.
    """

    counted: int | None = None
    told: int = 0
    slope: float = 1.0
    waiting: ToldPrompt | None = None

    @property
    def excess(self) -> int:
        """What the server has counted, in tokens, that cannot be in what was sent."""
        return 0 if self.waiting is None else max(self.waiting.told - self.waiting.bound, 0)

    def corrected(self, counted: int) -> int:
        """What the server will count, in tokens."""
        if self.counted is None:
            return counted
        line = self.told + self.slope * (counted - self.counted)
        return max(ceil(line), ceil(counted * LEAST_SLOPE))

    def room(self, limit: int) -> int:
        """The largest count that the server takes as at most `limit` tokens."""
        if self.counted is None:
            return limit
        room = min(
            floor((limit - self.told) / self.slope) + self.counted, floor(limit / LEAST_SLOPE)
        )
        while self.corrected(room) > limit:
            room -= 1
        return room

    def compared(self, counted: int, told: int) -> Calibration:
        """The calibration after another comparison.

        Args:
            counted: the count of a prompt, in tokens.
            told: the server's figure for it.
        """
        if counted <= 0 or told < counted * LEAST_SLOPE:
            return evolve(self, waiting=None)
        slope = self.slope
        if self.counted is not None and abs(counted - self.counted) >= LEAST_DISTANCE:
            slope = (told - self.told) / (counted - self.counted)
            slope = min(max(slope, LEAST_SLOPE), LARGEST_SLOPE)
        return Calibration(counted, told, slope)

    def compared_by(self, counter: Counter) -> Calibration:
        """The calibration once the prompt that waits is counted, now that something counts."""
        waiting = self.waiting
        if waiting is None:
            return self
        cost = prompt_cost(waiting.messages, waiting.prompt_format, counter)
        return self.compared(cost, waiting.told)


NOT_CALIBRATED: Final = Calibration()
"""Before the first comparison: counts are taken as they are."""
