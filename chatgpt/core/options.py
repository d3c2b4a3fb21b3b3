"""What a caller may set for a client: its settings.

Strategy: everything is checked here, once, before anything is sent; behind this door the core
relies on it. What he may set for a call stands in call_options.py.

Rules:

1. What is wrong is a `TypeError` or a `ValueError` (validation.py); for a client's settings the
   second is a `ConfigurationError`, which is one, too.
2. An explicit argument wins over the environment; a blank variable counts as not set.
3. Secrets are wrapped before anything can fail, and no message shows them.
4. A secret goes to the configured origin alone; there is no default origin but OpenAI's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Final, TypedDict, TypeVar
from urllib.parse import urlsplit, urlunsplit

from attrs import evolve, field, frozen

from chatgpt.core.errors import ConfigurationError
from chatgpt.core.models import (
    DEFAULT_MODEL,
    ENCODINGS,
    ENDPOINTS,
    LIMIT_NAMES,
    UNKNOWN_FAMILY,
    EndpointName,
    ModelFamily,
    family_of,
)
from chatgpt.core.needs import CountTokens
from chatgpt.core.prompts import DEFAULT_ASSISTANT_LABEL, DEFAULT_USER_LABEL
from chatgpt.core.secrets import (
    API_KEY_VARIABLE,
    API_ORG_VARIABLE,
    Secret,
    SecretMask,
    masked_forms,
)
from chatgpt.core.validation import (
    DEFAULT_BASE_URL,
    base_url_of,
    header_text,
    headers_of,
    identifier,
    is_loopback,
    kind_of,
    one_of,
    optional_number,
    optional_text,
    params_of,
    proxy_of,
    seconds_of,
    secret_of,
    text_of,
    tokenizer_of,
    truth_of,
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
    model_family: ModelFamily | None
    endpoint: EndpointName | None
    completion_params: Mapping[str, object] = field(repr=False)
    system_message: str | None = field(repr=False)
    max_model_tokens: int | None
    max_response_tokens: int | None
    user_label: str
    assistant_label: str
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
        """What masks every secret of these settings in a text; each call has its own, which learns."""
        return SecretMask(forms=self._masked_forms)

    @cached_property
    def _masked_forms(self) -> tuple[Secret, ...]:
        return masked_forms(self._secrets())

    def _secrets(self) -> Iterator[Secret]:
        for value in (self.api_key, self.api_org, self.proxy, *self.headers.values()):
            if isinstance(value, Secret):
                yield value

    def request_headers(self) -> dict[str, str | Secret]:
        """The headers of every request, for one of them; the caller's own win."""
        return dict(self._headers)

    @cached_property
    def _headers(self) -> Mapping[str, str | Secret]:
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

    @property
    def needs_key(self) -> bool:
        """Whether the server is asked with a key: only one on this machine may be asked without."""
        return not is_loopback(self.message_url("chat"))

    def require_key(self) -> None:
        """Check that there is a key, where one is needed."""
        if self.api_key is None and self.needs_key:
            raise ConfigurationError(
                f"api_key is missing: give api_key=..., or set {API_KEY_VARIABLE} in the environment. "
                "Only a server on this machine is asked without a key."
            )

    def family(self, model: str) -> ModelFamily:
        """What is known of a model, or what the caller says of it."""
        return (self.model_family or family_of(model)).with_window(self.max_model_tokens)

    def endpoint_of(self, family: ModelFamily) -> EndpointName:
        """Where a model of a family is asked."""
        return self.endpoint or family.endpoint

    def message_url(self, endpoint: EndpointName) -> str:
        """Where messages are posted."""
        return self.api_reverse_proxy_url or self._message_urls[endpoint]

    @cached_property
    def _message_urls(self) -> Mapping[EndpointName, str]:
        return {"chat": self.url("/chat/completions"), "completions": self.url("/completions")}

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
        model_family=_family(given["model_family"]),
        endpoint=None
        if given["endpoint"] is None
        else one_of("endpoint", given["endpoint"], ENDPOINTS),
        completion_params=params,
        system_message=optional_text("system_message", given["system_message"]),
        max_model_tokens=optional_number("max_model_tokens", given["max_model_tokens"]),
        max_response_tokens=optional_number("max_response_tokens", given["max_response_tokens"]),
        user_label=identifier("user_label", given["user_label"]) or DEFAULT_USER_LABEL,
        assistant_label=identifier("assistant_label", given["assistant_label"])
        or DEFAULT_ASSISTANT_LABEL,
        tokenizer=tokenizer_of("tokenizer", given["tokenizer"]),
        **connection_options(given),
    )
    settings.require_key()
    in_params = response_limit(params)
    if in_params and settings.max_response_tokens and in_params != settings.max_response_tokens:
        raise ConfigurationError(
            f"max_response_tokens is {settings.max_response_tokens} and completion_params limits the reply to "
            f"{in_params} tokens: give one of them."
        )
    check_room(settings.family(settings.model), "max_response_tokens", settings.max_response_tokens)
    return settings


def _family(given: object) -> ModelFamily | None:
    if given is None:
        return None
    if isinstance(given, ModelFamily):
        return _checked_family(given)
    if not isinstance(given, str):
        raise TypeError(
            f"model_family must be a ModelFamily, or the name of a model of that family, not {kind_of(given)}."
        )
    family = family_of(given)
    if family is UNKNOWN_FAMILY:
        raise ConfigurationError(
            f"model_family names a model whose family is not known, {given[:100]!r}: give the name of one that is, "
            "or a ModelFamily."
        )
    return family


def _checked_family(family: ModelFamily) -> ModelFamily:
    optional_number("model_family.max_input", family.max_input)
    optional_number("model_family.max_output", family.max_output)
    one_of("model_family.encoding", family.encoding, ENCODINGS)
    one_of("model_family.limit_name", family.limit_name, LIMIT_NAMES)
    one_of("model_family.endpoint", family.endpoint, ENDPOINTS)
    for name in ("prefix", "message_end", "instructions_end"):
        text_of(f"model_family.{name}", getattr(family, name))
    optional_text("model_family.default_effort", family.default_effort)
    for name in ("shares_window", "is_approximate"):
        truth_of(f"model_family.{name}", getattr(family, name))
    for name in ("refuses", "refuses_when_reasoning"):
        refused: object = getattr(family, name)
        if not isinstance(refused, (set, frozenset)):
            raise TypeError(
                f"model_family.{name} must be a set or frozenset of names, not {kind_of(refused)}."
            )
    return family


def _model(explicit: object, params: Mapping[str, object], model: object) -> str:
    in_params = params.get("model")
    if explicit is not None and in_params is not None and explicit != in_params:
        raise ConfigurationError(
            f"model is {explicit!r} and completion_params['model'] is {in_params!r}: give one of them."
        )
    name = in_params if in_params is not None else model if model is not None else DEFAULT_MODEL
    return (identifier("model", name) or DEFAULT_MODEL).strip()


def check_room(family: ModelFamily, name: str, limit: int | None) -> None:
    """Check that the room for the reply leaves some for a prompt.

    Args:
        family: the model's.
        name: the option that limits the reply.
        limit: its value in tokens, or `None`.

    Raises:
        ConfigurationError: it does not.
    """
    room = family.prompt_limit(family.reserve(limit))
    if room is not None and room <= 0:
        raise ConfigurationError(
            f"{name} is {limit}, which leaves no room for a prompt in a window "
            f"of {family.max_input} tokens."
        )


def response_limit(params: Mapping[str, object]) -> int | None:
    """The largest reply in tokens that completion parameters ask for, or `None`.

    Raises:
        TypeError, ValueError: a limit is wrong, or there are two.
    """
    limits = [name for name in LIMIT_NAMES if name in params]
    if len(limits) > 1:
        raise ConfigurationError(
            f"completion_params limits the reply twice, by {' and '.join(limits)}: give one of them."
        )
    for name in limits:
        return whole_number(f"completion_params[{name!r}]", params[name], 1)
    return None
