"""The bodies of answers as they came, read from httpx2 or from below it, and left in order.

Strategy: httpx2 hands a body out chunk by chunk, through nine generators and three cancel scopes, which costs more
than all that is done with a chunk. Where the connection is one of HTTP/1.1 (`Http11Body`), what has arrived is taken
from its h11 at once, as many chunks as there are, and the connection is waited for only when there is none. Other
bodies, those that are compressed, and those over a session of the caller, come from httpx2 (`GeneratedBody`).

Rules:

1. What came is handed out, however it goes on.
2. The end of a body in h11 (`EndOfMessage`) is seen once. Whoever takes it here reads no more of this body.
3. Two things of httpx2 and httpcore2 (2.16) are mended here: a generator that is left suspended when the body is left
   (`OwnedStream.drain`), and bytes behind an answer that are taken for the next one (`_retire_if_more_came`).
4. There is no public way to a connection (`http11_connection`). Where its parts have other names, httpx2 is read.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Any, Final

import anyio
import h11
import httpcore2
import httpx2

from chatgpt.core.needs import TransportFailure
from chatgpt_async.closing import closed_at_once, completed_close

LIBRARY_ERRORS: Final = (httpx2.RequestError, httpx2.InvalidURL, OSError)
# Nonsense from a server is a ValueError in places of httpx2 and h11.
NETWORK_ERRORS: Final = (*LIBRARY_ERRORS, ValueError)

READ_SIZE: Final = 65536
"""How many bytes are taken at once, at most; httpcore2 takes as many."""

NOTHING_CAME: Final = "nothing came"


class OwnedStream(httpx2.AsyncByteStream):
    """The body of an answer, and how it is closed.

    Args:
        stream: httpx2's.
        on_close: called once it is closed.
        is_bare: whether nobody but httpx2's transport stands between it and its connection.

    Attributes:
        connection: httpcore2's connection of HTTP/1.1 on which the body comes; `None` where it is another one, or
            cannot be told.
        can_be_read_below: whether its bytes may be taken from that connection.
        is_read: whether the body was read to its end.
    """

    def __init__(
        self,
        stream: Any,
        on_close: Callable[[], Awaitable[None]] | None = None,
        *,
        is_bare: bool = False,
    ) -> None:
        self._stream = stream
        self._on_close = on_close
        self._parts: AsyncIterator[bytes] | None = None
        self.connection = http11_connection(stream)
        self.can_be_read_below = is_bare and self.connection is not None
        self.is_read = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._parts = aiter(self._stream)
        return self

    async def __anext__(self) -> bytes:
        assert self._parts is not None, "it is iterated"
        try:
            return await anext(self._parts)
        except StopAsyncIteration:
            self.is_read = True
            raise

    async def aclose(self) -> None:
        """Close the connection, if the answer is not read to its end."""
        if self.is_read:  # then nothing waits
            await self._close()
        else:
            await completed_close(self._close())

    async def _close(self) -> None:
        try:
            connection = self.connection
            if connection is not None and self.is_read:
                _retire_if_more_came(connection)
            elif connection is not None:
                _shut_down(connection)
            await self._stream.aclose()
            with contextlib.suppress(RuntimeError):  # another task may wait for a part
                await self.drain()
        finally:
            if self._on_close is not None:
                await self._on_close()

    async def drain(self) -> None:
        """Run the iterator to its end, without waiting for anything.

        One of httpx2's generators (`AsyncResponseStream`) does not close the next: left suspended, that would be
        ended by the garbage collector, in a task of its own. So they are run to their end: over what was received
        already, up to the first wait.
        """
        if self._parts is None:
            return
        with contextlib.suppress(*NETWORK_ERRORS), anyio.CancelScope() as without_waiting:
            without_waiting.cancel()
            async for _ in self._parts:
                continue


class GeneratedBody:
    """The body as httpx2 hands it out, decompressed.

    Args:
        response: the answer.
        stream: its stream.
    """

    def __init__(self, response: httpx2.Response, stream: OwnedStream) -> None:
        self._response = response
        self._stream = stream
        self._chunks = response.aiter_bytes()
        self._is_left = False

    async def read(self, seconds: float) -> bytes:
        """Return the next chunk, waiting at most `seconds` for it; `b""` at the end.

        Raises:
            TransportFailure: nothing came.
            NETWORK_ERRORS: the connection broke, or the answer is no HTTP.
        """
        with anyio.move_on_after(seconds):
            chunk = await anext(self._chunks, b"")
            if self._is_left:  # by another task, which had to leave the generators to this one
                await completed_close(self._close())
            return chunk
        raise TransportFailure("read_timeout", NOTHING_CAME)

    async def aclose(self) -> None:
        """Close the connection, if the body is not read to its end."""
        self._is_left = True
        await completed_close(self._close())

    async def _close(self) -> None:
        await self._response.aclose()
        # Another task may wait for a part: then a generator is running, and it closes them.
        with contextlib.suppress(RuntimeError):
            await self._chunks.aclose()
            await self._stream.drain()


class Http11Body:
    """The body of an answer of HTTP/1.1 that is not compressed, as it arrives.

    Args:
        response: the answer.
        stream: its stream, whose connection is known.
    """

    def __init__(self, response: httpx2.Response, stream: OwnedStream) -> None:
        self._response = response
        self._stream = stream
        self._h11: h11.Connection = stream.connection._h11_state  # noqa: SLF001 - there is no public way
        self._network: httpcore2.AsyncNetworkStream = stream.connection._network_stream  # noqa: SLF001
        self._problem: httpx2.RemoteProtocolError | None = None

    async def read(self, seconds: float) -> bytes:
        """Return what has arrived, waiting at most `seconds` for it; `b""` at the end, when it is closed.

        Raises:
            TransportFailure: nothing came.
            NETWORK_ERRORS: the connection broke, or the answer is no HTTP.
        """
        data = self._arrived()
        end = monotonic() + seconds
        while data is None:
            try:
                received = await self._network.read(READ_SIZE, timeout=max(seconds, 0.0))
            except httpcore2.ReadTimeout:
                raise TransportFailure("read_timeout", NOTHING_CAME) from None
            except httpcore2.ReadError as error:
                raise httpx2.ReadError(str(error)) from error
            self._h11.receive_data(received)
            data = self._arrived()
            seconds = end - monotonic()
        if not data:  # others may have its connection, while this call saves its reply or sleeps
            await self.aclose()
        return data

    def _arrived(self) -> bytes | None:
        """What h11 has of the body, `b""` at its end; `None` where it has nothing yet."""
        if self._stream.is_read:
            return b""
        if self._problem is not None:
            raise self._problem
        next_event = self._h11.next_event
        pieces: list[bytes] = []
        try:
            while type(event := next_event()) is h11.Data:
                pieces.append(event.data)
        except h11.RemoteProtocolError as error:
            self._problem = httpx2.RemoteProtocolError(str(error))
            if not pieces:
                raise self._problem from None
            return b"".join(pieces)
        self._stream.is_read = event is not h11.NEED_DATA
        return b"".join(pieces) if pieces or self._stream.is_read else None

    async def aclose(self) -> None:
        """Close the connection, if the body is not read to its end."""
        close = closed_at_once if self._stream.is_read else completed_close
        await close(self._response.aclose())


def body_of(response: httpx2.Response) -> Http11Body | GeneratedBody:
    """What the body of an answer is read with.

    Args:
        response: its stream is an `OwnedStream`.
    """
    stream = response.stream
    assert isinstance(stream, OwnedStream), "Transport.send makes it one"
    is_plain = "content-encoding" not in response.headers
    kind = Http11Body if is_plain and stream.can_be_read_below else GeneratedBody
    return kind(response, stream)


def http11_connection(stream: Any) -> Any:
    """The connection of HTTP/1.1 on which an answer comes; `None` where it is another one, or cannot be told."""
    stream = getattr(stream, "_stream", stream)  # a client of the caller wraps it once more
    pool_request = getattr(getattr(stream, "_httpcore_stream", None), "_pool_request", None)
    connection = getattr(pool_request, "connection", None)
    while (inner := getattr(connection, "_connection", None)) is not None:
        connection = inner
    is_known = hasattr(connection, "_h11_state") and hasattr(connection, "_network_stream")
    return connection if is_known else None


def _retire_if_more_came(connection: Any) -> None:
    """See that a connection is not used again that holds bytes behind the end of its answer.

    httpcore2 (2.16) would read them as the answer to the next request. h11 knows of them; told that
    sending has failed, it goes through no further cycle, and httpcore2 closes the connection.
    """
    if connection._h11_state.trailing_data[0]:  # noqa: SLF001 - there is no public way
        connection._h11_state.send_failed()  # noqa: SLF001


def _shut_down(connection: Any) -> None:
    """End a connection: the child of a fork may have it, too, and closing it here alone would not end it."""
    its_stream: Any = getattr(connection, "_network_stream", None)
    # On a duplicate: what uvloop shows for a socket cannot be shut down. It may have ended already.
    with contextlib.suppress(OSError, AttributeError):
        number: int = its_stream.get_extra_info("socket").fileno()
        with socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM) as handle:
            handle.shutdown(socket.SHUT_RDWR)
