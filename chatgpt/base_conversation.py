"""What a `Conversation` is in both twins: where it stands, and the exchanges of its methods.

A twin adds the methods that wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, Unpack

from attrs import evolve

from chatgpt.base_client import BaseChatGPTAPI
from chatgpt.core import official
from chatgpt.core.call_options import AnswerOptions, Question, joined_params, question_of
from chatgpt.core.composing import OfficialCall
from chatgpt.core.following import ConversationState
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange
from chatgpt.core.trees import ConversationTree, read_tree
from chatgpt.core.validation import identifier, required_identifier, text_to_send


class BaseConversation(ConversationState):
    """A chat of the official flow, but for what waits.

    Args:
        client: sends its messages.
        options: how they are answered, unless a call says otherwise.
        conversation_id, parent_message_id: where it stands.
    """

    def __init__(
        self,
        client: BaseChatGPTAPI[Any, Any, Any, Any],
        options: AnswerOptions,
        conversation_id: str | None,
        parent_message_id: str | None,
    ) -> None:
        super().__init__(
            identifier("conversation_id", conversation_id),
            identifier("parent_message_id", parent_message_id),
        )
        self._client: BaseChatGPTAPI[Any, Any, Any, Any] = client
        self._options = options
        client._official_call(**options)  # noqa: SLF001 - a conversation is a part of its client

    def branch(self, message_id: str | None = None) -> Self:
        """Return another conversation that goes on from here, while this one goes its own way.

        Args:
            message_id: the id of the message to go on from; by default the last reply. It is looked up
                when something is asked of the new conversation.

        Raises:
            TypeError, ValueError: it is no id.
        """
        if message_id is None:
            place = self._conversation_id, self._parent_message_id
        else:
            place = None, identifier("message_id", message_id)  # it knows its conversation
        return type(self)(self._client, self._options, *place)

    def _sending(
        self,
        text: str,
        *,
        message_id: str | None,
        name: str | None,
        is_iterated: bool = False,
        **given: Unpack[AnswerOptions],
    ) -> Exchange[ChatMessage]:
        question = question_of(text, message_id=message_id, name=name)
        call = self._call_with(given, is_iterated=is_iterated)
        return self._following(lambda: official.send_message(self._placed(question), call))

    def _regenerating(self, **given: Unpack[AnswerOptions]) -> Exchange[ChatMessage]:
        call = self._call_with(given)
        return self._following(
            lambda: official.regenerate(self._last_message_id(), self._conversation_id, call)
        )

    def _continuing(self, **given: Unpack[AnswerOptions]) -> Exchange[ChatMessage]:
        call = self._call_with(given)
        return self._following(
            lambda: official.continue_reply(self._last_message_id(), self._conversation_id, call)
        )

    def _editing(
        self, message_id: object, text: object, **given: Unpack[AnswerOptions]
    ) -> Exchange[ChatMessage]:
        checked_id = required_identifier("message_id", message_id)
        checked_text, call = text_to_send("text", text), self._call_with(given)
        return self._following(
            lambda: official.edit(checked_id, checked_text, self._conversation_id, call)
        )

    def _previewing(
        self, text: str, *, name: str | None, **given: Unpack[AnswerOptions]
    ) -> Exchange[official.Preview]:
        question, call = question_of(text, name=name), self._call_with(given)
        return official.preview(self._placed(question), call)

    def _undoing(self) -> Exchange[ChatMessage | None]:
        self._begin()
        try:
            at = self._parent_message_id
            found = None if at is None else (yield from official.take_back(at))
            if found is None:
                return None
            question, self._parent_message_id = found
            return question
        finally:
            self._is_busy = False

    def _reading(self) -> Exchange[Sequence[ChatMessage]]:
        if self._parent_message_id is None:
            return []
        return (yield from official.read_thread(self._parent_message_id))

    def _reading_tree(self) -> Exchange[ConversationTree]:
        return read_tree(self._parent_message_id)

    def _placed(self, question: Question) -> Question:
        """A question as the next message."""
        return evolve(
            question,
            conversation_id=self._conversation_id,
            parent_message_id=self._parent_message_id,
        )

    def _last_message_id(self) -> str:
        if self._parent_message_id is None:
            raise ValueError("There is no reply yet in this conversation: send a message first.")
        return self._parent_message_id

    def _call_with(self, given: AnswerOptions, *, is_iterated: bool = False) -> OfficialCall:
        options = self._with(given)
        return self._client._official_call(is_iterated=is_iterated, **options)  # noqa: SLF001

    def _with(self, given: AnswerOptions) -> AnswerOptions:
        """The options of a call over those of the conversation."""
        options: AnswerOptions = {**self._options, **given}
        own, params = self._options.get("completion_params"), given.get("completion_params")
        if params is None:
            options["completion_params"] = own
        elif own is not None and isinstance(params, Mapping):
            options["completion_params"] = joined_params(own, params)
        return options
