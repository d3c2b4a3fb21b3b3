"""Keys and tokens that nothing prints.

Strategy: a secret is wrapped at the door and revealed at the moment of sending. In between it is
a `Secret`, which is not a `str`: it cannot be formatted, joined, logged or pickled by accident.

Rules:

1. A secret is revealed to be sent, in a frame of the transports that raises nothing; and to be
   checked, masked or compared, in frames that keep no name of it.
2. A pickle names the environment variable that holds the secret, never its value.
3. Text that comes from outside (error bodies, a transport's words) passes `Redactor` before it
   becomes part of an error: servers like to repeat the key that they refuse.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from chatgpt.core.errors import ConfigurationError

MASK: Final = "***"

API_KEY_VARIABLE: Final = "OPENAI_API_KEY"
API_ORG_VARIABLE: Final = "OPENAI_ORG_ID"
ACCESS_TOKEN_VARIABLE: Final = "OPENAI_ACCESS_TOKEN"
SESSION_TOKEN_VARIABLE: Final = "OPENAI_SESSION_TOKEN"
CLEARANCE_TOKEN_VARIABLE: Final = "OPENAI_CLEARANCE_TOKEN"
EMAIL_VARIABLE: Final = "OPENAI_EMAIL"
PASSWORD_VARIABLE: Final = "OPENAI_PASSWORD"
PROXY_VARIABLE: Final = "HTTPS_PROXY"

Redactor = Callable[[str], str]
"""A function that returns a text with every known secret in it replaced by `***`."""

# The parts of a secret that a server may repeat alone: what follows the scheme (`Bearer sk-...`), the
# values of a cookie.
_PARTS: Final = re.compile(r"^[A-Za-z]+ +(\S+)$|=([^;,\s]+)")
# A proxy repeats its password bare, or as the header in which it came.
_CREDENTIALS: Final = re.compile(r"^[A-Za-z0-9]+://([^/@]*):([^/@]+)@")
_SHORTEST: Final = 6
_SHORTEST_PART: Final = 8

# A header is a credential when its name says so: `Authorization`, `api-key`, `X-Auth-Token`,
# `Cookie`, `X-Amz-Security-Token`. Better one too many than one too few: it costs only a mask.
_CREDENTIAL_WORDS: Final = (
    "assertion",
    "auth",
    "bearer",
    "cookie",
    "credential",
    "dpop",
    "hmac",
    "jwt",
    "key",
    "oidc",
    "organization",
    "pass",
    "pwd",
    "secret",
    "session",
    "signature",
    "token",
)


# Fields of URLs that hold one and do not say so: those of Azure's functions and of its signed links.
_CREDENTIAL_FIELDS: Final = frozenset({"code", "sig"})

# What a server of the web flow makes itself and writes into an answer: in a field of JSON, be it cut
# or broken, or anywhere as a JSON web token (RFC 7519), which begins with `{"` in base64.
_COOKIE: Final = re.compile(r"(?:session-token|cf_clearance)[\w.-]{0,40}=([^;,\s'\"]+)")
_TOKEN_FIELD: Final = re.compile(
    r'"(?:access|session|refresh|id)_?token"\s*:\s*"((?:[^"\\]|\\.)+)', re.IGNORECASE
)
_WEB_TOKEN: Final = re.compile(r"(?<![\w-])eyJ[\w-]{5,}+(?:\.[\w-]++){1,4}")


class Secret:
    """A string that no repr, log, error, traceback or pickle shows.

    Args:
        value: the secret, or `None` where it was left behind by a pickle.
        variable: the environment variable that holds it, named in pickles and messages; a client
            that is unpickled reads it there. By default none: it has to be given again.

    Two secrets are equal when their values are; a secret is never equal to a `str`.
    """

    __slots__ = ("_value", "_variable")

    def __init__(self, value: str | None, variable: str | None = None) -> None:
        self._value = value
        self._variable = variable

    def reveal(self) -> str:
        """Return the value itself.

        Raises:
            ConfigurationError: the value was not carried by a pickle, and has to be set again.
        """
        if self._value is None:
            where = f"set {self._variable} in the environment, or " if self._variable else ""
            raise ConfigurationError(f"A secret is not carried by a pickle: {where}give it again.")
        return self._value

    @property
    def variable(self) -> str | None:
        """The environment variable that holds this secret, where there is one."""
        return self._variable

    @property
    def kind(self) -> str:
        """The name of the value's type: a value of the wrong type is wrapped, too, and refused."""
        return type(self._value).__name__

    @property
    def is_known(self) -> bool:
        """Whether there is a value to reveal."""
        return self._value is not None

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, specification: str) -> str:
        return format(MASK, specification)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> tuple[type[Secret], tuple[None, str | None]]:
        return Secret, (None, self._variable)


def revealed(value: str | Secret) -> str:
    """A value as it is sent."""
    return value.reveal() if isinstance(value, Secret) else value


def is_credential(header_name: str) -> bool:
    """Whether a header of this name is treated as a secret."""
    name = header_name.lower()
    return any(word in name for word in _CREDENTIAL_WORDS)


def wrap(value: Any, variable: str | None = None) -> Secret | None:
    """Wrap a caller's secret before anything can fail, even if it is of the wrong type.

    White space around a text is dropped: a line end from a file is no part of a key.
    """
    if value is None or isinstance(value, Secret):
        return value
    return Secret(value.strip() if isinstance(value, str) else value, variable)


def wrap_headers(headers: object) -> object:
    """Wrap the credentials among a caller's headers before anything can fail."""
    if headers is None:
        return None
    if not isinstance(headers, Mapping):  # it may hold some all the same, and is refused
        return Secret(headers)  # type: ignore[arg-type] # of the wrong type
    return {
        name: wrap(value) if isinstance(name, str) and is_credential(name) else value
        for name, value in headers.items()
    }


def wrap_url(url: object, variable: str | None = None) -> object:
    """Wrap a URL before anything can fail, if it may hold a user name and a password, or a key in its query."""
    if not isinstance(url, str):
        return url
    fields = (field.partition("=") for field in re.split("[?&#]", url)[1:])
    has_key = any(
        is_credential(name) or name.lower() in _CREDENTIAL_FIELDS or value.startswith("sk-")
        for name, _, value in fields
    )
    return wrap(url, variable) if has_key or _has_user(url) else url


def _has_user(url: str) -> bool:
    try:
        authority = urlsplit(url).netloc
    except ValueError:
        authority = ""
    return "@" in (authority or url)


class SecretMask:
    """A `Redactor` that learns: the shells tell it of secrets that only they know.

    Masked are a secret, the parts of it that a server may repeat alone, and both as JSON, URLs and
    Python write them. What has fewer than 6 characters (a part: 8) is a dummy (`x`, `none`) or no
    secret, and its mask would only mutilate the text.

    Args:
        secrets: what is masked.
        forms: what `masked_forms` made of others.
    """

    def __init__(self, secrets: Iterable[Secret] = (), forms: Iterable[Secret] = ()) -> None:
        self._values = [form.reveal() for form in forms]
        self.also(secrets)

    def also(self, secrets: Iterable[Secret]) -> None:
        """Mask these secrets, too."""
        masked = _masked(secrets) if secrets else ()
        if masked:  # the longest first: a secret may be a part of another
            self._values = sorted({*self._values, *masked}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """A text with every secret in it replaced by `***`."""
        for value in self._values:
            if value in text:
                text = text.replace(value, MASK)
        return text


def masked_forms(secrets: Iterable[Secret]) -> tuple[Secret, ...]:
    """All that a mask of these secrets replaces, the longest first: made once, and kept as secrets."""
    return tuple(map(Secret, sorted(_masked(secrets), key=len, reverse=True)))


def masked_values(value: object, redact: Redactor) -> Any:
    """Parsed JSON with the secrets masked in all of its texts; `None` where it is nested too deeply to look."""
    try:
        match value:
            case str():
                return redact(value)
            case list():
                return [masked_values(item, redact) for item in value]
            case dict():
                return {redact(name): masked_values(item, redact) for name, item in value.items()}
            case _:
                return value
    except RecursionError:
        return None


def tokens_in(text: str) -> list[Secret]:
    """The tokens that a server wrote into an answer."""
    found = [*_COOKIE.findall(text), *_WEB_TOKEN.findall(text)]
    for field in _TOKEN_FIELD.findall(text):
        found += [field, field.replace("\\/", "/")]  # PHP writes a slash so
    return [Secret(token) for token in found]


def _masked(secrets: Iterable[Secret]) -> set[str]:
    whole = {secret.reveal() for secret in secrets if secret.is_known}
    parts = {part for value in whole for found in _PARTS.findall(value) for part in found}
    masked = {value for value in whole if len(value) >= _SHORTEST}
    masked |= {part for part in parts if len(part) >= _SHORTEST_PART}
    masked |= {part for value in whole for part in _credentials(value) if len(part) >= _SHORTEST}
    return {form for value in masked for form in _forms(value)}


def _credentials(value: str) -> Iterator[str]:
    found = _CREDENTIALS.match(value)
    if found:
        user, password = map(unquote, found.groups())
        yield password
        for raw in _encoded(f"{user}:{password}"):
            yield b64encode(raw).decode()


def shows_secret(error: BaseException | None, redact: Redactor) -> bool:
    """Whether an exception repeats a secret: a server may write one where HTTP should be."""
    shown = f"{error!r} {error} {getattr(error, '__dict__', '')}"
    return redact(shown) != shown


def _forms(value: str) -> Iterator[str]:
    yield value
    yield unquote(value)
    yield quote(value, safe="", errors="replace")
    yield json.dumps(value)[1:-1]
    yield value.replace("/", "\\/")
    for raw in _encoded(value):
        yield repr(raw)[2:-1]
        yield raw.decode("latin-1")


def _encoded(value: str) -> Iterator[bytes]:
    """The bytes as which a text may travel: urllib3 takes Latin-1, httpx2 UTF-8."""
    yield value.encode("utf-8", "replace")
    if not value.isascii():
        yield value.encode("latin-1", "replace")
