"""A talk: a conversation of either flow that goes on, and is kept in the store.

Rules:

1. Which conversation is meant is known to be right before anything is sent.
2. A question is kept with its answer, or not at all.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Protocol
from uuid import uuid4

import click

from chatgpt import (
    ChatGPTUnofficialProxyAPI,
    ChatMessage,
    SQLiteStore,
    StoredConversation,
    StoreError,
)
from chatgpt.cli.answer_views import OnProgress
from chatgpt.cli.client_options import TalkOptions
from chatgpt.cli.clients import official_client, web_client
from chatgpt.cli.conversation_store import (
    SHOWN_ID,
    check_is_no_id,
    find_conversation,
    label_of,
    open_store,
)
from chatgpt.cli.exit_codes import say


class Talk(Protocol):
    """A conversation that goes on: each message replies to the reply before it."""

    def send(
        self, text: str, *, stream: bool | None = None, on_progress: OnProgress | None = None
    ) -> ChatMessage:
        """Send the next message and return the reply, which is kept."""
        ...


class WebTalk:
    """A conversation of the web flow. The server keeps the thread; what was said is kept here, too.

    Args:
        client: sends the messages.
        store: where they are kept; `None` for nowhere.
        begun: the conversation that goes on.
    """

    def __init__(
        self,
        client: ChatGPTUnofficialProxyAPI,
        store: SQLiteStore | None,
        begun: StoredConversation | None,
    ) -> None:
        self._store = store
        conversation_id, last_message_id = _ids_of(begun)
        self._conversation = client.conversation(
            conversation_id=conversation_id, parent_message_id=last_message_id
        )

    def send(
        self, text: str, *, stream: bool | None = None, on_progress: OnProgress | None = None
    ) -> ChatMessage:
        """Send the next message and return the reply. An answer of the web flow is always a stream."""
        before = self._conversation.parent_message_id
        question_id = str(uuid4())
        reply = self._conversation.send(
            text,
            message_id=question_id,
            on_progress=None if stream is False else on_progress,
        )
        if self._store is not None:
            question = ChatMessage(
                id=question_id,
                text=text,
                parent_message_id=before,
                conversation_id=reply.conversation_id,
                created_at=reply.created_at,
            )
            try:
                self._store.save([question, reply])
            except StoreError as error:
                error.unsaved_messages = (question, reply)
                raise
        return reply


def open_place(
    stack: ExitStack, options: TalkOptions
) -> tuple[SQLiteStore | None, StoredConversation | None]:
    """Open the store, and find the conversation that goes on.

    Args:
        stack: closes the store.
        options: say which.

    Returns:
        `None` for no store, and for a new conversation.

    Raises:
        click.UsageError: without a store nothing can go on; or the one that is meant cannot go on in this flow.
        NotFoundInStore: there is no such conversation.
        StoreError: the store cannot be opened.
        ValueError: no conversation can have that name.
    """
    name, is_continued = options["name"], options["is_continued"]
    if not options["is_stored"]:
        if is_continued or name is not None:
            raise click.UsageError(
                "--no-store keeps nothing that -c or -n could go on with: leave out one of them."
            )
        return None, None
    store = stack.enter_context(open_store())
    if is_continued:
        begun: StoredConversation | None = find_conversation(store, name)
    elif name is not None:
        StoredConversation.check_name(name)
        begun = next((each for each in store.find_conversations(name) if each.name == name), None)
        if begun is None:
            check_is_no_id(store, name)
    else:
        begun = None
    if begun is not None:
        _check_flow(store, begun, is_web=options["is_web"])
    return store, begun


def _check_flow(store: SQLiteStore, begun: StoredConversation, *, is_web: bool) -> None:
    """Check that a conversation can go on in a flow, and say where it leaves the other one."""
    last = store.get(begun.last_message_id)
    detail = {} if last is None or last.detail is None else last.detail
    # What the server wrote tells the flows apart: an answer has choices in one, and a message in the other.
    if is_web and "choices" in detail:
        raise click.UsageError(
            f"{label_of(begun)} is no conversation of ChatGPT's own backend: leave --web out."
        )
    if not is_web and "message" in detail:
        say(
            f"{label_of(begun)} was held with ChatGPT's own backend; it goes on here with the API, which costs "
            "money (--web goes on there)"
        )


def open_talk(
    stack: ExitStack,
    options: TalkOptions,
    store: SQLiteStore | None,
    begun: StoredConversation | None,
) -> Talk:
    """Begin a talk, or go on with one.

    Args:
        stack: closes the client.
        options: say how the client is made.
        store: where the talk is kept; `None` for nowhere.
        begun: the conversation that goes on; `None` for a new one.

    Raises:
        click.UsageError: an option is not for this flow.
        ConfigurationError: an option is wrong, or the key is missing.
    """
    if options["is_web"]:
        return WebTalk(stack.enter_context(web_client(options)), store, begun)
    client = stack.enter_context(official_client(options, store))
    conversation_id, last_message_id = _ids_of(begun)
    return client.conversation(conversation_id=conversation_id, parent_message_id=last_message_id)


def _ids_of(begun: StoredConversation | None) -> tuple[str | None, str | None]:
    return (None, None) if begun is None else (begun.id, begun.last_message_id)


def name_new_conversation(store: SQLiteStore, reply: ChatMessage, name: str) -> None:
    """Give the conversation of its first reply its name, or say that another command was faster."""
    assert reply.conversation_id is not None, "a reply has one"
    try:
        store.name_conversation(reply.conversation_id, name)
    except ValueError as error:  # the answer is kept all the same
        say(f"the conversation {reply.conversation_id[:SHOWN_ID]} has no name: {error}")


def note_what_is_missing(reply: ChatMessage) -> None:
    """Say on standard error where an answer is cut, and what of the conversation was not sent for it."""
    if reply.finish_reason == "length":
        say("the answer is cut at its limit of tokens")
    elif reply.finish_reason == "content_filter":
        say("the answer is cut by the server's content filter")
    elif not reply.text.strip():
        say("the answer has no text")
    context = reply.context
    if context is not None and context.left_out:
        say(
            f"the {context.left_out} oldest messages of the conversation did not fit, and were not sent"
        )
    if context is not None and context.missing_message_id is not None:
        say("the beginning of the conversation is not in the store, and was not sent")
