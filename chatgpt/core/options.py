"""What a caller may set: the settings of a client, and the options of a call.

Strategy: everything is checked here, once, before anything is sent; behind this door the core
relies on it.

Rules:

1. What is wrong is a `TypeError` or a `ValueError` (validation.py); for a client's settings the
   second is a `ConfigurationError`, which is one, too.
2. An explicit argument wins over the environment; a blank variable counts as not set.
3. Secrets are wrapped before anything can fail, and no message shows them.
4. A secret goes to the configured origin alone; there is no default origin but OpenAI's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypedDict, TypeVar
from urllib.parse import urlsplit, urlunsplit

from attrs import evolve, field, frozen

from chatgpt.core.errors import ConfigurationError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.models import DEFAULT_MODEL, ModelFamily, family_of
from chatgpt.core.needs import CountTokens
from chatgpt.core.secrets import API_KEY_VARIABLE, API_ORG_VARIABLE, Secret, SecretMask
from chatgpt.core.validation import (
    DEFAULT_BASE_URL,
    base_url_of,
    function_of,
    header_text,
    headers_of,
    identifier,
    is_loopback,
    kind_of,
    optional_number,
    optional_text,
    params_of,
    proxy_of,
    seconds_of,
    secret_of,
    text_to_send,
    tokenizer_of,
    url_of,
    whole_number,
)
from chatgpt.core.version import VERSION

DEFAULT_TIMEOUT: Final = 600.0
DEFAULT_IDLE_TIMEOUT: Final = 120.0
DEFAULT_CONNECT_TIMEOUT: Final = 10.0
DEFAULT_MAX_RETRIES: Final = 2

USER_AGENT: Final = f"chatgpt-sdk/{VERSION}"

_SettingsT = TypeVar("_SettingsT")

_LIMITS: Final = frozenset({"max_tokens", "max_completion_tokens"})


class SendMessageOptions(TypedDict, total=False):
    """The options of `send_message`, for code that hands them on."""

    parent_message_id: str | None
    conversation_id: str | None
    message_id: str | None
    name: str | None
    stream: bool | None
    system_message: str | None
    completion_params: Mapping[str, object] | None
    timeout: float | None
    on_progress: Callable[[ChatMessage], object] | None


# --- the settings of a client ----------------------------------------------------------------


@frozen(kw_only=True)
class ClientSettings:
    """The settings of a client of the official flow, checked; `client_settings` makes them."""

    api_key: Secret | None
    api_org: Secret | None
    api_project: str | None
    api_base_url: str | None
    api_reverse_proxy_url: str | None
    model: str
    completion_params: Mapping[str, object] = field(repr=False)
    system_message: str | None = field(repr=False)
    max_model_tokens: int | None
    max_response_tokens: int | None
    tokenizer: CountTokens | None
    timeout: float
    idle_timeout: float
    connect_timeout: float
    max_retries: int
    headers: Mapping[str, str | Secret] = field(repr=False)
    proxy: str | Secret | None

    def with_api_key(self, value: object) -> ClientSettings:
        """The settings with another key, which is wrapped already."""
        settings = evolve(self, api_key=secret_of("api_key", value))
        settings.require_key()
        return settings

    def with_api_org(self, value: object) -> ClientSettings:
        """The settings with another organization, which is wrapped already."""
        return evolve(self, api_org=secret_of("api_org", value))

    def redactor(self) -> SecretMask:
        """What masks every secret of these settings in a text."""
        return SecretMask(self._secrets())

    def _secrets(self) -> Iterator[Secret]:
        for value in (self.api_key, self.api_org, self.proxy, *self.headers.values()):
            if isinstance(value, Secret):
                yield value

    def request_headers(self) -> dict[str, str | Secret]:
        """The headers of every request; the caller's own win."""
        headers: dict[str, str | Secret] = {
            "accept": "*/*",
            "content-type": "application/json",
            "user-agent": USER_AGENT,
        }
        if self.api_key is not None:
            headers["authorization"] = Secret(f"Bearer {self.api_key.reveal()}", API_KEY_VARIABLE)
        if self.api_org is not None:
            headers["openai-organization"] = self.api_org
        if self.api_project is not None:
            headers["openai-project"] = self.api_project
        return {**headers, **self.headers}

    def require_key(self) -> None:
        """Check that there is a key, where one is needed."""
        if self.api_key is None and not is_loopback(self.chat_url):
            raise ConfigurationError(
                f"api_key is missing: give api_key=..., or set {API_KEY_VARIABLE} in the environment. "
                "Only a server on this machine is asked without a key."
            )

    @property
    def chat_url(self) -> str:
        """Where messages are posted."""
        return self.api_reverse_proxy_url or self.url("/chat/completions")

    def url(self, path: str) -> str:
        """The URL of an endpoint, a query of the base URL kept.

        Raises:
            ConfigurationError: only the URL of a reverse proxy is known.
        """
        if self.api_base_url is None:
            raise ConfigurationError(
                f"Give api_base_url to use {path}: api_reverse_proxy_url is for messages only, and the key "
                "is sent to no other server."
            )
        base = urlsplit(self.api_base_url)
        return urlunsplit(base._replace(path=base.path + path))


def client_settings(
    given: Mapping[str, object], environment: Mapping[str, object]
) -> ClientSettings:
    """Check the options of a client and fill them up from the environment.

    Args:
        given: the constructor's options, secrets wrapped.
        environment: the variables that are set and not blank, secrets wrapped.

    Raises:
        ConfigurationError: a value is missing, malformed or contradicts another one.
        TypeError: a value has the wrong type.
    """
    return as_settings(lambda: _client_settings(given, environment))


def as_settings(make: Callable[[], _SettingsT]) -> _SettingsT:
    """Make the settings of a client: a bad value is a `ConfigurationError`."""
    try:
        return make()
    except ConfigurationError:
        raise
    except ValueError as problem:
        raise ConfigurationError(str(problem)) from None


class ConnectionOptions(TypedDict):
    """The options of a client of any flow that say how its server is reached, checked."""

    timeout: float
    idle_timeout: float
    connect_timeout: float
    max_retries: int
    headers: Mapping[str, str | Secret]
    proxy: str | Secret | None


def connection_options(given: Mapping[str, object]) -> ConnectionOptions:
    """Check the options that say how a server is reached."""
    if given["proxy"] is not None and given["session"] is not None:
        raise ConfigurationError("Give proxy, or set the proxy of the session that you give.")
    return {
        "timeout": seconds_of("timeout", given["timeout"]),
        "idle_timeout": seconds_of("idle_timeout", given["idle_timeout"]),
        "connect_timeout": seconds_of("connect_timeout", given["connect_timeout"]),
        "max_retries": whole_number("max_retries", given["max_retries"], 0),
        "headers": headers_of(given["headers"]),
        "proxy": proxy_of(given["proxy"]),
    }


def _client_settings(
    given: Mapping[str, object], environment: Mapping[str, object]
) -> ClientSettings:
    def either(name: str, *variables: str) -> object:
        values = (given[name], *map(environment.get, variables))
        return next((value for value in values if value is not None), None)

    reverse_url, base_url = given["api_reverse_proxy_url"], given["api_base_url"]
    if reverse_url is not None:
        reverse_url = urlunsplit(url_of("api_reverse_proxy_url", reverse_url))
    else:
        base_url = (
            either("api_base_url", "OPENAI_BASE_URL", "OPENAI_API_BASE_URL") or DEFAULT_BASE_URL
        )
    # The key is meant for the origin that is given: with a reverse proxy there is no default one.
    base_url = base_url_of("api_base_url", base_url) if base_url is not None else None
    params = params_of("completion_params", given["completion_params"])
    settings = ClientSettings(
        api_key=secret_of("api_key", either("api_key", API_KEY_VARIABLE)),
        api_org=secret_of("api_org", either("api_org", API_ORG_VARIABLE, "OPENAI_API_ORG")),
        api_project=header_text("api_project", either("api_project", "OPENAI_PROJECT_ID")),
        api_base_url=base_url,
        api_reverse_proxy_url=reverse_url,
        model=_model(given["model"], params, either("model", "OPENAI_MODEL")),
        completion_params=params,
        system_message=optional_text("system_message", given["system_message"]),
        max_model_tokens=optional_number("max_model_tokens", given["max_model_tokens"]),
        max_response_tokens=optional_number("max_response_tokens", given["max_response_tokens"]),
        tokenizer=tokenizer_of("tokenizer", given["tokenizer"]),
        **connection_options(given),
    )
    settings.require_key()
    in_params = _response_limit(params)
    if in_params and settings.max_response_tokens and in_params != settings.max_response_tokens:
        raise ConfigurationError(
            f"max_response_tokens is {settings.max_response_tokens} and completion_params limits the reply to "
            f"{in_params} tokens: give one of them."
        )
    _room_for_a_prompt(settings.model, settings, settings.max_response_tokens)
    return settings


def _model(explicit: object, params: Mapping[str, object], model: object) -> str:
    in_params = params.get("model")
    if explicit is not None and in_params is not None and explicit != in_params:
        raise ConfigurationError(
            f"model is {explicit!r} and completion_params['model'] is {in_params!r}: give one of them."
        )
    name = in_params if in_params is not None else model if model is not None else DEFAULT_MODEL
    return (identifier("model", name) or DEFAULT_MODEL).strip()


def _room_for_a_prompt(
    model: str, settings: ClientSettings, max_response_tokens: int | None
) -> None:
    family = family_of(model).with_window(settings.max_model_tokens)
    limit = family.prompt_limit(family.reserve(max_response_tokens))
    if limit is not None and limit <= 0:
        raise ConfigurationError(
            f"max_response_tokens is {max_response_tokens}, which leaves no room for a prompt in a window "
            f"of {family.max_input} tokens."
        )


# --- the options of a call -------------------------------------------------------------------


@frozen(kw_only=True)
class CallOptions:
    """The options of one call, checked and joined with the client's settings.

    Attributes:
        text: the new message.
        is_streamed: whether the answer is asked for as a stream.
        is_reported: whether its parts go to the caller.
        model, family: the model that is asked, and what is known of it.
        params: the completion parameters, the client's and the call's.
        reserved_tokens: what is kept free for the reply.
        timeout: seconds for the whole call.
    """

    text: str = field(repr=False)
    parent_message_id: str | None
    conversation_id: str | None
    message_id: str | None
    name: str | None
    is_streamed: bool
    is_reported: bool
    system_message: str | None = field(repr=False)
    model: str
    family: ModelFamily
    params: Mapping[str, object] = field(repr=False)
    reserved_tokens: int
    timeout: float


def call_options(
    settings: ClientSettings,
    text: object,
    *,
    parent_message_id: object = None,
    conversation_id: object = None,
    message_id: object = None,
    name: object = None,
    stream: object = None,
    system_message: object = None,
    completion_params: object = None,
    timeout: object = None,
    on_progress: object = None,
    is_iterated: bool = False,
) -> CallOptions:
    """Check the options of a call.

    The options are those of `send_message`; `is_iterated` says that the caller iterates over the
    parts. Where somebody takes them the reply is streamed, unless `stream` says otherwise.

    Raises:
        TypeError, ValueError: an option is wrong.
        ConfigurationError: a limit is wrong, or leaves no room for a prompt.
    """
    question = text_to_send("text", text)
    if stream is not None and not isinstance(stream, bool):
        raise TypeError(f"stream must be True, False or None, not {kind_of(stream)}.")
    own_params = params_of("completion_params", completion_params)
    params = {**settings.completion_params, **own_params}
    if _LIMITS & own_params.keys():  # one limit of the call stands for both of the client's
        params = {
            key: value for key, value in params.items() if key not in _LIMITS - own_params.keys()
        }
    for key in completion_params if isinstance(completion_params, Mapping) else ():
        if key not in own_params:  # given as None: this call goes without it
            params.pop(key, None)
    model = identifier("completion_params['model']", own_params.get("model")) or settings.model
    family = family_of(model).with_window(settings.max_model_tokens)
    limit = _response_limit(params) or settings.max_response_tokens
    if limit is not None and not _LIMITS & params.keys():
        params[family.limit_name] = limit
    _room_for_a_prompt(model, settings, limit)
    function_of("on_progress", on_progress)
    wants_parts = is_iterated or on_progress is not None
    is_streamed = wants_parts if stream is None else stream
    return CallOptions(
        text=question,
        parent_message_id=identifier("parent_message_id", parent_message_id),
        conversation_id=identifier("conversation_id", conversation_id),
        message_id=identifier("message_id", message_id),
        name=identifier("name", name),
        is_streamed=is_streamed,
        is_reported=wants_parts and is_streamed,
        system_message=optional_text(
            "system_message", settings.system_message if system_message is None else system_message
        ),
        model=model,
        family=family,
        params=params,
        reserved_tokens=family.reserve(limit),
        timeout=settings.timeout if timeout is None else seconds_of("timeout", timeout),
    )


def _response_limit(params: Mapping[str, object]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        if name in params:
            return whole_number(f"completion_params[{name!r}]", params[name], 1)
    return None
