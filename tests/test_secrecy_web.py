"""Canary tokens run through the web flow, failing and not; all output is searched for them."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chatgpt import ConfigurationError
from chatgpt.testing import ChatGPTServer, Fault, RawAnswer
from tests.engines import Engine
from tests.test_secrecy import check, logged, shown

__all__ = ["logged"]

ACCESS = "eyJhbGciOiJSUzI1.access-canary-0123456789.signature"
OTHER_ACCESS = "eyJhbGciOiJSUzI1.other-canary-9876543210.signature"
SESSION = "session-canary-0123456789"
CLEARANCE = "clearance-canary-0123456789"
EMAIL = "canary@example.com"
PASSWORD = "pass word canary 1"
KNOWN = {
    "session": [SESSION, CLEARANCE],
    "session with a token": [SESSION, CLEARANCE, ACCESS],
    "proxy": [ACCESS],
    "proxy with a function": [ACCESS, SESSION, EMAIL, PASSWORD],
}
"""The kinds of clients, and what each of them knows: a server that repeats it must not show it."""

SAID = json.dumps(
    {"accessToken": ACCESS, "error": "RefreshAccessTokenError", "user": {"name": "A"}}
)
"""What the server made itself; nobody knows it before."""


def faults(known: list[str]) -> list[Fault]:
    told = ", ".join(known)
    secret = known[0]
    echo = json.dumps({"detail": {"message": f"Bad tokens a={told}", "code": secret}})
    return [
        Fault(),
        Fault(status=401, body=echo),
        Fault(status=403, body=f"<html><title>Just a moment... {told}</title></html>"),
        Fault(status=403, body=f'{{"detail": "unusual activity from {told}"}}'),
        Fault(status=429, body=f'{{"detail": "Too many requests of {told} in 1 hour"}}'),
        Fault(status=500, body=SAID),
        Fault(status=307, headers={"location": f"http://elsewhere/?token={secret}"}),
        Fault(status=200, body=echo),
        Fault(status=200, body=SAID),
        Fault(status=200, body=SAID[:40]),
        Fault(status=200, body=SAID.replace("error", "detail")),
        Fault(status=200, body=f'{{"accessToken": "{ACCESS}\\n"}}'),
        Fault(status=200, body=f"<html>{told}</html>"),
        Fault(status=200, body=f"data: nonsense {told}\n\n"),
        Fault(status=200, body=f'data: {{"message": null, "error": "no {told}"}}\n\n'),
        Fault(status=200, body=f'event: delta\ndata: {{"p": "/message/{secret}", "o": "{secret}", "v": "{told}"}}\n\n'),
        Fault(status=200, body=told),
        Fault(error_after=2, error={"message": f"boom {told}"}),
        Fault(reset=True),
        Fault(cut_after=700),
        Fault(delay=1),
    ]  # fmt: skip


@pytest.fixture
def server() -> Iterator[ChatGPTServer]:
    with ChatGPTServer() as server:
        server.web.session_token, server.web.clearance_token = SESSION, CLEARANCE
        server.web.accept(ACCESS)
        server.web.accept(OTHER_ACCESS)
        yield server


@pytest.fixture(params=KNOWN)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def client(kind: str, engine: Engine, server: ChatGPTServer) -> Any:
    return make(kind, engine, server)


def make(kind: str, engine: Engine, server: ChatGPTServer) -> Any:
    url = server.proxy_options["api_reverse_proxy_url"]
    if kind.startswith("session"):
        token = ACCESS if "token" in kind else None
        return engine.session_client(**server.session_options, access_token=token, max_retries=0)
    if "function" in kind:
        return engine.proxy_client(
            get_access_token=lambda **_: ACCESS, email=EMAIL, password=PASSWORD,
            session_token=SESSION, api_reverse_proxy_url=url,
        )  # fmt: skip
    return engine.proxy_client(access_token=ACCESS, api_reverse_proxy_url=url)


def check_all(*texts: object) -> None:
    for text in texts:
        check(str(text))
        check(repr(text))


@pytest.mark.parametrize("number", range(len(faults(["x"]))))
@pytest.mark.parametrize("is_streamed", [False, True])
def test_calls_of_every_outcome(
    client: Any,
    kind: str,
    server: ChatGPTServer,
    logged: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    number: int,
    is_streamed: bool,
) -> None:
    server.inject(faults(KNOWN[kind])[number])
    try:
        if is_streamed:
            with client.stream_message("hi", timeout=0.3) as stream:
                check_all(stream)
                list(stream)
            reply = stream.result()
        else:
            reply = client.send_message("hi", timeout=0.3, on_conversation_response=lambda _: None)
        check_all(reply, reply.detail, pickle.dumps(reply))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is searched
        check(shown(error))
    check(logged.getvalue())
    captured = capfd.readouterr()
    check(captured.out + captured.err)


@pytest.mark.parametrize("fault", faults(KNOWN["session"]))
def test_sessions_of_every_outcome(
    engine: Engine, server: ChatGPTServer, logged: io.StringIO, fault: Fault
) -> None:
    client: Any = engine.session_client(**server.session_options, max_retries=0, timeout=0.3)
    calls: list[Callable[[], Any]] = [
        client.refresh_session,
        client.get_is_authenticated,
        lambda: client.send_moderation("x"),
        lambda: list(client.list_conversations()),
    ]
    for call in calls:
        server.inject(fault)
        try:
            check_all(call())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is searched
            check(shown(error))
    check_all(client, client.user)
    check(logged.getvalue())


@pytest.mark.parametrize(
    "head",
    ["nonsense {0}", "HTTP/1.1 200 {0}\r\n{0} without a colon\r\nx: y", "HTTP/1.1 200 OK\r\nx: {0}\r\ncontent-length: {0}"],
)  # fmt: skip
def test_a_broken_answer(
    client: Any, kind: str, server: ChatGPTServer, logged: io.StringIO, head: str
) -> None:
    answer = RawAnswer([f"{head.format(KNOWN[kind][0])}\r\n\r\n".encode()])
    server.inject(answer)
    with pytest.raises(Exception) as caught:
        client.send_message("hi")
    check(shown(caught.value))
    check(logged.getvalue())


@pytest.mark.parametrize(
    "given",
    [
        {"access_token": f"{ACCESS}\r\nx: y"},
        {"access_token": ACCESS, "timeout": -1},
        {"access_token": [ACCESS]},
        {"get_access_token": lambda **_: "x", "email": [EMAIL]},
        {"get_access_token": lambda **_: "x", "password": [PASSWORD], "email": EMAIL},
        {"get_access_token": 5, "password": PASSWORD, "email": EMAIL, "session_token": SESSION},
        {"access_token": ACCESS, "api_reverse_proxy_url": f"https://u:{SESSION}@x/"},
        {"access_token": ACCESS, "headers": {"Cookie": f"{CLEARANCE}\nx"}},
    ],
)
def test_proxies_that_are_not_made(engine: Engine, given: dict[str, Any]) -> None:
    with pytest.raises((ConfigurationError, TypeError)) as caught:
        engine.package.ChatGPTUnofficialProxyAPI(**given)
    check(shown(caught.value))


@pytest.mark.parametrize(
    "given",
    [
        {"session_token": SESSION},
        {"clearance_token": CLEARANCE},
        {"session_token": f"{SESSION}; a=b", "clearance_token": CLEARANCE},
        {"session_token": SESSION, "clearance_token": f"{CLEARANCE};"},
        {"session_token": SESSION, "clearance_token": CLEARANCE, "access_token": [ACCESS]},
        {"session_token": SESSION, "clearance_token": CLEARANCE, "markdown": None},
        {"session_token": SESSION, "clearance_token": CLEARANCE, "api_base_url": "x"},
    ],
)
def test_sessions_that_are_not_made(engine: Engine, given: dict[str, Any]) -> None:
    with pytest.raises((ConfigurationError, TypeError)) as caught:
        engine.package.ChatGPTSessionAPI(**given)
    check(shown(caught.value))


def test_a_server_that_repeats_what_one_signs_in_with(
    engine: Engine, server: ChatGPTServer
) -> None:
    client = make("proxy with a function", engine, server)
    server.inject(
        Fault(status=400, body=f'{{"detail": "{EMAIL}, {PASSWORD}, {SESSION}, {ACCESS}"}}')
    )
    with pytest.raises(Exception) as caught:
        client.send_message("hi")
    check(shown(caught.value))
    assert str(caught.value) == "400 Bad Request: ***, ***, ***, ***"


def test_the_setter_that_fails(engine: Engine, server: ChatGPTServer) -> None:
    client = make("proxy", engine, server)
    for value in (f"{OTHER_ACCESS} x", [OTHER_ACCESS]):
        with pytest.raises((ConfigurationError, TypeError)) as caught:
            getattr(
                client, "_behind", client
            ).access_token = value  # without the frames of a test's
        check(shown(caught.value))
    client.access_token = OTHER_ACCESS
    check_all(client.access_token)
    assert client.send_message("hi").text


def test_cookies_that_a_server_sets_anew(
    engine: Engine, server: ChatGPTServer, logged: io.StringIO
) -> None:
    """Nobody knows them before, and libraries log the head of an answer."""
    client = make("session", engine, server)
    cookies = f"_puid=user-canary-1; Path=/, __Secure-next-auth.session-token.0=canary-{SESSION}; Path=/, cf_clearance=canary-{CLEARANCE}"
    for _ in range(2):
        server.inject(Fault(headers={"set-cookie": cookies, "location": f"/?t={OTHER_ACCESS}"}))
    client.send_message("hi")
    check(logged.getvalue())
