"""Cells of a real kernel, as Jupyter starts it: what they show, how often, and what an interrupt leaves.

One kernel serves all tests. What it shows is what a notebook would draw: each message of it is looked at, and counted with
the time at which it came.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
from attrs import define, field
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

from chatgpt.testing import Answer, ChatGPTServer, Fault
from tests.reliability.scripts import CHUNKED, WORD, Waiting, sending
from tests.reliability.wire import RawServer

LIMIT: Final = 30.0
MOST_UPDATES: Final = 10
PARTS: Final = [f"word {number}, " for number in range(120)]
TEXT: Final = "# Words\n\n<b>**" + "".join(PARTS)

CLIENTS: Final = """\
import chatgpt, chatgpt_async
options = dict(api_key="sk-test", api_base_url={url!r}, max_retries=0)
client = chatgpt.ChatGPTAPI(**options)
async_client = chatgpt_async.ChatGPTAPI(**options)
from chatgpt.notebook import show
from chatgpt_async.notebook import show as show_async
%reload_ext chatgpt
get_ipython().user_ns["quiet"] = get_ipython().run_line_magic("chat_config", "--reset --client client")
"""

STREAMING: Final = {
    "the last line": "stream = client.stream_message('Words.')\nstream",
    "show": "show(stream := client.stream_message('Words.'))",
    "the async twin": "await show_async(stream := async_client.stream_message('Words.'))",
    "%%chat": "%%chat --result reply\nWords.",
}
"""Cells that stream a reply."""


@define
class Cell:
    """What a cell has shown.

    Attributes:
        shown: the messages by which it showed something, in their order.
        times: when they came, in seconds.
        printed: what it wrote.
        error: the name of the error that ended it.
        traceback: what is shown of that; nothing of an error of usage, which is written.
    """

    shown: list[dict[str, Any]] = field(factory=list)
    times: list[float] = field(factory=list)
    printed: str = ""
    error: str | None = None
    traceback: str = ""

    def take(self, message: dict[str, Any]) -> None:
        content = message["content"]
        match message["msg_type"]:
            case "display_data" | "update_display_data":
                self.shown.append(message)
                self.times.append(time.monotonic())
            case "stream":
                self.printed += content["text"]
            case "error":
                self.error, self.traceback = content["ename"], "\n".join(content["traceback"])

    @property
    def text(self) -> str:
        """What is on display."""
        text: str = self.shown[-1]["content"]["data"]["text/plain"]
        return text

    def most_in_a_second(self) -> int:
        return max(sum(begin <= each < begin + 1 for each in self.times) for begin in self.times)


class Kernel:
    """A kernel of IPython.

    Args:
        manager: what started it.
        client: what is connected to it.
    """

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client

    def run(self, source: str, *, interrupt_at: str | None = None) -> Cell:
        """Run a cell to its end.

        Args:
            source: what it says.
            interrupt_at: what must be on display when it is interrupted.
        """
        cell = Cell()
        message_id = self._client.execute(source)
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                message = self._client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") != message_id:
                continue
            cell.take(message)
            content = message["content"]
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                reply = self._reply(message_id)
                is_failed = reply["status"] == "error"  # "Run all" stops there
                assert is_failed or cell.error is None, "it failed, and is said to be done"
                if is_failed and cell.error is None:
                    cell.error = reply["ename"]
                return cell
            if interrupt_at is not None and cell.shown and cell.text == interrupt_at:
                interrupt_at = None
                # A signal that comes just before a system call is noted by Python only behind it.
                time.sleep(0.1)
                self._manager.interrupt_kernel()
                # ipykernel (7) notes an interrupt, and looks at its event loop when something else happens there.
                self._client.kernel_info()
        raise AssertionError(f"the cell is not done: {cell}")

    def _reply(self, message_id: str) -> dict[str, Any]:
        while (reply := self._client.get_shell_msg(timeout=LIMIT))["parent_header"].get(
            "msg_id"
        ) != message_id:
            """An older one."""
        content: dict[str, Any] = reply["content"]
        return content


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel in which nothing of the machine's own is set up."""
    folder = tmp_path_factory.mktemp("kernel")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
        monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        manager, client = start_new_kernel(
            kernel_name="python3", startup_timeout=60, cwd=str(folder)
        )
    yield Kernel(manager, client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture
def server(kernel: Kernel, chatgpt_server: ChatGPTServer) -> ChatGPTServer:
    """A server, for whom the kernel has clients: `client`, `async_client`, and that of `%%chat`."""
    connected = kernel.run(CLIENTS.format(url=chatgpt_server.base_url))
    assert connected.error is None, connected.traceback
    return chatgpt_server


@pytest.mark.parametrize("way", STREAMING)
def test_a_stream_grows_in_its_cell(kernel: Kernel, server: ChatGPTServer, way: str) -> None:
    server.replies = lambda _: Answer(parts=["# Words\n\n<b>**", *PARTS])
    server.inject(Fault(part_delay=0.012))
    cell = kernel.run(STREAMING[way])
    assert cell.error is None, cell.traceback
    kinds = [message["msg_type"] for message in cell.shown]
    assert kinds == ["display_data", *["update_display_data"] * (len(kinds) - 1)]
    assert len({message["content"]["transient"]["display_id"] for message in cell.shown}) == 1
    assert len(kinds) > 5, "it did not grow"
    assert cell.most_in_a_second() <= MOST_UPDATES
    texts = [message["content"]["data"]["text/plain"] for message in cell.shown]
    assert all(TEXT.startswith(text) for text in texts)
    assert sorted(set(texts), key=len) == texts, "an update that shows nothing new"
    assert texts[-1] == TEXT
    markdown = cell.shown[-1]["content"]["data"]["text/markdown"]
    assert markdown == TEXT.replace("<b>", "&lt;b>")
    assert cell.printed == ""
    name = "reply.text" if way == "%%chat" else "stream.result().text"
    assert kernel.run(f"print({name}, end='')").printed == TEXT
    assert len(server.requests) == 1


@pytest.mark.parametrize("way", STREAMING)
def test_an_interrupt_leaves_what_came_and_the_client_goes_on(kernel: Kernel, way: str) -> None:
    waiting = Waiting(sending(CHUNKED + WORD))
    with RawServer(waiting) as server:
        assert kernel.run(CLIENTS.format(url=server.base_url)).error is None
        cell = kernel.run(STREAMING[way], interrupt_at="word ")
        assert cell.error == ("CancelledError" if way == "the async twin" else "KeyboardInterrupt")
        assert waiting.is_left.wait(5), "the server was not left"
        assert cell.text == "word "
        if way == "%%chat":
            assert "\n" not in cell.traceback
            assert "the answer was stopped" in cell.traceback
            nothing_kept = kernel.run("%%chat --continue\nagain")
            assert nothing_kept.error == "UsageError"
            assert nothing_kept.printed == "UsageError: There is no conversation to continue.\n"
            assert kernel.run("%%chat\nagain").text == "Still here."
        else:
            assert kernel.run("print(stream.text)").printed == "word \n"
            again = "await async_client." if way == "the async twin" else "client."
            assert kernel.run(f"print(({again}send_message('again')).text)").printed == (
                "Still here.\n"
            )
    kernel.run("client.close(); await async_client.close()")


def test_an_error_leaves_what_came(kernel: Kernel, server: ChatGPTServer) -> None:
    server.replies = lambda _: Answer(parts=PARTS)
    server.inject(*[Fault(error_after=3)] * len(STREAMING))
    for source in STREAMING.values():
        cell = kernel.run(source)
        assert cell.error == "StreamError"
        assert cell.text.startswith(PARTS[0])
        assert cell.text != TEXT
        assert cell.traceback.count("\n") == 0 if source.startswith("%%") else cell.traceback


def test_two_streams_at_once_grow_each_in_its_place(kernel: Kernel, server: ChatGPTServer) -> None:
    server.replies = lambda request: f"{request.messages[-1]['content']} " * 20 + "end"
    server.inject(Fault(part_delay=0.01), Fault(part_delay=0.01))
    cell = kernel.run(
        "import asyncio\n"
        "await asyncio.gather(*(show_async(async_client.stream_message(each)) for each in ('one', 'two')))\n"
        "None"
    )
    assert cell.error is None, cell.traceback
    last = {
        message["content"]["transient"]["display_id"]: message["content"]["data"]["text/plain"]
        for message in cell.shown
    }
    assert sorted(last.values()) == ["one " * 20 + "end", "two " * 20 + "end"]


def test_a_stream_of_a_loop_stays_in_the_cell_that_shows_it(
    kernel: Kernel, server: ChatGPTServer
) -> None:
    """A task that a cell leaves running goes on to show in that cell, also while another one runs."""
    server.replies = lambda _: Answer(parts=PARTS[:60])
    server.inject(Fault(part_delay=0.01))
    first = kernel.run(
        "import asyncio\n"
        "task = asyncio.ensure_future(show_async(async_client.stream_message('hi')))\n"
        "await asyncio.sleep(0.2)"
    )
    second = kernel.run("await task\nprint('done')")
    assert second.printed == "done\n"
    assert first.shown
    assert second.shown == []
