"""What is to be answered, and where the answer belongs in the tree.

A draft is a message that asks and the thread that leads to it. There are four ways to one: a new
message; one that is edited, which makes a new message beside the old one; a reply that is wanted
again, beside the old one; and a reply that was cut and is to be gone on with.

Rules:

1. Nothing is overwritten: whatever is made anew stands beside what was there.
2. The thread is read once, from the message that is named, so that an ancestor that is missing
   further up ends the history and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import evolve, frozen

from chatgpt.core.call_options import Question
from chatgpt.core.errors import MessageNotFoundError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.models import EndpointName
from chatgpt.core.needs import Exchange, LoadMessage, Surroundings
from chatgpt.core.threads import History, load_history

GO_ON: Final = (
    "Your last message was cut off. Go on with it exactly where it stops: repeat nothing and comment on "
    "nothing."
)
"""What asks a chat model to go on; it is sent and not stored, and has no id."""


@frozen
class Draft:
    """What is to be answered.

    Attributes:
        asked: what cannot be left out of the prompt: the message that asks, last, and where a chat model is to
            go on with a reply, that reply.
        history: the thread before.
        is_new: whether the store is to hold the question, and does not yet.
        parent_message_id: the message that the reply replies to.
        conversation_id: the conversation of the reply.
        begun: the reply that is gone on with.
    """

    asked: Sequence[ChatMessage]
    history: History
    is_new: bool
    parent_message_id: str | None
    conversation_id: str | None
    begun: ChatMessage | None = None

    @property
    def question(self) -> ChatMessage:
        """The message that asks."""
        return self.asked[-1]


def new_draft(question: Question, surroundings: Surroundings, most: int | None) -> Exchange[Draft]:
    """A new message.

    Args:
        question: it and its place, checked.
        surroundings: ids and the date.
        most: how many messages of the thread could be sent at most, `None` for all.

    Raises:
        MessageNotFoundError: its parent is not in the store.
        ValueError: its id is stored already.
    """
    if (
        question.message_id is not None
        and (yield from LoadMessage(question.message_id)) is not None
    ):
        raise ValueError(
            f"message_id {question.message_id!r} is stored already; nothing is overwritten."
        )
    history = yield from load_history(question.parent_message_id, most)
    return _draft_of(question, history, surroundings)


def edited_draft(
    message_id: str,
    text: str,
    conversation_id: str | None,
    surroundings: Surroundings,
) -> Exchange[Draft]:
    """A message of the user, put otherwise: a new one beside it.

    Args:
        message_id: its id, or that of a reply to it.
        text: what it should have said.
        conversation_id: the conversation, where the message names none.
        surroundings: ids and the date.

    Raises:
        MessageNotFoundError: it is not in the store.
        ValueError: there is no message of the user.
    """
    # All of it is read: nobody knows how far up his message is.
    message, history = yield from _with_history(message_id, None)
    before = [message, *history.messages]
    while before and before[0].role != "user":
        del before[0]
    if not before:
        raise ValueError(
            f"There is no message of the user that {message_id!r} replies to: nothing can be edited."
        )
    original, *earlier = before
    question = Question(
        text=text,
        parent_message_id=original.parent_message_id,
        conversation_id=original.conversation_id or conversation_id,
        message_id=None,
        name=original.name,
    )
    return _draft_of(
        question,
        evolve(history, messages=earlier),
        surroundings,
        _with_text(original.wire_fields, text),
    )


def _with_text(fields: Mapping[str, object] | None, text: str) -> Mapping[str, object] | None:
    """The wire fields of a message that says something else, its pictures and the like kept."""
    if fields is None or "content" not in fields:
        return fields
    content = fields["content"]
    parts = content if isinstance(content, (list, tuple)) else ()
    others = [p for p in parts if isinstance(p, Mapping) and not isinstance(p.get("text"), str)]
    return {**fields, "content": [{"type": "text", "text": text}, *others] if others else text}


def repeated_draft(
    message_id: str, conversation_id: str | None, most: int | None
) -> Exchange[Draft]:
    """A message that is to be answered again.

    Args:
        message_id: of the reply that is wanted otherwise, or of the question itself.
        conversation_id: the conversation, where the message names none.
        most: how many messages of the thread could be sent at most, `None` for all.

    Raises:
        MessageNotFoundError: it, or what it replies to, is not in the store.
    """
    message, history = yield from _with_history(message_id, most)
    if message.role == "assistant":
        before = [*history.messages]
        while before and before[0].role == "assistant":  # ChatGPT may say several things in a turn
            del before[0]
        if not before:
            raise MessageNotFoundError(
                f"The message that {message_id!r} replies to is not in the message store: it cannot be "
                "answered again."
            )
        message, *before = before
        history = evolve(history, messages=before)
    return Draft(
        (message,),
        history,
        is_new=False,
        parent_message_id=message.id,
        conversation_id=message.conversation_id or conversation_id,
    )


def continued_draft(
    message_id: str, conversation_id: str | None, endpoint: EndpointName, most: int | None
) -> Exchange[Draft]:
    """A reply that was cut, to be gone on with.

    Raises:
        MessageNotFoundError: it is not in the store.
        ValueError: it was not cut, or has no text.
    """
    message, history = yield from _with_history(message_id, most)
    if message.role != "assistant" or message.finish_reason != "length":
        raise ValueError(
            f"The message {message_id!r} was not cut (role {message.role!r}, finish_reason "
            f"{message.finish_reason!r}): only a reply whose finish_reason is 'length' can be gone on with."
        )
    if not message.text:
        raise ValueError(
            f"The reply {message_id!r} has no text to go on with: its limit was used up before it spoke. "
            "Ask again with a larger max_response_tokens."
        )
    asked = [message]
    if endpoint == "chat":
        asked.append(ChatMessage(id="", text=GO_ON))
    return Draft(
        asked,
        history,
        is_new=False,
        parent_message_id=message.parent_message_id,
        conversation_id=message.conversation_id or conversation_id,
        begun=message,
    )


def _draft_of(
    question: Question,
    history: History,
    surroundings: Surroundings,
    wire_fields: Mapping[str, object] | None = None,
) -> Draft:
    message = ChatMessage(
        id=question.message_id or surroundings.new_id(),
        text=question.text,
        role="user",
        name=question.name,
        parent_message_id=question.parent_message_id,
        conversation_id=question.conversation_id
        or history.conversation_id
        or surroundings.new_id(),
        created_at=surroundings.now(),
        wire_fields=wire_fields,
    )
    return Draft(
        (message,),
        history,
        is_new=True,
        parent_message_id=message.id,
        conversation_id=message.conversation_id,
    )


def _with_history(message_id: str, most: int | None) -> Exchange[tuple[ChatMessage, History]]:
    """A stored message, or the nearest one before it that is not hidden, and the thread before that.

    Raises:
        MessageNotFoundError: it is not in the store, or cannot be read.
        ValueError: all of the thread is hidden.
    """
    # The message itself, and its question, are no history.
    thread = yield from load_history(message_id, None if most is None else most + 2)
    if message_id in thread.unreadable_message_ids:
        raise MessageNotFoundError(f"The message store holds {message_id!r}, and cannot read it.")
    if not thread.messages:
        raise ValueError(f"The thread that leads to {message_id!r} has hidden messages only.")
    message, *before = thread.messages
    return message, evolve(thread, messages=before)
