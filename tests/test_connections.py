"""How the sync twin opens connections; the limits of each phase are tried in `tests/reliability`."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from chatgpt import (
    AbortedError,
    APIConnectionError,
    APITimeoutError,
    CancelToken,
    ChatGPTAPI,
    ChatGPTError,
    ChatMessage,
    MemoryStore,
)
from chatgpt.connections import look_up
from chatgpt.interruptions import Interruption
from tests.chatgpt_async.peers import FullBacklog
from tests.engines import Engine
from tests.reliability.scripts import CHUNKED, WORD, Waiting, sending, until
from tests.reliability.test_stopping import Stopping
from tests.reliability.wire import (
    WELL,
    WELL_TEXT,
    RawServer,
    Wire,
    answer_of,
    answering_and_staying,
    document,
)


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with FullBacklog() as full, RawServer() as server:
        addresses: list[tuple[int, int, int, str, tuple[str, int]]] = [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))
            for port in (9, full.port, server.port)
        ]
        addresses.insert(0, (9999, socket.SOCK_STREAM, 0, "", ("?", 9)))  # unknown here

        def look_up(host: str, *_: object, flags: int = 0) -> Any:
            if flags & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "it is a name")
            return addresses

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        with ChatGPTAPI(
            api_key="sk-test",
            api_base_url="http://three.example/v1",
            connect_timeout=1,
            max_retries=0,
        ) as client:
            assert client.send_message("hi").text == WELL_TEXT
            addresses[:] = []
            client.close()
            with pytest.raises(APIConnectionError, match="the name has no address"):
                client.send_message("hi")


def test_a_name_that_nobody_knows(engine: Engine) -> None:
    client = engine.client(
        api_key="sk-test", api_base_url="http://nobody.invalid/v1", max_retries=0
    )
    with pytest.raises(
        APIConnectionError, match=r"No answer from http://nobody\.invalid/v1"
    ) as caught:
        client.send_message("hi")
    assert isinstance(caught.value.__cause__, socket.gaierror)


def test_addresses_are_not_looked_up_in_a_thread() -> None:
    found = look_up("127.0.0.1", 80, Interruption())
    assert [address[4] for address in found] == [("127.0.0.1", 80)]
    assert look_up("::1", 80, Interruption())[0][4][:2] == ("::1", 80)


def test_hints_are_not_the_answer(engine: Engine) -> None:
    """Nor is any other informational answer; http.client knows `100 Continue` alone."""

    def hinting(wire: Wire) -> None:
        wire.read_request()
        for line in (b"100 Continue", b"103 Early Hints\r\nlink: </a>", b"199 Soon"):
            wire.send(b"HTTP/1.1 " + line + b"\r\n\r\n")
        wire.send(CHUNKED + WORD + b"0\r\n\r\n")

    with RawServer(hinting) as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url, max_retries=0)
        with pytest.raises(Exception, match="ended before it was complete") as caught:
            client.send_message("hi", stream=True)
        assert getattr(caught.value, "partial", None) == "word "


# --- a session of the caller -----------------------------------------------------------------


def test_a_token_stops_a_stream_over_the_callers_session() -> None:
    waiting = Waiting(sending(CHUNKED + WORD))
    with requests.Session() as session, RawServer(waiting) as server:
        client = ChatGPTAPI(api_key="sk-test", api_base_url=server.base_url, session=session)
        stopping = Stopping()
        with pytest.raises(AbortedError) as caught:
            client.send_message("hi", stream=True, abort=stopping.token)
        assert caught.value.partial == "word "
        assert waiting.is_left.wait(5)
        assert client.send_message("hi").text == WELL_TEXT


def test_the_limits_of_a_stream_over_the_callers_session() -> None:
    with (
        requests.Session() as session,
        RawServer(answering_and_staying(CHUNKED + WORD), answering_and_staying(b"")) as server,
    ):
        client = ChatGPTAPI(
            api_key="sk-test", api_base_url=server.base_url, session=session, max_retries=0
        )
        for partial in ("word ", None):
            with pytest.raises(APITimeoutError) as caught:
                client.send_message("hi", stream=True, timeout=0.2)
            assert caught.value.partial == partial
        assert client.send_message("hi").text == WELL_TEXT


def test_a_slow_answer_over_the_callers_session_is_no_slow_connection() -> None:
    def slow(wire: Wire) -> None:
        wire.read_request()
        time.sleep(0.4)
        wire.send(WELL)
        wire.keep()

    with requests.Session() as session, RawServer(slow) as server:
        client = ChatGPTAPI(
            api_key="sk-test", api_base_url=server.base_url, session=session, connect_timeout=0.2
        )
        assert client.send_message("hi").text == WELL_TEXT


def test_a_token_is_obeyed_as_soon_as_the_callers_session_returns() -> None:
    token = CancelToken()

    class Slow(requests.Session):
        def request(self, *args: Any, **options: Any) -> requests.Response:
            answer = super().request(*args, **options)
            token.cancel()
            return answer

    with Slow() as session, RawServer() as server:
        client = ChatGPTAPI(api_key="sk-test", api_base_url=server.base_url, session=session)
        with pytest.raises(AbortedError):
            client.send_message("hi", abort=token)


def test_a_default_timeout_of_the_process_changes_nothing() -> None:
    socket.setdefaulttimeout(30)
    try:
        with requests.Session() as session, RawServer() as server:
            for own in (None, session):
                client = ChatGPTAPI(api_key="sk-test", api_base_url=server.base_url, session=own)
                assert client.send_message("hi").text == WELL_TEXT
                client.close()
    finally:
        socket.setdefaulttimeout(None)


def test_a_token_leaves_a_connection_of_the_caller_alone_that_is_given_back() -> None:
    """It may be at work for somebody else by then."""
    token = CancelToken()
    others: list[requests.Response] = []

    class Slow(MemoryStore):
        def save(self, messages: Sequence[ChatMessage]) -> None:
            thread = threading.Thread(target=ask)
            thread.start()
            until(lambda: len(server.requests) == 2)
            token.cancel()
            thread.join(5)
            super().save(messages)

    def slow(wire: Wire) -> None:
        wire.read_request()
        wire.send(WELL)
        wire.read_request()
        time.sleep(0.3)
        wire.send(WELL)

    def ask() -> None:
        others.append(session.post(f"{server.base_url}/elsewhere", data=b"{}"))

    with requests.Session() as session, RawServer(slow) as server:
        client = ChatGPTAPI(
            api_key="sk-test", api_base_url=server.base_url, session=session, message_store=Slow()
        )
        assert client.send_message("hi", abort=token).text == WELL_TEXT
        assert [answer.status_code for answer in others] == [200]
        assert server.connections == 1


def test_a_proxy_for_socks_without_a_port(engine: Engine) -> None:
    client = engine.client(
        api_key="sk-test",
        api_base_url="http://chat.example/v1",
        proxy="socks5://127.0.0.1",
        max_retries=0,
    )
    with pytest.raises(APIConnectionError, match="the proxy failed"):
        client.send_message("hi")


def test_certificates_that_cannot_be_read_are_tried_as_often_as_anything(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No connection was opened, and none was used before either."""
    certificates = tmp_path / "certificates.pem"
    certificates.write_text("nothing")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates))
    client = engine.client(api_key="sk-test", api_base_url="https://127.0.0.1:9/v1", max_retries=1)
    caplog.set_level(logging.DEBUG, "chatgpt")
    with pytest.raises(ChatGPTError):
        client.send_message("hi", timeout=5)
    sent = [record for record in caplog.records if "SendRequest(" in record.getMessage()]
    assert 1 <= len(sent) <= 2


def test_what_tls_holds_back_is_no_answer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Bytes behind an answer that are decrypted already: no look at the socket shows them."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    long = document("first") + b" " * 9000  # more than a reader takes at once

    def answer_twice(wire: Wire) -> None:
        wire.read_request()
        wire.send(answer_of(long) + answer_of(document("never asked for")))
        wire.keep()

    with RawServer(answer_twice, tls=context) as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url, max_retries=0)
        said = [client.send_message("hi").text for _ in range(3)]
        assert said == ["first", WELL_TEXT, WELL_TEXT]
        assert server.connections == 2
