"""The network at its worst, stepped by hand: retries, limits, answers that are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatgpt import (
    APIConnectionError,
    APITimeoutError,
    ChatGPTError,
    ConfigurationError,
    InvalidResponseError,
    QuotaExceededError,
    RateLimitError,
    StreamError,
    StreamInterruptedError,
)
from chatgpt.core.call_options import question_of
from chatgpt.core.needs import (
    ReadChunk,
    ReportProgress,
    Running,
    SendRequest,
    Sleep,
    TransportFailure,
)
from chatgpt.core.official import send_message
from chatgpt.core.sending import MOST_STALE
from tests.stepping import (
    LOST,
    STREAM,
    Answered,
    Stepper,
    chunk,
    completion,
    json_answer,
    official_call,
    send,
    sse,
)

STALE = TransportFailure("connection", "the server closed the connection too early")
STALE.on_used_connection = True
RATE_LIMIT = {"error": {"message": "slow", "code": "rate_limit_exceeded"}}


def test_what_is_tried_again_and_how_long_is_waited() -> None:
    stepper = Stepper(
        json_answer(RATE_LIMIT, 429, {"retry-after-ms": "494", "retry-after": "1"}),
        LOST,
        json_answer(completion("Hello!")),
    )
    assert send(stepper).text == "Hello!"
    assert stepper.of(Sleep) == [Sleep(0.494), Sleep(1.0)]


def test_a_connection_that_was_closed_while_idle_is_no_failure() -> None:
    """It is sent again at once, as often as it happens, and not counted."""
    stepper = Stepper(*[STALE] * 5, json_answer(completion("Hello!")))
    assert send(stepper, client={"max_retries": 0}).text == "Hello!"
    assert stepper.of(Sleep) == []
    assert len(stepper.of(SendRequest)) == 6


def test_that_comes_to_an_end() -> None:
    stepper = Stepper(*[STALE] * 200)
    with pytest.raises(APIConnectionError):
        send(stepper, client={"max_retries": 0})
    assert len(stepper.of(SendRequest)) == MOST_STALE + 1


def test_an_empty_bucket_is_waited_for() -> None:
    empty = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2.5s"}
    stepper = Stepper(json_answer(RATE_LIMIT, 429, empty), json_answer(completion("Hello!")))
    assert send(stepper).text == "Hello!"
    assert stepper.of(Sleep) == [Sleep(2.5)]


def test_after_the_last_try_the_error_is_raised_and_nothing_stored() -> None:
    stepper = Stepper(*(json_answer(RATE_LIMIT, 429) for _ in range(3)))
    with pytest.raises(RateLimitError) as caught:
        send(stepper)
    assert caught.value.code == "rate_limit_exceeded"
    assert len(stepper.of(SendRequest)) == 3
    assert len(stepper.store) == 0


def test_the_wait_that_the_server_asked_for_is_told() -> None:
    stepper = Stepper(json_answer(RATE_LIMIT, 429, {"retry-after": "20"}))
    with pytest.raises(RateLimitError) as caught:
        send(stepper, client={"max_retries": 0})
    assert caught.value.retry_after == 20


def test_a_quota_is_never_tried_again() -> None:
    stepper = Stepper(json_answer({"error": {"message": "pay", "type": "insufficient_quota"}}, 429))
    with pytest.raises(QuotaExceededError):
        send(stepper)
    assert len(stepper.of(SendRequest)) == 1


def test_a_wait_that_outlasts_the_deadline_is_not_begun() -> None:
    stepper = Stepper(json_answer(RATE_LIMIT, 429, {"retry-after": "20"}))
    with pytest.raises(RateLimitError):
        send(stepper, timeout=10)
    assert stepper.of(Sleep) == []


def test_a_connection_that_is_lost_before_the_answer() -> None:
    stepper = Stepper(LOST, LOST, LOST)
    with pytest.raises(
        APIConnectionError,
        match=r"No answer from https://api.openai.com/v1/chat/completions: reset",
    ) as caught:
        send(stepper)
    assert type(caught.value.__cause__) is ConnectionResetError


@pytest.mark.parametrize(
    ("kind", "limit", "tries"),
    [("connect_timeout", "connect", 3), ("read_timeout", "total", 1), ("timeout", "total", 1)],
)
def test_timeouts_before_the_answer(kind: Any, limit: str, tries: int) -> None:
    stepper = Stepper(*(TransportFailure(kind, "timed out") for _ in range(tries)))
    with pytest.raises(APITimeoutError) as caught:
        send(stepper, timeout=2000)
    assert caught.value.limit == limit
    assert len(stepper.of(SendRequest)) == tries


def test_silence_before_the_answer_of_a_stream() -> None:
    stepper = Stepper(TransportFailure("read_timeout", "timed out"))
    with pytest.raises(APITimeoutError) as caught:
        send(stepper, stream=True)
    assert caught.value.limit == "idle"


def test_the_limits_of_a_request() -> None:
    stepper = Stepper(json_answer(completion()))
    send(stepper, timeout=30)
    (need,) = stepper.of(SendRequest)
    assert (need.connect_timeout, need.read_timeout) == (10.0, 30.0)


@pytest.mark.parametrize(
    ("answer", "kind", "partial"),
    [
        (Answered(sse(chunk("Hel"), done=False)), StreamInterruptedError, "Hel"),
        (Answered(sse(chunk("Hel"), done=False), LOST), StreamInterruptedError, "Hel"),
        (Answered(b'data: {"choices": [{"de'), StreamInterruptedError, ""),
        (Answered(b'{"id": "x", "choices": [{"mess', LOST), StreamInterruptedError, ""),
        (Answered(b""), StreamInterruptedError, ""),
        (Answered(b'{"id": "x", "choices": [{"mess'), InvalidResponseError, ""),
        (Answered(b"<html>"), InvalidResponseError, ""),
        (Answered(sse(chunk("Hel"), {"error": {"message": "boom"}})), StreamError, "Hel"),
        (
            Answered(sse(chunk("Hel"), done=False), b"data: nonsense\n\n"),
            InvalidResponseError,
            "Hel",
        ),
        (Answered(sse(chunk("Hel"), done=False), 1e9), APITimeoutError, "Hel"),
    ],
)
def test_answers_that_are_no_reply(
    answer: Answered, kind: type[ChatGPTError], partial: str
) -> None:
    stepper = Stepper(answer)
    with pytest.raises(kind) as caught:
        send(stepper, stream=True)
    assert caught.value.partial == partial
    assert len(stepper.of(SendRequest)) == 1
    assert len(stepper.store) == 0


def test_comments_are_silence_and_parts_of_an_event_are_not() -> None:
    event = sse(chunk("Hi", "stop"))
    quiet = Answered(*[piece for _ in range(30) for piece in (10.0, b": keep-alive\n\n")], event)
    stepper = Stepper(quiet)
    with pytest.raises(APITimeoutError) as caught:
        send(stepper, stream=True)
    assert caught.value.limit == "idle"
    assert stepper.clock.seconds == 1000 + 120
    dripping = Answered(
        *[piece for n in range(30) for piece in (10.0, event[n : n + 1])], event[30:]
    )
    assert send(Stepper(dripping), stream=True).text == "Hi"


def test_the_consumers_own_time_is_no_silence() -> None:
    """He may think between two parts for longer than the server may be silent."""
    stepper = Stepper(
        Answered(*(sse(chunk("x"), done=False) for _ in range(3)), sse(chunk("", "stop")))
    )
    call = official_call(stepper.surroundings, wants_parts=True)
    running = Running(send_message(question_of("hi"), call))
    while (need := running.need) is not None:
        if isinstance(need, ReportProgress):
            stepper.clock.seconds += 130
        running.resume(stepper.meet(need))
    assert running.result().text == "xxx"


def test_connecting_is_not_bounded_by_silence() -> None:
    stepper = Stepper(Answered(STREAM))
    send(stepper, client={"idle_timeout": 5, "connect_timeout": 10}, stream=True)
    (need,) = stepper.of(SendRequest)
    assert (need.connect_timeout, need.read_timeout) == (10, 5)


def test_a_retry_begins_a_new_silence() -> None:
    busy = Answered(4.0, b"{}", status=500, headers={"retry-after": "60"})
    stepper = Stepper(busy, Answered(STREAM))
    send(stepper, client={"idle_timeout": 5}, stream=True)
    assert [need.read_timeout for need in stepper.of(SendRequest)] == [5, 5]


def test_the_callers_accept_encoding_wins() -> None:
    stepper = Stepper(Answered(STREAM))
    send(stepper, client={"headers": {"Accept-Encoding": "gzip"}}, stream=True)
    assert stepper.of(SendRequest)[0].request.headers["accept-encoding"] == "gzip"


def test_errors_of_an_answer_tell_what_is_known_of_it() -> None:
    for body in (b"<html>", b"[1]", sse(chunk("Hel"), done=False), sse({"error": "boom"})):
        with pytest.raises(ChatGPTError) as caught:
            send(Stepper(Answered(body, headers={"X-Request-ID": "req_1"})), stream=True)
        assert (caught.value.status_code, caught.value.request_id) == (200, "req_1")


def test_whether_an_error_is_final() -> None:
    for answer, final in (
        (json_answer({}, 401), True),
        (json_answer({}, 500), False),
        (LOST, False),
        (TransportFailure("read_timeout", "timed out"), True),
        (TransportFailure("connect_timeout", "timed out"), False),
    ):
        with pytest.raises(ChatGPTError) as caught:
            send(Stepper(answer), client={"max_retries": 0})
        assert caught.value.is_final is final


def test_a_setting_that_makes_a_request_useless() -> None:
    stepper = Stepper(TransportFailure("unusable", "no such scheme"))
    with pytest.raises(ConfigurationError, match="The request cannot be sent: no such scheme"):
        send(stepper)


def test_the_whole_call_is_bounded_however_busy_the_server_is() -> None:
    busy = Answered(*[piece for _ in range(1000) for piece in (10.0, sse(chunk("x"), done=False))])
    stepper = Stepper(busy)
    with pytest.raises(APITimeoutError) as caught:
        send(stepper, stream=True)
    assert caught.value.limit == "total"
    assert stepper.clock.seconds == 1000 + 600
    assert caught.value.partial == "x" * 59


def test_an_answer_that_is_not_streamed_may_be_silent_until_it_is_done() -> None:
    assert send(Stepper(Answered(500.0, json.dumps(completion("late")).encode()))).text == "late"


def test_after_the_finish_reason_usage_is_waited_for_a_moment_only() -> None:
    finished = sse(chunk("Hi", "stop"), done=False)
    usage = sse({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}, done=False)
    in_time = Stepper(Answered(finished, 1.0, usage, 1e9))
    reply = send(in_time, stream=True)
    assert reply.usage is not None
    assert not reply.usage.estimated
    assert in_time.clock.seconds == pytest.approx(1002)
    too_late = Stepper(
        Answered(finished, *[piece for _ in range(9) for piece in (0.9, b": wait\n\n")], usage)
    )
    assert send(too_late, stream=True).text == "Hi"
    assert too_late.clock.seconds == pytest.approx(1002)
    assert send(Stepper(Answered(finished, LOST)), stream=True).text == "Hi"


def test_after_done_the_end_of_the_body_is_waited_for_a_moment_only() -> None:
    stepper = Stepper(Answered(STREAM, 1e9))
    assert send(stepper, stream=True).text == "Hello"
    assert stepper.clock.seconds == pytest.approx(1000.05)
    assert stepper.of(ReadChunk)[-1] == ReadChunk(0.05)


def test_what_follows_done_is_not_read() -> None:
    after = sse(chunk(" world"))
    assert send(Stepper(Answered(STREAM + after)), stream=True).text == "Hello"
    assert send(Stepper(Answered(STREAM, after)), stream=True).text == "Hello"


def test_the_body_of_an_error_is_read_within_bounds() -> None:
    endless = Answered(*[b"x" * 10_000] * 1000, status=500)
    stepper = Stepper(endless)
    with pytest.raises(ChatGPTError) as caught:
        send(stepper, client={"max_retries": 0})
    assert len(str(caught.value.body)) == 65536
    assert len(stepper.of(ReadChunk)) == 7
    dripping = Stepper(Answered(*[piece for _ in range(60) for piece in (1.0, b" ")], status=500))
    with pytest.raises(ChatGPTError):
        send(dripping, client={"max_retries": 0})
    assert dripping.clock.seconds == 1005
    silent = Stepper(Answered(b'{"error": "half', 1e9, status=500))
    with pytest.raises(ChatGPTError, match="half"):
        send(silent, client={"max_retries": 0})
    assert silent.clock.seconds == 1005
