"""What a caller may set in the web flow: the settings of its two clients, the options of a call.

Rules, beside those of `chatgpt.core.options`:

1. Nothing but tokens is read from the environment: `OPENAI_BASE_URL` and `OPENAI_MODEL` mean the
   official API, and a token must not go where they point.
2. There is no default host but ChatGPT's own.
3. The ids of messages are uuids of version 4, as the server's are; those of conversations may be of
   version 8, too: ChatGPT's own look like `67aa804e-4678-8006-970a-23d76d933f3c` since 2024.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, Self, TypedDict, cast, get_args
from urllib.parse import urlunsplit

from attrs import evolve, field, frozen

from chatgpt.core.cancelling import CancelToken
from chatgpt.core.errors import ConfigurationError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.options import as_settings, connection_options
from chatgpt.core.secrets import (
    ACCESS_TOKEN_VARIABLE,
    CLEARANCE_TOKEN_VARIABLE,
    SESSION_TOKEN_VARIABLE,
    Secret,
    SecretMask,
    masked_forms,
)
from chatgpt.core.validation import (
    credential_of,
    function_of,
    function_taking,
    header_line,
    identifier,
    one_of,
    seconds_of,
    secret_of,
    text_to_send,
    token_of,
    truth_of,
    url_of,
    uuid_of,
)
from chatgpt.core.wire.web import ConversationResponseEvent, MessageActionType

HOST: Final = "https://chatgpt.com"
DEFAULT_REVERSE_PROXY_URL: Final = f"{HOST}/backend-api/conversation"
DEFAULT_API_BASE_URL: Final = f"{HOST}/api"
DEFAULT_BACKEND_API_BASE_URL: Final = f"{HOST}/backend-api"
DEFAULT_WEB_MODEL: Final = "auto"
DEFAULT_ACCESS_TOKEN_TTL: Final = 3600.0
DEFAULT_USER_AGENT: Final = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/108.0.0.0 Safari/537.36"
)

CONVERSATION_VERSIONS: Final = "48"
_NO_COOKIE_VALUE: Final = re.compile(
    r'[;,"\\]|^(?:__Secure-next-auth\.session-token|cf_clearance)\s*='
)

ACTIONS: Final = get_args(MessageActionType)
CREDENTIALS: Final = ("email", "password", "session_token")
"""What `get_access_token` is called with."""


class SendMessageBrowserOptions(TypedDict, total=False):
    """The options of the web flow's `send_message`, for code that hands them on.

    They are those of `ChatGPTUnofficialProxyAPI.send_message`.
    """

    parent_message_id: str | None
    conversation_id: str | None
    message_id: str | None
    action: MessageActionType
    timeout: float | None
    abort: CancelToken | None
    on_progress: Callable[[ChatMessage], object] | None
    on_conversation_response: Callable[[ConversationResponseEvent], object] | None


# --- the settings of a client ----------------------------------------------------------------


@frozen(kw_only=True)
class WebSettings(ABC):
    """What the settings of both clients of the web flow have in common.

    Attributes:
        model: the model that is asked.
        headers: of every request; the caller's among them.
        timeout, idle_timeout, connect_timeout: seconds.
        max_retries: how often a request is repeated at most.
        proxy: the URL of a network proxy.
        access_token: the token that was given.
        session_token: what gives access tokens.
        clearance_token: Cloudflare's token, where there is one.
        backend_api_base_url: where the other endpoints are, where they are known.
        to_plain_text: makes what turns the Markdown of a reply into plain text, where that is wanted.
    """

    model: str
    headers: Mapping[str, str | Secret] = field(repr=False)
    timeout: float
    idle_timeout: float
    connect_timeout: float
    max_retries: int
    proxy: str | Secret | None
    access_token: Secret | None
    session_token: Secret | None
    clearance_token: Secret | None = None
    backend_api_base_url: str | None = None
    to_plain_text: Callable[[], Callable[[str], str]] | None = None

    @property
    @abstractmethod
    def conversation_url(self) -> str:
        """Where messages are posted."""

    def with_access_token(self, value: object) -> Self:
        """The settings with another token, which is wrapped already; `None` for none."""
        settings = evolve(self, access_token=secret_of("access_token", value))
        settings.require_token()
        return settings

    @abstractmethod
    def require_token(self) -> None:
        """Check that there is a token, or a way to one."""

    def redactor(self) -> SecretMask:
        """What masks every secret of these settings in a text; each call has its own, which learns."""
        return SecretMask(forms=self._masked_forms)

    @cached_property
    def _masked_forms(self) -> tuple[Secret, ...]:
        return masked_forms(self.secrets)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret of these settings."""
        return tuple(self._secrets())

    def _secrets(self) -> Iterator[Secret]:
        own = (self.access_token, self.session_token, self.clearance_token, self.proxy)
        for value in (*own, *self.headers.values()):
            if isinstance(value, Secret):
                yield value


@frozen(kw_only=True)
class ProxySettings(WebSettings):
    """The settings of a `ChatGPTUnofficialProxyAPI`, checked; `proxy_settings` makes them."""

    api_reverse_proxy_url: str
    get_access_token: Callable[..., object] | None
    email: Secret | None
    password: Secret | None

    @property
    def conversation_url(self) -> str:
        """Where messages are posted."""
        return self.api_reverse_proxy_url

    @property
    def credentials(self) -> Mapping[str, Secret | None]:
        """What `get_access_token` is called with."""
        return {name: getattr(self, name) for name in CREDENTIALS}

    def _secrets(self) -> Iterator[Secret]:
        yield from super()._secrets()
        for value in (self.email, self.password):
            if value is not None:
                yield value

    def require_token(self) -> None:
        """Check that there is a token, or a way to one."""
        if self.access_token is None and self.get_access_token is None:
            raise ConfigurationError(
                "access_token is missing: give access_token=... or get_access_token=..., or set "
                f"{ACCESS_TOKEN_VARIABLE} in the environment."
            )


@frozen(kw_only=True)
class SessionSettings(WebSettings):
    """The settings of a `ChatGPTSessionAPI`, checked; `session_settings` makes them."""

    session_token: Secret
    clearance_token: Secret
    access_token_ttl: float
    api_base_url: str
    backend_api_base_url: str
    user_agent: str

    @property
    def conversation_url(self) -> str:
        """Where messages are posted."""
        return f"{self.backend_api_base_url}/conversation"

    def require_token(self) -> None:
        """The session gives one."""


def proxy_settings(given: Mapping[str, object], environment: Mapping[str, object]) -> ProxySettings:
    """Check the options of a `ChatGPTUnofficialProxyAPI`.

    Args:
        given: the constructor's options, secrets wrapped.
        environment: the variables that are set and not blank, secrets wrapped.

    Raises:
        ConfigurationError: a value is missing, malformed or contradicts another one.
        TypeError: a value has the wrong type.
    """
    return as_settings(lambda: _proxy_settings(given, environment))


def _proxy_settings(
    given: Mapping[str, object], environment: Mapping[str, object]
) -> ProxySettings:
    function = given["get_access_token"]
    token = secret_of("access_token", given["access_token"])
    if function is None:
        token = token or secret_of("access_token", environment.get(ACCESS_TOKEN_VARIABLE))
        useless = [name for name in CREDENTIALS if given[name] is not None]
        if useless:
            raise ConfigurationError(
                f"{useless[0]} is what get_access_token is called with, and get_access_token is missing."
            )
    elif token is not None and not token.is_known:
        token = None  # left behind by a pickle; the function gets another
    settings = ProxySettings(
        access_token=token,
        get_access_token=cast(
            "Callable[..., object]", function_taking("get_access_token", function, CREDENTIALS)
        ),
        email=credential_of("email", given["email"]),
        password=credential_of("password", given["password"]),
        session_token=secret_of("session_token", given["session_token"]),
        api_reverse_proxy_url=urlunsplit(
            url_of(
                "api_reverse_proxy_url",
                _or(given["api_reverse_proxy_url"], DEFAULT_REVERSE_PROXY_URL),
                DEFAULT_REVERSE_PROXY_URL,
            )
        ),
        **_common(given),
    )
    settings.require_token()
    return settings


def session_settings(
    given: Mapping[str, object],
    environment: Mapping[str, object],
    load_plain_text: Callable[[], Callable[[], Callable[[str], str]]],
) -> SessionSettings:
    """Check the options of a `ChatGPTSessionAPI`.

    Args:
        given: the constructor's options, secrets wrapped.
        environment: the variables that are set and not blank, secrets wrapped.
        load_plain_text: loads what makes, for each reply, what turns Markdown into plain text; called
            if that is wanted.

    Raises:
        ConfigurationError: a value is missing, malformed or contradicts another one.
        TypeError: a value has the wrong type.
    """
    return as_settings(lambda: _session_settings(given, environment, load_plain_text))


def _session_settings(
    given: Mapping[str, object],
    environment: Mapping[str, object],
    load_plain_text: Callable[[], Callable[[], Callable[[str], str]]],
) -> SessionSettings:
    def required(name: str, variable: str) -> Secret:
        token = secret_of(name, _or(given[name], environment.get(variable)))
        if token is None:
            raise ConfigurationError(
                f"{name} is missing: give {name}=..., or set {variable} in the environment."
            )
        if token.is_known and _NO_COOKIE_VALUE.search(token.reveal()):
            raise ConfigurationError(
                f"{name} is more than a cookie's value: give that alone, without its name and without ';'."
            )
        return token

    if (given["api_base_url"] is None) != (given["backend_api_base_url"] is None):
        raise ConfigurationError(
            "Give both api_base_url and backend_api_base_url, or neither: the tokens go to both."
        )
    access_token = secret_of("access_token", given["access_token"])
    user_agent = header_line("user_agent", _or(given["user_agent"], DEFAULT_USER_AGENT))
    common = _common(given)
    common["headers"] = {**_browser_headers(user_agent), **common["headers"]}
    return SessionSettings(
        session_token=required("session_token", SESSION_TOKEN_VARIABLE),
        clearance_token=required("clearance_token", CLEARANCE_TOKEN_VARIABLE),
        # One that a pickle left behind is no loss: the session gives another.
        access_token=access_token if access_token is None or access_token.is_known else None,
        access_token_ttl=seconds_of("access_token_ttl", given["access_token_ttl"]),
        api_base_url=_base_url(given, "api_base_url", DEFAULT_API_BASE_URL),
        backend_api_base_url=_base_url(given, "backend_api_base_url", DEFAULT_BACKEND_API_BASE_URL),
        user_agent=user_agent,
        to_plain_text=None if truth_of("markdown", given["markdown"]) else load_plain_text(),
        **common,
    )


def _browser_headers(user_agent: str) -> dict[str, str]:
    """What the page of ChatGPT sends; npm `chatgpt` 3 sent the same."""
    return {
        "user-agent": user_agent,
        "x-openai-assistant-app-id": "",
        "accept-language": "en-US,en;q=0.9",
        "origin": HOST,
        "referer": f"{HOST}/chat",
        "sec-ch-ua": '"Not?A_Brand";v="8", "Chromium";v="108", "Google Chrome";v="108"',
        "sec-ch-ua-platform": '"macOS"',
        "sec-fetch-dest": "empty",
        "sec-fetch-mode": "cors",
        "sec-fetch-site": "same-origin",
    }


def _common(given: Mapping[str, object]) -> dict[str, Any]:
    model = identifier("model", given["model"]) or DEFAULT_WEB_MODEL
    return {"model": model.strip(), **connection_options(given)}


def _base_url(given: Mapping[str, object], name: str, default: str) -> str:
    url = url_of(name, _or(given[name], default), default)
    if url.query:
        raise ConfigurationError(f"{name} must have no query: paths are added to it.")
    return urlunsplit(url._replace(path=url.path.rstrip("/")))


def _or(value: object, otherwise: object) -> object:
    return otherwise if value is None else value


# --- the options of a call -------------------------------------------------------------------


@frozen(kw_only=True)
class WebCallOptions:
    """The options of one call, checked.

    Attributes:
        text: the new message.
        is_reported: whether the parts of the reply go to the caller.
        on_event: a function of the caller for the raw events.
        timeout: seconds for the whole call.
        abort: the token that stops it.
        account_id: the account of a pool that answers.
    """

    text: str = field(repr=False)
    parent_message_id: str | None
    conversation_id: str | None
    message_id: str | None
    action: MessageActionType
    is_reported: bool
    on_event: Callable[[Any], object] | None = field(repr=False)
    timeout: float
    abort: CancelToken | None
    account_id: str | None = None


def web_call_options(
    settings: WebSettings,
    text: object,
    *,
    parent_message_id: object = None,
    conversation_id: object = None,
    message_id: object = None,
    action: object = "next",
    timeout: object = None,
    abort: object = None,
    on_progress: object = None,
    on_conversation_response: object = None,
    is_iterated: bool = False,
) -> WebCallOptions:
    """Check the options of a call; `is_iterated` says that the caller iterates over the parts.

    Raises:
        TypeError, ValueError: an option is wrong.
    """
    conversation, parent = followed_ids(settings, conversation_id, parent_message_id)
    function_of("on_progress", on_progress)
    return WebCallOptions(
        text=text_to_send("text", text),
        parent_message_id=parent,
        conversation_id=conversation,
        message_id=uuid_of("message_id", message_id),
        action=one_of("action", action, ACTIONS),
        is_reported=is_iterated or on_progress is not None,
        on_event=cast(
            "Callable[[Any], object] | None",
            function_of("on_conversation_response", on_conversation_response),
        ),
        timeout=settings.timeout if timeout is None else seconds_of("timeout", timeout),
        abort=token_of("abort", abort),
    )


def followed_ids(
    settings: WebSettings, conversation_id: object, parent_message_id: object
) -> tuple[str | None, str | None]:
    """Check the two ids that say where a conversation goes on, and return them in this order.

    Raises:
        TypeError, ValueError: one is wrong, or missing where the other does not do alone.
    """
    parent = uuid_of("parent_message_id", parent_message_id)
    conversation = uuid_of("conversation_id", conversation_id, CONVERSATION_VERSIONS)
    # A client that knows the other endpoints asks where a conversation stands.
    if settings.backend_api_base_url is None and (parent is None) != (conversation is None):
        missing = "conversation_id" if parent is not None else "parent_message_id"
        raise ValueError(
            f"{missing} is missing: give conversation_id and parent_message_id together, those of the "
            "reply that you answer, or neither for a new conversation."
        )
    return conversation, parent
