"""Many callers of one pool: nobody fails who could have waited, no limit is exceeded, and nothing is left behind.

Strategy: the server counts what each account has at once (`tests.pools`). Callers are threads on all three engines;
in the async twin each is a task of one event loop. Those that are stopped are stopped in every phase, all accounts
being in use and others waiting for them; afterwards every account must take a call at the same time.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from linecache import getline
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

import chatgpt
from chatgpt import AbortedError, CancelToken, ChatGPTPool, ChatMessage, PoolError
from chatgpt.testing import ChatGPTServer, echo
from tests.chatgpt_async.peers import FullBacklog
from tests.engines import Engine
from tests.pools import (
    RATE_LIMITED,
    FailingAccounts,
    HeldReplies,
    LimitedAccounts,
    WindowedAccounts,
    accounts_of,
    at_once,
    check_idle,
    fill,
    key,
    running,
    server,
    waiting,
)
from tests.reliability.scripts import until

__all__ = ["server"]  # a fixture

ACCOUNTS: Final = 8
CALLERS: Final = 64


def pool_of(engine: Engine, server: ChatGPTServer, count: int = ACCOUNTS, **options: Any) -> Any:
    return engine.pool(accounts_of(server, count), **{"max_concurrent": 1, **options})


# --- crowds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3])
def test_a_crowd_before_accounts_with_a_limit(
    engine: Engine, server: ChatGPTServer, limit: int
) -> None:
    """64 callers with two calls each, or six: 16 for every account, or 48, give or take 20 %.

    Where an account takes several calls at once, a busy machine holds some of them up, and a crowd is even in the long run.
    """
    counting = LimitedAccounts(limit)
    server.replies = counting
    pool = pool_of(engine, server, max_concurrent=limit)

    def talk(number: int) -> list[ChatMessage]:
        for _ in range(limit):
            first = pool.send_message(f"One of {number}")
            second = pool.send_message("Two", parent_message_id=first.id)
        return [first, second]

    for number, (_, second) in enumerate(at_once(CALLERS, talk)):
        assert f"message 2 of our conversation; it began with: One of {number}" in second.text
    assert counting.refusals == 0
    assert max(counting.most.values()) <= limit
    assert sorted(counting.calls) == [key(number) for number in range(1, ACCOUNTS + 1)]
    even = 2 * limit * CALLERS / ACCOUNTS
    assert all(0.8 * even <= calls <= 1.2 * even for calls in counting.calls.values())
    told = pool.status().values()
    assert [status.calls for status in told] == [counting.calls[key(n)] for n in range(1, 9)]
    assert {(status.state, status.running, status.failures) for status in told} == {("ready", 0, 0)}


@pytest.mark.parametrize("limit", [1, None])
def test_a_crowd_before_accounts_that_are_limited_in_time(
    engine: Engine, server: ChatGPTServer, limit: int | None
) -> None:
    """Each account answers six calls, then asks for a pause; those that are left wait for its end."""
    counting = WindowedAccounts(6, seconds=0.4)
    server.replies = counting
    pool = pool_of(engine, server, cooldown=0.01, max_concurrent=limit)
    replies = at_once(CALLERS, lambda number: pool.send_message(str(number)))
    for number, reply in enumerate(replies):
        assert reply.text.startswith(f"You said: {number} ")
    assert counting.refusals > 0
    assert counting.answered.total() == CALLERS
    if limit == 1:  # more may be on their way when the server asks for a pause
        assert counting.early == 0
    assert running(pool) == 0
    # Where no other account is ready, the client itself repeats what was refused.
    failures = sum(status.failures for status in pool.status().values())
    assert 0 < failures <= counting.refusals


def test_a_crowd_of_streams(engine: Engine, server: ChatGPTServer) -> None:
    server.replies = LimitedAccounts(1)
    pool = pool_of(engine, server)

    def read(number: int) -> str:
        with pool.stream_message(str(number)) as stream:
            parts = [*stream]
        assert {part.account_id for part in parts} == {stream.result().account_id}
        return "".join(part.delta or "" for part in parts)

    for number, text in enumerate(at_once(CALLERS, read)):
        assert text.startswith(f"You said: {number} ")
    assert server.replies.refusals == 0
    assert set(server.replies.most.values()) == {1}
    check_idle(pool, server, ACCOUNTS)


def test_first_come_first_served(engine: Engine, server: ChatGPTServer) -> None:
    held = HeldReplies()
    server.replies = held
    pool = pool_of(engine, server, 1)
    threads = []
    for number in range(12):
        threads.append(threading.Thread(target=pool.send_message, args=[str(number)]))
        threads[-1].start()
        until(lambda number=number: running(pool) == 1 and waiting(pool) == number)  # type: ignore[misc]
    held.is_open.set()
    for thread in threads:
        thread.join()
    assert held.arrived == [str(number) for number in range(12)]


def test_who_wants_one_account_does_not_hold_up_the_others(
    engine: Engine, server: ChatGPTServer
) -> None:
    held = HeldReplies()
    server.replies = lambda request: held(request) if request.api_key == key(1) else echo(request)
    pool = pool_of(engine, server, 2)
    calls = [lambda: pool.send_message("mine", account_id="account-1")] * 3
    threads = fill(pool, calls, 1)
    assert {pool.send_message("any").account_id for _ in range(3)} == {"account-2"}
    assert held.arrived == ["mine"]
    held.is_open.set()
    for thread in threads:
        thread.join()
    assert held.arrived == ["mine"] * 3
    check_idle(pool, server, 2)


def test_a_call_that_moves_on_keeps_its_place(engine: Engine, server: ChatGPTServer) -> None:
    """Its account fails while the other one is busy: it is the next there, before those that came after it."""
    held = HeldReplies()
    server.replies = held
    pool = pool_of(engine, server, 2)
    threads = fill(pool, [lambda: pool.send_message("long", account_id="account-2")], 1)
    failing = HeldReplies()

    def respond(request: Any) -> Any:
        if request.api_key == key(2):
            return held(request)
        failing(request)
        return RATE_LIMITED

    server.replies = respond
    for number, text in enumerate(("first", "second", "third")):
        threads.append(threading.Thread(target=pool.send_message, args=[text]))
        threads[-1].start()
        until(lambda number=number: running(pool) == 2 and waiting(pool) == number)  # type: ignore[misc]
    failing.is_open.set()
    until(lambda: running(pool) == 1 and waiting(pool) == 3)
    held.is_open.set()
    for thread in threads:
        thread.join()
    assert failing.arrived == ["first"]
    assert held.arrived == ["long", "first", "second", "third"]


# --- callers that are stopped ----------------------------------------------------------------

PHASES: Final = ["connecting", "waiting for the head", "between two parts"]


@contextlib.contextmanager
def held_in(phase: str) -> Iterator[tuple[str, Callable[[], ChatGPTServer]]]:
    """The base URL of a server that holds its calls in a phase, and what puts one that answers in its place."""
    if phase == "connecting":
        with contextlib.ExitStack() as stack:
            backlog = FullBacklog().__enter__()
            closing = stack.push(backlog.__exit__)
            port = backlog.port

            def replaced() -> ChatGPTServer:
                stack.pop_all()
                closing(None, None, None)
                return stack.enter_context(ChatGPTServer(api_key=None, port=port))

            yield f"http://127.0.0.1:{port}/v1", replaced
        return
    held = HeldReplies(says_first=phase == "between two parts")
    with ChatGPTServer(held, api_key=None) as server:
        yield server.base_url, lambda: server
        held.is_open.set()


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("way", ["a token", "the deadline"])
def test_stopped_callers_leave_nothing_behind(engine: Engine, phase: str, way: str) -> None:
    """Eight in a phase, and four that wait for them."""
    token = CancelToken()
    options: dict[str, Any] = {"abort": token} if way == "a token" else {"timeout": 0.4}
    errors: list[BaseException] = []
    with held_in(phase) as (url, answering):
        accounts = [{"api_key": key(n), "api_base_url": url} for n in range(1, ACCOUNTS + 1)]
        pool = engine.pool(accounts, max_concurrent=1)

        def call() -> None:
            try:
                pool.send_message("hi", stream=True, **options)
            except BaseException as error:  # noqa: BLE001 - it is looked at below
                errors.append(error)

        threads = fill(pool, [call] * 12, ACCOUNTS)
        token.cancel()
        for thread in threads:
            thread.join()
        assert len(errors) == 12
        if way == "a token":
            assert {type(error) for error in errors} == {AbortedError}
        else:
            assert {type(error) for error in errors} == {PoolError}
            assert {getattr(error, "type", "") for error in errors} == {"chatgpt:pool:timeout"}
        check_idle(pool, answering(), ACCOUNTS)


def test_a_token_stops_who_waits_for_a_cooldown(engine: Engine, server: ChatGPTServer) -> None:
    server.replies = FailingAccounts(sk_1=RATE_LIMITED)
    pool = engine.pool(accounts_of(server, 1, max_retries=0), max_concurrent=1)
    with pytest.raises(PoolError):
        pool.send_message("hi", timeout=5)  # it would have to wait for longer
    token = CancelToken()
    threading.Timer(0.05, token.cancel).start()
    with pytest.raises(AbortedError):
        pool.send_message("hi", abort=token)
    pool.restore_account("account-1")
    check_idle(pool, server, 1)


@pytest.mark.parametrize("way", ["break", "close", "error", "collected"])
def test_streams_that_are_left(engine: Engine, way: str) -> None:
    if way == "collected" and engine.name != "sync":
        pytest.skip("the async twin refuses to read a stream outside of `async with`")
    with held_in("between two parts") as (url, answering):
        accounts = [{"api_key": key(n), "api_base_url": url} for n in range(1, ACCOUNTS + 1)]
        pool = engine.pool(accounts, max_concurrent=1)

        def leave(_: int) -> None:
            stream = pool.stream_message("hi")
            if way == "collected":
                assert next(stream).delta == "first"
                return
            with contextlib.suppress(LookupError), stream:
                for part in stream:
                    assert part.delta == "first"
                    if way == "error":
                        raise LookupError
                    if way == "close":
                        stream.close()
                    break
            assert running(pool) <= ACCOUNTS

        with pytest.warns(ResourceWarning) if way == "collected" else contextlib.nullcontext():
            at_once(ACCOUNTS, leave)
            gc.collect()
        check_idle(pool, answering(), ACCOUNTS)


def test_a_stream_that_is_not_entered_takes_no_account(
    engine: Engine, server: ChatGPTServer
) -> None:
    pool = pool_of(engine, server, 1)
    stream = pool.stream_message("later")
    assert pool.status()["account-1"].calls == 0
    pool.send_message("now")
    with stream:
        assert running(pool) == 1
        assert "later" in "".join(part.delta or "" for part in stream)
    check_idle(pool, server, 1)


def test_a_function_of_the_caller_that_raises(engine: Engine, server: ChatGPTServer) -> None:
    """It is no account's fault; an interrupt from the keyboard may come there, too."""
    pool = pool_of(engine, server, 1)
    kinds = [LookupError, StopIteration] + [KeyboardInterrupt] * (engine.name == "sync")
    for kind in kinds:

        def fail(_: object, kind: type[BaseException] = kind) -> None:
            raise kind

        with pytest.raises((kind, RuntimeError)):
            pool.send_message("hi", on_progress=fail)
    assert pool.status()["account-1"].failures == 0
    check_idle(pool, server, 1)


# --- Ctrl-C ----------------------------------------------------------------------------------


@contextlib.contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Raise `KeyboardInterrupt` in the main thread, as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.parametrize("phase", [*PHASES, "waiting for an account"])
def test_ctrl_c_in_every_phase(phase: str) -> None:
    with held_in("waiting for the head" if "account" in phase else phase) as (url, answering):
        accounts = [{"api_key": key(n), "api_base_url": url} for n in (1, 2)]
        with ChatGPTPool(accounts, max_concurrent=1) as pool:
            token, ended = CancelToken(), threading.Event()

            def call() -> None:
                with contextlib.suppress(AbortedError):
                    pool.send_message("hi", abort=token)
                ended.set()

            threads = fill(pool, [call] * 2, 2) if "account" in phase else []
            with interrupted_after(0.1):
                pool.send_message("hi", stream=True)
            assert (running(pool), waiting(pool)) == (len(threads), 0)
            token.cancel()
            for thread in threads:
                thread.join()
            check_idle(pool, answering(), 2)


_TRACED: Final = (
    str(Path(chatgpt.__file__).parent / "core" / "pool"),
    str(Path(chatgpt.__file__).parent / "pool"),
)
"""What the files of the pool begin with: the core's, the ledgers', its calls' and its own."""


class _Interrupting:
    """Raises `KeyboardInterrupt` at one line of the pool's own code, the n-th that is run.

    Attributes:
        place: where it was raised; `None` where the call was over before.
    """

    def __init__(self, number: int) -> None:
        self.place: str | None = None
        self._left = number

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(_TRACED):
            return None
        # The end of a `with` is a line of its own to a trace; to a signal it is one step with the line before.
        is_with = getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with ")
        if event == "line" and self.place is None and not is_with:
            self._left -= 1
            if self._left < 0:
                name = Path(frame.f_code.co_filename).name
                self.place = f"{name}:{frame.f_lineno} {frame.f_code.co_name}"
                raise KeyboardInterrupt
        return self


def _interrupted_everywhere(pool: ChatGPTPool, call: Callable[[], object]) -> list[str]:
    """Interrupt a call at each line of the pool's own code; return those after which a lease is left."""
    left: list[str] = []
    before = sys.gettrace()
    for number in range(10_000):
        interrupting = _Interrupting(number)
        sys.settrace(interrupting)
        try:
            call()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        if interrupting.place is None:
            return left
        holder = pool._ledger.state.holder(pool._ledger.holder_id)
        if not holder.is_idle:
            left.append(interrupting.place)
            pool._ledger._begin_anew()  # type: ignore[attr-defined] # as after a fork: all are free
    raise AssertionError("the call has no end")


@pytest.mark.parametrize("way", ["send_message", "stream_message", "failover"])
def test_ctrl_c_at_every_line_of_the_pool(server: ChatGPTServer, way: str) -> None:
    """The main thread of a script may be interrupted between any two lines."""
    server.replies = FailingAccounts(sk_1=RATE_LIMITED) if way == "failover" else lambda _: "Hi."
    with ChatGPTPool(accounts_of(server, 2), max_concurrent=1, cooldown=0) as pool:

        def call() -> None:
            if way == "stream_message":
                with pool.stream_message("hi") as stream:
                    for _ in stream:
                        pass
            else:
                pool.send_message("hi", timeout=5)

        assert _interrupted_everywhere(pool, call) == []
        server.replies = echo
        check_idle(pool, server, 2)
