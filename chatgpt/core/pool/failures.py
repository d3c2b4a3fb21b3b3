"""What an error says of the account that it came from.

Rules, those of npm `chatgpt`'s pool where it has them:

1. Cooled down is for 3 times the pool's cooldown, or what the server asks for if that is longer, after a rate
   limit; 2 times where the server failed or was not reached; 5 times after everything else that is the account's
   fault, a refused key or token among it. With a cooldown of 0 there is none.
2. A quota that is used up takes the account out of service, and so does a status of 402 (payment required, as
   DeepSeek and OpenRouter answer).
3. The call's own end says nothing of the account: its deadline, its token, and what the server, or the SDK, finds
   wrong with the request, be it in an answer of status 200. Such an error goes to the caller as it is.
4. What is wrong with an account may be tried with every other one. What may be the request's own fault (a server
   that fails, an answer that makes no sense) is tried so often only as the client repeats a request: one message
   must not wear out a whole pool.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from attrs import frozen

from chatgpt.core.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ChatGPTError,
    ChatGPTErrorType,
    InternalServerError,
    InvalidResponseError,
    PermissionDeniedError,
    PoolError,
    QuotaExceededError,
    RateLimitError,
    StreamError,
    StreamInterruptedError,
    without_frames,
)

RATE_LIMIT: Final[ChatGPTErrorType] = "chatgpt:pool:rate-limit"
UNAVAILABLE: Final[ChatGPTErrorType] = "chatgpt:pool:unavailable"
TIMEOUT: Final[ChatGPTErrorType] = "chatgpt:pool:timeout"
ON_COOLDOWN: Final[ChatGPTErrorType] = "chatgpt:pool:account-on-cooldown"
NOT_FOUND: Final[ChatGPTErrorType] = "chatgpt:pool:account-not-found"
NO_ACCOUNTS: Final[ChatGPTErrorType] = "chatgpt:pool:no-accounts"
UNKNOWN: Final[ChatGPTErrorType] = "unknown"

COOLDOWN_FACTORS: Final = {RATE_LIMIT: 3.0, UNAVAILABLE: 2.0, UNKNOWN: 5.0}
"""How many times the pool's cooldown an account rests, by the type of its error."""

LONGEST_REST: Final = 24 * 3600.0
"""Seconds beyond which what a server asks for is nonsense."""

LONGEST_COOLDOWN: Final = 365 * LONGEST_REST

PAYMENT_REQUIRED: Final = 402
RETRIED_STATUSES: Final = frozenset({408, 409})
"""Statuses that are no server's failure by their numbers, and are treated as one; see `core.retry`."""

LIMIT_WORDS: Final = ("rate_limit", "too_many_requests", "429")
OVERLOAD_WORDS: Final = (
    "server_error",
    "overloaded",
    "unavailable",
    "timeout",
    "500",
    "502",
    "503",
    "504",
    "529",
)
QUOTA_WORDS: Final = ("quota", "credit_balance", "spend_limit", "usage_limit")
REQUEST_WORDS: Final = (
    "invalid_request",
    "context_length",
    "content_filter",
    "content_policy",
    "moderation",
    "400",
    "413",
    "422",
)
TOKEN_WORDS: Final = ("token_", "_token", "jwt", "api_key", "401", "403")
"""How servers name their failures in an answer of status 200."""


@frozen
class Verdict:
    """What an account has to do with an error.

    Attributes:
        type: what the error is, in the reference's words.
        cooldown: the seconds for which the account rests.
        is_out: whether it is out of service.
        blames: who may be at fault: the account alone, perhaps the request, or only the call's own deadline.
    """

    type: ChatGPTErrorType
    cooldown: float = 0.0
    is_out: bool = False
    blames: Literal["account", "request", "deadline"] = "account"


def verdict_of(error: ChatGPTError, cooldown: float) -> Verdict | None:
    """Say what an account has to do with an error.

    Args:
        error: what a call of it ended with.
        cooldown: the pool's, in seconds.

    Returns:
        `None` where it has nothing to do with it.
    """
    is_unpaid = error.status_code == PAYMENT_REQUIRED
    if is_unpaid or isinstance(error, QuotaExceededError) or _is_named(error, QUOTA_WORDS):
        return Verdict(RATE_LIMIT, is_out=True)
    if isinstance(error, RateLimitError) or _is_named(error, LIMIT_WORDS):
        seconds = _rest(RATE_LIMIT, cooldown)
        asked = min(error.retry_after or 0.0, LONGEST_REST)
        return Verdict(RATE_LIMIT, max(seconds, asked) if cooldown else 0.0)
    if isinstance(error, APITimeoutError) and error.limit == "total":
        return Verdict(TIMEOUT, blames="deadline")
    if isinstance(error, (AuthenticationError, PermissionDeniedError)):
        return Verdict(UNKNOWN, _rest(UNKNOWN, cooldown))
    if _is_failure_of_server(error):
        return Verdict(UNAVAILABLE, _rest(UNAVAILABLE, cooldown), blames="request")
    if _is_named(error, REQUEST_WORDS) and not _is_named(error, TOKEN_WORDS):
        return None
    if isinstance(error, (StreamError, InvalidResponseError)) or _is_unknown_status(error):
        return Verdict(UNKNOWN, _rest(UNKNOWN, cooldown), blames="request")
    return None


def refused_login(cooldown: float) -> Verdict:
    """What an account has to do with a login that fails by an error of the caller's own."""
    return Verdict(UNKNOWN, _rest(UNKNOWN, cooldown))


def _rest(kind: ChatGPTErrorType, cooldown: float) -> float:
    return min(COOLDOWN_FACTORS[kind] * cooldown, LONGEST_COOLDOWN)


def _is_failure_of_server(error: ChatGPTError) -> bool:
    return (
        isinstance(error, (InternalServerError, APIConnectionError, StreamInterruptedError))
        or error.status_code in RETRIED_STATUSES
        or _is_named(error, OVERLOAD_WORDS)
    )


def _is_unknown_status(error: ChatGPTError) -> bool:
    """Whether it is a status that says nothing of the request: a redirect, something new."""
    status = error.status_code
    return isinstance(error, APIStatusError) and (status is None or not 400 <= status < 500)


def _is_named(error: ChatGPTError, words: tuple[str, ...]) -> bool:
    """Whether an error within an answer is one of these, by its code and its type."""
    names = f"{error.code} {error.type}".lower()
    return isinstance(error, StreamError) and any(word in names for word in words)


def pool_error(error: ChatGPTError, verdict: Verdict, account_id: str) -> PoolError:
    """Make the error of a pool of that of an account, which becomes its cause.

    Args:
        error: what the call ended with.
        verdict: what the account has to do with it.
        account_id: the account.
    """
    return refusal(
        verdict.type,
        f"The account {account_id!r} failed: {error.message}",
        account_id=account_id,
        is_final=verdict.is_out or bool(error.is_final),
        cause=error,
    )


def unknown_account(account_id: str, known: Iterable[str]) -> PoolError:
    """Make the error of an account that the pool does not have."""
    names = ", ".join(map(repr, known)) or "none"
    message = f"The pool has no account {account_id!r}. It has {names}."
    return refusal(NOT_FOUND, message, account_id=account_id, is_final=True)


def refusal(
    kind: ChatGPTErrorType,
    message: str,
    *,
    account_id: str | None = None,
    is_final: bool = False,
    retry_after: float | None = None,
    cause: BaseException | None = None,
) -> PoolError:
    """Make the error of a call that no account answers.

    Args:
        kind: its type.
        message: what happened.
        account_id: the account that it is about, where it is about one.
        is_final: whether it is not worth asking again.
        retry_after: the seconds after which it is.
        cause: the error that it follows from; what that one knows of the answer is taken over.
    """
    error = PoolError(message, type=kind, account_id=account_id, is_final=is_final)
    if isinstance(cause, ChatGPTError):
        without_frames(cause)
        for name in (
            "status_code",
            "status_text",
            "code",
            "param",
            "body",
            "request_id",
            "partial",
        ):
            setattr(error, name, getattr(cause, name))
        retry_after = cause.retry_after if retry_after is None else retry_after
    error.retry_after = retry_after
    error.__cause__ = cause
    return error
