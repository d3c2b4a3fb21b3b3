"""What the server saw of a request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property

from attrs import define, field


@define(slots=False)
class RecordedRequest:
    """One request, as it arrived.

    Attributes:
        method: `"POST"`, `"GET"` or `"PATCH"`.
        path: with its query.
        headers: names in lower case.
        body: the raw bytes.
        client_port: the client's port: requests that share it came over one connection.
        id: what its answer tells as `x-request-id`.
        parts_sent: how many pieces of the answer's body were written so far.
        is_disconnected: whether the client closed the connection before the answer was written.
        thread: in the web flow, the thread that the message goes on with, as the server knows it.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    client_port: int
    id: str = ""
    parts_sent: int = 0
    is_disconnected: bool = False
    thread: Sequence[Mapping[str, object]] | None = field(default=None, repr=False)

    @cached_property
    def json(self) -> Mapping[str, object]:
        """The body, which is a JSON object.

        Raises:
            ValueError: it is none.
        """
        body = json.loads(self.body)
        if not isinstance(body, dict):
            raise ValueError(f"The body is JSON of type {type(body).__name__}, not an object.")  # noqa: TRY004
        return body

    @property
    def messages(self) -> Sequence[Mapping[str, object]]:
        """The messages of a chat completion, or the whole thread of the web flow; may be empty."""
        if self.thread is not None:
            return self.thread
        messages = self.json.get("messages")
        return messages if isinstance(messages, list) else []

    @property
    def api_key(self) -> str | None:
        """The bearer token, where there is one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else None
