"""Snapshots in, the reply out, for ChatGPT's own backend.

Rules:

1. The reply is the assistant's message that began last, of those that a reader sees; one without a
   text counts only if there is no other. Echoes of the system and the user, calls of tools, what tools
   say, thoughts and hidden messages never become the reply.
2. `delta` is what is new since the last part. Where a snapshot says something else than was said, or
   another message takes the place of the first, it is what follows the common beginning, and the part
   is marked as `rewritten`. Where nothing was rewritten, the deltas joined are the text.
3. The reply is complete with `[DONE]`, with `end_turn`, with a status that is finished, or when the
   server says that the stream is. The oldest dialect has no status: there, the connection's end is the
   end, but no limit that passes.
4. An error beside or in place of a message, and a moderation that blocks, end the reply with a typed
   error. A message that comes with an error is part of the partial text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from chatgpt.core.error_bodies import is_error, not_understood, stream_error
from chatgpt.core.errors import InvalidResponseError, StreamError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.reading import GrowingReply
from chatgpt.core.secrets import Redactor, masked_values
from chatgpt.core.sse import Event
from chatgpt.core.surrogates import lenient
from chatgpt.core.web.deltas import DeltaError
from chatgpt.core.web.events import ENCODING_EVENT, ConversationEvents, Snapshot
from chatgpt.core.web.messages import ServerMessage
from chatgpt.core.web.texts import GrowingText, Growth

STREAM_COMPLETE: Final = "message_stream_complete"
MODERATION_BLOCKED: Final = "moderation_blocked"
MOST_MESSAGES: Final = 256
"""How many messages of assistant and tools are remembered: the newest."""


@frozen
class _Shown:
    """A message of the assistant that a reader sees, and the snapshot that told it last."""

    message: ServerMessage
    snapshot: Snapshot


class WebReply(GrowingReply):
    """A reply of ChatGPT's backend on its way.

    Args:
        question: the message that is answered; it gives parent and conversation.
        model: the model that was asked, until the server names its own.
        fallback_id: the id of a reply to which the server gives none.
        redact: masks the secrets of the call.
        said: takes the text.
        account_id: the account of a pool that answers.
    """

    def __init__(
        self,
        question: ChatMessage,
        *,
        model: str,
        fallback_id: str,
        redact: Redactor,
        said: GrowingText,
        account_id: str | None = None,
    ) -> None:
        super().__init__(redact)
        self._account_id = account_id
        self._question = question
        self._model = model
        self._fallback_id = fallback_id
        self._said = said
        self._events = ConversationEvents()
        self._conversation_id = question.conversation_id
        # Of assistant and tools, in the order in which they began; `None` for what no reader sees.
        self._messages: dict[str, _Shown | None] = {}
        self._has_begun = False
        self._is_stream_complete = False

    @property
    def has_begun(self) -> bool:
        """Whether the server has sent anything but an error, be it an echo of the question."""
        return self._has_begun

    @property
    def text(self) -> str:
        """The text so far."""
        return str(self._said)

    @property
    def is_complete(self) -> bool:
        """Whether the server has said everything that belongs to the reply."""
        if self.is_ending:
            return True
        shown = self._last_shown()
        return shown is not None and shown.message.is_finished and self._is_latest(shown)

    @property
    def may_end_here(self) -> bool:
        """Whether it is the whole reply if the connection ends now."""
        if self.is_complete:
            return True
        shown = self._last_shown()
        return shown is not None and not shown.message.has_status and bool(self._said)

    @property
    def is_ending(self) -> bool:
        """Whether nothing more of the reply is to come."""
        if self._is_done or self._is_stream_complete:
            return True
        shown = self._last_shown()
        return shown is not None and shown.message.ends_turn and self._is_latest(shown)

    def message(self, *, request_id: str | None, now: datetime) -> ChatMessage:
        """The finished reply.

        Args:
            request_id: the server's `x-request-id`.
            now: the date and time.
        """
        shown = self._last_shown()
        assert shown is not None, "`end` has raised where there is no message"
        reason, redact = shown.message.finish_reason, self._redact
        return ChatMessage(
            id=redact(self._id(shown.message)),
            text=self.text,
            role="assistant",
            parent_message_id=self._question.id,
            conversation_id=self._conversation_id,
            # A tree may have gone on to another message.
            detail=masked_values({**shown.snapshot.root, "message": shown.message.fields}, redact),
            model=redact(self._model_of(shown.message)),
            finish_reason=None if reason is None else redact(lenient(reason)),
            created_at=now,
            request_id=redact(request_id) if request_id else None,
            account_id=self._account_id,
        )

    def _take_json(self, answer: object, event: Event) -> ChatMessage | None:
        name, data, kind = event
        if name == ENCODING_EVENT:
            self._take_encoding(answer, data)
            return None
        is_whole = kind == "document"
        if not isinstance(answer, dict):
            if name == "error" or is_error(answer, is_whole=is_whole):
                raise stream_error(data, self._redact, partial=self.text)
            if is_whole:
                raise not_understood(data, self._redact, "The answer holds no reply")
            return None
        try:
            snapshot = self._events.snapshot_after(name, answer)
        except DeltaError as problem:
            what = f"An operation of the stream cannot be done ({problem})"
            raise not_understood(data, self._redact, what) from None
        part = None
        was_ending = self.is_ending
        if snapshot is not None:
            part = self._take_snapshot(snapshot)
            if not was_ending:  # nothing of the reply is missing
                self._refuse_error(snapshot, data, is_named=name == "error")
        self._has_begun = True
        self._take_marks(answer)
        if is_whole:
            if self._last_shown() is None:
                raise not_understood(data, self._redact, "The answer holds no reply")
            self._is_done = True
        return part

    def _take_encoding(self, encoding: object, data: str) -> None:
        try:
            self._events.announce(encoding)
        except ValueError as problem:
            raise not_understood(data, self._redact, f"In the stream, {problem}") from None

    def _take_snapshot(self, snapshot: Snapshot) -> ChatMessage | None:
        conversation_id = snapshot.root.get("conversation_id")
        if conversation_id and isinstance(conversation_id, str):
            self._conversation_id = lenient(conversation_id)
        fields = snapshot.root.get("message")
        if not isinstance(fields, dict):
            return None
        self._has_begun = True
        message = ServerMessage(fields)
        if message.role not in ("assistant", "tool"):
            return None
        is_shown = message.role == "assistant" and message.is_shown
        self._messages[message.id or ""] = _Shown(message, snapshot) if is_shown else None
        if len(self._messages) > MOST_MESSAGES:
            del self._messages[next(iter(self._messages))]
        shown = self._last_shown()
        if shown is None:
            return None
        return self._part(shown, self._said.say(shown.message.text))

    def _refuse_error(self, snapshot: Snapshot, data: str, *, is_named: bool) -> None:
        root = snapshot.root
        if not is_named and not _tells_error(root):
            return
        if not snapshot.is_own:  # the event may say no more than `"v": "text"`
            data = _as_json({"error": root.get("error"), "code": root.get("error_code")})
        raise stream_error(data, self._redact, partial=self.text)

    def _take_marks(self, event: Mapping[str, Any]) -> None:
        """Take what an event says beside the message."""
        if event.get("type") == STREAM_COMPLETE:
            self._is_stream_complete = self._last_shown() is not None
        moderation = event.get("moderation_response")
        if isinstance(moderation, dict) and moderation.get("blocked") is True:
            whose = "the message" if event.get("is_completion") is False else "the reply"
            raise StreamError(
                f"ChatGPT's moderation blocked {whose}.",
                code=MODERATION_BLOCKED,
                type="moderation",
                partial=self.text,
            )

    def _last_shown(self) -> _Shown | None:
        """The message that is the reply, so far."""
        last = None
        for shown in reversed(self._messages.values()):
            if shown is not None and shown.message.text:
                return shown
            last = last or shown
        return last

    def _is_latest(self, shown: _Shown) -> bool:
        """Whether nothing began after a message: a remark may be finished while a tool is at work."""
        return next(reversed(self._messages)) == (shown.message.id or "")

    def _last_part(self) -> ChatMessage | None:
        shown = self._last_shown()
        if shown is None:
            raise InvalidResponseError("The answer holds no message of the assistant.")
        return self._part(shown, self._said.finish())

    def _part(self, shown: _Shown, growth: Growth | None) -> ChatMessage | None:
        if growth is None:
            return None
        return ChatMessage(
            id=self._id(shown.message),
            text=self._said.snapshot(),
            role="assistant",
            delta=growth.delta,
            rewritten=growth.is_rewritten,
            parent_message_id=self._question.id,
            conversation_id=self._conversation_id,
            # A tree goes on changing; a part does not.
            detail=shown.snapshot.root if shown.snapshot.is_own else None,
            model=self._model_of(shown.message),
            account_id=self._account_id,
        )

    def _id(self, message: ServerMessage) -> str:
        return self._fallback_id if message.id is None else lenient(message.id)

    def _model_of(self, message: ServerMessage) -> str:
        return self._model if message.model is None else lenient(message.model)


def _as_json(value: object) -> str:
    try:
        return json.dumps(value)
    except (ValueError, RecursionError):  # operations can nest it deeper than any text
        return ""


def _tells_error(root: Mapping[str, Any]) -> bool:
    """Whether an event, or the conversation after it, tells an error."""
    kind, message = root.get("type"), root.get("message")
    if isinstance(kind, str) and "error" not in kind:
        return bool(root.get("error"))  # a side event
    if root.get("error") or root.get("detail") or kind == "error":
        return True
    return isinstance(message, str) and bool(message)
