"""The states of a `MessageStream`: what a caller may take of it, and what its end means.

Strategy: the twins' `MessageStream` derive from this class and add the waiting. They say what
happens (`_begin`, `_came`, `_ended`, `_failed`, `_leave`); what follows from it stands here.

    new ──> open ──> finished          the last part was taken, or waits to be
      │       ├────> failed            an error ended it
      └───────┴────> left              the caller went away

Rules:

1. The message is sent once, when the stream is entered.
2. A stream that was left or has failed raises when it is iterated again: it must not look like one
   that came to its end. It may be left while another task or thread waits for its next part.
3. One task or thread at a time waits for the next part.
4. `result` does no I/O: the finished reply, or the error that says why there is none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal

from chatgpt.core.errors import StreamInterruptedError
from chatgpt.core.messages import ChatMessage


class StreamState:
    """What a stream knows of itself."""

    def __init__(self) -> None:
        self._state: Literal["new", "open", "finished", "failed", "left"] = "new"
        self._waiting: deque[ChatMessage] = deque()
        self._last: ChatMessage | None = None
        self._reply: ChatMessage | None = None
        self._error: BaseException | None = None
        self._is_read = False

    def __repr__(self) -> str:
        return f"<MessageStream, {self._state}: {self.text!r}>"

    @property
    def text(self) -> str:
        """The text of the parts that were taken so far."""
        return self._last.text if self._last is not None else ""

    def result(self) -> ChatMessage:
        """Return the finished reply. Does no I/O.

        Raises:
            StreamInterruptedError: the stream was left before its end, or is not read to its end.
            ChatGPTError: the error that ended the stream.
        """
        if self._reply is not None:
            return self._reply
        raise self._error or self._interrupted()

    def _begin(self) -> bool:
        """Whether the message is to be sent now."""
        is_new = self._is_new
        if is_new:
            self._state = "open"
        return is_new

    @property
    def _is_new(self) -> bool:
        """Whether nothing was sent yet."""
        return self._state == "new"

    @property
    def _is_waited_for(self) -> bool:
        """Whether the next part is still to be asked for."""
        return not self._waiting and self._state == "open"

    def _claim(self) -> None:
        """Somebody begins to wait for the next part.

        Raises:
            RuntimeError: somebody else does already.
        """
        if self._is_read:
            raise RuntimeError("A stream is read by one task or thread at a time.")
        self._is_read = True

    def _came(self, parts: Sequence[ChatMessage]) -> None:
        """Parts came, as many as there were."""
        self._is_read = False
        if self._state == "open":  # else it was left meanwhile
            self._waiting.extend(parts)

    def _ended(self, reply: ChatMessage) -> None:
        """There is no further part; this is the whole reply."""
        self._is_read = False
        self._state, self._reply = "finished", reply

    def _failed(self, error: BaseException) -> BaseException:
        """An error came; return what is to be raised for it."""
        self._is_read = False
        if not isinstance(error, Exception):  # an interrupt or a cancellation: the caller leaves
            self._state = "left"
            return error
        if self._state == "left":  # by another task or thread
            return self._interrupted()
        self._state, self._error = "failed", error
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            # A function of the caller raised it. As it is, it would look like the stream's end.
            name = type(error).__name__
            self._error = RuntimeError(f"A function of the caller raised {name}.")
        return self._error

    def _take(self) -> ChatMessage | None:
        """The part that waits, or `None` at the end.

        Raises:
            StreamInterruptedError: the stream was left.
            ChatGPTError: the error that ended the stream.
        """
        if self._waiting:
            self._last = self._waiting.popleft()
            return self._last
        if self._state != "finished":
            raise self._error or self._interrupted()
        return None

    def _leave(self) -> None:
        """The caller goes away."""
        if self._state in ("new", "open"):
            self._state = "left"
            self._waiting.clear()

    def _interrupted(self) -> StreamInterruptedError:
        why = {"left": "was left before its end", "new": "was not entered"}.get(
            self._state, "is not read to its end: iterate over it"
        )
        return StreamInterruptedError(
            f"There is no finished reply; the stream {why}.", partial=self.text
        )
