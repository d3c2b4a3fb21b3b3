"""A canary key runs through every public call, failing and not; all output is searched for it."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import anyio
import pytest

import chatgpt_async
from chatgpt import ChatGPTAPI, ConfigurationError
from chatgpt.testing import ChatGPTServer, Fault, RawAnswer
from tests.chatgpt_async.peers import FIRST_EVENT, Peer
from tests.engines import Engine, stored_messages
from tests.tunnels import SocksTunnel

KEY = "sk-canary-0123456789abcdef"
ORG = "org-canary-1"
HEADER = "header-canary-1"
PASSWORD = "password-canary-1"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that anything logs, at DEBUG."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def server() -> Iterator[ChatGPTServer]:
    with ChatGPTServer(api_key=KEY) as server:
        yield server


@pytest.fixture
def client(engine: Engine, server: ChatGPTServer) -> ChatGPTAPI:
    return engine.client(**options_of(server))


def options_of(server: ChatGPTServer) -> dict[str, Any]:
    return {
        "api_key": KEY,
        "api_org": ORG,
        "headers": {"X-Auth": HEADER},
        "api_base_url": server.base_url,
        "max_retries": 0,
    }


def shown(error: BaseException) -> str:
    """An error in every way in which it may be shown, with the locals of all frames but the test's."""
    texts = [str(error), repr(error), repr(vars(error)), repr(error.args)]
    texts += traceback.format_exception(error)
    for link in chain(error):
        texts += [repr(link), repr(link.args), repr(vars(link))]
        texts += frames_of(link.__traceback__)
    try:
        texts.append(repr(pickle.dumps(error)))
    except TypeError:
        texts.append("")
    return "\n".join(texts)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [
                link.__cause__,
                link.__context__,
                *(arg for arg in link.args if isinstance(arg, BaseException)),
            ]


def frames_of(trace: TracebackType | None) -> Iterator[str]:
    """What a traceback with locals shows, the test's own frames aside."""
    while trace is not None:
        frame = trace.tb_frame
        if "test_secrecy" not in frame.f_code.co_filename:
            yield from (
                f"{frame.f_code.co_name}: {name}={value!r}"
                for name, value in frame.f_locals.items()
            )
        trace = trace.tb_next


def check(text: str) -> None:
    position = text.find("canary")
    assert position < 0, text[max(position - 300, 0) : position + 100]


ECHO = f'{{"error": {{"message": "Incorrect API key provided: {KEY}, {ORG}, {HEADER}", "code": "invalid_api_key"}}}}'

FAULTS = [
    Fault(),
    Fault(status=401, body=ECHO),
    Fault(status=500, body=f"<html><title>{KEY}</title></html>"),
    Fault(status=400, body=f"plain {KEY}"),
    Fault(status=307, headers={"location": f"http://elsewhere/?key={KEY}"}),
    Fault(status=200, body=ECHO),
    Fault(status=200, body=f"<html>{KEY}</html>"),
    Fault(status=200, body=f"data: nonsense {KEY}\n\n"),
    Fault(status=200, body=f"{KEY}"),
    Fault(error_after=2, error={"message": f"boom {KEY}", "code": KEY}),
    Fault(reset=True),
    Fault(cut_after=700),
    Fault(cut_after=700, reset=True),
    Fault(delay=1),
    Fault(part_delay=1),
]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("is_streamed", [False, True])
def test_calls_of_every_outcome(
    client: ChatGPTAPI,
    server: ChatGPTServer,
    logged: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    fault: Fault,
    is_streamed: bool,
) -> None:
    server.inject(fault)
    try:
        reply = client.send_message("hi", stream=is_streamed, timeout=0.3)
        check(repr(reply) + repr(vars_of(reply)) + repr(pickle.dumps(reply)))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is searched
        check(shown(error))
    check(logged.getvalue())
    captured = capfd.readouterr()
    check(captured.out + captured.err)


def vars_of(reply: object) -> dict[str, object]:
    return {name: getattr(reply, name) for name in ("detail", "context", "usage", "request_id")}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("says", [b"", FIRST_EVENT], ids=["before the answer", "within a stream"])
async def test_a_cancellation(logged: io.StringIO, says: bytes) -> None:
    """It comes through frames of httpx2, which hold the headers."""
    caught: list[BaseException] = []
    with Peer() as peer:
        peer.says = says
        url = f"http://127.0.0.1:{peer.port}/v1"
        async with chatgpt_async.ChatGPTAPI(
            api_key=KEY, api_org=ORG, headers={"X-Auth": HEADER}, api_base_url=url
        ) as client:
            with anyio.move_on_after(0.1):
                try:
                    await client.send_message("hi", stream=True)
                except BaseException as error:
                    caught.append(error)
                    raise
    check(shown(caught[0]))
    check(logged.getvalue())


@pytest.mark.parametrize(
    "make",
    [
        lambda make: make(api_key=f"{KEY}\r\nx: y"),
        lambda make: make(api_key=f"{KEY} {KEY}"),
        lambda make: make(api_key=f"{KEY}\u200b"),
        lambda make: make(api_key=KEY, timeout=-1),
        lambda make: make(api_key=KEY, api_org=f"{ORG}\n\nx"),
        lambda make: make(api_key=KEY, headers={"X-Auth": f"{HEADER}\nx"}),
        lambda make: make(api_key=KEY, headers={"X-Auth": HEADER, "x y": "z"}),
        lambda make: make(api_key=KEY, proxy=f"http://user:{PASSWORD}@ho st"),
        lambda make: make(api_key=KEY, proxy=f"ftp://user:{PASSWORD}@host"),
        lambda make: make(api_key=KEY, model="a", completion_params={"model": "b"}),
        lambda make: make(api_key=KEY, api_base_url="nowhere"),
        lambda make: make(api_key=KEY, api_base_url=f"https://user:{PASSWORD}@host/v1"),
        lambda make: make(api_key=[KEY]),
        lambda make: make(api_key=KEY, message_store={}),
    ],
)
def test_constructors_that_fail(engine: Engine, make: Callable[..., object]) -> None:
    with pytest.raises((ConfigurationError, TypeError)) as caught:
        make(engine.package.ChatGPTAPI)
    check(shown(caught.value))


def test_constructors_that_fail_with_a_key_in_the_environment(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("OPENAI_API_KEY", f"{KEY}\x01"), ("OPENAI_ORG_ID", ORG)):
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        engine.package.ChatGPTAPI()
    check(shown(caught.value))


def test_a_proxy_with_a_password(
    engine: Engine, server: ChatGPTServer, logged: io.StringIO
) -> None:
    port = server.port
    for proxy in (
        f"http://user:{PASSWORD}@127.0.0.1:9",
        f"http://user:{PASSWORD}@127.0.0.1:{port}",
    ):
        client = engine.package.ChatGPTAPI(
            api_key=KEY, api_base_url="http://chat.example/v1", proxy=proxy, max_retries=0
        )
        with pytest.raises(Exception) as caught:
            engine.adopt(client).send_message("hi")
        check(shown(caught.value) + repr(pickle.dumps(client)))
    check(logged.getvalue())


PROXY_ECHO = (
    "HTTP/1.1 407 Nobody is {0}\r\nx-echo: {0}, {1}\r\ncontent-length: {2}\r\n"
    'connection: close\r\n\r\n{{"error": "{0} and {1}"}}'
)


@pytest.mark.parametrize("target", ["http://chat.example/v1", "https://chat.example/v1"])
@pytest.mark.parametrize("is_given", [True, False], ids=["given", "from the environment"])
def test_a_proxy_that_repeats_its_password(
    engine: Engine,
    logged: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    is_given: bool,
) -> None:
    """Bare, and as the header in which it came; that of the environment, too."""
    basic = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    body = f'{{"error": "{PASSWORD} and {basic}"}}'
    answer = PROXY_ECHO.format(PASSWORD, basic, len(body))
    with Peer() as peer:
        peer.says = answer.encode()
        proxy = f"http://user:{PASSWORD}@127.0.0.1:{peer.port}"
        if not is_given:
            monkeypatch.setenv("ALL_PROXY", proxy)
        client = engine.client(
            api_key=KEY,
            api_base_url=target,
            proxy=proxy if is_given else None,
            max_retries=0,
        )
        with pytest.raises(Exception) as caught:
            client.send_message("hi")
    for text in (shown(caught.value), logged.getvalue()):
        check(text)
        assert basic not in text


def test_a_proxy_for_socks_with_a_password(
    engine: Engine, server: ChatGPTServer, logged: io.StringIO
) -> None:
    """httpcore2 logs user and password, however short."""
    with SocksTunnel() as tunnel:
        client = engine.client(
            api_key=KEY,
            api_base_url=server.base_url,
            proxy=f"socks5://user:pw-7@127.0.0.1:{tunnel.port}",
        )
        assert client.send_message("hi").text
    check(logged.getvalue())
    assert "pw-7" not in logged.getvalue()


@pytest.mark.parametrize("is_left", [False, True], ids=["read", "left"])
def test_a_key_where_a_chunk_should_be(
    client: ChatGPTAPI, server: ChatGPTServer, logged: io.StringIO, is_left: bool
) -> None:
    """The library says what it got: while a stream is read, and while it is closed."""
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "word "}}]}\n\n'
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (len(event), event)
    server.replies = [RawAnswer([head + chunk + KEY.encode() + b"\r\n"])]
    with contextlib.suppress(Exception), client.stream_message("hi") as stream:
        next(stream)
        if not is_left:
            list(stream)
    check(logged.getvalue())


def test_streams_and_moderation(
    client: ChatGPTAPI, server: ChatGPTServer, logged: io.StringIO
) -> None:
    with client.stream_message("hi") as stream:
        next(stream)
        check(repr(stream) + repr(vars(stream)))
    client.send_moderation("hi")
    server.inject(Fault(status=401, body=ECHO))
    with pytest.raises(Exception) as caught:
        client.send_moderation("hi")
    check(shown(caught.value))
    check(logged.getvalue())


def test_a_refusal_that_repeats_the_key_and_is_mended(
    engine: Engine, server: ChatGPTServer, logged: io.StringIO
) -> None:
    client = engine.client(**{**options_of(server), "model": "llama3.1"})
    message = f"Unsupported parameter for {KEY} ({HEADER}): 'seed'"
    refusal = {"error": {"message": message, "param": "seed", "code": "unsupported_parameter"}}
    server.inject(Fault(status=400, body=json.dumps(refusal)))
    chat = client.conversation(completion_params={"seed": 1})
    reply = chat.send("Hi")
    assert reply.context is not None
    assert reply.context.changes
    seen = [repr(value) for value in (chat, client, reply, reply.context, reply.usage)]
    seen += [repr(client.preview("Hi", parent_message_id=reply.id).body), repr(chat.history())]
    check("\n".join([*seen, logged.getvalue(), repr(stored_messages(client))]))


@pytest.mark.parametrize(
    "head",
    [
        f"nonsense {KEY}",
        f"HTTP/1.1 200 {KEY}\r\n{KEY} without a colon\r\nx: y",
        f"HTTP/1.1 200 OK\r\nx: {KEY}\r\ncontent-length: {KEY}",
    ],
)
def test_a_broken_answer(
    client: ChatGPTAPI, server: ChatGPTServer, logged: io.StringIO, head: str
) -> None:
    server.replies = [RawAnswer([f"{head}\r\n\r\n".encode()])]
    with pytest.raises(Exception) as caught:
        client.send_message("hi")
    check(shown(caught.value))
    check(logged.getvalue())


def test_the_search_finds_what_it_looks_for() -> None:
    """A check that cannot fail would be worth nothing."""

    def leak(key: str) -> None:
        raise ValueError("x")

    source = compile("def leak(key):\n    raise ValueError('x')\n", "elsewhere.py", "exec")
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    try:
        namespace["leak"](KEY)
    except ValueError:
        with pytest.raises(AssertionError):
            check(shown(sys.exc_info()[1] or ValueError()))
