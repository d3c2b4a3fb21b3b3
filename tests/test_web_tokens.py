"""Access tokens of both clients of the web flow: given, got, renewed once for all who wait."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import chatgpt_async
from chatgpt import (
    AbortedError,
    APITimeoutError,
    AuthenticationError,
    ChatGPTError,
    ChatGPTSessionAPI,
    ChatGPTUnofficialProxyAPI,
    ChatMessage,
    ConfigurationError,
    Secret,
    StreamInterruptedError,
    TokenExpiredError,
)
from chatgpt.testing import ChatGPTServer, Fault
from tests.engines import Engine


@pytest.fixture
def session(engine: Engine, chatgpt_server: ChatGPTServer) -> ChatGPTSessionAPI:
    return engine.session_client(**chatgpt_server.session_options)


def paths(server: ChatGPTServer) -> list[str]:
    return [request.path for request in server.requests]


# --- tokens of the proxy ---------------------------------------------------------------------


def test_a_token_that_is_set(engine: Engine, chatgpt_server: ChatGPTServer) -> None:
    options = {**chatgpt_server.proxy_options, "access_token": "wrong-token"}
    client = engine.proxy_client(**options)
    assert client.access_token == Secret("wrong-token")
    with pytest.raises(TokenExpiredError):
        client.send_message("Hi")
    client.access_token = chatgpt_server.web.access_token()
    assert client.send_message("Hi").text
    with pytest.raises(ConfigurationError, match="access_token is missing"):
        client.access_token = None
    with pytest.raises(ConfigurationError, match="access_token holds"):
        client.access_token = "a b"
    assert client.send_message("Hi").text


def test_a_token_of_the_session_that_is_set(
    session: ChatGPTSessionAPI, chatgpt_server: ChatGPTServer
) -> None:
    any_client: Any = session
    assert any_client.access_token is None
    any_client.access_token = chatgpt_server.web.access_token()
    assert session.send_message("Hi").text
    assert paths(chatgpt_server) == ["/backend-api/conversation"]
    any_client.access_token = None
    session.send_message("Hi")
    assert isinstance(any_client.access_token, Secret)
    assert len(chatgpt_server.requests) == 3


def test_a_function_that_gets_tokens(engine: Engine, chatgpt_server: ChatGPTServer) -> None:
    asked: list[Any] = []

    def get_access_token(
        *, email: str | None, password: str | None, session_token: str | None
    ) -> str:
        asked.append((email, password, session_token))
        return chatgpt_server.web.access_token()

    client = engine.proxy_client(
        get_access_token=get_access_token, email="e@x.de", password="p w", session_token="s",
        api_reverse_proxy_url=chatgpt_server.proxy_options["api_reverse_proxy_url"],
    )  # fmt: skip
    assert (client.access_token, asked) == (None, [])
    for _ in range(2):
        client.send_message("Hi")
    assert asked == [("e@x.de", "p w", "s")]
    chatgpt_server.web.expire_access_tokens()
    assert client.send_message("Hi").text
    assert len(asked) == 2


def test_a_function_that_fails(engine: Engine, chatgpt_server: ChatGPTServer) -> None:
    """Its error is the caller's, and the next call asks again."""
    failures: Iterator[Exception] = iter([LookupError("mine"), OSError("network")])

    def get_access_token(**_: object) -> str:
        for failure in failures:
            raise failure
        return chatgpt_server.web.access_token()

    client = engine.proxy_client(
        get_access_token=get_access_token,
        api_reverse_proxy_url=chatgpt_server.proxy_options["api_reverse_proxy_url"],
    )
    with pytest.raises(LookupError, match="mine"):
        client.send_message("Hi")
    with pytest.raises(OSError, match="network"):
        client.send_message("Hi")
    assert client.send_message("Hi").text


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_functions(
    engines: dict[str, Engine], chatgpt_server: ChatGPTServer, backend: str
) -> None:
    seen: list[str] = []

    async def get_access_token(**_: object) -> str:
        await anyio.lowlevel.checkpoint()
        return chatgpt_server.web.access_token()

    async def take(event: object) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(type(event).__name__)

    client = engines[backend].proxy_client(
        get_access_token=get_access_token,
        api_reverse_proxy_url=chatgpt_server.proxy_options["api_reverse_proxy_url"],
    )
    client.send_message("Hi", on_progress=take, on_conversation_response=take)
    assert {"dict", "ChatMessage"} == set(seen)
    engines[backend].close_clients()


def test_the_sync_twin_refuses_async_functions(chatgpt_server: ChatGPTServer) -> None:
    async def function(*_: object, **__: object) -> str:
        return "x"

    with pytest.raises(TypeError, match="get_access_token must be a plain function"):
        ChatGPTUnofficialProxyAPI(get_access_token=function)  # type: ignore[arg-type] # that is the point
    with ChatGPTUnofficialProxyAPI(**chatgpt_server.proxy_options) as client:
        for name in ("on_progress", "on_conversation_response"):
            given: Any = {name: function}
            with pytest.raises(TypeError, match=f"{name} must be a plain function"):
                client.send_message("Hi", **given)
            with pytest.raises(TypeError, match=f"{name} must be a plain function"):
                client.conversation().send("Hi", **given)


# --- many at once ----------------------------------------------------------------------------

MANY = 50


def check_many(server: ChatGPTServer, replies: list[ChatMessage], before: int) -> None:
    assert len({reply.id for reply in replies}) == MANY
    requests = server.requests[before:]
    assert sum(request.path == "/api/auth/session" for request in requests) == 1
    assert len(requests) <= 2 * MANY + 1


def test_threads_share_one_renewal(chatgpt_server: ChatGPTServer) -> None:
    with ChatGPTSessionAPI(**chatgpt_server.session_options) as client:
        client.init_session()
        chatgpt_server.web.expire_access_tokens()
        before = len(chatgpt_server.requests)
        ready = threading.Barrier(MANY)

        def ask(number: int) -> ChatMessage:
            ready.wait()
            return client.send_message(f"question {number}")

        with ThreadPoolExecutor(MANY) as pool:
            replies = list(pool.map(ask, range(MANY)))
    check_many(chatgpt_server, replies, before)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_tasks_share_one_renewal(chatgpt_server: ChatGPTServer, backend: str) -> None:
    replies: list[ChatMessage] = []

    async def main() -> int:
        async with chatgpt_async.ChatGPTSessionAPI(**chatgpt_server.session_options) as client:
            await client.init_session()
            chatgpt_server.web.expire_access_tokens()
            before = len(chatgpt_server.requests)

            async def ask(number: int) -> None:
                replies.append(await client.send_message(f"question {number}"))

            async with anyio.create_task_group() as group:
                for number in range(MANY):
                    group.start_soon(ask, number)
            return before

    check_many(chatgpt_server, replies, anyio.run(main, backend=backend))


def test_threads_share_one_failure(chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.inject(Fault(status=401, body='{"detail": "no"}', delay=0.3))
    chatgpt_server.web.sign_out()
    with ChatGPTSessionAPI(**chatgpt_server.session_options) as client:

        def ask(_: int) -> bool:
            try:
                client.refresh_session()
            except AuthenticationError as error:
                return error.status_code == 401
            return False

        with ThreadPoolExecutor(10) as pool:
            assert all(pool.map(ask, range(10)))
    assert len(chatgpt_server.requests) == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_renewal_that_is_cancelled_passes_the_turn_on(
    chatgpt_server: ChatGPTServer, backend: str
) -> None:
    chatgpt_server.inject(Fault(delay=1.0))

    async def main() -> None:
        async with chatgpt_async.ChatGPTSessionAPI(**chatgpt_server.session_options) as client:
            with anyio.move_on_after(0.1) as scope:
                await client.init_session()
            assert scope.cancelled_caught
            with anyio.fail_after(0.8):
                await client.init_session()

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_whoever_waits_for_the_turn_can_be_cancelled_and_timed_out(
    chatgpt_server: ChatGPTServer, backend: str
) -> None:
    chatgpt_server.inject(Fault(delay=0.6))

    async def main() -> None:
        async with chatgpt_async.ChatGPTSessionAPI(**chatgpt_server.session_options) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.init_session)
                await anyio.sleep(0.1)
                with anyio.move_on_after(0.1) as scope:
                    await client.send_message("Hi")
                assert scope.cancelled_caught
                with pytest.raises(
                    APITimeoutError, match="another call was getting an access token"
                ):
                    await client.send_message("Hi", timeout=0.1)
            assert (await client.send_message("Hi")).text

    anyio.run(main, backend=backend)


def test_a_stream_that_is_closed_while_it_waits_for_a_token(
    engine: Engine, chatgpt_server: ChatGPTServer
) -> None:
    """By another thread or task; the turn is passed on."""
    chatgpt_server.inject(Fault(delay=0.5))
    client = engine.session_client(**chatgpt_server.session_options)
    stream = client.stream_message("Hi")
    threading.Timer(0.1, stream.close).start()
    with pytest.raises((AbortedError, StreamInterruptedError)), stream:
        next(stream)
    assert client.send_message("Hi").text


def test_threads_share_one_failure_of_the_function(chatgpt_server: ChatGPTServer) -> None:
    """Nobody signs in eight times with a wrong password."""
    asked: list[float] = []

    def get_access_token(**_: object) -> str:
        asked.append(time.monotonic())
        time.sleep(0.2)
        raise LookupError("mine")

    url = chatgpt_server.proxy_options["api_reverse_proxy_url"]
    with ChatGPTUnofficialProxyAPI(
        get_access_token=get_access_token, api_reverse_proxy_url=url
    ) as client:

        def ask(_: int) -> str:
            try:
                return client.send_message("Hi").text
            except LookupError as error:
                return str(error)

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(8))) == ["mine"] * 8
    assert len(asked) == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_function_is_stopped_in_time(chatgpt_server: ChatGPTServer, backend: str) -> None:
    async def get_access_token(**_: object) -> str:
        await anyio.sleep(60)
        return "never"

    async def main() -> None:
        url = chatgpt_server.proxy_options["api_reverse_proxy_url"]
        async with chatgpt_async.ChatGPTUnofficialProxyAPI(
            get_access_token=get_access_token, api_reverse_proxy_url=url
        ) as client:
            with anyio.fail_after(1):
                with pytest.raises(
                    APITimeoutError, match="get_access_token was not done"
                ) as caught:
                    await client.send_message("Hi", timeout=0.1)
            assert caught.value.limit == "total"
            client.access_token = chatgpt_server.web.access_token()
            assert (await client.send_message("Hi")).text

    anyio.run(main, backend=backend)


def test_a_token_that_is_set_while_another_is_got(chatgpt_server: ChatGPTServer) -> None:
    mine = chatgpt_server.web.access_token()

    def get_access_token(**_: object) -> str:
        client.access_token = mine
        return chatgpt_server.web.access_token()

    url = chatgpt_server.proxy_options["api_reverse_proxy_url"]
    with ChatGPTUnofficialProxyAPI(
        get_access_token=get_access_token, api_reverse_proxy_url=url
    ) as client:
        client.send_message("Hi")
        assert client.access_token == Secret(mine)


def test_functions_do_not_run_at_the_same_time(chatgpt_server: ChatGPTServer) -> None:
    """Not even where the stream that called one of them was closed by another thread."""
    running, most = 0, 0
    began = threading.Event()

    def get_access_token(**_: object) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        began.set()
        time.sleep(0.3)
        running -= 1
        return chatgpt_server.web.access_token()

    url = chatgpt_server.proxy_options["api_reverse_proxy_url"]
    with ChatGPTUnofficialProxyAPI(
        get_access_token=get_access_token, api_reverse_proxy_url=url
    ) as client:
        stream = client.stream_message("Hi")

        def enter() -> None:
            with contextlib.suppress(ChatGPTError), stream:
                pass

        thread = threading.Thread(target=enter)
        thread.start()
        assert began.wait(2)
        stream.close()
        assert client.send_message("Hi").text
        thread.join()
    assert most == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_leaves_the_turn_to_others(
    chatgpt_server: ChatGPTServer, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Ctrl-C may come at any moment: just before the turn is taken, and just after."""
    from chatgpt import turns

    take = turns.Turn.take

    def interrupted(self: turns.Turn, *args: Any) -> None:
        if when == "after":
            take(self, *args)
        raise KeyboardInterrupt

    with ChatGPTSessionAPI(**chatgpt_server.session_options) as client:
        with monkeypatch.context() as patch:
            patch.setattr(turns.Turn, "take", interrupted)
            with pytest.raises(KeyboardInterrupt):
                client.send_message("Hi")
        assert client.send_message("Hi", timeout=1).text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_turn_that_is_taken_at_a_fork_blocks_no_child(chatgpt_server: ChatGPTServer) -> None:
    child = -1

    def get_access_token(**_: object) -> str:
        nonlocal child
        child = os.fork()
        if child == 0:  # a call that goes on in the child, and another one beside it
            client.access_token = token
            os._exit(0 if client.send_message("Hi", timeout=5).text else 1)
        return token

    token = chatgpt_server.web.access_token()
    url = chatgpt_server.proxy_options["api_reverse_proxy_url"]
    with ChatGPTUnofficialProxyAPI(
        get_access_token=get_access_token, api_reverse_proxy_url=url
    ) as client:
        assert client.send_message("Hi").text
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_stream_that_is_closed_while_it_waits_for_the_turn(chatgpt_server: ChatGPTServer) -> None:
    """It gets the turn all the same, and passes it on."""
    chatgpt_server.inject(Fault(delay=0.4))
    with ChatGPTSessionAPI(**chatgpt_server.session_options) as client:
        first = threading.Thread(target=client.init_session)
        first.start()
        time.sleep(0.1)
        waiting = client.stream_message("Hi")

        def enter() -> None:
            with contextlib.suppress(ChatGPTError), waiting:
                pass

        second = threading.Thread(target=enter)
        second.start()
        time.sleep(0.1)
        waiting.close()
        first.join()
        second.join()
        client.close_session()
        assert client.send_message("Hi", timeout=2).text
        client.close_session()
        assert client.send_message("Hi", timeout=2).text
