"""The watchdog, and what it stops, by themselves; `tests/reliability` tries them within calls."""

from __future__ import annotations

import _thread
import os
import queue
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from chatgpt import APITimeoutError, CancelToken, ChatGPTAPI, ChatGPTError, interruptions
from chatgpt.connections import look_up as look_up_name
from chatgpt.core.needs import SendRequest, TransportFailure
from chatgpt.core.sending import get
from chatgpt.interruptions import Interruption, _watchdog
from chatgpt.testing import ChatGPTServer, Fault
from chatgpt.turns import Turn
from tests.reliability.scripts import CHUNKED, WORD
from tests.reliability.wire import RawServer, Wire, answering_and_staying

REQUEST = get("http://chat.example/", {})


@pytest.fixture
def call() -> Iterator[Interruption]:
    made = Interruption()
    yield made
    made.end_wait()
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def watchdogs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "chatgpt-watchdog"]


def until_there_are(count: int) -> None:
    end = time.monotonic() + 5
    while len(watchdogs()) != count:
        assert time.monotonic() < end
        time.sleep(0.005)


def trusted_tls(monkeypatch: pytest.MonkeyPatch, folder: Path) -> ssl.SSLContext:
    """The TLS of a server on localhost whom the clients of this test trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder / "authority.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    return tls


def test_a_read_is_ended_by_its_deadline(
    call: Interruption, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, _ = pair
    call.hold(ours)
    call.begin_wait("read_timeout", 0.05)
    assert ours.recv(1) == b""  # as if the other side had closed it
    call.end_wait()
    with pytest.raises(TransportFailure) as caught:
        call.check()
    assert caught.value.kind == "read_timeout"
    with pytest.raises(TransportFailure):
        call.begin_wait("read_timeout", 5)


def test_what_is_let_go_is_left_alone(
    call: Interruption, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    call.hold(ours)
    call.let_go()
    call.stop("aborted")
    theirs.send(b"x")
    assert ours.recv(1) == b"x"
    with pytest.raises(TransportFailure):
        call.hold(ours)


def test_the_handle_is_closed_with_the_call(pair: tuple[socket.socket, socket.socket]) -> None:
    call = Interruption()
    handles = []
    for _ in range(3):  # a call may send several times
        call.hold(pair[0])
        handles.append(call._handle)
    call.close()
    call.close()
    assert [handle.fileno() for handle in handles if handle is not None] == [-1, -1, -1]


def test_a_deadline_is_forgotten_with_the_next_request_and_a_token_is_not(
    call: Interruption,
) -> None:
    need = SendRequest(REQUEST, 5, 5, 5)
    call.stop("connect_timeout")
    call.begin_request(need)
    call.end_wait()
    call.check()
    token = CancelToken()
    call.obey(token)
    token.cancel()
    call.stop("read_timeout")
    with pytest.raises(TransportFailure) as caught:
        call.begin_request(need)
    assert caught.value.kind == "aborted"


def test_the_nearest_limit_is_told(call: Interruption) -> None:
    """Of a request that took long to be sent, little is left of the whole call's time."""
    call.begin_request(SendRequest(REQUEST, 5, 5, 0.05))
    time.sleep(0.02)
    call.begin_answer()
    assert call.remaining < 0.05
    with pytest.raises(TransportFailure) as caught:
        call.sleep(5)
    assert caught.value.kind == "timeout"


def test_a_sleep_without_an_end() -> None:
    call, token = Interruption(), CancelToken()
    call.obey(token)
    threading.Timer(0.05, token.cancel).start()
    with pytest.raises(TransportFailure):
        call.sleep(1e300)
    call.close()


def test_deadlines_that_grow_do_not_wake_the_watchdog(
    call: Interruption, monkeypatch: pytest.MonkeyPatch
) -> None:
    call.begin_wait("read_timeout", 10)
    nearest = _watchdog.next_look
    watched: list[Interruption] = []

    def watch(_: object, call: Interruption) -> bool:
        watched.append(call)
        return True

    monkeypatch.setattr(type(_watchdog), "watch", watch)
    for seconds in (11, 20, 12):
        call.end_wait()
        call.begin_wait("read_timeout", seconds)
    assert watched == []
    assert _watchdog.next_look == nearest
    call.begin_wait("read_timeout", 5)
    assert watched == [call]


def test_the_watchdog_goes_when_there_is_nothing_to_watch(
    call: Interruption, monkeypatch: pytest.MonkeyPatch
) -> None:
    _watchdog.rest()
    _watchdog.go_on()
    until_there_are(0)
    monkeypatch.setattr(interruptions, "LINGERING", 0.05)
    call.begin_wait("read_timeout", 5)
    until_there_are(1)
    time.sleep(0.1)
    assert len(watchdogs()) == 1
    call.end_wait()  # a call that waits for nothing may never do so again: Ctrl-C may have ended it
    until_there_are(0)
    assert not call.is_watched
    call.begin_wait("read_timeout", 5)
    until_there_are(1)
    call.end_wait()
    call.close()
    until_there_are(0)
    other = Interruption()
    other.begin_wait("read_timeout", 0.01)
    with pytest.raises(TransportFailure):
        other.sleep(5)
    other.end_wait()
    other.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_where_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str
) -> None:
    """While the interpreter shuts down: then the sockets have limits of their own."""
    _watchdog.rest()
    _watchdog.go_on()
    until_there_are(0)
    tls = trusted_tls(monkeypatch, tmp_path)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("chatgpt-"):
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with (
        RawServer(answering_and_staying(b""), tls=tls if scheme == "https" else None) as server,
        ChatGPTAPI(
            api_key="sk-test", api_base_url=f"{scheme}://localhost:{server.port}/v1", max_retries=0
        ) as client,
    ):
        with pytest.raises(APITimeoutError) as caught:
            client.send_message("hi", timeout=0.3)
        assert caught.value.limit == "total"
        assert client.send_message("hi").text == "Still here."
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = ChatGPTAPI(
            api_key="sk-test", api_base_url=f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/v1"
        )
        with pytest.raises(APITimeoutError):
            client.send_message("hi", timeout=0.3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_leaves_nobody_unwatched(chatgpt_server: ChatGPTServer) -> None:
    """Neither a call that another thread of the parent waits for, nor one of the child."""
    seconds: list[float] = []
    with RawServer(*[answering_and_staying(b"")] * 2) as server:
        client = ChatGPTAPI(api_key="sk-test", api_base_url=server.base_url, max_retries=0)

        def wait() -> None:
            begun = time.monotonic()
            with pytest.raises(APITimeoutError):
                client.send_message("hi", timeout=0.4)
            seconds.append(time.monotonic() - begun)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.1)
        child = os.fork()
        if child == 0:
            status = 2
            try:
                assert watchdogs() == []
                wait()
                status = 0 if seconds[0] < 2 else 1
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        thread.join(5)
        assert len(seconds) == 1
        assert seconds[0] < 2
        client.close()
    with ChatGPTAPI(api_key=chatgpt_server.api_key, api_base_url=chatgpt_server.base_url) as client:
        assert client.send_message("hi").text


def test_no_call_is_left_behind(chatgpt_server: ChatGPTServer) -> None:
    """However it ends: neither a deadline that is watched nor an open handle."""
    chatgpt_server.inject(Fault(), Fault(status=500), Fault(cut_after=700), Fault(reset=True))
    options: list[dict[str, str]] = [{}] * 5 + [{"proxy": "http://127.0.0.1:9"}]
    for given in options:
        with (
            ChatGPTAPI(
                api_key=chatgpt_server.api_key,
                api_base_url=chatgpt_server.base_url,
                max_retries=0,
                **given,  # type: ignore[arg-type] # of text alone
            ) as client,
            suppress(ChatGPTError),
        ):
            client.send_message("hi", stream=True)
    assert _watchdog._watched == set()


# --- what a review found ---------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.parametrize("what", ["sleep", "turn", "lookup"])
def test_a_signal_handler_ends_a_wait_that_it_interrupts(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any line of it: the moment is moved in small steps."""
    released = threading.Event()
    turn = Turn()
    turn.take("somebody", 1, Interruption())
    look_up = socket.getaddrinfo

    def slowly(*args: Any, **options: Any) -> Any:
        if options.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "it is a name")
        released.wait(5)
        return look_up("127.0.0.1", *args[1:])

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    begun = time.monotonic()
    for number in range(40):
        call, token = Interruption(), CancelToken()
        call.obey(token)
        before = signal.signal(signal.SIGALRM, lambda *_, token=token: token.cancel())
        signal.setitimer(signal.ITIMER_REAL, 0.0005 + number * 0.00002)
        try:
            with pytest.raises(TransportFailure):
                if what == "sleep":
                    call.sleep(5)
                elif what == "turn":
                    turn.take("another", 5, call)
                else:
                    look_up_name("slow.example", 80, call)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            call.close()
    released.set()
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("head", [b"", CHUNKED + WORD], ids=["the head", "a part"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_signal_just_before_a_read_is_noted(
    scheme: str, head: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that comes before the system call interrupts it not: as little as `interrupt_main` does, of IDLE and Windows."""
    tls = trusted_tls(monkeypatch, tmp_path) if scheme == "https" else None
    noted = threading.Event()
    was_noted: queue.Queue[bool] = queue.Queue()

    def interrupt(wire: Wire) -> None:
        wire.read_request()
        wire.send(head)
        time.sleep(0.1)  # the client waits
        _thread.interrupt_main()
        was_noted.put(noted.wait(4))

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with (
            RawServer(interrupt, tls=tls) as server,
            ChatGPTAPI(
                api_key="sk-test", api_base_url=f"{scheme}://localhost:{server.port}/v1"
            ) as client,
        ):
            with pytest.raises(KeyboardInterrupt):
                client.send_message("hi", stream=True)
            noted.set()
            assert client.send_message("again").text == "Still here."
    finally:
        signal.signal(signal.SIGINT, before)
    assert was_noted.get(timeout=5)


def test_no_deadline_is_lost_between_two_looks(call: Interruption) -> None:
    """A wait that begins just as the watchdog looks must not wait for the next time it does."""
    calls = [Interruption() for _ in range(20)]
    begun = time.monotonic()
    for _ in range(20):
        for one in calls:
            one.begin_wait("read_timeout", 0.01)
        while any(one.cause is None for one in calls):
            assert time.monotonic() - begun < 4
            time.sleep(0.001)
        for one in calls:
            one.end_wait()
            one.forget_deadline()
    for one in calls:
        one.close()


def test_a_closed_call_begins_no_wait() -> None:
    """Closed by another thread between two waits, while it asks a store or a function."""
    call = Interruption()
    call.begin_wait("read_timeout", 5)
    call.end_wait()
    call.close()
    begins: list[Callable[[], object]] = [
        lambda: call.begin_wait("read_timeout", 5),
        lambda: call.begin_request(SendRequest(REQUEST, 5, 5, 5)),
        lambda: call.sleep(5),
        lambda: Turn().take("me", 5, call),
    ]
    for begin in begins:
        with pytest.raises(TransportFailure):
            begin()
    assert _watchdog._watched == set()


def test_a_handle_does_not_change_how_the_socket_waits(
    call: Interruption, pair: tuple[socket.socket, socket.socket]
) -> None:
    """With a default timeout a new socket does not block, and what shares its connection neither."""
    ours, theirs = pair
    ours.settimeout(None)
    socket.setdefaulttimeout(30)
    try:
        call.hold(ours)
        threading.Timer(0.05, theirs.send, (b"x",)).start()
        assert ours.recv(1) == b"x"
    finally:
        socket.setdefaulttimeout(None)
