"""A program that forks while its client is at work: `python -m tests.reliability.forking CASE TWIN BASE_URL`.

Strategy: forks of a process with many threads are tried in a process of its own, against a server in another one. The
server holds the stream of a message that begins with "held" until somebody says "open"
(`tests.reliability.gates.Gate`); "endless" is a stream without end, and "was it left?" asks for it. So "the parent's stream goes on unharmed" means: it is forked, the
children end, somebody says "open", and the rest of the stream arrives.

Rules:

1. A child ends as a program does, with `sys.exit`, so that all that it inherited is collected there.
2. What goes wrong is an exception here, or a line on standard error; a child that is not done after `PATIENCE` seconds
   is killed, and called a hang.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import anyio

import chatgpt
import chatgpt_async
from chatgpt import CancelToken, ChatGPTAPI, StreamInterruptedError
from chatgpt.streams import MessageStream

PATIENCE: Final = 10.0
FORKS: Final = 15
BUSY_THREADS: Final = 2

# What a child may reach of the calls of other threads.
streams: list[MessageStream] = []
token: Final = CancelToken()


class HangError(Exception):
    """A child was not done in time."""


def wait_for(child: int) -> None:
    """Wait for the end of a child, which must have gone well."""
    end = time.monotonic() + PATIENCE
    while True:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            code = os.waitstatus_to_exitcode(status)
            assert code == 0, f"the child ended with {code}"
            return
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise HangError
        time.sleep(0.002)


def fork(work: Callable[[], object]) -> None:
    """Do some work in a child that ends as a program does, and wait for it."""
    child = os.fork()
    if child == 0:
        work()
        sys.exit(0)
    wait_for(child)


def forked_by_multiprocessing(work: Callable[[], object]) -> None:
    """The same with `multiprocessing`."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        raise HangError
    assert process.exitcode == 0, f"the child ended with {process.exitcode}"


def ask(client: ChatGPTAPI, text: str) -> None:
    """Send a message; the answer must be its own."""
    reply = client.send_message(text)
    assert reply.text.startswith(f"You said: {text} "), reply.text


# --- the sync twin ---------------------------------------------------------------------------


def open_stream_of_the_forking_thread(client: ChatGPTAPI) -> None:
    """The child leaves the `with` block of its parent's stream, and collects it."""
    with client.stream_message("held by the forking thread") as stream:
        assert next(stream).delta == "first"
        for number, way in enumerate((fork, forked_by_multiprocessing, fork)):
            way(partial(ask, client, f"child {number}"))
        fork(gc.collect)
        ask(client, "parent")
        client.send_message("open")
        assert "".join(part.delta or "" for part in stream) == " second"


@contextmanager
def held_by_another_thread(client: ChatGPTAPI) -> Iterator[None]:
    """Meanwhile another thread waits for the rest of a stream, which is within reach of a child."""
    outcome: list[object] = []

    def wait() -> None:
        stream = client.stream_message("held by another thread", abort=token)
        streams.append(stream)
        try:
            outcome.append("".join(part.delta or "" for part in stream))
        except BaseException as error:  # noqa: BLE001 - it is shown below
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not (streams and streams[0].text):
        time.sleep(0.002)
    time.sleep(0.05)  # now it waits for the second one
    try:
        yield
        assert outcome == [], "the stream was cut by the child"
        client.send_message("open")
    finally:
        thread.join(PATIENCE)
    assert outcome == ["first second"], outcome


def open_stream_of_another_thread(client: ChatGPTAPI) -> None:
    """The child only ends."""
    with held_by_another_thread(client):
        for number, way in enumerate((fork, forked_by_multiprocessing)):
            way(partial(ask, client, f"child {number}"))


def child_drops_the_stream(client: ChatGPTAPI) -> None:
    """The child collects the stream of another thread of its parent."""

    def drop() -> None:
        streams.clear()
        gc.collect()

    with held_by_another_thread(client):
        fork(drop)


def child_closes_the_stream(client: ChatGPTAPI) -> None:
    """The child closes it."""
    with held_by_another_thread(client):
        fork(lambda: streams[0].close())


def child_cancels_the_token(client: ChatGPTAPI) -> None:
    """The child cancels the token that stops it."""
    with held_by_another_thread(client):
        fork(token.cancel)


def child_closes_the_client(client: ChatGPTAPI) -> None:
    """The child closes the client, and uses it again."""

    def close() -> None:
        client.close()
        ask(client, "child after close")

    with held_by_another_thread(client):
        fork(close)


def child_reads_the_stream(client: ChatGPTAPI) -> None:
    """A part that a child took would be missing in the parent, who would not know."""

    def child() -> None:
        problem = None
        try:
            list(stream)
        except StreamInterruptedError as error:
            problem = str(error)
        assert problem is not None, "the child could read"
        assert "forked" in problem

    with client.stream_message("held while a child reads") as stream:
        first = next(stream)
        for _ in range(3):
            fork(child)
        ask(client, "open")
        assert (first.delta or "") + "".join(part.delta or "" for part in stream) == "first second"


def parent_leaves_the_stream(client: ChatGPTAPI) -> None:
    """A child that lives on has the parent's connection, too; the server sees at once that the stream is left."""
    may_end = multiprocessing.get_context("fork").Event()
    with client.stream_message("endless") as stream:
        next(stream)
        child = os.fork()
        if child == 0:
            may_end.wait(PATIENCE)
            os._exit(0)
    ask(client, "parent after leaving")
    reply = client.send_message("was it left?")
    may_end.set()
    wait_for(child)
    assert reply.text == "yes", "the server does not see that the stream was left"


def many_forks(client: ChatGPTAPI) -> None:
    """Threads are busy, and switch as often as they can, so that a fork finds every lock taken at times."""
    problems: list[BaseException] = []
    is_over = threading.Event()

    def stay_busy(name: int) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            text = f"thread {name}, message {number}"
            try:
                if number % 2:
                    ask(client, text)
                else:
                    with client.stream_message(text) as stream:
                        next(stream)
            except BaseException as error:  # noqa: BLE001 - it is raised below
                problems.append(error)
                return

    threads = [threading.Thread(target=stay_busy, args=(name,)) for name in range(BUSY_THREADS)]
    for thread in threads:
        thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for number in range(FORKS):
            fork(partial(ask, client, f"child {number}"))
    finally:
        sys.setswitchinterval(interval)
        is_over.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert not problems, problems


# --- the async twin --------------------------------------------------------------------------


def async_child(backend: str, base_url: str) -> None:
    """A stream is open in an event loop; the child has a loop of its own, and the same client."""
    client = chatgpt_async.ChatGPTAPI(api_key="sk-test", api_base_url=base_url, max_retries=0)

    async def child(text: str) -> None:
        reply = await client.send_message(text)
        assert reply.text.startswith(f"You said: {text} "), reply.text
        await client.aclose()

    told: list[str] = []
    is_entered, may_go_on = threading.Event(), threading.Event()

    async def parent() -> None:
        async with client.stream_message("held in a loop") as stream:
            told.append((await anext(stream)).delta or "")
            is_entered.set()
            while not may_go_on.is_set():
                await anyio.sleep(0.01)
            await client.send_message("open")
            told.extend([part.delta or "" async for part in stream])
        await client.aclose()

    loop = threading.Thread(target=partial(anyio.run, parent, backend=backend))
    loop.start()
    assert is_entered.wait(PATIENCE)
    for number in range(4):
        child_work = partial(anyio.run, child, f"child {number}", backend=backend)
        (forked_by_multiprocessing if number == 3 else fork)(child_work)
    may_go_on.set()
    loop.join(PATIENCE)
    assert told == ["first", " second"], told


def async_parent_leaves(backend: str, base_url: str) -> None:
    """A child that lives on has the parent's connection, too; the server sees at once that the stream is left."""
    may_end = multiprocessing.get_context("fork").Event()

    async def parent() -> None:
        async with chatgpt_async.ChatGPTAPI(
            api_key="sk-test", api_base_url=base_url, max_retries=0
        ) as client:
            async with client.stream_message("endless") as stream:
                await anext(stream)
                child = os.fork()
                if child == 0:
                    may_end.wait(PATIENCE)
                    os._exit(0)
            reply = await client.send_message("was it left?")
            may_end.set()
            wait_for(child)
            assert reply.text == "yes", "the server does not see that the stream was left"

    anyio.run(parent, backend=backend)


ASYNC_CASES: Final = {case.__name__: case for case in (async_child, async_parent_leaves)}

CASES: Final[dict[str, Callable[[ChatGPTAPI], None]]] = {
    function.__name__: function
    for function in (
        open_stream_of_the_forking_thread,
        open_stream_of_another_thread,
        child_drops_the_stream,
        child_closes_the_stream,
        child_cancels_the_token,
        child_closes_the_client,
        child_reads_the_stream,
        parent_leaves_the_stream,
        many_forks,
    )
}


def main(case: str, twin: str, base_url: str) -> None:
    if twin != "sync":
        ASYNC_CASES[case](twin, base_url)
        return
    with chatgpt.ChatGPTAPI(api_key="sk-test", api_base_url=base_url, max_retries=0) as client:
        ask(client, "before")
        CASES[case](client)


if __name__ == "__main__":
    _arguments: list[Any] = sys.argv[1:]
    main(*_arguments)
