"""The original client's cases, replayed: the same calls give the same requests and results.

Where the SDK differs on purpose, the case stands in `DIFFERENT` with the reason, and has a test of
its own below.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, cast

import pytest

from chatgpt import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ChatGPTAPI,
    ChatGPTError,
    ChatMessage,
    ConfigurationError,
    InvalidResponseError,
    MessageNotFoundError,
    PromptTooLongError,
    StreamError,
    StreamInterruptedError,
)
from chatgpt.core.budget import Counter
from chatgpt.core.prompts import ChatFormat, prompt_cost
from chatgpt.testing import ChatGPTServer, RawAnswer
from chatgpt.tokenizer import load_tokenizer
from tests.engines import Engine
from tests.recordings import GOLDEN, golden

DIFFERENT = {
    "v5-cut-nonstream": "an error of the transport is typed",
    "v5-empty-text": "an empty message is a ValueError",
    "v5-followup-unknown-parent": "an unknown parent raises",
    "v5-history-cut": "history is dropped by whole turns, and counted as the API counts",
    "v5-name": "a name is kept on follow-ups",
    "v5-no-key": "a ConfigurationError",
    "v5-nochoices": "typed errors",
    "v5-redirect": "a redirect is not followed",
    "v5-special-tokens": "a special token is text, and is sent",
    "v5-store-contents": "usage is no part of `detail`; a conversation has an id",
    "v5-store-custom": "one look-up more: whether the id of the reply is free",
    "v5-stream-cut": "typed, with the partial text",
    "v5-stream-detail-error-chunk": "a typed error; the original hangs",
    "v5-stream-error-event": "a typed error; the original swallows it",
    "v5-stream-error-event-nodone": "a typed error; the original hangs",
    "v5-stream-no-done": "complete with a finish reason; the original hangs",
    "v5-timeout": "typed",
    "v5-too-long-first": "PromptTooLongError; the original drops the message",
    "v5-too-long-first-nosystem": "PromptTooLongError; the original drops the message",
    "v5-unicode": "a lone surrogate is a ValueError",
    "v5-usage-estimated": "usage is counted as the API counts, and is no part of `detail`",
    "v5-whitespace-stream": "the text is not trimmed",
}

ORIGINAL_SYSTEM_MESSAGE = (
    "You are ChatGPT, a large language model trained by OpenAI. Answer as concisely as possible.\n"
    "Knowledge cutoff: 2021-09-01\nCurrent date: 2023-03-20"
)
ORIGINAL_PARAMS = {"model": "gpt-3.5-turbo", "temperature": 0.8, "top_p": 1, "presence_penalty": 1}
PHRASES = {HTTPStatus.UNPROCESSABLE_ENTITY: "Unprocessable Entity"}
"""Node's words, where those of Python depend on its version."""

OPTIONS = {
    "messageId": "message_id",
    "parentMessageId": "parent_message_id",
    "conversationId": "conversation_id",
    "systemMessage": "system_message",
    "promptPrefix": "prompt_prefix",
    "promptSuffix": "prompt_suffix",
    "completionParams": "completion_params",
    "name": "name",
    "stream": "stream",
}


def raw_answer(answer: dict[str, Any]) -> RawAnswer:
    """A scripted answer of a case, as bytes; the connection is closed after each."""
    if answer.get("status") == 0:
        return RawAnswer([])
    status = HTTPStatus(answer.get("status", 200))
    headers = {"connection": "close", **answer.get("headers", {})}
    if "json" in answer:
        headers.setdefault("content-type", "application/json")
        body = [json.dumps(answer["json"], ensure_ascii=False).encode()]
    else:
        body = [
            piece["text"].encode()
            for piece in answer.get("chunks", [{"text": answer.get("text", "")}])
        ]
    if "chunks" in answer:
        headers["transfer-encoding"] = "chunked"
        body = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in body]
        body += [] if answer.get("end") == "destroy" else [b"0\r\n\r\n"]
    lines = [
        f"HTTP/1.1 {status.value} {PHRASES.get(status, status.phrase)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return RawAnswer(["\r\n".join([*lines, "\r\n"]).encode(), *body])


def defined(values: dict[str, Any]) -> dict[str, Any]:
    """JavaScript's `undefined` is Python's `None`."""
    return {name: None if value == "<undefined>" else value for name, value in values.items()}


class Replay:
    """A case against a loopback server: its clients, its calls and what they gave."""

    defaults: Mapping[str, Any] = {
        "maxModelTokens": 4000,
        "maxResponseTokens": 1000,
        "systemMessage": ORIGINAL_SYSTEM_MESSAGE,
        "completionParams": ORIGINAL_PARAMS,
    }
    """The options of the original client where a case gives none."""

    def __init__(self, engine: Engine, name: str, server: ChatGPTServer) -> None:
        self.engine = engine
        self.case = golden(name)
        self.server = server
        server.inject(*(raw_answer(request["answered_with"]) for request in self.case["requests"]))
        self.clients = {item["id"]: self._client(item["opts"]) for item in self.case["construct"]}
        self.progress: list[ChatMessage] = []

    def _client(self, given: dict[str, Any]) -> ChatGPTAPI:
        options = {**self.defaults, **given}
        params = {
            **self.defaults["completionParams"],
            **defined(given.get("completionParams", {})),
        }
        return self.engine.client(
            api_key=options["apiKey"],
            api_org=options.get("apiOrg"),
            api_base_url=self.server.base_url,
            api_reverse_proxy_url=self._url(options.get("apiReverseProxyUrl")),
            completion_params=params,
            system_message=options["systemMessage"] or "",
            user_label=options.get("userLabel"),
            assistant_label=options.get("assistantLabel"),
            max_model_tokens=options["maxModelTokens"],
            max_response_tokens=None if "max_tokens" in params else options["maxResponseTokens"],
            max_retries=0,
        )

    def _url(self, url: str | None) -> str | None:
        return url and url.replace("{BASE}", self.server.base_url.removesuffix("/v1"))

    def answer_with(self, *answers: RawAnswer) -> None:
        """Answer otherwise than the case does; without answers, as the server does."""
        self.server.clear_faults()
        self.server.inject(*answers)

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [call for call in self.case["calls"] if "method" in call]

    def send(self, call: dict[str, Any], **changed: Any) -> ChatMessage:
        text, options = (*call["args"], {})[:2]
        given = {OPTIONS[name]: value for name, value in options.items() if name in OPTIONS}
        if "timeoutMs" in options:
            given["timeout"] = options["timeoutMs"] / 1000
        if "onProgress" in options:
            given["on_progress"] = self.progress.append
        return self.clients[call["on"]].send_message(text, **{**given, **changed})


@contextmanager
def replaying(engine: Engine, name: str, kind: type[Replay] = Replay) -> Iterator[Replay]:
    with ChatGPTServer(api_key=None) as server:
        yield kind(engine, name, server)


def check_requests(replay: Replay) -> None:
    assert len(replay.server.requests) == len(replay.case["requests"])
    for ours, original in zip(replay.server.requests, replay.case["requests"], strict=True):
        assert (ours.method, ours.path) == (original["method"], original["path"])
        for header in ("authorization", "openai-organization", "content-type", "accept"):
            assert ours.headers.get(header) == original["headers"].get(header), header
        expected = {
            name: value for name, value in original["body_json"].items() if value is not None
        }
        if expected["stream"]:
            expected.setdefault("stream_options", {"include_usage": True})  # asked for here
        assert ours.json == expected


def is_made_up(identifier: str) -> bool:
    """Whether the original client has made an id up."""
    return identifier.startswith("00000000-0000-4000-8000-")


def check_reply(reply: ChatMessage, original: dict[str, Any], stored_ids: set[str]) -> None:
    expected = defined(original)
    assert reply.text == (expected["text"] or "")
    assert reply.role == expected["role"]
    if not is_made_up(expected["parentMessageId"]):
        assert reply.parent_message_id == expected["parentMessageId"]
    assert reply.parent_message_id
    if expected["conversationId"] is not None and not is_made_up(expected["conversationId"]):
        assert reply.conversation_id == expected["conversationId"]
    assert reply.conversation_id
    if expected["id"] in stored_ids:
        assert re.fullmatch(r"[0-9a-f-]{36}", reply.id), "a repeated id is replaced"
    else:
        assert reply.id == expected["id"]
    detail = dict(expected["detail"])
    if detail.get("usage", {}).get("estimated"):
        del detail["usage"]  # the original writes its estimate there
    assert reply.detail == detail


def check_progress(replay: Replay, call: dict[str, Any]) -> None:
    told: list[tuple[str, str]] = []
    for part in map(defined, call.get("progress", [])):
        before = told[-1][1] if told else ""
        if part["text"] != before:  # version 4 tells no delta
            told.append((part.get("delta", part["text"].removeprefix(before)), part["text"]))
    assert [(part.delta, part.text) for part in replay.progress] == told


@pytest.mark.parametrize("name", [name for name in GOLDEN if name not in DIFFERENT])
def test_a_case_that_agrees(engine: Engine, name: str) -> None:
    with replaying(engine, name) as replay:
        check_case(replay)


def check_case(replay: Replay) -> None:
    """Make the calls of a case, and compare everything."""
    stored_ids: dict[str, set[str]] = {item: set() for item in replay.clients}
    for call in replay.case["calls"]:
        client = replay.clients[call["on"]]
        if "set" in call:
            setattr(client, {"apiKey": "api_key", "apiOrg": "api_org"}[call["set"]], call["value"])
            continue
        if "get" in call:
            assert client.api_key is not None
            assert client.api_key.reveal() == call["value"]
            continue
        replay.progress.clear()
        if "thrown" in call:
            with pytest.raises(APIStatusError) as caught:
                replay.send(call)
            check_error(caught.value, replay, call)
            continue
        parent = call["args"][1].get("parentMessageId") if len(call["args"]) > 1 else None
        reply = replay.send(call, parent_message_id=parent)
        check_reply(reply, call["returned"], stored_ids[call["on"]])
        check_progress(replay, call)
        stored_ids[call["on"]].add(call["returned"]["id"])
    check_requests(replay)


def check_error(error: APIStatusError, replay: Replay, call: dict[str, Any]) -> None:
    thrown = call["thrown"]
    assert error.status_code == thrown["statusCode"]
    assert error.status_text == thrown["statusText"]
    answer = replay.case["requests"][call["first_request"]]["answered_with"]
    if "json" in answer:
        body = json.loads(json.dumps(answer["json"]).replace("sk-test", "***"))
        assert error.body == body
        assert (error.type, error.code) == (body["error"]["type"], body["error"]["code"])
    else:
        assert error.body == (answer.get("text") or None)


def test_the_list_of_differences_names_cases() -> None:
    assert set(DIFFERENT) <= set(GOLDEN)


# --- each difference -------------------------------------------------------------------------


def failing(
    engine: Engine, name: str, kind: type[Exception], number: int = 0, **changed: Any
) -> Any:
    """Replay a call of a case that fails here, and return its error."""
    with replaying(engine, name) as replay:
        for call in replay.calls[:number]:
            with pytest.raises(ChatGPTError):
                replay.send(call)
        with pytest.raises(kind) as caught:
            replay.send(replay.calls[number], **changed)
        return caught.value


def nothing_was_sent(engine: Engine, name: str, kind: type[Exception]) -> Any:
    with replaying(engine, name) as replay:
        with pytest.raises(kind) as caught:
            replay.send(replay.calls[0])
        assert replay.server.requests == []
        return caught.value


def test_cut_nonstream(engine: Engine) -> None:
    assert type(failing(engine, "v5-cut-nonstream", APIConnectionError)) is APIConnectionError
    assert failing(engine, "v5-cut-nonstream", StreamInterruptedError, 1).partial == ""


def test_empty_text(engine: Engine) -> None:
    nothing_was_sent(engine, "v5-empty-text", ValueError)


def test_followup_unknown_parent(engine: Engine) -> None:
    nothing_was_sent(engine, "v5-followup-unknown-parent", MessageNotFoundError)


@pytest.mark.parametrize("name", ["v5-too-long-first", "v5-too-long-first-nosystem"])
def test_too_long_first(engine: Engine, name: str) -> None:
    error = nothing_was_sent(engine, name, PromptTooLongError)
    assert error.limit == 40
    assert error.tokens > 40


def test_history_cut(engine: Engine) -> None:
    count = load_tokenizer("cl100k_base")
    with replaying(engine, "v5-history-cut") as replay:
        thread: list[dict[str, str]] = []
        for call, original in zip(replay.calls, replay.case["requests"], strict=True):
            reply = replay.send(call)
            body = replay.server.requests[-1].json
            assert {**body, "messages": None} == {**original["body_json"], "messages": None}
            system, *sent = cast("list[dict[str, str]]", body["messages"])
            thread.append({"role": "user", "content": call["args"][0]})
            assert system == {"role": "system", "content": "Be brief."}
            assert sent == thread[-len(sent) :]
            assert sent[0]["role"] == "user"

            def tokens(messages: list[dict[str, str]]) -> int:
                stored = [ChatMessage(id="x", text=m["content"], role=m["role"]) for m in messages]  # type: ignore[arg-type]
                return prompt_cost(stored, ChatFormat(), Counter(count, None))

            assert tokens([system, *sent]) <= 120 - 40
            assert (
                len(sent) == len(thread) or tokens([system, *thread[-len(sent) - 2 :]]) > 120 - 40
            )
            thread.append({"role": "assistant", "content": reply.text})


def test_name(engine: Engine) -> None:
    with replaying(engine, "v5-name") as replay:
        for call in replay.calls:
            replay.send(call)
        ours = [request.messages for request in replay.server.requests]
        original = [request["body_json"]["messages"] for request in replay.case["requests"]]
        assert ours[0] == original[0]
        name = original[0][-1]["name"]
        assert ours[1] == [
            {**message, "name": name}
            if message == {k: v for k, v in original[0][-1].items() if k != "name"}
            else message
            for message in original[1]
        ]
        assert ours[1] != original[1]


@pytest.mark.parametrize("given", [{}, {"api_key": ""}])
def test_no_key(engine: Engine, given: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        engine.client(api_base_url="https://api.openai.com/v1", **given)


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (0, InvalidResponseError, "holds no reply"),
        (1, StreamError, "Something went wrong"),
        (2, StreamError, "Too many"),
        (3, StreamError, "boom"),
    ],
)
def test_nochoices(engine: Engine, number: int, kind: type[ChatGPTError], message: str) -> None:
    assert message in str(failing(engine, "v5-nochoices", kind, number))


def test_redirect(engine: Engine) -> None:
    with replaying(engine, "v5-redirect") as replay:
        with pytest.raises(APIStatusError, match="redirects are not followed") as caught:
            replay.send(replay.calls[0])
        assert caught.value.status_code == 307
        assert len(replay.server.requests) == 1


def test_special_tokens(engine: Engine) -> None:
    with replaying(engine, "v5-special-tokens") as replay:
        replay.answer_with()
        for call in replay.calls:
            replay.send(call)
        assert [request.messages[-1]["content"] for request in replay.server.requests] == [
            "a<|endoftext|>b",
            "a<|im_start|>b<|fim_prefix|>",
        ]


def test_store_contents(engine: Engine) -> None:
    saved: list[ChatMessage] = []
    with replaying(engine, "v5-store-contents") as replay:
        options = replay.case["construct"][0]["opts"]
        replay.clients["api"] = engine.client(
            api_key=options["apiKey"],
            api_base_url=replay.server.base_url,
            upsert_message=saved.append,
        )
        for call in replay.calls:
            replay.send(call)
    for message, original in zip(saved, replay.case["store_log"], strict=True):
        assert (message.id, message.role, message.text) == (
            original["id"],
            original["role"],
            original["text"],
        )
        assert message.parent_message_id == original.get("parentMessageId")
        assert message.conversation_id == original.get("conversationId", message.conversation_id)
    assert saved[0].name == "bob"  # the original forgets it
    assert [message.conversation_id for message in saved] == [
        "c1",
        "c1",
        saved[2].conversation_id,
        saved[2].conversation_id,
    ]


def test_store_custom(engine: Engine) -> None:
    stored = {
        "p1": ChatMessage(
            id="p1", text="Stored answer", role="assistant", name="helper", parent_message_id="p0"
        ),
        "p0": ChatMessage(id="p0", text="Stored question without role"),
    }
    log: list[tuple[str, str]] = []

    def get_message_by_id(message_id: str) -> ChatMessage | None:
        log.append(("get", message_id))
        return stored.get(message_id)

    def upsert_message(message: ChatMessage) -> None:
        log.append(("upsert", message.id))
        stored[message.id] = message

    with replaying(engine, "v5-store-custom") as replay:
        replay.clients["api"] = engine.client(
            api_key="sk-test",
            api_base_url=replay.server.base_url,
            system_message=ORIGINAL_SYSTEM_MESSAGE,
            completion_params=ORIGINAL_PARAMS,
            max_response_tokens=1000,
            get_message_by_id=get_message_by_id,
            upsert_message=upsert_message,
        )
        reply = replay.send(replay.calls[0])
        check_requests(replay)
    question_id = replay.calls[0]["args"][1]["messageId"]
    assert log == [
        ("get", question_id),
        ("get", "p1"),
        ("get", "p0"),
        ("get", reply.id),
        ("upsert", question_id),
        ("upsert", reply.id),
    ]


def test_stream_cut(engine: Engine) -> None:
    assert failing(engine, "v5-stream-cut", StreamInterruptedError).partial == "Hello there"


@pytest.mark.parametrize(
    ("name", "partial", "code"),
    [
        ("v5-stream-detail-error-chunk", "", "conversation_not_found"),
        ("v5-stream-error-event", "Hello", None),
        ("v5-stream-error-event-nodone", "Hello", "500"),
    ],
)
def test_stream_errors(engine: Engine, name: str, partial: str, code: str | None) -> None:
    error = failing(engine, name, StreamError)
    assert (error.partial, error.code) == (partial, code)


def test_stream_no_done(engine: Engine) -> None:
    with replaying(engine, "v5-stream-no-done") as replay:
        reply = replay.send(replay.calls[0])
        assert (reply.text, reply.finish_reason) == ("Hello there", "stop")
        check_progress(replay, replay.calls[0])
        check_requests(replay)


def test_timeout(engine: Engine) -> None:
    with replaying(engine, "v5-timeout") as replay:
        silent = RawAnswer([b"", b"HTTP/1.1 200 OK\r\n\r\n"], pause=1.5)
        replay.answer_with(silent)
        with pytest.raises(APITimeoutError) as caught:
            replay.send(replay.calls[0])
        assert caught.value.limit == "total"


def test_unicode(engine: Engine) -> None:
    with replaying(engine, "v5-unicode") as replay:
        call = replay.calls[0]
        with pytest.raises(ValueError, match="lone surrogate, U\\+D800"):
            replay.send(call)
        assert replay.server.requests == []
        call["args"][0] = call["args"][0].replace("\ud800", "")
        check_reply(replay.send(call), call["returned"], set())
        assert replay.server.requests[0].messages[-1]["content"] == call["args"][0]


def test_usage_estimated(engine: Engine) -> None:
    with replaying(engine, "v5-usage-estimated") as replay:
        call = replay.calls[0]
        reply = replay.send(call)
        check_reply(reply, call["returned"], set())
        check_requests(replay)
        assert reply.usage is not None
        assert reply.usage.estimated
        # The original counts labelled text and comes to 50; this is what the API would count.
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (56, 7)


def test_whitespace_stream(engine: Engine) -> None:
    with replaying(engine, "v5-whitespace-stream") as replay:
        call = replay.calls[0]
        reply = replay.send(call)
        assert reply.text.strip() == call["returned"]["text"]
        assert reply.text != call["returned"]["text"]
        check_requests(replay)
