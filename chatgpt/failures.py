"""From the exceptions of a network library to a `TransportFailure`, for both twins.

Rules:

1. The innermost exception is the cause: those around it say the same in the names of libraries.
2. What hangs on an exception and holds the headers is dropped: the frames, and the request that some
   libraries attach.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from chatgpt.core.needs import TransportFailure


def transport_failure(
    kind: Literal["connect_timeout", "timeout", "unusable", "connection"], error: BaseException
) -> TransportFailure:
    """Tell the core of an exception.

    Args:
        kind: what it means.
        error: the outermost exception.
    """
    links = [*_chain(without_tracebacks(error))]
    cause = links[-1]
    reason = str(cause) or type(cause).__name__
    if any(type(link).__name__ == "ProxyError" for link in links):  # requests', urllib3's, httpx2's
        reason = f"the proxy failed: {reason}"
    return TransportFailure(kind, reason, cause)


def without_tracebacks(error: BaseException) -> BaseException:
    """Drop the frames and requests of an exception and of all that led to it."""
    for link in [*_chain(error)]:
        link.__traceback__ = None
        for name in ("request", "_request", "response"):
            if hasattr(link, name):
                setattr(link, name, None)
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that led to it, the innermost last."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        link = waiting.pop(0)
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
