"""Every store, of both twins and on all engines, keeps the contract; and the contract finds what a store does wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Literal, cast
from uuid import uuid4

import pytest

import chatgpt
import chatgpt_async
from chatgpt import ChatMessage
from chatgpt.core.errors import MessageIdTakenError
from chatgpt.core.records import from_json, to_json
from chatgpt.stores import MemoryStore, MessageStore, RedisStore, SQLiteStore
from chatgpt.testing import store_contract
from chatgpt.testing.store_contract import RULES, StoreRule
from chatgpt_async.stores import WorkerThreadStore
from tests.redis_server import RedisServer

MakeStore = Callable[[], Any]


class Minimal(MessageStore):
    """A store as a user writes it: `get` and `save`."""

    def __init__(self) -> None:
        self.messages: dict[str, bytes] = {}

    def get(self, message_id: str) -> ChatMessage | None:
        line = self.messages.get(message_id)
        return None if line is None else from_json(line)

    def save(self, messages: Sequence[ChatMessage]) -> None:
        self.messages.update({message.id: to_json(message) for message in messages})


class AsyncMinimal(chatgpt_async.MessageStore):
    """The same, for the async twin."""

    def __init__(self) -> None:
        self._plain = Minimal()

    async def get(self, message_id: str) -> ChatMessage | None:
        return self._plain.get(message_id)

    async def save(self, messages: Sequence[ChatMessage]) -> None:
        self._plain.save(messages)


def functions_of(package: Any) -> Any:
    messages: dict[str, ChatMessage] = {}

    def upsert(message: ChatMessage) -> None:
        messages[message.id] = message

    store = package.MemoryStore()
    return package.stores.FunctionStore(store, messages.get, upsert)


KINDS = ["memory", "minimal", "functions", "sqlite", "redis"]


@pytest.fixture(params=["sync", "asyncio", "trio"])
def twin(request: pytest.FixtureRequest) -> str:
    return cast("str", request.param)


@pytest.fixture(params=KINDS)
def make_store(request: pytest.FixtureRequest, twin: str, tmp_path: Path) -> MakeStore:
    package: Any = chatgpt if twin == "sync" else chatgpt_async
    numbers = count()
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        return lambda: package.stores.RedisStore(server.url, key_prefix=str(uuid4()))
    made: dict[str, MakeStore] = {
        "memory": package.MemoryStore,
        "minimal": Minimal if twin == "sync" else AsyncMinimal,
        "functions": lambda: functions_of(package),
        "sqlite": lambda: package.SQLiteStore(tmp_path / f"{next(numbers)}.db"),
    }
    return made[request.param]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_store_keeps_the_contract(rule: StoreRule, make_store: MakeStore, twin: str) -> None:
    rule.check(make_store, backend="trio" if twin == "trio" else "asyncio")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_plain_store_in_worker_threads_keeps_it(
    backend: Literal["asyncio", "trio"], tmp_path: Path
) -> None:
    numbers = count()
    store_contract.check(
        lambda: WorkerThreadStore(SQLiteStore(tmp_path / f"{next(numbers)}.db")), backend=backend
    )


# --- what the contract finds -----------------------------------------------------------------


class Forgetful(MemoryStore):
    """Keeps the first message of a save alone."""

    def save(self, messages: Sequence[ChatMessage]) -> None:
        super().save(messages[:1])


class Lossy(MemoryStore):
    """Keeps text and ids alone."""

    def save(self, messages: Sequence[ChatMessage]) -> None:
        super().save(
            [
                ChatMessage(id=m.id, text=m.text, parent_message_id=m.parent_message_id)
                for m in messages
            ]
        )


class OldestFirst(MemoryStore):
    def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        return super().path(message_id, limit)[::-1]


class Unlimited(MemoryStore):
    def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        return super().path(message_id)


class Piecemeal(MemoryStore):
    """Saves one after the other, and stops where one is taken."""

    def save(self, messages: Sequence[ChatMessage]) -> None:
        for message in messages:
            super().save([message])


class Stubborn(MemoryStore):
    """Takes a message that is saved again for another one."""

    def save(self, messages: Sequence[ChatMessage]) -> None:
        taken = [message.id for message in messages if self.get(message.id) is not None]
        if taken:
            raise MessageIdTakenError.of(taken)
        super().save(messages)


class NewestReplyFirst(MemoryStore):
    def replies(self, message_id: str) -> list[ChatMessage]:
        return super().replies(message_id)[::-1]


class ListedByUse(MemoryStore):
    def all_messages(self) -> Iterator[ChatMessage]:
        return iter(list(self._messages.values()))


class Crowded(MemoryStore):
    """Holds too few messages."""

    def __init__(self) -> None:
        super().__init__(100)


class Raising(MemoryStore):
    """Raises where it should say that there is none."""

    def get(self, message_id: str) -> ChatMessage | None:
        message_id.encode()
        return super().get(message_id)


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (Forgetful, "a path keeps to its branch"),
        (Forgetful, "many threads lose nothing"),
        (Lossy, "what is saved is found"),
        (OldestFirst, "a path is newest first"),
        (OldestFirst, "a long thread is read"),
        (Unlimited, "a path is newest first"),
        (Piecemeal, "an id that is taken"),
        (Stubborn, "saving again adds counts"),
        (NewestReplyFirst, "replies are oldest first"),
        (ListedByUse, "all messages are listed"),
        (Crowded, "a long thread is read"),
        (Raising, "what is unknown is not found"),
    ],
)
def test_the_contract_finds_what_is_wrong(kind: type[MemoryStore], rule: str) -> None:
    (found,) = [each for each in RULES if each.name == rule]
    with pytest.raises(AssertionError):
        found.check(kind)
    with pytest.raises(AssertionError):
        store_contract.check(kind)


class Buggy(MemoryStore):
    """Fails by a mistake of its own where it offers something."""

    def replies(self, message_id: str) -> list[ChatMessage]:
        raise AttributeError("'NoneType' object has no attribute 'cursor'")


class OldestSavedFirst(MemoryStore):
    def replies(self, message_id: str) -> list[ChatMessage]:
        return [m for m in self.all_messages() if m.parent_message_id == message_id]


class NewestSavedFirst(OldestSavedFirst):
    def replies(self, message_id: str) -> list[ChatMessage]:
        return super().replies(message_id)[::-1]


@pytest.mark.parametrize("kind", [Buggy, OldestSavedFirst, NewestSavedFirst])
def test_the_contract_finds_replies_in_the_wrong_order(kind: type[MemoryStore]) -> None:
    (found,) = [each for each in RULES if each.name == "replies are oldest first"]
    with pytest.raises(AssertionError):
        found.check(kind)


def test_what_a_store_does_not_offer_is_not_asked_of_it() -> None:
    class Bare:
        """Not even derived."""

        def __init__(self) -> None:
            self._plain = MemoryStore()
            self.get, self.save, self.path = self._plain.get, self._plain.save, self._plain.path

    store_contract.check(Bare)


def test_a_store_is_closed_whatever_comes_of_it() -> None:
    closed: list[str] = []

    class Closing(Forgetful):
        def close(self) -> None:
            closed.append("plain")

    class AsyncClosing(AsyncMinimal):
        async def aclose(self) -> None:
            closed.append("async")

        async def save(self, messages: Sequence[ChatMessage]) -> None:
            return

    for kind in (Closing, AsyncClosing):
        with pytest.raises(AssertionError):
            store_contract.check(kind)
    assert {"plain", "async"} <= set(closed)


def test_what_cannot_be_checked() -> None:
    for make_store in (dict, lambda: MemoryStore):
        with pytest.raises(TypeError, match="message_store must be a MessageStore"):
            store_contract.check(make_store)
    with pytest.raises(ValueError, match="backend must be 'asyncio' or 'trio', not 'curio'"):
        store_contract.check(AsyncMinimal, backend="curio")  # type: ignore[arg-type] # the mistake


def test_the_stores_of_the_package_refuse_an_id_that_is_taken(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """The contract lets a store be; ours have the last word."""
    first = ChatMessage(id="a", text="first", conversation_id="c")
    ours = (
        MemoryStore(),
        SQLiteStore(tmp_path / "s.db"),
        RedisStore(redis_server.url, key_prefix=str(uuid4())),
    )
    for store in ours:
        store.save([first])
        with pytest.raises(MessageIdTakenError, match="stored under 'a'; nothing was saved"):
            store.save([ChatMessage(id="a", text="second", conversation_id="d")])
        assert store.get("a") == first
