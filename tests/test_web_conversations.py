"""One table of conversations of the web flow on three engines: whatever can be seen is the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from chatgpt.testing import Answer, Fault, RawAnswer
from tests.core.web.made import (
    CALL,
    CONVERSATION,
    DELTAS,
    FINISH,
    PARENT,
    SNAPSHOTS,
    TEXT,
    TOOL,
    deltas,
    events,
    message,
    old_message,
    root,
    snapshot,
)
from tests.engines import Engine
from tests.recordings import WEB_GOLDEN, golden
from tests.scenes import Scene, Table
from tests.test_golden_web import METHODS, OPTIONS, scripted

TABLE = Table()
case, cases = TABLE.case, TABLE.variants

DIALECTS = {"snapshots": "snapshots", "deltas": "deltas"}


def streamed(body: bytes) -> RawAnswer:
    """A stream that ends with its connection."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    return RawAnswer([head + body])


def raw(scene: Scene) -> Any:
    return lambda event: scene.note("event", event)


# --- talking -----------------------------------------------------------------------------------


@cases("thread", DIALECTS)
def a_thread(scene: Scene, dialect: str) -> None:
    scene.server.web.dialect = dialect  # type: ignore[assignment] # it is one of both
    for make in (scene.use_proxy, scene.use_session):
        make()
        first = scene.progress("What is a monad?", on_conversation_response=raw(scene))
        ids: Any = {"parent_message_id": first.id, "conversation_id": first.conversation_id}
        scene.stream("Shorter.", **ids)
        scene.send("Again.", action="variant", timeout=30, **ids)


@cases("chat", DIALECTS)
def a_chat(scene: Scene, dialect: str) -> None:
    scene.server.web.dialect = dialect  # type: ignore[assignment] # it is one of both
    chat = scene.use_session().conversation()
    scene.take_down(lambda: chat.send("One", on_progress=lambda part: scene.note("part", part)))
    with chat.stream("Two") as stream:
        scene.note("parts", list(stream))
    scene.note("ids", str(chat.conversation_id), str(chat.parent_message_id))


@case
def settings(scene: Scene) -> None:
    scene.use_proxy(model="gpt-4o", headers={"X-Extra": "1", "authorization": "clash"})
    scene.send("Grüße 你好 👋", message_id=PARENT)
    scene.use_session(
        model="o3", user_agent="Mozilla/5.0 (X11)", headers={"chatgpt-account-id": "a"}
    )
    scene.send("hi")


@case
def the_session(scene: Scene) -> None:
    client = scene.use_session()
    for name in ("init_session", "refresh_session", "get_is_authenticated", "close_session", "get_is_authenticated", "reset_session"):  # fmt: skip
        scene.take_down(lambda name=name: str(getattr(client, name)()))  # type: ignore[misc] # it is called at once
    scene.note("user", client.user)
    scene.server.web.sign_out()
    scene.server.web.expire_access_tokens()
    for name in ("get_is_authenticated", "refresh_session", "reset_session"):
        scene.attempt(lambda name=name: scene.take_down(lambda: str(getattr(client, name)())))  # type: ignore[misc] # it is called at once
    scene.attempt(lambda: scene.send("hi"))


@case
def stored_conversations(scene: Scene) -> None:
    client = scene.use_session()
    first, second = scene.send("One"), scene.send("Two")
    identifier = first.conversation_id
    for ask in (
        lambda: list(client.list_conversations(page_size=1)),
        lambda: client.get_conversation(identifier),
        lambda: client.generate_title(identifier, first.id),
        lambda: client.set_title(identifier, "Neu 🙂"),
        lambda: client.archive(identifier),
        lambda: list(client.list_conversations(is_archived=True)),
        lambda: client.send_feedback(identifier, first.id, "thumbsDown", tags=["false"], text="x"),
        lambda: client.send_moderation("text"),
        lambda: client.send_message("Go on", conversation_id=second.conversation_id),
        lambda: client.delete_conversation(identifier),
        lambda: client.get_conversation(identifier),
        lambda: client.get_conversation("nonsense"),
        lambda: client.list_conversations(page_size=0),
    ):
        scene.attempt(lambda ask=ask: scene.take_down(ask))  # type: ignore[misc] # it is called at once


@case
def plain_text(scene: Scene) -> None:
    scene.server.replies = lambda _: "# Title\n\nSome **bold** and `code`."
    scene.use_session(markdown=False)
    scene.progress("hi")
    scene.send("hi")


@case
def tokens_that_expire(scene: Scene) -> None:
    numbers: Iterator[int] = iter(range(9))

    def get_access_token(**given: object) -> str:
        scene.note("asked", given)
        return f"t-{next(numbers)}"

    scene.use_proxy(
        access_token=None,
        get_access_token=get_access_token,
        email="e@x.de",
        password="p w",
    )
    for token in ("t-0", "t-2"):
        scene.server.web.accept(token)
    scene.send("hi")
    scene.server.web.expire_access_tokens()
    scene.server.web.accept("t-1")
    scene.stream("hi")
    scene.server.web.expire_access_tokens()
    scene.attempt(lambda: scene.send("hi"))


# --- what servers write ------------------------------------------------------------------------

BODIES = {
    "snapshots": events(*SNAPSHOTS),
    "deltas": events(*DELTAS),
    "no-status": events(snapshot(old_message("Hel")), snapshot(old_message("Hello")), done=False),
    "in-progress": events(snapshot(message("Hel")), done=False),
    "rewritten": events(snapshot(message("Hello wor")), snapshot(message("Hallo"))),
    "tools": events(
        *deltas(
            root(message("Let me look.", id="x"), 0),
            root(CALL, 1),
            root(TOOL, 2),
            root(message("", channel="final"), 3),
            {"p": TEXT, "o": "append", "v": "Found."},
            FINISH,
        )
    ),
    "error": events(snapshot(message("Hel")), snapshot(None, "Something went wrong")),
    "blocked": events(
        snapshot(message("Hel")), {"moderation_response": {"flagged": True, "blocked": True}}
    ),
    "poison": events(*deltas(root(message("Hel"), 0), {"p": f"{TEXT[:-1]}{10**9}", "o": "append", "v": "x"})),
    "nobody": events(snapshot(message("hi", "user"))),
    "stray": events(snapshot(message("Hel")), done=False) + b"Internal Server Error\n\n",
    "nothing": b"",
}  # fmt: skip


@cases("stream", BODIES)
def a_stream(scene: Scene, body: bytes) -> None:
    scene.use_proxy()
    for split in (None, 7):
        scene.server.inject(Fault(status=200, body=body, split_every=split, framing="close"))
        scene.attempt(lambda: scene.progress("hi", on_conversation_response=raw(scene)))
    scene.server.inject(streamed(body))
    scene.attempt(lambda: scene.stream("hi"))


REFUSALS: dict[str, tuple[int, object]] = {
    "expired": (401, {"detail": {"message": "expired", "type": "invalid_request_error", "param": None, "code": "token_expired"}}),
    "jwt": (401, {"detail": {"message": "no", "code": "invalid_jwt"}}),
    "token": (401, {"detail": "invalid_token"}),
    "cloudflare": (403, "<html><title>Just a moment...</title></html>"),
    "unusual": (403, {"detail": "Our systems have detected unusual activity from your system."}),
    "history": (404, {"detail": {"message": "Conversation not found", "code": "history_disabled_conversation_not_found"}}),
    "long": (413, {"detail": {"message": "too long", "code": "message_length_exceeds_limit"}}),
    "pydantic": (422, {"detail": [{"loc": ["body", "messages"], "msg": "field required", "type": "value_error.missing"}]}),
    "hour": (429, {"detail": "Too many requests in 1 hour. Try again later."}),
    "one": (429, {"detail": "Only one message at a time. Please allow any other responses to complete."}),
    "reload": (429, {"detail": "Something went wrong, please try reloading the conversation."}),
    "cap": (429, {"detail": {"code": "model_cap_exceeded", "message": "cap", "clears_in": 77}}),
    "server": (500, "Internal Server Error"),
    "dropped": (200, {"detail": {"type": "invalid_request_error", "message": "m", "code": "c"}}),
    "nested": (200, {"error": {"code": "error", "message": {"code": "token_expired", "message": "m"}, "param": None, "type": "401 Unauthorized"}}),
    "limited": (200, {"error": "Rate limited by proxy"}),
    "page": (200, "<html><title>Just a moment...</title></html>"),
    "unmodified": (304, ""),
    "redirect": (307, ""),
}  # fmt: skip


@cases("refusal", REFUSALS)
def a_refusal(scene: Scene, refusal: tuple[int, object]) -> None:
    """Of a message, of a stream, of the session and of another endpoint."""
    status, body = refusal
    fault = Fault(status=status, body=body if isinstance(body, str) else json.dumps(body))
    client = scene.use_session(max_retries=0)
    for play in (
        lambda: scene.take_down(client.refresh_session),
        lambda: scene.progress("hi"),
        lambda: scene.stream("hi"),
        lambda: scene.take_down(lambda: client.send_moderation("hi")),
    ):
        scene.server.inject(fault)
        scene.attempt(play)


FAULTS = {
    "reset": Fault(reset=True),
    "cut-head": Fault(cut_after=0),
    "cut": Fault(cut_after=900),
    "cut-reset": Fault(cut_after=900, reset=True),
    "split": Fault(split_every=5),
    "gzip": Fault(gzip=True),
    "crlf": Fault(crlf=True),
    "close": Fault(framing="close"),
    "no-done": Fault(omit_done=True),
    "stays-open": Fault(omit_done=True, stay_open=0.3),
    "error": Fault(error_after=4),
    "late": Fault(delay=0.4),
    "slow": Fault(part_delay=0.3),
}


@cases("fault", {f"{name}-{dialect}": (fault, dialect) for name, fault in FAULTS.items() for dialect in DIALECTS})  # fmt: skip
def a_fault(scene: Scene, given: tuple[Fault, str]) -> None:
    fault, dialect = given
    scene.server.web.dialect = dialect  # type: ignore[assignment] # it is one of both
    scene.server.replies = lambda _: Answer(text="Grüße 你好 👋", id=CONVERSATION)
    scene.use_proxy()
    timeout = 0.2 if fault.delay or fault.part_delay else 30.0
    for way in (scene.progress, scene.stream):
        scene.server.inject(fault)
        scene.attempt(lambda: way("hi", timeout=timeout))  # noqa: B023 - it is called at once


@case
def nobody_is_there(scene: Scene) -> None:
    """No connection is made: a message is sent again; here there is nobody the second time, too."""
    scene.use_proxy(
        api_reverse_proxy_url="http://127.0.0.1:9/backend-api/conversation", max_retries=1
    )
    scene.send("hi")


# --- the recordings ----------------------------------------------------------------------------


@cases("golden", {name: name for name in WEB_GOLDEN if golden(name)["construct"][0]["opts"].get("apiBaseUrl") or "u-" in name})  # fmt: skip
def a_golden_case(scene: Scene, name: str) -> None:
    recorded = golden(name)
    scene.server.inject(*(scripted(request["answered_with"]) for request in recorded["requests"]))
    options = recorded["construct"][0]["opts"]
    if "u-" in name:
        client = scene.use_proxy(access_token=options["accessToken"])
    else:
        client = scene.use_session(
            session_token=options["sessionToken"],
            clearance_token=options["clearanceToken"],
            access_token=options.get("accessToken"),
            markdown=options.get("markdown", True),
            max_retries=0,
        )
    for call in recorded["calls"]:
        if call.get("method") == "sendMessage":
            text, given = (*call["args"], {})[:2]
            given = {OPTIONS[key]: value for key, value in given.items() if key in OPTIONS}
            scene.attempt(lambda text=text, given=given: scene.progress(text, timeout=0.5, **given))  # type: ignore[misc] # it is called at once
        elif "method" in call:
            scene.attempt(lambda call=call: scene.take_down(lambda: str(getattr(client, METHODS[call["method"]])(*call["args"]))))  # type: ignore[misc] # it is called at once # fmt: skip


# --- playing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLE.cases)
def test_a_case_is_the_same_on_every_engine(engines: dict[str, Engine], name: str) -> None:
    assert len(TABLE.play(engines, name)) > 1, "something was seen"


def test_the_cases_give_replies_errors_and_parts() -> None:
    """A table whose cases all failed alike would show nothing."""
    kinds = TABLE.count_kinds()
    assert kinds["result"] > 100
    assert kinds["error"] > 100
    assert kinds["part"] > 200
    assert kinds["event"] > 100
