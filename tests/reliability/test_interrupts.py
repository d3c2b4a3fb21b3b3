"""Ctrl-C in a script, and the interrupt of a cell in a notebook, in processes of their own.

After each, the server sees that it is left, and the same client sends the next message.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.reliability.report import Report
from tests.reliability.scripts import CHUNKED, MOST_MORE, WORD, Waiting, Writing, reading, sending
from tests.reliability.wire import RawServer, Script, answering

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has other signals")

SYNC = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
from chatgpt import ChatGPTAPI
client = ChatGPTAPI(api_key="sk-test", api_base_url=sys.argv[1])
print("ready", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    print(client.send_message("again").text, flush=True)
    raise
"""
ASYNC = """
import signal, sys, anyio
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
from chatgpt_async import ChatGPTAPI
async def main():
    async with ChatGPTAPI(api_key="sk-test", api_base_url=sys.argv[1]) as client:
        print("ready", flush=True)
        try:
            {call}
        except BaseException:
            print("interrupted", flush=True)
            with anyio.CancelScope(shield=True):
                print((await client.send_message("again")).text, flush=True)
            raise
anyio.run(main, backend={backend!r})
"""
CALLS: Final = {
    "send_message": ("client.send_message('hi', stream=True)", "await client.send_message('hi', stream=True)"),
    "stream_message": (
        "for part in client.stream_message('hi'): print(part.delta, flush=True)",
        "async with client.stream_message('hi') as stream: [print(part.delta, flush=True) async for part in stream]",
    ),
}  # fmt: skip


def script_of(engine: str, call: str) -> str:
    ours, theirs = CALLS[call]
    if engine == "sync":
        return SYNC.format(call=ours)
    return ASYNC.format(call=theirs, backend=engine)


@pytest.mark.parametrize("engine", ["sync", "asyncio", "trio"])
@pytest.mark.parametrize("phase", ["the head", "a part", "another try"])
def test_ctrl_c_in_a_script(report: Report, engine: str, phase: str) -> None:
    writing, waiting = Writing(), Waiting(reading)
    scripts: dict[str, Script] = {
        "the head": waiting,
        "a part": writing,
        "another try": answering(
            b"HTTP/1.1 500 Oh\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n"
        ),
    }
    call = "stream_message" if phase == "a part" else "send_message"
    with RawServer(scripts[phase]) as server:
        process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-c", script_of(engine, call), server.base_url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        end = time.monotonic() + 10
        while not server.requests:
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(0.2)
        written = writing.written
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
        if phase != "another try":
            assert (writing if phase == "a part" else waiting).is_left.wait(5)
        assert writing.written <= written + MOST_MORE
    said = [line for line in output.splitlines() if not line.startswith("word")]
    assert said == ["interrupted", "Still here."]
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT, 1)
    assert "KeyboardInterrupt" in errors.splitlines()[-1]
    assert "ResourceWarning" not in errors
    report.tried(
        "Stopping",
        f"Ctrl-C in a script that waits for {phase}",
        engine,
        "`KeyboardInterrupt`; the client is usable",
    )


# --- a notebook ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel() -> Iterator[Any]:
    """A kernel of IPython, as Jupyter starts it."""
    manager_module = pytest.importorskip("jupyter_client.manager")
    pytest.importorskip("ipykernel")
    manager, client = manager_module.start_new_kernel(kernel_name="python3", startup_timeout=60)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def outputs(client: Any, message_id: str, wanted: str | None = None) -> list[dict[str, Any]]:
    """What a cell has put out: until it is done, or says something."""
    said: list[dict[str, Any]] = []
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(queue.Empty):
            message = client.get_iopub_msg(timeout=1)
            if message["parent_header"].get("msg_id") != message_id:
                continue
            content = message["content"]
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                return said
            if message["msg_type"] in ("stream", "error"):
                said.append(content)
            if wanted is not None and wanted in content.get("text", ""):
                return said
    raise AssertionError(f"the cell is not done: {said}")


CELLS = {
    "sync": (
        "from chatgpt import ChatGPTAPI\nclient = ChatGPTAPI(api_key='sk-test', api_base_url={url!r})",
        "with client.stream_message('hi') as stream:\n    for part in stream: print(part.delta, flush=True)",
        "print(stream.text, client.send_message('again').text)",
    ),
    "asyncio": (
        "from chatgpt_async import ChatGPTAPI\nclient = ChatGPTAPI(api_key='sk-test', api_base_url={url!r})",
        "async with client.stream_message('hi') as stream:\n    async for part in stream: print(part.delta, flush=True)",
        "print(stream.text, (await client.send_message('again')).text)",
    ),
}


@pytest.mark.parametrize("engine", ["sync", "asyncio"])
def test_the_interrupt_of_a_cell(report: Report, kernel: Any, engine: str) -> None:
    manager, client = kernel
    first, streaming, after = CELLS[engine]
    waiting = Waiting(sending(CHUNKED + WORD))
    with RawServer(waiting) as server:
        assert outputs(client, client.execute(first.format(url=server.base_url))) == []
        cell = client.execute(streaming)
        outputs(client, cell, wanted="word")
        time.sleep(0.1)
        manager.interrupt_kernel()
        # ipykernel (7) notes an interrupt, and looks at its event loop when something else happens there.
        client.kernel_info()
        said = outputs(client, cell)
        assert [content["ename"] for content in said if "ename" in content] == [
            "KeyboardInterrupt" if engine == "sync" else "CancelledError"
        ]
        assert waiting.is_left.wait(5)
        said = outputs(client, client.execute(after))
        assert "".join(content["text"] for content in said) == "word  Still here.\n"
    report.tried(
        "Stopping",
        "the interrupt of a cell in a notebook",
        engine,
        "the cell ends; the client is usable",
    )
