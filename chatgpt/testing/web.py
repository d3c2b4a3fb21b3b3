"""ChatGPT's own backend on the loopback interface: sessions, access tokens, conversations.

It keeps its conversations as trees, refuses what the real one refuses, in its words, and answers
messages with whatever the server's responder says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from threading import Lock
from time import time
from typing import Any, Final, Literal, TypeAlias, TypedDict, get_args
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from attrs import frozen

from chatgpt.testing.faults import Fault
from chatgpt.testing.requests import RecordedRequest
from chatgpt.testing.responders import Answer, RawAnswer
from chatgpt.testing.web_events import (
    Streamed,
    delta_events,
    finished,
    hidden_message,
    new_message,
    snapshot_events,
    thoughts_message,
)

Dialect: TypeAlias = Literal["snapshots", "deltas"]

SESSION_COOKIE: Final = "__Secure-next-auth.session-token"
CLEARANCE_COOKIE: Final = "cf_clearance"
EXPIRED: Final = "Your authentication token has expired. Please try signing in again."
CLOUDFLARE_PAGE: Final = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>"
DEFAULT_LIMIT: Final = 20


USER: Final = {
    "id": "user-test",
    "name": "A. Tester",
    "email": "tester@example.com",
    "image": "https://example.com/a.png",
    "picture": "https://example.com/a.png",
    "groups": [],
    "features": [],
}


class ProxyOptions(TypedDict):
    """The options of a `ChatGPTUnofficialProxyAPI` for a server."""

    access_token: str
    api_reverse_proxy_url: str


class SessionOptions(TypedDict):
    """The options of a `ChatGPTSessionAPI` for a server."""

    session_token: str
    clearance_token: str
    api_base_url: str
    backend_api_base_url: str


@frozen
class WebResponse:
    """What is answered: one body, or the events of a stream.

    Attributes:
        status: the HTTP status.
        parts: the body in pieces, each of which is written by itself.
        content_type: the header of that name.
    """

    status: int
    parts: Iterable[bytes]
    content_type: str = "application/json"


class WebBackend:
    """The state of the backend, and its endpoints.

    Attributes:
        dialect: how streams are written: as whole `"snapshots"`, or as `"deltas"` (`delta_encoding`
            v1). It can be set at any time.
        session_token (str | None): the session that is signed in; `None` when it was signed out.
        clearance_token (str): the value of Cloudflare's cookie, without which the session's endpoint answers
            with Cloudflare's page.
        is_blocked (Callable[[str], bool]): whether the moderation takes a reply back: a function of its text; by
            default it takes none.
        conversations (dict[str, dict[str, Any]]): those that the server keeps, by their ids, as it answers them.
        feedback (list[Mapping[str, Any]]): what was said of replies.
    """

    def __init__(self) -> None:
        self._dialect: Dialect = "snapshots"
        self.is_blocked: Callable[[str], bool] = lambda _: False
        self.session_token: str | None = "session-test"  # noqa: S105 - it opens nothing
        self.clearance_token = "clearance-test"  # noqa: S105
        self.conversations: dict[str, dict[str, Any]] = {}
        self.feedback: list[Mapping[str, Any]] = []
        self._valid_tokens: list[str] = []
        self._lock = Lock()

    @property
    def dialect(self) -> Dialect:
        """How streams are written."""
        return self._dialect

    @dialect.setter
    def dialect(self, dialect: Dialect) -> None:
        if dialect not in get_args(Dialect):
            raise ValueError(f"dialect must be 'snapshots' or 'deltas', not {dialect!r}.")
        self._dialect = dialect

    def access_token(self) -> str:
        """Make an access token, which is valid until it expires."""
        token = f"access-{uuid4().hex}"
        self.accept(token)
        return token

    def valid_token(self) -> str:
        """An access token that is valid: the last one, or a new one."""
        return self._valid_tokens[-1] if self._valid_tokens else self.access_token()

    def accept(self, token: str) -> None:
        """Accept an access token that was made elsewhere.

        Args:
            token: the token.
        """
        self._valid_tokens.append(token)

    def expire_access_tokens(self) -> None:
        """Let every access token expire that was made so far."""
        self._valid_tokens.clear()

    def sign_out(self) -> None:
        """End the session: it gives no access token any more."""
        self.session_token = None

    def answer(
        self,
        request: RecordedRequest,
        fault: Fault,
        reply: Callable[[RecordedRequest], Answer | RawAnswer],
        moderate: Callable[[str], Mapping[str, float]],
    ) -> WebResponse | RawAnswer:
        """Answer a request to `/api` or `/backend-api`. The server calls it.

        Args:
            request: the request.
            fault: how the answer goes wrong.
            reply: makes the reply to a message.
            moderate: gives the scores of a text by category; from 0.5 on it is flagged.
        """
        url = urlsplit(request.path)
        cookies = _cookies_of(request)
        if url.path.startswith("/api/"):
            return self._session(url.path, cookies)
        if request.api_key not in self._valid_tokens:
            return _refusal(401, EXPIRED, "token_expired")
        try:
            body: Mapping[str, Any] = request.json if request.body else {}
        except (ValueError, RecursionError):
            return _invalid("body", "value is not a valid dict")
        steps = url.path.removeprefix("/backend-api/").split("/")
        match request.method, steps:
            case "POST", ["conversation"]:
                return self._converse(request, body, fault, reply)
            case "POST", ["moderations"]:
                flagged = any(score >= 0.5 for score in moderate(str(body.get("input"))).values())
                moderation_id = f"modr-{uuid4().hex}"
                return _json({"flagged": flagged, "blocked": False, "moderation_id": moderation_id})
            case "GET", ["conversations"]:
                return self._list(parse_qs(url.query))
            case "POST", ["conversation", "message_feedback"] if self._knows(
                str(body.get("conversation_id"))
            ):
                self.feedback.append(body)
                return _json({**body, "user_id": USER["id"]})
            case "POST", ["conversation", "gen_title", identifier] if self._knows(identifier):
                return self._make_title(self.conversations[identifier], body)
            case "GET", ["conversation", identifier] if self._knows(identifier):
                return _json(self.conversations[identifier])
            case "PATCH", ["conversation", identifier] if self._knows(identifier):
                return self._change(identifier, body)
            case _, ["conversation", *_]:
                return _refusal(404, "Conversation not found", "conversation_not_found")
        return _json({"detail": "Not Found"}, 404)

    def _knows(self, identifier: str) -> bool:
        return identifier in self.conversations

    def _session(self, path: str, cookies: Mapping[str, str]) -> WebResponse:
        if path != "/api/auth/session":
            return _json({"detail": "Not Found"}, 404)
        if cookies.get(CLEARANCE_COOKIE) != self.clearance_token:
            return WebResponse(403, [CLOUDFLARE_PAGE], "text/html; charset=UTF-8")
        if self.session_token is None or cookies.get(SESSION_COOKIE) != self.session_token:
            return _json({})
        expires = "2099-01-01T00:00:00.000Z"
        return _json({"user": USER, "expires": expires, "accessToken": self.access_token()})

    def _converse(
        self,
        request: RecordedRequest,
        body: Mapping[str, Any],
        fault: Fault,
        reply: Callable[[RecordedRequest], Answer | RawAnswer],
    ) -> WebResponse | RawAnswer:
        for field in ("action", "messages", "model", "parent_message_id"):
            if not body.get(field):
                return _invalid(field, "field required")
        given: Any = body["messages"][0] if isinstance(body["messages"], list) else None
        if not _is_prompt(given):
            return _invalid("messages", "value is not a valid message")
        identifier = body.get("conversation_id")
        if identifier is not None and not self._knows(str(identifier)):
            return _refusal(404, "Conversation not found", "conversation_not_found")
        parent_id = str(body["parent_message_id"])
        conversation = (
            self.conversations[identifier] if identifier else _new_conversation(parent_id)
        )
        mapping = conversation["mapping"]
        if parent_id not in mapping:
            reload = "Something went wrong, please try reloading the conversation."
            return _json({"detail": reload}, 429)
        question = new_message(
            "user", None, message_id=given["id"], content=given["content"], weight=1.0
        )
        request.thread = [*_thread(mapping, parent_id), _said(question)]
        answer = reply(request)
        if isinstance(answer, RawAnswer):
            return answer
        hidden = [hidden_message()] if identifier is None else []
        thoughts = [] if answer.reasoning is None else [thoughts_message(answer.reasoning)]
        replied = new_message("assistant", answer.whole_text, message_id=answer.id)
        replied = finished(replied, answer, body["model"])
        with self._lock:
            self.conversations[conversation["id"]] = conversation
            for message in (*hidden, question, *thoughts, replied):
                parent_id = _put(mapping, message, parent_id)
            conversation["current_node"] = replied["id"]
            conversation["update_time"] = time()
        write = delta_events if self.dialect == "deltas" else snapshot_events
        stream = Streamed(
            before=[*hidden, question, *thoughts],
            reply=replied,
            answer=answer,
            conversation_id=conversation["id"],
            title=conversation["title"],
            is_blocked=self.is_blocked(answer.whole_text),
        )
        events = write(stream, fault)
        return WebResponse(200, events, "text/event-stream; charset=utf-8")

    def _list(self, query: Mapping[str, Sequence[str]]) -> WebResponse:
        offset, limit = query.get("offset", ["0"])[0], query.get("limit", [str(DEFAULT_LIMIT)])[0]
        if not (offset.isdigit() and limit.isdigit()):
            return _invalid("limit", "value is not a valid integer")
        is_archived = query.get("is_archived", ["false"])[0] == "true"
        found = sorted(
            (item for item in self.conversations.values() if item["is_archived"] == is_archived),
            key=lambda item: -float(item["update_time"]),
        )
        items = [
            {**item, "mapping": None, "current_node": None}
            for item in found[int(offset) :][: int(limit)]
        ]
        page = {"limit": int(limit), "offset": int(offset)}
        return _json({"items": items, "total": len(found), **page})

    def _make_title(self, conversation: dict[str, Any], body: Mapping[str, Any]) -> WebResponse:
        if body.get("message_id") not in conversation["mapping"]:
            return _invalid("message_id", "no such message")
        first = next(iter(_thread(conversation["mapping"], body["message_id"])), {"content": ""})
        conversation["title"] = f"About {first['content']!r}"
        return _json({"title": conversation["title"]})

    def _change(self, identifier: str, changes: Mapping[str, Any]) -> WebResponse:
        if changes.get("is_visible") is False:
            del self.conversations[identifier]
        else:
            conversation = self.conversations[identifier]
            conversation |= {
                name: value for name, value in changes.items() if name in ("title", "is_archived")
            }
        return _json({"success": True})


def _is_prompt(given: object) -> bool:
    """Whether a message says something and has an id."""
    if not isinstance(given, dict) or not isinstance(given.get("id"), str):
        return False
    content = given.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return isinstance(parts, list) and bool(parts) and isinstance(parts[0], str)


def _new_conversation(root: str) -> dict[str, Any]:
    """A conversation without messages; the first one replies to its root."""
    return {
        "id": str(uuid4()),
        "title": "New chat",
        "create_time": time(),
        "update_time": time(),
        "mapping": {root: {"id": root, "message": None, "parent": None, "children": []}},
        "current_node": root,
        "is_archived": False,
    }


def _put(mapping: dict[str, Any], message: Mapping[str, Any], parent_id: str) -> str:
    """Put a message into a tree; one that is there already stays where it is."""
    identifier: str = message["id"]
    if identifier not in mapping:
        node = {"id": identifier, "message": message, "parent": parent_id, "children": []}
        mapping[identifier] = node
        mapping[parent_id]["children"].append(identifier)
    return identifier


def _thread(mapping: Mapping[str, Any], node_id: str | None) -> list[dict[str, object]]:
    """What was said up to a node, as a chat completion would hold it."""
    thread: list[dict[str, object]] = []
    while node_id is not None:
        node = mapping[node_id]
        message = node["message"]
        if message is not None and message["weight"] and "parts" in message["content"]:
            thread.insert(0, _said(message))
        node_id = node["parent"]
    return thread


def _said(message: Mapping[str, Any]) -> dict[str, object]:
    return {"role": message["author"]["role"], "content": message["content"]["parts"][0]}


def _cookies_of(request: RecordedRequest) -> Mapping[str, str]:
    try:
        cookies = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in cookies.items()}


def _json(value: object, status: int = 200) -> WebResponse:
    return WebResponse(status, [json.dumps(value, ensure_ascii=False).encode()])


def _refusal(status: int, message: str, code: str) -> WebResponse:
    kind = "invalid_request_error"
    return _json(
        {"detail": {"message": message, "type": kind, "param": None, "code": code}}, status
    )


def _invalid(field: str, message: str) -> WebResponse:
    item = {"loc": ["body", field], "msg": message, "type": "value_error.missing"}
    return _json({"detail": [item]}, 422)
