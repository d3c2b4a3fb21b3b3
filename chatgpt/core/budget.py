"""What a message costs in tokens: counted, or bounded without counting.

Strategy: a token stands for at least one byte of UTF-8, so the bytes of a text bound its tokens
from above. While the bounds of all messages prove that a prompt fits, nothing is counted and no
tokenizer is loaded. Once something has to be counted, a message is counted once: its count stays
with it.

Rules (the OpenAI cookbook's notebook on counting tokens; it equals the API's own `prompt_tokens`
for gpt-3.5, gpt-4 and gpt-4o):

1. A message costs 3 tokens besides those of its text, its role and its name.
2. A name costs 1 token more.
3. A request costs 3 tokens that prime the reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import evolve

from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import CountTokens
from chatgpt.core.surrogates import lenient

TOKENS_PER_MESSAGE: Final = 3
TOKENS_PER_NAME: Final = 1
TOKENS_PER_REPLY: Final = 3


def _overhead(message: ChatMessage) -> int:
    return TOKENS_PER_MESSAGE + (TOKENS_PER_NAME if message.name is not None else 0)


def _texts(message: ChatMessage) -> Iterable[str]:
    """The strings of a message that the API counts."""
    yield message.role
    yield lenient(message.text)  # as it is sent
    if message.name is not None:
        yield message.name


def _byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def cost_bound(message: ChatMessage, encoding: str | None) -> int:
    """An upper bound of what a message costs, in tokens, worked out without a tokenizer.

    Args:
        message: the message.
        encoding: where the message carries its count in this encoding, the bound is exact.
    """
    kept = message.token_counts.get(encoding) if encoding is not None else None
    tokens = sum(map(_byte_length, _texts(message))) if kept is None else kept
    return _overhead(message) + tokens


class Counter:
    """Counts messages, each once, and keeps the counts with them.

    Args:
        count: the tokenizer.
        encoding: the encoding's name, under which counts are kept; `None` for a tokenizer of the
            caller, which is asked every time.

    Attributes:
        counted: the messages that got a count which they did not carry before, by their ids.
    """

    def __init__(self, count: CountTokens, encoding: str | None) -> None:
        self._count = count
        self._encoding = encoding
        self.counted: dict[str, ChatMessage] = {}

    def cost(self, message: ChatMessage) -> int:
        """What a message costs, in tokens."""
        return _overhead(message) + self._tokens(message)

    def count_text(self, text: str) -> int:
        """How many tokens a text takes."""
        tokens = self._count(text)
        if type(tokens) is not int or tokens < 0:
            raise TypeError(f"tokenizer must return a number of tokens, not {tokens!r:.40}.")
        return tokens

    def _tokens(self, message: ChatMessage) -> int:
        encoding = self._encoding
        if encoding is None:
            return sum(map(self.count_text, _texts(message)))
        message = self.counted.get(message.id, message)
        kept = message.token_counts.get(encoding)
        if kept is None:
            kept = sum(map(self._count, _texts(message)))
            counts: Mapping[str, int] = {**message.token_counts, encoding: kept}
            self.counted[message.id] = evolve(message, token_counts=counts)
        return kept


def prompt_cost(messages: Iterable[ChatMessage], counter: Counter) -> int:
    """What a prompt of these messages costs, in tokens, the reply's primer included."""
    return TOKENS_PER_REPLY + sum(map(counter.cost, messages))
