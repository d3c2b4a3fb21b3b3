"""What a server counts, against what is counted here: the difference is learned, and applied.

Strategy: a server's figure for a prompt is compared with the count of the same prompt. The first
comparison gives an offset (a hidden instruction, another cost of a message); two that lie apart give
a slope, too (another vocabulary). Prompts grow little from turn to turn, so a line through the last
two figures is close to the next one. It is a guess all the same: it decides how much history is sent,
and never whether a message is (fitting.py).

Rules:

1. No tokenizer is loaded only to compare: the last two prompts that were sent on a bound wait, with the
   figures that the server told, until something has to be counted.
2. A figure below half of the count is ignored: some servers tell only what they had not in their
   cache. The other way round a figure is at most what the window holds, as the server took it.
3. What a server has taken once, it is trusted to take again: the line rises.
4. A single figure may have a reason of its own (a search, a picture): until another one agrees with it,
   it costs at most half of the room.
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
LARGEST_SLOPE: Final = 8.0
MOST_DEVIATION: Final = 0.2
"""How far a figure may be from the line that it is to confirm."""
LEAST_DISTANCE: Final = 30
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
        is_confirmed: whether more than one figure says so, or a refusal.
        waiting: prompts that are still to be compared, the newest last.
    """

    counted: int | None = None
    told: int = 0
    slope: float = 1.0
    is_confirmed: bool = False
    waiting: tuple[ToldPrompt, ...] = ()

    @property
    def excess(self) -> int:
        """What the server has counted, in tokens, that cannot be in what was sent."""
        return max((0, *(prompt.told - prompt.bound for prompt in self.waiting[-1:])))

    def corrected(self, counted: int) -> int:
        """What the server will count, in tokens."""
        if self.counted is None:
            return counted
        line = self.told + self.slope * (counted - self.counted)
        return max(ceil(line), ceil(counted * LEAST_SLOPE))

    def room(self, limit: int) -> int:
        """The largest count that the server takes as at most `limit` tokens, as far as is known.

        It is never more than `limit`: a server may tell only what it had not in its cache. And as long as
        a single figure says so, it is at least half of it: that may have had a reason of its own.
        """
        if self.counted is None:
            return limit
        room = min(floor((limit - self.told) / self.slope) + self.counted, limit)
        while self.corrected(room) > limit:
            room -= 1
        return room if self.is_confirmed else max(room, limit // 2)

    def compared(self, counted: int, told: int, *, is_refused: bool = False) -> Calibration:
        """The calibration after another comparison.

        Args:
            counted: the count of a prompt, in tokens.
            told: the server's figure for it.
            is_refused: whether that was the reason to refuse it.
        """
        if counted <= 0 or told < counted * LEAST_SLOPE:
            return self
        slope, is_confirmed = self.slope, self.is_confirmed
        if self.counted is not None and abs(counted - self.counted) >= LEAST_DISTANCE:
            new_slope = (told - self.told) / (counted - self.counted)
            is_confirmed = LEAST_SLOPE <= new_slope <= LARGEST_SLOPE
            slope = new_slope if is_confirmed else slope
        elif abs(told - self.corrected(counted)) > told * MOST_DEVIATION:
            is_confirmed = False
        return evolve(
            self,
            counted=counted,
            told=told,
            slope=slope,
            is_confirmed=is_confirmed or is_refused,
        )

    def awaiting(self, prompt: ToldPrompt) -> Calibration:
        """The calibration with one more prompt that waits; the last two are kept."""
        return evolve(self, waiting=(*self.waiting[-1:], prompt))

    def compared_by(self, counter: Counter) -> Calibration:
        """The calibration once the prompts that wait are counted, now that something counts."""
        calibration = evolve(self, waiting=()) if self.waiting else self
        for prompt in self.waiting:
            cost = prompt_cost(prompt.messages, prompt.prompt_format, counter)
            calibration = calibration.compared(cost, prompt.told)
        return calibration


NOT_CALIBRATED: Final = Calibration()
"""Before the first comparison: counts are taken as they are."""
