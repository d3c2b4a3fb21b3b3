"""What the caller gets: messages, what they cost, and what was sent for them.

Strategy: values that cannot be changed, so that a store, a stream and a caller may share one
object. Two of a message's values are worked out only when somebody reads them: the text of a
streamed part (its pieces are joined) and an estimated usage (it is counted).

Rules:

1. Making a message does no work: one is made for every event of a stream, each of the one before (`_following`), and
   one for every message of a thread that is counted (`_with`).
2. How a notebook shows a value (`_repr_html_`, `_repr_markdown_`) is loaded when one does.
3. A pickle holds plain values: the text is joined, an estimate that nobody read is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias

import attrs
from attrs import evolve, field, frozen

Role: TypeAlias = Literal["user", "assistant", "system", "developer", "tool"]
"""Who speaks. The SDK itself stores `user` and `assistant`."""

Counting: TypeAlias = Literal["exact", "approximate", "custom", "calibrated", "bound"]
"""How a figure of tokens came about; `ContextReport.counting` explains it."""


@frozen(kw_only=True)
class Usage:
    """Tokens of one exchange.

    Attributes:
        prompt_tokens: what was sent, in tokens.
        completion_tokens: what was answered, reasoning included, in tokens.
        total_tokens: their sum, in tokens.
        reasoning_tokens: the part of the answer that was thought and not said, in tokens, where the server
            tells it, or its reasoning was sent.
        cached_tokens: the part of the prompt that the server had in its cache, in tokens, where it tells it.
        estimated: whether the figures were counted here, because the server sent none.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    estimated: bool = False

    def _repr_html_(self) -> str:
        from chatgpt.core.displays import usage_in_html

        return usage_in_html(self)


@frozen
class RequestChange:
    """What a request did otherwise than the call asked for, because the model would refuse it.

    Attributes:
        parameter: the request's field.
        change: `"renamed"` (it was sent under its other name), `"left out"`, `"added"`, or
            `"shortened"` (the history).
        is_learned: whether the server said so, in this call or in an earlier one of this client; otherwise
            it is known of the model's family.
    """

    parameter: str
    change: Literal["renamed", "left out", "added", "shortened"]
    is_learned: bool


@frozen(kw_only=True)
class ContextReport:
    """What was sent for a reply, and what was left out.

    The history that is sent is always the newest part of the thread, so two ends describe it;
    `client.thread(reply.id)` gives the messages themselves.

    Attributes:
        oldest_message_id: the oldest message that was sent: the question itself when it had no
            history.
        message_count: how many messages of the thread were sent, the question included and the
            system message not.
        prompt_tokens: what the prompt takes, in tokens; see `counting`.
        counting: `"exact"` with the encoding of the model, `"approximate"` where that is not known or
            something was sent whose cost is not (pictures), `"custom"` with the caller's tokenizer,
            `"calibrated"` where the count is corrected by what the server counted before, `"bound"` when an
            upper bound in bytes proved that everything fits, so that nothing had to be counted.
        prompt_limit: the room for the prompt in tokens, or `None` where no window is known.
        reserved_tokens: what was kept free for the reply, in tokens.
        left_out: how many older messages were read and not sent. A thread is read no further than
            could ever fit, so a very long one may hold more.
        left_out_reason: `"window"` when they did not fit, `None` when nothing was left out.
        missing_message_id: an ancestor that the store does not hold, or the first message, where it cannot be read:
            the history begins after it.
        unreadable_message_ids: messages of the thread that the store holds and cannot read: the
            history goes on before them. Of several in a row the newest is named.
        changes: what was sent otherwise than asked for, because the model refuses it.
    """

    oldest_message_id: str
    message_count: int
    prompt_tokens: int
    counting: Counting
    prompt_limit: int | None
    reserved_tokens: int
    left_out: int = 0
    left_out_reason: Literal["window"] | None = None
    missing_message_id: str | None = None
    unreadable_message_ids: tuple[str, ...] = ()
    changes: tuple[RequestChange, ...] = ()

    def _repr_html_(self) -> str:
        from chatgpt.core.displays import context_in_html

        return context_in_html(self)


class TextBuffer:
    """The pieces of a growing text, joined when read, each piece once."""

    __slots__ = ("_joined", "_joined_count", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._joined = ""
        self._joined_count = 0

    def append(self, piece: str) -> TextSoFar:
        """Add a piece at the end; the text with it, which later pieces do not change."""
        pieces = self._pieces
        pieces.append(piece)
        return self, len(pieces)

    def snapshot(self) -> TextSoFar:
        """The text as it is now; later pieces do not change it."""
        return self, len(self._pieces)

    def first(self, count: int) -> str:
        """The first `count` pieces as one text."""
        if count < self._joined_count:
            return "".join(self._pieces[:count])
        if count > self._joined_count:
            self._joined += "".join(self._pieces[self._joined_count : count])
            self._joined_count = count
        return self._joined

    def __str__(self) -> str:
        return self.first(len(self._pieces))


TextSoFar: TypeAlias = tuple[TextBuffer, int]
"""The text of a buffer at one moment: its first so many pieces."""


def _as_text(value: str | TextSoFar) -> str:
    if isinstance(value, str):
        return value
    buffer, count = value
    return buffer.first(count)


def _as_text_or_none(value: str | TextSoFar | None) -> str | None:
    return None if value is None else _as_text(value)


# Without slots an attrs class that is frozen is made in two thirds of the time, and copied in a seventh (`_following`).
@frozen(kw_only=True, repr=False, slots=False)
class ChatMessage:
    """One message of a thread: a question, a reply, or a part of a reply on its way.

    Attributes:
        id: names the message in its store; what the next message gives as `parent_message_id`. The
            id of a part is provisional: that of the finished reply counts.
        text: what was said, or said so far.
        role: who said it.
        name: the speaker's name, where one was given.
        delta: on a part of a stream, what is new in `text`; `None` on a whole message.
        rewritten: on a part of a stream of the web flow, whether the server took back some of what it
            had said: then `delta` is what follows the beginning that `text` and the part before have
            in common.
        is_hidden: whether a reader does not see it and no model is sent it: a helper of a server, the call of a
            tool, thoughts. Imported conversations have them (`import_chatgpt_export`).
        parent_message_id: the message that this one replies to; `None` for the first.
        conversation_id: shared by all messages of a conversation, whatever their branch.
        detail: the server's last object of this reply, as it came (parsed JSON).
        model: the model that answered, as the server names it.
        usage: the tokens of this exchange: the server's figures, or an estimate marked so, which
            is counted when it is first read. `None` on questions and parts, and on a reply from a
            store or a pickle to which the server told no figures.
        finish_reason: why the reply ended: `"stop"`, `"length"`, `"content_filter"`, ...
        reasoning: what the model thought before it spoke, where the server sends it.
        context: what was sent for this reply. `None` on questions and parts.
        created_at: when the message was made here, with its time zone.
        request_id: the server's `x-request-id`.
        account_id: the account of a pool that answered.
        wire_fields: further fields of the message as it travels (JSON), which win over `text`: parts in its
            place (`content`), `tool_calls`, `tool_call_id`. They are sent and counted, and made by nobody
            but you: give them to messages that you save yourself.
        token_counts: tokens of text, role, name and wire fields together by encoding, kept once counted. Make
            it `{}` where you change one of these (`attrs.evolve`).
    """

    id: str
    _text: str | TextSoFar = field(eq=_as_text)
    role: Role = "user"
    name: str | None = None
    delta: str | None = None
    rewritten: bool = False
    is_hidden: bool = False
    parent_message_id: str | None = None
    conversation_id: str | None = None
    detail: Mapping[str, object] | None = None
    model: str | None = None
    _usage: Usage | Callable[[], Usage] | None = field(default=None, eq=False)
    finish_reason: str | None = None
    _reasoning: str | TextSoFar | None = field(default=None, eq=_as_text_or_none)
    context: ContextReport | None = None
    created_at: datetime | None = None
    request_id: str | None = None
    account_id: str | None = None
    wire_fields: Mapping[str, object] | None = None
    token_counts: Mapping[str, int] = field(factory=dict, eq=False)

    # Equal by its attributes, and some of them are mappings.
    __hash__ = None  # type: ignore[assignment] # so Python marks what has no hash

    @property
    def text(self) -> str:
        """What was said, or said so far."""
        text = self._text
        if not isinstance(text, str):
            text = _as_text(text)
            self.__dict__["_text"] = text
        return text

    @property
    def reasoning(self) -> str | None:
        """What the model thought before it spoke, where the server sends it."""
        return _as_text_or_none(self._reasoning)

    @property
    def usage(self) -> Usage | None:
        """The tokens of this exchange; an estimate is counted now, and kept."""
        usage = self._usage
        if callable(usage):
            usage = usage()
            self.__dict__["_usage"] = usage
        return usage

    def __repr__(self) -> str:
        shown = ("id", "role", "name", "text", "delta", "parent_message_id", "conversation_id")
        values = ((name, getattr(self, name)) for name in (*shown, "model", "finish_reason"))
        inside = ", ".join(f"{name}={value!r}" for name, value in values if value is not None)
        return f"ChatMessage({inside})"

    def _repr_markdown_(self) -> str:
        from chatgpt.core.inert_markdown import inert

        return inert(self.text)

    def without_estimate(self) -> ChatMessage:
        """The message as it is stored: a usage that nobody counted yet is left out."""
        return evolve(self, usage=None) if callable(self._usage) else self

    def _following(
        self,
        text: TextSoFar,
        reasoning: TextSoFar | None,
        delta: str,
        detail: Mapping[str, object] | None,
    ) -> ChatMessage:
        """The next part of the same reply: what else there is to a message stays as it is."""
        attributes = self.__dict__.copy()
        attributes["_text"] = text
        attributes["_reasoning"] = reasoning
        attributes["delta"] = delta
        attributes["detail"] = detail
        part: ChatMessage = object.__new__(ChatMessage)
        _set_attributes(part, attributes)
        return part

    def _with(self, **attributes: object) -> ChatMessage:
        """The same message but for these attributes: `attrs.evolve`, in a twentieth of the time."""
        message: ChatMessage = object.__new__(ChatMessage)
        _set_attributes(message, {**self.__dict__, **attributes})
        return message

    def __copy__(self) -> ChatMessage:
        return self

    def __deepcopy__(self, memo: object) -> ChatMessage:
        return self

    def __reduce__(self) -> tuple[Callable[..., ChatMessage], tuple[dict[str, Any]]]:
        stored = self.without_estimate()
        return _restored, ({name: getattr(stored, name) for name in _attribute_names()},)


# As `part.__dict__ = attributes`, which a frozen class refuses.
_set_attributes: Callable[[ChatMessage, dict[str, object]], None] = vars(ChatMessage)[
    "__dict__"
].__set__

ChatResponse: TypeAlias = ChatMessage
"""What npm `chatgpt` 3 calls a reply."""


def _restored(state: dict[str, Any]) -> ChatMessage:
    """Make a message from a pickle, whose version may know other attributes."""
    known = _attribute_names()
    return ChatMessage(**{name: value for name, value in state.items() if name in known})


def _attribute_names() -> list[str]:
    return [attribute.name.removeprefix("_") for attribute in attrs.fields(ChatMessage)]
