"""`MessageStream`: a reply as it grows.

Rules:

1. Nothing is sent before the stream is entered, or iterated without `with`.
2. Leaving the `with` block early has closed the connection before the next line runs. A stream that
   was left raises when it is iterated again: it must not look like one that came to its end.
3. `result` does no I/O: the finished reply, or the error that says why there is none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Literal, Self

from chatgpt.core.errors import StreamInterruptedError
from chatgpt.core.messages import ChatMessage
from chatgpt.transport import Call


class MessageStream(Iterator[ChatMessage]):
    """The parts of a reply, each a `ChatMessage` with what is new in `delta`.

    Made by `stream_message`; used as `with client.stream_message(...) as stream: for part in
    stream: ...`.
    """

    def __init__(self, start: Callable[[], Call[ChatMessage]]) -> None:
        self._start = start
        self._state: Literal["new", "open", "finished", "failed", "left"] = "new"
        self._call: Call[ChatMessage] | None = None
        self._waiting: ChatMessage | None = None
        self._last: ChatMessage | None = None
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        """Send the message, and wait for the first part of the reply."""
        if self._state == "new":
            self._call = self._start()
            self._state = "open"
            self._waiting = self._advance(self._call)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ChatMessage:
        self.__enter__()
        part, self._waiting = self._waiting, None
        if part is None and self._state == "open":
            assert self._call is not None
            part = self._advance(self._call)
        if part is None:
            if self._state == "left":
                raise self._interrupted()
            raise StopIteration
        self._last = part
        return part

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
        if self._state == "finished":
            assert self._call is not None
            return self._call.result
        raise self._error or self._interrupted()

    def close(self) -> None:
        """Leave the stream; its connection is closed if it was not read to its end."""
        if self._state in ("new", "open"):
            self._state = "left"
            self._waiting = None
        if self._call is not None:
            self._call.close()

    def _advance(self, call: Call[ChatMessage]) -> ChatMessage | None:
        try:
            part = call.advance()
        except StopIteration as error:
            # A function of the caller raised it. As it is, it would look like the stream's end.
            self._state, self._error = "failed", error
            raise RuntimeError("A function of the caller raised StopIteration.") from error
        except Exception as error:
            self._state, self._error = "failed", error
            raise
        except BaseException:  # an interrupt: the caller leaves
            self._state = "left"
            raise
        if part is None:
            self._state = "finished"
        return part

    def _interrupted(self) -> StreamInterruptedError:
        why = (
            "was left before its end"
            if self._state == "left"
            else "is not read to its end: iterate over it"
        )
        return StreamInterruptedError(
            f"There is no finished reply; the stream {why}.", partial=self.text
        )

    def __del__(self) -> None:
        if self._state == "open":
            warnings.warn(
                "A stream was not read to its end and not closed.",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
            self.close()
