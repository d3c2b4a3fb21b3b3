"""The sync twin prepares its requests itself: on the wire is what a session of requests without headers would send."""

from __future__ import annotations

from typing import Any, Final

import pytest
import requests

from chatgpt.core.needs import HttpRequest, SendRequest
from chatgpt.interruptions import Interruption
from chatgpt.transport import Transport
from tests.reliability.wire import RawServer

HEADERS: Final = {"x-latin": "é", "accept-encoding": "gzip", "user-agent": "me", "cookie": "a=b"}


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
@pytest.mark.parametrize("body", [b"", "☃".encode(), b"x" * 100_000])
@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST", "me@127.0.0.1", "of a proxy"])
@pytest.mark.parametrize("path", ["", "//v1", "/ä b/%7Ex/%2f/../y?q=ü&p=a b&e=%C3%A9;='[]#f", "?q"])
def test_what_is_sent(method: Any, body: bytes, host: str, path: str) -> None:
    with RawServer() as server, requests.Session() as session:
        proxy = f"http://me%40:p%20w@127.0.0.1:{server.port}" if host == "of a proxy" else None
        url = f"HTTP://{host}:{server.port}{path}" if proxy is None else f"http://x.example{path}"
        request = HttpRequest(method, url, HEADERS, body, is_local=True)
        transport, call = Transport(None, proxy), Interruption()
        transport.send(SendRequest(request, 5, 5, 5), call)[0].close()
        call.close()
        transport.close()
        session.headers.clear()
        session.trust_env = False
        proxies = {} if proxy is None else {"http": proxy}
        session.request(
            method, url, data=body, headers=HEADERS, auth=lambda prepared: prepared, proxies=proxies
        )
        ours, theirs = [request.partition(b"\r\n\r\n") for request in server.requests]
    assert sorted(ours[0].split(b"\r\n")) == sorted(theirs[0].split(b"\r\n"))
    assert ours[2] == theirs[2] == body
