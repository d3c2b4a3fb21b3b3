"""What a client tells of its route and its model, on every engine: what is true of the next request, and no secret.

The words and the ways are compared with those of a call that is made.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import certifi
import httpx2
import pytest
import requests

import chatgpt.transport
import chatgpt_async.transport
from chatgpt import ChatGPTAPI, ChatGPTError, ConfigurationError, RouteReport
from chatgpt.routes import CERTIFICATE_VARIABLES
from chatgpt.testing import ChatGPTServer
from tests.engines import Engine

KEY = "sk-test-0123456789"
PASSWORD = "pass%20word"


@pytest.fixture(autouse=True)
def _no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CERTIFICATE_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def official(engine: Engine, **options: Any) -> Any:
    return engine.client(**{"api_key": KEY, "max_retries": 0, **options})


def reverse_proxy(engine: Engine, **options: Any) -> Any:
    return engine.proxy_client(access_token="token-0123456789", **options)


def session(engine: Engine, **options: Any) -> Any:
    return engine.session_client(
        session_token="session-0123456789", clearance_token="clearance-0123456789", **options
    )


KINDS: list[Callable[..., Any]] = [official, reverse_proxy, session]


def report(url: str, proxy: str | None = None, certificates: str | None = None) -> RouteReport:
    return RouteReport(url=url, proxy=proxy, certificates=certificates)


# --- where to --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "options", "url"),
    [
        (official, {}, "https://api.openai.com/v1/chat/completions"),
        (official, {"endpoint": "completions"}, "https://api.openai.com/v1/completions"),
        (official, {"model": "gpt-3.5-turbo-instruct"}, "https://api.openai.com/v1/completions"),
        (official, {"api_base_url": "https://c.example/v2?x=1"}, "https://c.example/v2/chat/completions"),
        (official, {"api_reverse_proxy_url": "https://c.example/D/chat?api-version=V"}, "https://c.example/D/chat"),
        (reverse_proxy, {}, "https://chatgpt.com/backend-api/conversation"),
        (reverse_proxy, {"api_reverse_proxy_url": "https://c.example/c?x=1"}, "https://c.example/c"),
        (session, {}, "https://chatgpt.com/backend-api/conversation"),
        (
            session,
            {"api_base_url": "https://c.example/api", "backend_api_base_url": "https://c.example/b"},
            "https://c.example/b/conversation",
        ),
    ],
)  # fmt: skip
def test_where_messages_are_posted(
    engine: Engine, make: Callable[..., Any], options: dict[str, Any], url: str
) -> None:
    assert make(engine, **options).route() == report(url, certificates=certifi.where())


def test_it_is_where_they_go(
    engine: Engine, chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the environment is at that moment."""
    key = chatgpt_server.api_key
    client = official(engine, api_key=key, api_base_url="http://chat.example/v1")
    assert client.route() == report("http://chat.example/v1/chat/completions")
    origin = chatgpt_server.base_url.removesuffix("/v1")
    monkeypatch.setenv("HTTP_PROXY", origin)
    route = client.route()
    assert route == report("http://chat.example/v1/chat/completions", origin)
    assert chatgpt_server.requests == []
    with pytest.raises(ChatGPTError, match="404 Not Found: Invalid URL"):
        client.send_message("hi")
    assert [request.path for request in chatgpt_server.requests] == [route.url]


def test_a_server_on_this_machine(
    engine: Engine, chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://p.example:1")
    url, key = chatgpt_server.base_url, chatgpt_server.api_key
    client = official(engine, api_key=key, api_base_url=url)
    assert client.route() == report(f"{chatgpt_server.base_url}/chat/completions")
    assert client.send_message("hi").text


# --- through what ----------------------------------------------------------------------------


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (f"http://user:{PASSWORD}@p.example:3128", "http://***@p.example:3128"),
        (f"https://{PASSWORD}@p.example/", "https://***@p.example/"),
        (f"socks5://user:{PASSWORD}@p.example:1080", "socks5h://***@p.example:1080"),
        ("http://@p.example:3128", "http://p.example:3128"),
        ("http://p.example:3128", "http://p.example:3128"),
    ],
)
@pytest.mark.parametrize("is_given", [True, False])
def test_a_proxy_is_shown_without_its_user(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[..., Any],
    given: str,
    shown: str,
    *,
    is_given: bool,
) -> None:
    if is_given:
        monkeypatch.setenv("HTTPS_PROXY", "http://other.example:1")
    else:
        monkeypatch.setenv("HTTPS_PROXY", given)
    route = make(engine, **({"proxy": given} if is_given else {})).route()
    assert route.proxy == shown
    assert PASSWORD not in repr(route)


def test_certificates_are_those_of_the_environment_where_tls_is_spoken(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", __file__)
    assert official(engine).route().certificates == __file__
    plain = official(engine, api_base_url="http://chat.example/v1")
    assert plain.route().certificates is None
    monkeypatch.setenv("HTTP_PROXY", "https://p.example:1")
    assert plain.route().certificates == __file__


def test_a_session_of_the_caller_goes_its_own_way(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    own: Any = requests.Session() if engine.name == "sync" else httpx2.AsyncClient()
    monkeypatch.setenv("HTTPS_PROXY", "http://p.example:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    client = official(engine, session=own)
    assert client.route() == report("https://api.openai.com/v1/chat/completions")
    if engine.name == "sync":
        own.close()
    else:
        engine.run(own.aclose)


# --- ways that are none ----------------------------------------------------------------------


def errors_of(client: Any) -> tuple[ConfigurationError, ConfigurationError]:
    """What the report raises, and what a call does."""
    with pytest.raises(ConfigurationError) as reported:
        client.route()
    with pytest.raises(ConfigurationError) as called:
        client.send_message("hi")
    return reported.value, called.value


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", f"ftp://user:{PASSWORD}@p.example:1"),
        ("SSL_CERT_FILE", "/no/such/file.pem"),
        ("REQUESTS_CA_BUNDLE", "/no/such/sk-test-0123456789.pem"),
    ],
)
def test_the_words_are_those_of_a_call(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[..., Any],
    name: str,
    value: str,
) -> None:
    client = make(engine)
    monkeypatch.setenv(name, value)
    reported, called = errors_of(client)
    assert str(reported) == str(called)
    assert str(reported).startswith("The request cannot be sent: ")
    assert PASSWORD not in str(reported)
    assert (KEY in str(reported)) == (make is not official and KEY in value), "its own is masked"
    # Frames that know the proxies of the environment would hang on these.
    assert reported.__context__ is reported.__cause__ is None


def test_socks_without_its_package(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each twin needs its own."""
    twin: Any = chatgpt.transport if engine.name == "sync" else chatgpt_async.transport
    hidden = twin.SOCKS_PACKAGE
    monkeypatch.setattr(
        "chatgpt.routes.find_spec", lambda name: None if name == hidden else find_spec(name)
    )
    client = official(engine, proxy="socks5://p.example:1080")
    reported, called = errors_of(client)
    assert str(reported) == str(called)
    assert "pip install 'chatgpt-sdk[socks]'" in str(reported)


def test_a_proxy_whose_password_a_pickle_left_behind() -> None:
    client = ChatGPTAPI(api_key=KEY, proxy=f"http://user:{PASSWORD}@p.example:3128")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        copy: ChatGPTAPI = pickle.loads(pickle.dumps(client))
    reported, called = errors_of(copy)
    assert str(reported) == str(called)
    assert "A secret is not carried by a pickle: set HTTPS_PROXY" in str(reported)


# --- the model -------------------------------------------------------------------------------


@pytest.mark.parametrize("make", KINDS)
def test_the_model(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any]
) -> None:
    monkeypatch.setenv("OPENAI_MODEL", "gpt-4o")
    client = make(engine)
    assert client.model == ("gpt-4o" if make is official else "auto")
    assert client.model in repr(client)
    assert make(engine, model="gpt-5.4").model == "gpt-5.4"
    with pytest.raises(AttributeError):
        client.model = "another"


def test_the_model_is_the_one_that_is_asked(engine: Engine, chatgpt_server: ChatGPTServer) -> None:
    url, key = chatgpt_server.base_url, chatgpt_server.api_key
    params = {"model": "gpt-4o-mini"}
    client = official(engine, api_key=key, api_base_url=url, completion_params=params)
    client.send_message("hi")
    assert client.model == json.loads(chatgpt_server.requests[0].body)["model"] == "gpt-4o-mini"
