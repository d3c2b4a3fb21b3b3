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
4. A connection that is lost by httpx2 (2.16) when its TLS handshake is cancelled is closed here (`Opening`).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Final

import anyio
import httpx2
from anyio import to_thread
from anyio.lowlevel import EventLoopToken, current_token

from chatgpt.core.needs import FailureKind, SendRequest
from chatgpt.core.secrets import revealed
from chatgpt.routes import IDLE_CONNECTIONS, Route
from chatgpt_async.bodies import OwnedStream
from chatgpt_async.closing import completed_close

MAX_CONNECTIONS: Final = 256
"""How many connections there are at most in an event loop; a call waits for a free one."""

MOST_URLS: Final = 64
"""So many URLs of a route are parsed once."""

_METHODS_WITH_BODY: Final = ("POST", "PATCH")
"""Those whose requests say their length, be it zero."""

MOST_LOSSES: Final = 32
"""After so many failures of opened connections a pool makes room for a new one."""


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
        self._urls: dict[str, tuple[httpx2.URL, tuple[str, str]]] = {}
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
        known = self._urls.get(url)
        if known is None:
            if len(self._urls) >= MOST_URLS:
                self._urls.clear()
            parsed = httpx2.URL(url)
            known = self._urls[url] = parsed, ("Host", parsed.netloc.decode("ascii"))
        parsed, host = known
        # What httpx2 adds by itself where it is given `content`, in four times the time.
        sent = [*headers.items()]
        if not any(name.lower() == "host" for name in headers):
            sent.insert(0, host)
        if content or method in _METHODS_WITH_BODY:
            sent.append(("Content-Length", str(len(content))))
        return httpx2.Request(
            method,
            parsed,
            stream=httpx2.ByteStream(content),
            headers=sent,
            extensions={**extensions, "timeout": timeout.as_dict()},
        )

    async def send(self, request: httpx2.Request, **_: object) -> httpx2.Response:
        """Wait for a free connection, send a request and return the answer, its body unread."""
        try:
            self._free.acquire_nowait()
        except anyio.WouldBlock:
            await self._free.acquire()
        self._in_use += 1
        try:
            response = await self._transport.handle_async_request(request)
        except BaseException:
            self._losses += 1
            await self._release()
            raise
        response.stream = OwnedStream(response.stream, self._release, is_bare=True)
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
        is_own: whether it goes over connections of the client's own, which send it once.

    Attributes:
        scope: what is cancelled when it takes too long: the connecting, the wait for the head, or all of it.
        limit: which of them it is.
        is_waiting: whether it waits for a free connection, and nothing else was done.
        has_used_connection: whether it was sent over a connection that was used before.
    """

    def __init__(self, need: SendRequest, *, is_own: bool = False) -> None:
        self._need = need
        self._is_own = is_own
        self._streams: list[Any] = []
        self._end = anyio.current_time() + need.timeout
        self.scope = anyio.CancelScope(deadline=self._end)
        self.limit: FailureKind = "timeout"
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
            if self._is_own:  # the rest need not be told
                details["request"].extensions.pop("trace", None)
        if event.startswith("http2."):  # the connection is shared: other calls may be on it
            self._streams.clear()

    def _begin(self, limit: FailureKind, seconds: float) -> None:
        deadline = min(anyio.current_time() + seconds, self._end)
        self.limit = limit if deadline < self._end else "timeout"
        if self.scope.deadline != deadline:  # setting it takes a timer
            self.scope.deadline = deadline

    async def aclose(self) -> None:
        """Close what was opened: the request has failed."""
        for stream in self._streams:
            await completed_close(stream.aclose())
