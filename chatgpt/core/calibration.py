"""What a server counts, against what is counted here: the difference is learned, and applied.

Strategy: a server's figure for a prompt is compared with the count of the same prompt. The first
comparison gives an offset (a hidden instruction, another cost of a message); two that lie apart give
a slope, too (another vocabulary). Prompts grow little from turn to turn, so a line through the last
two figures is close to the next one.

Rules:

1. Nothing is counted only to compare: a prompt that was sent on a bound teaches nothing.
2. A figure below half of the count is ignored: some servers tell only what they had not in their
   cache. The other way round a figure is at most what the window holds, as the server took it.
3. What a server has taken once, it is trusted to take again: the line rises.
"""

from __future__ import annotations

from math import ceil, floor
from typing import Final

from attrs import frozen

LEAST_SLOPE: Final = 0.5
LARGEST_SLOPE: Final = 2.0
LEAST_DISTANCE: Final = 50
"""Tokens that two prompts must be apart to tell a slope."""


@frozen
class Calibration:
    """How a server's figures follow from the counts.

    Attributes:
        counted: the last count that was compared, in tokens; `None` before the first.
        told: the server's figure for it.
        slope: the server's tokens for one that is counted.
    """

    counted: int | None = None
    told: int = 0
    slope: float = 1.0

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
            return self
        slope = self.slope
        if self.counted is not None and abs(counted - self.counted) >= LEAST_DISTANCE:
            slope = (told - self.told) / (counted - self.counted)
            slope = min(max(slope, LEAST_SLOPE), LARGEST_SLOPE)
        return Calibration(counted, told, slope)


NOT_CALIBRATED: Final = Calibration()
"""Before the first comparison: counts are taken as they are."""
