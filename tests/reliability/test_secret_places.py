"""Where a secret could show besides what a call brings: what is printed and interrupted, and odd options.

Strategy and promises are those of `test_secrets`.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

import chatgpt
import chatgpt_async
from chatgpt import ConfigurationError, Secret
from chatgpt.core.secrets import is_credential
from chatgpt.testing import ChatGPTServer, RawAnswer
from chatgpt.testing.requests import RecordedRequest
from tests.engines import Engine
from tests.reliability.canaries import (
    ACCESS_TOKEN,
    API_KEY,
    CLEARANCE_TOKEN,
    EMAIL,
    ORGANIZATION,
    PASSWORD,
    PLAIN_HEADER,
    PROXY_PASSWORD,
    REDIS_PASSWORD,
    SESSION_TOKEN,
    URL_PASSWORD,
    Search,
)
from tests.reliability.public_calls import CALLS, ENVIRONMENT, give_token, official_scene
from tests.reliability.report import Report
from tests.reliability.test_secrets import GROUP, SEEN, Watch, server, watch
from tests.reliability.wire import RawServer, answering_and_staying

__all__ = ["server", "watch"]  # fixtures


# --- headers of the caller -------------------------------------------------------------------

CREDENTIALS: Final = (
    "Authorization", "Proxy-Authorization", "X-Authorization", "X-Api-Key", "api-key", "ApiKey",
    "Ocp-Apim-Subscription-Key", "X-Goog-Api-Key", "x-functions-key", "X-Auth-Token", "X-Access-Token",
    "X-Vault-Token", "Helicone-Auth", "X-Amz-Security-Token", "Cookie", "X-CSRF-Token", "X-XSRF-Token",
    "CF-Access-Client-Secret", "X-Session-Id", "X-Hub-Signature-256", "X-Password", "x-amzn-oidc-accesstoken",
)  # fmt: skip
OVERLOOKED: Final = (
    "CF-Access-Jwt-Assertion", "X-Goog-IAP-JWT-Assertion", "X-Amzn-Oidc-Data", "X-Jwt", "X-Bearer", "DPoP",
    "X-Pwd", "X-Hmac", "OpenAI-Organization",
)  # fmt: skip
"""Names of credentials in use (JSON web tokens, proofs, passwords), and what the client itself takes for a secret."""
PLAIN: Final = (
    "Accept", "Accept-Language", "Content-Type", "User-Agent", "X-Request-Id", "traceparent", "OpenAI-Beta",
    "anthropic-version", "HTTP-Referer", "X-Title", "X-Stainless-Lang", "Origin", "api-version", "X-Trace",
)  # fmt: skip


@pytest.mark.parametrize("name", [*CREDENTIALS, *OVERLOOKED])
def test_headers_that_are_secrets(name: str, report: Report) -> None:
    assert is_credential(name)
    report.tried(GROUP, "a header whose name is that of a credential", "-", "it is a secret")


@pytest.mark.parametrize("name", PLAIN)
def test_headers_that_are_none(name: str, report: Report) -> None:
    assert not is_credential(name)
    report.tried(GROUP, "a header of another name", "-", "it is no secret")


# --- constructors and setters ----------------------------------------------------------------

WRONG: Final[dict[str, list[dict[str, object]]]] = {
    "ChatGPTAPI": [
        {"api_key": f"{API_KEY}\r\nx: y"},
        {"api_key": f"{API_KEY} {API_KEY}"},
        {"api_key": f"{API_KEY}\u200b"},
        {"api_key": [API_KEY]},
        {"api_key": API_KEY.encode()},
        {"api_key": {"key": API_KEY}},
        {"api_key": API_KEY, "timeout": -1},
        {"api_key": API_KEY, "api_org": f"{ORGANIZATION}\n\nx"},
        {"api_key": API_KEY, "api_org": (ORGANIZATION,)},
        {"api_key": API_KEY, "headers": {"X-Auth": f"{PLAIN_HEADER}\nx"}},
        {"api_key": API_KEY, "headers": {"X-Auth": Secret(f"{PLAIN_HEADER}\nx")}},
        {"api_key": API_KEY, "headers": {"X-Own": Secret(f"{PLAIN_HEADER}\nx")}},
        {"api_key": API_KEY, "headers": {"X-Auth": [PLAIN_HEADER]}},
        {"api_key": API_KEY, "headers": {"X-Auth": PLAIN_HEADER, "x y": "z"}},
        {"api_key": API_KEY, "headers": [("X-Auth", PLAIN_HEADER)]},
        {"api_key": API_KEY, "proxy": f"http://user:{PROXY_PASSWORD}@ho st"},
        {"api_key": API_KEY, "proxy": f"ftp://user:{PROXY_PASSWORD}@host"},
        {"api_key": API_KEY, "proxy": f"http://user:{PROXY_PASSWORD}@host:port"},
        {"api_key": API_KEY, "api_base_url": f"https://user:{URL_PASSWORD}@host/v1"},
        {"api_key": API_KEY, "api_base_url": f"https://user:{URL_PASSWORD}@host:x/v1"},
        {"api_key": API_KEY, "api_reverse_proxy_url": f"https://u:{URL_PASSWORD}@host/v1/chat"},
        {"api_key": API_KEY, "message_store": {}},
    ],
    "ChatGPTUnofficialProxyAPI": [
        {"access_token": f"{ACCESS_TOKEN}\r\nx: y"},
        {"access_token": [ACCESS_TOKEN]},
        {"get_access_token": give_token, "email": [EMAIL]},
        {"get_access_token": give_token, "password": [PASSWORD], "email": EMAIL},
        {"get_access_token": 5, "password": PASSWORD, "session_token": SESSION_TOKEN},
        {"access_token": ACCESS_TOKEN, "api_reverse_proxy_url": f"https://u:{URL_PASSWORD}@x/"},
        {"access_token": ACCESS_TOKEN, "headers": {"Cookie": f"{CLEARANCE_TOKEN}\nx"}},
    ],
    "ChatGPTSessionAPI": [
        {"session_token": SESSION_TOKEN},
        {"clearance_token": CLEARANCE_TOKEN},
        {"session_token": f"{SESSION_TOKEN}; a=b", "clearance_token": CLEARANCE_TOKEN},
        {"session_token": SESSION_TOKEN, "clearance_token": f"{CLEARANCE_TOKEN};"},
        {"session_token": SESSION_TOKEN, "clearance_token": CLEARANCE_TOKEN, "markdown": None},
        {"session_token": SESSION_TOKEN, "clearance_token": [CLEARANCE_TOKEN]},
        {
            "session_token": SESSION_TOKEN,
            "clearance_token": CLEARANCE_TOKEN,
            "access_token": {"accessToken": ACCESS_TOKEN},
        },
    ],
    "RedisStore": [
        {"url": f"redis://user:{REDIS_PASSWORD}@ho st:x"},
        {"url": f"redis://user:{REDIS_PASSWORD}@host/db"},
        {"url": f"http://user:{REDIS_PASSWORD}@host"},
        {"url": f"redis://{REDIS_PASSWORD}@host/0?socket_timeout=x"},
        {"url": f"redis://user:{REDIS_PASSWORD}/@host"},
        {"url": f"redis://host?password={REDIS_PASSWORD}&nonsense=1"},
        {"url": [f"redis://user:{REDIS_PASSWORD}@host"]},
        {"url": f"redis://user:{REDIS_PASSWORD}@host", "time_to_live": -1},
    ],
}  # fmt: skip


MISPLACED: Final = (
    "timeout", "idle_timeout", "connect_timeout", "max_retries", "max_model_tokens", "max_response_tokens",
    "completion_params", "message_store", "session", "tokenizer", "api_base_url", "api_reverse_proxy_url", "proxy",
    "headers", "get_message_by_id", "upsert_message",
)  # fmt: skip
"""Options in whose place a key is refused."""


def test_a_key_in_the_place_of_another_option(engine: Engine, report: Report) -> None:
    """What the error says does not repeat it. The frames may show it: there it is a timeout, and no key."""
    search = Search()
    for name in MISPLACED:
        with pytest.raises((ConfigurationError, TypeError)) as caught:
            engine.package.ChatGPTAPI(api_key="sk-x", **{name: API_KEY})
        error = caught.value
        search.text(name, str(error), repr(error), repr(vars(error)))
    search.finish(report)
    seen = "no error repeats it"
    report.tried(
        GROUP, "a key in the place of another option", engine.name, seen, cases=len(MISPLACED)
    )


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.filterwarnings("ignore:coroutine")
def test_constructors_that_fail(name: str, engine: Engine, watch: Watch, report: Report) -> None:
    logging.getLogger("chatgpt").debug("A client is not made.")
    for given in WRONG[name]:
        make = partial(getattr(engine.package, name), **given)
        error = watch.of(f"{name}({', '.join(given)})", make)
        assert isinstance(error, (ConfigurationError, TypeError, ValueError)), list(given)
    watch.finish()
    report.tried(GROUP, "an option that is wrong", engine.name, SEEN, cases=len(WRONG[name]))


def test_setters_that_fail(engine: Engine, watch: Watch, report: Report) -> None:
    logging.getLogger("chatgpt").debug("A client is not changed.")
    official = engine.package.ChatGPTAPI(api_key=API_KEY)
    web = engine.package.ChatGPTUnofficialProxyAPI(access_token=ACCESS_TOKEN)
    wrong: list[object] = [f"{API_KEY} x", [API_KEY], API_KEY.encode(), Secret(f"{API_KEY}\nx")]
    attributes = ((official, "api_key"), (official, "api_org"), (web, "access_token"))
    for client, attribute in attributes:
        for value in wrong:
            error = watch.of(attribute, partial(setattr, client, attribute, value))
            assert isinstance(error, (ConfigurationError, TypeError))
        watch.search.value("a client", client)
    watch.finish()
    report.tried(GROUP, "an option that is wrong", engine.name, SEEN, cases=12)


def test_a_function_that_returns_nonsense_for_a_token(
    engine: Engine, server: ChatGPTServer, watch: Watch, report: Report
) -> None:
    url = server.proxy_options["api_reverse_proxy_url"]
    returned: tuple[object, ...] = (
        f"{ACCESS_TOKEN}\n\nx",
        [ACCESS_TOKEN],
        {"t": ACCESS_TOKEN},
        b"",
    )
    for each in returned:
        client = engine.proxy_client(
            get_access_token=lambda each=each, **_: each,
            api_reverse_proxy_url=url,
            email=EMAIL,
        )
        error = watch.of("a nonsensical token", partial(client.send_message, "hi"))
        assert isinstance(error, (ConfigurationError, TypeError))
    watch.finish()
    report.tried(GROUP, "an option that is wrong", engine.name, SEEN, cases=len(returned))


# --- URLs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["api_base_url", "api_reverse_proxy_url"])
def test_a_key_in_the_query_of_a_url(
    engine: Engine, watch: Watch, report: Report, name: str
) -> None:
    """Some gateways take it there (`?api-key=`, `?key=`): it is refused, because libraries log URLs."""
    logging.getLogger("chatgpt").debug("A client is not made.")
    url = f"https://host.example/v1?api-version=1&api-key={URL_PASSWORD}"
    given = {"api_key": API_KEY, name: url}
    made = watch.of("a client", partial(engine.package.ChatGPTAPI, **given))
    assert isinstance(made, ConfigurationError)
    assert f"{name} must hold no user name or password, nor a key in its query" in str(made)
    given[name] = "https://host.example/v1?api-version=1"
    engine.package.ChatGPTAPI(**given)
    watch.finish()
    report.tried(GROUP, "a key in the query of a URL", engine.name, "`ConfigurationError`")


# --- interrupts, debuggers and other programs ------------------------------------------------


@pytest.mark.parametrize("name", ["sync", "asyncio", "trio"])
@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\n\r\ndata: {}\n\n"],
    ids=["before the answer", "within a stream"],
)
def test_an_interrupt(
    name: str, answer: bytes, watch: Watch, report: Report, request: pytest.FixtureRequest
) -> None:
    """Ctrl-C in the main thread hits the frames of libraries, which hold the headers."""
    main = threading.main_thread().ident
    assert main == threading.get_ident()
    # Where the tests run in the background, it is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(partial(signal.signal, signal.SIGINT, before))
    script = answering_and_staying(answer)

    def interrupting(wire: Any) -> None:
        timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        script(wire)

    with RawServer(interrupting) as wire_server:
        options: dict[str, Any] = {
            "api_key": API_KEY, "api_org": ORGANIZATION, "api_base_url": wire_server.base_url,
            "headers": {"X-Api-Key": PLAIN_HEADER},
        }  # fmt: skip

        async def send() -> None:
            async with chatgpt_async.ChatGPTAPI(**options) as client:
                await client.send_message("hi", stream=True)

        with pytest.raises(KeyboardInterrupt) as caught:
            if name == "sync":
                with chatgpt.ChatGPTAPI(**options) as client:
                    client.send_message("hi", stream=True)
            else:
                anyio.run(send, backend=name)
    watch.search.value("the interrupt", caught.value)
    watch.finish()
    report.tried(GROUP, "Ctrl-C", name, SEEN)


def test_debug_output_of_http_client(
    engine: Engine,
    server: ChatGPTServer,
    watch: Watch,
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What many do to see requests; http.client prints every header that it sends."""
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    scene = official_scene(engine, server)
    watch.of("a reply", lambda: scene.client.send_message("hi"))
    watch.finish()
    report.tried(GROUP, "http.client prints what it does", engine.name, SEEN)


def test_the_debug_mode_of_asyncio(
    engines: dict[str, Engine], server: ChatGPTServer, watch: Watch, report: Report
) -> None:
    """A loop in debug mode logs each callback that is slow, with its repr and that of its task."""
    engine = engines["asyncio"]

    def set_debugging(is_on: bool) -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(is_on)
        loop.slow_callback_duration = 0 if is_on else 0.1

    scene = official_scene(engine, server)
    scene.begin()
    engine.run(set_debugging, True)
    before = watch.logged.count
    try:
        for method, case in CALLS["ChatGPTAPI"].items():
            watch.of(method, partial(case, scene, scene.client, {}))
    finally:
        engine.run(set_debugging, False)
        engine.close_clients()
    assert "asyncio" in watch.logged.names, "nothing was slow"
    assert watch.logged.count > before
    watch.finish()
    report.tried(
        GROUP, "the debug mode of asyncio", "asyncio", SEEN, cases=len(CALLS["ChatGPTAPI"])
    )


PROGRAM: Final = """
import asyncio, faulthandler, gc, logging, sys, threading, tracemalloc, anyio, chatgpt, chatgpt_async

Client, AsyncClient = chatgpt.ChatGPTAPI, chatgpt_async.ChatGPTAPI
tracemalloc.start(5)  # not before: it makes imports slow
logging.basicConfig(level=logging.DEBUG)
url, engine = sys.argv[1:]
options = dict(api_base_url=url, max_retries=0, debug=True, tokenizer=len)

def work():
    client = Client(**options)
    stream = client.stream_message("hi")
    next(stream)
    faulthandler.dump_traceback()
    del stream
    gc.collect()
    thread = threading.Thread(target=lambda: client.send_message("refuse"))
    thread.start()
    thread.join()
    client.send_message("refuse")

async def awork():
    if engine == "asyncio":
        asyncio.get_running_loop().slow_callback_duration = 0
    client = AsyncClient(**options)
    stream = client.stream_message("hi")
    await stream.__aenter__()
    faulthandler.dump_traceback()
    del stream
    gc.collect()
    await client.send_message("refuse")

work() if engine == "sync" else anyio.run(awork, backend=engine)
"""


def test_programs_in_development_mode(
    server: ChatGPTServer, report: Report, tmp_path: Path
) -> None:
    """A stream that is left lying, errors that nobody catches, dumps: with `-X dev` and tracemalloc.

    Development mode has the loop of asyncio in debug mode, which logs each callback that is slow.
    """
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    server.replies = _refusing
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[2])}
    search = Search()
    with ExitStack() as stack:  # all at the same time
        processes = {
            name: stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-X", "dev", program, server.base_url, name],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            )
            for name in SAID_BY_PROGRAMS
        }
        for name, process in processes.items():
            search.text("the command line", Path(f"/proc/{process.pid}/cmdline").read_bytes())
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 1, output.decode()
            for said in (b"AuthenticationError", b"call first", *SAID_BY_PROGRAMS[name]):
                assert said in output, output.decode()
            search.text(f"the output of {name}", output)
    search.finish(report)
    for name in SAID_BY_PROGRAMS:
        report.tried(GROUP, "development mode, uncaught errors, dumps", name, SEEN)


SAID_BY_PROGRAMS: Final[dict[str, list[bytes]]] = {
    "sync": [b"ResourceWarning", b"Exception in thread"],
    "asyncio": [b"Executing <Task"],
    "trio": [],
}


def _refusing(request: RecordedRequest) -> str | RawAnswer:
    if request.messages[-1]["content"] != "refuse":
        return "Some words of a reply."
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {API_KEY}"}}).encode()
    head = (
        f"HTTP/1.1 401 {API_KEY}\r\nset-cookie: a={API_KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return RawAnswer([head.encode() + body])
