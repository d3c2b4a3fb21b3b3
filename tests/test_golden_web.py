"""The original clients of the web flow, replayed: the same calls give the same requests and results.

The cases of versions 2, 3, 4 and 5. Where the SDK differs on purpose, the case stands in `DIFFERENT`
with the reason, and has a test of its own below.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chatgpt import (
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BlockedByCloudflareError,
    ChatGPTError,
    ChatMessage,
    InvalidResponseError,
    NotFoundError,
    StreamError,
    TokenExpiredError,
    UnprocessableEntityError,
)
from chatgpt.testing import ChatGPTServer, RawAnswer
from tests.engines import Engine
from tests.recordings import WEB_GOLDEN, golden
from tests.test_golden import raw_answer

DIFFERENT = {
    "v3-bad-json": "a typed error with the partial text",
    "v3-defaults": "the default host is ChatGPT's of today",
    "v3-end-without-done": "complete where the dialect has no status; the original hangs",
    "v3-error-401": "a refused token is renewed once, and the call repeated",
    "v3-timeout-session": "`timeout` bounds the whole call, the session included",
    "v4u-no-validation": "ids are checked",
    "v5u-detail-error": "a StreamError with the code",
    "v5u-end-without-done": "complete where the dialect has no status; the original hangs",
    "v5u-error-in-event": "an error beside a message ends the reply",
    "v5u-user-echo": "an echo of the user is no part of the reply",
    "v5u-validation": "a ValueError",
}

ORIGINAL_HOST = "https://chat.openai.com"
NODE = {"host", "connection", "content-length"}
"""Headers that depend on the transport."""

OPTIONS = {
    "messageId": "message_id",
    "parentMessageId": "parent_message_id",
    "conversationId": "conversation_id",
    "action": "action",
}
LIFETIMES = {"v3-ttl": 0.06}
"""For how many seconds a token of a case is good, where the case waits for its end."""

METHODS = {
    "initSession": "init_session",
    "refreshSession": "refresh_session",
    "getIsAuthenticated": "get_is_authenticated",
    "closeSession": "close_session",
    "resetSession": "reset_session",
    "sendModeration": "send_moderation",
}


def scripted(answer: dict[str, Any]) -> RawAnswer:
    """A scripted answer of a case, with its delays and its end."""
    raw = raw_answer(answer)
    pauses = [chunk["delay_ms"] / 1000 for chunk in answer.get("chunks", []) if "delay_ms" in chunk]
    before = answer.get("before_ms", 0) / 1000
    if before:  # an empty piece first: the pause follows each piece
        return RawAnswer([b"", *raw.pieces], pause=before)
    return RawAnswer(raw.pieces, pause=max(pauses, default=0.0), reset=answer.get("end") == "rst")


class Replay:
    """A case against a loopback server: its clients, its calls and what they gave."""

    def __init__(self, engine: Engine, name: str, server: ChatGPTServer) -> None:
        self.engine = engine
        self.case = golden(name)
        self.server = server
        server.inject(*(scripted(request["answered_with"]) for request in self.case["requests"]))
        self.clients = {item["id"]: self._client(item) for item in self.case["construct"]}
        self.progress: list[ChatMessage] = []

    def _client(self, item: dict[str, Any]) -> Any:
        options: dict[str, Any] = {
            name: value.replace("{BASE}", f"http://127.0.0.1:{self.server.port}")
            if isinstance(value, str)
            else value
            for name, value in item["opts"].items()
        }
        model = next(
            (request["body_json"]["model"] for request in self.case["requests"] if request["path"].endswith("/conversation")),
            None,
        )  # fmt: skip
        if item["class"] == "ChatGPTUnofficialProxyAPI":
            return self.engine.proxy_client(
                access_token=options["accessToken"],
                api_reverse_proxy_url=options["apiReverseProxyUrl"],
                model=model,
                headers=options.get("headers"),
            )
        return self.engine.session_client(
            session_token=options["sessionToken"],
            clearance_token=options["clearanceToken"],
            access_token=options.get("accessToken"),
            access_token_ttl=options.get("accessTokenTTL", 3_600_000) / 1000,
            api_base_url=options.get("apiBaseUrl"),
            backend_api_base_url=options.get("backendApiBaseUrl"),
            markdown=options.get("markdown", True),
            model=model,
            max_retries=0,
        )

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [call for call in self.case["calls"] if "method" in call]

    def call(self, call: dict[str, Any]) -> Any:
        client = self.clients[call["on"]]
        if call["method"] != "sendMessage":
            return getattr(client, METHODS[call["method"]])(*call["args"])
        text, options = (*call["args"], {})[:2]
        given = {OPTIONS[name]: value for name, value in options.items() if name in OPTIONS}
        if "timeoutMs" in options:
            given["timeout"] = options["timeoutMs"] / 1000
        if "onProgress" in options:
            given["on_progress"] = self.progress.append
        send = getattr(client, "send", None) or client.send_message
        return send(text, **given)


@contextmanager
def replaying(engine: Engine, name: str) -> Iterator[Replay]:
    with ChatGPTServer() as server:
        replay = Replay(engine, name, server)
        if name == "v2-conversation":
            replay.clients["conversation"] = replay.clients["api"].conversation()
        yield replay


@pytest.mark.parametrize("name", [name for name in WEB_GOLDEN if name not in DIFFERENT])
def test_a_case_that_agrees(engine: Engine, name: str) -> None:
    with replaying(engine, name) as replay:
        for call in replay.case["calls"]:
            client = replay.clients[call["on"]]
            if "set" in call:
                assert call["set"] == "accessToken"
                client.access_token = call["value"]
            elif "get" in call:
                expected = None if call["value"] == "<undefined>" else call["value"]
                assert getattr(client, call["get"]) == expected
            elif "thrown" in call:
                with pytest.raises(ChatGPTError) as caught:
                    replay.call(call)
                check_error(caught.value, call["thrown"])
            else:
                replay.progress.clear()
                check_result(replay.call(call), call)
                check_progress(replay, call)
                time.sleep(LIFETIMES.get(name, 0))
        check_requests(replay)


def check_error(error: ChatGPTError, thrown: dict[str, Any]) -> None:
    if thrown["name"] == "TimeoutError":
        assert isinstance(error, APITimeoutError)
        return
    assert error.status_code == thrown["statusCode"]
    assert error.status_text == thrown["statusText"]


def check_result(result: Any, call: dict[str, Any]) -> None:
    expected = call["returned"]
    if call["method"] != "sendMessage":
        if expected == "<undefined>":  # ours may return the token
            assert result is None or type(result).__name__ == "Secret"
        else:
            assert result == expected
        return
    if isinstance(expected, str):  # version 2 returns the text
        expected = {"text": expected}
    expected = {
        {"response": "text", "messageId": "id"}.get(name, name): value
        for name, value in expected.items()
    }
    assert result.text == expected["text"]
    assert result.id == expected.get("id", result.id)
    assert result.conversation_id == expected.get("conversationId", result.conversation_id)
    assert result.role == "assistant"
    parent = expected.get("parentMessageId", "")
    if parent and not parent.startswith("00000000-0000-4000-8000-"):  # made up by the client
        assert result.parent_message_id == parent


def check_progress(replay: Replay, call: dict[str, Any]) -> None:
    """The original reports a snapshot that brings nothing new, too; the text of plain parts ends with
    a line end, which would be taken back each time."""
    is_plain = any(item["opts"].get("markdown") is False for item in replay.case["construct"])
    told = [part.get("text", part.get("response")) for part in call.get("progress", [])]
    told = [text for text, before in zip(told, [None, *told], strict=False) if text != before]
    shown = [part.text for part in replay.progress]
    if is_plain and shown:
        *parts, last = shown
        shown = [f"{text}\n" for text in parts[:-1]] + [last]
    assert shown == told
    text = ""
    for part in replay.progress:
        assert part.delta is not None
        text = part.text if part.rewritten else text + part.delta
        assert part.text == text
        assert part.text.endswith(part.delta)


def check_requests(replay: Replay) -> None:
    assert len(replay.server.requests) == len(replay.case["requests"])
    made_up: dict[str, object] = {}
    for ours, original in zip(replay.server.requests, replay.case["requests"], strict=True):
        assert (ours.method, ours.path) == (original["method"], original["path"])
        check_headers(ours.headers, original["headers"], ours.path)
        if not original["body_text"]:
            assert ours.body == b""
            continue
        assert list(ours.json) == list(original["body_json"]), "the fields have the same order, too"
        for name, value in original["body_json"].items():
            check_value(ours.json[name], value, made_up)


def check_value(ours: Any, original: Any, made_up: dict[str, object]) -> None:
    """Ids that a client makes up differ, but are the same wherever they are the same there."""
    if isinstance(original, str) and original.startswith("00000000-0000-4000-8000-"):
        assert made_up.setdefault(original, ours) == ours
    elif isinstance(original, list):
        for our_item, item in zip(ours, original, strict=True):
            check_value(our_item, item, made_up)
    elif isinstance(original, dict):
        assert list(ours) == list(original)
        for name in original:
            check_value(ours[name], original[name], made_up)
    else:
        assert ours == original


def check_headers(ours: Any, original: dict[str, str], path: str) -> None:
    """All of them agree to the letter, but for what Node adds and what stands on the list."""
    expected = {
        name: value.replace(ORIGINAL_HOST, "https://chatgpt.com")
        for name, value in original.items()
        if name not in NODE
    }
    shown = {name: value for name, value in ours.items() if name not in NODE}
    if "cookie" not in expected:  # the client of the proxy: these are Node's
        del expected["accept-language"], expected["sec-fetch-mode"]
        if expected["user-agent"] == "node":
            del expected["user-agent"]
            assert shown.pop("user-agent").startswith("chatgpt-sdk/")
    is_stream = expected["accept"] == "text/event-stream"
    expected["accept-encoding"] = "identity" if is_stream else "gzip, deflate"
    assert shown == expected


def test_the_list_of_differences_names_cases() -> None:
    assert set(DIFFERENT) <= set(WEB_GOLDEN)
    assert len(WEB_GOLDEN) > 60


# --- each difference -------------------------------------------------------------------------


def failing(engine: Engine, name: str, kind: type[Exception]) -> Any:
    """Replay the first call of a case that fails here, and return its error."""
    with replaying(engine, name) as replay:
        with pytest.raises(kind) as caught:
            replay.call(replay.calls[0])
        return caught.value


def test_bad_json(engine: Engine) -> None:
    error = failing(engine, "v3-bad-json", InvalidResponseError)
    assert error.partial == "Par"


def test_defaults(engine: Engine) -> None:
    case = golden("v3-defaults")
    client: Any = engine.session_client(session_token="s", clearance_token="c")
    assert client.user_agent == case["fields"]["userAgent"]
    settings = client._settings
    assert (settings.session_token.reveal(), settings.clearance_token.reveal()) == ("s", "c")
    for ours, original in (
        (settings.api_base_url, case["fields"]["apiBaseUrl"]),
        (settings.backend_api_base_url, case["fields"]["backendApiBaseUrl"]),
    ):
        assert ours == original.replace(ORIGINAL_HOST, "https://chatgpt.com")
    expected = {
        name: value.replace(ORIGINAL_HOST, "https://chatgpt.com")
        for name, value in case["fields"]["headers"].items()
        if name != "accept-encoding"
    }
    assert settings.headers == expected


@pytest.mark.parametrize("name", ["v3-end-without-done", "v5u-end-without-done"])
def test_end_without_done(engine: Engine, name: str) -> None:
    with replaying(engine, name) as replay:
        assert replay.call(replay.calls[0]).text == "Hello"
        check_requests(replay)


def test_error_401(engine: Engine) -> None:
    with replaying(engine, "v3-error-401") as replay:
        session, refused = [request["answered_with"] for request in replay.case["requests"]]
        replay.server.inject(scripted(session), scripted(refused))
        with pytest.raises(TokenExpiredError) as caught:
            replay.call(replay.calls[0])
        check_error(caught.value, replay.calls[0]["thrown"])
        paths = [request.path for request in replay.server.requests]
        assert paths == 2 * ["/api/auth/session", "/backend-api/conversation"]


def test_timeout_session(engine: Engine) -> None:
    assert failing(engine, "v3-timeout-session", APITimeoutError).limit == "total"


def test_no_validation(engine: Engine) -> None:
    with replaying(engine, "v4u-no-validation") as replay:
        with pytest.raises(ValueError, match="uuid of version 4"):
            replay.call(replay.calls[0])
        assert replay.server.requests == []


def test_detail_error(engine: Engine) -> None:
    error = failing(engine, "v5u-detail-error", StreamError)
    detail = golden("v5u-detail-error")["requests"][0]["answered_with"]["json"]["detail"]
    assert (error.code, error.type, error.param) == (
        detail["code"],
        detail["type"],
        detail["param"],
    )
    assert detail["message"] in str(error)


def test_error_in_event(engine: Engine) -> None:
    error = failing(engine, "v5u-error-in-event", StreamError)
    assert "Something went wrong" in str(error)
    assert error.partial == "Par"


def test_user_echo(engine: Engine) -> None:
    with replaying(engine, "v5u-user-echo") as replay:
        call = replay.calls[0]
        check_result(replay.call(call), call)
        assert [(part.id, part.text) for part in replay.progress] == [
            (part["id"], part["text"]) for part in call["progress"][1:]
        ]
        check_requests(replay)


def test_validation(engine: Engine) -> None:
    with replaying(engine, "v5u-validation") as replay:
        for call in replay.calls:
            with pytest.raises(
                ValueError, match="is missing: give conversation_id|uuid of version"
            ):
                replay.call(call)
        assert replay.server.requests == []


# --- what the errors are ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("v5u-error-401", TokenExpiredError),
        ("v5u-error-403", BlockedByCloudflareError),
        ("v5u-error-404", NotFoundError),
        ("v5u-error-422", UnprocessableEntityError),
        ("v3-session-refresh-error", TokenExpiredError),
        ("v3-session-empty", AuthenticationError),
        ("v3-session-null", AuthenticationError),
        ("v3-session-401", AuthenticationError),
    ],
)
def test_the_class_of_an_error(engine: Engine, name: str, kind: type[ChatGPTError]) -> None:
    error = failing(engine, name, kind)
    assert type(error) is kind
    assert "access-token-1" not in json.dumps([str(error), error.body])
    assert isinstance(error, APIStatusError)
