"""The conversations of a notebook: which one goes on, and where it stands.

Rules:

1. A conversation that fails or is interrupted stays where it was.
2. With a store that knows names, they outlive the kernel, and the store has the last word on where a conversation
   stands: the command, or another notebook, may have gone on with it.
3. What was said of the model and the instructions of a conversation holds for it as long as the kernel lives.
"""

from __future__ import annotations

from attrs import evolve, frozen
from IPython.core.error import UsageError

from chatgpt.core.messages import ChatMessage
from chatgpt.stores.conversations import StoredConversation
from chatgpt.stores.sqlite import SQLiteStore


@frozen(kw_only=True)
class Talk:
    """A conversation of the notebook.

    Attributes:
        name: what the notebook calls it.
        conversation_id, parent_message_id: where it stands; `None` before its first reply.
        model, system: of its replies, in place of those of the client.
    """

    name: str | None = None
    conversation_id: str | None = None
    parent_message_id: str | None = None
    model: str | None = None
    system: str | None = None


class Talks:
    """The conversations of a notebook, in one place: the memory, a file, or those of one client.

    Attributes:
        store: where they are kept; `None` for a store that knows no names. Can be set.
    """

    def __init__(self) -> None:
        self.store: SQLiteStore | None = None
        self._by_name: dict[str, Talk] = {}
        self._last: Talk | None = None

    def find(self, name: str | None, *, is_continued: bool) -> Talk:
        """The conversation that a cell goes on with, or a new one.

        Args:
            name: its name; `None` for the last one, or for one without a name.
            is_continued: whether there must be one.

        Raises:
            UsageError: there is none, or it cannot have that name.
        """
        if name is not None:
            try:
                StoredConversation.check_name(name)
            except ValueError as error:
                raise UsageError(str(error)) from None
        found = self._known(name) if is_continued or name is not None else None
        if found is None and is_continued:
            raise UsageError(
                "There is no conversation to continue."
                if name is None
                else f"There is no conversation named {name!r}."
            )
        return found or Talk(name=name)

    def went_on(self, talk: Talk, reply: ChatMessage) -> None:
        """Note where a conversation stands now, and that it was the last one.

        Raises:
            ValueError: another notebook gave its name away meanwhile; the reply is kept all the same.
            StoreError: the store failed.
        """
        is_new = talk.conversation_id is None
        talk = evolve(
            talk,
            conversation_id=reply.conversation_id or talk.conversation_id,
            parent_message_id=reply.id,
        )
        self._last = talk
        if talk.name is not None:
            self._by_name[talk.name] = talk
            if self.store is not None and is_new and talk.conversation_id is not None:
                self.store.name_conversation(talk.conversation_id, talk.name)

    def names(self) -> list[str]:
        """The names that are known."""
        kept = () if self.store is None else self.store.conversations()
        return sorted({*self._by_name, *(each.name for each in kept if each.name is not None)})

    def _known(self, name: str | None) -> Talk | None:
        here = self._last if name is None else self._by_name.get(name)
        if self.store is None:
            return here
        if here is not None and here.conversation_id is not None:
            kept = self.store.find_conversations(here.conversation_id)
        elif name is not None:
            kept = [each for each in self.store.find_conversations(name) if each.name == name]
        else:
            kept = self.store.conversations(limit=1)
        if not kept:  # it was deleted
            return None
        return evolve(
            here or Talk(name=kept[0].name),
            conversation_id=kept[0].id,
            parent_message_id=kept[0].last_message_id,
        )
