"""What the clients of the web flow are in both twins: their settings and their access token.

A twin adds the methods that wait. The constructors stand here, so that both take the same options.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, ClassVar, Generic, TypeVar, Unpack

from chatgpt.base_client import BaseClient
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange
from chatgpt.core.options import (
    DEFAULT_CONNECT_TIMEOUT,
    DEFAULT_IDLE_TIMEOUT,
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT,
)
from chatgpt.core.secrets import (
    ACCESS_TOKEN_VARIABLE,
    CLEARANCE_TOKEN_VARIABLE,
    EMAIL_VARIABLE,
    PASSWORD_VARIABLE,
    PROXY_VARIABLE,
    SESSION_TOKEN_VARIABLE,
    Secret,
    wrap,
    wrap_headers,
    wrap_url,
)
from chatgpt.core.web import send
from chatgpt.core.web.access import Access, GivenAccess
from chatgpt.core.web.options import (
    DEFAULT_ACCESS_TOKEN_TTL,
    ProxySettings,
    SendMessageBrowserOptions,
    SessionSettings,
    WebSettings,
    proxy_settings,
    session_settings,
    web_call_options,
)
from chatgpt.core.web.requests import WebCall
from chatgpt.core.web.session import SessionAccess
from chatgpt.core.wire.web import User
from chatgpt.environment import read_environment
from chatgpt.logs import log_to_stderr
from chatgpt.plain_text import load_plain_text

FetchFnT = TypeVar("FetchFnT")
GetAccessTokenFnT = TypeVar("GetAccessTokenFnT", bound=Callable[..., object])


class BaseWebClient(BaseClient, Generic[FetchFnT]):
    """A client of the web flow, but for what waits."""

    _settings: WebSettings
    _access: Access
    _token_variable: ClassVar[str | None] = None
    """Where an unpickled client finds its access token."""

    @abstractmethod
    def _open(self, session: FetchFnT | None) -> None:
        """Make the transport of the twin, and check that it can call the functions it was given."""

    def _sending(
        self, text: str, *, is_iterated: bool = False, **options: Unpack[SendMessageBrowserOptions]
    ) -> Exchange[ChatMessage]:
        """The exchange that sends a message. Its options are checked now; it begins when stepped."""
        checked = web_call_options(self._settings, text, is_iterated=is_iterated, **options)
        return send.send_message(checked, self._settings, self._access, self._surroundings)

    def _web_call(self) -> WebCall:
        """A call of another endpoint, which begins now."""
        return WebCall.begin(
            self._settings,
            self._access,
            self._surroundings,
            timeout=self._settings.timeout,
            idle_timeout=inf,
        )

    def _renewal(self) -> Exchange[Secret]:
        """The exchange that gets a new access token."""
        call = self._web_call()
        return self._access.new_token(call.limits, call.redact)

    @property
    def access_token(self) -> Secret | None:
        """The access token that is used now; `access_token.reveal()` is its text.

        It can be set at any time, for the calls that begin then.
        """
        return self._access.token

    @access_token.setter
    def access_token(self, value: str | Secret | None) -> None:
        wrapped = wrap(value, self._token_variable)
        del value
        self._settings = self._settings.with_access_token(wrapped)
        self._given["access_token"] = wrapped
        self._access.keep(wrapped)

    @property
    def _message_url(self) -> str:
        return self._settings.conversation_url


class BaseUnofficialProxyAPI(BaseWebClient[FetchFnT], Generic[GetAccessTokenFnT, FetchFnT]):
    """A client of a reverse proxy in front of ChatGPT's backend, but for what waits."""

    _settings: ProxySettings
    _token_variable = ACCESS_TOKEN_VARIABLE

    def __init__(
        self,
        *,
        access_token: str | Secret | None = None,
        get_access_token: GetAccessTokenFnT | None = None,
        email: str | Secret | None = None,
        password: str | Secret | None = None,
        session_token: str | Secret | None = None,
        api_reverse_proxy_url: str | None = None,
        model: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        idle_timeout: float = DEFAULT_IDLE_TIMEOUT,
        connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        headers: Mapping[str, str | Secret] | None = None,
        proxy: str | Secret | None = None,
        session: FetchFnT | None = None,
        debug: bool = False,
    ) -> None:
        """Make a client. Nothing is sent.

        Args:
            access_token: the access token of an account; by default `OPENAI_ACCESS_TOKEN` of the
                environment, if there is no `get_access_token`. It is sent to
                `api_reverse_proxy_url`: give it to a proxy that you trust alone.
            get_access_token: a function that gets an access token, called with the keywords `email`,
                `password` and `session_token` (those below) when there is none, and once more when
                the server refuses the one there is (401). One call of it serves all who wait. By default a
                token that is refused is an error.
            email: what `get_access_token` is called with, as all three; by default `None`. They are read
                from nowhere; but an unpickled client finds those that it had in `OPENAI_EMAIL`, `OPENAI_PASSWORD`
                and `OPENAI_SESSION_TOKEN`.
            password: as `email`; by default `None`.
            session_token: as `email`; by default `None`.
            api_reverse_proxy_url: the whole URL to which messages are posted; by default ChatGPT's
                own, `https://chatgpt.com/backend-api/conversation`.
            model: the model; by default `"auto"`.
            timeout: seconds for a whole call: getting a token, connecting and the last byte; by
                default 600, `math.inf` for no limit. The time of your own functions counts, but they
                are not interrupted.
            idle_timeout: seconds of silence that are borne in a stream; by default 120.
            connect_timeout: seconds for connecting, each time; by default 10.
            max_retries: how often at most a message is sent again to which no connection was made; by
                default 2. One that may have reached the server is not.
            headers: further headers of each request; by default none. They win over the SDK's own, but for
                `authorization`, `accept` and `content-type`. Those whose names look like credentials
                are treated as secrets.
            proxy: the URL of a network proxy, `http`, `https` or `socks5`; by default the proxy
                variables of the environment.
            session: a session of your own, which stays yours to close; by default the client has its own.
            debug: whether the log of the SDK goes to standard error.

        Raises:
            ConfigurationError: an option is missing, malformed or contradicts another one.
            TypeError: an option has the wrong type.
        """
        # The bare secrets leave this frame first: a traceback may show its names.
        given: dict[str, Any] = {
            "access_token": wrap(access_token, self._token_variable),
            "email": wrap(email, EMAIL_VARIABLE),
            "password": wrap(password, PASSWORD_VARIABLE),
            "session_token": wrap(session_token, SESSION_TOKEN_VARIABLE),
            "headers": wrap_headers(headers),
            "proxy": wrap_url(proxy, PROXY_VARIABLE),
            "api_reverse_proxy_url": wrap_url(api_reverse_proxy_url),
        }
        del access_token, email, password, session_token, headers, proxy, api_reverse_proxy_url
        given |= {
            "get_access_token": get_access_token,
            "model": model,
            "timeout": timeout,
            "idle_timeout": idle_timeout,
            "connect_timeout": connect_timeout,
            "max_retries": max_retries,
            "session": session,
            "debug": debug,
        }
        self._given = given
        self._settings = settings = proxy_settings(given, read_environment())
        if (
            get_access_token is None
        ):  # a pickle names the variable, also where nobody gave the token
            given["access_token"] = settings.access_token
        self._access = GivenAccess(
            self._surroundings,
            settings.access_token,
            settings.get_access_token,
            settings.credentials,
        )
        self._open(session)
        if debug:
            log_to_stderr()


class BaseSessionAPI(BaseWebClient[FetchFnT]):
    """A client of ChatGPT's backend with a session of a browser, but for what waits."""

    _settings: SessionSettings
    _access: SessionAccess

    def __init__(
        self,
        *,
        session_token: str | Secret | None = None,
        clearance_token: str | Secret | None = None,
        access_token: str | Secret | None = None,
        access_token_ttl: float = DEFAULT_ACCESS_TOKEN_TTL,
        api_base_url: str | None = None,
        backend_api_base_url: str | None = None,
        user_agent: str | None = None,
        markdown: bool = True,
        model: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        idle_timeout: float = DEFAULT_IDLE_TIMEOUT,
        connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        headers: Mapping[str, str | Secret] | None = None,
        proxy: str | Secret | None = None,
        session: FetchFnT | None = None,
        debug: bool = False,
    ) -> None:
        """Make a client. Nothing is sent.

        Cloudflare's clearance token holds for the browser in which it was made: `user_agent` and the
        IP address of this machine must be that browser's.

        Args:
            session_token: required: the value of the cookie `__Secure-next-auth.session-token` of a
                browser that is signed in; by default `OPENAI_SESSION_TOKEN` of the environment.
            clearance_token: required: the value of the cookie `cf_clearance` of the same browser; by
                default `OPENAI_CLEARANCE_TOKEN`.
            access_token: an access token, if there is one already; by default the session gives one
                when it is needed.
            access_token_ttl: seconds for which an access token is used before the session gives a
                new one; by default 3600. A token that the server refuses is replaced at once.
            api_base_url: where the session is asked for; by default `https://chatgpt.com/api`.
            backend_api_base_url: where everything else is; by default
                `https://chatgpt.com/backend-api`. Give both or neither: the tokens go to both.
            user_agent: the browser's; by default Chrome 108 on macOS. For another one, set what goes with
                it in `headers`, too: `sec-ch-ua` and `sec-ch-ua-platform`.
            markdown: whether replies are what the model wrote, in Markdown; otherwise they are plain
                text, without code blocks, HTML and marks (needs the extra `markdown`).
            model: the model; by default `"auto"`.
            timeout: seconds for a whole call: getting a token, connecting, retries and the last byte;
                by default 600, `math.inf` for no limit. The time of your own functions counts, but they
                are not interrupted.
            idle_timeout: seconds of silence that are borne in a stream; by default 120.
            connect_timeout: seconds for connecting, each time; by default 10.
            max_retries: how often at most a request is repeated; by default 2. A message that may have
                reached the server is not.
            headers: further headers of each request; by default none. They win over the SDK's own, but for
                `authorization`, `cookie`, `accept` and `content-type`. Those whose names look like
                credentials are treated as secrets.
            proxy: the URL of a network proxy, `http`, `https` or `socks5`; by default the proxy
                variables of the environment.
            session: an HTTP session of your own, which stays yours to close; by default the client has its own.
            debug: whether the log of the SDK goes to standard error.

        Raises:
            ConfigurationError: an option is missing, malformed or contradicts another one.
            TypeError: an option has the wrong type.
        """
        # The bare secrets leave this frame first: a traceback may show its names.
        given: dict[str, Any] = {
            "session_token": wrap(session_token, SESSION_TOKEN_VARIABLE),
            "clearance_token": wrap(clearance_token, CLEARANCE_TOKEN_VARIABLE),
            "access_token": wrap(access_token, self._token_variable),
            "headers": wrap_headers(headers),
            "proxy": wrap_url(proxy, PROXY_VARIABLE),
            "api_base_url": wrap_url(api_base_url),
            "backend_api_base_url": wrap_url(backend_api_base_url),
        }
        del session_token, clearance_token, access_token, headers, proxy
        del api_base_url, backend_api_base_url
        given |= {
            "access_token_ttl": access_token_ttl,
            "user_agent": user_agent,
            "markdown": markdown,
            "model": model,
            "timeout": timeout,
            "idle_timeout": idle_timeout,
            "connect_timeout": connect_timeout,
            "max_retries": max_retries,
            "session": session,
            "debug": debug,
        }
        self._given = given
        self._settings = session_settings(given, read_environment(), load_plain_text)
        # A pickle names the variables, also where nobody gave the tokens.
        given["session_token"] = self._settings.session_token
        given["clearance_token"] = self._settings.clearance_token
        self._access = SessionAccess(self._settings, self._surroundings)
        self._open(session)
        if debug:
            log_to_stderr()

    @property
    def user(self) -> User | None:
        """Who is signed in, once the session was asked for; a dictionary as the server writes it."""
        return self._access.user

    @property
    def session_token(self) -> Secret:
        """The token of the session."""
        return self._settings.session_token

    @property
    def clearance_token(self) -> Secret:
        """Cloudflare's token."""
        return self._settings.clearance_token

    @property
    def user_agent(self) -> str:
        """The browser that the client says it is."""
        return self._settings.user_agent
