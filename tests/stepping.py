"""Stepping an exchange by hand: answers in, needs and the result out. No network, clock or mock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any, TypeVar

from chatgpt import ChatMessage, Role
from chatgpt.core.call_options import call_options, question_of
from chatgpt.core.cancelling import CancelToken
from chatgpt.core.composing import OfficialCall
from chatgpt.core.lessons import Lessons
from chatgpt.core.needs import (
    AskForAccessToken,
    CountTokens,
    Exchange,
    LoadConversation,
    LoadMessage,
    LoadReplies,
    LoadThread,
    LoadTokenizer,
    Need,
    ObeyToken,
    PassTurn,
    ReadChunk,
    ReportEvent,
    ReportProgress,
    ResponseHead,
    Running,
    SaveMessages,
    SendRequest,
    Sleep,
    Surroundings,
    TakeTurn,
    TransportFailure,
)
from chatgpt.core.official import send_message
from chatgpt.core.options import ClientSettings, client_settings
from chatgpt.core.secrets import wrap, wrap_headers, wrap_url
from chatgpt.stores import MemoryStore
from chatgpt.stores.protocol import conversation_method

T = TypeVar("T")

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

CLIENT_DEFAULTS: dict[str, Any] = dict.fromkeys(
    [
        "api_key",
        "api_org",
        "api_project",
        "api_base_url",
        "api_reverse_proxy_url",
        "model",
        "model_family",
        "endpoint",
        "completion_params",
        "system_message",
        "max_model_tokens",
        "max_response_tokens",
        "user_label",
        "assistant_label",
        "message_store",
        "get_message_by_id",
        "upsert_message",
        "tokenizer",
        "headers",
        "proxy",
        "session",
    ]
) | {
    "timeout": 600.0,
    "idle_timeout": 120.0,
    "connect_timeout": 10.0,
    "max_retries": 2,
    "debug": False,
}


def settings(environment: Mapping[str, object] | None = None, **given: Any) -> ClientSettings:
    """Settings as a client makes them, with a key unless one is given."""
    given = {**CLIENT_DEFAULTS, "api_key": "sk-test", **given}
    given["api_key"] = wrap(given["api_key"], "OPENAI_API_KEY")
    given["api_org"] = wrap(given["api_org"], "OPENAI_ORG_ID")
    given["headers"] = wrap_headers(given["headers"])
    given["proxy"] = wrap_url(given["proxy"], "HTTPS_PROXY")
    for name in ("api_base_url", "api_reverse_proxy_url"):
        given[name] = wrap_url(given[name])
    return client_settings(given, environment or {})


class Clock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def count_words(text: str) -> int:
    return len(text.split())


def surroundings(clock: Callable[[], float] | None = None, chance: float = 0.0) -> Surroundings:
    """A made-up moment: ids are counted, chance is fixed, words are tokens."""
    ids = count(1)
    return Surroundings(
        clock=clock or Clock(),
        now=lambda: NOW,
        new_id=lambda: f"id-{next(ids)}",
        chance=lambda: chance,
        load_tokenizer=lambda _: count_words,
    )


class Answered:
    """An answer of a server that is made up: head, chunks of the body, and how it ends.

    A chunk may be bytes, a `TransportFailure`, or seconds that pass before the next one.
    """

    def __init__(
        self,
        *chunks: bytes | TransportFailure | float,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.head = ResponseHead(status, "", headers or {})
        self.chunks = list(chunks)


class Stepper:
    """Meets the needs of an exchange from answers that are given beforehand.

    Args:
        answers: for the requests, in order: an `Answered`, a `TransportFailure`, or a function of the
            body that makes one.
        store: for the messages.
        clock: moves with sleeps, timeouts and seconds among the chunks.
    """

    def __init__(
        self,
        *answers: Answered | TransportFailure | Callable[[Any], Answered],
        store: MemoryStore | None = None,
        clock: Clock | None = None,
        tokenizer: CountTokens = count_words,
    ) -> None:
        self.answers = list(answers)
        self.store = MemoryStore() if store is None else store
        self.clock = clock or Clock()
        self.tokenizer = tokenizer
        self.needs: list[Need[Any]] = []
        self.surroundings = surroundings(self.clock)
        self._chunks: Iterator[bytes | TransportFailure | float] = iter(())
        self._token: CancelToken | None = None

    def run(self, exchange: Exchange[T]) -> T:
        running = Running(exchange)
        while (need := running.need) is not None:
            self.needs.append(need)
            try:
                answer = self.meet(need)
            except TransportFailure as failure:
                running.fail(failure)
            else:
                running.resume(answer)
        return running.result()

    def of(self, kind: type[Need[Any]]) -> list[Any]:
        """The needs of one kind."""
        return [need for need in self.needs if isinstance(need, kind)]

    @property
    def bodies(self) -> list[Any]:
        """The JSON bodies that were sent."""
        return [json.loads(need.request.body) for need in self.of(SendRequest)]

    @property
    def parts(self) -> list[ChatMessage]:
        return [part for need in self.of(ReportProgress) for part in need.parts]

    def meet(self, need: Need[Any]) -> object:
        """The answer to one need."""
        is_stopped = self._token is not None and self._token.is_cancelled
        if is_stopped and isinstance(need, SendRequest | ReadChunk | Sleep | TakeTurn):
            raise TransportFailure("aborted", "the token was cancelled")
        match need:
            case ObeyToken(token):
                self._token = token
                return None
            case SendRequest():
                answer = self.answers.pop(0)
                if callable(answer):
                    answer = answer(json.loads(need.request.body))
                if isinstance(answer, TransportFailure):
                    waits = {
                        "connect_timeout": need.connect_timeout,
                        "read_timeout": need.read_timeout,
                        "timeout": need.timeout,
                    }
                    self.clock.seconds += waits.get(answer.kind, 0)
                    raise answer
                self._chunks = iter(answer.chunks)
                return answer.head
            case ReadChunk(read_timeout):
                return self._read(read_timeout)
            case Sleep(seconds):
                self.clock.seconds += seconds
                return None
            case LoadMessage(message_id):
                try:
                    return self.store.get(message_id)
                except Exception as error:  # noqa: BLE001 - as in the shells
                    need.refused(error)
            case LoadThread(message_id, limit):
                return self.store.path(message_id, limit)
            case LoadConversation(conversation_id):
                known = conversation_method(self.store)
                return None if known is None else known(conversation_id)
            case LoadReplies(message_id):
                return self.store.replies(message_id)
            case SaveMessages(messages):
                try:
                    self.store.save(messages)
                except Exception as error:  # noqa: BLE001 - as in the shells
                    return need.refused(error)
                return ()
            case LoadTokenizer():
                return self.tokenizer
            case ReportProgress() | TakeTurn() | PassTurn():
                return None
            case ReportEvent():
                need.call()
                return None
            case AskForAccessToken():
                return wrap(need.call())
        raise AssertionError(need)

    def _read(self, timeout: float) -> bytes:
        waited = 0.0
        for chunk in self._chunks:
            if isinstance(chunk, bytes):
                return chunk
            if isinstance(chunk, TransportFailure):
                raise chunk
            waited += chunk
            if waited >= timeout:
                self.clock.seconds += timeout
                raise TransportFailure("read_timeout", "timed out")
            self.clock.seconds += chunk
        return b""


def sse(*objects: object, done: bool = True) -> bytes:
    """A stream of events."""
    events = [f"data: {json.dumps(item)}\n\n" for item in objects]
    return "".join([*events, "data: [DONE]\n\n" if done else ""]).encode()


def chunk(
    content: str | None = None, finish_reason: str | None = None, **fields: object
) -> dict[str, object]:
    """A chunk of a streamed completion."""
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "model": "gpt-5.4-mini-2026", "choices": [choice], **fields}


def completion(content: str | None = "Hello!", **fields: object) -> dict[str, object]:
    """A whole completion."""
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "chatcmpl-1", "model": "gpt-5.4-mini-2026", "choices": [choice], **fields}


def json_answer(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answered:
    return Answered(json.dumps(value).encode(), status=status, headers=headers)


def thread_of(texts: Sequence[str], **fields: Any) -> list[ChatMessage]:
    """Messages that reply to each other, user and assistant in turn, oldest first."""
    messages: list[ChatMessage] = []
    for number, text in enumerate(texts):
        role: Role = "assistant" if number % 2 else "user"
        parent = messages[-1].id if messages else None
        messages.append(
            ChatMessage(
                id=f"m{number}",
                text=text,
                role=role,
                parent_message_id=parent,
                conversation_id="c",
                **fields,
            )
        )
    return messages


STREAM = sse(chunk(""), chunk("Hel"), chunk("lo"), chunk(finish_reason="stop"))
"""A streamed reply: `Hello`."""

LOST = TransportFailure("connection", "reset", ConnectionResetError())
"""A connection that is lost."""


def official_call(
    surroundings: Surroundings,
    *,
    client: dict[str, Any] | None = None,
    lessons: Lessons | None = None,
    counted: dict[str, ChatMessage] | None = None,
    wants_parts: bool = False,
    **given: Any,
) -> OfficialCall:
    """A call of a client of these settings."""
    own = settings(**(client or {}))
    options = call_options(own, is_iterated=wants_parts, **given)
    known = {} if counted is None else counted
    return OfficialCall(options, own, surroundings, lessons or Lessons(), known, {})


def send(
    stepper: Stepper,
    text: str = "hi",
    *,
    client: dict[str, Any] | None = None,
    lessons: Lessons | None = None,
    counted: dict[str, ChatMessage] | None = None,
    wants_parts: bool = False,
    **given: Any,
) -> ChatMessage:
    """Send a message with a client of these settings."""
    places = ("parent_message_id", "conversation_id", "message_id", "name")
    question = question_of(text, **{name: given.pop(name) for name in places if name in given})
    call = official_call(
        stepper.surroundings,
        client=client,
        lessons=lessons,
        counted=counted,
        wants_parts=wants_parts,
        **given,
    )
    return stepper.run(send_message(question, call))
