"""Counting tokens with tiktoken, from the vocabularies in the package.

Strategy: tiktoken's own loader fetches a vocabulary from the network at first use; counting must
never need the network, so the package carries them, compressed. Loading takes a few tenths of a
second and tens of megabytes, so it happens once, and only when something has to be counted.

Rules:

1. Text is ordinary text: `<|endoftext|>` in it neither raises nor disappears.
2. The vocabularies are those that OpenAI publishes; a test checks the SHA-256 that tiktoken
   expects of them. The split patterns are those of tiktoken 0.14's `openai_public`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from threading import Lock
from typing import Final

PATTERNS: Final[Mapping[str, str]] = {
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "o200k_base": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
"""How text is cut before its pieces are encoded, by encoding."""

SLICE: Final = 250_000
"""Characters that are counted at once: with a million of white space tiktoken's search gives up."""

_lock = Lock()


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603 - a lock that another thread held at the fork is never released
    _lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def load_tokenizer(encoding: str) -> Callable[[str], int]:
    """Return the function that counts the tokens of a text.

    Args:
        encoding: `"cl100k_base"` or `"o200k_base"`.

    Raises:
        ValueError: no vocabulary of this name is in the package.
    """
    if encoding not in PATTERNS:
        raise ValueError(f"encoding must be one of {sorted(PATTERNS)}, not {encoding!r}.")
    with _lock:  # loading twice at the same time would take the memory twice
        return _load(encoding)


def read_vocabulary(encoding: str) -> bytes:
    """The vocabulary as OpenAI publishes it: a line for each token, base64 and rank."""
    import gzip
    from importlib.resources import files

    return gzip.decompress(
        (files("chatgpt") / "vocabularies" / f"{encoding}.tiktoken.gz").read_bytes()
    )


@cache
def _load(encoding: str) -> Callable[[str], int]:
    from binascii import a2b_base64

    import tiktoken

    words = read_vocabulary(encoding).split()
    ranks = dict(zip(map(a2b_base64, words[::2]), map(int, words[1::2]), strict=True))
    # No special tokens: text is ordinary text here.
    encoder = tiktoken.Encoding(
        encoding, pat_str=PATTERNS[encoding], mergeable_ranks=ranks, special_tokens={}
    )

    def count(text: str) -> int:
        if len(text) <= SLICE:
            return len(encoder.encode_ordinary(text))
        slices = (text[begin : begin + SLICE] for begin in range(0, len(text), SLICE))
        return sum(len(encoder.encode_ordinary(piece)) for piece in slices)

    return count
