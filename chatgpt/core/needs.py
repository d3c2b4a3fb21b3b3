"""Needs and exchanges: how the core asks, and how it is stepped.

Strategy: an exchange is a generator. It yields a need, is suspended while a shell meets it, and
goes on with the answer. `reply = yield from SaveMessages(...)` reads like a call and is typed
like one: `Need.__iter__` hands the answer's type on.

Rules:

1. A need is an immutable value: what is wanted, and within how many seconds. It holds no object
   of a transport, and its repr holds no secret and no text of a conversation.
2. Sending, reading, sleeping, waiting for a turn and for an access token may fail: the shell throws a
   `TransportFailure` into the exchange. No other exception enters it; it is closed instead.
3. `Running` and `watched` are the only code that touches the generator protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Generic, Literal, NoReturn, TypeAlias, TypeVar

from attrs import field, frozen

from chatgpt.core.cancelling import CancelToken
from chatgpt.core.errors import (
    AbortedError,
    ChatGPTError,
    MessageIdTakenError,
    StoreError,
    without_frames,
)
from chatgpt.core.messages import ChatMessage
from chatgpt.core.secrets import Secret

T = TypeVar("T")

CountTokens: TypeAlias = Callable[[str], int]
"""Returns how many tokens an ordinary text takes."""


class Need(Generic[T]):
    """What an exchange asks of the outside; `T` is the type of the answer."""

    __slots__ = ()

    def __iter__(self) -> Generator[Need[Any], Any, T]:
        """Yield the need itself once, and return its answer."""
        answer: T = yield self
        return answer


Exchange: TypeAlias = Generator[Need[Any], Any, T]
"""A script of needs that ends with a `T`."""


@frozen
class HttpRequest:
    """A request, ready to be sent but for its secrets.

    Attributes:
        method, url, headers, body: what is sent; the headers' names in lower case.
        is_local: whether it goes to this machine, past the proxies of the environment: they could
            not reach it, and need not see its key.
        other_secrets: those of the client that are not sent now: the server may know them all the same.
    """

    method: Literal["GET", "POST", "PATCH"]
    url: str = field(repr=lambda url: url.partition("?")[0])
    headers: Mapping[str, str | Secret] = field(repr=False)
    body: bytes = field(repr=lambda body: f"<{len(body)} bytes>")
    is_local: bool = False
    other_secrets: Sequence[Secret] = field(default=(), repr=False)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The secrets that an answer may repeat: those among the headers, and the other ones."""
        sent = (value for value in self.headers.values() if isinstance(value, Secret))
        return (*sent, *self.other_secrets)


def _text_or_nothing(reason: str | None) -> str:
    return _as_meant(reason or "")


def _lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): _as_meant(value) for name, value in headers.items()}


def _as_meant(text: str) -> str:
    """Text of a head, which http.client reads as Latin-1: UTF-8 where it is that."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


@frozen
class ResponseHead:
    """Status and headers of an answer.

    Attributes:
        status: the number of the status line.
        reason: its words.
        headers: names in lower case; one that came several times is joined with commas.
        secrets: those that a server on the way may repeat, and that only the transport knows.
    """

    status: int
    reason: str = field(repr=False, converter=_text_or_nothing)
    headers: Mapping[str, str] = field(repr=False, converter=_lower_names)
    secrets: Sequence[Secret] = field(default=(), repr=False)


FailureKind: TypeAlias = Literal[
    "connect_timeout",
    "read_timeout",
    "timeout",
    "aborted",
    "unusable",
    "unreached",
    "malformed",
    "connection",
]


class TransportFailure(Exception):  # noqa: N818 - it is caught by the core, never by a caller
    """The network failed while a need was met.

    Args:
        kind: `"connect_timeout"`, `"read_timeout"` or `"timeout"` when the limit of that name
            passed, `"aborted"` when the token of the call was cancelled, `"unusable"` when a setting
            makes it useless to try, `"unreached"` when no connection was made, so that nothing was
            sent, `"malformed"` when what came is no HTTP, `"connection"` for every other failure.
        reason: what happened, in one line and in words that are the same in both twins.
        cause: the transport's exception, already without tracebacks.
        secrets: those that reason and cause may repeat, and that only the transport knows.
    """

    def __init__(
        self,
        kind: FailureKind,
        reason: str,
        cause: BaseException | None = None,
        secrets: Sequence[Secret] = (),
    ) -> None:
        super().__init__(reason)
        self.secrets = secrets
        self.kind = kind
        self.reason = reason
        self.cause = cause
        self.on_used_connection = False
        """Whether the connection was used before: the server may have closed it long ago."""


@frozen
class SendRequest(Need[ResponseHead]):
    """Send a request and wait for the head of the answer; an earlier answer is closed.

    Attributes:
        request: what to send. Redirects are not followed.
        connect_timeout: seconds for all that precedes the request: looking the name up, connecting,
            TLS, the answers of proxies.
        read_timeout: seconds from then on until the head is complete.
        timeout: seconds for all of it, the wait for a free connection included.
    """

    request: HttpRequest
    connect_timeout: float
    read_timeout: float
    timeout: float


@frozen
class ReadChunk(Need[bytes]):
    """Read what there is of the answer's body, decompressed; `b""` is its end.

    Attributes:
        read_timeout: seconds of silence that are borne.
    """

    read_timeout: float


@frozen
class ObeyToken(Need[None]):
    """From now on, let the needs that may fail fail with `"aborted"` once a token is cancelled.

    A plain function that gets an access token cannot be stopped.

    Attributes:
        token: the caller's.
    """

    token: CancelToken


@frozen
class Sleep(Need[None]):
    """Wait.

    Attributes:
        seconds: for how long.
    """

    seconds: float


@frozen
class LoadMessage(Need["ChatMessage | None"]):
    """Look one message up in the store.

    Attributes:
        message_id: its id; the answer is `None` where the store does not hold it.
        unsaved: what is to be saved next, and must not be lost if the store fails.
    """

    message_id: str
    unsaved: Sequence[ChatMessage] = field(default=(), repr=lambda messages: f"<{len(messages)}>")

    def refused(self, error: Exception) -> NoReturn:
        """Say what follows from what the store raised.

        Raises:
            StoreError: a finished reply could not be saved; it carries the messages.
            Exception: what the store raised, where there is none.
        """
        if self.unsaved:
            raise unsaved_error(self.unsaved, error) from error
        raise error


@frozen
class LoadThread(Need[Sequence[ChatMessage]]):
    """Read a thread from one of its messages towards the root, in one batch.

    Attributes:
        message_id: where to begin; the answer is empty where the store does not hold it.
        limit: how many messages at most, or `None` for all. Newest first.
    """

    message_id: str
    limit: int | None


@frozen
class LoadReplies(Need[Sequence[ChatMessage]]):
    """Look up the messages that reply to one, oldest first.

    Attributes:
        message_id: what they name as their parent.
    """

    message_id: str


@frozen
class LoadConversation(Need[Sequence[ChatMessage] | None]):
    """Look up the messages of a conversation; the answer is `None` where the store does not know them apart.

    Attributes:
        conversation_id: what they name as theirs.
    """

    conversation_id: str


@frozen
class SaveMessages(Need[Sequence[str]]):
    """Save messages in one write: all of them, or none.

    The answer is nothing, or the ids under which the store holds other messages; then it has saved none.

    Attributes:
        messages: in the order in which a store that can only save one at a time takes them.
    """

    messages: tuple[ChatMessage, ...] = field(repr=lambda messages: f"<{len(messages)}>")

    def refused(self, error: Exception) -> Sequence[str]:
        """Say what follows from what the store raised.

        Raises:
            StoreError: the messages are not saved; it carries them.
        """
        if isinstance(error, MessageIdTakenError) and error.message_ids:
            return error.message_ids
        raise unsaved_error(self.messages, error) from error


def unsaved_error(messages: Sequence[ChatMessage], reason: Exception | str) -> StoreError:
    """The error of a finished reply that could not be saved.

    Args:
        messages: what was to be saved, the reply last.
        reason: what went wrong; what foreign errors say may hold secrets, and is not repeated.
    """
    is_ours = isinstance(reason, (str, StoreError))
    error = StoreError(
        f"The reply came and could not be saved: {reason if is_ours else type(reason).__name__}",
        partial=messages[-1].text,
    )
    error.unsaved_messages = messages
    return error


@frozen
class ReportProgress(Need[None]):
    """Hand parts of the reply to the caller: those that one read has brought.

    Attributes:
        parts: at least one; each is the reply so far, with what is new in `delta`.
    """

    parts: Sequence[ChatMessage] = field(repr=lambda parts: f"<{len(parts)} of {parts[-1].id}>")


@frozen
class ReportEvent(Need[None]):
    """Call a function of the caller with an event of the server, as it came.

    Attributes:
        function: the caller's; plain, or async in the async twin.
        event: the event's data, parsed.
    """

    function: Callable[[Any], object] = field(repr=False)
    event: object = field(repr=False)

    def call(self) -> object:
        """Call the function; what it returns is awaited where it has to be, and not looked at."""
        return self.function(self.event)


@frozen
class AskForAccessToken(Need[Secret]):
    """Call the caller's function that gets an access token; the shell wraps it at once.

    Attributes:
        function: the caller's; plain, or async in the async twin.
        credentials: its arguments by name.
        timeout: seconds for an async function; the need fails with `"timeout"` when they have passed. (A
            plain one cannot be stopped.)
        failed: told of what the function raises, which goes to the caller as it is.
    """

    function: Callable[..., object] = field(repr=False)
    credentials: Mapping[str, Secret | None] = field(repr=False)
    timeout: float
    failed: Callable[[Exception], None] = field(repr=False)

    def call(self) -> object:
        """Call the function; it, or what it is awaited for, gives the bare token."""
        return self.function(
            **{
                name: None if secret is None else secret.reveal()
                for name, secret in self.credentials.items()
            }
        )


@frozen
class TakeTurn(Need[None]):
    """Wait until no other exchange of this client has the turn, and take it.

    It is passed on by `PassTurn`, and with the end of the exchange, whatever ends it.

    Attributes:
        timeout: seconds to wait; the need fails with `"timeout"` when they have passed.
    """

    timeout: float


@frozen
class PassTurn(Need[None]):
    """Let the next exchange have the turn."""


@frozen
class LoadTokenizer(Need[CountTokens]):
    """Load the counter of an encoding; it takes a moment, so it is asked for only when needed.

    Attributes:
        encoding: `"cl100k_base"` or `"o200k_base"`.
    """

    encoding: str


def watched(exchange: Exchange[T], look: Callable[[ChatMessage], object]) -> Exchange[T]:
    """The same exchange, each reported part of which is looked at first.

    Args:
        exchange: what is done.
        look: called with the parts.
    """
    step: Callable[[], Need[Any]] = partial(exchange.send, None)
    try:
        while True:
            need = step()
            if isinstance(need, ReportProgress):
                for part in need.parts:
                    look(part)
            try:
                step = partial(exchange.send, (yield need))
            except TransportFailure as failure:
                step = partial(exchange.throw, failure)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        exchange.close()


@frozen
class Surroundings:
    """What an exchange is given of the moment and the machine.

    Attributes:
        clock: seconds that only grow (`time.monotonic`).
        now: the date and time, with its time zone.
        new_id: makes a new uuid4 as text.
        chance: a number from 0 up to 1 (`random.random`).
        load_tokenizer: the counter of an encoding; for figures that are read after the exchange.
        may_block: whether who reads such a figure may wait until a vocabulary is loaded; where an
            event loop runs, it is loaded before.
    """

    clock: Callable[[], float]
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    chance: Callable[[], float]
    load_tokenizer: Callable[[str], CountTokens]
    may_block: bool = True


class Running(Generic[T]):
    """An exchange on its way: `need` is what it waits for, `None` once it has ended.

    It may be closed while another thread or task meets its need: then it has ended, whatever comes of
    that need. An error of the core that ends it is kept for `result`, without the frames of the core:
    they hold what the server wrote.
    """

    __slots__ = ("_error", "_exchange", "_is_closed", "_result", "need")

    def __init__(self, exchange: Exchange[T]) -> None:
        self._exchange = exchange
        self._error: ChatGPTError | None = None
        self._is_closed = False
        self.need: Need[Any] | None = None
        self._step(exchange.send, None)

    def resume(self, answer: object) -> None:
        """Go on with the answer to `need`."""
        if self.need is not None:
            self._step(self._exchange.send, answer)

    def fail(self, failure: TransportFailure) -> None:
        """Go on with the failure of `need`, a network need."""
        if self.need is not None:
            self._step(self._exchange.throw, failure)

    def result(self) -> T:
        """Return what the exchange returned.

        Raises:
            ChatGPTError: what it raised.
            AbortedError: it was closed before its end.
        """
        if self._error is not None:
            raise self._error
        return self._result

    def close(self) -> None:
        """End the exchange where it stands."""
        self._is_closed = True
        if self.need is not None:
            self._fail(AbortedError("The call was closed before its end."))
        with suppress(ValueError):  # another thread is in the middle of a step, and closes it then
            self._exchange.close()

    def _step(self, step: Callable[[Any], Need[Any]], given: object) -> None:
        # The try holds only the step: a StopIteration that a caller's callback raises while a
        # need is met must not look like the end of the exchange.
        try:
            need = step(given)
        except StopIteration as end:
            self.need = None
            self._result: T = end.value
        except ChatGPTError as error:
            self._fail(error)
        else:
            self.need = need
            if self._is_closed:
                self.close()

    def _fail(self, error: ChatGPTError) -> None:
        self.need = None
        self._error = without_frames(error)
