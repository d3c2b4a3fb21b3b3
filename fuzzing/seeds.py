"""What is mutated: the chunks of recorded answers, and those of the newer dialect of the web flow."""

from __future__ import annotations

from typing import Final

from tests.core.web.made import DELTAS, SNAPSHOTS, events
from tests.recordings import CAPTURES, STREAMS, WEB_STREAMS, body_of, capture

BOTH_ENDS: Final = 6


def blocks_of(stream: bytes) -> tuple[bytes, ...]:
    """The events of a stream, line ends normalised; of a long stream both ends."""
    blocks = [block for block in stream.replace(b"\r\n", b"\n").split(b"\n\n") if block.strip()]
    if len(blocks) > 2 * BOTH_ENDS:
        blocks = [*blocks[:BOTH_ENDS], *blocks[-BOTH_ENDS:]]
    return tuple(blocks)


def _different(streams: list[bytes]) -> tuple[tuple[bytes, ...], ...]:
    return tuple(dict.fromkeys(map(blocks_of, streams)))


OFFICIAL: Final = _different(list(STREAMS.values()))
"""The streams of the official flow, as blocks."""

WEB: Final = _different([*WEB_STREAMS.values(), events(*SNAPSHOTS)])
"""Those of the web flow, in the older dialect."""

WEB_DELTAS: Final = (
    tuple(block for block in events(*DELTAS).split(b"\n\n") if block),
)  # whole: an operation goes on where the one before ended
"""Those of the newer dialect."""

DOCUMENTS: Final = tuple(
    dict.fromkeys(body_of(capture(name)) for name in CAPTURES if "stream" not in name)
)
"""Answers that are no stream: completions, errors, pages."""

STRANGE: Final = tuple(
    dict.fromkeys(block for blocks in (*OFFICIAL, *WEB, *WEB_DELTAS) for block in blocks)
)
"""Events of all servers."""
