"""What a caller may set: the settings of a client, the options of a call, and their validation.

Strategy: everything is checked here, once, before anything is sent; behind this door the core
relies on it.

Rules:

1. A value of the wrong type is a `TypeError`, a bad value a `ValueError`; for a client's settings, a
   `ConfigurationError`, which is one, too. The message says what was given and what is accepted.
2. An explicit argument wins over the environment; a blank variable counts as not set.
3. Secrets are wrapped before anything can fail, and no message shows them.
4. A secret goes to the configured origin alone; there is no default origin but OpenAI's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from math import inf, isnan
from typing import Final, TypedDict
from urllib.parse import SplitResult, urlsplit, urlunsplit

from attrs import evolve, field, frozen

from chatgpt.core.errors import ConfigurationError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.models import DEFAULT_MODEL, ModelFamily, family_of
from chatgpt.core.needs import CountTokens
from chatgpt.core.secrets import API_KEY_VARIABLE, API_ORG_VARIABLE, Redactor, Secret, redactor
from chatgpt.core.surrogates import strict
from chatgpt.core.version import VERSION

DEFAULT_TIMEOUT: Final = 600.0
DEFAULT_IDLE_TIMEOUT: Final = 120.0
DEFAULT_CONNECT_TIMEOUT: Final = 10.0
DEFAULT_MAX_RETRIES: Final = 2

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"
USER_AGENT: Final = f"chatgpt-sdk/{VERSION}"

_VISIBLE_ASCII: Final = re.compile(r"[\x21-\x7e]+")
_LIMITS: Final = frozenset({"max_tokens", "max_completion_tokens"})
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?|")
_PROXY_URL: Final = re.compile(r"(?:https?|socks[45][ah]?)://[^\s/?#]*[^\s/?#@]/?")


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


# --- one value at a time ---------------------------------------------------------------------


def _kind(value: object) -> str:
    """A value's type, for a message. Never the value: it may be a secret in the wrong place."""
    return type(value).__name__


def text_of(name: str, value: object) -> str:
    """Check that an argument is text that can be sent."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {_kind(value)}.")
    return strict(name, value)


def text_to_send(name: str, value: object) -> str:
    """Check that an argument is text that can be sent, and not empty."""
    text = text_of(name, value)
    if not text:
        raise ValueError(f"{name} must not be empty: there is nothing to send.")
    return text


def _optional_text(name: str, value: object) -> str | None:
    return None if value is None else text_of(name, value)


def _identifier(name: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, ChatMessage):
        raise TypeError(f"{name} must be a str, not a ChatMessage: give the message's id.")
    text = text_of(name, value)
    if not text.strip():
        raise ValueError(f"{name} must not be blank.")
    return text


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {_kind(value)}.")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = inf
    if isnan(seconds) or value <= 0:
        raise ConfigurationError(
            f"{name} must be more than 0 seconds (math.inf for no limit), not {value!r}."
        )
    return seconds


def _whole_number(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {_kind(value)}.")
    if value < least:
        raise ConfigurationError(f"{name} must be at least {least}, not {value}.")
    return value


def _params(name: str, value: object) -> Mapping[str, object]:
    """Check completion parameters; those that are `None` are left out, as a server refuses null."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(
            f"{name} must be a mapping of parameter names to JSON values, not {_kind(value)}."
        )
    params: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise TypeError(f"{name} has a key of type {_kind(key)}; parameter names are str.")
        if item is None:
            continue
        try:
            params[key] = json.loads(encode_json(item))  # a copy: the caller may change his own
        except (TypeError, ValueError, RecursionError) as problem:
            raise ValueError(f"{name}[{key!r}] is not JSON: {problem}") from None
    return params


def encode_json(value: object) -> bytes:
    """A JSON body: UTF-8, no `NaN`.

    Raises:
        TypeError, ValueError: the value has no JSON, or holds a lone surrogate.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        "utf-8"
    )


def secret_of(name: str, value: object) -> Secret | None:
    """Check a key or a token, which is wrapped already (`secrets.wrap`).

    Raises:
        ConfigurationError: it is blank, or holds what no header may hold.
    """
    if value is None:
        return None
    assert isinstance(value, Secret), "secrets are wrapped at the door"
    if value.is_known and value.kind != "str":
        raise TypeError(f"{name} must be a str or a Secret, not {value.kind}.")
    problem = _secret_problem(value) if value.is_known else None
    if problem:
        raise ConfigurationError(f"{name} {problem}")
    return value


def _secret_problem(secret: Secret) -> str | None:
    if not secret.reveal():
        return "is blank."
    if not _VISIBLE_ASCII.fullmatch(secret.reveal()):
        return "holds a line end, a space, a control character or a letter outside ASCII."
    return None


def _headers(value: object) -> Mapping[str, str | Secret]:
    """Check the caller's headers, whose credentials are wrapped; names in lower case."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"headers must be a mapping of names to values, not {_kind(value)}.")
    headers: dict[str, str | Secret] = {}
    for name, item in value.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"headers has a name that HTTP does not allow: {name!r}.")
        if name.lower() in _FRAMING:
            raise ConfigurationError(
                f"headers must not hold {name!r}: the transport frames the body."
            )
        kind = item.kind if isinstance(item, Secret) and item.is_known else _kind(item)
        if kind not in ("str", "Secret"):
            raise TypeError(f"headers[{name!r}] must be a str, not {kind}.")
        if not _is_header_value(item):
            raise ConfigurationError(
                f"headers[{name!r}] holds a line end, a control character, a letter outside ASCII, or "
                "begins or ends with a space."
            )
        headers[name.lower()] = item
    return headers


def _is_header_value(value: str | Secret) -> bool:
    if isinstance(value, Secret):
        return not value.is_known or _HEADER_VALUE.fullmatch(value.reveal()) is not None
    return _HEADER_VALUE.fullmatch(value) is not None


def _url(name: str, value: object) -> SplitResult:
    if isinstance(value, Secret):  # it holds an @ (`secrets.wrap_url`)
        raise ConfigurationError(
            f"{name} must hold no user name or password; use api_key or headers."
        )
    text = text_of(name, value).strip()
    try:
        url = urlsplit(text)
        is_usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or re.search(r"[\s\\\x00-\x1f]", text):
        # The value is not shown: a key may have slipped into it.
        lack = "" if "://" in text else "; it lacks http:// or https://"
        raise ConfigurationError(
            f"{name} must be an http or https URL, such as {DEFAULT_BASE_URL} or "
            f"http://localhost:11434{lack}."
        )
    return url._replace(fragment="")


def base_url_of(name: str, value: object) -> str:
    """Check a base URL: no slash at its end, `/v1` where it has no path."""
    url = _url(name, value)
    path = url.path.rstrip("/")
    if path.endswith("/completions"):
        raise ConfigurationError(
            f"{name} ends with the path of an endpoint: leave out what follows /v1, or give the whole "
            "URL as api_reverse_proxy_url."
        )
    return urlunsplit(url._replace(path=path or "/v1"))


def _proxy(value: object) -> str | Secret | None:
    """Check the URL of a proxy, which is wrapped where it holds a password."""
    if value is None:
        return None
    if not isinstance(value, (str, Secret)):
        raise TypeError(f"proxy must be a URL as a str, not {_kind(value)}.")
    if not _is_proxy_url(value):
        raise ConfigurationError("proxy must be a URL such as http://proxy.example:3128.")
    return value


def _is_proxy_url(value: str | Secret) -> bool:
    if isinstance(value, Secret):
        return not value.is_known or _PROXY_URL.fullmatch(value.reveal()) is not None
    return _PROXY_URL.fullmatch(value) is not None


def is_loopback(url: str) -> bool:
    """Whether a URL is that of a server on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


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

    def redactor(self) -> Redactor:
        """A function that masks every secret of these settings in a text."""
        return redactor(self._secrets())

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
    try:
        return _client_settings(given, environment)
    except ConfigurationError:
        raise
    except ValueError as problem:
        raise ConfigurationError(str(problem)) from None


def _client_settings(
    given: Mapping[str, object], environment: Mapping[str, object]
) -> ClientSettings:
    def either(name: str, *variables: str) -> object:
        values = (given[name], *map(environment.get, variables))
        return next((value for value in values if value is not None), None)

    reverse_url, base_url = given["api_reverse_proxy_url"], given["api_base_url"]
    if reverse_url is not None:
        reverse_url = urlunsplit(_url("api_reverse_proxy_url", reverse_url))
    else:
        base_url = (
            either("api_base_url", "OPENAI_BASE_URL", "OPENAI_API_BASE_URL") or DEFAULT_BASE_URL
        )
    # The key is meant for the origin that is given: with a reverse proxy there is no default one.
    base_url = base_url_of("api_base_url", base_url) if base_url is not None else None
    params = _params("completion_params", given["completion_params"])
    settings = ClientSettings(
        api_key=secret_of("api_key", either("api_key", API_KEY_VARIABLE)),
        api_org=secret_of("api_org", either("api_org", API_ORG_VARIABLE, "OPENAI_API_ORG")),
        api_project=_header_text("api_project", either("api_project", "OPENAI_PROJECT_ID")),
        api_base_url=base_url,
        api_reverse_proxy_url=reverse_url,
        model=_model(given["model"], params, either("model", "OPENAI_MODEL")),
        completion_params=params,
        system_message=_optional_text("system_message", given["system_message"]),
        max_model_tokens=_optional_number("max_model_tokens", given["max_model_tokens"]),
        max_response_tokens=_optional_number("max_response_tokens", given["max_response_tokens"]),
        tokenizer=_callable("tokenizer", given["tokenizer"]),
        timeout=_seconds("timeout", given["timeout"]),
        idle_timeout=_seconds("idle_timeout", given["idle_timeout"]),
        connect_timeout=_seconds("connect_timeout", given["connect_timeout"]),
        max_retries=_whole_number("max_retries", given["max_retries"], 0),
        headers=_headers(given["headers"]),
        proxy=_proxy(given["proxy"]),
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


def _header_text(name: str, value: object) -> str | None:
    text = _optional_text(name, value)
    if text is not None and not _VISIBLE_ASCII.fullmatch(text):
        raise ConfigurationError(f"{name} must be visible ASCII without spaces.")
    return text


def _optional_number(name: str, value: object) -> int | None:
    return None if value is None else _whole_number(name, value, 1)


def _callable(name: str, value: object) -> CountTokens | None:
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function from a str to an int, not {_kind(value)}.")
    return value


def _model(explicit: object, params: Mapping[str, object], model: object) -> str:
    in_params = params.get("model")
    if explicit is not None and in_params is not None and explicit != in_params:
        raise ConfigurationError(
            f"model is {explicit!r} and completion_params['model'] is {in_params!r}: give one of them."
        )
    name = in_params if in_params is not None else model if model is not None else DEFAULT_MODEL
    return (_identifier("model", name) or DEFAULT_MODEL).strip()


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
        raise TypeError(f"stream must be True, False or None, not {_kind(stream)}.")
    own_params = _params("completion_params", completion_params)
    params = {**settings.completion_params, **own_params}
    if _LIMITS & own_params.keys():  # one limit of the call stands for both of the client's
        params = {
            key: value for key, value in params.items() if key not in _LIMITS - own_params.keys()
        }
    for key in completion_params if isinstance(completion_params, Mapping) else ():
        if key not in own_params:  # given as None: this call goes without it
            params.pop(key, None)
    model = _identifier("completion_params['model']", own_params.get("model")) or settings.model
    family = family_of(model).with_window(settings.max_model_tokens)
    limit = _response_limit(params) or settings.max_response_tokens
    if limit is not None and not _LIMITS & params.keys():
        params[family.limit_name] = limit
    _room_for_a_prompt(model, settings, limit)
    if on_progress is not None and not callable(on_progress):
        raise TypeError(f"on_progress must be a function, not {_kind(on_progress)}.")
    wants_parts = is_iterated or on_progress is not None
    is_streamed = wants_parts if stream is None else stream
    return CallOptions(
        text=question,
        parent_message_id=_identifier("parent_message_id", parent_message_id),
        conversation_id=_identifier("conversation_id", conversation_id),
        message_id=_identifier("message_id", message_id),
        name=_identifier("name", name),
        is_streamed=is_streamed,
        is_reported=wants_parts and is_streamed,
        system_message=_optional_text(
            "system_message", settings.system_message if system_message is None else system_message
        ),
        model=model,
        family=family,
        params=params,
        reserved_tokens=family.reserve(limit),
        timeout=settings.timeout if timeout is None else _seconds("timeout", timeout),
    )


def _response_limit(params: Mapping[str, object]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        if name in params:
            return _whole_number(f"completion_params[{name!r}]", params[name], 1)
    return None
