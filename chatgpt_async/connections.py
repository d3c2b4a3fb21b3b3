"""The connections of a client of its own: a pool for each event loop and route, on httpx2's transport.

Strategy: below httpx2's client there is its transport, which does no more than HTTP. A client would
look at redirects, keep cookies, log each request, and read the environment in its own way.

Rules:

1. Connections belong to the event loop in which they were opened. What a loop that has ended left
   behind can be closed no more; it is dropped, and its sockets close with it.
2. Closing ends what is idle at once, and what is in use when it is used no more: a running call is
   neither cut nor sent again.
3. Two things of httpx2 and httpcore2 (2.16) are mended here: a connection that is lost when its TLS
   handshake is cancelled (`OpenedConnections`), and a generator that is left suspended when the body
   is left (`EndedStream`).
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import anyio
import httpx2
from anyio import to_thread
from anyio.lowlevel import EventLoopToken, current_token

from chatgpt.core.secrets import revealed
from chatgpt.failures import transport_failure
from chatgpt.routes import Route

MAX_CONNECTIONS: Final = 256
"""How many connections to a server there are at most in an event loop; a call waits for a free one."""

IDLE_CONNECTIONS: Final = 32
"""How many idle connections to a server are kept for the next call."""

LIBRARY_ERRORS: Final = (httpx2.HTTPError, httpx2.InvalidURL, OSError)
# Nonsense from a server is a ValueError in places of httpx2 and h11.
NETWORK_ERRORS: Final = (*LIBRARY_ERRORS, ValueError)


class OwnConnections:
    """The connections of a client, by the event loops in which it is used, and the routes they take."""

    def __init__(self) -> None:
        self._by_loop: dict[EventLoopToken, _LoopConnections] = {}

    async def on(self, route: Route) -> RouteConnections:
        """Return the connections on a route in the running event loop; they open when they are used.

        Raises:
            TransportFailure: the proxy or the certificates of the route cannot be used.
        """
        loop = current_token()
        if loop not in self._by_loop:
            for other in [other for other in self._by_loop if _has_ended(other)]:
                del self._by_loop[other]
            self._by_loop[loop] = _LoopConnections()
        return await self._by_loop[loop].on(route)

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
        self.routes: dict[Route, RouteConnections] = {}
        self._lock = anyio.Lock()

    async def on(self, route: Route) -> RouteConnections:
        """Return the connections on a route, which are opened as they are needed."""
        if route not in self.routes:
            async with self._lock:
                if route not in self.routes:
                    self.routes[route] = await _make_connections(route)
        return self.routes[route]

    async def aclose(self) -> None:
        """Close them; the next call opens new ones."""
        closing, self.routes = self.routes, {}
        for connections in closing.values():
            await connections.aclose()


async def _make_connections(route: Route) -> RouteConnections:
    try:  # in a thread, because reading certificates takes a moment
        return await to_thread.run_sync(RouteConnections, route, abandon_on_cancel=True)
    except OSError as error:
        raise transport_failure("connection", error) from None
    except (ValueError, httpx2.InvalidURL) as error:
        raise transport_failure("unusable", error, str(error)) from None


class RouteConnections:
    """The connections on one route: what a session does, without redirects, cookies and credentials.

    Closing them ends what is idle at once, and what is in use when it is used no more.
    """

    def __init__(self, route: Route) -> None:
        self._in_use = 0
        self._is_closing = False
        trusted = _trusted(route.certificates)
        self._transport = httpx2.AsyncHTTPTransport(
            verify=trusted,
            trust_env=False,  # routes.py reads the environment, for both twins
            proxy=_proxy_of(route, trusted),
            limits=httpx2.Limits(
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=IDLE_CONNECTIONS,
                keepalive_expiry=None,
            ),
        )

    def build_request(
        self,
        method: str,
        url: str,
        *,
        content: bytes,
        headers: dict[str, str],
        timeout: httpx2.Timeout,
        extensions: dict[str, Any],
    ) -> httpx2.Request:
        """Make a request that has no header but those that are given, and those of HTTP."""
        extensions = {**extensions, "timeout": timeout.as_dict()}
        return httpx2.Request(method, url, content=content, headers=headers, extensions=extensions)

    async def send(self, request: httpx2.Request, **_: object) -> httpx2.Response:
        """Send a request and return the answer, its body unread."""
        self._in_use += 1
        try:
            response = await self._transport.handle_async_request(request)
        except BaseException:
            await self._release()
            raise
        response.stream = EndedStream(response.stream, on_close=self._release)
        return response

    async def aclose(self) -> None:
        """Close them, as soon as they are idle."""
        self._is_closing = True
        await self._close_if_idle()

    async def _release(self) -> None:
        self._in_use -= 1
        await self._close_if_idle()

    async def _close_if_idle(self) -> None:
        if self._is_closing and not self._in_use:
            with anyio.CancelScope(shield=True):
                await self._transport.aclose()


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


class OpenedConnections:
    """The connections that a request opened.

    httpcore2 loses a connection when its TLS handshake is cancelled; here it is found again.
    """

    def __init__(self) -> None:
        self._streams: list[Any] = []
        self.has_begun = False
        """Whether the request got a connection of the pool."""

    async def trace(self, event: str, details: dict[str, Any]) -> None:
        """Take note of a connection; httpx2 calls this for every step of a request."""
        self.has_begun = True
        if event.endswith("connect_tcp.complete"):
            self._streams.append(details["return_value"])

    async def aclose(self) -> None:
        """Close them: the request has failed."""
        with anyio.CancelScope(shield=True):
            for stream in self._streams:
                await stream.aclose()


class EndedStream(httpx2.AsyncByteStream):
    """The bytes of an answer as they came, whose iterator is at its end once it is closed.

    httpx2 stacks generators, and one of them (`AsyncResponseStream`) does not close the next: left
    suspended, that would be ended by the garbage collector, in a task of its own. So they are run
    to their end: over what was received already, to the error of a closed connection.
    """

    def __init__(self, stream: Any, on_close: Callable[[], Awaitable[None]] | None = None) -> None:
        self._stream = stream
        self._parts: AsyncIterator[bytes] = aiter(stream)
        self._on_close = on_close

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._parts)

    async def aclose(self) -> None:
        """Close the connection, if the answer is not read to its end."""
        await self._stream.aclose()
        with contextlib.suppress(*NETWORK_ERRORS, RuntimeError):  # another task may wait for a part
            async for _ in self._parts:
                continue
        if self._on_close is not None:
            await self._on_close()
