"""What a server counts, against what is counted here: the difference is learned, and applied.

Strategy: a server's figure for a prompt is compared with the count of the same prompt. The first
comparison gives an offset (a hidden instruction, another cost of a message); two that lie apart give
a slope, too (another vocabulary). Prompts grow little from turn to turn, so a line through the last
two figures is close to the next one. It is a guess all the same: it decides how much history is sent,
and never whether a message is (fitting.py).

Rules:

1. No tokenizer is loaded only to compare: the last prompt that was sent on a bound waits, with the
   figure that the server told, until something has to be counted.
2. A figure below half of the count is ignored: some servers tell only what they had not in their
   cache. The other way round a figure is at most what the window holds, as the server took it.
3. What a server has taken once, it is trusted to take again: the line rises.
4. A single figure may have a reason of its own (a search, a picture): until another one agrees with it,
   it costs at most half of the room.
5. The arithmetic is exact: figures may have any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from chatgpt.core.budget import Counter
from chatgpt.core.messages import ChatMessage
from chatgpt.core.prompts import PromptFormat, prompt_cost

if TYPE_CHECKING:  # it takes 4 % of the time to the first client
    from fractions import Fraction

MOST_FOR_ONE: Final = 2
"""A server's token is at most so many that are counted."""
LARGEST_SLOPE: Final = 8
DEVIATIONS_IN_A_FIGURE: Final = 5
"""So many times as far as a figure may be from the line that it is to confirm is the figure itself."""
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
        waiting: the last prompt, where it is still to be compared.
    """

    counted: int | None = None
    told: int = 0
    slope: Fraction | int = 1
    is_confirmed: bool = False
    waiting: ToldPrompt | None = None

    @property
    def excess(self) -> int:
        """What the server has counted, in tokens, that cannot be in what was sent."""
        return 0 if self.waiting is None else max(0, self.waiting.told - self.waiting.bound)

    def corrected(self, counted: int) -> int:
        """What the server will count, in tokens."""
        if self.counted is None:
            return counted
        line = self.told + self.slope * (counted - self.counted)
        return max(ceil(line), -(-counted // MOST_FOR_ONE))

    def room(self, limit: int) -> int:
        """The largest count that the server takes as at most `limit` tokens, as far as is known.

        It is never more than `limit`: a server may tell only what it had not in its cache. And as long as
        a single figure says so, it is at least half of it: that may have had a reason of its own.
        """
        if self.counted is None or limit <= 0:
            return limit
        room = min((limit - self.told) // self.slope + self.counted, limit)
        return room if self.is_confirmed else max(room, limit // 2)

    def compared(self, counted: int, told: int, *, is_refused: bool = False) -> Calibration:
        """The calibration after another comparison.

        Args:
            counted: the count of a prompt, in tokens.
            told: the server's figure for it.
            is_refused: whether that was the reason to refuse it.
        """
        if counted <= 0 or told * MOST_FOR_ONE < counted:
            return self
        slope, is_confirmed = self.slope, self.is_confirmed
        if self.counted is not None and abs(counted - self.counted) >= LEAST_DISTANCE:
            from fractions import Fraction

            new_slope = Fraction(told - self.told, counted - self.counted)
            is_confirmed = Fraction(1, MOST_FOR_ONE) <= new_slope <= LARGEST_SLOPE
            slope = new_slope if is_confirmed else slope
        elif abs(told - self.corrected(counted)) * DEVIATIONS_IN_A_FIGURE > told:
            is_confirmed = False
        return evolve(
            self,
            counted=counted,
            told=told,
            slope=slope,
            is_confirmed=is_confirmed or is_refused,
        )

    def awaiting(self, prompt: ToldPrompt) -> Calibration:
        """The calibration with a prompt that waits; the one before is given up."""
        return Calibration(self.counted, self.told, self.slope, self.is_confirmed, prompt)

    def compared_by(self, counter: Counter) -> Calibration:
        """The calibration once the prompt that waits is counted, now that something counts."""
        prompt = self.waiting
        if prompt is None:
            return self
        cost = prompt_cost(prompt.messages, prompt.prompt_format, counter)
        return evolve(self, waiting=None).compared(cost, prompt.told)


NOT_CALIBRATED: Final = Calibration()
"""Before the first comparison: counts are taken as they are."""
