"""Answers that come when a test says so: what the command does meanwhile can be looked at without a wait for time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event
from typing import overload

from chatgpt.testing import Answer, RecordedRequest
from tests.cli.processes import LIMIT


class HeldParts(Sequence[str]):
    """The parts of an answer, of which those after the first `free` ones wait until they are released.

    Args:
        parts: the deltas of the stream.
        free: how many of them are sent at once.
    """

    def __init__(self, *parts: str, free: int = 1) -> None:
        self._parts = parts
        self._free = free
        self._asked = Event()
        self._released = Event()

    def wait_until_asked(self) -> None:
        """Wait until the question is there.

        Raises:
            TimeoutError: it does not come.
        """
        if not self._asked.wait(LIMIT):
            raise TimeoutError("nobody has asked for the answer")

    def release(self) -> None:
        """Send the rest."""
        self._released.set()

    def __call__(self, _: RecordedRequest) -> Answer:
        """As what a server answers with."""
        self._asked.set()
        return Answer(parts=self)

    def __iter__(self) -> Iterator[str]:
        yield from self._parts[: self._free]
        if not self._released.wait(LIMIT):
            raise TimeoutError("nobody has released the answer")  # the connection is cut
        yield from self._parts[self._free :]

    def __len__(self) -> int:
        return len(self._parts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self._parts[index]
