"""The client against the loopback server, over real HTTP."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from chatgpt import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ChatGPTAPI,
    ChatGPTError,
    ChatMessage,
    ConfigurationError,
    InternalServerError,
    MemoryStore,
    MessageNotFoundError,
    Secret,
    StreamInterruptedError,
)
from chatgpt.testing import Answer, ChatGPTServer, Fault, RawAnswer, RecordedRequest


def test_a_conversation(client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = ["A monad is a monoid.", "A monoid."]
    first = client.send_message("What is a monad?")
    second = client.send_message("Shorter.", parent_message_id=first.id)
    assert (first.text, second.text) == ("A monad is a monoid.", "A monoid.")
    contents = [message["content"] for message in chatgpt_server.requests[1].messages]
    assert contents[1:] == ["What is a monad?", "A monad is a monoid.", "Shorter."]
    assert str(contents[0]).startswith("You are ChatGPT, a large language model trained by OpenAI.")
    assert [message.text for message in client.thread(second.id)] == [*contents[1:], "A monoid."]


def test_progress(client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = ["one two three"]
    parts: list[ChatMessage] = []
    reply = client.send_message("count", on_progress=parts.append)
    assert [(part.delta, part.text) for part in parts] == [
        ("one", "one"),
        (" two", "one two"),
        (" three", "one two three"),
    ]
    assert reply.text == "one two three"
    assert reply.usage is not None
    assert (reply.usage.completion_tokens, reply.usage.estimated) == (3, False)
    assert reply.request_id == "req_1"


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
def test_an_answer_that_is_cut(chatgpt_server: ChatGPTServer, fault: Fault) -> None:
    chatgpt_server.replies = ["one two three four"]
    chatgpt_server.inject(fault)
    store = MemoryStore()
    parts: list[str] = []
    with ChatGPTAPI(
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


def test_retries(chatgpt_server: ChatGPTServer) -> None:
    client = ChatGPTAPI(api_key=chatgpt_server.api_key, api_base_url=chatgpt_server.base_url)
    chatgpt_server.inject(Fault(status=429, headers={"retry-after-ms": "20"}), Fault(reset=True))
    assert client.send_message("hi").finish_reason == "stop"
    assert len(chatgpt_server.requests) == 3
    client.close()


def test_a_wrong_key(chatgpt_server: ChatGPTServer) -> None:
    with ChatGPTAPI(api_key="sk-wrong", api_base_url=chatgpt_server.base_url) as client:
        with pytest.raises(
            AuthenticationError, match="401 Unauthorized: Incorrect API key provided"
        ) as caught:
            client.send_message("hi")
        assert caught.value.code == "invalid_api_key"
        client.api_key = chatgpt_server.api_key
        assert client.send_message("hi").text
        assert client.api_key == Secret("sk-test")


def test_key_and_organization_can_be_set(client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
    client.api_org = "org-1"
    client.send_message("hi")
    assert chatgpt_server.requests[0].headers["openai-organization"] == "org-1"
    client.api_org = None
    client.send_message("hi")
    assert "openai-organization" not in chatgpt_server.requests[1].headers
    with pytest.raises(ConfigurationError, match="api_key is blank"):
        client.api_key = " "
    with pytest.raises(TypeError, match="api_key must be a str"):
        client.api_key = 7  # type: ignore[assignment]
    assert client.api_key == Secret("sk-test")


def test_no_server() -> None:
    with ChatGPTAPI(api_base_url="http://127.0.0.1:9", max_retries=0) as client:
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
    chatgpt_server: ChatGPTServer, fault: Fault, options: dict[str, Any], limit: str
) -> None:
    chatgpt_server.inject(fault)
    with ChatGPTAPI(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, max_retries=0, **options
    ) as client:
        with pytest.raises(APITimeoutError) as caught:
            client.send_message("hi", stream=True)
        assert caught.value.limit == limit


@pytest.mark.parametrize("seconds", [float("inf"), 1e300])
def test_no_deadlines(chatgpt_server: ChatGPTServer, seconds: float) -> None:
    with ChatGPTAPI(
        api_key="sk-test",
        api_base_url=chatgpt_server.base_url,
        timeout=seconds,
        idle_timeout=seconds,
        connect_timeout=seconds,
    ) as client:
        assert client.send_message("hi").text
        assert client.send_message("hi", stream=True).text


def test_what_a_callback_raises_ends_the_call(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    for error in (
        RuntimeError("mine"),
        requests.ConnectionError("mine"),
        StopIteration("mine"),
        KeyboardInterrupt(),
    ):

        def on_progress(_: ChatMessage) -> None:
            raise error  # noqa: B023

        with pytest.raises(type(error)) as caught:
            client.send_message("hi", on_progress=on_progress)
        assert caught.value is error
    store = client._store
    assert isinstance(store, MemoryStore)
    assert len(store) == 0


@pytest.mark.parametrize(
    "error", [RuntimeError("mine"), requests.ConnectionError("mine"), StopIteration("mine")]
)
def test_what_a_store_raises_comes_out(chatgpt_server: ChatGPTServer, error: Exception) -> None:
    def failing(_: object) -> None:
        raise error

    client = ChatGPTAPI(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, upsert_message=failing
    )
    with pytest.raises(type(error)) as caught:
        client.send_message("hi")
    assert caught.value is error
    client.close()


def test_bad_input_sends_nothing(client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
    bad: list[tuple[type[Exception], Callable[[], object]]] = [
        (TypeError, lambda: client.send_message(5)),  # type: ignore[arg-type]
        (TypeError, lambda: client.send_message("hi", parentMessageId="x")),  # type: ignore[call-arg]
        (TypeError, lambda: client.send_message("hi", on_progress="print")),  # type: ignore[arg-type]
        (TypeError, lambda: client.stream_message(b"hi")),  # type: ignore[arg-type]
        (TypeError, lambda: client.thread(None)),  # type: ignore[arg-type]
        (TypeError, lambda: client.send_moderation(None)),  # type: ignore[arg-type]
        (ValueError, lambda: client.send_message("")),
        (ValueError, lambda: client.send_message("\ud800")),
        (ValueError, lambda: client.send_message("hi", timeout=-1)),
        (ValueError, lambda: client.send_message("hi " * 300_000)),
        (MessageNotFoundError, lambda: client.send_message("hi", parent_message_id="nowhere")),
        (MessageNotFoundError, lambda: client.thread("nowhere")),
    ]
    for kind, call in bad:
        with pytest.raises(kind):
            call()
    assert chatgpt_server.requests == []


def test_a_store_must_be_one() -> None:
    with pytest.raises(TypeError, match="message_store must be a MessageStore"):
        ChatGPTAPI(api_key="sk-test", message_store={})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Derive it from chatgpt.MessageStore, which brings `path`"):
        ChatGPTAPI(api_key="sk-test", message_store={})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="make one of the class MemoryStore"):
        ChatGPTAPI(api_key="sk-test", message_store=MemoryStore)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="make one of the class Session"):
        ChatGPTAPI(api_key="sk-test", session=requests.Session)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="the store has nothing to do"):
        ChatGPTAPI(
            api_key="sk-test",
            message_store=MemoryStore(),
            get_message_by_id=print,
            upsert_message=print,
        )
    with pytest.raises(TypeError, match="get_message_by_id must be a function, not str"):
        ChatGPTAPI(api_key="sk-test", get_message_by_id="x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="session must be"):
        ChatGPTAPI(api_key="sk-test", session="x")  # type: ignore[arg-type]


def test_moderation(chatgpt_server: ChatGPTServer, client: ChatGPTAPI) -> None:
    chatgpt_server.moderate = lambda text: {"violence": 0.9 if "kill" in text else 0.1}
    assert client.send_moderation("kill").flagged
    assert client.send_moderation("kiss").categories == {"violence": False}


def test_two_clients_may_share_a_store(chatgpt_server: ChatGPTServer, client: ChatGPTAPI) -> None:
    store = MemoryStore()
    first, second = (
        ChatGPTAPI(api_key="sk-test", api_base_url=chatgpt_server.base_url, message_store=store)
        for _ in range(2)
    )
    reply = first.send_message("hi")
    assert (
        second.send_message("again", parent_message_id=reply.id).conversation_id
        == reply.conversation_id
    )
    with pytest.raises(MessageNotFoundError):
        client.send_message("again", parent_message_id=reply.id)
    first.close()
    second.close()


def test_one_client_serves_many_threads(client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
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
def test_a_client_survives_a_fork(client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
    before = client.send_message("before")
    child = os.fork()
    if child == 0:
        try:
            reply = client.send_message("child", parent_message_id=before.id)
            os._exit(0 if reply.finish_reason == "stop" else 1)
        finally:
            os._exit(2)
    parent = client.send_message("parent", parent_message_id=before.id)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert parent.text.startswith("You said: parent")
    ports = {
        request.messages[-1]["content"]: request.client_port for request in chatgpt_server.requests
    }
    assert ports["before"] == ports["parent"] != ports["child"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_lock_that_is_held_at_a_fork_blocks_no_child() -> None:
    from chatgpt import tokenizer

    store = MemoryStore()
    with store._lock, tokenizer._lock:
        child = os.fork()
        if child == 0:
            threading.Timer(10, os._exit, [1]).start()
            store.save([ChatMessage(id="a", text="")])
            tokenizer.load_tokenizer("cl100k_base")
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_client_pickles_as_its_configuration(
    chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ChatGPTAPI(
        api_key="sk-test",
        api_base_url=chatgpt_server.base_url,
        system_message="Be brief.",
        headers={"x-title": "t", "x-auth": Secret("auth-1", "MY_AUTH")},
        timeout=7,
    )
    client.api_org = "org-1"
    pickled = pickle.dumps(client)
    assert b"sk-test" not in pickled
    assert b"org-1" not in pickled
    assert b"auth-1" not in pickled
    without_key = pickle.loads(pickled)
    with pytest.raises(ConfigurationError, match="set OPENAI_API_KEY in the environment"):
        without_key.send_message("hi")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-env")
    monkeypatch.setenv("MY_AUTH", "auth-env")
    restored = pickle.loads(pickled)
    restored.send_message("hi")
    (request,) = chatgpt_server.requests
    assert request.messages[0] == {"role": "system", "content": "Be brief."}
    assert request.headers["x-title"] == "t"
    assert request.headers["openai-organization"] == "org-env"
    assert request.headers["x-auth"] == "auth-env"
    for each in (client, without_key, restored):
        each.close()


def test_a_copy_keeps_its_secrets(client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> None:
    client.api_key, client.api_org = "sk-other", "org-other"
    with copy.deepcopy(client) as other, pytest.raises(AuthenticationError):
        other.send_message("hi")
    assert chatgpt_server.requests[0].api_key == "sk-other"
    assert chatgpt_server.requests[0].headers["openai-organization"] == "org-other"


def test_the_environment_configures_a_client(
    chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", chatgpt_server.base_url)
    monkeypatch.setenv("OPENAI_MODEL", "gpt-4o")
    monkeypatch.setenv("OPENAI_ORG_ID", " ")
    with ChatGPTAPI() as client:
        assert client.send_message("hi").model == "gpt-4o"
        assert client.api_org is None
        assert repr(client) == f"<ChatGPTAPI, gpt-4o at {chatgpt_server.base_url}/chat/completions>"


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
def test_a_redirect_is_not_even_looked_at(location: str) -> None:
    head = f"HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 3\r\n\r\nabc".encode(
        "latin-1"
    )
    with ChatGPTServer([RawAnswer([head])]) as server:
        with ChatGPTAPI(api_key="sk-test", api_base_url=server.base_url, max_retries=0) as client:
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
def test_what_is_no_http_is_a_typed_error(raw: bytes) -> None:
    with ChatGPTServer([RawAnswer([raw])]) as server:
        with ChatGPTAPI(api_key="sk-test", api_base_url=server.base_url, max_retries=0) as client:
            with pytest.raises((APIConnectionError, StreamInterruptedError)):
                client.send_message("hi")


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


def test_a_proxy(chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy for plain HTTP is asked for the whole URL; ours wins over the environment's."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    proxy = chatgpt_server.base_url.removesuffix("/v1")
    client = ChatGPTAPI(
        api_key="sk-test", api_base_url="http://chat.example/v1", proxy=proxy, max_retries=0
    )
    with pytest.raises(ChatGPTError, match="Invalid URL"):
        client.send_message("hi")
    assert chatgpt_server.requests[0].path == "http://chat.example/v1/chat/completions"
    client.close()


def test_this_machine_is_asked_past_the_proxies_of_the_environment(
    chatgpt_server: ChatGPTServer, client: ChatGPTAPI, monkeypatch: pytest.MonkeyPatch
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
    with ChatGPTAPI(api_key="sk-test", api_base_url="http://chat.example/v1", max_retries=0) as far:
        with pytest.raises(APIConnectionError, match="the proxy failed: .*refused") as caught:
            far.send_message("hi")
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)


def test_what_makes_a_request_useless_is_told_at_once(chatgpt_server: ChatGPTServer) -> None:
    """SOCKS needs a package that is not installed here."""
    with ChatGPTAPI(
        api_key="sk-test", api_base_url="http://chat.example/v1", proxy="socks5://127.0.0.1:9"
    ) as client:
        with pytest.raises(ConfigurationError, match="SOCKS"):
            client.send_message("hi")


def test_a_reverse_proxy_gets_no_moderation(
    chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ChatGPTServer() as elsewhere:
        monkeypatch.setenv("OPENAI_BASE_URL", elsewhere.base_url)
        url = f"{chatgpt_server.base_url}/chat/completions"
        with ChatGPTAPI(api_key="sk-test", api_reverse_proxy_url=url) as client:
            assert client.send_message("hi").text
            with pytest.raises(ConfigurationError, match="Give api_base_url"):
                client.send_moderation("hi")
        assert elsewhere.requests == []


def test_cookies_are_not_kept(chatgpt_server: ChatGPTServer, client: ChatGPTAPI) -> None:
    chatgpt_server.inject(Fault(headers={"set-cookie": "a=b"}))
    client.send_message("hi")
    client.send_message("hi")
    assert "cookie" not in chatgpt_server.requests[1].headers


def test_headers_of_the_caller(chatgpt_server: ChatGPTServer) -> None:
    with ChatGPTAPI(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, headers={"X-Title": "t"}
    ) as client:
        client.send_message("hi", stream=True)
        client.send_message("hi")
    streamed, plain = chatgpt_server.requests
    assert streamed.headers["x-title"] == "t"
    assert streamed.headers["user-agent"].startswith("chatgpt-sdk/")
    assert streamed.headers["accept-encoding"] == "identity"
    assert "gzip" in plain.headers["accept-encoding"]


def test_the_debug_log_goes_to_standard_error(
    chatgpt_server: ChatGPTServer,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import logging

    log = logging.getLogger("chatgpt")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "level", log.level)
    for _ in range(2):
        with ChatGPTAPI(
            api_key="sk-test", api_base_url=chatgpt_server.base_url, debug=True
        ) as client:
            client.send_message("the words of a conversation")
    logged = capfd.readouterr().err
    assert logged.count("SendRequest(request=HttpRequest(method='POST'") == 2
    assert "words" not in logged
    assert "sk-test" not in logged


def test_what_a_store_returns_is_checked(chatgpt_server: ChatGPTServer) -> None:
    class Odd(MemoryStore):
        def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
            return [{"id": message_id}]  # type: ignore[list-item]

    with ChatGPTAPI(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, message_store=Odd()
    ) as client:
        with pytest.raises(TypeError, match="returned a dict where a ChatMessage is needed"):
            client.send_message("hi", parent_message_id="x")
    tokenizer: Any = str.split
    with ChatGPTAPI(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, tokenizer=tokenizer
    ) as client:
        with pytest.raises(
            TypeError, match="tokenizer must return a number of tokens, not \\['system'\\]"
        ):
            client.send_message("hi")
    assert chatgpt_server.requests == []


def test_the_failure_of_a_responder_is_not_tried_again(chatgpt_server: ChatGPTServer) -> None:
    def failing(_: RecordedRequest) -> str:
        raise RuntimeError("of the test")

    chatgpt_server.replies = failing
    with ChatGPTAPI(api_key="sk-test", api_base_url=chatgpt_server.base_url) as client:
        with pytest.raises(
            InternalServerError,
            match="500 Internal Server Error: The responder failed: RuntimeError",
        ):
            client.send_message("hi")
    assert len(chatgpt_server.requests) == 1
