"""A call stops at once in every phase, the server sees its connection closed, and the client goes on.

Strategy: a server holds a call in one phase, something stops it from outside, and the time from there to the
caller's error is taken. What the server could still write is counted: it must learn at once that it is left.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest
from attrs import field, frozen

import chatgpt_async
from chatgpt import AbortedError, CancelToken, ChatGPTAPI, ChatMessage, StreamInterruptedError
from chatgpt.testing import ChatGPTServer, Fault
from tests.chatgpt_async.peers import FullBacklog
from tests.engines import Engine, stored_messages
from tests.reliability.observing import Seen, observe
from tests.reliability.report import Report
from tests.reliability.scripts import (
    CHUNKED,
    MOST_MORE,
    PAUSE,
    WORD,
    Waiting,
    Writing,
    hearing,
    look_up_slowly,
    reading,
    sending,
    until,
)
from tests.reliability.wire import (
    WELL_TEXT,
    RawServer,
    Script,
)

AT_ONCE: Final = 0.2
"""Seconds from stopping to the error."""


@frozen
class Phase:
    """Where a call is when it is stopped."""

    name: str
    script: Script
    partial: str = ""
    url: str = "http://127.0.0.1:{port}/v1"
    options: dict[str, Any] = field(factory=dict)
    text: str = "hi"


PROXY = {"proxy": "http://127.0.0.1:{port}"}
SOCKS = {"proxy": "socks5://127.0.0.1:{port}"}
PHASES = [
    Phase("in the TLS handshake", hearing, url="https://127.0.0.1:{port}/v1"),
    Phase("while a proxy opens a tunnel", reading, url="https://chat.example/v1", options=PROXY),
    Phase("while a proxy for SOCKS is asked", hearing, url="http://chat.example/v1", options=SOCKS),
    Phase("while a long request is sent", hearing, text="x" * 20_000_000),
    Phase("while the head is waited for", reading),
    Phase("within the head", sending(b"HTTP/1.1 200 OK\r\nx: y")),
    Phase("before the first part", sending(CHUNKED)),
    Phase("between two parts", sending(CHUNKED + WORD), "word "),
    Phase("within a chunk", sending(CHUNKED + WORD + b"40\r\ndata: "), "word "),
    Phase("in the body of an error", sending(b"HTTP/1.1 500 Oh\r\n\r\nsorry")),
]  # fmt: skip


class Stopping:
    """Cancels a token from another thread, a moment after a call has begun.

    Attributes:
        token: the token.
        at: when it was cancelled, by `time.monotonic`.
    """

    def __init__(self, after: float = 0.15) -> None:
        self.token = CancelToken()
        self.at = 0.0
        threading.Timer(after, self._stop).start()

    def _stop(self) -> None:
        self.at = time.monotonic()
        self.token.cancel()


def stopped(
    report: Report,
    send: Callable[[CancelToken, Callable[[ChatMessage], None]], object],
    after: float = 0.15,
) -> Seen:
    """What came of a call that was stopped; it is tried three times on a machine that is busy."""
    took = []
    for _ in range(3):
        stopping = Stopping(after)
        ended: list[float] = []

        def call(
            parts: list[str], stopping: Stopping = stopping, ended: list[float] = ended
        ) -> object:
            try:
                return send(stopping.token, lambda part: parts.append(part.delta or ""))
            finally:
                ended.append(time.monotonic())

        seen = observe(report, call, is_watched=True)
        assert seen.kind == AbortedError.__name__, seen
        assert seen.message == "The call was stopped by its CancelToken."
        assert stopping.token.is_cancelled
        took.append(ended[0] - stopping.at)
        if took[-1] < AT_ONCE:
            return seen
    pytest.fail(f"it took {took}")


def tell(report: Report, engine: Engine, phase: str, seen: Seen) -> None:
    words = "`AbortedError` within 0.2 s" + (", `partial` holds the text" if seen.text else "")
    report.tried("Stopping", f"`token.cancel()` in another thread, {phase}", engine.name, words)


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
def test_a_token_stops_a_call_in_every_phase(engine: Engine, report: Report, phase: Phase) -> None:
    scripts = [Waiting(phase.script) for _ in range(3)]
    with RawServer(*scripts) as server:
        options = {name: value.format(port=server.port) for name, value in phase.options.items()}
        client = engine.client(
            api_key="sk-test",
            api_base_url=phase.url.format(port=server.port),
            max_model_tokens=100_000_000,
            tokenizer=len,
            **options,
        )
        seen = stopped(
            report,
            lambda token, note: client.send_message(phase.text, on_progress=note, abort=token),
        )
        assert (seen.text or "") == phase.partial
        assert scripts[0].is_left.wait(5), "the server was not left"
        assert server.connections <= 3
    if hasattr(client, "_store"):
        assert stored_messages(client) == []
    tell(report, engine, phase.name, seen)


def test_a_token_stops_connecting(engine: Engine, report: Report) -> None:
    with FullBacklog() as full:
        client = engine.client(api_key="sk-test", api_base_url=f"http://127.0.0.1:{full.port}/v1")
        seen = stopped(
            report, lambda token, note: client.send_message("hi", on_progress=note, abort=token)
        )
    tell(report, engine, "while connecting", seen)


def test_a_token_stops_the_lookup_of_a_name(
    engine: Engine, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up_slowly(monkeypatch, 1.0)
    client = engine.client(api_key="sk-test", api_base_url="http://slow.example:9/v1")
    seen = stopped(
        report, lambda token, note: client.send_message("hi", on_progress=note, abort=token)
    )
    tell(report, engine, "while a name is looked up", seen)


def test_a_token_stops_the_wait_between_two_tries(
    engine: Engine, report: Report, chatgpt_server: ChatGPTServer
) -> None:
    chatgpt_server.inject(*[Fault(status=500, headers={"retry-after": "30"})] * 3)
    client = engine.client(
        api_key=chatgpt_server.api_key, api_base_url=chatgpt_server.base_url, max_retries=2
    )
    seen = stopped(
        report, lambda token, note: client.send_message("hi", on_progress=note, abort=token)
    )
    tell(report, engine, "between two tries", seen)


def test_a_token_stops_the_wait_for_the_turn(
    engine: Engine, report: Report, chatgpt_server: ChatGPTServer
) -> None:
    """Another call of the client gets an access token, and is in no hurry."""
    go_on = threading.Event()

    def get_access_token(**_: object) -> str:
        go_on.wait(5)
        return "sk-nobody"

    async def get_access_token_slowly(**_: object) -> str:
        import anyio

        while not go_on.is_set():
            await anyio.sleep(0.01)
        return "sk-nobody"

    client = engine.proxy_client(
        get_access_token=get_access_token if engine.name == "sync" else get_access_token_slowly,
        api_reverse_proxy_url=chatgpt_server.proxy_options["api_reverse_proxy_url"],
    )
    other = threading.Thread(target=lambda: _ignoring(lambda: client.send_message("first")))
    other.start()
    time.sleep(0.05)
    try:
        seen = stopped(
            report, lambda token, note: client.send_message("hi", on_progress=note, abort=token)
        )
    finally:
        go_on.set()
        other.join(5)
    tell(report, engine, "while another call gets an access token", seen)


def _ignoring(do: Callable[[], object]) -> None:
    try:
        do()
    except Exception:  # noqa: BLE001 - it is not what is looked at
        return


# --- from where it may be cancelled ----------------------------------------------------------


def test_a_token_that_is_cancelled_in_on_progress(engine: Engine, report: Report) -> None:
    """In the very thread, or event loop, that waits for the parts."""
    writing, token, parts = Writing(), CancelToken(), list[str]()
    with RawServer(writing) as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url)

        def note(part: ChatMessage) -> None:
            parts.append(part.delta or "")
            if len(parts) == 3:
                token.cancel()

        with pytest.raises(AbortedError) as caught:
            client.send_message("hi", on_progress=note, abort=token)
        assert caught.value.partial == "word word word "
        assert len(parts) == 3
        assert writing.is_left.wait(5)
        assert writing.written <= 3 + MOST_MORE
        assert client.send_message("hi").text == WELL_TEXT
    report.tried(
        "Stopping",
        "`token.cancel()` in `on_progress`",
        engine.name,
        "`AbortedError`, no further part",
    )


def test_one_token_stops_many_calls(engine: Engine, report: Report) -> None:
    token, errors = CancelToken(), list[BaseException]()
    scripts = [Waiting(reading) for _ in range(8)]
    with RawServer(*scripts) as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url)

        def call() -> None:
            try:
                client.send_message("hi", abort=token)
            except AbortedError as error:
                errors.append(error)

        threads = [threading.Thread(target=call) for _ in scripts]
        for thread in threads:
            thread.start()
        until(lambda: len(server.requests) == len(scripts))
        token.cancel()
        for thread in threads:
            thread.join(5)
        assert len(errors) == len(scripts)
        with pytest.raises(AbortedError):  # it stays cancelled, and nothing is sent
            client.send_message("hi", abort=token)
        assert len(server.requests) == len(scripts)
        assert client.send_message("hi").text == WELL_TEXT
    report.tried(
        "Stopping", "one token for 8 calls at once", engine.name, "`AbortedError` in each", 8
    )


def test_a_token_that_is_cancelled_too_late_does_no_harm(
    engine: Engine, report: Report, chatgpt_server: ChatGPTServer
) -> None:
    """Its connection belongs to another call by then."""
    token = CancelToken()
    client = engine.client(api_key=chatgpt_server.api_key, api_base_url=chatgpt_server.base_url)
    for is_streamed in (False, True):
        assert client.send_message("hi", stream=is_streamed, abort=token).text
    with client.stream_message("one two three") as stream:
        next(stream)
        token.cancel()
        assert stream.text + "".join(part.delta or "" for part in stream) == stream.result().text
    assert len({request.client_port for request in chatgpt_server.requests}) == 1
    report.tried(
        "Stopping", "a token that is cancelled after its call", engine.name, "nothing happens", 3
    )


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.parametrize("phase", [reading, sending(CHUNKED + WORD)], ids=["head", "part"])
def test_a_token_that_is_cancelled_in_a_signal_handler(report: Report, phase: Script) -> None:
    """It interrupts the very thread that waits, at any line."""
    for after in (0.02, 0.05, 0.1):
        token = CancelToken()
        with (
            RawServer(Waiting(phase)) as server,
            ChatGPTAPI(api_key="sk-test", api_base_url=server.base_url) as client,
        ):
            before = signal.signal(signal.SIGALRM, lambda *_, token=token: token.cancel())
            signal.setitimer(signal.ITIMER_REAL, after)
            try:
                with pytest.raises(AbortedError):
                    client.send_message("hi", stream=True, abort=token)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
            assert client.send_message("hi").text == WELL_TEXT
        report.tried("Stopping", "`token.cancel()` in a signal handler", "sync", "`AbortedError`")


# --- other ways to stop ----------------------------------------------------------------------


@pytest.mark.parametrize("way", ["break", "error", "close"])
def test_a_stream_that_is_left(engine: Engine, report: Report, way: str) -> None:
    writing = Writing()
    with RawServer(writing) as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url)
        with contextlib.suppress(LookupError), client.stream_message("hi") as stream:
            for _ in range(3):
                next(stream)
            if way == "close":
                stream.close()
            elif way == "error":
                raise LookupError
        assert writing.is_left.wait(5)
        assert writing.written <= 3 + MOST_MORE
        with pytest.raises(StreamInterruptedError) as caught:
            stream.result()
        assert caught.value.partial == "word word word "
        assert client.send_message("hi").text == WELL_TEXT
    report.tried(
        "Stopping",
        f"a stream is left ({way})",
        engine.name,
        "the server can write at most 5 pieces more",
    )


def test_a_stream_that_another_thread_closes(engine: Engine, report: Report) -> None:
    """While somebody waits for its next part: the wait ends at once."""
    waiting = Waiting(sending(CHUNKED + WORD))
    with RawServer(waiting) as server:
        client = engine.client(api_key="sk-test", api_base_url=server.base_url)
        with client.stream_message("hi") as stream:
            next(stream)
            threading.Timer(0.1, stream.close).start()
            begun = time.monotonic()
            with pytest.raises(StreamInterruptedError) as caught:
                next(stream)
            assert time.monotonic() - begun < 5
        assert caught.value.partial == "word "
        assert waiting.is_left.wait(5)
        assert client.send_message("hi").text == WELL_TEXT
    report.tried(
        "Stopping",
        "`stream.close()` in another thread",
        engine.name,
        "`StreamInterruptedError` at once",
    )


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_task_that_is_cancelled(report: Report, backend: str) -> None:
    async def converse() -> None:
        for phase in ("the head", "a part"):
            writing, waiting = Writing(), Waiting(reading)
            with RawServer(waiting if phase == "the head" else writing) as server:
                async with chatgpt_async.ChatGPTAPI(
                    api_key="sk-test", api_base_url=server.base_url
                ) as client:
                    with anyio.move_on_after(0.15) as scope:
                        await client.send_message("hi", stream=True)
                    assert scope.cancelled_caught
                    is_left = (waiting if phase == "the head" else writing).is_left
                    assert await anyio.to_thread.run_sync(is_left.wait, 5)
                    assert writing.written <= 0.15 / PAUSE + 1 + MOST_MORE
                    assert (await client.send_message("hi")).text == WELL_TEXT
            report.tried(
                "Stopping",
                f"its task is cancelled while it waits for {phase}",
                backend,
                "the cancellation",
            )

    anyio.run(converse, backend=backend)
