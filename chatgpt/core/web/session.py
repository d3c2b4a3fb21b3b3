"""The session of `ChatGPTSessionAPI`: a cookie that gives access tokens.

`GET {api}/auth/session` answers with the user and an access token, as long as the session lives.

Rules:

1. A session that is over answers 200: with `{}`, `null`, no token, or an `error`. That is a typed
   error (`AuthenticationError`, `TokenExpiredError`), whose `body` shows no token.
2. Who is signed in stays known when the session is closed here, as in npm `chatgpt` 3; not when the
   server says that it is over.
"""

from __future__ import annotations

import json
from typing import Any, Final, cast

from chatgpt.core.error_bodies import (
    described_by,
    not_understood,
    redacted_body,
    stream_error,
)
from chatgpt.core.errors import (
    AuthenticationError,
    ChatGPTError,
    InvalidResponseError,
    TokenExpiredError,
)
from chatgpt.core.limits import Limits
from chatgpt.core.needs import Exchange, Surroundings
from chatgpt.core.retry import RetryPolicy
from chatgpt.core.secrets import Redactor, Secret, SecretMask
from chatgpt.core.sending import read_text, send_with_retries
from chatgpt.core.surrogates import lenient
from chatgpt.core.validation import is_visible_ascii
from chatgpt.core.web.access import Access
from chatgpt.core.web.options import SessionSettings
from chatgpt.core.web.requests import session_request
from chatgpt.core.wire.web import User

SESSION_IS_OVER: Final = "RefreshAccessTokenError"


class SessionAccess(Access):
    """The access token of a session.

    Args:
        settings: the client's.
        surroundings: clock, chance and the like.

    Attributes:
        user: who is signed in, once the server has said so.
    """

    def __init__(self, settings: SessionSettings, surroundings: Surroundings) -> None:
        super().__init__(surroundings, settings.access_token_ttl)
        self._settings = settings
        self.user: User | None = None
        self.keep(settings.access_token)

    def _fetch(self, limits: Limits, redact: SecretMask) -> Exchange[Secret]:
        try:
            session = yield from self._read_session(limits, redact)
        except AuthenticationError:
            self.user = None
            raise
        user = session.get("user")
        if isinstance(user, dict):
            self.user = cast("User", user)
        return Secret(session["accessToken"])

    def _read_session(self, limits: Limits, redact: SecretMask) -> Exchange[dict[str, Any]]:
        head = yield from send_with_retries(
            session_request(self._settings),
            limits=limits,
            policy=RetryPolicy(self._settings.max_retries),
            surroundings=self._surroundings,
            redact=redact,
        )
        try:
            text = yield from read_text(limits, redact)
            session = _session_in(text, redact)
            token = Secret(session["accessToken"])
            redact.also([token])
            if not is_visible_ascii(token):
                raise InvalidResponseError("The session's access token is not visible ASCII.")
        except ChatGPTError as error:
            described_by(head, error, redact)
            raise
        return session


def _session_in(text: str, redact: Redactor) -> dict[str, Any]:
    """The session that a server wrote, with an access token in it.

    Raises:
        TokenExpiredError: the session is over.
        AuthenticationError: nobody is signed in.
        StreamError, InvalidResponseError: it is something else.
    """
    try:
        session: object = json.loads(text.strip() or "null")
    except (ValueError, RecursionError):
        raise not_understood(text, redact, "The session is not JSON") from None
    if session is None:
        session = {}
    if not isinstance(session, dict):
        raise not_understood(text, redact, "The session is no JSON object")
    problem = session.get("error")
    if problem == SESSION_IS_OVER:
        raise TokenExpiredError(
            "The session is over: get a new session_token from a browser that is signed in.",
            code=SESSION_IS_OVER,
            body=redacted_body(_anonymous(session), redact),
        )
    if session.get("detail") or isinstance(problem, dict):
        raise stream_error(text, redact, partial="")
    token = session.get("accessToken")
    if problem or not token or not isinstance(token, str):
        told = f" ({redact(lenient(problem))[:200]})" if isinstance(problem, str) else ""
        raise AuthenticationError(
            f"Nobody is signed in{told}: session_token is wrong, or was signed out.",
            body=redacted_body(_anonymous(session), redact),
        )
    return session


def _anonymous(session: dict[str, Any]) -> dict[str, Any]:
    """What an error may show of a session: not whose it is."""
    return {name: value for name, value in session.items() if name != "user"}
