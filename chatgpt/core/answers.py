"""Bytes in, events out, for a body that may be a stream or one document.

Strategy: the first byte that is not white space decides, whatever was asked for and whatever the
content type says: some servers answer a request for a stream with one JSON document, some proxies
with a page of HTML, and some send a stream as `text/plain`. No line of an event stream begins
with `{`, `[`, `<` or a quote.

Rules:

1. A document becomes one event of the kind `"document"`, at the end.
2. White space before a document is silence: DeepSeek sends blank lines while it waits.
3. A document is at most 64 MiB.
"""

from __future__ import annotations

from typing import Final

from chatgpt.core.errors import InvalidResponseError
from chatgpt.core.sse import Event, SSEDecoder

LARGEST_DOCUMENT: Final = 64 * 1024 * 1024

_BOM_AND_SPACE: Final = b"\xef\xbb\xbf \t\r\n"
_DOCUMENT_STARTS: Final = (b"{", b"[", b"<", b'"')


class AnswerDecoder:
    """Decodes the body of one answer."""

    def __init__(self) -> None:
        self._stream: SSEDecoder | None = None
        self._document: bytearray | None = None

    @property
    def has_begun_event(self) -> bool:
        """Whether a part of an event or of a document is waiting for its end."""
        return self._document is not None or (
            self._stream is not None and self._stream.has_begun_event
        )

    def feed(self, chunk: bytes) -> list[Event]:
        """Take some bytes and return the events that they complete.

        Raises:
            InvalidResponseError: an event or the document is too large.
        """
        if self._stream is not None:
            return self._stream.feed(chunk)
        if self._document is not None:
            self._document += chunk
            if len(self._document) > LARGEST_DOCUMENT:
                raise InvalidResponseError(f"The answer holds more than {LARGEST_DOCUMENT} bytes.")
            return []
        # A byte order mark and white space are dropped as they come: a server may send it for ever.
        start = chunk.lstrip(_BOM_AND_SPACE)
        if not start:
            return []
        if start.startswith(_DOCUMENT_STARTS):
            self._document = bytearray(start)
            return []
        self._stream = SSEDecoder()
        return self._stream.feed(start)

    def end(self) -> list[Event]:
        """Return what the end of the body completes."""
        if self._stream is not None:
            return self._stream.end()
        if self._document is not None:
            return [Event("message", self._document.decode("utf-8", "replace"), "document")]
        return []
