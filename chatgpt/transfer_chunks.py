"""Transfer chunks (RFC 9112, section 7.1), decoded as they come, for the sync twin.

Strategy: http.client and urllib3 read chunk by chunk. urllib3 waits for the whole of each, and loses the half of
one when the connection breaks; http.client takes `+5`, `0x5`, `1_0` and `-5` for sizes. Here whatever bytes there
are become data, that of many chunks at once.

Rules:

1. What came is handed out, however the next chunk goes wrong.
2. Strict as h11, which the async twin reads chunks with: a size is hexadecimal digits, a line ends with CR LF.
   Extensions and trailers are passed over, and bounded.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST_LINE: Final = 16_384
"""Bytes of a line of framing, and of all trailers together."""

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,20})(?:;[^\r\n]*)?[ \t]*\r\n")
# What is between two chunks that are there as a whole: the line end of one, the size of the next.
_NEXT_SIZE: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,7})\r\n")
_LINE_END: Final = b"\r\n"


class ChunkDecoder:
    """Decodes one body.

    Attributes:
        is_over: whether the last chunk has come, and the trailers behind it.
        rest: bytes that came behind the end.
    """

    __slots__ = ("_is_data_over", "_left", "_problem", "_trailers", "is_over", "rest")

    def __init__(self) -> None:
        self._left = 0  # bytes of the present chunk, its line end included
        self._is_data_over = False
        self._trailers = 0
        self._problem: ValueError | None = None
        self.is_over = False
        self.rest = b""

    def feed(self, received: bytes) -> bytes:
        """Take some bytes of the body, and return the data in them.

        Raises:
            ValueError: they are no chunks.
        """
        if self._problem is not None:
            raise self._problem
        bytes_here = self.rest + received if self.rest else received
        parts: list[bytes] = []
        position = 0
        try:
            while position < len(bytes_here) and not self._is_data_over:
                if self._left:
                    position = self._take_whole_chunks(bytes_here, position, parts)
                    position = self._take_data(bytes_here, position, parts)
                elif (end := self._take_size(bytes_here, position)) is not None:
                    position = end
                else:
                    break
            self.rest = bytes_here[position:]
            if self._is_data_over:
                self._take_trailers()
        except ValueError as problem:
            if not parts:
                raise
            self._problem = problem
        return b"".join(parts)

    def _take_whole_chunks(self, received: bytes, begin: int, parts: list[bytes]) -> int:
        """Take the chunks that are there as a whole, with the size of the next; return where that one begins."""
        match = _NEXT_SIZE.match
        left = self._left
        while left > 2 and (found := match(received, begin + left - 2)) is not None:
            size = int(found[1], 16)
            if not size:
                break
            parts.append(received[begin : begin + left - 2])
            begin = found.end()
            left = size + 2
        self._left = left
        return begin

    def _take_data(self, received: bytes, begin: int, parts: list[bytes]) -> int:
        """Take what there is of a chunk; return where it ends."""
        data = received[begin : begin + max(self._left - 2, 0)]
        if data:
            parts.append(data)
        self._left -= len(data)
        end = begin + len(data)
        if self._left <= 2:
            line_end = received[end : end + self._left]
            if line_end != _LINE_END[2 - self._left :][: len(line_end)]:
                raise ValueError("a chunk is longer than its size")
            self._left -= len(line_end)
            end += len(line_end)
        return end

    def _take_size(self, received: bytes, begin: int) -> int | None:
        """Take the size of the next chunk; return where it ends, `None` if more of it is to come."""
        found = _SIZE.match(received, begin)
        if found is None:
            if received.find(b"\n", begin) >= 0 or len(received) - begin > LONGEST_LINE:
                raise ValueError("a chunk has no size")
            return None
        size = int(found[1], 16)
        self._is_data_over = size == 0
        self._left = size + 2 if size else 0
        return found.end()

    def _take_trailers(self) -> None:
        """Pass the lines behind the last chunk over, up to a blank one."""
        while not self.is_over:
            end = self.rest.find(b"\n") + 1
            if not end:
                if len(self.rest) > LONGEST_LINE:
                    raise ValueError("the trailers have no end")
                return
            self._trailers += end
            if self._trailers > LONGEST_LINE:
                raise ValueError("the trailers have no end")
            self.is_over = self.rest[:end] in (b"\r\n", b"\n")
            self.rest = self.rest[end:]
