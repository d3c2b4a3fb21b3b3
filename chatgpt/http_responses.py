"""Answers of the sync twin: those of http.client, read strictly and as they come.

Strategy: http.client forgives what h11, which the async twin reads with, refuses: the end of a connection for the
end of a head, informational answers for the answer, lengths that are none. What it reads of a head passes through
`_Head`, line by line; bodies in chunks are decoded by `ChunkDecoder`.

Rules:

1. What is no HTTP gives no answer: whoever forgives it may take the rest of one answer for the next.
2. What is left behind the end of a body is never read as the next answer: it goes with the reader of this one, and
   where it is seen (`has_rest`) the connection goes, too.
"""

from __future__ import annotations

import re
from http.client import (
    SWITCHING_PROTOCOLS,
    BadStatusLine,
    HTTPResponse,
    IncompleteRead,
    LineTooLong,
    RemoteDisconnected,
    parse_headers,
)
from typing import IO, Any, Final

from chatgpt.transfer_chunks import ChunkDecoder

LONGEST_HEAD: Final = 102_400
"""Bytes of the head of an answer that are taken; httpx2 takes as many."""

_HEADER_LINE: Final = re.compile(rb"(?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:|[ \t])[^\x00\r\n]*\r?\n|\r?\n")
_STATUS_BEGINNING: Final = b"HTTP/"
_LENGTH: Final = re.compile(r"[0-9]{1,20}")


class _Head:
    """What the head of an answer is read from: the connection, a line at a time."""

    def __init__(self, connection: IO[bytes]) -> None:
        self.connection = connection
        self._size = 0
        self._is_status_line = True
        self._follows = False  # whether a line may go on with the one before

    def begin_status_line(self) -> None:
        """The next line is a status line."""
        self._is_status_line = True

    def close(self) -> None:
        """Close the connection's reader."""
        self.connection.close()

    def readline(self, limit: int = -1) -> bytes:
        """Read a line.

        Raises:
            RemoteDisconnected: the head is cut.
            LineTooLong: it is too long.
            BadStatusLine: it is none.
        """
        line = self.connection.readline(limit)
        self._size += len(line)
        if self._size > LONGEST_HEAD:
            raise LineTooLong("the head")
        is_status_line, self._is_status_line = self._is_status_line, False
        if is_status_line and line[: len(_STATUS_BEGINNING)] != _STATUS_BEGINNING[: len(line)]:
            return line  # no HTTP at all: http.client says so
        if len(line) == limit and not line.endswith(b"\n"):
            raise LineTooLong("a line of the head")
        if not line.endswith(b"\n"):
            raise RemoteDisconnected("the connection was closed within the head")
        if is_status_line:
            self._follows = False
            return line
        if not _HEADER_LINE.fullmatch(line) or (line[:1] in b" \t" and not self._follows):
            raise BadStatusLine("a header line")
        self._follows = True
        # Spaces at the end are no part of a value (RFC 9112, section 5): http.client takes `chunked ` for a
        # coding that it does not know.
        stripped = line.rstrip(b" \t\r\n")
        if not stripped and line[:1] in b" \t":  # it goes on with nothing, and is no end
            return b" \r\n"
        return stripped + b"\r\n"


class StrictResponse(HTTPResponse):
    """An answer whose head is whole, and whose body is handed out as it comes."""

    fp: Any  # typeshed knows no reader but that of io

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._chunks = ChunkDecoder()

    def begin(self) -> None:
        """Read the head.

        Raises:
            HTTPException: it is cut, or no head.
        """
        head = self.fp = _Head(self.fp)
        try:
            super().begin()
        finally:
            if self.fp is head:  # else it was closed
                self.fp = head.connection
        lengths = {
            value.strip()
            for line in self.headers.get_all("content-length", ())
            for value in line.split(",")
        }
        if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
            raise BadStatusLine("content-length")
        codings = self.headers.get_all("transfer-encoding", ())
        if any(coding.strip().lower() != "chunked" for coding in codings) or len(codings) > 1:
            raise BadStatusLine("transfer-encoding")
        if codings and not self.chunked:  # it was folded, and http.client has not seen it
            self.chunked, self.length = True, None
            self.chunk_left = None
            self.will_close = self._check_close()  # type: ignore[attr-defined] # it is private

    @property
    def has_rest(self) -> bool:
        """Whether something came behind the last chunk."""
        return self._chunks.is_over and bool(self._chunks.rest)

    def _read_status(self) -> tuple[str, int, str]:
        """Read the status line of the answer; informational ones (`103 Early Hints`) are passed over."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc] # it is private
            if status == SWITCHING_PROTOCOLS:  # nobody asked for it
                raise BadStatusLine("101 Switching Protocols")
            if not 100 <= status < 200:
                return version, status, reason
            parse_headers(self.fp)
            if isinstance(self.fp, _Head):  # that of a proxy is read without
                self.fp.begin_status_line()

    def _read1_chunked(self, size: int) -> bytes:
        """Read the data of the chunks that are there, waiting for the first of it."""
        while not self._chunks.is_over:
            received: bytes = self.fp.read1(size)
            if not received:
                raise IncompleteRead(b"")
            data = self._chunks.feed(received)
            if data:
                return data
        self._close_conn()  # type: ignore[attr-defined] # it is private
        return b""
