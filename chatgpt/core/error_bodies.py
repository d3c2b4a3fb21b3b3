"""From what a server wrote to a typed error.

Strategy: first find the error in the body, whatever it is wrapped in; then choose the class by the
status, refined by the code and, where servers leave the code out, by the wording.

Shapes met (each server has its own): `{"error": {...}}`, `{"error": "text"}`, a flat object, an
array around one of these (Gemini), `{"detail": text | object | list}` (FastAPI, ChatGPT's
backend), `{"message": text | object | list | JSON in a string}` (Mistral, proxies), HTML, plain
text, nothing.

Rules:

1. Whatever is shown is redacted: a server may repeat the key that it refuses. What the error is, is
   decided before, as a mask must not hide a code; a text is cut after, as half a key has no mask.
2. Any body gives an error; a message is never empty and at most 500 characters long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from attrs import evolve, frozen

from chatgpt.core import errors
from chatgpt.core.context_lengths import context_figures
from chatgpt.core.needs import ResponseHead
from chatgpt.core.secrets import Redactor
from chatgpt.core.surrogates import lenient

_Error = TypeVar("_Error", bound=errors.ChatGPTError)

LONGEST_MESSAGE: Final = 500
NOT_MODIFIED: Final = 304
LONGEST_TIME: Final = 1e9
"""Seconds beyond which a time is nonsense."""
LONGEST_BODY: Final = 64 * 1024
_DEEPEST: Final = 8
_DEEPEST_BODY: Final = 200
"""Levels that any Python can pickle; some read far more than they can write."""

_CLOUDFLARE: Final = re.compile(
    r"just a moment|challenge-error-text|cf-error|cloudflare|unable to load site", re.IGNORECASE
)
_PAGE: Final = re.compile(r"<[!?a-z]", re.IGNORECASE)
_TITLE: Final = re.compile("<title", re.IGNORECASE)
_TITLE_END: Final = re.compile("</title", re.IGNORECASE)
_UNUSUAL: Final = re.compile(r"(?:unusual|suspicious) activity", re.IGNORECASE)
# A text that is no sentence: `{"detail": "invalid_token"}`.
_CODE: Final = re.compile(r"[a-z]+(?:_[a-z]+)+")
_CONCURRENT: Final = re.compile(r"only one message at a time", re.IGNORECASE)
_PERIOD: Final = re.compile(r"\bin (\d+) (second|minute|hour|day)s?\b", re.IGNORECASE)
_SECONDS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_CONTEXT: Final = re.compile(
    r"context[ -]?(?:length|window|size)|exceed_context_size|context_length_exceeded|maximum context"
    r"|exceed\w{0,10} the configured limit of|prompt is too long|exceed context limit"
    r"|maximum (?:model|prompt|sequence) length|maximum number of (?:input )?tokens allowed"
    r"|exceeded model token limit|prompt token count of|maximum allowed token size|input is too long|range of input length"
    r"|reduce the length of the (?:messages|prompt|input)",
    re.IGNORECASE,
)
_NOT_OF_THE_LENGTH: Final = frozenset(
    {"unknown_parameter", "unsupported_parameter", "unsupported_value"}
)
_OF_THE_PROMPT: Final = re.compile(r"$|none$|null$|messages|prompt|input|max_", re.IGNORECASE)
"""Parameters that a server names where the prompt is too long; a tool or a schema that is, is something else."""
_QUOTA_CODES: Final = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    }
)
_BY_STATUS: Final[Mapping[int, type[errors.APIStatusError]]] = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    413: errors.RequestTooLargeError,
    422: errors.UnprocessableEntityError,
    429: errors.RateLimitError,
}


@frozen
class ErrorDetails:
    """What a body says of an error; `None` where it does not say.

    Attributes:
        message: the server's words.
        type: its type of error.
        param: the parameter it names.
        code: its code, as text.
        seconds: after how many seconds it is worth coming back.
        body: the body: parsed JSON, or text.
    """

    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | None = None
    seconds: float | None = None
    body: object = None


def read_error(text: str) -> ErrorDetails:
    """Find the error in a body, or in the data of an event; nothing is redacted yet."""
    try:
        body: object = json.loads(text)
    except (ValueError, RecursionError):
        return ErrorDetails(message=_from_text(text), body=text or None)
    return evolve(_find(body, 0), body=body)


def _redacted(details: ErrorDetails, redact: Redactor) -> ErrorDetails:
    def masked(value: str | None) -> str | None:
        return None if value is None else redact(lenient(value))[:LONGEST_BODY]

    return evolve(
        details,
        message=masked(details.message),
        type=masked(details.type),
        param=masked(details.param),
        code=masked(details.code),
        body=redacted_body(details.body, redact),
    )


def words_of(error: errors.ChatGPTError) -> str:
    """The server's own words in an error, all of them; what was shown of them where they are not known."""
    return _find(error.body, 0).message or error.message


def redacted_body(body: object, redact: Redactor) -> object:
    """A body with the secrets masked in every string of it, valid Unicode; `None` if it is nested too deeply."""

    def masked(value: object, depth: int) -> object:
        if depth > _DEEPEST_BODY:
            raise RecursionError
        match value:
            case str():
                return redact(lenient(value))[:LONGEST_BODY]
            case list():
                return [masked(item, depth + 1) for item in value]
            case dict():
                return {
                    redact(lenient(str(key))): masked(item, depth + 1)
                    for key, item in value.items()
                }
            case _:
                return value

    try:
        return masked(body, 0)
    except RecursionError:
        return None


def is_error(answer: object, *, is_whole: bool) -> bool:
    """Whether a JSON value inside an answer of status 200 is an error.

    Args:
        answer: the value.
        is_whole: whether it is the whole answer: then a text is an error, too.
    """
    if isinstance(answer, list):
        return any(isinstance(item, dict) and is_error(item, is_whole=is_whole) for item in answer)
    if not isinstance(answer, dict):
        return is_whole and isinstance(answer, str) and bool(answer.strip())
    if answer.get("error"):
        return True
    if "choices" in answer:
        return False
    return (
        answer.get("type") == "error"
        or answer.get("object") in ("error", "Error")
        or bool(answer.get("detail"))
        or bool(answer.get("message"))
    )


def status_error(head: ResponseHead, text: str, redact: Redactor) -> errors.APIStatusError:
    """Make the error for an answer that is not a success.

    Args:
        head: its status and headers.
        text: its body, as far as it was read.
        redact: masks the secrets of the call.
    """
    details = read_error(text)
    kind = _class_of(head.status, details, text)
    details = _redacted(details, redact)
    phrase = _shortened(f"{head.status} {redact(head.reason)}".strip())
    message = details.message or (details.code and f"code {details.code}")
    if 300 <= head.status < 400 and head.status != NOT_MODIFIED:
        message = "the server redirects; redirects are not followed, as keys and tokens stay here"
    if kind is errors.BlockedByCloudflareError:
        message = f"Cloudflare asks for a browser ({message})"
        details = evolve(details, body=None)
    error = kind(f"{phrase}: {_shortened(message)}" if message else f"{phrase}, without a reason")
    if kind is not errors.QuotaExceededError and head.status in (429, 503):
        error.retry_after = _period_in(details) if details.seconds is None else details.seconds
    if isinstance(error, errors.ContextLengthError):
        figures = context_figures(details.message or "", details.body)
        error.tokens, error.limit, error.is_shared = (
            figures.tokens,
            figures.limit,
            figures.is_shared,
        )
    return described_by(head, _described(error, details), redact)


def stream_error(text: str, redact: Redactor, *, partial: str) -> errors.StreamError:
    """Make the error for an error inside an answer of status 200.

    Args:
        text: the event's data, or the document.
        redact: masks the secrets of the call.
        partial: the text of the reply that came before.
    """
    details = _redacted(read_error(text), redact)
    reason = _shortened(details.message or "without a reason")
    error = errors.StreamError(
        f"The server reported an error in its answer: {reason}", partial=partial
    )
    return _described(error, details)


def not_understood(text: str, redact: Redactor, what: str) -> errors.InvalidResponseError:
    """Make the error for an answer of status 200 that is neither a reply nor an error.

    Args:
        text: the answer, or the event's data.
        redact: masks the secrets of the call.
        what: what is wrong with it.
    """
    shown = _shortened(_from_text(redact(text)[:LONGEST_BODY]) or "nothing")
    return errors.InvalidResponseError(f"{what}: {shown}", body=redact(text)[:LONGEST_BODY])


def described_by(head: ResponseHead, error: _Error, redact: Redactor) -> _Error:
    """Tell with an error what is known of the answer that it came from."""
    if error.status_code is None:
        error.status_code, error.status_text = head.status, redact(head.reason)
    request_id = head.headers.get("x-request-id")
    if error.request_id is None and request_id is not None:
        error.request_id = redact(request_id)
    return error


def excerpt(text: str, redact: Redactor) -> str:
    """The beginning of a text of the server, in one line."""
    return _shortened(_from_text(redact(text)[:LONGEST_BODY]))


def _described(error: _Error, details: ErrorDetails) -> _Error:
    error.type, error.param, error.code, error.body = (
        details.type,
        details.param,
        details.code,
        details.body,
    )
    return error


def _class_of(status: int, details: ErrorDetails, text: str) -> type[errors.APIStatusError]:
    message = details.message or ""
    match status:
        case 400 if _is_too_long(details):
            return errors.ContextLengthError
        case 400 if details.code == "content_filter":
            return errors.ContentFilterError
        case 401 if details.code == "token_expired":
            return errors.TokenExpiredError
        case 403 if text.lstrip("\ufeff \t\r\n").startswith("<") and _CLOUDFLARE.search(text):
            return errors.BlockedByCloudflareError
        case 403 if _UNUSUAL.search(message):
            return errors.UnusualActivityError
        case 429 if details.type == "insufficient_quota" or details.code in _QUOTA_CODES:
            return errors.QuotaExceededError
        case 429 if _CONCURRENT.search(message):
            return errors.ConcurrentRequestError
        case 503 if "overloaded" in f"{details.type} {details.code} {message}".lower():
            return errors.ServerOverloadedError
        case _ if status >= 500:
            return errors.InternalServerError
        case _:
            return _BY_STATUS.get(status, errors.APIStatusError)


def _is_too_long(details: ErrorDetails) -> bool:
    """Whether a prompt is too long for the model: by the code, or by the words where no code says otherwise."""
    if details.code == "context_length_exceeded":
        return True
    if details.code in _NOT_OF_THE_LENGTH or not _OF_THE_PROMPT.match(details.param or ""):
        return False
    return _CONTEXT.search(f"{details.type} {details.message}") is not None


def _find(value: object, depth: int) -> ErrorDetails:
    """Look for the error in a parsed body, through its wrappings."""
    if depth > _DEEPEST:
        return ErrorDetails()
    match value:
        case str():
            return _find_in_string(value, depth)
        case list():
            return _find_in_list(value, depth)
        case dict():
            return _find_in_object(value, depth)
        case _:
            return ErrorDetails()


def _find_in_string(value: str, depth: int) -> ErrorDetails:
    if value.lstrip().startswith(("{", "[")):
        try:
            return _find(json.loads(value), depth + 1)
        except (ValueError, RecursionError):
            pass
    code = value if _CODE.fullmatch(value) else None
    return ErrorDetails(message=_from_text(value), code=code)


def _find_in_list(value: list[Any], depth: int) -> ErrorDetails:
    found = [_find(item, depth + 1) for item in value[:16]]
    messages = [details.message for details in found if details.message]
    return evolve(found[0], message="; ".join(messages) or None) if found else ErrorDetails()


def _find_in_object(value: dict[str, Any], depth: int) -> ErrorDetails:
    own = ErrorDetails(
        type=_as_text(value.get("type")),
        param=_as_text(value.get("param")),
        code=_as_text(value.get("code")),
        seconds=_as_seconds(value.get("clears_in")),
    )
    if isinstance(value.get("loc"), list) and isinstance(value.get("msg"), str):  # pydantic's items
        place = ".".join(str(step) for step in value["loc"] if isinstance(step, (str, int)))
        return evolve(own, message=f"{place}: {value['msg']}", param=place)
    metadata = value.get("metadata")
    wrapped = [value.get(wrapping) for wrapping in ("error", "detail", "message", "choices")]
    if isinstance(metadata, dict):  # OpenRouter says what the provider said, and little itself
        wrapped.insert(0, metadata.get("raw"))
    found = [_find(item, depth + 1) for item in wrapped]
    # The first that says something; a code alone is better than nothing.
    inner = next(
        (details for details in found if details.message),
        next((details for details in found if details.code), ErrorDetails()),
    )
    return ErrorDetails(
        message=inner.message,
        type=inner.type or own.type,
        param=inner.param or own.param,
        code=inner.code or own.code,
        seconds=own.seconds if inner.seconds is None else inner.seconds,
    )


def _as_text(value: object) -> str | None:
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def _as_seconds(value: object) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value < LONGEST_TIME else None


def _period_in(details: ErrorDetails) -> float | None:
    """A time that ChatGPT's backend tells in words (`Too many requests in 1 hour.`)."""
    if not isinstance(details.body, dict) or "detail" not in details.body:
        return None
    found = _PERIOD.search(details.message or "")
    return int(found[1][:9]) * _SECONDS[found[2].lower()] if found else None


def _from_text(text: str) -> str | None:
    """A body that is no JSON, in one line: the title of a page, or the text itself."""
    text = lenient(text).strip("\ufeff \t\r\n")
    if _PAGE.match(text):
        title = _title_of(text)
        return f"a page of HTML, {title!r}" if title else "a page of HTML"
    return " ".join(text.split()) or None


def _title_of(page: str) -> str:
    """The title of a page. Searched step by step: a pattern could be made to take for ever."""
    opened = _TITLE.search(page)
    begin = page.find(">", opened.start()) + 1 if opened is not None else 0
    closed = _TITLE_END.search(page, begin) if begin else None
    return page[begin : closed.start()].strip() if closed is not None else ""


def _shortened(message: str | None) -> str:
    message = message or ""
    return message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 3] + "..."
