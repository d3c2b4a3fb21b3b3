"""The connections of a client of its own: a pool for each event loop and route, on httpx2's transport.

Strategy: below httpx2's client there is its transport, which does no more than HTTP. A client would
look at redirects, keep cookies, log each request, and read the environment in its own way.

Rules:

1. Connections belong to the event loop in which they were opened. What a loop that has ended left
   behind can be closed no more; it is dropped, and its sockets close with it.
2. How many there may be is counted here (`MAX_CONNECTIONS`). httpcore2's pool (2.16) counts some for
   ever: those whose opening is cancelled at the wrong moment, or fails behind a proxy. What it keeps of
   them goes with the pool, which is retired after `MOST_LOSSES` such failures.
3. Closing waits for the calls that are running, and does not wait itself: the last of them closes the
   pool. None is cut or sent again.
4. Closing comes to its end, whatever is cancelled meanwhile (`completed_close`).
5. Three more things of httpx2 and httpcore2 (2.16) are mended here: a connection that is lost when its
   TLS handshake is cancelled (`Opening`), a generator that is left suspended when the body is left
   (`DrainedStream`), and bytes behind an answer that are taken for the next one (`_retire_if_more_came`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

import anyio
import httpx2
from anyio import to_thread
from anyio.lowlevel import EventLoopToken, current_token

from chatgpt.core.needs import FailureKind, SendRequest
from chatgpt.core.secrets import revealed
from chatgpt.routes import IDLE_CONNECTIONS, Route

MAX_CONNECTIONS: Final = 256
"""How many connections there are at most in an event loop; a call waits for a free one."""

MOST_LOSSES: Final = 32
"""After so many failures of opened connections a pool makes room for a new one."""

LIBRARY_ERRORS: Final = (httpx2.RequestError, httpx2.InvalidURL, OSError)
# Nonsense from a server is a ValueError in places of httpx2 and h11.
NETWORK_ERRORS: Final = (*LIBRARY_ERRORS, ValueError)


class OwnConnections:
    """The connections of a client, by the event loops in which it is used, and the routes they take."""

    def __init__(self) -> None:
        self._by_loop: dict[EventLoopToken, _LoopConnections] = {}

    async def on(self, route: Route) -> RouteConnections:
        """Return the connections on a route in the running event loop; they open when they are used.

        Raises:
            OSError, ValueError: the proxy or the certificates of the route cannot be used.
        """
        return await self._here().on(route)

    @property
    def turn(self) -> anyio.Semaphore:
        """What one exchange of the client at a time holds in the running event loop.

        A semaphore, because a lock is released by the task alone that took it, and a stream may be left
        by another one.
        """
        return self._here().turn

    def _here(self) -> _LoopConnections:
        loop = current_token()
        opened = self._by_loop.get(loop)
        if opened is None:
            for other in [*self._by_loop]:  # other threads may do the same
                if _has_ended(other):
                    self._by_loop.pop(other, None)
            opened = self._by_loop.setdefault(loop, _LoopConnections())
        return opened

    async def aclose(self) -> None:
        """Close those of the running event loop; the next call opens new ones."""
        opened = self._by_loop.get(current_token())
        if opened is not None:
            await opened.aclose()


def _has_ended(loop: EventLoopToken) -> bool:
    native: Any = loop.native_token
    if hasattr(native, "is_closed"):  # asyncio's
        return bool(native.is_closed())
    try:
        native.run_sync_soon(int)  # trio's: it takes no work any more
    except RuntimeError:
        return True
    return False


class _LoopConnections:
    """The connections of one event loop, by the routes that they take."""

    def __init__(self) -> None:
        self._routes: dict[Route, RouteConnections] = {}
        self._making = anyio.Lock()
        self._closings = 0
        self._free = anyio.Semaphore(MAX_CONNECTIONS, fast_acquire=True)
        self.turn = anyio.Semaphore(1)

    async def on(self, route: Route) -> RouteConnections:
        known = self._routes.get(route)
        if known is not None and not known.is_worn_out:
            return known
        async with self._making:  # once, however many calls begin at the same time
            known = self._routes.get(route)
            if known is None or known.is_worn_out:
                closings = self._closings
                # In a thread, because reading certificates takes a moment.
                made = await to_thread.run_sync(
                    RouteConnections, route, self._free, abandon_on_cancel=True
                )
                if self._closings != closings:  # meanwhile: they close with the call
                    await made.aclose()
                    return made
                retired, self._routes[route] = self._routes.get(route), made
                if retired is not None:
                    await retired.aclose()
            return self._routes[route]

    async def aclose(self) -> None:
        self._closings += 1
        closing, self._routes = self._routes, {}
        await completed_close(_close_all(closing.values()))


async def _close_all(closing: Iterable[RouteConnections]) -> None:
    for connections in closing:
        await connections.aclose()


class RouteConnections:
    """The connections on one route: what a session does, without redirects, cookies and credentials.

    Args:
        route: how its requests get to their server.
        free: how many more connections there may be.
    """

    def __init__(self, route: Route, free: anyio.Semaphore) -> None:
        self._free = free
        self._in_use = 0
        self._losses = 0
        self._is_closing = False
        trusted = _trusted(route.certificates)
        self._transport = httpx2.AsyncHTTPTransport(
            verify=trusted,
            trust_env=False,  # routes.py reads the environment, for both twins
            proxy=_proxy_of(route, trusted),
            limits=httpx2.Limits(
                max_connections=None,
                max_keepalive_connections=IDLE_CONNECTIONS,
                keepalive_expiry=None,
            ),
        )

    @property
    def is_worn_out(self) -> bool:
        """Whether the pool keeps the remains of too many connections."""
        return self._losses >= MOST_LOSSES

    def build_request(
        self,
        method: str,
        url: str,
        *,
        content: bytes,
        headers: dict[str, str],
        timeout: httpx2.Timeout,
        extensions: Mapping[str, object],
    ) -> httpx2.Request:
        """Make a request that has no header but those that are given, and those of HTTP."""
        extensions = {**extensions, "timeout": timeout.as_dict()}
        return httpx2.Request(method, url, content=content, headers=headers, extensions=extensions)

    async def send(self, request: httpx2.Request, **_: object) -> httpx2.Response:
        """Wait for a free connection, send a request and return the answer, its body unread."""
        await self._free.acquire()
        self._in_use += 1
        try:
            response = await self._transport.handle_async_request(request)
        except BaseException:
            self._losses += 1
            await self._release()
            raise
        response.stream = DrainedStream(response.stream, on_close=self._release)
        return response

    async def aclose(self) -> None:
        """Close them, as soon as none is in use."""
        self._is_closing = True
        await self._close_if_idle()

    async def _release(self) -> None:
        self._in_use -= 1
        self._free.release()
        await self._close_if_idle()

    async def _close_if_idle(self) -> None:
        if self._is_closing and not self._in_use:
            await completed_close(self._transport.aclose())


def _trusted(certificates: str | None) -> ssl.SSLContext:
    if certificates is None:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nobody: no TLS is spoken on this route
    if os.path.isdir(certificates):  # noqa: PTH112 - it stays what the variable says
        return ssl.create_default_context(capath=certificates)
    return ssl.create_default_context(cafile=certificates)


def _proxy_of(route: Route, trusted: ssl.SSLContext) -> httpx2.Proxy | None:
    if route.proxy is None:
        return None
    return httpx2.Proxy(revealed(route.proxy), ssl_context=trusted if route.is_proxy_tls else None)


class Opening:
    """What httpx2 tells of a request on its way: the connections it opened, and what it waits for.

    Args:
        need: its limits.

    Attributes:
        step: what is cancelled when it takes too long: the connecting, or the wait for the head.
        limit: which of them it is.
        is_waiting: whether it waits for a free connection, and nothing else was done.
        has_used_connection: whether it was sent over a connection that was used before.
    """

    def __init__(self, need: SendRequest) -> None:
        self._need = need
        self._streams: list[Any] = []
        self.step = anyio.CancelScope()
        self.limit: FailureKind = "connect_timeout"
        self.is_waiting = False
        self.has_used_connection = False
        self._has_connected = False

    async def trace(self, event: str, details: dict[str, Any]) -> None:
        """Take note of a step; httpx2 calls this for each."""
        self.is_waiting = False
        if event.endswith("connect_tcp.started"):
            self._has_connected = True
            self._begin("connect_timeout", self._need.connect_timeout)
        elif event.endswith("connect_tcp.complete"):
            self._streams.append(details["return_value"])
        elif event.endswith("request_headers.started") and details["request"].method != b"CONNECT":
            self.has_used_connection = not self._has_connected
            self._begin("read_timeout", self._need.read_timeout)
        if event.startswith("http2."):  # the connection is shared: other calls may be on it
            self._streams.clear()

    def _begin(self, limit: FailureKind, seconds: float) -> None:
        self.limit = limit
        self.step.deadline = anyio.current_time() + seconds

    async def aclose(self) -> None:
        """Close what was opened: the request has failed."""
        for stream in self._streams:
            await completed_close(stream.aclose())


class DrainedStream(httpx2.AsyncByteStream):
    """The bytes of an answer as they came, whose iterator is at its end once it is closed.

    httpx2 stacks generators, and one of them (`AsyncResponseStream`) does not close the next: left
    suspended, that would be ended by the garbage collector, in a task of its own. So they are run
    to their end: over what was received already, up to the first wait.
    """

    def __init__(self, stream: Any, on_close: Callable[[], Awaitable[None]] | None = None) -> None:
        self._stream = stream
        self._parts: AsyncIterator[bytes] = aiter(stream)
        self._on_close = on_close
        self._is_read = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._parts)
        except StopAsyncIteration:
            self._is_read = True
            raise

    async def aclose(self) -> None:
        """Close the connection, if the answer is not read to its end."""
        if self._is_read:  # then nothing waits
            await self._close()
        else:
            await completed_close(self._close())

    async def _close(self) -> None:
        try:
            connection = _http11_connection(self._stream)
            if connection is not None and self._is_read:
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
        """Run the iterator to its end, without waiting for anything."""
        with contextlib.suppress(*NETWORK_ERRORS), anyio.CancelScope() as without_waiting:
            without_waiting.cancel()
            async for _ in self._parts:
                continue


def _http11_connection(stream: Any) -> Any:
    """The connection of HTTP/1.1 on which an answer comes; `None` where it is another one, or cannot be told."""
    stream = getattr(stream, "_stream", stream)  # a client of the caller wraps it once more
    pool_request = getattr(getattr(stream, "_httpcore_stream", None), "_pool_request", None)
    connection = getattr(pool_request, "connection", None)
    while (inner := getattr(connection, "_connection", None)) is not None:
        connection = inner
    return connection if hasattr(connection, "_h11_state") else None


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


async def completed_close(closing: Coroutine[Any, Any, None]) -> None:
    """Close something completely, whatever is cancelled meanwhile.

    A shield of anyio does not hold off `asyncio.Task.cancel` and `asyncio.timeout`. So on asyncio it is
    done in a task, which is waited for until it is done; the cancellation is raised after that.
    """
    with anyio.CancelScope(shield=True):
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # trio, whose shields hold
            await closing
            return
        task = asyncio.ensure_future(closing)
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
        problem = None if task.cancelled() else task.exception()
        if cancelled is not None:
            raise cancelled
        if problem is not None:
            raise problem
