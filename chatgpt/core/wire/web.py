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
    """What a prompt says, in parts.

    Attributes:
        content_type: the type of the parts.
        parts: the parts: one text.
    """

    content_type: ContentType
    parts: list[str]


class Prompt(TypedDict):
    """One new message.

    Attributes:
        id: its id, a uuid of version 4.
        role: who says it.
        content: what is said.
    """

    id: str
    role: Literal["user", "assistant"]
    content: PromptContent


class ConversationJSONBody(TypedDict):
    """The body of `POST /backend-api/conversation`.

    Attributes:
        action: whether the message is new, or is to be answered again.
        messages: the new message.
        model: the model that is asked.
        parent_message_id: the id of the message that it replies to.
        conversation_id: the id of the conversation; left out in a new one.
    """

    action: MessageActionType
    messages: list[Prompt]
    model: str
    parent_message_id: str
    conversation_id: NotRequired[str]


# --- answers ---------------------------------------------------------------------------------


class MessageContent(TypedDict, total=False):
    """What a message says, in parts.

    Attributes:
        content_type: the type of the parts, such as `"text"`.
        parts: the parts: texts, or objects for pictures and the like.
    """

    content_type: str
    parts: list[str | Mapping[str, object]]


class MessageAuthor(TypedDict, total=False):
    """Who wrote a message; older servers write `role` beside the content.

    Attributes:
        role: `"user"`, `"assistant"`, `"system"` or `"tool"`.
        name: the name of a tool.
        metadata: what the server notes about the author.
    """

    role: str
    name: str | None
    metadata: MessageMetadata


class Message(TypedDict, total=False):
    """One message, whole or as far as it has come.

    Attributes:
        id: its id.
        author: who wrote it.
        role: who wrote it, where an older server says it here.
        user: the user, where an older server names one.
        content: what it says.
        create_time: when it was made, in seconds since 1970 (UTC), or as ISO 8601 writes it.
        update_time: when it was changed, in seconds since 1970 (UTC), or as ISO 8601 writes it.
        status: how far it is: `"in_progress"`, `"finished_successfully"`, ...
        end_turn: whether nothing follows it.
        weight: from 0 to 1; a message of weight 0 is shown to nobody.
        metadata: what the server notes about it.
        recipient: to whom it goes: `"all"`, or the name of a tool.
        channel: where it is said, such as `"final"`.
    """

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
        c: in an operation (`delta_encoding` v1), the number of the channel; absent where it stays the same, as `p`
            and `o`.
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
    """Who is signed in.

    Attributes:
        id: the id of the user.
        name: the name.
        email: the address.
        image: the URL of a picture.
        picture: the URL of a picture.
        groups: the groups of the user.
        features: the features that are on.
    """

    id: str
    name: str
    email: str
    image: str
    picture: str
    groups: list[str]
    features: list[str]


class SessionResult(TypedDict, total=False):
    """The answer of `GET /api/auth/session`.

    Attributes:
        user: who is signed in.
        expires: when the session ends, as ISO 8601 writes it.
        accessToken: the access token.
        error: why there is none.
    """

    user: User
    expires: str
    accessToken: str
    error: str | None


class ModerationsJSONResult(TypedDict, total=False):
    """The answer of `POST /backend-api/moderations`.

    Attributes:
        flagged: whether the text is against the rules.
        blocked: whether it would be taken back.
        moderation_id: the server's id.
    """

    flagged: bool
    blocked: bool
    moderation_id: str


class MessageFeedbackResult(TypedDict, total=False):
    """The answer of `POST /backend-api/conversation/message_feedback`.

    Attributes:
        message_id: the id of the reply.
        conversation_id: the id of its conversation.
        user_id: the id of the user.
        rating: what was thought of it.
        text: what was said of it.
        tags: what is wrong with it.
    """

    message_id: str
    conversation_id: str
    user_id: str
    rating: MessageRating
    text: str
    tags: list[str]
