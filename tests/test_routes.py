"""Proxies and certificates: both twins read the same variables, and mean the same by them."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from chatgpt import APIConnectionError, ChatGPTAPI, ChatGPTError, ConfigurationError
from chatgpt.core.needs import HttpRequest, TransportFailure
from chatgpt.core.secrets import Secret
from chatgpt.routes import CERTIFICATE_VARIABLES, Route, route_of
from chatgpt.testing import ChatGPTServer
from tests.engines import Engine
from tests.tunnels import SocksTunnel, Tunnel

SOCKS_HERE = "json"
"""A package that is installed."""


@pytest.fixture(autouse=True)
def _no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CERTIFICATE_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def route(url: str, proxy: str | Secret | None = None, *, is_local: bool = False) -> Route:
    return route_of(HttpRequest("POST", url, {}, b"", is_local=is_local), proxy, SOCKS_HERE)


def proxy_of(url: str) -> str | None:
    proxy = route(url).proxy
    return proxy.reveal() if isinstance(proxy, Secret) else proxy


# --- proxies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "http", "https"),
    [
        ({}, None, None),
        ({"HTTP_PROXY": "http://p:1"}, "http://p:1", None),
        ({"https_proxy": "http://p:1"}, None, "http://p:1"),
        ({"ALL_PROXY": "socks5://p:1"}, "socks5h://p:1", "socks5h://p:1"),
        ({"ALL_PROXY": "SOCKS5H://u:pass@p:1"}, "socks5h://u:pass@p:1", "socks5h://u:pass@p:1"),
        ({"ALL_PROXY": "http://p:1", "HTTP_PROXY": "http://q:2"}, "http://q:2", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "http_proxy": "http://q:2"}, "http://q:2", None),
        ({"HTTPS_PROXY": "p:1"}, None, "http://p:1"),
        ({"HTTPS_PROXY": "http://user:pass@p:1"}, None, "http://user:pass@p:1"),
        ({"HTTP_PROXY": ""}, None, None),
    ],
)
def test_the_variables_of_proxies(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], http: str | None, https: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_of("http://chat.example/v1") == http
    assert proxy_of("https://chat.example/v1") == https


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_excepted"),
    [
        ("*", "http://chat.example/", True),
        ("other.example, *", "http://chat.example/", True),
        ("chat.example", "http://chat.example/", True),
        ("CHAT.example", "http://chat.EXAMPLE/", True),
        (".example", "http://chat.example/", True),
        ("example", "http://chat.example/", True),
        ("at.example", "http://chat.example/", False),
        ("chat.example:8080", "http://chat.example:8080/", True),
        ("chat.example:8080", "http://chat.example/", False),
        ("chat.example:443", "https://chat.example/", True),
        ("other.example,chat.example", "http://chat.example/", True),
        ("10.0.0.0/8", "http://10.1.2.3/", True),
        ("10.0.0.0/8", "http://11.1.2.3/", False),
        ("10.0.0.0/8", "http://chat.example/", False),
        ("10.1.2.3", "http://10.1.2.3/", True),
        ("10.1.2.3:80", "http://10.1.2.3/", True),
        ("2001:db8::/32", "http://[2001:db8::1]/", True),
        ("[2001:db8::1]", "http://[2001:db8::1]/", True),
        ("nonsense/nonsense", "http://10.1.2.3/", False),
        ("", "http://chat.example/", False),
    ],
)
def test_the_exceptions_from_proxies(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, url: str, is_excepted: bool
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (proxy_of(url) is None) == is_excepted


def test_a_proxy_that_was_given_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", "*")
    assert route("http://chat.example/", "http://mine:2").proxy == "http://mine:2"
    assert route("http://127.0.0.1/", "http://mine:2", is_local=True).proxy == "http://mine:2"


def test_this_machine_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://p:1")
    assert route("http://127.0.0.1/", is_local=True).proxy is None


def test_a_password_of_the_environment_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pass@p:1")
    chosen = route("https://chat.example/")
    assert isinstance(chosen.proxy, Secret)
    assert "pass" not in repr(chosen)


@pytest.mark.parametrize(
    "value",
    ["ftp://p:1", "http://", "http://p :1", "socks4://p:1", "http://p:99999", "http://u:pä@p:1"],
)
def test_a_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(TransportFailure, match="must be a URL such as") as caught:
        route("https://chat.example/")
    assert caught.value.kind == "unusable"


def test_socks_needs_a_package() -> None:
    request = HttpRequest("POST", "http://chat.example/", {}, b"")
    for scheme in ("socks5", "socks5h", "SOCKS5"):
        with pytest.raises(TransportFailure, match=r"pip install 'chatgpt-sdk\[socks\]'"):
            route_of(request, f"{scheme}://p:1", "no_such_package")
        chosen = route_of(request, f"{scheme}://p:1", SOCKS_HERE)
        assert (chosen.proxy, chosen.is_socks) == ("socks5h://p:1", True), "the proxy finds names"


def test_the_proxy_of_the_environment_is_asked(
    engine: Engine, chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read for each request: a proxy for plain HTTP is asked for the whole URL."""
    client = engine.client(api_key="sk-test", api_base_url="http://chat.example/v1", max_retries=0)
    monkeypatch.setenv("HTTP_PROXY", chatgpt_server.base_url.removesuffix("/v1"))
    with pytest.raises(ChatGPTError, match="404 Not Found: Invalid URL"):
        client.send_message("hi")
    assert chatgpt_server.requests[0].path == "http://chat.example/v1/chat/completions"
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(APIConnectionError, match="the proxy failed: .*refused"):
        client.send_message("hi")
    monkeypatch.setenv("HTTP_PROXY", "nonsense://p")
    with pytest.raises(ConfigurationError, match="the proxy of the environment must be a URL"):
        client.send_message("hi")
    assert len(chatgpt_server.requests) == 1


# --- certificates ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[ChatGPTServer]:
    """The loopback server behind TLS, with a certificate of our own authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = ChatGPTServer()
    server._http.socket = context.wrap_socket(server._http.socket, server_side=True)
    with server:
        yield server


@pytest.fixture
def certificates(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def tls_client(engine: Engine, server: ChatGPTServer) -> ChatGPTAPI:
    url = server.base_url.replace("http://", "https://")
    return engine.client(api_key="sk-test", api_base_url=url, max_retries=0)


@pytest.mark.parametrize("variable", CERTIFICATE_VARIABLES)
def test_the_variables_of_certificates(
    engine: Engine,
    tls_server: ChatGPTServer,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    path = certificates
    if variable == "SSL_CERT_DIR":  # files named after what they hold, as OpenSSL looks for them
        import subprocess

        asked = ["openssl", "x509", "-noout", "-hash", "-in", str(certificates)]
        name = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        path = certificates.parent
        certificates.rename(path / f"{name}.0")
    monkeypatch.setenv(variable, str(path))
    client = tls_client(engine, tls_server)
    assert client.send_message("hi").text
    assert client.send_message("hi", stream=True).text


@pytest.mark.parametrize(("kind", "scheme"), [(Tunnel, "http"), (SocksTunnel, "socks5h")])
def test_tls_through_a_proxy(
    engine: Engine,
    tls_server: ChatGPTServer,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Tunnel],
    scheme: str,
) -> None:
    """The proxy is told its own password and nothing else."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    url = tls_server.base_url.replace("http://", "https://")
    with kind() as tunnel:
        client = engine.client(
            api_key="sk-test",
            api_base_url=url,
            max_retries=0,
            proxy=f"{scheme}://user:pass%20word@127.0.0.1:{tunnel.port}",
        )
        assert client.send_message("hi").text
        assert client.send_message("hi", stream=True).text
    basic = "Basic " + base64.b64encode(b"user:pass word").decode()
    credentials = basic if kind is Tunnel else "user:pass word"
    assert tunnel.asked == [(f"127.0.0.1:{tls_server.port}", credentials)]
    assert "proxy-authorization" not in tls_server.requests[0].headers


def test_a_server_behind_a_proxy_is_not_trusted_either(
    engine: Engine, tls_server: ChatGPTServer
) -> None:
    """And it is not the proxy that failed."""
    url = tls_server.base_url.replace("http://", "https://")
    with Tunnel() as tunnel:
        proxy = f"http://user:password@127.0.0.1:{tunnel.port}"
        client = engine.client(api_key="sk-test", api_base_url=url, max_retries=0, proxy=proxy)
        with pytest.raises(
            APIConnectionError,
            match=r"No answer from https://\S+: \[SSL: CERTIFICATE_VERIFY_FAILED",
        ):
            client.send_message("hi")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_speaks_tls(
    engine: Engine,
    tls_server: ChatGPTServer,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    """It is verified, whatever it is asked for: it sees the key of a plain request."""
    proxy = tls_server.base_url.replace("http://", "https://").removesuffix("/v1")
    client = engine.client(
        api_key="sk-test", api_base_url=f"{scheme}://chat.example/v1", proxy=proxy, max_retries=0
    )
    with pytest.raises(APIConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        client.send_message("hi")
    assert tls_server.requests == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    with pytest.raises(ChatGPTError, match=r"Invalid URL|501 Unsupported method"):
        client.send_message("hi")


def test_nobody_else_is_trusted(engine: Engine, tls_server: ChatGPTServer) -> None:
    client = tls_client(engine, tls_server)
    with pytest.raises(APIConnectionError, match="CERTIFICATE_VERIFY_FAILED.*unable to get local"):
        client.send_message("hi")
    assert tls_server.requests == []


def test_a_file_that_does_not_exist(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    client = engine.client(api_key="sk-test", api_base_url="https://chat.example/v1")
    with pytest.raises(
        ConfigurationError,
        match="SSL_CERT_FILE is set to '/no/such/file.pem', which does not exist",
    ):
        client.send_message("hi")


def test_a_file_that_holds_none(
    engine: Engine, tls_server: ChatGPTServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "empty.pem"))
    client = tls_client(engine, tls_server)
    with pytest.raises(ConfigurationError, match="no certificate or crl found"):
        client.send_message("hi")


def test_a_file_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", __file__)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(
        TransportFailure, match="SSL_CERT_FILE is set to '.*', which cannot be read"
    ):
        route("https://chat.example/")


def test_certificates_are_read_where_tls_is_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    import certifi

    assert route("https://chat.example/").certificates == certifi.where()
    assert route("http://chat.example/").certificates is None
    assert route("http://chat.example/", "https://p:1").certificates == certifi.where()
    assert route("http://chat.example/", "https://p:1").is_proxy_tls
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    assert route("http://chat.example/").certificates is None
    monkeypatch.setenv("CURL_CA_BUNDLE", __file__)
    assert route("https://chat.example/").certificates == __file__
