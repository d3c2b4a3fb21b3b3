"""What the server answers with."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TypeAlias

from attrs import frozen

from chatgpt.testing.requests import RecordedRequest


@frozen(kw_only=True)
class Answer:
    """A reply.

    Attributes:
        text: what it says; a stream sends it word by word.
        parts: the deltas of a stream, in place of the words of `text`.
        id: its id; by default a new one.
        finish_reason: why it ended.
        reasoning: what was thought before, sent as `reasoning_content`, in the web flow as a message of
            thoughts.
        has_usage: whether the server tells the usage.
    """

    text: str = ""
    parts: Sequence[str] | None = None
    id: str | None = None
    finish_reason: str | None = "stop"
    reasoning: str | None = None
    has_usage: bool = True

    @property
    def deltas(self) -> Sequence[str]:
        """The pieces in which a stream sends the text."""
        return re.findall(r"\s*\S+\s*$|\s*\S+|\s+", self.text) if self.parts is None else self.parts

    @property
    def whole_text(self) -> str:
        """The text of an answer that is not streamed."""
        return self.text if self.parts is None else "".join(self.parts)


@frozen
class RawAnswer:
    """Bytes that are written to the connection as they are, status line and headers included.

    Attributes:
        pieces: written one after the other, each by itself; then the connection is closed.
        pause: seconds between them.
        reset: reset the connection at the end instead of closing it.
    """

    pieces: Sequence[bytes]
    pause: float = 0.0
    reset: bool = False


Reply: TypeAlias = str | Answer | RawAnswer
"""What a server replies: a text, an `Answer` with more than that, or the very bytes."""

Responder: TypeAlias = Callable[[RecordedRequest], Reply]
"""Makes the reply to a request."""


def echo(request: RecordedRequest) -> str:
    """The default: repeat the message, and show that the thread was there.

    Args:
        request: what arrived.
    """
    if "messages" not in request.json:
        return f"You wrote {str(request.json.get('prompt', ''))!r}."
    said = [
        str(message.get("content")) for message in request.messages if message.get("role") == "user"
    ]
    if not said:
        return "You said nothing."
    if len(said) == 1:
        return f"You said: {said[0]} That is the first message of our conversation."
    return f"You said: {said[-1]} That is message {len(said)} of our conversation; it began with: {said[0]}"


def replies_in_order(replies: Sequence[Reply]) -> Responder:
    """Answer with these replies, one after the other."""
    remaining = iter(replies)
    lock = Lock()

    def respond(_: RecordedRequest) -> Reply:
        with lock:
            reply = next(remaining, None)
        if reply is None:
            raise LookupError(f"All {len(replies)} replies of this server were given already.")
        return reply

    return respond


def answer_of(reply: Reply) -> Answer | RawAnswer:
    """What is sent for a reply.

    Raises:
        TypeError: it is none.
    """
    answer = Answer(text=reply) if isinstance(reply, str) else reply
    if isinstance(answer, (Answer, RawAnswer)):
        return answer
    raise TypeError(f"a reply must be a str, an Answer or a RawAnswer, not {type(reply).__name__}")
