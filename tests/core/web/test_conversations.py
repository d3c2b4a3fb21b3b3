"""The conversations that the server keeps, stepped by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chatgpt import ChatGPTError, InvalidResponseError
from chatgpt.core.needs import Exchange, SendRequest
from chatgpt.core.web import conversations, moderation
from chatgpt.core.web.conversations import ConversationPages, ConversationSummary
from chatgpt.core.web.requests import WebCall
from tests.core.web.made import CONVERSATION, PARENT, access_of, message, session, surroundings
from tests.stepping import Answered, Stepper, json_answer

PATH = "https://chatgpt.com/backend-api"


def ask(stepper: Stepper, ask_server: Callable[[WebCall], Exchange[Any]]) -> Any:
    settings = session(access_token="t", max_retries=0)
    moment = surroundings(stepper)
    call = WebCall.begin(settings, access_of(settings, moment), moment, timeout=60, idle_timeout=60)
    return stepper.run(ask_server(call))


def sent(stepper: Stepper) -> list[tuple[str, str, Any]]:
    requests = [need.request for need in stepper.of(SendRequest)]
    bodies = [request.body.decode() for request in requests]
    return [
        (request.method, request.url.removeprefix(PATH), body)
        for request, body in zip(requests, bodies, strict=True)
    ]


def items(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": f"c{n}", "title": f"T{n}", "create_time": "2024-01-02T03:04:05", "update_time": 5.0} for n in numbers]  # fmt: skip


def listed(*pages: Any, page_size: int = 2, is_archived: bool = False) -> tuple[list[str], Stepper]:
    stepper = Stepper(*map(json_answer, pages))
    listing = ConversationPages(page_size, is_archived)
    found: list[ConversationSummary] = []
    while listing.must_be_read:
        ask(stepper, listing.read)
        while (item := listing.take()) is not None:
            found.append(item)
    return [item.id for item in found], stepper


def test_pages() -> None:
    found, stepper = listed({"items": items(1, 2), "total": 3}, {"items": items(3), "total": 3})
    assert found == ["c1", "c2", "c3"]
    assert [path for _, path, _ in sent(stepper)] == [
        "/conversations?offset=0&limit=2&order=updated",
        "/conversations?offset=2&limit=2&order=updated",
    ]


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([{"items": [], "total": 9}], []),
        ([{"items": items(1)}, {"items": []}], ["c1"]),
        ([{"items": items(1, 2)}, {"items": []}], ["c1", "c2"]),
        # It moved up while the listing was read, or the server repeats itself for ever.
        ([{"items": items(1, 2), "total": 4}, {"items": items(2, 3), "total": 4}], ["c1", "c2", "c3"]),
        ([{"items": items(1, 2), "total": 99}] * 11, ["c1", "c2"]),
        # Others were used meanwhile: those that are known come again, and then the rest.
        ([{"items": items(1, 2), "total": 6}, {"items": items(1, 2), "total": 6}, {"items": items(3, 4), "total": 6}], ["c1", "c2", "c3", "c4"]),
        # A server that gives less than it is asked for.
        ([{"items": items(1), "total": 2}, {"items": items(2), "total": 2}], ["c1", "c2"]),
        ([{"items": [None, 5, {"id": 5}, *items(1)], "total": 1}], ["c1"]),
    ],
)  # fmt: skip
def test_where_a_listing_ends(pages: list[Any], expected: list[str]) -> None:
    assert listed(*pages)[0] == expected


def test_a_summary() -> None:
    stepper = Stepper(json_answer({"items": [{**items(1)[0], "is_archived": True}, {"id": "x", "title": None}], "total": 2}))  # fmt: skip
    listing = ConversationPages(28, is_archived=True)
    ask(stepper, listing.read)
    assert not listing.must_be_read
    first, second, end = listing.take(), listing.take(), listing.take()
    assert end is None
    assert first is not None
    assert second is not None
    assert sent(stepper)[0][1].endswith("&is_archived=true")
    assert (first.title, first.is_archived, first.detail["title"]) == ("T1", True, "T1")
    assert str(first.created_at) == "2024-01-02 03:04:05+00:00"
    assert str(first.updated_at) == "1970-01-01 00:00:05+00:00"
    assert (second.title, second.created_at, second.is_archived) == (None, None, False)


@pytest.mark.parametrize(
    ("given", "kind"),
    [((0, False), ValueError), ((101, False), ValueError), (("5", False), TypeError), ((5, 1), TypeError)],
)  # fmt: skip
def test_a_listing_that_cannot_be(given: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        ConversationPages(*given)


MAPPING = {
    "n": {"id": "n", "parent": None, "message": message("q", "user", id="n")},
    "m": {"id": "m", "parent": "n", "message": message("a", id="m")},
}


def test_one_conversation() -> None:
    body = {"title": "T", "mapping": MAPPING, "current_node": "m", "create_time": 1.0, "is_archived": True, "conversation_id": CONVERSATION}  # fmt: skip
    stepper = Stepper(json_answer(body))
    record = ask(stepper, lambda call: conversations.get_conversation(call, CONVERSATION))
    assert sent(stepper) == [("GET", f"/conversation/{CONVERSATION}", "")]
    assert (record.id, record.title, record.current_message_id, record.is_archived) == (CONVERSATION, "T", "m", True)  # fmt: skip
    assert [m.text for m in record.messages] == ["q", "a"]
    assert "<2>" in repr(record)


@pytest.mark.parametrize("body", [{}, {"mapping": None}, {"mapping": {}}, {"mapping": {"a": None}}])
def test_no_conversation(body: Any) -> None:
    with pytest.raises(InvalidResponseError, match="holds no"):
        ask(Stepper(json_answer(body)), lambda call: conversations.get_conversation(call, CONVERSATION))  # fmt: skip


@pytest.mark.parametrize(
    ("change", "body"),
    [
        (lambda call: conversations.set_title(call, CONVERSATION, "Neu 🙂"), '{"title":"Neu 🙂"}'),
        (lambda call: conversations.archive(call, CONVERSATION, is_archived=True), '{"is_archived":true}'),
        (lambda call: conversations.archive(call, CONVERSATION, is_archived=False), '{"is_archived":false}'),
        (lambda call: conversations.delete_conversation(call, CONVERSATION), '{"is_visible":false}'),
    ],
)  # fmt: skip
def test_changes(change: Callable[[WebCall], Exchange[None]], body: str) -> None:
    stepper = Stepper(json_answer({"success": True}))
    ask(stepper, change)
    assert sent(stepper) == [("PATCH", f"/conversation/{CONVERSATION}", body)]
    for answer in ({"success": False}, {}):
        with pytest.raises(InvalidResponseError, match="holds no success"):
            ask(Stepper(json_answer(answer)), change)


def test_a_title() -> None:
    stepper = Stepper(json_answer({"title": "Greetings"}))
    title = ask(stepper, lambda call: conversations.generate_title(call, CONVERSATION, PARENT))
    assert title == "Greetings"
    assert sent(stepper)[0] == (
        "POST",
        f"/conversation/gen_title/{CONVERSATION}",
        f'{{"message_id":"{PARENT}","model":"text-davinci-002-render"}}',
    )
    with pytest.raises(InvalidResponseError, match="holds no title"):
        ask(Stepper(json_answer({"message": None})), lambda call: conversations.generate_title(call, CONVERSATION, PARENT))  # fmt: skip


def test_feedback() -> None:
    stepper = Stepper(json_answer({"rating": "thumbsUp"}), json_answer({}))
    result = ask(stepper, lambda call: conversations.send_feedback(call, CONVERSATION, PARENT, "thumbsUp", (), None))  # fmt: skip
    assert result == {"rating": "thumbsUp"}
    ask(stepper, lambda call: conversations.send_feedback(call, CONVERSATION, PARENT, "thumbsDown", ["false"], "wrong"))  # fmt: skip
    assert stepper.bodies == [
        {"conversation_id": CONVERSATION, "message_id": PARENT, "rating": "thumbsUp"},
        {
            "conversation_id": CONVERSATION,
            "message_id": PARENT,
            "rating": "thumbsDown",
            "tags": ["false"],
            "text": "wrong",
        },
    ]


def test_moderation() -> None:
    answer = {"flagged": True, "blocked": False, "moderation_id": "modr-1"}
    stepper = Stepper(json_answer(answer))
    assert ask(stepper, lambda call: moderation.send_moderation(call, "x")) == answer
    with pytest.raises(InvalidResponseError, match="no moderation"):
        ask(Stepper(json_answer({"a": 1})), lambda call: moderation.send_moderation(call, "x"))


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (lambda call: conversations.get_conversation(call, "../x"), ValueError),
        (lambda call: conversations.get_conversation(call, None), TypeError),
        (lambda call: conversations.set_title(call, CONVERSATION, ""), ValueError),
        (lambda call: conversations.set_title(call, CONVERSATION, None), TypeError),
        (lambda call: conversations.archive(call, CONVERSATION, 1), TypeError),
        (lambda call: conversations.generate_title(call, CONVERSATION, None), TypeError),
        (lambda call: conversations.generate_title(call, CONVERSATION, "x"), ValueError),
        (lambda call: conversations.send_feedback(call, CONVERSATION, PARENT, "up", (), None), ValueError),
        (lambda call: conversations.send_feedback(call, CONVERSATION, PARENT, "thumbsUp", "false", None), TypeError),
        (lambda call: conversations.send_feedback(call, CONVERSATION, PARENT, "thumbsUp", ["x"], None), ValueError),
        (lambda call: conversations.send_feedback(call, CONVERSATION, PARENT, "thumbsUp", (), 5), TypeError),
    ],
)  # fmt: skip
def test_bad_input_is_never_sent(
    wrong: Callable[[WebCall], Exchange[Any]], kind: type[Exception]
) -> None:
    stepper = Stepper()
    with pytest.raises(kind):
        ask(stepper, wrong)
    assert stepper.needs == []


def test_a_status_is_a_typed_error() -> None:
    for status in (400, 404, 429, 500):
        with pytest.raises(ChatGPTError) as caught:
            ask(Stepper(json_answer({"detail": "x"}, status)), lambda call: conversations.get_conversation(call, CONVERSATION))  # fmt: skip
        assert caught.value.status_code == status
    with pytest.raises(InvalidResponseError):
        ask(Stepper(Answered(b"<html></html>")), lambda call: conversations.get_conversation(call, CONVERSATION))  # fmt: skip
