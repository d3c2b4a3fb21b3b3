"""The connections of the sync twin: those of urllib3, each of whose waits can be ended from outside.

Strategy: urllib3 opens a connection in `_new_conn` and `connect`, sends in `request`, and gives the connection back
in `_put_conn`. There it is told to the call that has the connection (`Interruption`).

Rules:

1. A socket waits for ever by itself: the limits are the call's to keep. While connecting it has a limit, too, so
   that an address that does not answer leaves time for the next one.
2. A name is looked up in a thread that can be abandoned: the system offers no way to stop it.
3. All that precedes the request is the connecting: the name, TLS, and the answers of proxies.
"""

from __future__ import annotations

import io
import socket
import sys
import threading
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from queue import Empty, Full
from typing import Any, Final, TypeAlias

import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager, connection, exceptions
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.response import BaseHTTPResponse
from urllib3.util.connection import allowed_gai_family

from chatgpt.core.limits import LONGEST_WAIT
from chatgpt.http_responses import StrictResponse
from chatgpt.interruptions import Alarm, Interruption, NappingReader
from chatgpt.routes import IDLE_CONNECTIONS

SOCKS_PORT: Final = 1080
"""Of a proxy whose URL names none."""

interruption: ContextVar[Interruption] = ContextVar("interruption")
"""That of the call whose request is on its way in this thread."""

Address: TypeAlias = tuple[Any, ...]


class StoppableConnection(connection.HTTPConnection):
    """A connection that tells the call which has it what it waits for.

    Attributes:
        call: the one that has it.
        requests_sent: how many requests were sent over it.
    """

    answer: StrictResponse | None = None
    debuglevel = 0  # a program may set http.client's, which prints the headers
    call: Interruption | None = None
    requests_sent = 0

    def _new_conn(self) -> socket.socket:
        call = interruption.get()
        # That of SOCKS has the address of its proxy here.
        proxy: dict[str, Any] | None = getattr(self, "_socks_options", None)
        server = (self._dns_host, self.port)
        host, port = (
            server
            if proxy is None
            else (proxy["proxy_host"], int(proxy["proxy_port"] or SOCKS_PORT))
        )
        try:
            addresses = look_up(host.strip("[]"), port, call)
            opened = self._opened(addresses, server, proxy, call)
        except socket.gaierror as error:
            raise exceptions.NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise exceptions.ConnectTimeoutError(self, "connecting took too long") from error
        except OSError as error:
            raise exceptions.NewConnectionError(self, str(error)) from error
        sys.audit("http.client.connect", self, self.host, self.port)
        return opened

    def _opened(
        self,
        addresses: list[Address],
        server: tuple[str, int],
        proxy: dict[str, Any] | None,
        call: Interruption,
    ) -> socket.socket:
        """Connect to the first address that takes a connection."""
        problem: OSError | None = None
        for position, (family, kind, protocol, _, address) in enumerate(addresses):
            opening: socket.socket | None = None
            try:
                opening = (
                    socket.socket(family, kind, protocol)
                    if proxy is None
                    else _socks_socket(family, proxy, address)
                )
                for option in self.socket_options or ():
                    opening.setsockopt(*option)
                call.hold(opening)
                opening.settimeout(_share(call, len(addresses) - position))
                opening.connect(address if proxy is None else server)
                opening.settimeout(call.socket_timeout)
            except BaseException as error:
                call.let_go()
                if opening is not None:
                    opening.close()
                if not isinstance(error, OSError):
                    raise
                problem = error
                call.check()
            else:
                return opening
        try:
            raise problem or socket.gaierror(socket.EAI_NONAME, "the name has no address")
        finally:
            problem = None  # it would hold on to this frame

    def _tunnel(self) -> None:
        super()._tunnel()
        # http.client takes the end of a connection for that of a proxy's head, and TLS would go on with it.
        interruption.get().check()

    def connect(self) -> None:
        """Connect, and all that precedes a request."""
        self.requests_sent = 0
        super().connect()
        interruption.get().begin_answer()

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request, for the call of this thread."""
        self.call = interruption.get()
        if self.sock is not None:
            self.sock.settimeout(self.call.socket_timeout)  # it was to be read
            self.call.has_used_connection = self.requests_sent > 0
            self.call.hold(self.sock)
            self.call.begin_answer()
        super().request(*args, **options)
        self.requests_sent += 1

    def getresponse(self) -> BaseHTTPResponse:  # type: ignore[override] # urllib3 overrides it alike
        """Wait for the head of the answer."""
        self.timeout = interruption.get().nap
        return super().getresponse()

    def response_class(self, *args: Any, **options: Any) -> StrictResponse:  # type: ignore[override] # a class is called alike
        """Make the answer that is read next."""
        self.answer = answer = StrictResponse(*args, **options)
        reader = NappingReader(answer.fp.detach(), args[0], interruption.get())
        answer.fp = io.BufferedReader(reader)
        return answer

    def let_go(self) -> None:
        """It is given back: nobody may stop it any more, and it is closed where something came behind the answer."""
        call, self.call = self.call, None
        if call is not None:
            call.let_go()
        answer, self.answer = self.answer, None
        if (answer is not None and answer.has_rest) or _has_decrypted(self.sock):
            self.close()


class _Stack:
    """Idle connections, the one that was used last on top; without a lock, before whose release Ctrl-C may come."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: deque[Any] = deque()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002
        """Put one on top; `queue.Full` if there are enough."""
        if len(self._items) >= self._most:
            raise Full
        self._items.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ARG002
        """Take the one on top; `queue.Empty` if there is none."""
        try:
            return self._items.pop()
        except IndexError:
            raise Empty from None

    def qsize(self) -> int:
        """How many there are."""
        return len(self._items)


class _GivesBack(HTTPConnectionPool):
    """A pool whose connections belong to no call."""

    QueueCls = _Stack  # type: ignore[assignment] # no more of a queue is asked for

    def _put_conn(self, conn: Any) -> None:
        if isinstance(conn, StoppableConnection):
            conn.let_go()
        super()._put_conn(conn)


@cache
def _stoppable(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    """The same kind of pool, of connections whose waits can be ended."""
    if issubclass(pool, _GivesBack):
        return pool
    kind = pool.ConnectionCls
    connection_class = type(f"_Stoppable{kind.__name__}", (StoppableConnection, kind), {})
    return type(
        f"_Stoppable{pool.__name__}", (_GivesBack, pool), {"ConnectionCls": connection_class}
    )


class StoppableAdapter(HTTPAdapter):
    """Sends over connections whose waits can be ended, through a proxy or not."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools of connections without a proxy."""
        super().init_poolmanager(*args, **options)
        self._use_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> PoolManager:
        """Make the pools of a proxy."""
        manager: PoolManager = super().proxy_manager_for(*args, **options)
        self._use_pools(manager)
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ARG002
        """Verify the certificates, whatever the URL: requests verifies no https proxy when it asks it for http."""
        super().cert_verify(conn, "https://", verify, cert)  # type: ignore[no-untyped-call] # its stub is not typed

    @staticmethod
    def _use_pools(manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = {
            scheme: _stoppable(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
        }


MOST_URLS: Final = 64
"""So many URLs of a session are prepared once."""


class StoppableSession:
    """What sends over such connections: requests below its session, a quarter of whose time goes into settings.

    It keeps no cookies, reads no environment (routes.py does, for both twins) and follows nothing. The arguments of
    `request` are those of `requests.Session.request`; `FetchFn` describes them.
    """

    def __init__(self) -> None:
        self._adapter = StoppableAdapter(pool_maxsize=IDLE_CONNECTIONS)
        self._urls: dict[str, str] = {}

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        data: bytes,
        timeout: tuple[float, float] | None,
        stream: bool,
        allow_redirects: bool,  # noqa: ARG002 - none is followed
        auth: object,  # noqa: ARG002 - the headers hold all that is needed
        proxies: dict[str, str] | None,
        verify: str | None,
    ) -> requests.Response:
        """Send a request, and leave the body unread."""
        prepared = requests.PreparedRequest()
        prepared.method = method
        prepared.url = self._prepared_url(url)
        prepared.prepare_headers(headers)
        prepared.body = data or None
        prepared.prepare_content_length(prepared.body)
        prepared.hooks = {}
        return self._adapter.send(
            prepared,
            stream=stream,
            timeout=timeout,
            verify=True if verify is None else verify,
            proxies=proxies or {},
        )

    def _prepared_url(self, url: str) -> str:
        known = self._urls.get(url)
        if known is None:
            prepared = requests.PreparedRequest()
            prepared.prepare_url(url, None)
            assert prepared.url is not None, "it was prepared"
            if len(self._urls) >= MOST_URLS:
                self._urls.clear()
            known = self._urls[url] = prepared.url
        return known

    def close(self) -> None:
        """Close the connections that nobody uses; the next request opens a new one."""
        self._adapter.close()


def _share(call: Interruption, addresses: int) -> float:
    """Seconds for one of so many addresses."""
    remaining = call.remaining
    call.check()  # the deadline may pass just now, and be none any more
    return max(min(remaining, LONGEST_WAIT) / addresses, 0.001)


def _socks_socket(family: int, proxy: dict[str, Any], address: tuple[Any, ...]) -> socket.socket:
    """A socket that connects through a proxy for SOCKS, whose address is known."""
    import socks

    made: socket.socket = socks.socksocket(family, socket.SOCK_STREAM)
    made.set_proxy(  # type: ignore[attr-defined] # PySocks has no types
        proxy["socks_version"],
        address[0],
        address[1],
        proxy["rdns"],
        proxy["username"],
        proxy["password"],
    )
    return made


def _has_decrypted(used: Any) -> bool:
    """Whether TLS holds bytes that nobody has read: no `select` sees them."""
    source = getattr(used, "sslobj", used)  # that of TLS within TLS
    pending = getattr(source, "pending", None)
    return pending is not None and pending() > 0


# --- names -----------------------------------------------------------------------------------


def look_up(host: str, port: int, call: Interruption) -> list[Address]:
    """Look the addresses of a host up.

    Raises:
        TransportFailure: the call was stopped meanwhile.
        OSError: the host is not known.
    """
    try:
        host.encode("idna")
    except UnicodeError:
        raise exceptions.LocationParseError(f"'{host}', label empty or too long") from None
    try:
        return _addresses(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        lookup = _Lookup(host, port)
    try:
        lookup.start()
    except RuntimeError:  # the interpreter shuts down: there are no new threads
        return _addresses(host, port)
    with call.woken_by(lookup.is_over.set):
        lookup.is_over.wait(threading.TIMEOUT_MAX)
    if lookup.problem is not None:
        raise lookup.problem
    return lookup.found


def _addresses(host: str, port: int, flags: int = 0) -> list[Address]:
    return [*socket.getaddrinfo(host, port, allowed_gai_family(), socket.SOCK_STREAM, flags=flags)]


class _Lookup(threading.Thread):
    """Looks a name up, for as long as the system takes."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(name="chatgpt-lookup", daemon=True)
        self._server = host, port
        self.is_over = Alarm()
        self.found: list[Address] = []
        self.problem: OSError | None = None

    def run(self) -> None:
        try:
            self.found = _addresses(*self._server)
        except OSError as error:
            self.problem = error.with_traceback(None)
        finally:
            self.is_over.set()
