"""Which message is the reply, what is new in it, when it is complete, and what is an error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt import (
    APITimeoutError,
    ChatGPTError,
    ChatMessage,
    InvalidResponseError,
    StreamError,
    StreamInterruptedError,
)
from tests.core.web.made import (
    CALL,
    CONVERSATION,
    DELTAS,
    ECHO,
    FINISH,
    HIDDEN,
    MEMORY,
    REPLY,
    SNAPSHOTS,
    TEXT,
    THOUGHT,
    TOOL,
    deltas,
    events,
    message,
    old_message,
    root,
    send,
    snapshot,
)
from tests.recordings import WEB_STREAMS
from tests.stepping import LOST, Answered, Stepper

FINISHED: dict[str, Any] = {"status": "finished_successfully", "end_turn": True}


def play(*chunks: Any, **given: Any) -> tuple[ChatMessage, list[ChatMessage]]:
    """The reply and its parts."""
    stepper = Stepper(Answered(*chunks))
    reply = send(stepper, **given)
    return reply, stepper.parts


def told(parts: list[ChatMessage]) -> list[tuple[str, str | None, bool]]:
    return [(part.text, part.delta, part.rewritten) for part in parts]


def failing(kind: type[ChatGPTError], *chunks: Any) -> Any:
    with pytest.raises(kind) as caught:
        play(*chunks)
    assert type(caught.value) is kind
    return caught.value


# --- both dialects ---------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [SNAPSHOTS, DELTAS], ids=["snapshots", "deltas"])
def test_the_reply(stream: list[object]) -> None:
    reply, parts = play(events(*stream))
    assert (reply.text, reply.id, reply.role) == ("Grüße 你好 👋", REPLY, "assistant")
    assert (reply.conversation_id, reply.model) == (CONVERSATION, "gpt-4o")
    assert "".join(part.delta or "" for part in parts) == reply.text
    assert not any(part.rewritten for part in parts)
    assert {part.id for part in parts} == {REPLY}
    assert parts[0].parent_message_id == reply.parent_message_id
    assert reply.detail is not None
    assert reply.detail["message"]["content"]["parts"] == [reply.text]  # type: ignore[index]


def test_both_dialects_say_the_same() -> None:
    old, new = play(events(*SNAPSHOTS))[0], play(events(*DELTAS))[0]
    assert (old.text, old.id, old.model) == (new.text, new.id, new.model)
    assert new.finish_reason == "stop"


STREAMS = {
    **WEB_STREAMS,
    "snapshots": events(*SNAPSHOTS),
    "deltas": events(*DELTAS),
    "deltas-crlf": events(*DELTAS, crlf=True),
    "rewritten": events(
        snapshot(message("Hello wor")), snapshot(message("Hallo")), snapshot(message("Hallo!"))
    ),
    "two-messages": events(
        *deltas(
            root(message("", id="x"), 0),
            {"p": TEXT, "o": "append", "v": "Let me look."},
            root(CALL, 1),
            root(message("", channel="final"), 2),
            {"p": TEXT, "o": "append", "v": "Found "},
            {"v": "it."},
            FINISH,
        )
    ),
}


def outcome(*chunks: Any) -> tuple[Any, list[tuple[str, str | None, bool]]]:
    stepper = Stepper(Answered(*chunks))
    try:
        reply: Any = send(stepper)
    except ChatGPTError as error:
        reply = (type(error), str(error), error.partial)
    if isinstance(reply, ChatMessage):
        reply = (reply.id, reply.text, reply.conversation_id, reply.finish_reason, reply.detail)
    return reply, told(stepper.parts)


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_byte_by_byte(name: str) -> None:
    body = STREAMS[name]
    assert outcome(*(body[i : i + 1] for i in range(len(body)))) == outcome(body)


@pytest.mark.parametrize("name", sorted(STREAMS))
@given(data=st.data())
def test_any_split_gives_the_same(name: str, data: st.DataObject) -> None:
    body = STREAMS[name]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=12)))
    pieces = [body[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    # The core never reads an empty piece but at the end.
    assert outcome(*(piece for piece in pieces if piece)) == outcome(body)


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_the_parts_lead_to_the_reply(name: str) -> None:
    reply, parts = outcome(STREAMS[name])
    shown = ""
    for text, delta, is_rewritten in parts:
        if is_rewritten:
            assert not text.startswith(shown)
            assert text.endswith(delta or "")
        else:
            assert text == shown + (delta or "")
            assert delta
        shown = text
    assert shown == reply[1] or isinstance(reply[0], type)
    if not any(is_rewritten for _, _, is_rewritten in parts):
        assert "".join(delta or "" for _, delta, _ in parts) == shown


# --- which message it is ---------------------------------------------------------------------


@pytest.mark.parametrize("other", [HIDDEN, ECHO, THOUGHT, CALL, TOOL, MEMORY])
@pytest.mark.parametrize("is_after", [False, True])
def test_other_messages_never_become_the_reply(other: dict[str, Any], is_after: bool) -> None:
    said = {**other, "content": {**other["content"], "parts": ["not the reply"]}}
    if other["author"]["role"] == "assistant":
        said["content"]["content_type"] = other["content"]["content_type"]
    ours, theirs = snapshot(message("Hello", **FINISHED)), snapshot(said)
    order = [ours, theirs] if is_after else [theirs, ours]
    reply, parts = play(events(*order))
    assert (reply.text, reply.id) == ("Hello", REPLY)
    assert told(parts) == [("Hello", "Hello", False)]


def test_the_message_that_began_last() -> None:
    first, second = message("Let me look.", id="x"), message("Found it.")
    reply, parts = play(events(snapshot(first), snapshot(CALL), snapshot(second), snapshot(first)))
    assert (reply.text, reply.id) == ("Found it.", REPLY)
    assert told(parts) == [
        ("Let me look.", "Let me look.", False),
        ("Found it.", "Found it.", True),
    ]


def test_one_without_a_text_does_not_take_the_place_of_one_with_it() -> None:
    reply, _ = play(events(snapshot(message("Hello")), snapshot(message("", id="x"))))
    assert (reply.text, reply.id) == ("Hello", REPLY)


def test_an_empty_reply() -> None:
    reply, parts = play(events(snapshot(message("", **FINISHED))))
    assert (reply.text, reply.id, parts) == ("", REPLY, [])


def test_a_message_that_is_hidden_later() -> None:
    hidden = message("I will search", id="x", recipient="web")
    reply, parts = play(
        events(snapshot(message("I will", id="x")), snapshot(hidden), snapshot(message("Done.")))
    )
    assert reply.text == "Done."
    assert parts[-1].rewritten


def test_a_message_that_is_shown_again_keeps_its_place() -> None:
    hidden = snapshot(message("Hm.", id="x", channel="commentary"))
    shown = snapshot(message("Hm.", id="x"))
    reply, _ = play(events(hidden, snapshot(message("Hello")), shown, snapshot(message("Hello"))))
    assert (reply.text, reply.id) == ("Hello", REPLY)


def test_the_detail_is_that_of_the_reply() -> None:
    """The tree may go on to another message."""
    start = [root(message(""), 0), {"p": TEXT, "o": "append", "v": "Hello"}]
    reply, _ = play(events(*deltas(*start, {"p": "/message", "o": "replace", "v": TOOL})))
    assert reply.text == "Hello"
    assert reply.detail is not None
    assert reply.detail["message"]["id"] == REPLY  # type: ignore[index]


def test_a_message_without_an_id() -> None:
    reply, _ = play(events(snapshot(message("Hello", id=None))))
    assert reply.id.count("-") == 4


@pytest.mark.parametrize("said", [[], [snapshot(ECHO)], [snapshot(HIDDEN), snapshot(CALL)]])
def test_no_message_of_the_assistant(said: list[object]) -> None:
    error = failing(InvalidResponseError, events(*said))
    assert "no message of the assistant" in str(error)
    assert (error.status_code, error.partial) == (200, "")


# --- when it is complete ---------------------------------------------------------------------

IN_PROGRESS = snapshot(message("Hello"))


@pytest.mark.parametrize(
    "last",
    [
        snapshot(message("Hello", status="finished_successfully")),
        snapshot(message("Hello", status="finished_partial_completion")),
        snapshot(message("Hello", end_turn=True)),
        {"type": "message_stream_complete", "conversation_id": CONVERSATION},
    ],
)
@pytest.mark.parametrize("end", [b"", LOST])
def test_complete_without_done(last: object, end: Any) -> None:
    assert play(events(IN_PROGRESS, last, done=False), end)[0].text == "Hello"


@pytest.mark.parametrize("end", [b"", LOST])
@pytest.mark.parametrize("last", [IN_PROGRESS, snapshot(message("Hello", end_turn=False, status="finished_successfully"))])  # fmt: skip
def test_interrupted(last: object, end: Any) -> None:
    assert failing(StreamInterruptedError, events(last, done=False), end).partial == "Hello"


@pytest.mark.parametrize("end", [b"", LOST])
def test_a_dialect_without_a_status_ends_with_the_connection(end: Any) -> None:
    old = snapshot(old_message("Hello"))
    assert play(events(old, done=False), end)[0].text == "Hello"


@pytest.mark.parametrize("follower", [CALL, TOOL, message("", id="x"), THOUGHT])
def test_a_remark_is_no_reply_while_something_follows(follower: dict[str, Any]) -> None:
    remark = snapshot(message("Let me look.", status="finished_successfully"))
    error = failing(StreamInterruptedError, events(remark, snapshot(follower), done=False))
    assert error.partial == "Let me look."
    assert play(events(remark, snapshot(follower)))[0].text == "Let me look."


def test_a_stream_that_is_complete_before_anything_was_said() -> None:
    complete = {"type": "message_stream_complete"}
    failing(StreamInterruptedError, events(complete, IN_PROGRESS, done=False))


def test_a_limit_is_no_end_of_the_connection() -> None:
    error = failing(APITimeoutError, events(snapshot(old_message("Hel")), done=False), 1000.0)
    assert (error.limit, error.partial) == ("idle", "Hel")


def test_nothing_was_said_before_the_end() -> None:
    assert failing(StreamInterruptedError, events(snapshot(old_message("")), done=False)).partial == ""  # fmt: skip
    assert failing(StreamInterruptedError, b"").partial == ""


def test_the_rest_is_not_waited_for_long() -> None:
    stepper = Stepper(Answered(events(snapshot(message("Hello", **FINISHED)), done=False), 600.0))
    before = stepper.clock.seconds
    assert send(stepper).text == "Hello"
    assert stepper.clock.seconds - before == 2.0


def test_another_message_may_follow_one_that_seemed_the_last() -> None:
    first = snapshot(message("One moment.", id="x", **FINISHED))
    second = snapshot(message("Here it is."))
    third = snapshot(message("Here it is.", **FINISHED))
    reply, _ = play(events(first, done=False), 1.5, events(second, done=False), 60.0, events(third))
    assert reply.text == "Here it is."


def test_a_message_that_has_begun_is_waited_for() -> None:
    """Though the one before it said that it ended the turn."""
    first = snapshot(message("First.", id="x", **FINISHED))
    begun = snapshot(message(""))
    last = snapshot(message("Second.", **FINISHED))
    reply, _ = play(events(first, begun, done=False), 60.0, events(last))
    assert reply.text == "Second."


def test_an_event_without_its_blank_line() -> None:
    body = events(snapshot(message("Hello", **FINISHED)), done=False)
    assert play(body.rstrip(b"\n"))[0].text == "Hello"


def test_one_document_instead_of_a_stream() -> None:
    reply, parts = play(json.dumps(snapshot(message("Hello", **FINISHED))).encode())
    assert reply.text == "Hello"
    assert told(parts) == [("Hello", "Hello", False)]


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (snapshot(None, "Something went wrong"), "Something went wrong"),
        (snapshot(message("Hello"), "Something went wrong"), "Something went wrong"),
        (snapshot(None, "Our systems have detected unusual activity from your device."), "unusual"),
        ({"detail": {"message": "Too long", "code": "message_length_exceeds_limit"}}, "Too long"),
        ({"detail": "Only one message at a time."}, "Only one"),
        ({"error": "Rate limited by proxy"}, "Rate limited"),
        ({"error": {"message": "boom", "code": "x"}}, "boom"),
        ({"message": "flat", "type": "server_error"}, "flat"),
        ({"message": "flat", "code": "x"}, "flat"),
        ({"type": "error", "message": "typed"}, "typed"),
        (("error", {"anything": "boom"}), "reported an error"),
        (("error", "boom"), "boom"),
    ],
)
def test_errors_in_the_stream(event: object, shown: str) -> None:
    error = failing(StreamError, events(snapshot(message("Hello")), event))
    assert shown in str(error)
    assert (error.partial, error.status_code) == ("Hello", 200)


@pytest.mark.parametrize(
    "delta",
    [
        {"p": "/error", "o": "replace", "v": "Something went wrong"},
        {"p": "", "o": "replace", "v": {**snapshot(message("Hello"), "Something went wrong"), "error_code": "x"}},
    ],
)  # fmt: skip
def test_errors_in_a_tree(delta: dict[str, Any]) -> None:
    start = [root(message(""), 0), {"p": TEXT, "o": "append", "v": "Hello"}]
    error = failing(StreamError, events(*deltas(*start, delta)))
    assert "Something went wrong" in str(error)
    assert error.partial == "Hello"


@pytest.mark.parametrize(
    "error", [{"type": "error", "message": "no title"}, {"error": "late"}, snapshot(None, "late")]
)
def test_an_error_after_the_reply_is_no_matter(error: object) -> None:
    """Nothing of it is missing. (An error in the same event is one.)"""
    whole = message("Hello", **FINISHED)
    assert play(events(snapshot(whole), error))[0].text == "Hello"
    assert failing(StreamError, events(snapshot(whole, "Something went wrong"))).partial == "Hello"


@pytest.mark.parametrize(
    ("moderation", "whose"),
    [
        ({"is_completion": True, "message_id": REPLY}, "the reply"),
        ({"is_completion": False, "message_id": REPLY}, "the message"),
        ({"type": "moderation"}, "the reply"),
    ],
)
def test_a_moderation_that_blocks(moderation: dict[str, Any], whose: str) -> None:
    blocking = {**moderation, "conversation_id": CONVERSATION, "moderation_response": {"flagged": True, "blocked": True}}  # fmt: skip
    for said in (message("Hello"), message("Hello", **FINISHED)):
        error = failing(StreamError, events(snapshot(said), blocking))
        assert f"blocked {whose}" in str(error)
        assert (error.code, error.type, error.partial) == (
            "moderation_blocked",
            "moderation",
            "Hello",
        )


def test_an_error_that_is_nested_too_deeply() -> None:
    def nested(depth: int) -> object:
        value: object = "x"
        for _ in range(depth):
            value = {"a": value}
        return value

    steps = [root(message(""), 0), {"p": TEXT, "o": "append", "v": "Hello"}]
    steps += [{"o": "patch", "v": [{"p": "/error", "o": "add", "v": nested(60)}, {"p": "/error" + "/a" * 60, "o": "add", "v": nested(900)}]}]  # fmt: skip
    error = failing(StreamError, events(*deltas(*steps)))
    assert error.partial == "Hello"


def test_many_messages_take_no_more_than_their_time() -> None:
    """Those that began long ago are forgotten."""
    many = [snapshot(message("", id=f"m{number}")) for number in range(3000)]
    reply, _ = play(events(*many, snapshot(message("Hello"))))
    assert reply.text == "Hello"


def test_a_moderation_that_does_not() -> None:
    harmless = {"moderation_response": {"flagged": True, "blocked": False}}
    assert play(events(snapshot(message("Hello")), harmless))[0].text == "Hello"


@pytest.mark.parametrize(
    "document",
    [
        b'{"detail": {"message": "Too many", "code": "rate"}}',
        b'{"error": "Rate limited by proxy"}',
        b'{"error": {"code": "error", "message": {"code": "boom", "message": "Boom"}, "type": "500"}}',
        b'"Service Unavailable"',
        b'[{"error": {"message": "boom"}}]',
    ],
)
def test_a_document_that_is_an_error(document: bytes) -> None:
    failing(StreamError, document)


@pytest.mark.parametrize(
    "document",
    [b"<html><title>Just a moment...</title></html>", b"{}", b"[]", b'{"mapping": {}}', b'""'],
)
def test_a_document_that_is_nothing(document: bytes) -> None:
    failing(InvalidResponseError, document)


def test_plain_text_between_the_events() -> None:
    body = events(snapshot(message("Hello")), done=False) + b"Internal Server Error\n\n"
    error = failing(StreamInterruptedError, body)
    assert "Internal Server Error" in str(error)
    assert error.partial == "Hello"


def test_an_encoding_that_is_not_known() -> None:
    error = failing(InvalidResponseError, events(("delta_encoding", "v2")))
    assert "'v2' is not known" in str(error)


@pytest.mark.parametrize(
    "pointer",
    ["/message/content/__class__/x", "/message/content" + "/x" * 10**6, f"{TEXT[:-1]}{10**9}"],
)
def test_poison(pointer: str) -> None:
    start = [root(message(""), 0), {"p": TEXT, "o": "append", "v": "Hello"}]
    error = failing(
        InvalidResponseError, events(*deltas(*start, {"p": pointer, "o": "append", "v": "x"}))
    )
    assert error.partial == "Hello"
    assert len(str(error)) < 700


def test_side_events_are_passed_over() -> None:
    noise: list[object] = [
        "v1",
        None,
        [],
        5,
        {"type": "anything", "message": "not an error"},
        {"type": "marker", "message": "not an error", "code": 5},
        {"type": "conversation_detail_metadata", "detail": {"limits": 1}},
        {"type": "message_marker", "conversation_id": CONVERSATION},
        {"conversation_id": CONVERSATION},
        {},
    ]
    said = snapshot(message("Hello", **FINISHED))
    assert play(events(*noise, said, *noise))[0].text == "Hello"


def test_an_unfinished_stream_of_another_dialect_goes_on() -> None:
    """A snapshot among deltas counts as what it is."""
    start = deltas(root(message(""), 0), {"p": TEXT, "o": "append", "v": "Hel"})
    reply, _ = play(events(*start, snapshot(message("Hello", **FINISHED))))
    assert reply.text == "Hello"


def test_deltas_that_nobody_announced() -> None:
    start = [("delta", root(message(""), 0)), ("delta", {"p": TEXT, "o": "append", "v": "Hello"})]
    assert play(events(*start, ("delta", FINISH)))[0].text == "Hello"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from("message conversation_id error detail type v p o c id author role content parts status end_turn metadata moderation_response blocked".split()), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(json_values | st.tuples(st.sampled_from(["delta", "delta_encoding", "error", "x"]), json_values), max_size=6))  # fmt: skip
def test_whatever_a_server_writes(items: list[object]) -> None:
    """It is a reply or a typed error."""
    try:
        reply, _ = play(events(*items))
    except ChatGPTError as error:
        assert str(error)  # noqa: PT017 - not each of them is one
    else:
        assert isinstance(reply.text, str)
