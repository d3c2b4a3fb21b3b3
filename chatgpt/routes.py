"""How a request gets to its server, for both twins: the proxy, and the certificates it trusts.

Strategy: requests and httpx2 read different environment variables, and mean different things by the
same ones. So neither is let near the environment: what it says is read here, before each request,
and handed to them.

Rules:

1. A proxy that was given wins over the environment: `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY`, in
   either case of letters, or what the system is set to (`urllib.request.getproxies`).
2. `NO_PROXY` holds, separated by commas: `*`, host names (their subdomains included, with or without
   a dot before), `host:port`, addresses, and networks such as `10.0.0.0/8`.
3. A server on this machine is asked directly, unless a proxy was given: one of the environment could not reach it, and
   need not see its key.
4. Trusted are the certificates of the first of `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`,
   `SSL_CERT_FILE` and `SSL_CERT_DIR` that is set, else those of certifi.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
from attrs import field, frozen

from chatgpt.core.needs import HttpRequest, TransportFailure
from chatgpt.core.secrets import MASK, PROXY_VARIABLE, Secret, revealed, wrap_url
from chatgpt.core.validation import is_loopback, is_proxy_url

IDLE_CONNECTIONS: Final = 32
"""How many idle connections to a server a client keeps for the next call."""

CERTIFICATE_VARIABLES: Final = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


@frozen
class Route:
    """How a request gets to its server.

    Attributes:
        proxy: the URL of the proxy; `None` for none. `socks5h`, because it is the proxy that looks
            names up.
        is_socks: whether the proxy speaks SOCKS.
        is_proxy_tls: whether TLS is spoken with the proxy itself.
        certificates: the path of a file or a directory of the certificates that are trusted; `None`
            where no TLS is spoken.
    """

    proxy: str | Secret | None = field(repr=False)
    is_socks: bool
    is_proxy_tls: bool
    certificates: str | None

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The URL of the proxy, if it holds a password."""
        return (self.proxy,) if isinstance(self.proxy, Secret) else ()


@frozen(kw_only=True)
class RouteReport:
    """How the messages of a client get to its server. No secret is in it.

    Attributes:
        url: where they are posted, without its query.
        proxy: the URL of the proxy, `***` in place of a user and a password; `None` for none.
        certificates: the path of a file or a directory of the certificates that are trusted; `None`
            where no TLS is spoken.
    """

    url: str
    proxy: str | None
    certificates: str | None


def route_of(request: HttpRequest, proxy: str | Secret | None, socks_package: str) -> Route:
    """Choose the route of a request.

    Args:
        request: the request.
        proxy: the URL of the proxy that was given, checked.
        socks_package: the package that speaks SOCKS for the transport.

    Raises:
        TransportFailure: the environment makes it useless to try.
    """
    url = urlsplit(request.url)
    if proxy is None and not request.is_local:
        proxy = _proxy_of_environment(url)
    scheme = revealed(proxy or "").partition("://")[0].lower()
    if scheme.startswith("socks"):
        proxy = _socks(proxy, socks_package)
    return Route(
        proxy=proxy,
        is_socks=scheme.startswith("socks"),
        is_proxy_tls=scheme == "https",
        certificates=_certificates() if "https" in (url.scheme, scheme) else None,
    )


def report_of(url: str, proxy: str | Secret | None, socks_package: str) -> RouteReport:
    """Say how a message gets to a URL, which holds no user.

    Args:
        url: where it is posted.
        proxy: the URL of the proxy that was given, checked.
        socks_package: the package that speaks SOCKS for the transport.

    Raises:
        TransportFailure: the environment makes it useless to try.
    """
    request = HttpRequest("POST", url, {}, b"", is_loopback(url))
    route = route_of(request, proxy, socks_package)
    return RouteReport(
        url=url.partition("?")[0],
        proxy=None if route.proxy is None else _without_user(revealed(route.proxy)),
        certificates=route.certificates,
    )


def _without_user(proxy: str) -> str:
    scheme, _, rest = proxy.partition("://")
    user, _, host = rest.rpartition("@")
    return f"{scheme}://{MASK}@{host}" if user else f"{scheme}://{host}"


def _socks(proxy: str | Secret | None, package: str) -> str | Secret | None:
    if find_spec(package) is None:
        raise TransportFailure(
            "unusable", "a SOCKS proxy needs the extra 'socks': pip install 'chatgpt-sdk[socks]'"
        )
    if isinstance(proxy, Secret):
        return Secret(_socks5h(proxy.reveal()), proxy.variable)
    return _socks5h(proxy or "")


def _socks5h(url: str) -> str:
    return f"socks5h://{url.partition('://')[2]}"


def _proxy_of_environment(url: SplitResult) -> str | Secret | None:
    found = getproxies()
    proxy = found.get(url.scheme) or found.get("all")
    if not proxy or _is_excepted(url, found.get("no", "")):
        return None
    wrapped = wrap_url(proxy if "://" in proxy else f"http://{proxy}", PROXY_VARIABLE)
    if not isinstance(wrapped, (str, Secret)) or not is_proxy_url(wrapped):
        raise TransportFailure(
            "unusable",
            "the proxy of the environment must be a URL such as http://proxy.example:3128",
        )
    return wrapped


def _is_excepted(url: SplitResult, no_proxy: str) -> bool:
    host = url.hostname or ""
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    entries = [entry.strip() for entry in no_proxy.split(",")]
    return (
        "*" in entries
        or any(_holds(entry, host) for entry in entries)
        or bool(proxy_bypass(f"{host}:{port}"))
    )


def _holds(entry: str, host: str) -> bool:
    """Whether an entry of `NO_PROXY` is an address, or a network that holds it."""
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False


def _certificates() -> str:
    for variable in CERTIFICATE_VARIABLES:
        path = os.environ.get(variable)
        if path:
            problem = None if os.access(path, os.R_OK) else "cannot be read"
            if not os.path.exists(path):  # noqa: PTH110 - it stays what the variable says
                problem = "does not exist"
            if problem:
                raise TransportFailure(
                    "unusable", f"{variable} is set to {path!r}, which {problem}"
                )
            return path
    return certifi.where()
