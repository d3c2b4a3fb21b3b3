"""The client against the loopback server, over real HTTP."""

from __future__ import annotations

import copy
import os
import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import requests

from chatgpt import (
    AuthenticationError,
    ChatGPTAPI,
    ChatMessage,
    ConfigurationError,
    InternalServerError,
    MemoryStore,
    MessageNotFoundError,
    Secret,
    StoreError,
)
from chatgpt.testing import ChatGPTServer, Fault, RecordedRequest
from tests.engines import Engine, stored_messages


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


def test_retries(engine: Engine, chatgpt_server: ChatGPTServer) -> None:
    client = engine.client(api_key=chatgpt_server.api_key, api_base_url=chatgpt_server.base_url)
    chatgpt_server.inject(Fault(status=429, headers={"retry-after-ms": "20"}), Fault(reset=True))
    assert client.send_message("hi").finish_reason == "stop"
    assert len(chatgpt_server.requests) == 3


def test_a_wrong_key(engine: Engine, chatgpt_server: ChatGPTServer) -> None:
    with engine.client(api_key="sk-wrong", api_base_url=chatgpt_server.base_url) as client:
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


OWN_ERRORS = [RuntimeError("mine"), requests.ConnectionError("mine"), httpx2.ConnectError("mine")]
"""Of the caller's own functions; those of the network must not look like a failure of the call's."""


@pytest.mark.parametrize("error", OWN_ERRORS)
def test_what_a_callback_raises_ends_the_call(client: ChatGPTAPI, error: Exception) -> None:
    check_that_it_comes_out(client, error)


@pytest.mark.parametrize("error", [StopIteration("mine"), KeyboardInterrupt()])
def test_what_a_callback_raises_to_stop(sync_client: ChatGPTAPI, error: BaseException) -> None:
    check_that_it_comes_out(sync_client, error)


def check_that_it_comes_out(client: ChatGPTAPI, error: BaseException) -> None:
    def on_progress(_: ChatMessage) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        client.send_message("hi", on_progress=on_progress)
    assert caught.value is error
    assert stored_messages(client) == []


@pytest.mark.parametrize("error", OWN_ERRORS)
def test_what_a_store_raises_comes_out(
    engine: Engine, chatgpt_server: ChatGPTServer, error: Exception
) -> None:
    def failing(_: object) -> None:
        raise error

    client = engine.client(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, get_message_by_id=failing
    )
    with pytest.raises(type(error)) as caught:
        client.send_message("hi", message_id="q")
    assert caught.value is error
    assert chatgpt_server.requests == []


@pytest.mark.parametrize("error", [*OWN_ERRORS, StopIteration("mine")])
def test_a_reply_that_cannot_be_saved_is_not_lost(
    engine: Engine, chatgpt_server: ChatGPTServer, error: Exception
) -> None:
    """What the store raises is the cause of an error that carries question and reply."""

    def failing(_: object) -> None:
        raise error

    if isinstance(error, StopIteration) and engine.name != "sync":
        pytest.skip("Python makes a RuntimeError of it where something is awaited")
    chatgpt_server.replies = ["It was dear."]
    client = engine.client(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, upsert_message=failing
    )
    with pytest.raises(StoreError, match=f"could not be saved: {type(error).__name__}$") as caught:
        client.send_message("hi")
    assert caught.value.__cause__ is error
    assert caught.value.partial == "It was dear."
    question, reply = pickle.loads(pickle.dumps(caught.value)).unsaved_messages
    assert (question.text, reply.text) == ("hi", "It was dear.")
    assert reply.parent_message_id == question.id


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


def test_a_client_that_is_closed_lets_running_calls_end(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    """They are not sent again, and their connections are not kept."""
    chatgpt_server.inject(Fault(delay=0.2), Fault(part_delay=0.05))
    texts: list[str] = []
    calls = [
        threading.Thread(
            target=lambda: texts.append(client.send_message("hi", stream=is_streamed).text)  # noqa: B023
        )
        for is_streamed in (False, True)
    ]
    for call in calls:
        call.start()
        time.sleep(0.02)
    client.close()
    for call in calls:
        call.join()
    assert len(texts) == 2
    assert len(chatgpt_server.requests) == 2
    assert client.send_message("again").text
    assert len({request.client_port for request in chatgpt_server.requests}) == 3


def test_moderation(chatgpt_server: ChatGPTServer, client: ChatGPTAPI) -> None:
    chatgpt_server.moderate = lambda text: {"violence": 0.9 if "kill" in text else 0.1}
    assert client.send_moderation("kill").flagged
    assert client.send_moderation("kiss").categories == {"violence": False}


def test_two_clients_may_share_a_store(
    engine: Engine, chatgpt_server: ChatGPTServer, client: ChatGPTAPI
) -> None:
    store = engine.package.MemoryStore()
    first, second = (
        engine.client(api_key="sk-test", api_base_url=chatgpt_server.base_url, message_store=store)
        for _ in range(2)
    )
    reply = first.send_message("hi")
    assert (
        second.send_message("again", parent_message_id=reply.id).conversation_id
        == reply.conversation_id
    )
    with pytest.raises(MessageNotFoundError):
        client.send_message("again", parent_message_id=reply.id)


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
    engine: Engine, chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = engine.package.ChatGPTAPI(
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
    without_key = engine.adopt(pickle.loads(pickled))
    with pytest.raises(ConfigurationError, match="set OPENAI_API_KEY in the environment"):
        without_key.send_message("hi")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-env")
    monkeypatch.setenv("MY_AUTH", "auth-env")
    engine.adopt(pickle.loads(pickled)).send_message("hi")
    (request,) = chatgpt_server.requests
    assert request.messages[0] == {"role": "system", "content": "Be brief."}
    assert request.headers["x-title"] == "t"
    assert request.headers["openai-organization"] == "org-env"
    assert request.headers["x-auth"] == "auth-env"


def test_a_copy_keeps_its_secrets(engine: Engine, chatgpt_server: ChatGPTServer) -> None:
    client = engine.package.ChatGPTAPI(api_key="sk-test", api_base_url=chatgpt_server.base_url)
    client.api_key, client.api_org = "sk-other", "org-other"
    with pytest.raises(AuthenticationError):
        engine.adopt(copy.deepcopy(client)).send_message("hi")
    assert chatgpt_server.requests[0].api_key == "sk-other"
    assert chatgpt_server.requests[0].headers["openai-organization"] == "org-other"


def test_the_environment_configures_a_client(
    engine: Engine, chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", chatgpt_server.base_url)
    monkeypatch.setenv("OPENAI_MODEL", "gpt-4o")
    monkeypatch.setenv("OPENAI_ORG_ID", " ")
    with engine.client() as client:
        assert client.send_message("hi").model == "gpt-4o"
        assert client.api_org is None
        assert repr(client) == f"<ChatGPTAPI, gpt-4o at {chatgpt_server.base_url}/chat/completions>"


def test_a_reverse_proxy_gets_no_moderation(
    engine: Engine, chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ChatGPTServer() as elsewhere:
        monkeypatch.setenv("OPENAI_BASE_URL", elsewhere.base_url)
        url = f"{chatgpt_server.base_url}/chat/completions"
        with engine.client(api_key="sk-test", api_reverse_proxy_url=url) as client:
            assert client.send_message("hi").text
            with pytest.raises(ConfigurationError, match="Give api_base_url"):
                client.send_moderation("hi")
        assert elsewhere.requests == []


def test_headers_of_the_caller(engine: Engine, chatgpt_server: ChatGPTServer) -> None:
    with engine.client(
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
    engine: Engine,
    chatgpt_server: ChatGPTServer,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import logging

    log = logging.getLogger("chatgpt")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "level", log.level)
    for _ in range(2):
        with engine.client(
            api_key="sk-test", api_base_url=chatgpt_server.base_url, debug=True
        ) as client:
            client.send_message("the words of a conversation")
    logged = capfd.readouterr().err
    assert logged.count("SendRequest(request=HttpRequest(method='POST'") == 2
    assert "words" not in logged
    assert "sk-test" not in logged


def test_what_a_store_returns_is_checked(engine: Engine, chatgpt_server: ChatGPTServer) -> None:
    class Odd(MemoryStore):
        def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
            return [{"id": message_id}]  # type: ignore[list-item]

    with engine.client(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, message_store=Odd()
    ) as client:
        with pytest.raises(TypeError, match="returned a dict where a ChatMessage is needed"):
            client.send_message("hi", parent_message_id="x")
    tokenizer: Any = str.split
    with engine.client(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, tokenizer=tokenizer
    ) as client:
        with pytest.raises(
            TypeError, match="tokenizer must return a number of tokens, not \\['system'\\]"
        ):
            client.send_message("hi")
    assert chatgpt_server.requests == []


def test_the_failure_of_a_responder_is_not_tried_again(
    engine: Engine, chatgpt_server: ChatGPTServer
) -> None:
    def failing(_: RecordedRequest) -> str:
        raise RuntimeError("of the test")

    chatgpt_server.replies = failing
    with engine.client(api_key="sk-test", api_base_url=chatgpt_server.base_url) as client:
        with pytest.raises(
            InternalServerError,
            match="500 Internal Server Error: The responder failed: RuntimeError",
        ):
            client.send_message("hi")
    assert len(chatgpt_server.requests) == 1
