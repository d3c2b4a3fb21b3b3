"""Sending with retries, within limits; reading an answer that is one document.

Every flow sends through here, so that what is tried again, how long it may take and what an error
says are decided once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from chatgpt.core.answers import AnswerDecoder
from chatgpt.core.error_bodies import excerpt, is_error, status_error, stream_error
from chatgpt.core.errors import (
    APIConnectionError,
    ChatGPTError,
    ConfigurationError,
    InvalidResponseError,
    StreamInterruptedError,
)
from chatgpt.core.limits import Limits
from chatgpt.core.needs import (
    Exchange,
    HttpRequest,
    ReadChunk,
    ResponseHead,
    SendRequest,
    Sleep,
    Surroundings,
    TransportFailure,
)
from chatgpt.core.options import encode_json, is_loopback
from chatgpt.core.retry import RetryPolicy, retry_after
from chatgpt.core.secrets import Redactor, Secret

LARGEST_ERROR_BODY: Final = 64 * 1024
ERROR_BODY_SECONDS: Final = 5.0


def post(url: str, headers: Mapping[str, str | Secret], body: Mapping[str, object]) -> HttpRequest:
    """Make a request that posts JSON."""
    return HttpRequest("POST", url, headers, encode_json(body), is_local=is_loopback(url))


def send_with_retries(
    request: HttpRequest,
    *,
    limits: Limits,
    policy: RetryPolicy,
    surroundings: Surroundings,
    redact: Redactor,
) -> Exchange[ResponseHead]:
    """Send a request until it is answered with a success; its body is still to be read.

    Raises:
        APIStatusError: the answer is no success, and trying again is over or useless.
        APIConnectionError: there was no answer.
        APITimeoutError: a limit passed.
    """
    for retries in count():
        headers: Mapping[str, str] = {}
        try:
            head = yield from SendRequest(request, limits.connect_timeout(), limits.read_timeout())
            if 200 <= head.status < 300:
                return head
            headers = head.headers
            error: ChatGPTError = status_error(head, (yield from _read_error_body(limits)), redact)
            error.retry_after = retry_after(headers, surroundings.now())
        except TransportFailure as failure:
            error = _connection_error(failure, request, limits, redact)
        delay = policy.delay(retries, error, headers, chance=surroundings.chance())
        if delay is None or delay >= limits.remaining:
            raise error
        yield from Sleep(delay)
        limits.progress()
    raise AssertionError("unreachable: count() does not end")


def _connection_error(
    failure: TransportFailure, request: HttpRequest, limits: Limits, redact: Redactor
) -> APIConnectionError:
    error: APIConnectionError
    match failure.kind:
        case "connect_timeout":
            error = limits.connect_passed()
        case "timeout":
            # The request was sent and may have been answered: asking again might pay twice.
            error = limits.passed()
            error.is_final = True
        case "unusable":
            raise ConfigurationError(f"The request cannot be sent: {redact(failure.reason)}")
        case "connection":
            where = request.url.partition("?")[0]
            error = APIConnectionError(f"No answer from {where}: {redact(failure.reason)}")
    error.__cause__ = failure.cause
    return error


def read_document(head: ResponseHead, limits: Limits, redact: Redactor) -> Exchange[dict[str, Any]]:
    """Read an answer that is one JSON object.

    Raises:
        StreamError: the object is an error.
        StreamInterruptedError: the answer was cut.
        InvalidResponseError: it is no JSON object.
        APITimeoutError: a limit passed.
    """
    decoder = AnswerDecoder()
    chunk = b" "
    while chunk:
        try:
            chunk = yield from ReadChunk(limits.read_timeout())
        except TransportFailure as failure:
            if failure.kind == "timeout":
                raise limits.passed() from failure.cause
            raise StreamInterruptedError(
                f"The connection was lost within the answer: {redact(failure.reason)}",
                status_code=head.status,
                request_id=head.headers.get("x-request-id"),
            ) from failure.cause
        decoder.feed(chunk)
    text = "".join(event.data for event in decoder.end())
    try:
        answer: object = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and not is_error(answer):
        return answer
    if answer is not None:
        raise stream_error(text, redact, partial="", head=head)
    raise InvalidResponseError(
        f"The answer is not JSON: {excerpt(text, redact)}",
        status_code=head.status,
        status_text=head.reason,
        body=redact(text)[:LARGEST_ERROR_BODY],
        request_id=head.headers.get("x-request-id"),
    )


def _read_error_body(limits: Limits) -> Exchange[str]:
    """Read the body of an error as far as it comes within bounds; what is missing is no matter."""
    body = bytearray()
    while len(body) < LARGEST_ERROR_BODY:
        seconds = min(ERROR_BODY_SECONDS, limits.remaining)
        if seconds <= 0:
            break
        try:
            chunk = yield from ReadChunk(seconds)
        except TransportFailure:
            break
        if not chunk:
            break
        body += chunk
    return bytes(body[:LARGEST_ERROR_BODY]).decode("utf-8", "replace")
