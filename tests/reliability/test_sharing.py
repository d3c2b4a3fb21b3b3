"""A client is shared: by threads and tasks, and with other processes by a pickle. `test_forks` has the forks.

Strategy: real threads, processes and interpreters against the loopback server. What an interpreter does at its end is
tried in interpreters of their own (the programs of `endings.py`), whose exit code and standard error tell what happened.

Rules:

1. Each answer repeats its question, so that a mix-up of connections is seen.
2. A stream that is to be open while something else happens is held by the server (`Gate`), not by a pause.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import pickle
import re
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

import chatgpt_async
from chatgpt import (
    AbortedError,
    CancelToken,
    ChatGPTAPI,
    ConfigurationError,
    StreamInterruptedError,
)
from chatgpt.testing import ChatGPTServer
from tests.engines import Engine
from tests.reliability.endings import ASYNC_ENDS, SETTING, SYNC_ENDS
from tests.reliability.gates import PATIENCE, Endless, gate, run, wait_until
from tests.reliability.report import Report
from tests.reliability.wire import RawServer, Wire, answer_of, chunked_answer, event

__all__ = ["gate"]  # a fixture

GROUP: Final = "Sharing"

SHARERS: Final = 32
ROUNDS: Final = 6


needs_proc: Final = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="this system has no /proc/self/fd"
)


def open_sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            count += str(link.readlink()).startswith("socket:")
        except OSError:  # that of the listing itself
            continue
    return count


# --- threads and tasks -----------------------------------------------------------------------


class Stopped(Exception):  # noqa: N818 - it is no error
    """Raised by a callback, to stop a call."""


def stop(_: object) -> None:
    raise Stopped


def said(thread: list[Any]) -> list[str]:
    return [message.text for message in thread if message.role == "user"]


def check_answer(text: str, question: str) -> None:
    """An answer belongs to its question, as far as it came."""
    whole = f"You said: {question} That is "
    assert text.startswith(whole) or whole.startswith(text), (text, question)


def use(client: ChatGPTAPI, name: int) -> None:
    """Everything that a thread may do, in an order of its own."""
    chat = client.conversation()
    asked = []
    for number in range(ROUNDS):
        text = f"sharer-{name}-{number}"
        match (name + number) % 5:
            case 0:
                check_answer(client.send_message(text).text, text)
            case 1:
                check_answer(chat.send(text).text, text)
                asked.append(text)
            case 2:
                with client.stream_message(text) as stream:
                    check_answer(next(stream).text, text)  # and left
            case 3:
                with pytest.raises(Stopped):
                    client.send_message(text, on_progress=stop)
            case _:
                with chat.stream(text) as stream:
                    check_answer([part.text for part in stream][-1], text)
                check_answer(stream.result().text, text)
                asked.append(text)
    assert said(chat.history()) == asked


async def use_in_a_task(client: chatgpt_async.ChatGPTAPI, name: int) -> None:
    """The same, and a cancellation."""
    chat = client.conversation()
    asked = []
    for number in range(ROUNDS):
        text = f"sharer-{name}-{number}"
        match (name + number) % 6:
            case 0:
                check_answer((await client.send_message(text)).text, text)
            case 1:
                check_answer((await chat.send(text)).text, text)
                asked.append(text)
            case 2:
                async with client.stream_message(text) as stream:
                    check_answer((await anext(stream)).text, text)
            case 3:
                with pytest.raises(Stopped):
                    await client.send_message(text, on_progress=stop)
            case 4:
                with anyio.move_on_after(0.001 * (name % 8)):
                    check_answer((await client.send_message(text, stream=True)).text, text)
            case _:
                async with chat.stream(text) as stream:
                    check_answer([part.text async for part in stream][-1], text)
                asked.append(text)
    assert said(await chat.history()) == asked


async def use_in_tasks(client: chatgpt_async.ChatGPTAPI) -> None:
    async with anyio.create_task_group() as tasks:
        for name in range(SHARERS):
            tasks.start_soon(use_in_a_task, client, name)


@needs_proc
def test_one_client_for_many_threads_or_tasks(report: Report, engine: Engine) -> None:
    """Plain calls, conversations, streams that are left or stopped: no mix-up, and no socket is left."""
    with ChatGPTServer() as server:
        before = open_sockets()
        options: dict[str, Any] = {"api_key": server.api_key, "api_base_url": server.base_url}
        client = engine.package.ChatGPTAPI(**options, max_retries=0)
        if engine.name == "sync":
            with ThreadPoolExecutor(SHARERS) as pool:
                list(pool.map(partial(use, client), range(SHARERS)))
            client.close()
        else:
            engine.run(use_in_tasks, client)
            engine.run(client.aclose)
        # Those of the server are in this process, too.
        if not wait_until(lambda: open_sockets() <= before):
            pytest.fail(f"{open_sockets() - before} sockets are left")
    report.tried(
        GROUP,
        f"{SHARERS} threads or tasks share a client; streams are left and stopped",
        engine.name,
        "each its own answers and history; no socket is left",
        SHARERS * ROUNDS,
    )


# --- threads that stop what others do --------------------------------------------------------


def test_streams_that_other_threads_close_hurt_nobody(report: Report) -> None:
    """Connections come and go while calls are stopped at any moment: each answer is that of its question."""

    def answer_all(wire: Wire) -> None:
        while request := wire.read_request():
            text = json.loads(request.partition(b"\r\n\r\n")[2])["messages"][-1]["content"]
            parts = [event(text), event("!", finish_reason="stop"), b"data: [DONE]\n\n"]
            if len(text) % 2:
                wire.send(answer_of(b"".join(parts)))
                continue
            answer = chunked_answer(*parts)
            for begin in range(0, len(answer), 90):
                wire.send(answer[begin : begin + 90])
                time.sleep(0.0005)

    stopped: list[type[Exception]] = [AbortedError, StreamInterruptedError]
    told: Counter[str] = Counter()
    wrong: list[object] = []
    is_over = threading.Event()

    def ask(client: ChatGPTAPI, name: int) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            way = ("plain", "close", "plain", "token")[number % 4]
            text, token = f"{name}.{number}", CancelToken()
            stream = client.stream_message(text, abort=token)
            timer = threading.Timer(
                number % 7 / 500, token.cancel if way == "token" else stream.close
            )
            if way != "plain":
                timer.start()
            try:
                with stream:
                    for _ in stream:
                        pass
                if stream.result().text != f"{text}!":
                    wrong.append(stream.result())
                told[way] += 1
            except Exception as error:  # noqa: BLE001 - whatever else it is, it is wrong
                if way == "plain" or type(error) not in stopped:
                    wrong.append(error)
            timer.cancel()

    with (
        RawServer(*[answer_all] * 20_000) as server,
        ChatGPTAPI(api_key="sk-test", api_base_url=server.base_url, max_retries=0) as client,
    ):
        threads = [threading.Thread(target=ask, args=(client, n)) for n in range(16)]
        for thread in threads:
            thread.start()
        time.sleep(3)
        is_over.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert wrong == []
    assert told["plain"] > 50
    report.tried(
        GROUP,
        "16 threads, streams closed and tokens cancelled by other threads at any moment",
        "sync",
        "nobody else is hurt",
        told.total(),
    )


# --- pickles ---------------------------------------------------------------------------------


def kinds_of_clients(package: Any, server: ChatGPTServer) -> list[Any]:
    return [
        package.ChatGPTAPI(api_key="sk-test", api_base_url=server.base_url, max_retries=0),
        package.ChatGPTUnofficialProxyAPI(**server.proxy_options),
        package.ChatGPTSessionAPI(**server.session_options),
    ]


def answer_elsewhere(client: Any, backend: str) -> str:
    """What another process gets from a client that came to it; or that the client has no secret there."""
    try:
        if backend == "sync":
            return str(client.send_message("hi").text)

        async def ask() -> str:
            async with client:
                return str((await client.send_message("hi")).text)

        return anyio.run(ask, backend=backend)
    except ConfigurationError as error:
        return f"ConfigurationError: {error}"


def put_answers(told: Any, clients: list[Any], backend: str) -> None:
    told.put([answer_elsewhere(client, backend) for client in clients])


@pytest.mark.parametrize("way", ["spawned process", "pool of processes"])
def test_a_pickle_in_another_process(
    report: Report,
    engine: Engine,
    chatgpt_server: ChatGPTServer,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    """Without the variables the first call says which one; with them, the client is as it was."""
    clients = kinds_of_clients(engine.package, chatgpt_server)
    web = chatgpt_server.web
    secrets = {
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_ACCESS_TOKEN": chatgpt_server.proxy_options["access_token"],
        "OPENAI_SESSION_TOKEN": str(web.session_token),
        "OPENAI_CLEARANCE_TOKEN": web.clearance_token,
    }
    pickled = pickle.dumps(clients)
    assert not [value for value in secrets.values() if value.encode() in pickled]
    context = multiprocessing.get_context("spawn")

    def answers() -> list[str]:
        if way == "pool of processes":
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                return list(pool.map(answer_elsewhere, clients, [engine.name] * 3))
        told = context.SimpleQueue()
        process = context.Process(target=put_answers, args=(told, clients, engine.name))
        process.start()
        answered: list[str] = told.get()
        process.join(PATIENCE)
        assert process.exitcode == 0
        return answered

    without = answers()
    for answer, variable in zip(without, ("API_KEY", "ACCESS_TOKEN", "_TOKEN"), strict=True):
        assert answer.startswith("ConfigurationError: "), answer
        assert re.search(rf"OPENAI_\w*{variable}", answer), answer
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    assert all(answer.startswith("You said: hi") for answer in answers())
    seen = "without the variables `ConfigurationError`, with them a reply"
    report.tried(GROUP, f"pickled to a {way}: the three clients", engine.name, seen, 6)


# --- the end of an interpreter ---------------------------------------------------------------

# A stream that was entered by hand and never left: the event loop complains of each generator of httpx2 and httpcore2.
LEFT_OPEN: Final = "the loop ends"

ABANDONED: Final = re.compile(r"ResourceWarning: (A stream was not read|unclosed )")


def check_end(report: Report, program: str, server: ChatGPTServer, engine: str, fault: str) -> None:
    """Run a program to its end, with every warning an error: it ends well and at once."""
    try:
        ended = run("-X", "dev", "-W", "error", "-c", SETTING + program, server.base_url)
    except subprocess.TimeoutExpired:
        report.count("hangs")
        raise
    assert ended.returncode == 0, ended.stderr
    if fault == LEFT_OPEN:
        report.tried(GROUP, f"interpreter: {fault}", engine, "it ends at once, with 0")
        return
    last = [line for line in ended.stderr.splitlines() if re.match(r"\w+(\.\w+)*(: |$)", line)]
    assert [line for line in last if not ABANDONED.match(line)] == [], ended.stderr
    seen = "it ends at once, with 0, and at most a `ResourceWarning`"
    report.tried(GROUP, f"interpreter: {fault}", engine, seen)


@pytest.mark.parametrize("end", SYNC_ENDS)
def test_the_interpreter_ends(report: Report, gate: ChatGPTServer, end: str) -> None:
    check_end(report, SYNC_ENDS[end], gate, "sync", end)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("end", ASYNC_ENDS)
def test_the_event_loop_ends(report: Report, gate: ChatGPTServer, end: str, backend: str) -> None:
    program = ASYNC_ENDS[end]
    start = "import asyncio\nasyncio.run(work())\n"
    if backend == "trio":
        start = "import trio\ntrio.run(work)\n"
    check_end(report, program + start, gate, backend, end)


# --- garbage ---------------------------------------------------------------------------------


class Holder:
    """Something in a cycle of references."""

    def __init__(self, held: object) -> None:
        self.held = held
        self.itself = self


@pytest.mark.parametrize("is_in_a_cycle", [False, True])
@pytest.mark.parametrize("is_iterated", [False, True])
def test_an_abandoned_stream_closes(
    report: Report,
    sync_client: ChatGPTAPI,
    chatgpt_server: ChatGPTServer,
    is_in_a_cycle: bool,
    is_iterated: bool,
) -> None:
    """The server sees it, as soon as the stream is collected: at once, where nothing refers to it."""

    chatgpt_server.replies = lambda _: Endless()
    stream = sync_client.stream_message("hi").__enter__()
    if is_iterated:
        assert next(stream).delta == " 0"
    holder = Holder(stream) if is_in_a_cycle else None
    request = chatgpt_server.requests[0]
    gc.collect()
    assert not request.is_disconnected
    with pytest.warns(ResourceWarning, match="A stream was not read to its end and not closed"):
        del stream, holder
        if is_in_a_cycle:
            gc.collect()
    if not wait_until(lambda: request.is_disconnected):
        pytest.fail("the connection is open")
    where = "a reference cycle" if is_in_a_cycle else "no reference"
    report.tried(
        GROUP,
        f"a stream is abandoned, with {where} to it",
        "sync",
        "`ResourceWarning`, and the connection is closed",
    )
