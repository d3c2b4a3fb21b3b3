"""One value at a time: what a caller may give, and the message when he gives something else.

Rules:

1. A value of the wrong type is a `TypeError`, a bad value a `ValueError`. The message names the
   option, says what was given and what is accepted; it shows no value that may be a secret.
2. What is returned can be sent: text without lone surrogates, headers without line ends, JSON
   without `NaN`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, signature
from ipaddress import ip_address
from math import inf, isnan
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, urlsplit, urlunsplit

from chatgpt.core.cancelling import CancelToken
from chatgpt.core.errors import ConfigurationError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import CountTokens
from chatgpt.core.secrets import Secret, revealed
from chatgpt.core.surrogates import lenient, strict

_Function = TypeVar("_Function")
_Word = TypeVar("_Word", bound=str)

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"

_EXAMPLES: Final = f"{DEFAULT_BASE_URL} or http://localhost:11434"

_VISIBLE_ASCII: Final = re.compile(r"[\x21-\x7e]+")
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?|")
_UUID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
)
_PROXY_URL: Final = re.compile(r"(?:https?|socks5h?)://[^\s/?#]*[^\s/?#@]/?", re.IGNORECASE)


def kind_of(value: object) -> str:
    """A value's type, for a message. Never the value: it may be a secret in the wrong place."""
    return type(value).__name__


def text_of(name: str, value: object) -> str:
    """Check that an argument is text that can be sent."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {kind_of(value)}.")
    return strict(name, value)


def text_to_send(name: str, value: object) -> str:
    """Check that an argument is text that can be sent, and not empty."""
    text = text_of(name, value)
    if not text:
        raise ValueError(f"{name} must not be empty: there is nothing to send.")
    return text


def optional_text(name: str, value: object) -> str | None:
    """Check that an argument is text, or `None`."""
    return None if value is None else text_of(name, value)


def identifier(name: str, value: object) -> str | None:
    """Check that an argument is text that is not blank, or `None`."""
    if value is None:
        return None
    if isinstance(value, ChatMessage):
        raise TypeError(f"{name} must be a str, not a ChatMessage: give the message's id.")
    text = text_of(name, value)
    if not text.strip():
        raise ValueError(f"{name} must not be blank.")
    return text


def required_identifier(name: str, value: object) -> str:
    """Check that an argument is text that is not blank."""
    checked = identifier(name, value)
    if checked is None:
        raise TypeError(f"{name} must be a str, not NoneType.")
    return checked


def seconds_of(name: str, value: object) -> float:
    """Check that an argument is a positive number of seconds; `math.inf` is one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {kind_of(value)}.")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = inf
    if isnan(seconds) or value <= 0:
        raise ConfigurationError(
            f"{name} must be more than 0 seconds (math.inf for no limit), not {value!r}."
        )
    return seconds


def whole_number(name: str, value: object, least: int) -> int:
    """Check that an argument is an `int` of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {kind_of(value)}.")
    if value < least:
        raise ConfigurationError(f"{name} must be at least {least}, not {value}.")
    return value


def params_of(name: str, value: object) -> Mapping[str, object]:
    """Check completion parameters; those that are `None` are left out, as a server refuses null."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(
            f"{name} must be a mapping of parameter names to JSON values, not {kind_of(value)}."
        )
    params: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise TypeError(f"{name} has a key of type {kind_of(key)}; parameter names are str.")
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


def lenient_json(name: str, value: Mapping[str, object]) -> Mapping[str, object]:
    """A JSON object of a store as it can be sent: without lone surrogates.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        travelling = json.dumps(dict(value), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as problem:
        raise ValueError(f"{name} is not JSON: {problem}") from None
    loaded: Mapping[str, object] = json.loads(lenient(travelling))
    return loaded


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


def credential_of(name: str, value: object) -> Secret | None:
    """Check what somebody signs in with, which is wrapped already: text that is not empty, or `None`."""
    if value is None:
        return None
    assert isinstance(value, Secret), "secrets are wrapped at the door"
    if value.is_known and value.kind != "str":
        raise TypeError(f"{name} must be a str or a Secret, not {value.kind}.")
    if value.is_known and not value.reveal():
        raise ConfigurationError(f"{name} is blank.")
    if value.is_known and lenient(value.reveal()) != value.reveal():
        raise ConfigurationError(f"{name} is not valid Unicode.")
    return value


def is_visible_ascii(secret: Secret) -> bool:
    """Whether a secret can stand in a header."""
    return _VISIBLE_ASCII.fullmatch(secret.reveal()) is not None


def _secret_problem(secret: Secret) -> str | None:
    if not secret.reveal():
        return "is blank."
    if secret.reveal().lower().startswith("bearer "):
        return "begins with the word Bearer: leave it out."
    if not is_visible_ascii(secret):
        return "holds a line end, a space, a control character or a letter outside ASCII."
    return None


def headers_of(value: object) -> Mapping[str, str | Secret]:
    """Check the caller's headers, whose credentials are wrapped; names in lower case."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        kind = value.kind if isinstance(value, Secret) else kind_of(value)
        raise TypeError(f"headers must be a mapping of names to values, not {kind}.")
    headers: dict[str, str | Secret] = {}
    for name, item in value.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"headers has a name that HTTP does not allow: {name!r}.")
        if name.lower() in _FRAMING:
            raise ConfigurationError(
                f"headers must not hold {name!r}: the transport frames the body."
            )
        kind = item.kind if isinstance(item, Secret) and item.is_known else kind_of(item)
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


def url_of(name: str, value: object, example: str = _EXAMPLES) -> SplitResult:
    """Check that an argument is an http or https URL that holds no password.

    Args:
        name: the argument's name, for the message.
        value: its value.
        example: what could stand there.
    """
    if isinstance(value, Secret):  # `secrets.wrap_url` saw one
        raise ConfigurationError(
            f"{name} must hold no user name or password, nor a key in its query: give them in headers. (URLs are logged.)"
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
        raise ConfigurationError(f"{name} must be an http or https URL, such as {example}{lack}.")
    return url._replace(fragment="")


def base_url_of(name: str, value: object) -> str:
    """Check a base URL: no slash at its end, `/v1` where it has no path."""
    url = url_of(name, value)
    path = url.path.rstrip("/")
    if path.endswith("/completions"):
        raise ConfigurationError(
            f"{name} ends with the path of an endpoint: leave out what follows /v1, or give the whole "
            "URL as api_reverse_proxy_url."
        )
    return urlunsplit(url._replace(path=path or "/v1"))


def proxy_of(value: object) -> str | Secret | None:
    """Check the URL of a proxy, which is wrapped where it holds a password."""
    if value is None:
        return None
    if not isinstance(value, (str, Secret)):
        raise TypeError(f"proxy must be a URL as a str, not {kind_of(value)}.")
    if not is_proxy_url(value):
        raise ConfigurationError("proxy must be a URL such as http://proxy.example:3128.")
    return value


def is_proxy_url(value: str | Secret) -> bool:
    """Whether a value is the URL of a proxy: `http`, `https`, or `socks5` (the proxy finds names)."""
    if isinstance(value, Secret) and not value.is_known:
        return True
    try:
        url = revealed(value)
        port = urlsplit(url).port
    except ValueError:
        return False
    return port != 0 and url.isascii() and _PROXY_URL.fullmatch(url) is not None


def is_loopback(url: str) -> bool:
    """Whether a URL is that of a server on this machine."""
    return _is_loopback_host(urlsplit(url).hostname or "")


@lru_cache(maxsize=64)
def _is_loopback_host(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def header_text(name: str, value: object) -> str | None:
    """Check that an argument is text that can stand in a header, or `None`."""
    text = optional_text(name, value)
    if text is not None and not _VISIBLE_ASCII.fullmatch(text):
        raise ConfigurationError(f"{name} must be visible ASCII without spaces.")
    return text


def header_line(name: str, value: object) -> str:
    """Check that an argument is text that can stand in a header, spaces inside it included."""
    text = text_of(name, value)
    if not text:
        raise ConfigurationError(f"{name} must not be empty.")
    if not _is_header_value(text):
        raise ConfigurationError(
            f"{name} must be ASCII without line ends and control characters, and not begin or end with a space."
        )
    return text


def uuid_of(name: str, value: object, versions: str = "4") -> str | None:
    """Check that an argument is a uuid, or `None`.

    Args:
        name: the argument's name, for the message.
        value: its value.
        versions: the versions that are accepted, each a digit.
    """
    text = identifier(name, value)
    if text is None:
        return None
    found = _UUID.fullmatch(text)
    if found is None or found[1] not in versions:
        accepted = " or ".join(versions)
        raise ValueError(f"{name} must be a uuid of version {accepted}, not {text[:100]!r}.")
    return text


def required_uuid(name: str, value: object, versions: str = "4") -> str:
    """Check that an argument is a uuid, as `uuid_of` does, and not `None`."""
    found = uuid_of(name, value, versions)
    if found is None:
        raise TypeError(f"{name} must be a str, not NoneType.")
    return found


def one_of(name: str, value: object, accepted: Sequence[_Word]) -> _Word:
    """Check that an argument is one of a few words."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {kind_of(value)}.")
    for word in accepted:
        if word == value:
            return word
    words = ", ".join(map(repr, accepted))
    raise ValueError(f"{name} must be one of {words}, not {value[:100]!r}.")


def truth_of(name: str, value: object) -> bool:
    """Check that an argument is `True` or `False`."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {kind_of(value)}.")
    return value


def optional_number(name: str, value: object) -> int | None:
    """Check that an argument is an `int` of at least 1, or `None`."""
    return None if value is None else whole_number(name, value, 1)


def token_of(name: str, value: object) -> CancelToken | None:
    """Check that an argument is a `CancelToken`, or `None`."""
    if value is None or isinstance(value, CancelToken):
        return value
    made = ": make one of the class" if value is CancelToken else f", not {kind_of(value)}"
    raise TypeError(f"{name} must be a CancelToken{made}.")


def function_of(name: str, value: _Function) -> _Function:
    """Check that an argument is a function, or `None`."""
    if value is None:
        return value
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {kind_of(value)}.")
    if isgeneratorfunction(value) or isasyncgenfunction(value):
        raise TypeError(f"{name} must be a function without `yield`: calling it would do nothing.")
    return value


def function_taking(name: str, value: _Function, keywords: Sequence[str]) -> _Function:
    """Check that an argument is a function that can be called with these keywords, or `None`."""
    if function_of(name, value) is None:
        return value
    try:
        signature(value, follow_wrapped=False).bind(**dict.fromkeys(keywords))  # type: ignore[arg-type] # it is a function
    except TypeError as problem:
        words = ", ".join(keywords)
        raise TypeError(f"{name} is called with the keywords {words}: {problem}.") from None
    except ValueError:  # a function in C that tells no signature
        return value
    return value


def plain_function(name: str, value: _Function) -> _Function:
    """Check that an argument is a function that need not be awaited, or `None`."""
    if is_asynchronous(function_of(name, value)):
        raise TypeError(
            f"{name} must be a plain function, not an async one: nothing awaits it here. "
            "The clients of chatgpt_async take both."
        )
    return value


def is_asynchronous(function: Any) -> bool:
    """Whether a function, a method or an object that is called has to be awaited."""
    while isinstance(function, partial):
        function = function.func
    return iscoroutinefunction(function) or iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - what its call is, not whether it has one
    )


def tokenizer_of(name: str, value: object) -> CountTokens | None:
    """Check that an argument is a function, or `None`."""
    if value is not None and (not callable(value) or is_asynchronous(value)):
        kind = "an async function" if callable(value) else kind_of(value)
        raise TypeError(f"{name} must be a function from a str to an int, not {kind}.")
    return value
