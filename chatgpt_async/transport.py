"""The async shell: meets the needs of an exchange with httpx2, a store and the clock of the loop.

Rules:

1. No decision is made here: no condition on a status, a header's meaning, an option or a message.
2. Secrets are revealed in `_attempt` alone, a frame that raises nothing; what it returns of an
   exception has no traceback, because the frames below it hold the headers.
3. No task is started, and nothing is swallowed: a cancellation passes through, after the connection
   was closed. Closing is shielded from it.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

import anyio
import httpx2
from anyio import to_thread

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
from chatgpt.core.validation import is_asynchronous
from chatgpt.failures import (
    CLOSED,
    NO_TURN,
    OF_PARENT,
    answer_of,
    check_session,
    links_of,
    transport_failure,
    without_tracebacks,
)
from chatgpt.library_logs import mask_logs_of, sent_secrets, silence_logs_of
from chatgpt.routes import route_of
from chatgpt.stores.protocol import conversation_method, replies_method
from chatgpt.tokenizer import load_tokenizer
from chatgpt_async.bodies import LIBRARY_ERRORS, NETWORK_ERRORS, OwnedStream, body_of
from chatgpt_async.callbacks import completed
from chatgpt_async.connections import Opening, OwnConnections
from chatgpt_async.interruptions import Interruption
from chatgpt_async.stores.protocol import MessageStore

T = TypeVar("T")

NO_TIMEOUT: Final = httpx2.Timeout(None)
"""httpx2 keeps none: each wait is in a cancel scope, which bounds all of it."""

NONE_FREE: Final = "all connections of the client were in use"

SOCKS_PACKAGE: Final = "socksio"
"""What httpx2 speaks SOCKS with."""

log = logging.getLogger("chatgpt")

mask_logs_of(
    "httpx2", *(f"httpcore2.{part}" for part in ("connection", "http11", "http2", "proxy"))
)
# It shows the user and the password, and a short password has no mask.
silence_logs_of("httpcore2.socks")


class FetchFn(Protocol):
    """What a `session=` must offer; `httpx2.AsyncClient` and its descendants do."""

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
        """Make a request as `httpx2.AsyncClient.build_request` does.

        Args:
            method: `"GET"`, `"POST"` or `"PATCH"`.
            url: the whole URL.
            content: the body in bytes.
            headers: all headers of the request.
            timeout: the limits, in seconds.
            extensions: httpx2's own.
        """
        ...

    async def send(
        self, request: httpx2.Request, *, stream: bool, auth: None, follow_redirects: bool
    ) -> httpx2.Response:
        """Send a request as `httpx2.AsyncClient.send` does, and leave the body unread.

        Args:
            request: what `build_request` made.
            stream: always true: the body is read by the caller.
            auth: always `None`: the headers hold all that is needed.
            follow_redirects: always false: none is followed.
        """
        ...


class Transport:
    """The connections of a client. May be shared by tasks, and by event loops.

    Args:
        session: the caller's own session, which is his to close; `None` for one of our own.
        proxy: the URL of a proxy, which wins over the environment.
    """

    def __init__(self, session: FetchFn | None, proxy: str | Secret | None) -> None:
        check_session(session, "httpx2", "AsyncClient", "build_request", "send")
        if session is not None and not is_asynchronous(session.send):
            raise TypeError("session must be an httpx2.AsyncClient: its send must be async.")
        self._given = session
        self._proxy = proxy
        self._own = OwnConnections()

    async def send(self, need: SendRequest) -> tuple[httpx2.Response, Sequence[Secret]]:
        """Send a request; return the answer, its body unread, and the secrets of its route.

        Raises:
            TransportFailure: there is no answer.
        """
        if self._given is not None:
            # A session of the caller has its own proxies and certificates.
            # Nor need its transport tell what it does, which is what bounds the silence of ours.
            silence = httpx2.Timeout(need.read_timeout, connect=None, pool=None)
            outcome = await _attempt(_already_open(self._given), need, Opening(need), silence)
            # A ValueError may be his own.
            answer = answer_of(outcome, httpx2.Response, LIBRARY_ERRORS, failure_of)
            answer.stream = OwnedStream(answer.stream)
            return answer, ()
        route = route_of(need.request, self._proxy, SOCKS_PACKAGE)
        secrets = route.secrets
        progress = Opening(need, is_own=True)
        outcome = await _attempt(self._own.on(route), need, progress, NO_TIMEOUT, secrets)
        failing = failure_of if route.proxy is None else failure_on_the_way
        # Nonsense from a proxy for SOCKS is whatever socksio and httpcore2 make of it.
        errors = (Exception,) if route.is_socks else NETWORK_ERRORS
        try:
            return answer_of(outcome, httpx2.Response, errors, failing, secrets=secrets), secrets
        except TransportFailure as failure:
            failure.on_used_connection = progress.has_used_connection
            raise

    async def take_turn(self, seconds: float) -> anyio.Semaphore:
        """Wait until no other exchange of the client has the turn; releasing it passes it on.

        Raises:
            TransportFailure: it took too long.
        """
        turn = self._own.turn
        with anyio.move_on_after(seconds):
            await turn.acquire()
            return turn
        raise TransportFailure("timeout", NO_TURN)

    async def aclose(self) -> None:
        """Close the connections of this event loop; the next call opens new ones."""
        await self._own.aclose()


async def _already_open(session: FetchFn) -> FetchFn:
    return session


async def _attempt(
    opening: Awaitable[FetchFn],
    need: SendRequest,
    progress: Opening,
    limits: httpx2.Timeout,
    route_secrets: Sequence[Secret] = (),
) -> object:
    """Send a request; return the answer or, without its tracebacks, the exception."""
    request = need.request
    handled = sys.exception()
    outside = sent_secrets.set((*request.secrets, *route_secrets))
    try:
        with progress.scope:
            session = await opening
            progress.is_waiting = True
            return await session.send(
                session.build_request(
                    request.method,
                    request.url,
                    content=request.body,
                    headers={name: revealed(value) for name, value in request.headers.items()},
                    timeout=limits,
                    extensions={"trace": progress.trace},
                ),
                stream=True,
                auth=None,
                follow_redirects=False,
            )
        reason = NONE_FREE if progress.is_waiting else ""
        outcome: BaseException = TransportFailure(
            progress.limit, reason if progress.limit == "timeout" else "it took too long"
        )
    except BaseException as error:  # noqa: BLE001 - it is returned, and raised by the caller
        outcome = without_tracebacks(error, handled)
    finally:
        sent_secrets.reset(outside)
    await progress.aclose()
    return outcome


def failure_of(error: BaseException) -> TransportFailure:
    """Tell the core of an exception of httpx2 or the socket."""
    if isinstance(error, (httpx2.TimeoutException, TimeoutError)):
        return transport_failure("read_timeout", error)
    if isinstance(error, (httpx2.UnsupportedProtocol, httpx2.InvalidURL)):
        return transport_failure("unusable", error, str(error))
    if isinstance(error, httpx2.ConnectError) and not _is_tls(error):
        return transport_failure("unreached", error)
    is_malformed = isinstance(error, (httpx2.RemoteProtocolError, ValueError)) and not re.match(
        "Server disconnected|peer closed connection", str(error)
    )
    return transport_failure("malformed" if is_malformed else "connection", error)


def failure_on_the_way(error: BaseException) -> TransportFailure:
    """The same where there is a proxy: connections are made to it alone, TLS speaks to the server."""
    if isinstance(error, httpx2.ProxyError) or (
        isinstance(error, httpx2.ConnectError) and not _is_tls(error)
    ):
        return transport_failure("connection", error, str(error) or CLOSED, of_proxy=True)
    if not isinstance(error, NETWORK_ERRORS):
        return transport_failure("malformed", error, of_proxy=True)
    return failure_of(error)


def _is_tls(error: BaseException) -> bool:
    return any(isinstance(link, ssl.SSLError) for link in links_of(error))


class _Body:
    """The body of an answer, read as it arrives.

    Args:
        response: the answer.
        secrets: those that the logs of libraries may show.
    """

    def __init__(self, response: httpx2.Response, secrets: Sequence[Secret]) -> None:
        self._body = body_of(response)
        self._secrets = secrets
        self._process = os.getpid()

    async def read(self, seconds: float) -> bytes:
        """Return what there is, waiting at most `seconds` for it; `b""` at the end.

        Raises:
            TransportFailure: nothing came, or the connection broke.
        """
        if self._process != os.getpid():
            raise TransportFailure("connection", OF_PARENT)
        handled = sys.exception()
        outside = sent_secrets.set(self._secrets)
        try:
            return await self._body.read(seconds)
        except NETWORK_ERRORS as error:
            raise failure_of(without_tracebacks(error, handled)) from None
        finally:
            sent_secrets.reset(outside)

    async def aclose(self) -> None:
        """Close the connection, if the body is not read to its end."""
        outside = sent_secrets.set(self._secrets)
        try:
            await self._body.aclose()
        finally:
            sent_secrets.reset(outside)


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
    waits: ClassVar[tuple[type[Need[Any]], ...]] = (
        *(AskForAccessToken, ReadChunk, SendRequest, Sleep, TakeTurn),
    )
    """What a token stops."""

    def __init__(self, exchange: Exchange[T], transport: Transport, store: MessageStore) -> None:
        self._transport = transport
        self._store = store
        self._answer: _Body | None = None
        self._turn: anyio.Semaphore | None = None
        self._is_asking = False
        self._is_logged = log.isEnabledFor(logging.DEBUG)
        self._interruption = Interruption()
        self._running = Running(exchange)

    async def run(self, on_progress: Callable[[ChatMessage], object] | None = None) -> T:
        """Go on to the end, and hand the parts of the reply to a function."""
        try:
            while parts := await self.advance():
                if on_progress is not None:
                    for part in parts:
                        await completed(on_progress(part))
        finally:
            await self.aclose()
        return self.result

    async def advance(self) -> Sequence[ChatMessage]:
        """Go on to the next parts of the reply, or to the end, where there are none."""
        try:
            parts = await self._next_parts()
        except BaseException:
            await self.aclose()
            raise
        if not parts:
            await self.aclose()
            self.result = self._running.result()
        return parts

    async def _next_parts(self) -> Sequence[ChatMessage]:
        running = self._running
        if isinstance(running.need, ReportProgress):  # the parts that were handed out last
            running.resume(None)
        while (need := running.need) is not None:
            if self._is_logged:
                log.debug("%r", need)
            if isinstance(need, ReportProgress):
                return need.parts
            try:
                answer = await self._meet(need)
            except TransportFailure as failure:
                running.fail(failure)
            else:
                running.resume(answer)
        return ()

    async def aclose(self) -> None:
        """End the exchange where it stands, and its connection with it if it is not read empty."""
        self._running.close()
        self._pass_turn()
        try:
            await self._close_answer()
        finally:
            self._interruption.close()

    def _pass_turn(self) -> None:
        # Another task may close what is not done: this one passes it on when it comes to its end.
        if self._turn is not None and not self._is_asking:
            self._turn.release()
            self._turn = None

    async def _ask(self, need: AskForAccessToken) -> object:
        self._is_asking = True
        try:
            with anyio.move_on_after(need.timeout):
                return wrap(await completed(need.call()))
        except Exception as error:
            need.failed(error)
            raise
        finally:
            self._is_asking = False
        raise TransportFailure("timeout", "the function was not done")

    async def _close_answer(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            await answer.aclose()

    def _meet(self, need: Need[Any]) -> Awaitable[object]:
        meeting = self._met(need)
        if self._interruption.has_token and isinstance(need, self.waits):
            return self._interruption.during(meeting)
        return meeting

    async def _met(self, need: Need[Any]) -> object:
        match need:
            case ReadChunk(read_timeout):
                if self._answer is None:  # another task has closed it
                    raise TransportFailure("connection", CLOSED)
                return await self._answer.read(read_timeout)
            case SendRequest():
                await self._close_answer()
                response, secrets = await self._transport.send(need)
                self._answer = _Body(response, (*need.request.secrets, *secrets))
                # httpx2's own `reason_phrase` drops what is not ASCII.
                reason = response.extensions.get("reason_phrase", b"").decode("latin-1")
                head = ResponseHead(response.status_code, reason, response.headers, secrets)
                if self._is_logged:
                    log.debug("%r", head)
                return head
            case Sleep(seconds):
                await anyio.sleep(seconds)
                return None
            case ObeyToken(token):
                self._interruption.obey(token)
                return None
            case LoadMessage(message_id):
                try:
                    return await self._store.get(message_id)
                except Exception as error:  # noqa: BLE001 - it may become the cause of another
                    need.refused(error)
            case LoadThread(message_id, limit):
                return await self._store.path(message_id, limit)
            case LoadConversation(conversation_id):
                known = conversation_method(self._store)
                return None if known is None else await completed(known(conversation_id))
            case LoadReplies(message_id):
                return await completed(replies_method(self._store)(message_id))
            case SaveMessages(messages):
                try:
                    await self._store.save(messages)
                except Exception as error:  # noqa: BLE001 - it becomes the cause of another
                    return need.refused(error)
                return ()
            case LoadTokenizer(encoding):
                return await to_thread.run_sync(load_tokenizer, encoding, abandon_on_cancel=True)
            case ReportEvent():
                await completed(need.call())
                return None
            case AskForAccessToken():
                return await self._ask(need)
            case TakeTurn(timeout):
                self._turn = await self._transport.take_turn(timeout)
                return None
            case PassTurn():
                self._pass_turn()
                return None
            case _:
                raise TypeError(f"This shell cannot meet {need!r}.")
