"""`MessageStream`: a reply as it grows.

Rules, beside those of `core.streaming`:

1. Nothing is sent before the stream is entered, or iterated without `with`.
2. Leaving the `with` block early has closed the connection before the next line runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from chatgpt.core.messages import ChatMessage
from chatgpt.core.streaming import StreamState
from chatgpt.transport import Call


class MessageStream(StreamState, Iterator[ChatMessage]):
    """The parts of a reply, each a `ChatMessage` with what is new in `delta`.

    Made by `stream_message`; used as `with client.stream_message(...) as stream: for part in
    stream: ...`.
    """

    def __init__(self, start: Callable[[], Call[ChatMessage]]) -> None:
        super().__init__()
        self._start = start
        self._call: Call[ChatMessage] | None = None

    def __enter__(self) -> Self:
        """Send the message, and wait for the first part of the reply."""
        if self._begin():
            self._advance()
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
        if self._waiting:  # most of them
            self._last = taken = self._waiting.popleft()
            return taken
        self.__enter__()
        if self._is_waited_for:
            self._advance()
        part = self._take()
        if part is None:
            raise StopIteration
        return part

    def close(self) -> None:
        """Leave the stream; its connection is closed if it was not read to its end."""
        self._leave()
        if self._call is not None:
            self._call.close()

    def _ipython_display_(self) -> None:
        """In a notebook: send the message, and show the reply as it grows; of a stream that is over, its text."""
        from chatgpt.growing_text import growing_text
        from chatgpt.notebook import show

        if self._state in ("new", "open"):
            show(self)
        else:
            with growing_text(self.text):
                """There is no more to come."""

    def _advance(self) -> None:
        self._claim()
        try:
            if self._call is None:
                self._call = self._start()
            parts = self._call.advance()
        except BaseException as error:
            problem = self._failed(error)
            if problem is error:
                raise
            raise problem from error
        if parts:
            self._came(parts)
        else:
            self._ended(self._call.result)

    def __del__(self) -> None:
        if self._state == "open":
            try:
                warnings.warn(
                    "A stream was not read to its end and not closed.",
                    ResourceWarning,
                    stacklevel=2,
                    source=self,
                )
            finally:  # a warning may be an error
                self.close()
