"""How the pieces of a body are cut and compressed on their way."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator


def split(parts: Iterable[bytes], size: int | None) -> Iterator[bytes]:
    """Cut each piece into pieces of at most `size` bytes; `None` leaves them whole."""
    for part in parts:
        if size is None:
            yield part
        else:
            yield from (part[begin : begin + size] for begin in range(0, len(part), size))


def compressed(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Compress each piece so that it can be read as soon as it arrives."""
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    for part in parts:
        yield compressor.compress(part) + compressor.flush(zlib.Z_SYNC_FLUSH)
    yield compressor.flush()
