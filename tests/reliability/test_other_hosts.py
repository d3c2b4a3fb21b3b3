"""Who else is asked: hosts that a redirect names, proxies, `~/.netrc`, TLS where there is none.

Rules:

1. The key goes to the configured host alone. Where another one is named, that one counts what it is asked: nothing.
2. A proxy that fails is the proxy's failure, and says so.
"""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Final

import pytest
import trustme

from chatgpt import APIConnectionError, APIStatusError
from tests.engines import Engine
from tests.reliability.observing import (
    WAYS,
    assert_same,
    error_seen,
    see_plain,
    see_progress,
)
from tests.reliability.report import Report
from tests.reliability.wire import (
    WELL_TEXT,
    RawServer,
    Script,
    Wire,
    answer_of,
    answering,
    answering_and_resetting,
    closing_at_once,
    resetting_at_once,
)

KEY: Final = "sk-of-this-host-alone"
REDIRECTS: Final = (301, 302, 303, 307, 308)
NO_ANSWER: Final = error_seen(APIConnectionError)

# urllib3 leaves a socket whose peer is gone before TLS begins to the reference count, which closes it.
tls_may_not_begin = pytest.mark.filterwarnings(
    "ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_to_another_host(engine: Engine, report: Report, status: int) -> None:
    with RawServer() as elsewhere, RawServer() as server:
        client = engine.client(api_key=KEY, api_base_url=server.base_url)
        for see in WAYS.values():
            location = b"location: %s/chat/completions" % elsewhere.base_url.encode()
            server.scripts.append(answering(answer_of(b"", location, status=b"%d Moved" % status)))
            seen = see(report, client)
            assert_same(seen, error_seen(APIStatusError, status))
            words = f"a redirect ({status}) to another host"
            report.tried("Other hosts", words, engine.name, seen.in_words)
        assert see_plain(report, client, "again").text == WELL_TEXT
        assert (elsewhere.connections, elsewhere.requests) == (0, [])


@pytest.mark.parametrize("variable", ["HOME", "NETRC"])
def test_an_entry_of_netrc(
    engine: Engine, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """It names another user for this very host; the key wins."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv(variable, str(tmp_path if variable == "HOME" else netrc))
    with RawServer() as server:
        client = engine.client(api_key=KEY, api_base_url=server.base_url, max_retries=0)
        seen = see_plain(report, client)
        assert seen.text == WELL_TEXT
        (request,) = server.requests
    authorizations = [
        line for line in request.split(b"\r\n") if line.lower().startswith(b"authorization:")
    ]
    assert [line.partition(b": ")[2] for line in authorizations] == [b"Bearer " + KEY.encode()]
    assert base64.b64encode(b"someone:else") not in request
    report.tried("Other hosts", "a `~/.netrc` entry for the host", engine.name, "the key is sent")


# --- proxies ---------------------------------------------------------------------------------

WANTS_A_PASSWORD: Final = answering(
    answer_of(
        b"", b'proxy-authenticate: Basic realm="here"', status=b"407 Proxy Authentication Required"
    )
)


@pytest.mark.parametrize("way", ["plain", "stream"])
def test_a_proxy_that_wants_a_password(engine: Engine, report: Report, way: str) -> None:
    """For plain HTTP it answers in place of the server; for TLS it opens no way to it."""
    for scheme, expected in (("http", error_seen(APIStatusError, 407)), ("https", NO_ANSWER)):
        with RawServer(WANTS_A_PASSWORD) as proxy:
            client = engine.client(
                api_key=KEY,
                api_base_url=f"{scheme}://chat.example/v1",
                proxy=f"http://127.0.0.1:{proxy.port}",
                max_retries=0,
            )
            seen = WAYS[way](report, client)
            assert_same(seen, expected)
            assert "407" in seen.message
            if scheme == "https":
                assert proxy.requests[0].startswith(b"CONNECT chat.example:443 ")
                assert KEY.encode() not in proxy.requests[0]
            else:  # the same client is as good as new
                assert see_plain(report, client, "again").text == WELL_TEXT
            words = f"a proxy that wants a password, for {scheme}"
            report.tried("Other hosts", words, engine.name, seen.in_words)


CONNECT_FAULTS: Final[dict[str, Script]] = {
    "resets as soon as it is asked": resetting_at_once,
    "closes as soon as it is asked": closing_at_once,
    "resets in place of an answer": answering_and_resetting(b""),
    "closes in place of an answer": answering(),
    "resets within its answer": answering_and_resetting(b"HTTP/1.1 200 Conn"),
    "closes within its answer": answering(b"HTTP/1.1 200 Conn"),
    "closes within its headers": answering(b"HTTP/1.1 200 OK\r\nvia: me"),
    "answers and resets": answering_and_resetting(b"HTTP/1.1 200 OK\r\n\r\n"),
    "answers and closes": answering(b"HTTP/1.1 200 OK\r\n\r\n"),
    "answers with nonsense": answering(b"\x00\x01\x02\r\n\r\n"),
    "answers and speaks no TLS": answering(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 400 No\r\n\r\n"),
}


@tls_may_not_begin
@pytest.mark.parametrize("words", CONNECT_FAULTS)
def test_a_proxy_that_fails_within_connect(engine: Engine, report: Report, words: str) -> None:
    with RawServer(CONNECT_FAULTS[words]) as proxy:
        client = engine.client(
            api_key=KEY,
            api_base_url="https://chat.example/v1",
            proxy=f"http://127.0.0.1:{proxy.port}",
            max_retries=0,
        )
        seen = see_progress(report, client)
        assert_same(seen, NO_ANSWER)
        assert seen.error is not None
        assert seen.error.is_final is False
        assert all(KEY.encode() not in request for request in proxy.requests)
        report.tried(
            "Other hosts", f"a proxy that is asked for TLS {words}", engine.name, seen.in_words
        )


# --- TLS -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def test_a_server_of_tls_asked_in_plain_text(
    engine: Engine, report: Report, authority: trustme.CA
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with RawServer(tls=context) as server:
        url = server.base_url.replace("https://", "http://")
        client = engine.client(api_key=KEY, api_base_url=url, max_retries=0)
        for see in WAYS.values():
            seen = see(report, client)
            assert_same(seen, NO_ANSWER)
            report.tried(
                "Other hosts", "a server of TLS asked in plain text", engine.name, seen.in_words
            )
        assert server.requests == []


def test_a_plain_server_asked_by_tls(engine: Engine, report: Report) -> None:
    def refuse(wire: Wire) -> None:
        wire.connection.recv(65536)
        wire.send(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")

    with RawServer(*[refuse] * len(WAYS)) as server:
        url = server.base_url.replace("http://", "https://")
        client = engine.client(api_key=KEY, api_base_url=url, max_retries=0)
        for see in WAYS.values():
            seen = see(report, client)
            assert_same(seen, NO_ANSWER)
            report.tried("Other hosts", "a plain server asked by TLS", engine.name, seen.in_words)
        assert server.requests == []


@tls_may_not_begin
def test_a_server_of_tls_that_resets_within_the_handshake(engine: Engine, report: Report) -> None:
    with RawServer(resetting_at_once, closing_at_once) as server:
        url = server.base_url.replace("http://", "https://")
        client = engine.client(api_key=KEY, api_base_url=url, max_retries=0)
        for _ in range(2):
            seen = see_progress(report, client)
            assert_same(seen, NO_ANSWER)
            report.tried("Other hosts", "a TLS handshake that is cut", engine.name, seen.in_words)
