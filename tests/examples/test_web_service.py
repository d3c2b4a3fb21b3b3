"""`examples/web_service`, over plain HTTP: the framing of its events, its errors, and who ends an answer.

The service is a process under uvicorn that all tests of the module share; each has a session of its own, without a cookie.
"""

from __future__ import annotations

import json
import re
import runpy
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import requests
from starlette.types import Message

from chatgpt import SQLiteStore
from chatgpt.testing import Answer, ChatGPTServer, Fault
from tests.cli.processes import LIMIT, environment
from tests.examples.programs import EXAMPLES, Held, web_service
from tests.redis_server import until

Event = tuple[str, dict[str, Any]]

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service runs; it has its store and its log there."""
    return tmp_path_factory.mktemp("web_service")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[tuple[str, ChatGPTServer]]:
    with ChatGPTServer() as server, web_service(folder, environment(folder, server)) as url:
        yield url, server


@pytest.fixture
def url(running: tuple[str, ChatGPTServer]) -> str:
    return running[0]


@pytest.fixture
def server(running: tuple[str, ChatGPTServer]) -> ChatGPTServer:
    """The server that the service asks; as new."""
    server = running[1]
    server.requests.clear()
    server.clear_faults()
    server.replies = None
    return server


@pytest.fixture
def visitor() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@contextmanager
def posted(visitor: requests.Session, url: str, text: str) -> Iterator[requests.Response]:
    with visitor.post(
        f"{url}/messages", json={"text": text}, stream=True, timeout=LIMIT
    ) as response:
        assert response.status_code == 200
        yield response


def events_in(response: requests.Response) -> Iterator[Event]:
    """The events of a response, which must be framed as they are here, and in no other way."""
    rest = b""
    for chunk in response.iter_content(chunk_size=None):
        *blocks, rest = (rest + chunk).split(b"\n\n")
        for block in blocks:
            found = re.fullmatch(r"event: (\w+)\ndata: (\{.*\})", block.decode("ascii"))
            assert found is not None, block
            yield found[1], json.loads(found[2])
    assert rest == b""


def sent(visitor: requests.Session, url: str, text: str) -> list[Event]:
    with posted(visitor, url, text) as response:
        return list(events_in(response))


def said(events: list[Event]) -> str:
    return "".join(data["delta"] for name, data in events if name == "part")


def listed(visitor: requests.Session, url: str) -> list[str]:
    messages = visitor.get(f"{url}/messages", timeout=LIMIT).json()
    assert [message["role"] for message in messages] == ["user", "assistant"] * (len(messages) // 2)
    return [message["text"] for message in messages]


# --- answers --------------------------------------------------------------------------------------


def test_an_answer_comes_as_events(
    url: str, server: ChatGPTServer, visitor: requests.Session
) -> None:
    server.replies = [Answer(parts=["Grüße,", "\n\ndata: ", "\u2028 <b>🙂</b>"])]

    with posted(visitor, url, "Hello!") as response:
        events = list(events_in(response))

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    assert [name for name, _ in events] == ["part"] * 3 + ["done"]
    assert said(events) == "Grüße,\n\ndata: \u2028 <b>🙂</b>"
    assert events[-1] == ("done", {"finish_reason": "stop"})
    cookie = response.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=strict", "max-age="))


def test_parts_come_while_the_answer_is_made(
    url: str, server: ChatGPTServer, visitor: requests.Session
) -> None:
    parts = Held("Once upon ", "a time.")
    server.replies = [Answer(parts=parts)]

    with posted(visitor, url, "A tale?") as response:
        events = events_in(response)
        assert next(events) == ("part", {"delta": "Once upon "})
        parts.let_go()
        assert said(list(events)) == "a time."


def test_a_conversation_goes_on_by_its_cookie(
    url: str, server: ChatGPTServer, visitor: requests.Session
) -> None:
    first = said(sent(visitor, url, "Name a colour."))
    second = said(sent(visitor, url, "Another one."))

    assert "That is message 2 of our conversation; it began with: Name a colour." in second
    assert listed(visitor, url) == ["Name a colour.", first, "Another one.", second]
    assert len({request.client_port for request in server.requests}) == 1  # one client, kept open


def test_nobody_sees_the_conversation_of_another_one(
    url: str, server: ChatGPTServer, visitor: requests.Session
) -> None:
    sent(visitor, url, "My secret.")
    whole = visitor.cookies["conversation"]

    for guess in (whole[:8], whole[:-1], whole.upper(), "", "%"):
        with requests.Session() as other:
            other.trust_env = False
            other.cookies.set("conversation", guess)
            assert listed(other, url) == []
            assert "first message" in said(sent(other, url, "Go on."))
            assert other.cookies.get_dict()["conversation"] != whole


def test_a_conversation_is_deleted_for_good(
    url: str, server: ChatGPTServer, visitor: requests.Session, folder: Path
) -> None:
    sent(visitor, url, "Forget me.")
    cookie = visitor.cookies["conversation"]

    answer = visitor.delete(f"{url}/messages", timeout=LIMIT)

    assert (answer.status_code, len(visitor.cookies)) == (204, 1)
    assert visitor.cookies["conversation"] != cookie
    with SQLiteStore(folder / "web_service.db") as store:
        assert store.conversation_messages(cookie) == []
    assert "first message" in said(sent(visitor, url, "Hello again."))


def test_what_is_being_answered_is_deleted_too(
    url: str, server: ChatGPTServer, visitor: requests.Session, folder: Path
) -> None:
    sent(visitor, url, "Forget me.")
    cookie = visitor.cookies["conversation"]
    held = [Held("Once upon ", "a time.") for _ in range(2)]
    server.replies = [Answer(parts=parts) for parts in held]
    with requests.Session() as other_visitor:
        other_visitor.trust_env = False
        with (
            posted(visitor, url, "A tale?") as response,
            posted(other_visitor, url, "A tale?") as other_response,
        ):
            events, other_events = events_in(response), events_in(other_response)
            assert next(events)[0] == next(other_events)[0] == "part"
            with requests.Session() as other_page:
                other_page.trust_env = False
                other_page.cookies.set("conversation", cookie)
                assert other_page.delete(f"{url}/messages", timeout=LIMIT).status_code == 204
            assert list(events) == []  # it ends, and is not done
            until(lambda: any(request.is_disconnected for request in server.requests))
            for parts in held:
                parts.let_go()
            assert list(other_events)[-1][0] == "done"  # another visitor's goes on

    with SQLiteStore(folder / "web_service.db") as store:
        assert store.conversation_messages(cookie) == []


def test_two_pages_of_a_new_visitor_have_one_conversation(
    url: str, server: ChatGPTServer, visitor: requests.Session
) -> None:
    page = {"sec-fetch-site": "same-origin"}
    visitor.get(f"{url}/messages", headers=page, timeout=LIMIT)
    cookie = visitor.cookies["conversation"]

    visitor.get(f"{url}/messages", headers=page, timeout=LIMIT)
    sent(visitor, url, "Hello!")

    assert visitor.cookies["conversation"] == cookie


# --- what cannot be sent --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"no JSON", 400),
        (b"\xff", 400),
        (b'["text"]', 400),
        (b'{"words": "Hi"}', 400),
        (b'{"text": 7}', 400),
        (b'{"text": " \\n "}', 400),
        (rb'{"text": "\ud800"}', 400),
        (b"[" * 60_000, 400),
        (json.dumps({"text": "a" * 8_001}).encode(), 400),
        (b" " * 100_000, 413),
    ],
    ids=lambda each: repr(each[:16]) if isinstance(each, bytes) else None,
)
def test_what_is_no_message_is_refused_and_not_sent(
    body: bytes, status: int, url: str, server: ChatGPTServer, visitor: requests.Session
) -> None:
    answer = visitor.post(f"{url}/messages", data=body, headers=JSON, timeout=LIMIT)

    assert answer.status_code == status
    assert set(answer.json()) == {"message"}
    assert "set-cookie" not in answer.headers
    assert server.requests == []


def test_a_body_of_unknown_length_is_refused(
    url: str, server: ChatGPTServer, visitor: requests.Session
) -> None:
    pieces = iter([b'{"text": ', b'"Hi"}'])

    answer = visitor.post(f"{url}/messages", data=pieces, headers=JSON, timeout=LIMIT)

    assert answer.status_code == 413
    assert server.requests == []


def test_the_longest_message_can_be_sent_in_any_spelling(
    url: str, server: ChatGPTServer, visitor: requests.Session
) -> None:
    server.replies = ["Long."]

    assert said(sent(visitor, url, "\N{SLIGHTLY SMILING FACE}" * 8_000)) == "Long."


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        # What a form of another site can send, with JSON as its text.
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "text/plain; charset=application/json"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({}, 415),
        ({"content-type": "application/json", "sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "application/json", "sec-fetch-site": "same-site"}, 403),
    ],
    ids=str,
)
def test_another_site_can_do_nothing_in_the_name_of_a_visitor(
    headers: dict[str, str],
    status: int,
    url: str,
    server: ChatGPTServer,
    visitor: requests.Session,
) -> None:
    sent(visitor, url, "Hello!")
    server.requests.clear()
    site = {name: value for name, value in headers.items() if name == "sec-fetch-site"}

    answers = [visitor.post(f"{url}/messages", data='{"text": "Hi"}', headers=headers)]
    if site:
        answers.append(visitor.delete(f"{url}/messages", headers=site, timeout=LIMIT))
        answers.append(visitor.get(f"{url}/messages", headers=site, timeout=LIMIT))

    for answer in answers:
        assert answer.status_code == status
        assert set(answer.json()) == {"message"}
        assert "set-cookie" not in answer.headers
    assert server.requests == []
    assert listed(visitor, url)[0] == "Hello!"


def test_a_link_of_another_site_does_not_replace_the_cookie(url: str) -> None:
    """Such a request comes without the cookie, and, of a page that is not secure, without a word of who sent it."""
    for path in ("", "messages"):
        assert "set-cookie" not in requests.get(f"{url}/{path}", timeout=LIMIT).headers


# --- what goes wrong ------------------------------------------------------------------------------

CANARY = "sk-canary-9f3a"
LEAK = {"message": f"Traceback: the key {CANARY} of org-1 is odd.", "type": "server_error"}


@pytest.mark.parametrize(
    ("faults", "kind", "words"),
    [
        ([Fault(status=400)], "BadRequestError", "could not be made"),
        (
            [Fault(status=401, body=f"{CANARY} is wrong")],
            "AuthenticationError",
            "could not be made",
        ),
        (
            [Fault(status=429, headers={"retry-after-ms": "1"})] * 3,
            "RateLimitError",
            "Too many questions",
        ),
        ([Fault(error_after=3, error=LEAK)], "StreamError", "could not be made"),
        ([Fault(cut_after=900)], "StreamInterruptedError", "could not be made"),
    ],
    ids=lambda each: each if isinstance(each, str) and each.endswith("Error") else "",
)
def test_an_error_is_an_event_that_names_its_kind(
    faults: list[Fault],
    kind: str,
    words: str,
    url: str,
    server: ChatGPTServer,
    visitor: requests.Session,
    folder: Path,
) -> None:
    server.inject(*faults)

    with posted(visitor, url, "Hello!") as response:
        events = list(events_in(response))

    assert {name for name, _ in events[:-1]} <= {"part"}
    name, data = events[-1]
    assert (name, data["kind"], words in data["message"]) == ("failed", kind, True)
    assert "Traceback" not in str(events)
    assert CANARY not in str(events)
    assert listed(visitor, url) == []
    assert "first message" in said(sent(visitor, url, "Once more."))


def test_who_goes_away_ends_the_answer(
    url: str, server: ChatGPTServer, visitor: requests.Session
) -> None:
    sent(visitor, url, "Before.")
    server.replies = [Answer(parts=Held("Once upon ", "a time."))]

    with posted(visitor, url, "A long tale?") as response:
        assert next(events_in(response))[1] == {"delta": "Once upon "}

    # The answer is held, and sends nothing: what ends it is that its reader is gone.
    until(lambda: server.requests[-1].is_disconnected)
    assert listed(visitor, url)[0::2] == ["Before."]
    server.replies = None
    assert "That is message 2 of our conversation" in said(sent(visitor, url, "After."))


def test_who_goes_away_at_once_ends_the_answer(
    url: str, server: ChatGPTServer, visitor: requests.Session
) -> None:
    server.replies = [Answer(parts=Held("", "Too late."))]  # nothing is said yet

    with posted(visitor, url, "Hello?"):
        until(lambda: len(server.requests) == 1)

    until(lambda: server.requests[-1].is_disconnected)
    assert listed(visitor, url) == []


def test_a_slow_reader_holds_the_answer_back(
    url: str, server: ChatGPTServer, visitor: requests.Session
) -> None:
    parts = ["a" * 65_536] * 1_000  # more than all buffers on the way hold
    server.replies = [Answer(parts=parts)]

    def is_settled() -> bool:
        before = server.requests[-1].parts_sent
        time.sleep(0.2)
        return server.requests[-1].parts_sent == before > 1

    with posted(visitor, url, "A very long tale?") as response:
        assert next(response.iter_content(chunk_size=10))
        until(is_settled)
        assert server.requests[-1].parts_sent < len(parts)

    until(lambda: server.requests[-1].is_disconnected)
    assert listed(visitor, url) == []


@pytest.mark.parametrize("waits_in", ["events", "send"])
@pytest.mark.parametrize("version", ["2.3", "2.4"])
def test_a_stream_ends_with_its_reader_on_any_server(version: str, waits_in: str) -> None:
    """What `StreamingResponse` leaves to the version of ASGI that a server speaks."""
    application = runpy.run_path(str(EXAMPLES / "web_service" / "app.py"))
    log: list[str] = []

    async def events() -> AsyncGenerator[str, None]:
        try:
            yield "event: part\ndata: {}\n\n"
            await anyio.sleep_forever()
        finally:
            log.append("closed")

    async def receive() -> Message:
        await sent.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            sent.set()
            if waits_in == "send":
                await anyio.sleep_forever()

    async def answer() -> None:
        with anyio.fail_after(LIMIT):
            scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": version}}
            await application["EventStream"](generator, "id", running)(scope, receive, send)
        log.append("ended")

    sent, generator = anyio.Event(), events()
    running: set[object] = set()
    anyio.run(answer)

    assert log == ["closed", "ended"]
    assert running == set()


def test_the_page_allows_nothing_but_what_it_holds(url: str, visitor: requests.Session) -> None:
    page = visitor.get(url, timeout=LIMIT)

    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert re.findall(r"https?://", page.text) == []
