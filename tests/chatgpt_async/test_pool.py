"""What is the async twin's own about the pool: cancellation, many event loops, functions and stores of either kind.

Strategy: as `tests/test_pool_crowds.py`: callers are stopped while all accounts are in use and others wait for them;
afterwards no call has an account, and all of them answer at the same time.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

import chatgpt
from chatgpt.testing import ChatGPTServer, RecordedRequest
from chatgpt_async import ChatGPTAPI, ChatGPTPool, PoolError
from tests.chatgpt_async.peers import FullBacklog, until
from tests.pools import (
    PATIENCE,
    RATE_LIMITED,
    FailingAccounts,
    HeldReplies,
    LimitedAccounts,
    accounts_of,
    key,
    server,
    waiting,
)

__all__ = ["server"]  # a fixture

pytestmark = pytest.mark.anyio

ACCOUNTS: Final = 8


def pool_of(server: ChatGPTServer, count: int = ACCOUNTS, **options: Any) -> ChatGPTPool:
    return ChatGPTPool(accounts_of(server, count), **{"max_concurrent": 1, **options})


def running(pool: Any) -> int:
    """How many calls have an account; asked of the books, for the tasks that are cancelled meanwhile."""
    return pool._ledger.state.running().total()  # type: ignore[no-any-return]


def is_full(pool: Any, accounts: int, waits: int) -> bool:
    return (running(pool), waiting(pool)) == (accounts, waits)


async def check_idle(pool: ChatGPTPool, server: ChatGPTServer, accounts: int = ACCOUNTS) -> None:
    """No call has an account or waits for one, none cools down, and all of them answer at the same time."""
    told = await pool.status()
    assert {status.running for status in told.values()} == {0}
    assert {status.state for status in told.values()} == {"ready"}
    assert waiting(pool) == 0  # type: ignore[arg-type] # of the other twin
    together = threading.Barrier(accounts)

    def respond(request: RecordedRequest) -> str:
        if request.messages[-1]["content"] == "at once":  # or one comes late whose caller has gone
            together.wait(PATIENCE)
        return str(request.api_key)

    server.replies = respond
    said: list[str] = []

    async def ask() -> None:
        said.append((await pool.send_message("at once")).text)

    async with anyio.create_task_group() as group:
        for _ in range(accounts):
            group.start_soon(ask)
    assert sorted(said) == sorted(map(key, range(1, accounts + 1)))


async def cancel_when(
    is_reached: Callable[[], bool], call: Callable[[], Awaitable[object]], count: int
) -> None:
    """Begin so many calls, and cancel them when something is reached; none of them may have ended."""
    went_on: list[object] = []

    async def play() -> None:
        went_on.append(await call())

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(play)
        await until(is_reached)
        await anyio.sleep(0.03)
        group.cancel_scope.cancel()
    assert went_on == [], "a cancellation was swallowed"


# --- cancellation ----------------------------------------------------------------------------


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("says_first", [False, True])
async def test_cancelled_while_others_wait(
    server: ChatGPTServer, is_streamed: bool, says_first: bool
) -> None:
    """Eight wait for the head, or for the next part; four wait for an account."""
    held = HeldReplies(says_first=says_first)
    server.replies = held
    async with pool_of(server) as pool:

        async def call() -> None:
            if is_streamed:
                async with pool.stream_message("hi") as stream:
                    async for _ in stream:
                        pass
            else:
                await pool.send_message("hi", stream=True)

        await cancel_when(lambda: is_full(pool, ACCOUNTS, 4), call, 12)
        assert is_full(pool, 0, 0)
        await check_idle(pool, server)
    held.is_open.set()


async def test_cancelled_while_connecting() -> None:
    with FullBacklog() as backlog:
        port = backlog.port
        accounts = [{"api_key": key(n), "api_base_url": f"http://127.0.0.1:{port}/v1"} for n in range(1, 9)]  # fmt: skip
        pool = ChatGPTPool(accounts, max_concurrent=1)
        await cancel_when(lambda: is_full(pool, ACCOUNTS, 4), lambda: pool.send_message("hi"), 12)
        assert is_full(pool, 0, 0)
    with ChatGPTServer(api_key=None, port=port) as server:
        await check_idle(pool, server)
    await pool.aclose()


async def test_cancelled_while_an_account_cools_down(server: ChatGPTServer) -> None:
    server.replies = FailingAccounts(sk_1=RATE_LIMITED)
    async with ChatGPTPool(accounts_of(server, 1, max_retries=0), max_concurrent=1) as pool:
        await cancel_when(
            lambda: is_full(pool, 0, 3) and len(server.requests) > 0,
            lambda: pool.send_message("hi"),
            3,
        )
        assert is_full(pool, 0, 0)
        await pool.restore_account("account-1")
        await check_idle(pool, server, 1)


async def test_an_account_of_a_cancelled_call_goes_to_who_waits(server: ChatGPTServer) -> None:
    held = HeldReplies()
    server.replies = lambda request: (
        held(request) if request.messages[-1]["content"] == "long" else "next"
    )
    said: list[str] = []
    async with pool_of(server, 1) as pool, anyio.create_task_group() as group:

        async def wait() -> None:
            said.append((await pool.send_message("waits")).text)

        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as first:
                first.start_soon(pool.send_message, "long")
                await until(lambda: is_full(pool, 1, 0))
                group.start_soon(wait)
                await until(lambda: is_full(pool, 1, 1))
                scope.cancel()
        await until(lambda: said == ["next"])
    held.is_open.set()


async def test_a_crowd_that_is_cancelled_at_any_moment(server: ChatGPTServer) -> None:
    """64 callers that give up after some milliseconds, be they served or not."""
    # What a caller has left may still be at work in the server: it has no limit here.
    server.replies = LimitedAccounts(64, seconds=0.01)
    chance = random.Random(5)
    answered: list[str] = []
    async with pool_of(server, 4) as pool:

        async def call(seconds: float, is_streamed: bool) -> None:
            with anyio.move_on_after(seconds):
                if is_streamed:
                    async with pool.stream_message("hi") as stream:
                        async for _ in stream:
                            pass
                else:
                    await pool.send_message("hi")
                answered.append("hi")

        async with anyio.create_task_group() as group:
            for number in range(64):
                group.start_soon(call, chance.uniform(0, 0.12), number % 2 == 0)
        assert len(answered) < 64
        assert is_full(pool, 0, 0)
        await check_idle(pool, server, 4)


class StoppingError(BaseException):
    """What is no `Exception`, as an interrupt from the keyboard is none."""


@pytest.mark.parametrize("is_asynchronous", [False, True])
async def test_a_function_that_stops_the_call(server: ChatGPTServer, is_asynchronous: bool) -> None:
    def stop(_: object) -> None:
        raise StoppingError

    async def stop_later(_: object) -> None:
        await anyio.lowlevel.checkpoint()
        raise StoppingError

    async with pool_of(server, 2) as pool:
        with pytest.raises(StoppingError):
            await pool.send_message("hi", on_progress=stop_later if is_asynchronous else stop)
        with pytest.raises(StoppingError):
            async with pool.stream_message("hi") as stream:
                async for part in stream:
                    stop(part)
        assert is_full(pool, 0, 0)
        await check_idle(pool, server, 2)


async def test_cancelled_within_a_login(chatgpt_server: ChatGPTServer) -> None:
    begun = threading.Event()
    is_slow = True

    async def log_in(**_: object) -> str:
        begun.set()
        if is_slow:
            await anyio.sleep(PATIENCE)
        return chatgpt_server.web.access_token()

    url = chatgpt_server.proxy_options["api_reverse_proxy_url"]
    account = {"get_access_token": log_in, "api_reverse_proxy_url": url}
    async with ChatGPTPool([account]) as pool:
        await cancel_when(begun.is_set, lambda: pool.send_message("hi"), 2)
        assert is_full(pool, 0, 0)
        assert (await pool.status())["account-1"].state == "ready"
        is_slow = False
        assert (await pool.send_message("hi")).account_id == "account-1"


# --- event loops -----------------------------------------------------------------------------


async def test_a_call_waits_for_an_account_of_another_event_loop(
    server: ChatGPTServer, anyio_backend: str
) -> None:
    held = HeldReplies()
    server.replies = held
    pool = pool_of(server, 1)
    said: list[str] = []

    def elsewhere() -> None:
        other = "trio" if anyio_backend == "asyncio" else "asyncio"

        async def call() -> None:
            async with pool:  # what it closes are the connections of this event loop
                said.append((await pool.send_message("elsewhere")).text)

        anyio.run(call, backend=other)

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, elsewhere)
        await until(lambda: is_full(pool, 1, 0))
        group.start_soon(pool.send_message, "here")
        await until(lambda: is_full(pool, 1, 1))
        held.is_open.set()
    assert said == ["late"]
    assert held.arrived == ["elsewhere", "here"]
    await check_idle(pool, server, 1)
    await pool.aclose()


def test_one_event_loop_after_the_other(server: ChatGPTServer) -> None:
    pool = pool_of(server, 2)

    async def call() -> str | None:
        async with pool:
            return (await pool.send_message("hi")).account_id

    seen = [anyio.run(call, backend=backend) for backend in ("asyncio", "trio") * 2]
    assert seen == ["account-1", "account-2"] * 2
    assert is_full(pool, 0, 0)


def test_an_event_loop_that_ends_with_calls_in_it(server: ChatGPTServer) -> None:
    """Its calls are cancelled, those that wait, too; the next loop has all accounts."""
    held = HeldReplies()
    server.replies = held
    pool = pool_of(server, 2)

    async def leave() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(pool.send_message, "hi")
            await until(lambda: is_full(pool, 2, 3))
            raise LookupError

    for backend in ("asyncio", "trio"):
        with pytest.raises(ExceptionGroup):
            anyio.run(leave, backend=backend)
        assert is_full(pool, 0, 0)
    held.is_open.set()

    async def go_on() -> None:
        async with pool:
            await check_idle(pool, server, 2)

    anyio.run(go_on)


# --- functions and stores --------------------------------------------------------------------


async def test_logins_that_are_coroutine_functions(chatgpt_server: ChatGPTServer) -> None:
    asked: list[str] = []

    async def log_in(*, email: str, password: str, session_token: str | None) -> str:
        await anyio.lowlevel.checkpoint()
        asked.append(email)
        return chatgpt_server.web.access_token()

    async def fail(**_: object) -> str:
        raise LookupError("captcha")

    url = chatgpt_server.proxy_options["api_reverse_proxy_url"]
    accounts: list[Any] = [
        {"email": "1@example.com", "password": "one two"},
        {"email": "2@example.com", "password": "one two", "get_access_token": fail},
    ]
    defaults = {"get_access_token": log_in, "api_reverse_proxy_url": url}
    async with ChatGPTPool(accounts, defaults=defaults) as pool:
        assert (await pool.send_message("hi")).account_id == "account-1"
        with pytest.raises(LookupError, match="captcha"):
            await pool.send_message("hi")
        assert (await pool.status())["account-2"].state == "cooling"
        await pool.refresh_account("account-1")
        assert asked == ["1@example.com"] * 2


@pytest.fixture
async def sync_stored(server: ChatGPTServer) -> AsyncIterator[tuple[ChatGPTPool, Any]]:
    store = chatgpt.MemoryStore()
    async with pool_of(server, 2, message_store=store) as pool:
        yield pool, store


async def test_a_store_of_the_sync_twin(sync_stored: tuple[ChatGPTPool, Any]) -> None:
    pool, store = sync_stored
    first = await pool.send_message("One")
    second = await pool.send_message("Two", parent_message_id=first.id)
    assert "began with: One" in second.text
    kept = [store.get(reply.id) for reply in (first, second)]
    assert [message.account_id for message in kept] == ["account-1", "account-2"]


async def test_clients_that_were_given_a_sync_store(server: ChatGPTServer) -> None:
    store = chatgpt.MemoryStore()
    clients = [ChatGPTAPI(**account, message_store=store) for account in accounts_of(server, 2)]
    async with contextlib.AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(client)
        pool = await stack.enter_async_context(ChatGPTPool(clients))
        first = await pool.send_message("One")
        second = await pool.send_message("Two", parent_message_id=first.id)
        assert second.account_id == "account-2"
        assert "began with: One" in second.text
        assert store.get(second.id) == second


async def test_a_pool_whose_accounts_all_fail(server: ChatGPTServer) -> None:
    server.replies = lambda _: RATE_LIMITED
    async with ChatGPTPool(accounts_of(server, 3, max_retries=0)) as pool:
        with pytest.raises(PoolError) as caught:
            await pool.send_message("hi", timeout=20)
        assert (caught.value.type, len(server.requests)) == ("chatgpt:pool:rate-limit", 3)
        assert is_full(pool, 0, 0)
