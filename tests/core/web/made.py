"""Settings, messages and streams of the web flow, for tests that step it by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any
from uuid import UUID

from attrs import evolve

from chatgpt import ChatMessage
from chatgpt.core.needs import Surroundings
from chatgpt.core.secrets import wrap, wrap_headers, wrap_url
from chatgpt.core.web.access import Access, GivenAccess
from chatgpt.core.web.options import (
    DEFAULT_ACCESS_TOKEN_TTL,
    ProxySettings,
    SessionSettings,
    proxy_settings,
    session_settings,
    web_call_options,
)
from chatgpt.core.web.send import send_message
from chatgpt.core.web.session import SessionAccess
from chatgpt.plain_text import load_plain_text
from tests.stepping import Stepper

CONVERSATION = "11111111-1111-4111-8111-111111111111"
REPLY = "22222222-2222-4222-8222-222222222222"
PARENT = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
TOKEN = "access-token-1"

COMMON: dict[str, Any] = dict.fromkeys(["model", "headers", "proxy", "session"]) | {
    "timeout": 600.0,
    "idle_timeout": 120.0,
    "connect_timeout": 10.0,
    "max_retries": 2,
    "debug": False,
}
PROXY: dict[str, Any] = COMMON | dict.fromkeys(
    ["access_token", "get_access_token", "email", "password", "session_token", "api_reverse_proxy_url"]
)  # fmt: skip
SESSION: dict[str, Any] = COMMON | {
    "session_token": "session-token-1",
    "clearance_token": "clearance-token-1",
    "access_token": None,
    "access_token_ttl": DEFAULT_ACCESS_TOKEN_TTL,
    "api_base_url": None,
    "backend_api_base_url": None,
    "user_agent": None,
    "markdown": True,
}


def _wrapped(given: dict[str, Any]) -> dict[str, Any]:
    for name in ("access_token", "email", "password", "session_token", "clearance_token"):
        if name in given:
            given[name] = wrap(given[name], f"OPENAI_{name.upper()}")
    given["headers"] = wrap_headers(given["headers"])
    for name in ("proxy", "api_reverse_proxy_url", "api_base_url", "backend_api_base_url"):
        if name in given:
            given[name] = wrap_url(given[name])
    return given


def proxy(environment: dict[str, object] | None = None, **given: Any) -> ProxySettings:
    if "get_access_token" not in given and environment is None:
        given.setdefault("access_token", TOKEN)
    return proxy_settings(_wrapped({**PROXY, **given}), environment or {})


def session(environment: dict[str, object] | None = None, **given: Any) -> SessionSettings:
    given = _wrapped({**SESSION, **given})
    return session_settings(given, environment or {}, load_plain_text)


def surroundings(stepper: Stepper) -> Surroundings:
    """The same moment, with ids that are uuids."""
    ids = count(1)
    return evolve(stepper.surroundings, new_id=lambda: str(UUID(int=next(ids), version=4)))


def access_of(settings: ProxySettings | SessionSettings, moment: Surroundings) -> Access:
    if isinstance(settings, SessionSettings):
        return SessionAccess(settings, moment)
    return GivenAccess(
        moment, settings.access_token, settings.get_access_token, settings.credentials
    )


def send(
    stepper: Stepper,
    text: str = "hi",
    *,
    settings: ProxySettings | SessionSettings | None = None,
    access: Access | None = None,
    wants_parts: bool = True,
    **given: Any,
) -> ChatMessage:
    """Send a message in the web flow."""
    settings = settings or proxy()
    moment = surroundings(stepper)
    options = web_call_options(settings, text, is_iterated=wants_parts, **given)
    access = access or access_of(settings, moment)
    return stepper.run(send_message(options, settings, access, moment))


# --- messages and streams --------------------------------------------------------------------


def message(text: str | None = "", role: str = "assistant", **fields: Any) -> dict[str, Any]:
    """A message of today's server."""
    content = {"content_type": "text", "parts": [] if text is None else [text]}
    return {
        "id": REPLY,
        "author": {"role": role, "name": None, "metadata": {}},
        "content": content,
        "status": "in_progress",
        "end_turn": None,
        "weight": 1.0,
        "metadata": {"model_slug": "gpt-4o"},
        "recipient": "all",
        **fields,
    }


def old_message(text: str, **fields: Any) -> dict[str, Any]:
    """A message of the first servers, which knew no status."""
    content = {"content_type": "text", "parts": [text]}
    return {"id": REPLY, "role": "assistant", "user": None, "content": content, "recipient": "all", **fields}  # fmt: skip


def snapshot(of: dict[str, Any] | None, error: object = None) -> dict[str, Any]:
    return {"message": of, "conversation_id": CONVERSATION, "error": error}


def root(of: dict[str, Any], channel: int) -> dict[str, Any]:
    return {"p": "", "o": "add", "v": snapshot(of), "c": channel}


def events(*items: object, done: bool = True, crlf: bool = False) -> bytes:
    """A stream: objects, or pairs of a name and an object."""
    line_end = "\r\n" if crlf else "\n"

    def lines() -> Iterator[str]:
        for item in items:
            name, value = item if isinstance(item, tuple) else (None, item)
            if name is not None:
                yield f"event: {name}{line_end}"
            yield f"data: {json.dumps(value, ensure_ascii=False)}{2 * line_end}"
        if done:
            yield f"data: [DONE]{2 * line_end}"

    return "".join(lines()).encode("utf-8", "surrogatepass")


def deltas(*items: dict[str, Any]) -> list[tuple[str | None, object]]:
    """Events of the newer dialect; side events have a `type` and no name."""
    return [
        ("delta_encoding", "v1"),
        *((None if "type" in item else "delta", item) for item in items),
    ]


TEXT = "/message/content/parts/0"
FINISH: dict[str, Any] = {
    "p": "",
    "o": "patch",
    "v": [
        {"p": "/message/status", "o": "replace", "v": "finished_successfully"},
        {"p": "/message/end_turn", "o": "replace", "v": True},
        {"p": "/message/metadata", "o": "append", "v": {"finish_details": {"type": "stop"}}},
    ],
}
HIDDEN = message("", "system", id="a1", weight=0.0, metadata={"is_visually_hidden_from_conversation": True})  # fmt: skip
ECHO = message("hi", "user", id="a2")
THOUGHT = message("", id="a3", content={"content_type": "thoughts", "thoughts": []})
CALL = message("", id="a4", content={"content_type": "code", "text": "search()"}, recipient="web")
TOOL = message("results", "tool", id="a5", author={"role": "tool", "name": "web"})
MEMORY = message(None, id="a6", content={"content_type": "model_editable_context"})

SNAPSHOTS: Sequence[object] = [
    snapshot(HIDDEN),
    snapshot(ECHO),
    snapshot(message("Grü")),
    snapshot(message("Grüße 你")),
    snapshot(message("Grüße 你好 👋")),
    snapshot(message("Grüße 你好 👋", status="finished_successfully", end_turn=True)),
    {"conversation_id": CONVERSATION, "message_id": REPLY, "is_completion": True, "moderation_response": {"flagged": False, "blocked": False, "moderation_id": "modr-1"}},
]  # fmt: skip
"""The older dialect, as it was in 2024."""

DELTAS: Sequence[object] = deltas(
    {"type": "resume_conversation_token", "token": "x", "conversation_id": CONVERSATION},
    root(HIDDEN, 0),
    root(ECHO, 1),
    {"type": "input_message", "input_message": ECHO, "conversation_id": CONVERSATION},
    root(MEMORY, 2),
    root(THOUGHT, 3),
    root(CALL, 4),
    {"p": "/message/content/text", "o": "append", "v": "; more()"},
    root(TOOL, 5),
    root(message("", channel="final"), 6),
    {"type": "message_marker", "marker": "user_visible_token", "event": "first"},
    {"p": TEXT, "o": "append", "v": "Grü"},
    {"v": "ße"},
    {"v": " 你"},
    {"p": "", "o": "patch", "v": [{"p": TEXT, "o": "append", "v": "好"}, {"p": "/message/metadata/token_count", "o": "replace", "v": 5}]},
    {"v": [{"p": TEXT, "o": "append", "v": " 👋"}]},
    FINISH,
    {"type": "server_ste_metadata", "metadata": {"x": 1}},
    {"type": "message_stream_complete", "conversation_id": CONVERSATION},
    {"type": "title_generation", "title": "Greetings", "conversation_id": CONVERSATION},
    {"type": "conversation_detail_metadata", "limits_progress": [{"feature_name": "x", "remaining": 1}]},
)  # fmt: skip
"""The newer dialect, with all that has been seen in it."""
