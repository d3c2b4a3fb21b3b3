"""`MessageStream`: a reply as it grows.

Rules:

1. Nothing is sent before the stream is entered, or iterated without `with`.
2. Inside `with`, leaving early has closed the connection before the next line runs.
3. `result` does no I/O: the finished reply, or the error that says why there is none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

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
        self._call: Call[ChatMessage] | None = None
        self._first: ChatMessage | None = None
        self._last: ChatMessage | None = None
        self._result: ChatMessage | None = None
        self._error: BaseException | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        """Send the message, and wait for the first part of the reply."""
        if self._call is None and not self._is_over:
            self._call = self._start()
            self._first = self._advance()
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
        if self._call is None:
            self.__enter__()
        part, self._first = self._first, None
        if part is None and not self._is_over:
            part = self._advance()
        if part is None:
            raise StopIteration
        self._last = part
        return part

    @property
    def text(self) -> str:
        """The text of the parts that were taken so far, or of the finished reply."""
        last = self._result or self._last
        return last.text if last is not None else ""

    def result(self) -> ChatMessage:
        """Return the finished reply. Does no I/O.

        Raises:
            StreamInterruptedError: the stream was left before its end, or is not read to its end.
            ChatGPTError: the error that ended the stream.
        """
        if self._result is not None:
            return self._result
        if self._error is not None:
            raise self._error
        state = "was left before its end" if self._is_over else "is not read to its end yet"
        raise StreamInterruptedError(
            f"The stream {state}: there is no finished reply.", partial=self.text
        )

    def close(self) -> None:
        """Leave the stream; its connection is closed if it was not read to its end."""
        self._is_over = True
        self._first = None
        if self._call is not None:
            self._call.close()

    def _advance(self) -> ChatMessage | None:
        call = self._call
        assert call is not None
        try:
            part = call.advance()
        except StopIteration as error:
            # A callback raised it. Handed on as it is, it would look like the end of the stream.
            self._is_over, self._error = True, error
            raise RuntimeError("A function of the caller raised StopIteration.") from error
        except BaseException as error:
            self._is_over, self._error = True, error
            raise
        if part is None:
            self._is_over, self._result = True, call.result
        return part

    def __del__(self) -> None:
        if self._call is not None and not self._is_over:
            warnings.warn(
                "A stream was not read to its end and not closed.",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
            self.close()
