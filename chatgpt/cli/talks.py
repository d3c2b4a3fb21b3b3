"""A talk: a conversation of either flow that goes on, and is kept in the store.

Rules:

1. Which conversation is meant is known to be right before anything is sent.
2. A question is kept with its answer, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
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
from chatgpt.cli.client_options import ClientOptions
from chatgpt.cli.clients import official_client, web_client
from chatgpt.cli.exits import say
from chatgpt.cli.kept import conversation_to_go_on_with, label_of, open_store

OnProgress = Callable[[ChatMessage], object]


class TalkOptions(ClientOptions):
    """Which conversation is meant, and how its client is made.

    Attributes:
        is_continued: whether the one last used goes on, or the one of that name.
        name: the name of one that goes on, or begins.
        is_stored: whether it is kept.
    """

    is_continued: bool
    name: str | None
    is_stored: bool


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
        click.UsageError: without a store nothing can go on.
        NotFoundInStore: there is no such conversation.
        StoreError: the store cannot be opened.
    """
    name, is_continued = options["name"], options["is_continued"]
    if not options["is_stored"]:
        if is_continued or name is not None:
            raise click.UsageError(
                "--no-store keeps nothing that -c or -n could go on with: leave out one of them."
            )
        return None, None
    store = stack.enter_context(open_store())
    begun = conversation_to_go_on_with(store, name, is_continued=is_continued)
    if begun is not None and options["is_web"]:
        last = store.get(begun.last_message_id)
        if last is not None and last.detail is not None and "choices" in last.detail:
            raise click.UsageError(
                f"{label_of(begun)} is no conversation of ChatGPT's own backend: leave out --web."
            )
    return store, begun


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


def give_name(store: SQLiteStore, reply: ChatMessage, name: str) -> None:
    """Give the conversation of a reply its name, or say why it cannot have it."""
    try:
        store.name_conversation(reply.conversation_id or "", name)
    except ValueError as error:  # another command was faster: the answer is kept all the same
        say(f"the conversation {(reply.conversation_id or '')[:8]} has no name: {error}")


def note_what_is_missing(reply: ChatMessage) -> None:
    """Say on standard error where an answer is cut, and what of the conversation was not sent for it."""
    if reply.finish_reason == "length":
        say("the answer is cut at its limit of tokens")
    elif reply.finish_reason == "content_filter":
        say("the answer is cut by the server's content filter")
    context = reply.context
    if context is not None and context.left_out:
        say(
            f"the {context.left_out} oldest messages of the conversation did not fit, and were not sent"
        )
    if context is not None and context.missing_message_id is not None:
        say("the beginning of the conversation is not in the store, and was not sent")
