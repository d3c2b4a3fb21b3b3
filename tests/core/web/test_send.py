"""Sending in the web flow, stepped by hand: what is sent, and that it is sent once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatgpt import (
    APIConnectionError,
    APITimeoutError,
    ChatGPTError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
)
from chatgpt.core.needs import (
    LoadMessage,
    LoadThread,
    ReportProgress,
    SaveMessages,
    SendRequest,
    Sleep,
    TransportFailure,
)
from tests.core.web.made import (
    CONVERSATION,
    DELTAS,
    PARENT,
    REPLY,
    SNAPSHOTS,
    TOKEN,
    events,
    message,
    proxy,
    send,
    session,
    snapshot,
)
from tests.stepping import LOST, Answered, Clock, Stepper, json_answer

HELLO = events(snapshot(message("Hello", end_turn=True)))


def test_the_request() -> None:
    stepper = Stepper(Answered(HELLO))
    send(stepper, message_id=PARENT)
    request = stepper.of(SendRequest)[0].request
    assert (request.method, request.url) == ("POST", "https://chatgpt.com/backend-api/conversation")
    assert request.headers["authorization"].reveal() == f"Bearer {TOKEN}"
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["accept-encoding"] == "identity"
    assert stepper.bodies == [
        {
            "action": "next",
            "messages": [
                {"id": PARENT, "role": "user", "content": {"content_type": "text", "parts": ["hi"]}}
            ],
            "model": "auto",
            "parent_message_id": "00000000-0000-4000-8000-000000000001",
        }
    ]


def test_a_follow_up() -> None:
    stepper = Stepper(Answered(HELLO))
    send(stepper, parent_message_id=PARENT, conversation_id=CONVERSATION, action="variant")
    body = stepper.bodies[0]
    assert (body["action"], body["parent_message_id"]) == ("variant", PARENT)
    assert body["conversation_id"] == CONVERSATION


def test_the_clients_own_headers_stay() -> None:
    headers = {"Authorization": "Bearer clash", "Accept": "x/y", "Content-Type": "x/y", "Cookie": "a=b", "X-Extra": "1", "Accept-Encoding": "gzip"}  # fmt: skip
    stepper = Stepper(Answered(HELLO))
    send(stepper, settings=proxy(headers=headers))
    sent = stepper.of(SendRequest)[0].request.headers
    assert sent["authorization"].reveal() == f"Bearer {TOKEN}"
    assert (sent["accept"], sent["content-type"]) == ("text/event-stream", "application/json")
    assert (sent["x-extra"], sent["accept-encoding"], sent["cookie"].reveal()) == (
        "1",
        "gzip",
        "a=b",
    )

    stepper = Stepper(json_answer({"accessToken": "t"}), Answered(HELLO))
    send(stepper, settings=session(headers=headers))
    first, second = (need.request.headers for need in stepper.of(SendRequest))
    assert first["cookie"].reveal().startswith("cf_clearance=clearance-token-1; ")
    assert second["cookie"].reveal() == "cf_clearance=clearance-token-1"
    assert second["authorization"].reveal() == "Bearer t"


def test_the_store_is_never_asked() -> None:
    stepper = Stepper(Answered(HELLO))
    send(stepper)
    for kind in (LoadMessage, LoadThread, SaveMessages):
        assert stepper.of(kind) == []


def test_parts_are_made_for_those_who_take_them() -> None:
    for wants_parts in (True, False):
        stepper = Stepper(Answered(events(*SNAPSHOTS)))
        assert send(stepper, wants_parts=wants_parts).text == "Grüße 你好 👋"
        assert bool(stepper.of(ReportProgress)) == wants_parts


@pytest.mark.parametrize("stream", [SNAPSHOTS, DELTAS])
def test_the_raw_events(stream: list[Any]) -> None:
    """Those that are objects, before they have any effect; the caller may change his."""
    seen: list[Any] = []

    def take(event: dict[str, Any]) -> None:
        seen.append(dict(event))
        event.clear()

    stepper = Stepper(Answered(events(*stream)))
    reply = send(stepper, wants_parts=False, on_conversation_response=take)
    said = [item[1] if isinstance(item, tuple) else item for item in stream]
    assert seen == [item for item in said if isinstance(item, dict)]
    assert reply.text == "Grüße 你好 👋"


def test_the_reply() -> None:
    answered = Answered(HELLO, headers={"x-request-id": "req-1"})
    reply = send(Stepper(answered), parent_message_id=PARENT, conversation_id=CONVERSATION)
    assert (reply.id, reply.request_id, reply.usage, reply.context) == (REPLY, "req-1", None, None)
    assert reply.created_at is not None


# --- a message is sent once ------------------------------------------------------------------


STALE = TransportFailure("connection", "closed")
STALE.on_used_connection = True


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (json_answer({}, 500), InternalServerError),
        (json_answer({"detail": "Too many requests in 1 hour. Try again later."}, 429), RateLimitError),
        (json_answer({}, 503, {"retry-after": "1", "x-should-retry": "true"}), InternalServerError),
        (LOST, APIConnectionError),
        (STALE, APIConnectionError),
        (TransportFailure("read_timeout", "silence"), APITimeoutError),
    ],
)  # fmt: skip
def test_what_may_have_reached_the_server(answer: Any, kind: type[ChatGPTError]) -> None:
    stepper = Stepper(answer)
    with pytest.raises(kind):
        send(stepper)
    assert (len(stepper.of(SendRequest)), stepper.of(Sleep)) == (1, [])


@pytest.mark.parametrize("kind", ["unreached", "connect_timeout"])
def test_what_has_not(kind: Any) -> None:
    failure = TransportFailure(kind, "refused")
    stepper = Stepper(failure, failure, Answered(HELLO))
    assert send(stepper).text == "Hello"
    assert len(stepper.of(Sleep)) == 2
    stepper = Stepper(failure, failure, failure)
    with pytest.raises(APIConnectionError):
        send(stepper)


def test_the_same_id_is_sent_again_after_a_refusal() -> None:
    settings = proxy(get_access_token=lambda **_: "t")
    stepper = Stepper(json_answer({}, 401), Answered(HELLO))
    send(stepper, settings=settings)
    assert stepper.bodies[0] == stepper.bodies[1]


# --- where a conversation stands -------------------------------------------------------------


def test_only_the_id_of_the_conversation() -> None:
    mapping = {
        "n1": {"id": "n1", "parent": None, "message": message("a", "user", id="n1")},
        PARENT: {"id": PARENT, "parent": "n1", "message": message("b", id=PARENT)},
    }
    stepper = Stepper(
        json_answer({"accessToken": "t"}),
        json_answer({"mapping": mapping, "current_node": PARENT}),
        Answered(HELLO),
    )
    send(stepper, settings=session(), conversation_id=CONVERSATION)
    requests = [need.request for need in stepper.of(SendRequest)]
    assert requests[1].url == f"https://chatgpt.com/backend-api/conversation/{CONVERSATION}"
    assert requests[1].method == "GET"
    body = json.loads(requests[2].body)
    assert (body["conversation_id"], body["parent_message_id"]) == (CONVERSATION, PARENT)


def test_a_conversation_that_is_not_there() -> None:
    body = {"detail": {"message": "Conversation not found", "code": "history_disabled_conversation_not_found"}}  # fmt: skip
    stepper = Stepper(json_answer({"accessToken": "t"}), json_answer(body, 404))
    with pytest.raises(NotFoundError, match="Conversation not found"):
        send(stepper, settings=session(), conversation_id=CONVERSATION)


def test_one_deadline_for_all_of_it() -> None:
    clock = Clock()
    stepper = Stepper(json_answer({"accessToken": "t"}), Answered(1000.0), clock=clock)
    before = clock.seconds
    with pytest.raises(APITimeoutError) as caught:
        send(stepper, settings=session(), timeout=5)
    assert (caught.value.limit, clock.seconds - before) == ("total", 5)


@pytest.mark.parametrize("is_slow", ["session", "conversation"])
def test_documents_take_no_patience_from_the_stream(is_slow: str) -> None:
    """Each is slow, and none of them is silent."""
    clock = Clock()
    mapping = {PARENT: {"id": PARENT, "parent": None, "message": message("b", id=PARENT)}}
    documents = {
        "session": json.dumps({"accessToken": "t"}).encode(),
        "conversation": json.dumps({"mapping": mapping, "current_node": PARENT}).encode(),
    }

    def answered(name: str) -> Answered:
        body = documents[name]
        if name != is_slow:
            return Answered(body)
        pieces: list[bytes | float] = []
        for number in range(0, len(body), 10):
            pieces += [8.0, body[number : number + 10]]
        return Answered(*pieces)

    stepper = Stepper(answered("session"), answered("conversation"), Answered(5.0, HELLO), clock=clock)  # fmt: skip
    settings = session(idle_timeout=10.0)
    assert send(stepper, settings=settings, conversation_id=CONVERSATION).text == "Hello"


def test_events_after_the_end_are_nobodys() -> None:
    seen: list[Any] = []
    body = HELLO + events(snapshot(message("more")), done=False)
    send(Stepper(Answered(body)), on_conversation_response=seen.append)
    assert len(seen) == 1
    seen.clear()
    spaced = HELLO.replace(b"data: {", b"data:   {")
    send(Stepper(Answered(spaced)), on_conversation_response=seen.append)
    assert len(seen) == 1


def test_plain_text() -> None:
    stream = events(
        snapshot(message("**Bo")), snapshot(message("**Bold** and `co")), snapshot(message("**Bold** and `code`."))
    )  # fmt: skip
    stepper = Stepper(json_answer({"accessToken": "t"}), Answered(stream))
    reply = send(stepper, settings=session(markdown=False))
    assert reply.text == "Bold and code.\n"
    shown = ""
    for part in stepper.parts:
        shown = part.text if part.rewritten else shown + (part.delta or "")
        assert part.text == shown
    assert shown == reply.text
    stepper = Stepper(json_answer({"accessToken": "t"}), Answered(stream))
    assert send(stepper, settings=session(markdown=False), wants_parts=False).text == reply.text
