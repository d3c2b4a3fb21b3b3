"""A SQLite store is a dictionary: random steps, each of them compared.

Strategy: a machine of hypothesis takes the same steps with a store and with what stands in its attributes, and looks at
all that the store tells of its conversations after each.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chatgpt import ChatMessage, MessageNotFoundError, SQLiteStore, StoredConversation
from tests.stores.conversation_cases import check_file, ids, said

CONVERSATIONS = ("c", "cd", "d")
Steps = st.lists(
    st.tuples(st.sampled_from(CONVERSATIONS), st.none() | st.integers(0, 5), st.booleans()),
    min_size=1,
    max_size=4,
)


class StoreSteps(RuleBasedStateMachine):
    """Random steps, on a store and on a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = SQLiteStore(Path(self.folder.name) / "s.db")
        self.messages: list[ChatMessage] = []
        self.names: dict[str, str] = {}
        self.places: dict[str, tuple[datetime, int]] = {}
        """When each conversation was used, and the index of the message at which it stands."""
        self.count = 0

    def teardown(self) -> None:
        self.store.close()
        check_file(self.store.file)
        self.folder.cleanup()

    def of(self, conversation_id: str) -> list[ChatMessage]:
        return [each for each in self.messages if each.conversation_id == conversation_id]

    def saved(self, batch: list[ChatMessage]) -> None:
        self.store.save(batch)
        never = datetime.min.replace(tzinfo=UTC)
        for name in {each.conversation_id for each in batch}:
            assert name is not None
            own = [each for each in batch if each.conversation_id == name]
            seen = [each for each in own if not each.is_hidden]
            last = max(enumerate(seen or own), key=lambda at: (at[1].created_at or never, at[0]))[1]
            used = max(each.created_at or never for each in own) if seen else never
            index = next(i for i, each in enumerate(self.messages) if each.id == last.id)
            if name not in self.places or (seen and (used, index) > self.places[name]):
                self.places[name] = (used, index)

    @rule(steps=Steps)
    def save(self, steps: list[tuple[str, int | None, bool]]) -> None:
        batch = []
        for name, minutes, is_hidden in steps:
            self.count += 1
            batch.append(
                said(
                    f"m{self.count}", minutes, conversation_id=name, is_hidden=is_hidden,
                    text=f"text {self.count}",
                )
            )  # fmt: skip
        self.messages += batch
        self.saved(batch)

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def save_again(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.messages) - 1))
        self.saved([evolve(self.messages[index], token_counts={"x": 1})])

    @rule(name=st.sampled_from(CONVERSATIONS), given=st.sampled_from(["one", "cd", None]))
    def name(self, name: str, given: str | None) -> None:
        taken = given is not None and given in self.names.values() and self.names.get(name) != given
        if taken:
            with pytest.raises(ValueError):
                self.store.name_conversation(name, given)
        elif not self.of(name):
            with pytest.raises(MessageNotFoundError):
                self.store.name_conversation(name, given)
        else:
            self.store.name_conversation(name, given)
            self.names.pop(name, None)
            if given is not None:
                self.names[name] = given

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.messages) - 1))
        message = self.messages[index]
        assert message.conversation_id is not None
        self.store.use_conversation(message.conversation_id, message.id)
        (found,) = [c for c in self.store.conversations() if c.id == message.conversation_id]
        assert found.used_at is not None
        self.places[message.conversation_id] = (found.used_at, index)

    @rule(name=st.sampled_from(CONVERSATIONS))
    def delete(self, name: str) -> None:
        assert self.store.delete_conversation(name) == len(self.of(name))
        standing = {each: self.messages[index] for each, (_, index) in self.places.items()}
        self.messages = [each for each in self.messages if each.conversation_id != name]
        self.names.pop(name, None)
        self.places = {
            each: (used, self.messages.index(standing[each]))
            for each, (used, _) in self.places.items()
            if each != name
        }

    @rule()
    def clear(self) -> None:
        assert self.store.clear() == len(self.messages)
        self.messages, self.names, self.places = [], {}, {}

    @invariant()
    def both_say_the_same(self) -> None:
        listed = self.store.conversations()
        order = sorted(self.places, key=lambda name: self.places[name], reverse=True)
        assert ids(listed) == order
        for found in listed:
            own = self.of(found.id)
            seen = [each for each in own if not each.is_hidden]
            used, index = self.places[found.id]
            assert found == StoredConversation(
                id=found.id,
                name=self.names.get(found.id),
                title=seen[0].text if seen else None,
                message_count=len(seen),
                last_message_id=self.messages[index].id,
                used_at=None if used.year == 1 else used,
            )
            assert self.store.conversation_messages(found.id) == own
        for wanted in (*CONVERSATIONS, "one"):
            named = [name for name, given in self.names.items() if given == wanted]
            exact = [name for name in self.places if name == wanted]
            begun = [name for name in order if name.startswith(wanted)]
            assert ids(self.store.find_conversations(wanted)) == (named or exact or begun)
        found_by_search = {each.id for each in self.store.search("text", limit=1_000)}
        assert found_by_search == {each.id for each in self.messages if not each.is_hidden}


TestStoreSteps = StoreSteps.TestCase
TestStoreSteps.settings = settings(max_examples=25, stateful_step_count=20)
