r"""Bytes in, server-sent events out, however the bytes are cut.

Strategy: the bytes are cut into blocks at blank lines here, incrementally, and each complete block
is parsed by `sseclient`. Line ends are searched on *bytes*: once text is decoded, U+2028, U+0085
and others would count as line ends too, and a character that is split between two reads could not
be decoded at all. Where all blocks of a read are one line `data: ...`, as almost everywhere, they are cut in
one go (`_plain_events`), at a tenth of the cost; whatever looks otherwise goes the long way.

Rules:

1. A line ends with `\n`, `\r` or `\r\n` (WHATWG HTML, section 9.2.6), also mixed.
2. One `SSEClient` serves a whole stream: making one for each block costs 2.5 times as much.
3. What sseclient drops or stumbles over is looked at here: invalid UTF-8 (decoded with
   replacement), events without data (dropped), and blocks that are no event at all: the `error:`
   field of older llama.cpp servers, naked JSON, plain text. (answers.py drops a byte order mark.)
4. A block is at most 16 MiB, so that a server cannot fill the memory, and at most 1,000 lines:
   sseclient's time grows with their square.
5. A block that is refused takes no event with it that came before, in the same bytes: the next call
   raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, cast

from sseclient import SSEClient

from chatgpt.core.errors import InvalidResponseError

LARGEST_BLOCK: Final = 16 * 1024 * 1024
MOST_LINES: Final = 1_000

# Two line ends, each as long as it can be: within `\r\n` the `\r` alone is none. Each alternative
# begins with one character, so that the search leaps from line end to line end.
_BLANK_LINE: Final = re.compile(rb"\n(?:\n|\r\n?)|\r(?:\n(?:\n|\r\n?)|\r\n?)")
_PLAIN_BEGIN: Final = b"data: "
_PLAIN_END: Final = b"\n\n"
_BETWEEN_PLAIN: Final = "\n\ndata: "
_COMMENTS: Final = re.compile(rb"[\r\n]*(?::[^\r\n]*[\r\n]+)+")
_LINE_END: Final = re.compile(rb"[\r\n]")
_LINE_ENDS: Final = b"\r\n"
_FIELD: Final = re.compile(rb"(?:data|event|id|retry)(?::|$)")


class Event(NamedTuple):
    """One event of an answer.

    Attributes:
        name: what the stream calls it; `"message"` where it does not say.
        data: its data.
        kind: `"stray"` for a block that is no event, `"document"` for a body that is no stream.
    """

    name: str
    data: str
    kind: Literal["event", "stray", "document"] = "event"


_new_tuple: Final = tuple.__new__


class _Blocks:
    """What sseclient reads from: the blocks that are complete at the moment."""

    def __init__(self) -> None:
        self.block = b""

    def __iter__(self) -> Iterator[bytes]:
        yield self.block


class SSEDecoder:
    """Decodes one stream: `feed` it bytes as they come, then call `end`."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._refusal: InvalidResponseError | None = None
        self._blocks = _Blocks()
        # An iterable is enough for sseclient, and is iterated anew for each block.
        self._client = SSEClient(cast("Iterator[bytes]", self._blocks))

    @property
    def has_begun_event(self) -> bool:
        """Whether a part of an event is waiting for its end; a comment is none."""
        begun = self._buffer[:4].lstrip(_LINE_ENDS)
        return bool(begun) and not begun.startswith(b":")

    def feed(self, chunk: bytes) -> list[Event]:
        """Take some bytes and return the events that they complete.

        Raises:
            InvalidResponseError: a block exceeds 16 MiB or 1,000 lines.
        """
        if self._refusal is not None:
            raise self._refusal
        events = self._plain_events(chunk)
        if events is not None:
            return events
        self._buffer += chunk
        events = []
        try:
            self._take_blocks(events)
        except InvalidResponseError as refusal:
            if not events:
                raise
            self._refusal = refusal
        return events

    def end(self) -> list[Event]:
        """Return the event whose closing blank line is missing, where there is one.

        Whether it is complete is for the reader to decide: `[DONE]` and valid JSON are.

        Raises:
            InvalidResponseError: a block exceeds 1,000 lines.
        """
        if self._refusal is not None:
            raise self._refusal
        block, self._buffer = bytes(self._buffer), bytearray()
        return self._parse(block)

    def _plain_events(self, chunk: bytes) -> list[Event] | None:
        """The events that a chunk completes, if each is one line `data: ...`; else `None`, and nothing is taken."""
        end = chunk.rfind(_PLAIN_END)
        if end < 0 or b"\r" in chunk or len(chunk) - end > LARGEST_BLOCK:
            return None
        begun, whole = self._buffer, chunk[:end]
        if begun:
            if b"\r" in begun:
                return None
            whole = bytes(begun) + whole
        if not whole.startswith(_PLAIN_BEGIN):
            return None
        try:
            contents = whole.decode()[len(_PLAIN_BEGIN) :].split(_BETWEEN_PLAIN)
        except UnicodeDecodeError:
            return None
        if whole.count(b"\n") != 2 * (len(contents) - 1) or "" in contents:
            return None
        begun[:] = chunk[end + len(_PLAIN_END) :]
        self._searched = 0
        # As `Event` does it, without the frame of a function for each.
        return [_new_tuple(Event, ("message", content, "event")) for content in contents]

    def _take_blocks(self, events: list[Event]) -> None:
        """Parse the blocks that are complete, and add their events."""
        buffer = self._buffer
        begin = 0
        has_line_end = _LINE_END.search(buffer, self._searched) is not None
        if (
            has_line_end and (comments := _COMMENTS.match(buffer)) is not None
        ):  # no blocks of theirs
            begin = self._searched = comments.end()
        while (end := _BLANK_LINE.search(buffer, max(self._searched, begin))) is not None:
            events += self._parse(bytes(buffer[begin : end.start()]))
            begin = self._searched = end.end()
        # Comments that nothing follows yet are dropped: a server may send them for ever. (They are looked
        # for only when a line has ended: else a long one would be searched again with each piece of it.)
        if has_line_end and (comments := _COMMENTS.match(buffer, begin)) is not None:
            begin = comments.end()
        del buffer[:begin]
        # A blank line may be cut: up to three of its bytes may be at the end already.
        self._searched = max(len(buffer) - 3, 0)
        if len(buffer) > LARGEST_BLOCK:
            raise InvalidResponseError(
                f"The stream holds an event of more than {LARGEST_BLOCK} bytes."
            )

    def _parse(self, block: bytes) -> list[Event]:
        block = block.strip(_LINE_ENDS)
        if not block:
            return []
        if not block.isascii():
            block = block.decode("utf-8", "replace").encode("utf-8")
        strays: list[bytes] = []
        lines = block.splitlines()
        if len(lines) > 1 or not block.startswith(b"data:"):
            fields = [line for line in lines if _FIELD.match(line)]
            if len(fields) > MOST_LINES:
                raise InvalidResponseError(
                    f"The stream holds an event of more than {MOST_LINES} lines."
                )
            # sseclient would log what it does not know; it may be anything, a key that is repeated.
            block = b"\n".join(fields)
            strays = [
                line for line in lines if not line.startswith(b":") and not _FIELD.match(line)
            ]
        self._blocks.block = block + b"\n\n"
        events = [Event(event.event, event.data) for event in self._client.events()]
        if not events and strays:
            return _stray(strays)
        return [event for event in events if event.data]


def _stray(lines: list[bytes]) -> list[Event]:
    """What a block says that holds no event, in lines that are no fields of one."""
    for line in lines:
        if line.startswith(b"error:"):
            return [Event("error", line.removeprefix(b"error:").strip().decode("utf-8"))]
    text = b"\n".join(lines).strip().decode("utf-8")
    return [Event("message", text, "stray")] if text else []
