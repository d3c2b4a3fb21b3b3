"""Sending with retries, within limits; reading an answer that is one document.

Every flow sends through here, so that what is tried again, how long it may take and what an error
says are decided once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from chatgpt.core.answers import AnswerDecoder
from chatgpt.core.cancelling import CancelToken
from chatgpt.core.error_bodies import (
    LONGEST_BODY,
    described_by,
    is_error,
    not_understood,
    status_error,
    stream_error,
)
from chatgpt.core.errors import (
    APIConnectionError,
    ChatGPTError,
    ConfigurationError,
    StreamInterruptedError,
)
from chatgpt.core.limits import Limits
from chatgpt.core.needs import (
    Exchange,
    HttpRequest,
    ObeyToken,
    ReadChunk,
    ResponseHead,
    SendRequest,
    Sleep,
    Surroundings,
    TransportFailure,
)
from chatgpt.core.retry import RetryPolicy, is_final, refill_seconds, retry_after
from chatgpt.core.secrets import Redactor, Secret, SecretMask, shows_secret, tokens_in
from chatgpt.core.validation import encode_json, is_loopback

ERROR_BODY_SECONDS: Final = 5.0
"""How long the body of an error is worth waiting for, as a whole."""
MOST_STALE: Final = 64
"""How many connections may have been closed while they were idle; a client keeps fewer."""
MASK_MARGIN: Final = 4096
"""Bytes that are read beyond what is shown: a secret at the cut must be whole to be masked."""


COMPRESSIONS: Final = "gzip, deflate"
"""What both transports can decompress, whatever else is installed."""


def get(
    url: str, headers: Mapping[str, str | Secret], other_secrets: Sequence[Secret] = ()
) -> HttpRequest:
    """Make a request that asks for something."""
    headers = {"accept-encoding": COMPRESSIONS, **headers}
    return HttpRequest("GET", url, headers, b"", is_loopback(url), other_secrets)


def json_request(
    method: Literal["POST", "PATCH"],
    url: str,
    headers: Mapping[str, str | Secret],
    body: Mapping[str, object],
    other_secrets: Sequence[Secret] = (),
) -> HttpRequest:
    """Make a request that sends JSON."""
    headers = {"accept-encoding": COMPRESSIONS, **headers}
    return HttpRequest(method, url, headers, encode_json(body), is_loopback(url), other_secrets)


def obey(token: CancelToken | None, limits: Limits) -> Exchange[None]:
    """Let the call be stopped by a token from now on; `None` for none.

    Raises:
        AbortedError: it is cancelled already.
    """
    if token is None:
        return
    limits.token = token
    yield from ObeyToken(token)
    limits.check_token()


def send_with_retries(
    request: HttpRequest,
    *,
    limits: Limits,
    policy: RetryPolicy,
    surroundings: Surroundings,
    redact: SecretMask,
) -> Exchange[ResponseHead]:
    """Send a request until it is answered with a success; its body is still to be read.

    Raises:
        APIStatusError: the answer is no success, and trying again is over or useless.
        APIConnectionError: there was no answer.
        APITimeoutError: a limit passed.
        AbortedError: the caller's token was cancelled.
        ConfigurationError: a setting makes it useless to try.
    """
    retries = stale = 0
    while True:
        was_sent, refill = True, 0.0
        try:
            head = yield from SendRequest(
                request, limits.connect_timeout(), limits.read_timeout(), limits.remaining
            )
            limits.progress()
            redact.also(head.secrets)
            if 200 <= head.status < 300:
                return head
            text = yield from _read_error_body(limits)
            redact.also(tokens_in(text))
            error: ChatGPTError = status_error(head, text, redact)
            seconds = retry_after(head.headers, surroundings.now())
            if seconds is not None:  # what the headers say comes before what the body says
                error.retry_after = seconds
            error.is_final = is_final(error, head.headers)
            refill = refill_seconds(head.headers)
        except TransportFailure as failure:
            is_stale = failure.kind == "connection" and failure.on_used_connection
            if is_stale and policy.repeats_sent and stale < MOST_STALE:
                stale += 1
                continue
            redact.also(failure.secrets)
            error = _connection_error(failure, request, limits, redact)
            error.is_final = is_final(error, {})
            was_sent = failure.kind not in ("connect_timeout", "unreached")
        delay = policy.delay(
            retries, error, chance=surroundings.chance(), was_sent=was_sent, refill=refill
        )
        if delay is None or delay >= limits.remaining:
            raise error
        yield from _sleep(delay, limits, error)
        retries += 1


def _sleep(seconds: float, limits: Limits, error: ChatGPTError) -> Exchange[None]:
    try:
        yield from Sleep(seconds)
    except TransportFailure as failure:
        raise limits.end_of_wait(failure) from error


def _connection_error(
    failure: TransportFailure, request: HttpRequest, limits: Limits, redact: Redactor
) -> ChatGPTError:
    error = limits.ended_by(failure)
    if error is None and failure.kind == "unusable":
        error = ConfigurationError(f"The request cannot be sent: {redact(failure.reason)}")
    elif error is None:
        where = request.url.partition("?")[0]
        error = APIConnectionError(f"No answer from {where}: {redact(failure.reason)}")
    error.__cause__ = _safe_cause(failure, redact)
    return error


def _safe_cause(failure: TransportFailure, redact: Redactor) -> BaseException | None:
    return None if shows_secret(failure.cause, redact) else failure.cause


def read_chunk(limits: Limits, redact: Redactor) -> Exchange[bytes]:
    """Read some bytes of an answer that has begun; `b""` at its end.

    Raises:
        APITimeoutError: a limit passed.
        AbortedError: the caller's token was cancelled.
        StreamInterruptedError: the connection was lost.
    """
    try:
        return (yield from ReadChunk(limits.read_timeout()))
    except TransportFailure as failure:
        cause = _safe_cause(failure, redact)
        lost = f"The connection was lost within the answer: {redact(failure.reason)}"
        raise limits.ended_by(failure) or StreamInterruptedError(lost) from cause
    finally:
        limits.has_waited()


def read_document(
    head: ResponseHead, limits: Limits, redact: SecretMask
) -> Exchange[dict[str, Any]]:
    """Read an answer that is one JSON object.

    Raises:
        StreamError: the object is an error.
        StreamInterruptedError: the answer was cut.
        InvalidResponseError: it is no JSON object.
        APITimeoutError: a limit passed.
    """
    try:
        text = yield from read_text(limits, redact)
        return _document(text, redact)
    except ChatGPTError as error:
        described_by(head, error, redact)
        raise


def read_text(limits: Limits, redact: SecretMask) -> Exchange[str]:
    """Read an answer that is one document, as text.

    Raises:
        StreamInterruptedError: the answer was cut.
        InvalidResponseError: it is too large.
        APITimeoutError: a limit passed.
    """
    decoder = AnswerDecoder()
    while chunk := (yield from read_chunk(limits, redact)):
        limits.progress()
        decoder.feed(chunk)
    text = "".join(event.data for event in decoder.end())
    redact.also(tokens_in(text))
    return text


def _document(text: str, redact: Redactor) -> dict[str, Any]:
    try:
        answer: object = json.loads(text)
    except (ValueError, RecursionError):
        raise not_understood(text, redact, "The answer is not JSON") from None
    if is_error(answer, is_whole=True):
        raise stream_error(text, redact, partial="")
    if not isinstance(answer, dict):
        raise not_understood(text, redact, "The answer is no JSON object")
    return answer


def _read_error_body(limits: Limits) -> Exchange[str]:
    """Read the body of an error as far as it comes within bounds; what is missing is no matter."""
    body = bytearray()
    rest = max(limits.remaining - ERROR_BODY_SECONDS, 0.0)
    while len(body) < LONGEST_BODY + MASK_MARGIN:
        seconds = limits.remaining - rest
        if seconds <= 0:
            break
        try:
            chunk = yield from ReadChunk(seconds)
        except TransportFailure as failure:
            if failure.kind == "aborted":
                raise limits.end_of_wait(failure) from None
            break
        if not chunk:
            break
        body += chunk
    return body.decode("utf-8", "replace")
