"""The words of a query, for a full-text search.

Strategy: an index knows words that stand between spaces. A query is split into words, each of which an index is
asked for by its beginning; a word of a language that is written without spaces, or one that has signs (`C++`), is
looked for in the texts themselves.

Rules:

1. A query is words and no language: whatever is typed is looked for, and nothing of it is an error or an operator.
2. What stands between quotation marks is one phrase.
3. Of a text that was pasted as a query the first words count: each takes time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import Final

from attrs import frozen

from chatgpt.core.surrogates import lenient

MOST_WORDS: Final = 50
"""Different words of a query."""

_WORD: Final = re.compile(r'"([^"]+)"|([^\s"]+)')
# Thai, Lao, Burmese, Khmer, Japanese, Chinese.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)

_PUNCTUATION: Final = ".,;:!?()[]{}<>'\u2018\u2019\u201c\u201d"
"""What stands beside words, and belongs to none."""
_SIGN: Final = re.compile("[^\\w'\u2019-]|_")
"""What belongs to a word, and an index leaves out: `C++`, `foo_bar`, `a/b`."""


@frozen
class SearchWords:
    """What a query asks for; all of it has to be there.

    Attributes:
        match: an expression of FTS5, or nothing.
        parts: what a text has to hold as it stands.
    """

    match: str
    parts: Sequence[str]


def search_words(query: str) -> SearchWords:
    """Split a query into its words.

    Raises:
        TypeError: it is no text.
        ValueError: it has no word.
    """
    if not isinstance(query, str):
        raise TypeError(f"A query is a text, not {type(query).__name__}.")
    phrases: list[str] = []
    parts: list[str] = []
    # A NUL would end an expression of FTS5.
    words = dict.fromkeys(_WORD.findall(lenient(query).replace("\0", " ")))
    for quoted, bare in islice(words, MOST_WORDS):
        word = quoted or bare
        is_indexed = any(map(str.isalnum, word)) and not _UNSPACED.search(word)
        bare_word = word.strip(_PUNCTUATION)
        if not is_indexed or (not quoted and _SIGN.search(bare_word)):
            parts.append(bare_word or word)
        if is_indexed:
            phrases.append(f'"{word}"' if quoted else f'"{word}"*')
    if not phrases and not parts:
        raise ValueError("The query has no word to look for.")
    return SearchWords(" ".join(phrases), parts)
