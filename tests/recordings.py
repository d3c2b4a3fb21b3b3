"""The recordings: raw answers of real servers, and the original client's cases."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent / "fixtures"


def capture(name: str) -> bytes:
    """A raw answer, as it came over the connection: status line, headers, framed body."""
    return (FIXTURES / "captures" / f"{name}.txt").read_bytes()


CAPTURES = sorted(path.stem for path in (FIXTURES / "captures").glob("*.txt"))


def body_of(raw: bytes) -> bytes:
    """The body of a raw answer, its transfer chunks joined, decompressed."""
    head, _, body = raw.partition(b"\r\n\r\n")
    if re.search(rb"(?i)transfer-encoding: chunked", head):
        joined = b""
        while body:
            size, _, body = body.partition(b"\r\n")
            joined += body[: int(size, 16)]
            body = body[int(size, 16) + 2 :]
        body = joined
    if re.search(rb"(?i)content-encoding: gzip", head):
        body = zlib.decompress(body, wbits=zlib.MAX_WBITS | 16)
    return body


def golden(name: str) -> dict[str, Any]:
    """A case of the original client."""
    case: dict[str, Any] = json.loads((FIXTURES / "golden" / f"{name}.json").read_text())
    return case


GOLDEN = sorted(path.stem for path in (FIXTURES / "golden").glob("v5-*.json"))
"""The cases of chat completions (npm `chatgpt` 5)."""
TEXT_GOLDEN = sorted(path.stem for path in (FIXTURES / "golden").glob("v4-*.json"))
"""The cases of text completions (npm `chatgpt` 4)."""
WEB_GOLDEN = sorted(
    path.stem
    for path in (FIXTURES / "golden").glob("*.json")
    if path.stem not in {*GOLDEN, *TEXT_GOLDEN}
)
"""The cases of the web flow, of all versions."""


def _streams_of(names: Iterable[str]) -> dict[str, bytes]:
    streams: dict[str, bytes] = {}
    for name in names:
        for number, request in enumerate(golden(name)["requests"]):
            answer = request["answered_with"]
            if "chunks" in answer:
                streams[f"{name}-{number}"] = "".join(
                    piece["text"] for piece in answer["chunks"]
                ).encode()
    return streams


STREAMS = {
    **{name: body_of(capture(name)) for name in CAPTURES if "stream" in name},
    **_streams_of([*GOLDEN, *TEXT_GOLDEN]),
}
"""The bodies of all recorded streams of the official flow, by name."""

WEB_STREAMS = _streams_of(WEB_GOLDEN)
"""Those of the web flow."""
