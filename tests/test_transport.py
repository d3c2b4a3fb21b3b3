"""The sync shell against the loopback server: framings, faults, proxies, connections."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from chatgpt import (
    APIConnectionError,
    APITimeoutError,
    ChatGPTAPI,
    ChatGPTError,
    ChatMessage,
    ConfigurationError,
    MemoryStore,
    StreamInterruptedError,
)
from chatgpt.routes import IDLE_CONNECTIONS
from chatgpt.testing import Answer, ChatGPTServer, Fault, RawAnswer
from tests.engines import Engine


def test_parts_arrive_as_they_are_sent(client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
    """However the body is framed: the first part is here before the server may send the rest."""
    for fault in (
        Fault(),
        Fault(gzip=True),
        Fault(framing="close"),
        Fault(framing="close", gzip=True),
    ):
        go_on = threading.Event()

        def deltas() -> Any:
            yield "first"
            assert go_on.wait(5)  # noqa: B023
            yield " second"

        class Slow(Answer):
            @property
            def deltas(self) -> Any:
                return deltas()

            @property
            def whole_text(self) -> str:
                return ""

        chatgpt_server.replies = [Slow()]
        chatgpt_server.inject(fault)
        with client.stream_message("hi") as stream:
            assert next(stream).delta == "first"
            go_on.set()
            assert [part.delta for part in stream] == [" second"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(split_every=1),
        Fault(split_every=3, crlf=True),
        Fault(gzip=True, split_every=1),
        Fault(framing="close"),
        Fault(framing="close", split_every=5),
        Fault(framing="close", gzip=True),
        Fault(framing="length"),
        Fault(framing="length", gzip=True, split_every=7),
        Fault(omit_done=True),
    ],
)
@pytest.mark.parametrize("is_streamed", [True, False])
def test_any_framing_gives_the_reply(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer, fault: Fault, is_streamed: bool
) -> None:
    text = "Grüße 你好 👋🏽 \u2028 end"
    chatgpt_server.replies = [text]
    chatgpt_server.inject(fault)
    assert client.send_message("hi", stream=is_streamed).text == text


@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut_after=900),
        Fault(cut_after=900, reset=True),
        Fault(cut_after=900, framing="close"),
        Fault(cut_after=900, framing="length"),
        Fault(cut_after=285, gzip=True),
    ],
)
def test_an_answer_that_is_cut(engine: Engine, chatgpt_server: ChatGPTServer, fault: Fault) -> None:
    chatgpt_server.replies = ["one two three four"]
    chatgpt_server.inject(fault)
    store = MemoryStore()
    parts: list[str] = []
    with engine.client(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, message_store=store
    ) as client:
        with pytest.raises(StreamInterruptedError) as caught:
            client.send_message("hi", on_progress=lambda part: parts.append(part.delta or ""))
    assert caught.value.partial == "".join(parts)
    assert "one two three four".startswith(caught.value.partial)
    assert caught.value.partial
    assert len(store) == 0
    assert len(chatgpt_server.requests) == 1


def test_a_server_that_keeps_the_stream_open(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.inject(Fault(stay_open=30))
    assert client.send_message("hi", stream=True, timeout=5).finish_reason == "stop"
    # What was not read to its end is not used again.
    client.send_message("hi")
    assert len({request.client_port for request in chatgpt_server.requests}) == 2


def test_a_connection_is_used_again(chatgpt_server: ChatGPTServer) -> None:
    """After a plain and after a streamed reply: what follows `[DONE]` is read, too."""
    session = requests.Session()
    client = ChatGPTAPI(
        api_key=chatgpt_server.api_key, api_base_url=chatgpt_server.base_url, session=session
    )
    for is_streamed in (False, True, True, False):
        client.send_message("hi", stream=is_streamed)
    client.close()  # leaves the session of the caller alone
    assert session.get(
        chatgpt_server.base_url + "/models", headers={"authorization": "Bearer sk-test"}
    ).ok
    session.close()
    assert len({request.client_port for request in chatgpt_server.requests}) == 1


def test_no_server(engine: Engine) -> None:
    with engine.client(api_base_url="http://127.0.0.1:9", max_retries=0) as client:
        with pytest.raises(
            APIConnectionError,
            match=r"No answer from http://127.0.0.1:9/v1/chat/completions: .*refused",
        ):
            client.send_message("hi")


@pytest.mark.parametrize(
    ("fault", "options", "limit"),
    [
        (Fault(delay=30), {"timeout": 0.3}, "total"),
        (Fault(part_delay=30), {"timeout": 0.3}, "total"),
        (Fault(delay=30), {"idle_timeout": 0.3}, "idle"),
        (Fault(part_delay=30), {"idle_timeout": 0.3}, "idle"),
        (Fault(split_every=1, part_delay=0.05), {"timeout": 0.3}, "total"),
    ],
)
def test_deadlines(
    engine: Engine, chatgpt_server: ChatGPTServer, fault: Fault, options: dict[str, Any], limit: str
) -> None:
    chatgpt_server.inject(fault)
    with engine.client(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, max_retries=0, **options
    ) as client:
        with pytest.raises(APITimeoutError) as caught:
            client.send_message("hi", stream=True)
        assert caught.value.limit == limit


@pytest.mark.parametrize("seconds", [float("inf"), 1e300])
def test_no_deadlines(engine: Engine, chatgpt_server: ChatGPTServer, seconds: float) -> None:
    with engine.client(
        api_key="sk-test",
        api_base_url=chatgpt_server.base_url,
        timeout=seconds,
        idle_timeout=seconds,
        connect_timeout=seconds,
    ) as client:
        assert client.send_message("hi").text
        assert client.send_message("hi", stream=True).text


def test_one_client_serves_many_threads(client: ChatGPTAPI) -> None:
    def converse(number: int) -> list[str]:
        parent = None
        for turn in range(5):
            reply = client.send_message(
                f"{number}.{turn}", parent_message_id=parent, stream=bool(turn % 2)
            )
            parent = reply.id
        return [message.text for message in client.thread(reply.id) if message.role == "user"]

    with ThreadPoolExecutor(16) as pool:
        threads = list(pool.map(converse, range(32)))
    assert threads == [[f"{number}.{turn}" for turn in range(5)] for number in range(32)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_client_survives_a_fork(sync_client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
    before = sync_client.send_message("before")
    child = os.fork()
    if child == 0:
        try:
            reply = sync_client.send_message("child", parent_message_id=before.id)
            os._exit(0 if reply.finish_reason == "stop" else 1)
        finally:
            os._exit(2)
    parent = sync_client.send_message("parent", parent_message_id=before.id)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert parent.text.startswith("You said: parent")
    ports = {
        request.messages[-1]["content"]: request.client_port for request in chatgpt_server.requests
    }
    assert ports["before"] == ports["parent"] != ports["child"]


def test_netrc_does_not_replace_the_key(
    chatgpt_server: ChatGPTServer,
    client: ChatGPTAPI,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    client.send_message("hi")
    assert chatgpt_server.requests[0].api_key == "sk-test"


def test_no_redirect_is_followed(chatgpt_server: ChatGPTServer, client: ChatGPTAPI) -> None:
    with ChatGPTServer(api_key=None) as elsewhere:
        chatgpt_server.inject(
            Fault(status=307, headers={"location": f"{elsewhere.base_url}/chat/completions"})
        )
        with pytest.raises(ChatGPTError, match="307 Temporary Redirect"):
            client.send_message("hi")
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    "location", ["http://[::1", "http://a:b/", "\xff\xfe", "/v1/chat/completions"]
)
def test_a_redirect_is_not_even_looked_at(engine: Engine, location: str) -> None:
    head = f"HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 3\r\n\r\nabc".encode(
        "latin-1"
    )
    with ChatGPTServer([RawAnswer([head])]) as server:
        with engine.client(
            api_key="sk-test", api_base_url=server.base_url, max_retries=0
        ) as client:
            with pytest.raises(ChatGPTError, match="302 Found: the server redirects"):
                client.send_message("hi")


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-5\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/9.9 what\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"",
    ],
)
def test_what_is_no_http_is_a_typed_error(engine: Engine, raw: bytes) -> None:
    with ChatGPTServer([RawAnswer([raw])]) as server:
        with engine.client(
            api_key="sk-test", api_base_url=server.base_url, max_retries=0
        ) as client:
            with pytest.raises((APIConnectionError, StreamInterruptedError)):
                client.send_message("hi")


def test_an_error_of_the_callers_session_is_his_own(chatgpt_server: ChatGPTServer) -> None:
    class Odd(requests.Session):
        def request(self, *_: object, **__: object) -> requests.Response:
            raise ValueError("of the session")

    client = ChatGPTAPI(api_key="sk-test", api_base_url=chatgpt_server.base_url, session=Odd())
    with pytest.raises(ValueError, match="of the session") as caught:
        client.send_message("hi")
    assert type(caught.value) is ValueError


def test_the_proxies_of_the_callers_session_are_his_own(chatgpt_server: ChatGPTServer) -> None:
    with requests.Session() as session, ChatGPTServer() as elsewhere:
        session.proxies = {"http": chatgpt_server.base_url.removesuffix("/v1")}
        client = ChatGPTAPI(
            api_key="sk-test", api_base_url=elsewhere.base_url, session=session, max_retries=0
        )
        with pytest.raises(ChatGPTError, match="Invalid URL"):
            client.send_message("hi")
        assert elsewhere.requests == []


def test_a_cause_that_repeats_the_key_is_dropped(engine: Engine) -> None:
    with ChatGPTServer(
        [RawAnswer([b"Bearer sk-verysecret refused\r\n\r\n"])], api_key=None
    ) as server:
        with engine.client(
            api_key="sk-verysecret", api_base_url=server.base_url, max_retries=0
        ) as client:
            with pytest.raises(APIConnectionError) as caught:
                client.send_message("hi")
    assert "very" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_session_that_returns_something_else() -> None:
    class Odd:
        def request(self, method: str, url: str, **options: object) -> str:
            return "nothing"

    client = ChatGPTAPI(api_key="sk-test", session=Odd())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"must return a requests.Response, not str"):
        client.send_message("hi")


def test_a_large_chunk_is_read_in_pieces(client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
    """Its events arrive as they come, and its size is no burden on the memory."""
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "' + b"x" * 65_536 + b'"}}]}\n\n'
    size = b"%x\r\n" % (3 * len(event))
    chatgpt_server.replies = [
        RawAnswer(
            [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + size, event, event],
            pause=0.05,
        )
    ]
    parts: list[ChatMessage] = []
    with pytest.raises(StreamInterruptedError):
        client.send_message("hi", on_progress=parts.append)
    assert len(parts) >= 1


def test_a_proxy(
    engine: Engine, chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy for plain HTTP is asked for the whole URL; ours wins over the environment's."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    proxy = chatgpt_server.base_url.removesuffix("/v1")
    client = engine.client(
        api_key="sk-test", api_base_url="http://chat.example/v1", proxy=proxy, max_retries=0
    )
    with pytest.raises(ChatGPTError, match="Invalid URL"):
        client.send_message("hi")
    assert chatgpt_server.requests[0].path == "http://chat.example/v1/chat/completions"
    client.close()


def test_this_machine_is_asked_past_the_proxies_of_the_environment(
    engine: Engine,
    chatgpt_server: ChatGPTServer,
    client: ChatGPTAPI,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    written: list[object] = []
    monkeypatch.setattr(type(os.environ), "__setitem__", lambda _, *pair: written.append(pair))
    assert client.send_message("hi").text
    assert written == []  # the environment belongs to the process, not to one call
    monkeypatch.undo()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with engine.client(
        api_key="sk-test", api_base_url="http://chat.example/v1", max_retries=0
    ) as far:
        with pytest.raises(APIConnectionError, match="the proxy failed: .*refused") as caught:
            far.send_message("hi")
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)


def test_what_makes_a_request_useless_is_told_at_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SOCKS needs a package for each twin."""
    for twin in ("chatgpt", "chatgpt_async"):
        monkeypatch.setattr(f"{twin}.transport.SOCKS_PACKAGE", "no_such_package")
    with engine.client(
        api_key="sk-test", api_base_url="http://chat.example/v1", proxy="socks5://127.0.0.1:9"
    ) as client:
        with pytest.raises(ConfigurationError, match="a SOCKS proxy needs the extra 'socks'"):
            client.send_message("hi")


def test_cookies_are_not_kept(chatgpt_server: ChatGPTServer, client: ChatGPTAPI) -> None:
    chatgpt_server.inject(Fault(headers={"set-cookie": "a=b"}))
    client.send_message("hi")
    client.send_message("hi")
    assert "cookie" not in chatgpt_server.requests[1].headers


def test_more_answers_at_once_than_connections_are_kept(chatgpt_server: ChatGPTServer) -> None:
    """A connection that is given back to a full pool is closed, before the end of its answer is read."""
    count = IDLE_CONNECTIONS + 16
    together = threading.Barrier(count)

    def moderate(_: str) -> dict[str, float]:
        together.wait(5)
        return {"hate": 0.0}

    chatgpt_server.moderate = moderate
    with (
        ChatGPTAPI(
            api_key=chatgpt_server.api_key, api_base_url=chatgpt_server.base_url, max_retries=0
        ) as client,
        ThreadPoolExecutor(count) as pool,
    ):
        for _ in range(2):
            results = list(pool.map(client.send_moderation, ["hi"] * count))
            assert {result.flagged for result in results} == {False}
