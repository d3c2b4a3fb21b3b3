"""The tree of errors.

    ChatGPTError
      ConfigurationError (also ValueError)      a missing or malformed key, contradictory options
      MessageNotFoundError (also LookupError)   the parent is not in the store
      PromptTooLongError (also ValueError)      the new message cannot fit; nothing was sent
      StoreError                                the message store failed; .unsaved_messages
        MessageIdTakenError                     other messages are stored under these ids
      APIConnectionError                        could not reach the server, or lost it
        APITimeoutError (also TimeoutError)     .limit says which: connect, idle, total
      AbortedError                              stopped by the caller
      StreamInterruptedError                    the answer was cut before its end; .partial
      StreamError                               an error inside a 200 answer; .partial
      InvalidResponseError                      a 200 that is neither a reply nor an error
      APIStatusError                            .status_code
        BadRequestError (400)
          ContextLengthError                    the server counts more tokens than fit
          ContentFilterError                    the server's filter refused the prompt
        UnprocessableEntityError (422)
        AuthenticationError (401)
          TokenExpiredError
        PermissionDeniedError (403)
          BlockedByCloudflareError              its page instead of an answer
          UnusualActivityError                  the web flow: the server distrusts this machine
        NotFoundError (404)
        ConflictError (409)
        RequestTooLargeError (413)
        RateLimitError (429)
          QuotaExceededError                    no money left: never tried again
          ConcurrentRequestError                the web flow: one message at a time
        InternalServerError (5xx)
          ServerOverloadedError
      PoolError                                 .type is one of `ChatGPTErrorType`

Rules:

1. Every error has every attribute; what is not known is `None`.
2. Errors are plain classes with keyword arguments that have defaults, so that they pickle.
3. Texts reach an error through `error_bodies` or the `redact` of the call: no secret in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from chatgpt.core.messages import ChatMessage

ChatGPTErrorType: TypeAlias = Literal[
    "unknown",
    "chatgpt:pool:account-on-cooldown",
    "chatgpt:pool:account-not-found",
    "chatgpt:pool:no-accounts",
    "chatgpt:pool:timeout",
    "chatgpt:pool:rate-limit",
    "chatgpt:pool:unavailable",
]
"""The types of a `PoolError`."""

TimeoutLimit: TypeAlias = Literal["connect", "idle", "total"]
"""Which limit was hit: `connect_timeout`, `idle_timeout` or `timeout`."""


class ChatGPTError(Exception):
    """Whatever the SDK raises on its own account.

    Attributes:
        message: one or two sentences, the same as `str(error)`.
        status_code: the HTTP status of the answer.
        status_text: the reason phrase of the answer.
        code: the server's code, always as text (`"context_length_exceeded"`, `"429"`).
        param: the parameter that the server names.
        type: the server's type (`"invalid_request_error"`); on a `PoolError`, one of
            `ChatGPTErrorType`.
        body: what the server wrote: parsed JSON, or at most 64 KiB of text. Secrets are masked.
        request_id: the server's `x-request-id`.
        retry_after: seconds that the server asks to wait.
        partial: the text of the reply as far as it came, where an answer had begun.
        is_final: on an error of sending, whether the same request is not worth sending again, or
            must not be (True), or may well succeed (False).
        account_id: the account of a pool that failed.
    """

    status_code: int | None = None
    status_text: str | None = None
    code: str | None = None
    param: str | None = None
    type: str | None = None
    body: object = None
    request_id: str | None = None
    retry_after: float | None = None
    partial: str | None = None
    is_final: bool | None = None
    account_id: str | None = None

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int | None = None,
        status_text: str | None = None,
        code: str | None = None,
        param: str | None = None,
        type: str | None = None,  # noqa: A002 - the attribute's name is given by the reference
        body: object = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        partial: str | None = None,
        is_final: bool | None = None,
        account_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.status_text = status_text
        self.code = code
        self.param = param
        self.type = type
        self.body = body
        self.request_id = request_id
        self.retry_after = retry_after
        self.partial = partial
        self.is_final = is_final
        self.account_id = account_id

    def __str__(self) -> str:
        return self.message


def without_frames(error: ChatGPTError) -> ChatGPTError:
    """Prepare an error for the caller: the frames of the core hold what the server wrote.

    A server may repeat a key, and an error tracker shows the locals of every frame. So an error of
    the core is raised without its traceback and context; the cause is kept.
    """
    error.__context__ = None
    return error.with_traceback(None)


class ConfigurationError(ChatGPTError, ValueError):
    """A setting is missing, malformed or contradicts another one; nothing was sent."""


class MessageNotFoundError(ChatGPTError, LookupError):
    """`parent_message_id` names a message that the store does not hold; nothing was sent."""


class StoreError(ChatGPTError):
    """The message store could not do its work; the cause says why.

    Attributes:
        unsaved_messages: where a finished reply could not be saved, question and reply: nothing is lost, and
            `store.save(error.unsaved_messages)` tries again. `partial` is the text of the reply.
    """

    unsaved_messages: Sequence[ChatMessage] = ()


class MessageIdTakenError(StoreError):
    """`save` was given messages under whose ids the store holds others; it has saved none.

    A store that is shared raises it (`raise MessageIdTakenError.of([message.id])`); a client then gives its
    message another id, and saves again.

    Attributes:
        message_ids: the ids.
    """

    message_ids: Sequence[str] = ()

    @classmethod
    def of(cls, message_ids: Sequence[str]) -> MessageIdTakenError:
        """Make the error of some ids.

        Args:
            message_ids: those under which other messages are stored.
        """
        shown = ", ".join(map(repr, message_ids[:3])) + (", ..." if len(message_ids) > 3 else "")
        error = cls(f"Other messages are stored under {shown}; nothing was saved.")
        error.message_ids = message_ids
        return error


class PromptTooLongError(ChatGPTError, ValueError):
    """The system message and the new message alone exceed the room for a prompt.

    Attributes:
        tokens: what they take, in tokens.
        limit: the room, in tokens: the window less what is reserved for the reply.
    """

    tokens: int | None = None
    limit: int | None = None


class APIConnectionError(ChatGPTError):
    """The server could not be reached, or the connection was lost before an answer began."""


class APITimeoutError(APIConnectionError, TimeoutError):
    """A deadline passed; `limit` says which one.

    Attributes:
        limit: `"connect"`, `"idle"` or `"total"`.
    """

    limit: TimeoutLimit | None = None


class AbortedError(ChatGPTError):
    """The caller stopped the call."""


class StreamInterruptedError(ChatGPTError):
    """The answer ended before it was complete; `partial` holds the text that came."""


class StreamError(ChatGPTError):
    """The server reported an error inside an answer of status 200; `partial` holds the text."""


class InvalidResponseError(ChatGPTError):
    """An answer of status 200 that is neither a reply nor an error."""


class APIStatusError(ChatGPTError):
    """An answer whose status is not a success."""


class BadRequestError(APIStatusError):
    """400: the server refuses the request as it is."""


class ContextLengthError(BadRequestError):
    """400: prompt and reply exceed the model's window, by the server's count.

    Attributes:
        tokens: what the prompt takes, in tokens, where the server says it.
        limit: the window in tokens, where it says it.
        is_shared: whether prompt and reply share the window.
    """

    tokens: int | None = None
    limit: int | None = None
    is_shared: bool = True


class ContentFilterError(BadRequestError):
    """400: the server's content filter refused the prompt."""


class UnprocessableEntityError(APIStatusError):
    """422: the server does not accept a field of the request."""


class AuthenticationError(APIStatusError):
    """401: the key or token is wrong."""


class TokenExpiredError(AuthenticationError):
    """401: the token was right and has expired."""


class PermissionDeniedError(APIStatusError):
    """403: the account may not do this."""


class BlockedByCloudflareError(PermissionDeniedError):
    """403: Cloudflare's page instead of an answer. `body` does not hold the page.

    In the web flow a new clearance token is needed: it holds for the user agent and the IP address of the
    browser in which it was made, and for a few hours at most.
    """


class UnusualActivityError(PermissionDeniedError):
    """403: ChatGPT's backend suspects this machine or account, and does not answer it."""


class NotFoundError(APIStatusError):
    """404: no such address or model."""


class ConflictError(APIStatusError):
    """409: the server is busy with the same thing."""


class RequestTooLargeError(APIStatusError):
    """413: the request has too many bytes."""


class RateLimitError(APIStatusError):
    """429: too many requests or tokens for the moment."""


class QuotaExceededError(RateLimitError):
    """429: the account's money or quota is used up. Never tried again."""


class ConcurrentRequestError(RateLimitError):
    """429: ChatGPT's backend answers an account one message at a time."""


class InternalServerError(APIStatusError):
    """5xx: the server failed."""


class ServerOverloadedError(InternalServerError):
    """503: the server has more to do than it can."""


class PoolError(ChatGPTError):
    """No account of a pool could answer; `type` is one of `ChatGPTErrorType`."""
