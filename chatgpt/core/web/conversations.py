"""The conversations that the server keeps: listing, reading and changing them.

Rules:

1. A listing is read page by page, as it is asked for, until the server's `total` or an empty page. A
   conversation that moved down meanwhile is not told twice; a server that repeats itself is asked for 10
   pages without news at most.
2. What is changed is said in one small request; the server answers `{"success": true}`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast, get_args

from attrs import field, frozen

from chatgpt.core.error_bodies import redacted_body
from chatgpt.core.errors import InvalidResponseError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange
from chatgpt.core.surrogates import lenient
from chatgpt.core.validation import (
    kind_of,
    one_of,
    optional_text,
    required_uuid,
    text_to_send,
    truth_of,
    whole_number,
)
from chatgpt.core.web.mapping import current_node_of, thread_to
from chatgpt.core.web.messages import time_of
from chatgpt.core.web.options import CONVERSATION_VERSIONS
from chatgpt.core.web.requests import WebCall
from chatgpt.core.wire.web import MessageFeedbackResult, MessageFeedbackTag, MessageRating

LARGEST_PAGE: Final = 100
DEFAULT_PAGE: Final = 28
MOST_STALE_PAGES: Final = 10
TITLE_MODEL: Final = "text-davinci-002-render"
"""What the title endpoint is asked for: the server ignores it, and refuses a request without it."""

RATINGS: Final = get_args(MessageRating)
TAGS: Final = get_args(MessageFeedbackTag)


@frozen(kw_only=True)
class ConversationSummary:
    """A conversation in a listing.

    Attributes:
        id: its id; what a message that goes on with it gives as `conversation_id`.
        title: its title.
        created_at, updated_at: times of the server, in UTC; `None` where it does not say.
        is_archived: whether it was put away.
        detail: the server's own object (parsed JSON).
    """

    id: str
    title: str | None
    created_at: datetime | None
    updated_at: datetime | None
    is_archived: bool
    detail: Mapping[str, object] = field(repr=False)


@frozen(kw_only=True)
class ConversationRecord(ConversationSummary):
    """A conversation as the server keeps it. Its further attributes are those of `ConversationSummary`.

    Attributes:
        messages: what a reader sees of it, oldest first, up to where it stands now.
        current_message_id: where it stands now; what the next message replies to. It may be a message
            that no reader sees.
    """

    messages: tuple[ChatMessage, ...] = field(repr=lambda messages: f"<{len(messages)}>")
    current_message_id: str


class ConversationPages:
    """A listing on its way: what was read and not taken yet, and what is still to be read.

    Args:
        page_size: how many conversations are asked for at once.
        is_archived: whether those that were put away are listed, in place of the others.
    """

    def __init__(self, page_size: object, is_archived: object) -> None:
        self._page_size = whole_number("page_size", page_size, 1)
        if self._page_size > LARGEST_PAGE:
            raise ValueError(f"page_size must be at most {LARGEST_PAGE}, not {page_size}.")
        self._is_archived = truth_of("is_archived", is_archived)
        self._offset = 0
        self._seen: set[str] = set()
        self._waiting: deque[ConversationSummary] = deque()
        self._stale_pages = 0
        self._has_more = True

    @property
    def must_be_read(self) -> bool:
        """Whether the next conversation stands on a page that was not read yet, if there is one."""
        return self._has_more and not self._waiting

    def take(self) -> ConversationSummary | None:
        """The next conversation of those that were read; `None` where there is none."""
        return self._waiting.popleft() if self._waiting else None

    def read(self, call: WebCall) -> Exchange[None]:
        """Read the next page."""
        path = f"/conversations?offset={self._offset}&limit={self._page_size}&order=updated"
        if self._is_archived:
            path += "&is_archived=true"
        page = yield from call.ask("GET", path)
        items = page.get("items")
        if not isinstance(items, list):
            raise _missing("list of conversations", page, call)
        found = [_summary(item) for item in items if isinstance(item, dict)]
        new = [item for item in found if item.id and item.id not in self._seen]
        self._seen.update(item.id for item in new)
        self._offset += len(items)
        total = page.get("total")
        is_last = isinstance(total, int) and self._offset >= total
        self._stale_pages = 0 if new else self._stale_pages + 1
        self._has_more = bool(items) and not is_last and self._stale_pages < MOST_STALE_PAGES
        self._waiting.extend(new)


def get_conversation(call: WebCall, conversation_id: object) -> Exchange[ConversationRecord]:
    """Read a conversation."""
    identifier = _conversation_id(conversation_id)
    conversation, node_id = yield from _read_conversation(call, identifier)
    summary = _summary(conversation)
    return ConversationRecord(
        id=identifier,
        title=summary.title,
        created_at=summary.created_at,
        updated_at=summary.updated_at,
        is_archived=summary.is_archived,
        messages=tuple(thread_to(conversation["mapping"], node_id, identifier)),
        current_message_id=lenient(node_id),
        detail=conversation,
    )


def current_message_id(call: WebCall, conversation_id: str) -> Exchange[str]:
    """Where a conversation stands."""
    _, node_id = yield from _read_conversation(call, conversation_id)
    return lenient(node_id)


def _read_conversation(call: WebCall, conversation_id: str) -> Exchange[tuple[dict[str, Any], str]]:
    """Read a conversation, and find the node at which it stands."""
    conversation = yield from call.ask("GET", f"/conversation/{conversation_id}")
    mapping = conversation.get("mapping")
    if not isinstance(mapping, dict):
        raise _missing("conversation", conversation, call)
    node_id = current_node_of(mapping, conversation.get("current_node"))
    if node_id is None:
        raise _missing("message of the conversation", conversation, call)
    return conversation, node_id


def generate_title(call: WebCall, conversation_id: object, message_id: object) -> Exchange[str]:
    """Have the server make a title of a message."""
    identifier = _conversation_id(conversation_id)
    body = {"message_id": required_uuid("message_id", message_id), "model": TITLE_MODEL}
    answer = yield from call.ask("POST", f"/conversation/gen_title/{identifier}", body)
    title = answer.get("title")
    if not isinstance(title, str):
        raise _missing("title", answer, call)
    return lenient(title)


def set_title(call: WebCall, conversation_id: object, title: object) -> Exchange[None]:
    """Change the title of a conversation."""
    yield from _change(call, conversation_id, {"title": text_to_send("title", title)})


def archive(call: WebCall, conversation_id: object, is_archived: object) -> Exchange[None]:
    """Put a conversation away, or take it back."""
    yield from _change(call, conversation_id, {"is_archived": truth_of("is_archived", is_archived)})


def delete_conversation(call: WebCall, conversation_id: object) -> Exchange[None]:
    """Delete a conversation."""
    yield from _change(call, conversation_id, {"is_visible": False})


def send_feedback(
    call: WebCall,
    conversation_id: object,
    message_id: object,
    rating: object,
    tags: object,
    text: object,
) -> Exchange[MessageFeedbackResult]:
    """Say what one thinks of a reply."""
    body: dict[str, object] = {
        "conversation_id": _conversation_id(conversation_id),
        "message_id": required_uuid("message_id", message_id),
        "rating": one_of("rating", rating, RATINGS),
    }
    if isinstance(tags, str) or not isinstance(tags, Sequence):
        raise TypeError(f"tags must be a list of str, not {kind_of(tags)}.")
    if tags:
        body["tags"] = [one_of("tags", tag, TAGS) for tag in tags]
    said = optional_text("text", text)
    if said:
        body["text"] = said
    answer = yield from call.ask("POST", "/conversation/message_feedback", body)
    return cast("MessageFeedbackResult", answer)


def _change(
    call: WebCall, conversation_id: object, changes: Mapping[str, object]
) -> Exchange[None]:
    identifier = _conversation_id(conversation_id)
    answer = yield from call.ask("PATCH", f"/conversation/{identifier}", changes)
    if answer.get("success") is not True:
        raise _missing("success", answer, call)


def _conversation_id(value: object) -> str:
    return required_uuid("conversation_id", value, CONVERSATION_VERSIONS)


def _summary(item: Mapping[str, Any]) -> ConversationSummary:
    identifier, title = item.get("id"), item.get("title")
    return ConversationSummary(
        id=lenient(identifier) if isinstance(identifier, str) else "",
        title=lenient(title) if isinstance(title, str) else None,
        created_at=time_of(item.get("create_time")),
        updated_at=time_of(item.get("update_time")),
        is_archived=item.get("is_archived") is True,
        detail=item,
    )


def _missing(what: str, answer: object, call: WebCall) -> InvalidResponseError:
    return InvalidResponseError(
        f"The answer holds no {what}.", body=redacted_body(answer, call.redact)
    )
