"""Reading an answer that grows: bytes in, parts of the reply out, until it is complete.

Every flow reads its replies here, so that when reading stops, what a failure leaves behind and what
is reported are decided once. What an event means is the reply's to say (`GrowingReply`).

Rules:

1. A failure of the connection ends the answer, too: what came before may be the whole reply.
2. When the reply says that nothing more of it is to come, the rest of the answer is waited for at
   most 2 s: some servers send neither usage nor `[DONE]` and keep the connection open. After
   `[DONE]`, the end of the body is waited for 0.05 s, so that the connection can be used again; a
   server that keeps it open loses it.
3. Every error carries the text so far.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from chatgpt.core.answers import AnswerDecoder
from chatgpt.core.error_bodies import described_by, excerpt, not_understood, stream_error
from chatgpt.core.errors import (
    APITimeoutError,
    ChatGPTError,
    InvalidResponseError,
    StreamInterruptedError,
)
from chatgpt.core.limits import Limits
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import (
    Exchange,
    ReadChunk,
    ReportEvent,
    ReportProgress,
    ResponseHead,
    TransportFailure,
)
from chatgpt.core.secrets import Redactor
from chatgpt.core.sending import read_chunk
from chatgpt.core.sse import Event

END_OF_STREAM: Final = "[DONE]"
_KEEP_ALIVES: Final = frozenset({"ping", "keepalive", "keep-alive"})

_decoder: Final = json.JSONDecoder()
# `json.loads` looks for white space around each text, which costs as much as a third of a short one.
_scan: Final[Callable[[str, int], tuple[object, int]]] = getattr(
    _decoder, "scan_once", _decoder.raw_decode
)

REST_SECONDS: Final = 2.0
END_SECONDS: Final = 0.05


class GrowingReply(ABC):
    """A reply on its way.

    Args:
        redact: masks the secrets of the call.
    """

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._is_done = False
        self._stray_text: str | None = None

    @property
    @abstractmethod
    def text(self) -> str:
        """The text so far."""

    @property
    @abstractmethod
    def is_complete(self) -> bool:
        """Whether the server has said everything that belongs to the reply."""

    @property
    def may_end_here(self) -> bool:
        """Whether it is the whole reply if the connection ends now."""
        return self.is_complete

    @property
    def is_ending(self) -> bool:
        """Whether nothing more of the reply is to come."""
        return self.is_complete

    def has_ended(self) -> bool:
        """Whether nothing more is to be read; it changes with each event."""
        return self._is_done

    def take(self, event: Event) -> ChatMessage | None:
        """Take one event of the answer.

        Returns:
            The reply so far, where the event brought something of it; else `None`.

        Raises:
            StreamError: the event is an error.
            InvalidResponseError: the event is neither JSON nor known to be harmless.
        """
        if self._is_done:
            return None
        data = event.data
        try:
            answer, end = _scan(data, 0)
        except (StopIteration, ValueError, RecursionError):
            return self._take_odd(event)
        return self._take_json(answer, event) if end == len(data) else self._take_odd(event)

    def _take_odd(self, event: Event) -> ChatMessage | None:
        """Take what is no JSON, or has something around it."""
        if event.kind == "event" and event.data.lstrip().startswith(END_OF_STREAM):
            self._is_done = True
            return None
        try:
            answer: object = json.loads(event.data)
        except (ValueError, RecursionError):
            self._refuse_broken(event)
            return None
        return self._take_json(answer, event)

    def take_last(self, event: Event, *, is_cut: bool) -> ChatMessage | None:
        """Take what the end of the body completes: a document, or an event without its blank line.

        Servers forget the line, and connections are cut: the event counts if it can be read.
        """
        try:
            return self.take(event)
        except InvalidResponseError:
            if event.kind == "document" and not is_cut:
                raise
            return None

    def end(self) -> ChatMessage | None:
        """The body has ended; return what was kept back, as a last part.

        Raises:
            StreamInterruptedError: the reply is not complete.
        """
        if not self.may_end_here:
            message = "The answer ended before it was complete"
            if self._stray_text is not None:
                message += f"; the server wrote: {excerpt(self._stray_text, self._redact)}"
            raise StreamInterruptedError(f"{message}.", partial=self.text)
        return self._last_part()

    @abstractmethod
    def _take_json(self, answer: object, event: Event) -> ChatMessage | None:
        """Take what an event holds, parsed."""

    @abstractmethod
    def _last_part(self) -> ChatMessage | None:
        """What was kept back."""

    def _refuse_broken(self, event: Event) -> None:
        """What is no JSON: an error, unless it is a keep-alive or a text between the events."""
        name, data, kind = event
        if name == "error" and not self.is_complete:
            raise stream_error(data, self._redact, partial=self.text)
        if kind == "stray":
            self._stray_text = data
        # A gateway may wrap a keep-alive as data: `data: : OPENROUTER PROCESSING`.
        # After the reply is complete, whatever else comes is no matter.
        elif not (self.is_complete or data.startswith(":") or name in _KEEP_ALIVES):
            raise not_understood(data, self._redact, "The answer is not JSON")


def read_reply(
    reply: GrowingReply,
    head: ResponseHead,
    limits: Limits,
    redact: Redactor,
    *,
    is_reported: bool,
    on_event: Callable[[Any], object] | None = None,
) -> Exchange[None]:
    """Read an answer to its end, and report its parts.

    Args:
        reply: takes its events.
        head: its status and headers, for errors.
        limits: the deadlines of the call.
        redact: masks the secrets of the call.
        is_reported: whether the parts go to the caller.
        on_event: a function of the caller for the events themselves, those that are JSON objects.

    Raises:
        ChatGPTError: the answer was cut, is an error or makes no sense; `partial` holds the text.
    """
    try:
        yield from _read(reply, limits, redact, is_reported=is_reported, on_event=on_event)
    except ChatGPTError as error:
        error.partial = reply.text
        described_by(head, error, redact)
        raise


def _read(
    reply: GrowingReply,
    limits: Limits,
    redact: Redactor,
    *,
    is_reported: bool,
    on_event: Callable[[Any], object] | None,
) -> Exchange[None]:
    decoder = AnswerDecoder()
    is_over = False
    failure: ChatGPTError | None = None
    while not (is_over or reply.has_ended()):
        if reply.is_ending:
            limits.end_within(REST_SECONDS)
        else:  # what seemed the last message was not
            limits.go_on()
        take = reply.take
        try:
            chunk = yield from read_chunk(limits, redact)
        except (APITimeoutError, StreamInterruptedError) as error:
            chunk, failure = b"", error
        if not chunk:
            is_over = True
            take = partial(reply.take_last, is_cut=failure is not None)
        try:
            events = decoder.feed(chunk) if chunk else decoder.end()
        except InvalidResponseError:
            if not reply.is_complete:
                raise
            is_over, events = True, []  # whatever else comes is no matter
        if events or decoder.has_begun_event:
            limits.progress()
        yield from _take(events, take, reply, limits, is_reported=is_reported, on_event=on_event)
        del chunk, events  # many streams wait at once, and what came may be large
    if failure is not None:
        # A limit is no end of the connection, which says that nothing more is to come.
        is_whole = reply.is_complete if isinstance(failure, APITimeoutError) else reply.may_end_here
        if not is_whole:
            raise failure
    last = reply.end()
    if last is not None and is_reported:
        yield ReportProgress([last])
    if not is_over:
        yield from _read_end()


def _take(
    events: Iterable[Event],
    take: Callable[[Event], ChatMessage | None],
    reply: GrowingReply,
    limits: Limits,
    *,
    is_reported: bool,
    on_event: Callable[[Any], object] | None,
) -> Exchange[None]:
    """Take the events of one read, and report what they bring: together, and in their order.

    What came before an error is the caller's. Where he has a token, he may cancel it at each part, and no further one
    is his.
    """
    parts: list[ChatMessage] = []
    try:
        for event in events:
            if on_event is not None and not reply.has_ended():
                parsed = _parsed(event)
                if parsed is not None:
                    if parts:
                        yield ReportProgress(parts)
                        parts = []
                    yield ReportEvent(on_event, parsed)
            part = take(event)
            if part is not None and is_reported:
                parts.append(part)
                if limits.token is not None:
                    yield ReportProgress(parts)
                    parts = []
                    limits.check_token()
    except ChatGPTError:
        if parts:
            yield ReportProgress(parts)
        raise
    if parts:
        yield ReportProgress(parts)


def _parsed(event: Event) -> object:
    """An object of its own for the caller, who may do with it what he likes."""
    if event.kind != "event" or not event.data.lstrip().startswith("{"):
        return None
    try:
        parsed: object = json.loads(event.data)
    except (ValueError, RecursionError):
        return None
    return parsed


def _read_end() -> Exchange[None]:
    """Read the end of the body, so that the connection can be used again."""
    try:
        yield from ReadChunk(END_SECONDS)
    except TransportFailure:
        return
