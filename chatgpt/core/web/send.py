"""`send_message` of the web flow, from top to bottom.

Find where the conversation stands, get an access token, send, read the reply.

Rules:

1. The server keeps the thread; nothing is stored here.
2. A message is sent once. It is sent again only where the server refused the token, or where no
   connection was made.
3. A conversation of which only the id is given goes on where the server says that it stands.
"""

from __future__ import annotations

from chatgpt.core.errors import StreamError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.needs import Exchange, ResponseHead, Surroundings
from chatgpt.core.reading import read_reply
from chatgpt.core.sending import obey
from chatgpt.core.web.access import Access, if_refused
from chatgpt.core.web.conversations import current_message_id
from chatgpt.core.web.options import WebCallOptions, WebSettings
from chatgpt.core.web.replies import WebReply
from chatgpt.core.web.requests import WebCall
from chatgpt.core.web.texts import GrowingText
from chatgpt.core.wire.web import ConversationJSONBody


def send_message(
    options: WebCallOptions, settings: WebSettings, access: Access, surroundings: Surroundings
) -> Exchange[ChatMessage]:
    """Send a message to ChatGPT's backend, and return the reply.

    Args:
        options: the call's, checked.
        settings: the client's, checked.
        access: the client's access token.
        surroundings: clock, ids and the like.

    Raises:
        ChatGPTError: whatever went wrong; `partial` holds the text that came.
    """
    call = WebCall.begin(
        settings,
        access,
        surroundings,
        timeout=options.timeout,
        idle_timeout=settings.idle_timeout,
    )
    yield from obey(options.abort, call.limits)
    parent_id = options.parent_message_id
    if parent_id is None and options.conversation_id is not None:
        parent_id = yield from current_message_id(call, options.conversation_id)
    question = ChatMessage(
        id=options.message_id or surroundings.new_id(),
        text=options.text,
        role="user",
        # The first message of a conversation replies to one that nobody has.
        parent_message_id=parent_id or surroundings.new_id(),
        conversation_id=options.conversation_id,
        created_at=surroundings.now(),
    )

    def read(head: ResponseHead) -> Exchange[ChatMessage]:
        reply = WebReply(
            question,
            model=settings.model,
            fallback_id=surroundings.new_id(),
            redact=call.redact,
            said=GrowingText(is_followed=options.is_reported, new_converter=settings.to_plain_text),
            account_id=options.account_id,
        )
        try:
            yield from read_reply(
                reply,
                head,
                call.limits,
                call.redact,
                is_reported=options.is_reported,
                on_event=options.on_event,
            )
        except StreamError as error:
            if reply.has_begun:  # the server has taken the message
                raise
            raise if_refused(error) from None
        return reply.message(request_id=head.headers.get("x-request-id"), now=surroundings.now())

    return (yield from call.post_message(_body(question, options, settings), read))


def _body(
    question: ChatMessage, options: WebCallOptions, settings: WebSettings
) -> ConversationJSONBody:
    assert question.parent_message_id is not None, "it was given one"
    body: ConversationJSONBody = {
        "action": options.action,
        "messages": [
            {
                "id": question.id,
                "role": "user",
                "content": {"content_type": "text", "parts": [question.text]},
            }
        ],
        "model": settings.model,
        "parent_message_id": question.parent_message_id,
    }
    if question.conversation_id is not None:
        body["conversation_id"] = question.conversation_id
    return body
