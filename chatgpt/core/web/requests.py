"""The requests of the web flow: headers, cookies, tokens; and sending them.

Rules:

1. The token and the cookies are the client's own: a caller's header of the same name does not replace
   them, whereas any other does replace ours. (npm `chatgpt` 3 to 5 did the same.)
2. The cookie of the session goes to the endpoint that gives access tokens alone; Cloudflare's goes
   along everywhere. Neither leaves the two URLs of the client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar

from attrs import frozen

from chatgpt.core.errors import StreamError
from chatgpt.core.limits import Limits
from chatgpt.core.needs import Exchange, HttpRequest, ResponseHead, Surroundings
from chatgpt.core.options import USER_AGENT
from chatgpt.core.retry import RetryPolicy
from chatgpt.core.secrets import (
    ACCESS_TOKEN_VARIABLE,
    CLEARANCE_TOKEN_VARIABLE,
    SESSION_TOKEN_VARIABLE,
    Secret,
    SecretMask,
)
from chatgpt.core.sending import get, json_request, read_document, send_with_retries
from chatgpt.core.web.access import Access, if_refused
from chatgpt.core.web.options import SessionSettings, WebSettings

T = TypeVar("T")

CLEARANCE_COOKIE: Final = "cf_clearance"
SESSION_COOKIE: Final = "__Secure-next-auth.session-token"

Headers = dict[str, str | Secret]


def session_request(settings: SessionSettings) -> HttpRequest:
    """Make the request that asks for the session, and an access token with it."""
    clearance, session = settings.clearance_token, settings.session_token
    headers: Headers = {
        **{
            name: value
            for name, value in settings.headers.items()
            if name not in ("authorization", "content-type")
        },
        "accept": "*/*",
        "cookie": Secret(
            f"{CLEARANCE_COOKIE}={clearance.reveal()}; {SESSION_COOKIE}={session.reveal()}",
            SESSION_TOKEN_VARIABLE,
        ),
    }
    return get(f"{settings.api_base_url}/auth/session", headers, settings.secrets)


@frozen
class WebCall:
    """One call of a client: what all of its requests share.

    Attributes:
        settings: the client's.
        access: its access token.
        surroundings: clock, ids, chance and the like.
        limits: the deadlines of the call.
        redact: masks its secrets.
    """

    settings: WebSettings
    access: Access
    surroundings: Surroundings
    limits: Limits
    redact: SecretMask

    @classmethod
    def begin(
        cls,
        settings: WebSettings,
        access: Access,
        surroundings: Surroundings,
        *,
        timeout: float,
        idle_timeout: float,
    ) -> WebCall:
        """Begin a call.

        Args:
            settings: the client's.
            access: its access token.
            surroundings: clock, ids, chance and the like.
            timeout: seconds for the whole of it.
            idle_timeout: seconds of silence that are borne; `math.inf` where the answer is no stream.
        """
        limits = Limits(
            surroundings.clock,
            total=timeout,
            idle=idle_timeout,
            connect=settings.connect_timeout,
        )
        return cls(settings, access, surroundings, limits, settings.redactor())

    def post_message(
        self, body: Mapping[str, object], read: Callable[[ResponseHead], Exchange[T]]
    ) -> Exchange[T]:
        """Send a message, and read the stream that answers it."""

        def request(token: Secret) -> HttpRequest:
            headers: Headers = {
                # Compression would hold parts back until a block of it is full.
                "accept-encoding": "identity",
                **self._authorized(token),
                "accept": "text/event-stream",
                "content-type": "application/json",
            }
            return json_request(
                "POST", self.settings.conversation_url, headers, body, self.settings.secrets
            )

        return (yield from self._send(request, read, repeats_sent=False))

    def ask(
        self,
        method: Literal["GET", "POST", "PATCH"],
        path: str,
        body: Mapping[str, object] | None = None,
    ) -> Exchange[dict[str, Any]]:
        """Ask an endpoint whose answer is one JSON object."""
        url, secrets = f"{self.settings.backend_api_base_url}{path}", self.settings.secrets

        def request(token: Secret) -> HttpRequest:
            headers: Headers = {**self._authorized(token), "accept": "*/*"}
            if method == "GET":
                return get(url, headers, secrets)
            headers["content-type"] = "application/json"
            return json_request(method, url, headers, body or {}, secrets)

        def read(head: ResponseHead) -> Exchange[dict[str, Any]]:
            try:
                return (yield from read_document(head, self.limits, self.redact))
            except StreamError as error:
                raise if_refused(error) from None

        return (yield from self._send(request, read, repeats_sent=True))

    def _send(
        self,
        request: Callable[[Secret], HttpRequest],
        read: Callable[[ResponseHead], Exchange[T]],
        *,
        repeats_sent: bool,
    ) -> Exchange[T]:
        policy = RetryPolicy(self.settings.max_retries, repeats_sent=repeats_sent)

        def attempt(token: Secret) -> Exchange[T]:
            head = yield from send_with_retries(
                request(token),
                limits=self.limits,
                policy=policy,
                surroundings=self.surroundings,
                redact=self.redact,
            )
            return (yield from read(head))

        return (yield from self.access.use(attempt, self.limits, self.redact))

    def _authorized(self, token: Secret) -> Headers:
        settings = self.settings
        headers: Headers = {
            "user-agent": USER_AGENT,
            **settings.headers,
            "authorization": Secret(f"Bearer {token.reveal()}", ACCESS_TOKEN_VARIABLE),
        }
        if settings.clearance_token is not None:
            headers["cookie"] = Secret(
                f"{CLEARANCE_COOKIE}={settings.clearance_token.reveal()}", CLEARANCE_TOKEN_VARIABLE
            )
        return headers
