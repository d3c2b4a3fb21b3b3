"""The sync shell: meets the needs of an exchange with requests, a store and the clock.

Rules:

1. No decision is made here: no condition on a status, a header's meaning, an option or a message.
2. Secrets are revealed in `_attempt` alone, a frame that raises nothing; what it returns of an
   exception has no traceback, because the frames below it hold the headers.
3. Bytes are handed on as they arrive (`read1`); chunks are decoded by `StrictResponse`, over a session of the
   caller by http.client. (`iter_content` waits for the end of a body that has a length or ends with its
   connection, `read_chunked` for that of a chunk.)
4. What ends a wait from outside is the `Interruption` of the call; it is asked before a failure or an
   end is believed. Over a session of the caller the wait for the head is bounded by requests alone.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.client import (
    BadStatusLine,
    HTTPException,
    LineTooLong,
    RemoteDisconnected,
    UnknownProtocol,
)
from typing import Any, Final, Generic, Protocol, TypeVar

import requests
from urllib3 import exceptions
from urllib3.response import HTTPResponse

from chatgpt.connections import StoppableConnection, StoppableSession, interruption
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import (
    AskForAccessToken,
    Exchange,
    LoadConversation,
    LoadMessage,
    LoadReplies,
    LoadThread,
    LoadTokenizer,
    Need,
    ObeyToken,
    PassTurn,
    ReadChunk,
    ReportEvent,
    ReportProgress,
    ResponseHead,
    Running,
    SaveMessages,
    SendRequest,
    Sleep,
    TakeTurn,
    TransportFailure,
)
from chatgpt.core.secrets import Secret, revealed, wrap
from chatgpt.core.validation import plain_function
from chatgpt.failures import (
    CLOSED,
    OF_PARENT,
    answer_of,
    check_session,
    links_of,
    transport_failure,
    without_tracebacks,
)
from chatgpt.interruptions import Interruption
from chatgpt.library_logs import mask_logs_of, sent_secrets
from chatgpt.routes import Route, route_of
from chatgpt.stores.protocol import MessageStore, conversation_method, replies_method
from chatgpt.tokenizer import load_tokenizer
from chatgpt.turns import Turn

T = TypeVar("T")

READ_SIZE: Final = 65536
"""How many bytes are taken at once, at most: a chunk may be of any size."""

# Nonsense from a server is a ValueError in places of requests, urllib3 and http.client.
LIBRARY_ERRORS: Final = (OSError, exceptions.HTTPError, HTTPException)
NETWORK_ERRORS: Final = (*LIBRARY_ERRORS, ValueError)

NO_HTTP: Final = (
    BadStatusLine,
    LineTooLong,
    UnknownProtocol,
    exceptions.InvalidChunkLength,
    exceptions.InvalidHeader,
    ValueError,
)
"""What http.client and urllib3 raise for an answer that is no HTTP."""

SOCKS_PACKAGE: Final = "socks"
"""What requests speaks SOCKS with."""

log = logging.getLogger("chatgpt")

mask_logs_of(
    "urllib3.connection", "urllib3.connectionpool", "urllib3.response", "urllib3.util.retry"
)


class FetchFn(Protocol):
    """What a `session=` must offer; `requests.Session` and its descendants do."""

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        data: bytes,
        timeout: tuple[float, float] | None,
        stream: bool,
        allow_redirects: bool,
        auth: Callable[[requests.PreparedRequest], requests.PreparedRequest],
        proxies: dict[str, str] | None,
        verify: str | None,
    ) -> requests.Response:
        """Send a request as `requests.Session.request` does, and leave the body unread.

        Args:
            method: `"GET"`, `"POST"` or `"PATCH"`.
            url: the whole URL.
            headers: all headers of the request.
            data: the body in bytes.
            timeout: seconds for connecting, and between two reads.
            stream: always true: the body is read by the caller.
            allow_redirects: always false: none is followed.
            auth: leaves the request as it is, and `~/.netrc` aside.
            proxies: the proxies by scheme; `None` for those of the session.
            verify: the path of the certificates that are trusted; `None` for what the session says.
        """
        ...


# --- connections -----------------------------------------------------------------------------


class Transport:
    """The connections of a client. May be shared by threads, and survives a fork.

    Args:
        session: the caller's own session, which is his to close; `None` for one of our own.
        proxy: the URL of a proxy, which wins over the environment.
    """

    def __init__(self, session: FetchFn | None, proxy: str | Secret | None) -> None:
        check_session(session, "requests", "Session", "request")
        self._given = session
        self._proxy = proxy
        self._own: tuple[StoppableSession, int] | None = None
        self._turns: dict[int, Turn] = {}

    def send(
        self, need: SendRequest, call: Interruption
    ) -> tuple[requests.Response, Sequence[Secret]]:
        """Send a request; return the answer, its body unread, and the secrets of its route.

        Raises:
            TransportFailure: there is no answer.
        """
        if self._given is not None:
            # A session of the caller has its own proxies and certificates.
            outcome = _attempt(self._given, need, None, call)
            # A ValueError may be his own, and so is what a hook raises for a status.
            his = (requests.HTTPError,)
            answer = answer_of(outcome, requests.Response, LIBRARY_ERRORS, failure_of, others=his)
            return answer, ()
        route = route_of(need.request, self._proxy, SOCKS_PACKAGE)
        outcome = _attempt(self._session(), need, route, call)
        failing = failure_of if route.proxy is None else failure_on_the_way
        secrets = route.secrets
        try:
            answer = answer_of(outcome, requests.Response, NETWORK_ERRORS, failing, secrets=secrets)
        except TransportFailure as failure:
            call.check()
            failure.on_used_connection = call.has_used_connection
            raise
        return answer, secrets

    @property
    def turn(self) -> Turn:
        """What one exchange of the client at a time has."""
        # A child process must not wait for a thread of its parent.
        return self._turns.setdefault(os.getpid(), Turn())

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        own, self._own = self._own, None
        if own is not None and own[1] == os.getpid():
            own[0].close()

    def _session(self) -> FetchFn:
        # A child process must not use the sockets of its parent: both would read from them.
        own = self._own  # another thread may close it meanwhile
        if own is None or own[1] != os.getpid():
            own = self._own = StoppableSession(), os.getpid()
        return own[0]


def _attempt(
    session: FetchFn, need: SendRequest, route: Route | None, call: Interruption
) -> object:
    """Send a request; return the answer or, without its tracebacks, the exception."""
    request = need.request
    proxy = route.proxy if route is not None else None
    handled = sys.exception()
    outside = sent_secrets.set((*request.secrets, *(route.secrets if route is not None else ())))
    calling = interruption.set(call)
    # The limits of a connection of ours are the call's; None is none.
    timeout = (need.connect_timeout, need.read_timeout) if route is None else None
    try:
        call.begin_request(need, tells_steps=route is not None)
        return session.request(
            request.method,
            request.url,
            headers={name: revealed(value) for name, value in request.headers.items()},
            data=request.body,
            timeout=timeout,
            stream=True,
            allow_redirects=False,
            # Without it, requests would put an entry of ~/.netrc in the place of the key.
            auth=lambda prepared: prepared,
            proxies=None if proxy is None else dict.fromkeys(("http", "https"), revealed(proxy)),
            verify=route.certificates if route is not None else None,
        )
    except BaseException as error:  # noqa: BLE001 - it is returned, and raised by the caller
        return without_tracebacks(error, handled)
    finally:
        call.end_wait()
        interruption.reset(calling)
        sent_secrets.reset(outside)


def failure_of(error: BaseException) -> TransportFailure:
    """Tell the core of an exception of requests, urllib3 or the socket."""
    if isinstance(error, (requests.ConnectTimeout, exceptions.ConnectTimeoutError)):
        return transport_failure("connect_timeout", error)
    if isinstance(error, (requests.Timeout, exceptions.TimeoutError, TimeoutError)):
        return transport_failure("read_timeout", error)
    if isinstance(error, (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL)):
        return transport_failure("unusable", error, str(error))
    links = [*links_of(error)]
    if any(isinstance(link, exceptions.NewConnectionError) for link in links):
        return transport_failure("unreached", error)
    is_malformed = any(
        # http.client says so, and no more, of a head of over 100 lines.
        type(link) is HTTPException
        or (isinstance(link, NO_HTTP) and not isinstance(link, RemoteDisconnected))
        for link in links
    )
    return transport_failure("malformed" if is_malformed else "connection", error)


def failure_on_the_way(error: BaseException) -> TransportFailure:
    """The same where there is a proxy: connections are made to it alone."""
    links = [*links_of(error)]
    is_refused = any(isinstance(link, exceptions.NewConnectionError) for link in links)
    if not is_refused and any(isinstance(link, exceptions.ConnectTimeoutError) for link in links):
        return transport_failure("connect_timeout", error)
    if is_refused or isinstance(error, requests.exceptions.ProxyError):
        reason = str(links[-1]).removeprefix("Tunnel connection failed: ") or CLOSED
        return transport_failure("connection", error, reason, of_proxy=True)
    return failure_of(error)


class _Body:
    """The body of an answer, read as it arrives."""

    def __init__(self, response: requests.Response, call: Interruption) -> None:
        self._response = response
        self._call = call
        self._raw: HTTPResponse = response.raw
        self._lock = threading.RLock()
        self._reader: int | None = None
        self._is_left = False
        connection = self._raw.connection
        if connection is not None and not isinstance(connection, StoppableConnection):
            # It belongs to a session of the caller, and to this call until its answer is read.
            self._borrow(getattr(connection, "sock", None))

    def _borrow(self, used: socket.socket | None) -> None:
        if used is not None:
            used.settimeout(None)
            with suppress(TransportFailure):  # it was stopped: the next wait says so
                self._call.hold(used)

    def read(self, seconds: float) -> bytes:
        """Return what there is, waiting at most `seconds` for it; `b""` at the end.

        Raises:
            TransportFailure: nothing came, the connection broke, or the call was stopped.
        """
        handled = sys.exception()
        call = self._call
        if call.is_of_parent:
            raise TransportFailure("connection", OF_PARENT)
        with self._lock:
            if self._is_left:
                raise TransportFailure("connection", CLOSED)
            self._reader = threading.get_ident()
        try:
            call.begin_wait("read_timeout", seconds)
            chunk = self._raw.read1(READ_SIZE, decode_content=True)
        except (*NETWORK_ERRORS, AttributeError) as error:  # the latter if another thread closes it
            call.check()
            raise failure_of(without_tracebacks(error, handled)) from None
        finally:
            call.end_wait()
            self._stop_reading()
        if not chunk:
            call.check()
        if self._raw.connection is None:  # it is given back, be it to a pool of the caller
            call.let_go()
        return chunk

    def close(self) -> None:
        """Close the connection, if the body is not read to its end.

        While another thread reads, it is that one's to close: urllib3 is not made for two, and the
        connection might be given back twice.
        """
        if self._call.is_of_parent:  # so is the connection
            return
        with self._lock:
            self._is_left = True
            if self._reader not in (None, threading.get_ident()):
                self._call.shut_down()
                return
        self._close()

    def _stop_reading(self) -> None:
        with self._lock:
            self._reader = None
            is_left = self._is_left
        if is_left:  # by another thread, which has left it to this one
            self._close()

    def _close(self) -> None:
        if self._raw.connection is not None:  # it is not given back
            self._call.shut_down()
        self._response.close()


# --- stepping an exchange --------------------------------------------------------------------


class Call(Generic[T]):
    """One exchange on its way, from the first need to the last.

    Args:
        exchange: what is to be done.
        transport: sends its requests.
        store: holds its messages.

    Attributes:
        result: what the exchange returned, once `advance` has returned nothing.
    """

    result: T

    def __init__(self, exchange: Exchange[T], transport: Transport, store: MessageStore) -> None:
        self._transport = transport
        self._store = store
        self._answer: _Body | None = None
        self._turn: Turn | None = None
        self._is_asking = False
        self._is_logged = log.isEnabledFor(logging.DEBUG)
        self._interruption = Interruption()
        self._running = Running(exchange)

    def run(self, on_progress: Callable[[ChatMessage], object] | None = None) -> T:
        """Go on to the end, and hand the parts of the reply to a function."""
        try:
            while parts := self.advance():
                if on_progress is not None:
                    for part in parts:
                        on_progress(part)
        finally:
            self.close()
        return self.result

    def advance(self) -> Sequence[ChatMessage]:
        """Go on to the next parts of the reply, or to the end, where there are none."""
        try:
            parts = self._next_parts()
        except BaseException:
            self.close()
            raise
        if not parts:
            self.close()
            self.result = self._running.result()
        return parts

    def _next_parts(self) -> Sequence[ChatMessage]:
        running = self._running
        if isinstance(running.need, ReportProgress):  # the parts that were handed out last
            running.resume(None)
        while (need := running.need) is not None:
            if self._is_logged:
                log.debug("%r", need)
            if isinstance(need, ReportProgress):
                return need.parts
            try:
                answer = self._meet(need)
            except TransportFailure as failure:
                running.fail(failure)
            else:
                running.resume(answer)
        return ()

    def close(self) -> None:
        """End the exchange where it stands, and its connection with it if it is not read empty."""
        self._running.close()
        self._pass_turn()
        try:
            self._close_answer()
        finally:
            self._interruption.close()

    def _pass_turn(self) -> None:
        # Another thread may close what is not done, or what still waits for its turn: this one passes
        # it on when it comes to its end.
        if self._turn is not None and not self._is_asking:
            self._turn.pass_on(self)

    def _ask(self, need: AskForAccessToken) -> object:
        self._is_asking = True
        try:
            return wrap(need.call())
        except Exception as error:
            need.failed(error)
            raise
        finally:
            self._is_asking = False

    def _close_answer(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()

    def _meet(self, need: Need[Any]) -> object:
        match need:
            case ReadChunk(read_timeout):
                if self._answer is None:  # another thread has closed it
                    raise TransportFailure("connection", CLOSED)
                return self._answer.read(read_timeout)
            case SendRequest():
                self._close_answer()
                response, secrets = self._transport.send(need, self._interruption)
                self._answer = _Body(response, self._interruption)
                head = ResponseHead(
                    response.status_code, response.reason, response.headers, secrets
                )
                if self._is_logged:
                    log.debug("%r", head)
                return head
            case Sleep(seconds):
                self._interruption.sleep(seconds)
                return None
            case ObeyToken(token):
                self._interruption.obey(token)
                return None
            case LoadMessage(message_id):
                try:
                    return self._store.get(message_id)
                except Exception as error:  # noqa: BLE001 - it may become the cause of another
                    need.refused(error)
            case LoadThread(message_id, limit):
                return self._store.path(message_id, limit)
            case LoadConversation(conversation_id):
                known = conversation_method(self._store)
                return None if known is None else known(conversation_id)
            case LoadReplies(message_id):
                method = replies_method(self._store)
                return plain_function("replies of the message_store", method)(message_id)
            case SaveMessages(messages):
                try:
                    self._store.save(messages)
                except Exception as error:  # noqa: BLE001 - it becomes the cause of another
                    return need.refused(error)
                return ()
            case LoadTokenizer(encoding):
                return load_tokenizer(encoding)
            case ReportEvent():
                need.call()
                return None
            case AskForAccessToken():
                return self._ask(need)
            case TakeTurn(timeout):
                self._turn = self._transport.turn
                self._turn.take(self, timeout, self._interruption)
                return None
            case PassTurn():
                self._pass_turn()
                return None
            case _:
                raise TypeError(f"This shell cannot meet {need!r}.")
