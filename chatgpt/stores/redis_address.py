"""Where a `RedisStore` finds its server, for both twins; the URL is a secret.

Strategy: a URL is checked when it is given, by making a connection of it that is never opened. What went wrong
there is said in words of our own, because those of a parser repeat what they could not parse.

Rules:

1. The URL is revealed in functions that raise nothing: error trackers show the names of every frame.
2. Where there are a user name, a password or a passphrase in the URL, a pickle does not carry it (`Secret`).
3. What redis-py raises is one line of a `StoreError`, and its cause, without its frames: they hold the
   password. A server may repeat a password, too, in words of its own: then they are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, Final, Literal, TypeAlias, cast
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from chatgpt.core.errors import ConfigurationError, StoreError
from chatgpt.core.secrets import Secret, wrap
from chatgpt.failures import links_of, without_tracebacks

Package: TypeAlias = Literal["redis", "redis.asyncio"]
"""Where the connections of a twin come from."""

URL_VARIABLE: Final = "REDIS_URL"

CONNECT_TIMEOUT: Final = 5.0
ANSWER_TIMEOUT: Final = 10.0
"""In seconds, where the URL does not say otherwise."""

CONNECTIONS: Final = 64
"""How many there are at most, where the URL does not say otherwise; a call waits for a free one."""

RETRIES: Final = 2
"""How often a command is sent again whose connection was lost: all of ours may be done twice."""

_SCHEMES: Final = ("redis", "rediss", "unix")
_PASSWORDS: Final = ("password", "ssl_password")
_LONGEST_REASON: Final = 300


class RedisAddress:
    """The URL of a server.

    Args:
        url: the URL, wrapped; `None` for that of the environment.
        package: whose connections are made: `"redis"` or `"redis.asyncio"`.
        name: what the URL is called by those who give it.
        timeouts: seconds for connecting and for an answer, where the URL does not say otherwise.

    Raises:
        ConfigurationError: there is none, or it cannot be used.
        TypeError: it is no text.
    """

    def __init__(
        self,
        url: Secret | None,
        package: Package,
        *,
        name: str = "url",
        timeouts: tuple[float, float] = (CONNECT_TIMEOUT, ANSWER_TIMEOUT),
    ) -> None:
        redis_package()
        self._package = package
        self._timeouts = timeouts
        self._url = Secret(None, URL_VARIABLE) if url is None else url
        if url is None and _from_environment() is None:
            raise ConfigurationError(
                f"Give the URL of a Redis server, or set {URL_VARIABLE} in the environment."
            )
        if url is not None and url.kind != "str":
            raise TypeError(f"{name} must be a str, not {url.kind}.")
        self.pool()

    @property
    def url(self) -> Secret:
        """The URL. One that was read in the environment, and left behind by a pickle, is read there again.

        Raises:
            ConfigurationError: it is not there.
        """
        if not self._url.is_known:
            found = _from_environment() if self._url.variable is not None else None
            self._url = found or self._url
            self._url.reveal()
        return self._url

    def pool(self) -> Any:
        """Make a pool of connections, which are opened when they are used.

        Raises:
            ConfigurationError: the URL is not known, or cannot be used.
        """
        redis_package()
        made = _pool_of(self.url, self._package, self._timeouts)
        if isinstance(made, str):
            raise ConfigurationError(made)
        return made

    def secrets(self) -> list[Secret]:
        """What a server must not repeat."""
        return _secrets(self._url) if self._url.is_known else []

    def __str__(self) -> str:
        return _place_of(self._url) if self._url.is_known else "a URL that is not known yet"

    def __reduce__(self) -> tuple[Any, ...]:
        url = self._url
        if url.is_known and url.variable is None and not _secrets(url):
            return _recalled, (url.reveal(), self._package, self._timeouts)
        return _recalled, (url, self._package, self._timeouts)


def _recalled(
    url: str | Secret,
    package: Package,
    timeouts: tuple[float, float] = (CONNECT_TIMEOUT, ANSWER_TIMEOUT),
) -> RedisAddress:
    address = RedisAddress.__new__(RedisAddress)
    address._timeouts = timeouts  # noqa: SLF001 - its own function
    address._url = url if isinstance(url, Secret) else Secret(url)  # noqa: SLF001 - its own function
    address._package = package  # noqa: SLF001 - the same
    return address


def _from_environment() -> Secret | None:
    value = wrap(os.environ.get(URL_VARIABLE, ""), URL_VARIABLE)
    return value if value is not None and value.reveal() else None


class ClientAddress:
    """Where the server of a client is that was given.

    Args:
        client: the client.
        package: whose it should be.

    Raises:
        TypeError: it is another one.
    """

    def __init__(self, client: object, package: Package) -> None:
        redis_package()
        module = import_module(package)
        if not isinstance(client, (module.Redis, module.RedisCluster)):
            kind = type(client)
            raise TypeError(
                f"client must be a {package}.Redis or a {package}.RedisCluster, not a "
                f"{kind.__module__}.{kind.__name__}."
            )
        self._client: Any = client

    @property
    def _options(self) -> Mapping[str, Any]:
        for holder in ("connection_pool", "nodes_manager"):
            options = getattr(getattr(self._client, holder, None), "connection_kwargs", None)
            if options is not None:
                return cast("Mapping[str, Any]", options)
        return getattr(self._client, "connection_kwargs", {})

    def secrets(self) -> list[Secret]:
        """What a server must not repeat."""
        return _wrapped(self._options.get(name) for name in _PASSWORDS)

    def __str__(self) -> str:
        options = self._options
        if "path" in options:
            return str(options["path"])
        if isinstance(self._client, import_module("redis").Redis) or "host" in options:
            return _place(options.get("host", "localhost"), options.get("port"))
        return "the nodes of a cluster"


def redis_package() -> Any:
    """Import redis-py.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import redis
    except ImportError:
        raise ConfigurationError(
            "Redis needs the package redis-py: pip install 'chatgpt-sdk[redis]'"
        ) from None
    return redis


# --- URLs: nothing below raises anything -----------------------------------------------------

_MALFORMED: Final = (
    "The URL of the Redis server is malformed. Percent-encode what is special in its user name and password: "
    "urllib.parse.quote(password, safe='')."
)


def _pool_of(url: Secret, package: Package, timeouts: tuple[float, float]) -> Any:
    """A pool, or what is wrong with the URL, in words that repeat nothing of it."""
    try:
        parts = urlsplit(url.reveal())
        query = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
        is_malformed = bool(parts.fragment) or (parts.scheme != "unix" and parts.port == 0)
    except ValueError:
        return _MALFORMED
    problem = _MALFORMED if is_malformed else _problem_of(parts)
    if problem is not None:
        return problem
    try:
        return _made_pool(url.reveal(), package, timeouts)
    except Exception:  # noqa: BLE001 - whatever redis-py raises of it: it may repeat the URL
        names = "?" if "@" in parts.query else ", ".join(sorted(query))
        return (
            f"redis-py cannot use an option of the URL of the Redis server, or its value ({names})."
        )


def _problem_of(parts: SplitResult) -> str | None:
    if parts.scheme not in _SCHEMES:
        return "The URL of a Redis server begins with redis://, rediss:// or unix://."
    if parts.scheme == "unix":
        if parts.path.strip("/"):
            return None
        return "The URL of a Redis server with a Unix socket is unix:///path/of/the/socket."
    if "@" in parts.path:
        return _MALFORMED
    if not parts.hostname:
        return "The URL of a Redis server names its host: redis://localhost:6379."
    database = unquote(parts.path).strip("/")
    if database and not (database.isascii() and database.isdecimal()):
        return "After the host, the URL of a Redis server has the number of a database, or nothing."
    return None


def _made_pool(url: str, package: Package, timeouts: tuple[float, float]) -> Any:
    # Where a connection was lost it is tried again, and not where an answer takes too long.
    backoff = import_module("redis.backoff").ExponentialBackoff(cap=0.1, base=0.025)
    connections = import_module(f"{package}.connection")
    lost = (import_module("redis").ConnectionError,)
    options = {
        "connection_class": connections.Connection,
        "socket_connect_timeout": timeouts[0],
        "socket_timeout": timeouts[1],
        "max_connections": CONNECTIONS,
        "protocol": 2,  # nothing of the newer one is needed, and it takes one greeting more
        "retry_on_error": [*lost],  # older versions of redis-py ask for both
        "retry": import_module(f"{package}.retry").Retry(backoff, RETRIES, lost),
        **connections.parse_url(url),
    }
    if not issubclass(options["connection_class"], connections.UnixDomainSocketConnection):
        options.setdefault("socket_keepalive", True)
    if package == "redis":
        pool = connections.BlockingConnectionPool(**{"timeout": ANSWER_TIMEOUT, **options})
    else:
        options.pop("timeout", None)  # of a pool that lets calls wait: here the store does it
        pool = connections.ConnectionPool(**options)
    pool.connection_class(**pool.connection_kwargs)  # knows its options
    return pool


def _secrets(url: Secret) -> list[Secret]:
    """The passwords in a URL, as they are written, and as they are meant."""
    parts = urlsplit(url.reveal())
    query = parse_qs(parts.query)
    found = [parts.password, *(value for name in _PASSWORDS for value in query.get(name, []))]
    if not any(found):  # then a user name is often a password in the wrong place
        found = [parts.username, *query.get("username", [])]
    return _wrapped(form for value in found if value for form in (value, unquote(value)))


def _wrapped(values: Iterable[object]) -> list[Secret]:
    return [Secret(value) for value in values if isinstance(value, str) and value]


def _place_of(url: Secret) -> str:
    parts = urlsplit(url.reveal())
    if parts.scheme == "unix":
        return unquote(parts.path)
    return _place(unquote(parts.hostname or ""), parts.port)


def _place(host: object, port: object) -> str:
    return f"[{host}]:{port or 6379}" if ":" in str(host) else f"{host}:{port or 6379}"


# --- failures --------------------------------------------------------------------------------


def failures_of_redis() -> tuple[type[BaseException], ...]:
    """What redis-py raises where a server or the network fails."""
    redis = import_module("redis.exceptions")
    library = (redis.RedisError, redis.RedisClusterException, redis.ChildDeadlockedError)
    return (
        *library,
        OSError,
        EOFError,
        UnicodeError,
    )  # the last one: of a host that has no valid name


def store_error(
    error: BaseException, handled: BaseException | None, address: RedisAddress | ClientAddress
) -> StoreError:
    """Make the error of a store of what redis-py raised.

    Args:
        error: what was raised; its frames are dropped.
        handled: what the caller was handling when he called (`sys.exception()`).
        address: where the server is.
    """
    without_tracebacks(error, handled)
    shown = " ".join(f"{link} {link!r} {vars(link)}" for link in links_of(error, hidden=True))
    is_secret = any(secret.reveal() in shown for secret in address.secrets())
    name = type(error).__name__
    reason = name if is_secret else " ".join(str(error).split())[:_LONGEST_REASON] or name
    if name in {"MovedError", "AskError"}:
        reason = "it is a node of a cluster: give `of_client` a RedisCluster"
    problem = StoreError(f"Redis at {address} failed: {reason.rstrip('.')}.")
    problem.__cause__ = None if is_secret else error
    return problem
