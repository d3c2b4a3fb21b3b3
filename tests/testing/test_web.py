"""ChatGPT's own backend on the loopback interface, asked with requests."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
import requests

from chatgpt.testing import Answer, ChatGPTServer, Fault, RawAnswer


def ask(
    server: ChatGPTServer, method: str, path: str, body: Any = None, token: str | None = None, **options: Any
) -> requests.Response:  # fmt: skip
    root = server.base_url.removesuffix("/v1")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return requests.request(method, root + path, json=body, **{"headers": headers, **options})


def body(text: str = "Hi", **fields: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [text]}
    return {
        "action": "next",
        "messages": [{"id": str(uuid4()), "role": "user", "content": content}],
        "model": "auto",
        "parent_message_id": str(uuid4()),
        **fields,
    }


@pytest.fixture
def token(chatgpt_server: ChatGPTServer) -> str:
    return chatgpt_server.web.access_token()


def events_of(response: requests.Response) -> list[tuple[str | None, Any]]:
    """Names and data of a stream."""
    events = []
    for block in response.text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        data = lines["data"]
        events.append((lines.get("event"), data if data == "[DONE]" else json.loads(data)))
    return events


def test_the_session(chatgpt_server: ChatGPTServer) -> None:
    web = chatgpt_server.web
    both = {"cf_clearance": web.clearance_token, "__Secure-next-auth.session-token": web.session_token or ""}  # fmt: skip
    session = ask(chatgpt_server, "GET", "/api/auth/session", cookies=both)
    assert session.json()["user"]["email"] == "tester@example.com"
    token = session.json()["accessToken"]
    assert (
        ask(chatgpt_server, "POST", "/backend-api/conversation", body(), token).status_code == 200
    )
    wrong = {**both, "__Secure-next-auth.session-token": "other"}
    assert ask(chatgpt_server, "GET", "/api/auth/session", cookies=wrong).json() == {}
    web.sign_out()
    assert ask(chatgpt_server, "GET", "/api/auth/session", cookies=both).json() == {}
    page = ask(chatgpt_server, "GET", "/api/auth/session")
    assert (page.status_code, "Just a moment" in page.text) == (403, True)
    assert ask(chatgpt_server, "GET", "/api/elsewhere").status_code == 404


def test_tokens_expire(chatgpt_server: ChatGPTServer, token: str) -> None:
    chatgpt_server.web.expire_access_tokens()
    refused = ask(chatgpt_server, "POST", "/backend-api/conversation", body(), token)
    assert (refused.status_code, refused.json()["detail"]["code"]) == (401, "token_expired")
    assert ask(chatgpt_server, "POST", "/backend-api/conversation", body()).status_code == 401


def test_snapshots(chatgpt_server: ChatGPTServer, token: str) -> None:
    chatgpt_server.replies = [Answer(text="one two", reasoning="hm")]
    events = events_of(ask(chatgpt_server, "POST", "/backend-api/conversation", body(), token))
    said = [
        event["message"] for _, event in events if isinstance(event, dict) and "message" in event
    ]
    assert [message["author"]["role"] for message in said] == ["system", "user", "assistant", "assistant", "assistant", "assistant"]  # fmt: skip
    assert said[2]["content"]["content_type"] == "thoughts"
    assert [message["content"]["parts"][0] for message in said[3:]] == ["one", "one two", "one two"]
    assert [message["status"] for message in said[3:]] == ["in_progress", "in_progress", "finished_successfully"]  # fmt: skip
    assert events[-2][1]["moderation_response"]["blocked"] is False
    assert events[-1] == (None, "[DONE]")


def test_deltas(chatgpt_server: ChatGPTServer, token: str) -> None:
    chatgpt_server.web.dialect = "deltas"
    chatgpt_server.replies = ["one two three"]
    events = events_of(ask(chatgpt_server, "POST", "/backend-api/conversation", body(), token))
    assert events[0] == ("delta_encoding", "v1")
    bare = [data for name, data in events if name == "delta" and list(data) == ["v"]]
    assert bare == [{"v": " two"}, {"v": " three"}]
    kinds = [data["type"] for _, data in events if isinstance(data, dict) and "type" in data]
    assert kinds == ["resume_conversation_token", "input_message", "message_stream_complete", "title_generation"]  # fmt: skip


@pytest.mark.parametrize("dialect", ["snapshots", "deltas"])
def test_streams_that_fail(chatgpt_server: ChatGPTServer, token: str, dialect: Any) -> None:
    chatgpt_server.web.dialect = dialect
    chatgpt_server.inject(Fault(error_after=3), Fault(omit_done=True))
    events = events_of(ask(chatgpt_server, "POST", "/backend-api/conversation", body(), token))
    assert len(events) == 4
    assert events[-1][1]["error"] == "The server had an error while answering."
    events = events_of(ask(chatgpt_server, "POST", "/backend-api/conversation", body(), token))
    assert events[-1] != (None, "[DONE]")


def test_an_unfinished_answer(chatgpt_server: ChatGPTServer, token: str) -> None:
    for dialect in ("snapshots", "deltas"):
        chatgpt_server.web.dialect = dialect
        chatgpt_server.replies = [Answer(text="cut", finish_reason=None)]
        text = ask(chatgpt_server, "POST", "/backend-api/conversation", body(), token).text
        assert '"end_turn": true' not in text.partition("assistant")[2]


def test_a_conversation_is_kept(chatgpt_server: ChatGPTServer, token: str) -> None:
    ask(chatgpt_server, "POST", "/backend-api/conversation", body("One"), token)
    (identifier,) = chatgpt_server.web.conversations
    kept = ask(chatgpt_server, "GET", f"/backend-api/conversation/{identifier}", None, token).json()
    follow_up = body("Two", conversation_id=identifier, parent_message_id=kept["current_node"])
    events = events_of(ask(chatgpt_server, "POST", "/backend-api/conversation", follow_up, token))
    assert "message 2" in json.dumps(events)
    assert [message["content"] for message in chatgpt_server.requests[-1].messages][::2] == ["One", "Two"]  # fmt: skip
    listing = ask(chatgpt_server, "GET", "/backend-api/conversations", None, token).json()
    assert (listing["total"], listing["items"][0]["id"], listing["limit"]) == (1, identifier, 20)


UNKNOWN = "0f4b7c1e-5d2a-4c3b-9e8f-6a7b8c9d0e1f"
"""The id of no conversation; the same in every run, for it stands in the names of tests."""


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("POST", "/conversation", {}, 422),
        ("POST", "/conversation", body(messages=[]), 422),
        ("POST", "/conversation", [], 422),
        ("POST", "/conversation", body(messages=[{}]), 422),
        ("POST", "/conversation", body(messages=["a"]), 422),
        ("POST", "/conversation", body(messages={"a": 1}), 422),
        ("POST", "/conversation", body(messages=[{"id": "x", "content": {"parts": []}}]), 422),
        ("POST", "/conversation", body(conversation_id=["a"]), 404),
        ("GET", "/conversations?offset=x", None, 422),
        ("GET", "/conversations?limit=-1", None, 422),
        ("POST", "/conversation", body(conversation_id=UNKNOWN), 404),
        ("GET", f"/conversation/{UNKNOWN}", None, 404),
        ("PATCH", f"/conversation/{UNKNOWN}", {"title": "x"}, 404),
        ("POST", f"/conversation/gen_title/{UNKNOWN}", {}, 404),
        ("POST", "/conversation/message_feedback", {"conversation_id": UNKNOWN}, 404),
        ("GET", "/elsewhere", None, 404),
    ],
)
def test_what_is_refused(
    chatgpt_server: ChatGPTServer, token: str, method: str, path: str, sent: Any, status: int
) -> None:
    answer = ask(chatgpt_server, method, f"/backend-api{path}", sent, token)
    assert answer.status_code == status
    assert "detail" in answer.json()


def test_a_parent_that_is_not_there(chatgpt_server: ChatGPTServer, token: str) -> None:
    ask(chatgpt_server, "POST", "/backend-api/conversation", body("One"), token)
    (identifier,) = chatgpt_server.web.conversations
    stale = ask(chatgpt_server, "POST", "/backend-api/conversation", body(conversation_id=identifier), token)  # fmt: skip
    assert (stale.status_code, "reloading" in stale.json()["detail"]) == (429, True)
    title = ask(chatgpt_server, "POST", f"/backend-api/conversation/gen_title/{identifier}", {"message_id": "x"}, token)  # fmt: skip
    assert title.status_code == 422


def test_raw_answers_and_a_responder_that_fails(chatgpt_server: ChatGPTServer, token: str) -> None:
    raw = RawAnswer([b"HTTP/1.1 418 I'm a teapot\r\ncontent-length: 0\r\n\r\n"])
    chatgpt_server.replies = [raw]
    assert (
        ask(chatgpt_server, "POST", "/backend-api/conversation", body(), token).status_code == 418
    )
    assert (
        ask(chatgpt_server, "POST", "/backend-api/conversation", body(), token).status_code == 500
    )
    assert chatgpt_server.web.conversations == {}
    chatgpt_server.inject(raw)
    assert requests.get(f"{chatgpt_server.base_url}/models").status_code == 418


def test_broken_cookies(chatgpt_server: ChatGPTServer) -> None:
    page = ask(chatgpt_server, "GET", "/api/auth/session", headers={"cookie": "a[]=b;;=;"})
    assert page.status_code == 403


def test_a_dialect_that_is_none(chatgpt_server: ChatGPTServer) -> None:
    with pytest.raises(ValueError, match="dialect must be 'snapshots' or 'deltas', not 'delta'"):
        chatgpt_server.web.dialect = "delta"  # type: ignore[assignment] # that is the point


def test_the_failure_of_a_responder_ends_the_connection(chatgpt_server: ChatGPTServer) -> None:
    chatgpt_server.replies = lambda _: 5  # type: ignore[assignment, return-value] # that is the point
    for _ in range(20):
        answer = ask(chatgpt_server, "POST", "/backend-api/conversation", body(), chatgpt_server.web.access_token())  # fmt: skip
        assert (answer.status_code, answer.headers["connection"]) == (500, "close")
