"""The conversation of a chat: what is asked in it, how it is answered, and where it stands.

Rules:

1. Where it stands is noted in the store as soon as it moves, so that another command goes on from there.
2. What fails or is stopped leaves it where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final, Unpack

import click

from chatgpt import (
    ChatMessage,
    Conversation,
    MemoryStore,
    SQLiteStore,
    StoredConversation,
)
from chatgpt.cli.answer_views import OnProgress, show_answer, view_of
from chatgpt.cli.client_options import TalkOptions
from chatgpt.cli.clients import official_client
from chatgpt.cli.conversation_store import SHOWN_ID, find_conversation, label_of
from chatgpt.cli.exit_codes import say
from chatgpt.cli.talks import (
    Talk,
    name_new_conversation,
    note_what_is_missing,
    open_place,
    open_talk,
)
from chatgpt.cli.terminal import counted

ANY_TEXT: Final = "?"
"""A message of one token, for what would be sent with any."""


class OpenChat:
    """A conversation that is open.

    Args:
        stack: closes what it needs.
        is_raw: whether answers are shown as they are.
        options: say which conversation, and how it is answered.

    Attributes:
        store: where it is kept; `None` for nowhere.
        kept: where its messages are: the store, or the memory; `None` where only the server has them.
        conversation_id: its id; `None` before its first answer.
        is_over: whether nothing more is to be read; can be set.

    Raises:
        NotFoundInStore: there is no such conversation.
        click.UsageError, ConfigurationError: an option is wrong.
        StoreError: the store cannot be opened.
    """

    def __init__(self, stack: ExitStack, *, is_raw: bool, **options: Unpack[TalkOptions]) -> None:
        self.store, begun = open_place(stack, options)
        self.conversation_id = None if begun is None else begun.id
        self.is_over = False
        self._begun = begun
        self._is_raw = is_raw
        self._waiting_name = options["name"] if begun is None else None
        self._model: str | None = None
        self._instructions: str | None = None
        self._talk: Talk
        self.kept: SQLiteStore | MemoryStore | None = self.store
        if options["is_web"]:
            self._talk = open_talk(stack, options, self.store, begun)
            return
        if self.kept is None:
            self.kept = MemoryStore()
        self._client = stack.enter_context(official_client(options, self.kept))
        self._go_on(None if begun is None else begun.last_message_id)

    # --- what is asked -----------------------------------------------------------------------

    def send(self, text: str) -> None:
        """Send a message, and show the answer."""
        self.show_answer(lambda show: self._talk.send(text, on_progress=show))

    def show_answer(self, answer: Callable[[OnProgress], ChatMessage]) -> None:
        """Show an answer as it is written.

        Args:
            answer: asks for it; it is given the function that shows each part.
        """
        reply = show_answer(view_of(is_raw=self._is_raw), answer)
        self.conversation_id = reply.conversation_id
        note_what_is_missing(reply)
        if self.store is not None and self._waiting_name is not None:
            name, self._waiting_name = self._waiting_name, None
            name_new_conversation(self.store, reply, name)

    def show_what_goes_on(self) -> None:
        """Say which conversation goes on, and show its last answer."""
        if self._begun is None or self.store is None:
            return
        said = counted(self._begun.message_count, "message")
        say(f"{label_of(self._begun)} goes on; it has {said}")
        last = self.store.get(self._begun.last_message_id)
        if last is not None:
            with view_of(is_raw=self._is_raw) as view:
                view.finish(last)

    def give_name(self, name: str) -> None:
        """Name the conversation, now or with its first answer.

        Raises:
            ValueError: it cannot have that name.
        """
        StoredConversation.check_name(name)
        if self.store is not None and self.conversation_id is not None:
            self.store.name_conversation(self.conversation_id, name)
        else:
            self._waiting_name = name

    @property
    def known_id(self) -> str:
        """The id of the conversation.

        Raises:
            click.UsageError: it has not begun.
        """
        if self.conversation_id is None:
            raise click.UsageError("Nothing has been said yet.")
        return self.conversation_id

    # --- what the official flow can do -------------------------------------------------------

    @property
    def is_official(self) -> bool:
        """Whether it is the official flow's; only then it has what follows."""
        return isinstance(self._talk, Conversation)

    @property
    def conversation(self) -> Conversation:
        """The SDK's conversation."""
        assert isinstance(self._talk, Conversation), "of the official flow alone"
        return self._talk

    @property
    def model(self) -> str:
        """The model that is asked; can be set."""
        return self._model or self._client.model

    @model.setter
    def model(self, name: str) -> None:
        self._go_on(self.conversation.parent_message_id, model=name)

    @property
    def instructions(self) -> str:
        """The instructions of what follows, empty for none; can be set."""
        if self._instructions is not None:
            return self._instructions
        sent = self.conversation.preview(ANY_TEXT).messages[0]
        return "" if sent.role == "user" else sent.text

    @instructions.setter
    def instructions(self, text: str) -> None:
        self._go_on(self.conversation.parent_message_id, instructions=text)

    def undo(self) -> ChatMessage | None:
        """Take the last question back, and return it; `None` where there is none."""
        question = self.conversation.undo()
        self._note_place()
        return question

    def stand_at(self, message_id: str) -> None:
        """Go on from a message of the conversation."""
        self._go_on(message_id)
        self._note_place()

    def messages(self) -> Sequence[ChatMessage]:
        """All messages of the conversation, oldest first."""
        if self.store is not None:
            return self.store.conversation_messages(self.known_id)
        assert isinstance(self.kept, MemoryStore)
        return list(self.kept.all_messages())

    @property
    def label(self) -> str:
        """How the conversation is called."""
        if self.store is None:
            return self.known_id[:SHOWN_ID]
        return label_of(find_conversation(self.store, self.known_id))

    def _go_on(
        self, message_id: str | None, *, model: str | None = None, instructions: str | None = None
    ) -> None:
        """Go on from a message; `None` leaves the model, or the instructions, as they are."""
        model = self._model if model is None else model
        instructions = self._instructions if instructions is None else instructions
        self._talk = self._client.conversation(
            conversation_id=self.conversation_id,
            parent_message_id=message_id,
            system_message=instructions,
            completion_params=None if model is None else {"model": model},
        )
        self._model, self._instructions = model, instructions

    def _note_place(self) -> None:
        stands = self.conversation.parent_message_id
        if self.store is not None and stands is not None:  # there is no place before all messages
            self.store.use_conversation(self.known_id, stands)
