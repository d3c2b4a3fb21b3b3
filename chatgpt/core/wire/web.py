"""What travels between a client and ChatGPT's own backend, as typed dictionaries.

The names are those of npm `chatgpt` 3 to 5, so that code which is moved over finds them. They
describe; nothing is checked at run time, because the backend has no published interface and changes.
Every field of an answer is therefore optional.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NotRequired, TypeAlias, TypedDict

ContentType: TypeAlias = Literal["text"]
"""The type of what a prompt says."""

MessageActionType: TypeAlias = Literal["next", "variant"]
"""What the server is to do: answer a new message, or answer one again."""

MessageRating: TypeAlias = Literal["thumbsUp", "thumbsDown"]
"""What somebody thinks of a reply."""

MessageFeedbackTag: TypeAlias = Literal["harmful", "false", "not-helpful"]
"""What is wrong with a reply."""

MessageMetadata: TypeAlias = Mapping[str, object]
"""What the server notes about a message."""


# --- requests --------------------------------------------------------------------------------


class PromptContent(TypedDict):
    """What a prompt says, in parts."""

    content_type: ContentType
    parts: list[str]


class Prompt(TypedDict):
    """One new message."""

    id: str
    role: Literal["user", "assistant"]
    content: PromptContent


class ConversationJSONBody(TypedDict):
    """The body of `POST /backend-api/conversation`."""

    action: MessageActionType
    messages: list[Prompt]
    model: str
    parent_message_id: str
    conversation_id: NotRequired[str]


# --- answers ---------------------------------------------------------------------------------


class MessageContent(TypedDict, total=False):
    """What a message says, in parts."""

    content_type: str
    parts: list[str | Mapping[str, object]]


class MessageAuthor(TypedDict, total=False):
    """Who wrote a message; older servers write `role` beside the content."""

    role: str
    name: str | None
    metadata: MessageMetadata


class Message(TypedDict, total=False):
    """One message, whole or as far as it has come."""

    id: str
    author: MessageAuthor
    role: str
    user: str | None
    content: MessageContent
    create_time: float | str | None
    update_time: float | str | None
    status: str
    end_turn: bool | None
    weight: float
    metadata: MessageMetadata
    recipient: str
    channel: str | None


class ConversationResponseEvent(TypedDict, total=False):
    """One event of the stream that answers a message: a snapshot, an operation, or a side event.

    Attributes:
        message: in a snapshot, the message so far.
        conversation_id: the conversation's id, in snapshots and most side events.
        error: in a snapshot, what went wrong.
        c: in an operation (`delta_encoding` v1), the channel; absent where it stays the same, as `p` and `o`.
        p: the JSON pointer to what is changed.
        o: what is done: `"add"`, `"append"`, `"replace"`, `"remove"`, `"patch"` or `"truncate"`.
        v: the value.
        type: what kind of side event it is: `"title_generation"`, `"message_marker"`, ...
        title: in a `title_generation`, the title.
        moderation_response: what the moderation says of a message.
    """

    message: Message | None
    conversation_id: str
    error: str | None
    c: int
    p: str
    o: str
    v: object
    type: str
    title: str
    moderation_response: Mapping[str, object]


class User(TypedDict, total=False):
    """Who is signed in: id, name and address, URLs of pictures, groups and features that are on."""

    id: str
    name: str
    email: str
    image: str
    picture: str
    groups: list[str]
    features: list[str]


class SessionResult(TypedDict, total=False):
    """The answer of `GET /api/auth/session`.

    `expires` is the session's end (ISO 8601), `error` says why there is no access token.
    """

    user: User
    expires: str
    accessToken: str
    error: str | None


class ModerationsJSONResult(TypedDict, total=False):
    """The answer of `POST /backend-api/moderations`.

    `flagged` says whether a text is against the rules, `blocked` whether it would be taken back.
    """

    flagged: bool
    blocked: bool
    moderation_id: str


class MessageFeedbackResult(TypedDict, total=False):
    """The answer of `POST /backend-api/conversation/message_feedback`."""

    message_id: str
    conversation_id: str
    user_id: str
    rating: MessageRating
    text: str
    tags: list[str]
