"""From the exceptions of a network library to a `TransportFailure`, for both twins.

Strategy: a shell says which kind of failure its library's exception is; what is said of it is the
same in both twins, whatever words a library has: those of the operating system, of TLS or of zlib
where they are the reason, else one of the sentences below.

Rules:

1. The innermost exception is the cause: those around it say the same in the names of libraries.
2. What hangs on an exception and holds the headers is dropped: the frames, and the request that some
   libraries attach.
3. An exception of the caller's, which he was handling when he called, is none of ours: Python hangs it
   on everything that is raised meanwhile, and there it is taken off.
"""

from __future__ import annotations

import os
import socket
import ssl
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from chatgpt.core.errors import ChatGPTError
from chatgpt.core.needs import FailureKind, TransportFailure
from chatgpt.core.secrets import Secret

ResponseT = TypeVar("ResponseT")

CLOSED: Final = "the server closed the connection too early"
MALFORMED: Final = "what the server sent is not HTTP"
OF_PARENT: Final = "the stream belongs to the process that this one was forked from"
NO_TURN: Final = "another call of the client had the turn"

HTTP_LIBRARIES: Final = frozenset({"aiohttp", "httpx", "httpx2", "niquests", "requests"})
"""Those whose sessions look alike and are easily mixed up."""


def transport_failure(
    kind: FailureKind, error: BaseException, otherwise: str | None = None, *, of_proxy: bool = False
) -> TransportFailure:
    """Tell the core of an exception.

    Args:
        kind: what it means.
        error: the outermost exception, without tracebacks.
        otherwise: what happened, where neither the system nor TLS nor zlib says it.
        of_proxy: whether it was a proxy that failed.
    """
    links = [*links_of(error)]
    if any(isinstance(link, ssl.SSLError) and link.library == "X509" for link in links):
        kind = "unusable"  # the certificates that are to be trusted are none
    reason = _reason(links) or otherwise or (MALFORMED if kind == "malformed" else CLOSED)
    if of_proxy:
        reason = f"the proxy failed: {reason}"
    return TransportFailure(kind, reason, links[-1])


def answer_of(
    outcome: object,
    kind: type[ResponseT],
    network_errors: tuple[type[BaseException], ...],
    failure_of: Callable[[BaseException], TransportFailure],
    *,
    others: tuple[type[BaseException], ...] = (),
    secrets: Sequence[Secret] = (),
) -> ResponseT:
    """Return the answer that an attempt to send brought, or raise why there is none.

    Args:
        outcome: what the session returned or raised.
        kind: the library's class of answers.
        network_errors: what the library raises when the network fails.
        failure_of: makes a failure of one of them.
        others: those among them that are the caller's own.
        secrets: those of the route, which a failure may repeat.

    Raises:
        TransportFailure: the network failed.
        TypeError: the session returned something else.
    """
    if isinstance(outcome, kind):
        return outcome
    passed_on = (ChatGPTError, TransportFailure, *others)
    if isinstance(outcome, network_errors) and not isinstance(outcome, passed_on):
        failure = failure_of(outcome)
        failure.secrets = secrets
        raise failure
    if isinstance(outcome, BaseException):
        raise outcome
    name = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    raise TypeError(f"session must return a {name}, not {type(outcome).__name__}.")


def check_session(session: object, library: str, kind: str, *methods: str) -> None:
    """Check that a session of the caller offers what a transport asks of it.

    Args:
        session: the session, or `None`.
        library: whose it should be, if it is that of a library.
        kind: the name of the library's class.
        methods: what is called.

    Raises:
        TypeError: it does not.
    """
    article = "an" if library.startswith("h") else "a"
    wanted = f"session must be {article} {library}.{kind}"
    if isinstance(session, type):
        raise TypeError(f"{wanted}: make one of the class {session.__name__}.")
    if session is None:
        return
    origins = {base.__module__.partition(".")[0] for base in type(session).__mro__}
    other = (origins & HTTP_LIBRARIES) - {library}
    if other or not all(callable(getattr(session, name, None)) for name in methods):
        name = ".".join([*sorted(other)[:1], type(session).__name__])
        raise TypeError(f"{wanted}, not {name}.")


def without_tracebacks(error: BaseException, handled: BaseException | None) -> BaseException:
    """Drop the frames and requests of an exception and of all that led to it.

    Args:
        error: the outermost exception.
        handled: what the caller was handling when the work began (`sys.exception()`); it is taken
            off, and stays as it is.
    """
    for link in links_of(error, hidden=True):
        if link.__context__ is handled:
            link.__context__ = None
        link.__traceback__ = None
        for name in ("request", "_request", "response"):
            if name in vars(link):
                setattr(link, name, None)
    return error


def _reason(links: Sequence[BaseException]) -> str | None:
    """What the system, TLS or zlib says, the innermost of them."""
    for link in reversed(links):
        if isinstance(link, (socket.gaierror, ssl.SSLError, zlib.error)):
            return str(link)
        if isinstance(link, OSError) and link.errno is not None:
            # Its own text is not the same everywhere: asyncio writes "Connect call failed (...)".
            return f"[Errno {link.errno}] {os.strerror(link.errno)}"
    return None


def links_of(error: BaseException, *, hidden: bool = False) -> Iterator[BaseException]:
    """An exception and all that led to it, the innermost last.

    Args:
        error: the outermost exception.
        hidden: whether what a library hid with `raise ... from None` counts, too.
    """
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        link = waiting.pop(0)
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [link.__cause__, getattr(link, "reason", None), *link.args]
            if hidden or not link.__suppress_context__:
                waiting.append(link.__context__)
            if isinstance(link, BaseExceptionGroup):  # one for each address of a server
                waiting += link.exceptions
