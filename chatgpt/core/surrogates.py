"""Text that is no valid Unicode.

A Python string may hold surrogates, halves of a character in UTF-16: from a JSON escape that was
cut in two, a terminal, a file name. They cannot be sent as UTF-8.

Rules:

1. A pair is joined wherever it is met, across the deltas of a stream too.
2. A lone surrogate in an argument of the caller is his mistake, and a `ValueError`.
3. A lone surrogate from a server or a store becomes U+FFFD: nobody is there to mend it, and one
   bad character must not poison a thread.
"""

from __future__ import annotations

import re
from typing import Final

_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _joined(pair: re.Match[str]) -> str:
    high, low = map(ord, pair.group())
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def _has_surrogates(text: str) -> bool:
    # `isascii` reads a flag and is free; most text ends here.
    return not text.isascii() and _SURROGATE.search(text) is not None


def strict(name: str, text: str) -> str:
    """Return an argument of the caller with its surrogate pairs joined.

    Args:
        name: the argument's name, for the message.
        text: its value.

    Raises:
        ValueError: a surrogate stands alone.
    """
    if not _has_surrogates(text):
        return text
    text = _PAIR.sub(_joined, text)
    lone = _SURROGATE.search(text)
    if lone is not None:
        raise ValueError(
            f"{name} holds a lone surrogate, U+{ord(lone.group()):04X}, at index {lone.start()}: "
            "it is not valid Unicode and cannot be sent. Decode the text with errors='replace'."
        )
    return text


def lenient(text: str) -> str:
    """Return a server's or a store's text, pairs joined, each lone surrogate as U+FFFD."""
    if not _has_surrogates(text):
        return text
    return _SURROGATE.sub("\ufffd", _PAIR.sub(_joined, text))


class DeltaJoiner:
    """Cleans the deltas of a stream, where a pair may be cut between two of them.

    A delta that ends with the first half of a pair keeps it back for the next one.

    Attributes:
        held: what is kept back.
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = ""

    def feed(self, delta: str) -> str:
        """Return what can be shown once `delta` has arrived; it may be empty."""
        if not self.held and delta.isascii():
            return delta
        delta = self.held + delta
        self.held = ""
        if delta and "\ud800" <= delta[-1] <= "\udbff":
            self.held = delta[-1]
            delta = delta[:-1]
        return lenient(delta)

    def end(self) -> str:
        """Return what was kept back: nothing, or U+FFFD for a half that stayed alone."""
        rest, self.held = self.held, ""
        return lenient(rest)
