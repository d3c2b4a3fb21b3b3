"""Answers that are waited for nap by nap: whatever the connection is made of, nothing is lost between two naps."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from contextlib import ExitStack
from pathlib import Path
from select import select
from typing import Final

import pytest
import trustme

from chatgpt import APITimeoutError, ChatGPTAPI, interruptions
from tests.reliability.scripts import CHUNKED, FINISHED, WORD, framed
from tests.reliability.wire import WELL_TEXT, RawServer, Wire
from tests.tunnels import SocksTunnel, Tunnel

NAP: Final = 0.002
"""Seconds of a nap here; the pauses of the servers are longer."""

WORDS: Final = 3_000

WAYS: Final = {
    "plain": ("http", None),
    "TLS": ("https", None),
    "TLS by a proxy": ("https", "http"),
    "TLS within TLS": ("https", "https"),
    "plain by SOCKS": ("http", "socks5h"),
    "TLS by SOCKS": ("https", "socks5h"),
}


class TlsTunnel(Tunnel):
    """A proxy that is spoken to in TLS, and carries what may be TLS again."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__()
        self._tls = tls

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            self._tls.wrap_socket(client, server_side=True) as inner,
            self.open(inner) as server,
        ):
            while True:  # one thread: a connection of TLS is not for two
                for source in [inner] if inner.pending() else select([inner, server], [], [])[0]:
                    received = source.recv(65536)
                    if not received:
                        return
                    (server if source is inner else inner).sendall(received)


def slowly(wire: Wire) -> None:
    """The head and a chunk byte by byte, then many chunks at once, then the end; all after pauses."""
    wire.read_request()
    for byte in CHUNKED + WORD:
        time.sleep(2 * NAP)
        wire.send(bytes([byte]))
    time.sleep(5 * NAP)
    wire.send(WORD * WORDS)
    time.sleep(5 * NAP)
    wire.send(framed(FINISHED, b"data: [DONE]\n\n"))
    time.sleep(5 * NAP)
    wire.send(b"0\r\n\r\n")
    wire.keep()


def silent(wire: Wire) -> None:
    wire.read_request()
    wire.send(CHUNKED + WORD)
    wire.connection.recv(1)  # until the client leaves


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost_between_two_naps(
    way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(interruptions, "LONGEST_NAP", NAP)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    scheme, proxied = WAYS[way]
    with ExitStack() as stack:
        server = stack.enter_context(RawServer(slowly, tls=tls if scheme == "https" else None))
        tunnel: Tunnel | None = None
        if proxied is not None:
            kinds = {"http": Tunnel, "https": lambda: TlsTunnel(tls), "socks5h": SocksTunnel}
            tunnel = stack.enter_context(kinds[proxied]())
        client = stack.enter_context(
            ChatGPTAPI(
                api_key="sk-test",
                api_base_url=f"{scheme}://localhost:{server.port}/v1",
                proxy=None if tunnel is None else f"{proxied}://me:secret@localhost:{tunnel.port}",
                max_retries=0,
            )
        )
        assert client.send_message("hi", stream=True).text == "word " * (WORDS + 1)
        assert client.send_message("again").text == WELL_TEXT
        assert (server.connections, tunnel is None or len(tunnel.asked)) == (1, 1)
        server.scripts.append(silent)
        client.close()
        with pytest.raises(APITimeoutError) as caught:
            client.send_message("hi", stream=True, timeout=0.2)
        assert (caught.value.limit, caught.value.partial) == ("total", "word ")
        assert client.send_message("again").text == WELL_TEXT
