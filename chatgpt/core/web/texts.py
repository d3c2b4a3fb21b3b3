"""A text that is told again and again as it grows, and what is new in it each time.

Strategy: of a text that only grows, the new end is appended; nothing that was said is looked at
again but to see that it is still there. Where a text was changed, its common beginning is found.

Where nobody follows the text, only its last version is kept. Where it is converted, what converts it
may remember what it was told; in the end the whole text is converted anew.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from chatgpt.core.messages import TextBuffer, TextSoFar
from chatgpt.core.surrogates import DeltaJoiner, lenient


@frozen
class Growth:
    """What is new in a text.

    Attributes:
        delta: what follows what was said, or the common beginning.
        is_rewritten: whether something that was said is not there any more.
    """

    delta: str
    is_rewritten: bool


class GrowingText:
    """A text on its way.

    Args:
        is_followed: whether somebody wants to know what is new.
        new_converter: makes what turns the whole text into what is said of it; by default it is said as it
            is.
    """

    def __init__(
        self, *, is_followed: bool, new_converter: Callable[[], Callable[[str], str]] | None = None
    ) -> None:
        self._is_followed = is_followed
        self._new_converter = new_converter
        self._convert = None if new_converter is None else new_converter()
        self._raw = ""
        self._said = TextBuffer()
        self._joiner = DeltaJoiner()

    def __str__(self) -> str:
        return str(self._said) if self._is_followed else self._converted(lenient(self._raw))

    def __bool__(self) -> bool:
        return bool(self._raw)

    def snapshot(self) -> TextSoFar:
        """What is said now; what is said later does not change it."""
        return self._said.snapshot()

    def say(self, raw: str) -> Growth | None:
        """Take the text as it is now.

        Args:
            raw: the text, which may end with half of a surrogate pair.

        Returns:
            What is new, or `None` where nothing is, or nobody follows.
        """
        before, self._raw = self._raw, raw
        if raw == before or not self._is_followed:
            return None
        if self._convert is None and raw.startswith(before):
            return self._grown(self._joiner.feed(raw[len(before) :]))
        self._joiner = DeltaJoiner()
        text = self._joiner.feed(raw)
        if self._convert is not None:
            # The last line end belongs to the whole text: in between it would be taken back each time.
            text = self._convert(text).removesuffix("\n")
        return self._say_again(text)

    def _say_again(self, text: str) -> Growth | None:
        said = str(self._said)
        common = common_length(said, text)
        if common == len(said):
            return self._grown(text[common:])
        self._said = TextBuffer()
        self._said.append(text)
        return Growth(text[common:], is_rewritten=True)

    def finish(self) -> Growth | None:
        """The text is whole; return what was kept back of it, or changes at last."""
        if not self._is_followed:
            return None
        rest = self._joiner.end()
        if self._new_converter is None:
            return self._grown(rest)
        return self._say_again(self._converted(lenient(self._raw)))

    def _converted(self, text: str) -> str:
        """The whole text, converted anew."""
        return text if self._new_converter is None else self._new_converter()(text)

    def _grown(self, delta: str) -> Growth | None:
        if not delta:
            return None
        self._said.append(delta)
        return Growth(delta, is_rewritten=False)


def common_length(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    if other.startswith(one):
        return len(one)
    low, high = 0, min(len(one), len(other))
    while low < high:  # halving: slices are compared faster than characters
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
