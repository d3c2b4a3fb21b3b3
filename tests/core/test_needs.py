from __future__ import annotations

import traceback

import pytest

from chatgpt import AbortedError, ChatMessage, StreamError
from chatgpt.core.needs import (
    AskForAccessToken,
    Exchange,
    HttpRequest,
    ReadChunk,
    ReportEvent,
    ReportProgress,
    ResponseHead,
    Running,
    SaveMessages,
    SendRequest,
    Sleep,
    TransportFailure,
)
from chatgpt.core.secrets import Secret


def test_an_exchange_is_stepped_to_its_result() -> None:
    def exchange() -> Exchange[str]:
        first = yield from ReadChunk(1.0)
        second = yield from ReadChunk(2.0)
        return (first + second).decode()

    running = Running(exchange())
    needs = [running.need]
    for answer in (b"Hel", b"lo"):
        running.resume(answer)
        needs.append(running.need)
    assert needs == [ReadChunk(1.0), ReadChunk(2.0), None]
    assert running.result() == "Hello"


def test_the_failure_of_a_need_is_thrown_in() -> None:
    def exchange() -> Exchange[str]:
        try:
            yield from ReadChunk(1.0)
        except TransportFailure as failure:
            return failure.reason
        return ""

    running = Running(exchange())
    running.fail(TransportFailure("connection", "reset"))
    assert running.result() == "reset"


def test_an_exchange_that_is_closed_while_its_need_is_met() -> None:
    """By another thread or task: whatever comes of the need then changes nothing."""

    def exchange() -> Exchange[bytes]:
        return (yield from ReadChunk(1.0))

    for what_comes in (TransportFailure("connection", "closed"), b"late", None):
        running = Running(exchange())
        running.close()
        assert running.need is None
        match what_comes:
            case TransportFailure():
                running.fail(what_comes)
            case bytes():
                running.resume(what_comes)
            case _:
                running.close()
        with pytest.raises(AbortedError, match="closed before its end"):
            running.result()


def test_an_exchange_that_is_closed_in_the_middle_of_a_step() -> None:
    """By another thread: it ends when the step does."""
    is_closed: list[bool] = []

    def exchange() -> Exchange[bytes]:
        first = yield from ReadChunk(1.0)
        running.close()  # what another thread would do now
        try:
            return first + (yield from ReadChunk(2.0))
        finally:
            is_closed.append(True)

    running = Running(exchange())
    running.resume(b"a")
    assert running.need is None
    assert is_closed == [True]
    with pytest.raises(AbortedError):
        running.result()


def test_an_exchange_that_is_closed_asks_for_nothing_more() -> None:
    ended: list[str] = []

    def exchange() -> Exchange[None]:
        try:
            yield from Sleep(1.0)
        finally:
            ended.append("closed")

    running = Running(exchange())
    running.close()
    assert ended == ["closed"]


def test_what_an_exchange_raises_comes_out() -> None:
    def exchange() -> Exchange[None]:
        yield from Sleep(1.0)
        raise KeyError("x")

    running = Running(exchange())
    with pytest.raises(KeyError):
        running.resume(None)


def test_an_error_of_the_core_is_kept_without_the_frames_of_the_core() -> None:
    def exchange() -> Exchange[None]:
        written = yield from ReadChunk(1.0)
        try:
            int(written)
        except ValueError:
            raise StreamError("what the server said") from OSError("the cause")

    running = Running(exchange())
    running.resume(b"canary")
    assert running.need is None
    with pytest.raises(StreamError) as caught:
        running.result()
    error = caught.value
    assert error.__context__ is None
    assert isinstance(error.__cause__, OSError)
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert frames == ["test_an_error_of_the_core_is_kept_without_the_frames_of_the_core", "result"]


def test_a_head_has_its_names_in_lower_case() -> None:
    head = ResponseHead(200, None, {"X-Request-ID": "r"})
    assert (head.reason, head.headers) == ("", {"x-request-id": "r"})


def test_no_need_shows_a_secret_or_a_text_in_its_repr() -> None:
    request = HttpRequest(
        "POST",
        "https://host/path?key=canary",
        {"authorization": Secret("canary")},
        b'{"text": "canary"}',
    )
    message = ChatMessage(id="m1", text="canary")
    for need in (
        SendRequest(request, 1, 2, 3),
        SaveMessages((message,)),
        ReportProgress([message]),
        ReportEvent(print, {"text": "canary"}),
        AskForAccessToken(print, {"password": Secret("canary")}, 1, print),
    ):
        assert "canary" not in repr(need)
    assert "https://host/path" in repr(SendRequest(request, 1, 2, 3))


@pytest.mark.parametrize(
    ("written", "read"),
    [("plain", "plain"), ("Ã¼", "ü"), ("ü", "ü"), ("日本", "日本"), (None, "")],
)
def test_the_text_of_a_head_is_what_was_meant(written: str | None, read: str) -> None:
    """http.client reads Latin-1 where a server writes UTF-8."""
    head = ResponseHead(200, written, {"X-Name": written or ""})
    assert (head.reason, head.headers) == (read, {"x-name": read})
