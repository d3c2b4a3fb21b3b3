"""The official flow: chat and text completions, on OpenAI and on every server that speaks the same.

What a caller may ask of it: answers to new messages, to edited ones, other answers and the rest of
cut ones (each a draft that is answered), a preview, and views of the tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from chatgpt.core.answering import answer
from chatgpt.core.call_options import Question
from chatgpt.core.composing import OfficialCall, compose
from chatgpt.core.drafts import continued_draft, edited_draft, new_draft, repeated_draft
from chatgpt.core.errors import MessageNotFoundError
from chatgpt.core.messages import ChatMessage, ContextReport
from chatgpt.core.needs import Exchange, LoadReplies
from chatgpt.core.threads import check_message, load_thread
from chatgpt.core.validation import required_identifier

# --- what a caller asks for ------------------------------------------------------------------


def send_message(question: Question, call: OfficialCall) -> Exchange[ChatMessage]:
    """Send a message as a reply to its parent, and return the answer.

    Raises:
        MessageNotFoundError, PromptTooLongError, ValueError: before anything is sent.
        ChatGPTError: whatever went wrong; errors.py draws the tree.
    """
    most = None if question.parent_message_id is None else call.most_messages
    drafting = new_draft(question, call.surroundings, most)
    return answer(drafting, call, question.message_id)


def edit(
    message_id: str, text: str, conversation_id: str | None, call: OfficialCall
) -> Exchange[ChatMessage]:
    """Send another message in the place of one of the user's, and return the answer.

    Args:
        message_id: the message, or a reply to it.
        text: what it should have said.
        conversation_id: the label of the conversation, where the message has none.
        call: the options and all that is needed.
    """
    return answer(edited_draft(message_id, text, conversation_id, call.surroundings), call)


def regenerate(
    message_id: str, conversation_id: str | None, call: OfficialCall
) -> Exchange[ChatMessage]:
    """Ask for another reply in the place of one; the arguments are those of `edit`."""
    return answer(repeated_draft(message_id, conversation_id, call.most_messages), call)


def continue_reply(
    message_id: str, conversation_id: str | None, call: OfficialCall
) -> Exchange[ChatMessage]:
    """Go on with a reply that was cut; the whole of it is returned."""
    endpoint, most = call.options.endpoint, call.most_messages
    return answer(continued_draft(message_id, conversation_id, endpoint, most), call)


@frozen(eq=False)
class Preview:
    """What would be sent.

    Attributes:
        messages: the messages, in their order; in chat completions the system message first. In text
            completions the instructions are no message: `body["prompt"]` begins with them.
        left_out: the messages of the thread that do not fit, oldest first.
        context: the report that the reply would have, but that everything is counted here.
        body: the JSON of the request.
    """

    messages: Sequence[ChatMessage] = field(repr=False)
    left_out: Sequence[ChatMessage] = field(repr=False)
    context: ContextReport
    body: Mapping[str, object] = field(repr=False)

    @property
    def prompt_tokens(self) -> int:
        """What the prompt takes, in tokens; `context.counting` says how that is known."""
        return self.context.prompt_tokens

    def _repr_html_(self) -> str:
        from chatgpt.core.displays import context_in_html

        return context_in_html(self.context)


def preview(question: Question, call: OfficialCall) -> Exchange[Preview]:
    """Say what would be sent, and send nothing. The counts are saved with the next reply.

    Raises:
        MessageNotFoundError, PromptTooLongError, ValueError: as `send_message`.
    """
    draft = yield from new_draft(question, call.surroundings, None)
    try:
        attempt = yield from compose(draft, call, is_counted=True)
    finally:
        call.counted.pop(draft.question.id, None)
    prompt = attempt.prompt
    return Preview(prompt.messages, prompt.left_out, prompt.context, attempt.body)


# --- the tree --------------------------------------------------------------------------------


def read_thread(message_id: object) -> Exchange[Sequence[ChatMessage]]:
    """Read a thread up to one of its messages, oldest first.

    Raises:
        MessageNotFoundError: the store does not hold it.
    """
    messages = yield from load_thread(required_identifier("message_id", message_id))
    return messages[::-1]


def read_branches(message_id: object) -> Exchange[Sequence[ChatMessage]]:
    """Read the messages that reply to one, oldest first.

    Raises:
        MessageNotFoundError: the store does not hold it.
    """
    known_id = required_identifier("message_id", message_id)
    yield from load_thread(known_id, 1)
    replies = yield from LoadReplies(known_id)
    for reply in replies:
        check_message(reply)
    return replies


def take_back(message_id: str) -> Exchange[tuple[ChatMessage, str | None] | None]:
    """Find the last message of the user in a thread, and what it replies to.

    Args:
        message_id: the newest message of the thread.

    Returns:
        The message and the id of its parent; `None` where the store holds no message of the user.

    Raises:
        MessageNotFoundError: the store does not hold `message_id`, or the parent any more.
    """
    messages = yield from load_thread(message_id)
    turn = next((n for n, m in enumerate(messages) if m.role == "user" and not m.is_hidden), None)
    if turn is None:
        return None
    question, *before = messages[turn:]
    if question.parent_message_id is not None and not before:
        raise MessageNotFoundError(
            f"The message {question.parent_message_id!r}, before the last question, is not in the message "
            "store any more: there is nothing to go back to."
        )
    return question, question.parent_message_id
