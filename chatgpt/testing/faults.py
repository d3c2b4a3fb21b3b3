"""How the server misbehaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen
from attrs.validators import ge, instance_of, optional


@frozen(kw_only=True)
class Fault:
    """What goes wrong with one answer. Each field stands alone; they can be combined.

    Attributes:
        status: answer with this HTTP status and an error in OpenAI's shape instead of a reply.
        body: with `status`, the body in place of OpenAI's shape.
        headers: further headers of the answer.
        delay: seconds before anything is answered.
        part_delay: seconds before each piece of the body.
        cut_after: close the connection after so many bytes of the body.
        reset: with `cut_after`, reset the connection instead of closing it; alone, reset it before
            anything is answered.
        split_every: write the body in pieces of so many bytes.
        framing: how the body ends: by `"chunked"` coding, by the `"close"` of the connection, or by
            a `"length"` that was announced.
        gzip: compress the body.
        crlf: end the lines of a stream with CR LF.
        error_after: in a stream, after how many events an error is sent.
        error: that error; by default a `server_error`.
        omit_done: end a stream without `[DONE]`.
        stay_open: seconds for which a stream stays open after its last event.
    """

    status: int | None = field(default=None, validator=optional(instance_of(int)))
    body: str | bytes | None = None
    headers: Mapping[str, str] = field(factory=dict)
    delay: float = field(default=0.0, validator=ge(0))
    part_delay: float = field(default=0.0, validator=ge(0))
    cut_after: int | None = field(default=None, validator=optional(ge(0)))
    reset: bool = False
    split_every: int | None = field(default=None, validator=optional(ge(1)))
    framing: Literal["chunked", "close", "length"] | None = None
    gzip: bool = False
    crlf: bool = False
    error_after: int | None = None
    error: Mapping[str, object] = field(
        factory=lambda: {
            "message": "The server had an error while answering.",
            "type": "server_error",
            "param": None,
            "code": None,
        }
    )
    omit_done: bool = False
    stay_open: float = field(default=0.0, validator=ge(0))
