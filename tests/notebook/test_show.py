"""`show` and a stream in `display`: both twins, with the embedded server, where there is no notebook.

`test_kernel.py` shows the same in a cell.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import anyio
import pytest

from chatgpt import ChatGPTAPI, StreamError, StreamInterruptedError
from chatgpt.notebook import show
from chatgpt.testing import Answer, ChatGPTServer, Fault
from chatgpt_async import ChatGPTAPI as AsyncChatGPTAPI
from chatgpt_async.notebook import show as show_async
from tests.engines import NAMES

PARTS: Final = ["Line 28, ", "of *course*;\n", " sit <b>left</b>"]
TEXT: Final = "".join(PARTS)


def streamed(use: Callable[[Any], None], server: ChatGPTServer) -> None:
    with ChatGPTAPI(api_key=server.api_key, api_base_url=server.base_url, max_retries=0) as client:
        use(client.stream_message("Which tram?"))


def streamed_async(
    use: Callable[[Any], Awaitable[None]], server: ChatGPTServer, backend: str
) -> None:
    async def main() -> None:
        async with AsyncChatGPTAPI(
            api_key=server.api_key, api_base_url=server.base_url, max_retries=0
        ) as client:
            await use(client.stream_message("Which tram?"))

    anyio.run(main, backend=backend)


@pytest.fixture(params=NAMES)
def play(request: pytest.FixtureRequest, chatgpt_server: ChatGPTServer) -> Callable[..., None]:
    """Plays one of two functions of a stream: that for the sync twin, or that for the async one."""
    chatgpt_server.replies = lambda _: Answer(parts=PARTS)

    def run(ours: Callable[[Any], None], theirs: Callable[[Any], Awaitable[None]]) -> None:
        if request.param == "sync":
            streamed(ours, chatgpt_server)
        else:
            streamed_async(theirs, chatgpt_server, request.param)

    return run


def test_a_reply_is_shown_to_its_last_letter(
    play: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    texts = []

    def ours(stream: Any) -> None:
        assert show(stream) is None  # type: ignore[func-returns-value]
        texts.append(stream.result().text)

    async def theirs(stream: Any) -> None:
        assert await show_async(stream) is None  # type: ignore[func-returns-value]
        texts.append(stream.result().text)

    play(ours, theirs)
    assert texts == [TEXT]
    assert capsys.readouterr().out == f"{TEXT}\n"


def test_of_a_stream_that_is_partly_read_all_is_shown(
    play: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def ours(stream: Any) -> None:
        with stream:
            assert next(stream).delta == PARTS[0]
            show(stream)

    async def theirs(stream: Any) -> None:
        async with stream:
            assert (await anext(stream)).delta == PARTS[0]
            await show_async(stream)

    play(ours, theirs)
    assert capsys.readouterr().out == f"{TEXT}\n"


def test_a_stream_that_is_over_is_shown_and_not_sent_again(
    play: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    chatgpt_server: ChatGPTServer,
) -> None:
    def ours(stream: Any) -> None:
        show(stream)
        show(stream)

    async def theirs(stream: Any) -> None:
        await show_async(stream)
        await show_async(stream)

    play(ours, theirs)
    assert capsys.readouterr().out == f"{TEXT}\n" * 2
    assert len(chatgpt_server.requests) == 1


def test_an_error_is_raised_and_what_came_before_it_is_shown(
    play: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    chatgpt_server: ChatGPTServer,
) -> None:
    chatgpt_server.inject(Fault(error_after=3))
    problems: list[StreamError] = []

    def ours(stream: Any) -> None:
        with pytest.raises(StreamError) as caught:
            show(stream)
        problems.append(caught.value)

    async def theirs(stream: Any) -> None:
        with pytest.raises(StreamError) as caught:
            await show_async(stream)
        problems.append(caught.value)

    play(ours, theirs)
    shown = capsys.readouterr().out
    assert shown == f"{problems[0].partial}\n"
    assert shown.startswith(PARTS[0])


def test_a_stream_that_was_left_is_an_error(play: Callable[..., None]) -> None:
    def ours(stream: Any) -> None:
        with stream:
            next(stream)
        with pytest.raises(StreamInterruptedError):
            show(stream)

    async def theirs(stream: Any) -> None:
        async with stream:
            await anext(stream)
        with pytest.raises(StreamInterruptedError):
            await show_async(stream)

    play(ours, theirs)


def test_the_stream_of_the_other_twin_is_refused_and_nothing_is_sent(
    play: Callable[..., None], chatgpt_server: ChatGPTServer
) -> None:
    def ours(stream: Any) -> None:
        with pytest.raises(TypeError, match="from chatgpt.notebook import show; show"):
            anyio.run(partial(show_async, stream))

    async def theirs(stream: Any) -> None:
        with pytest.raises(TypeError, match="from chatgpt_async.notebook import show; await show"):
            show(stream)

    play(ours, theirs)
    assert chatgpt_server.requests == []


@pytest.mark.parametrize("thing", ["text", None, 3])
def test_what_is_no_stream_is_refused(thing: Any) -> None:
    with pytest.raises(TypeError, match=f"not a {type(thing).__name__}"):
        show(thing)
    with pytest.raises(TypeError, match=f"not a {type(thing).__name__}"):
        anyio.run(show_async, thing)


# --- display ---------------------------------------------------------------------------------


@pytest.fixture
def client(sync_client: ChatGPTAPI, chatgpt_server: ChatGPTServer) -> ChatGPTAPI:
    chatgpt_server.replies = lambda _: Answer(parts=PARTS)
    return sync_client


def test_display_sends_a_stream_and_shows_it(
    client: ChatGPTAPI, capsys: pytest.CaptureFixture[str], chatgpt_server: ChatGPTServer
) -> None:
    stream = client.conversation().stream("Which tram?")
    assert chatgpt_server.requests == []
    stream._ipython_display_()
    assert stream.result().text == TEXT
    assert capsys.readouterr().out == f"{TEXT}\n"


def test_display_shows_the_text_of_a_stream_that_is_over(
    client: ChatGPTAPI, capsys: pytest.CaptureFixture[str], chatgpt_server: ChatGPTServer
) -> None:
    with client.stream_message("Which tram?") as left:
        next(left)
    left._ipython_display_()
    assert capsys.readouterr().out == f"{PARTS[0]}\n"
    chatgpt_server.inject(Fault(error_after=3))
    failed = client.stream_message("Which tram?")
    with pytest.raises(StreamError):
        failed._ipython_display_()
    shown = capsys.readouterr().out
    failed._ipython_display_()
    assert capsys.readouterr().out == shown
    assert len(chatgpt_server.requests) == 2
