"""Stores and functions of the async twin: awaited where they are async, in a thread where they are not."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import chatgpt
from chatgpt.testing import ChatGPTServer
from chatgpt_async import ChatGPTAPI, ChatMessage, ConfigurationError, MemoryStore, MessageStore
from chatgpt_async.stores import FunctionStore, WorkerThreadStore
from tests.stepping import thread_of

pytestmark = pytest.mark.anyio


class Minimal(MessageStore):
    """A store as a user writes it: `get` and `save`."""

    def __init__(self) -> None:
        self.messages: dict[str, ChatMessage] = {}

    async def get(self, message_id: str) -> ChatMessage | None:
        await anyio.lowlevel.checkpoint()
        return self.messages.get(message_id)

    async def save(self, messages: Sequence[ChatMessage]) -> None:
        await anyio.lowlevel.checkpoint()
        self.messages.update({message.id: message for message in messages})


def by_plain_functions() -> FunctionStore:
    messages: dict[str, ChatMessage] = {}
    return FunctionStore(
        MemoryStore(), messages.get, lambda message: messages.update({message.id: message})
    )


def by_async_functions() -> FunctionStore:
    store = Minimal()

    async def upsert(message: ChatMessage) -> None:
        await store.save([message])

    return FunctionStore(MemoryStore(), store.get, upsert)


def in_worker_thread() -> WorkerThreadStore:
    return WorkerThreadStore(chatgpt.MemoryStore())


@pytest.fixture(
    params=[MemoryStore, Minimal, by_plain_functions, by_async_functions, in_worker_thread],
    ids=lambda make: make.__name__,
)
def store(request: pytest.FixtureRequest) -> MessageStore:
    made: MessageStore = request.param()
    return made


async def test_what_is_saved_is_found(store: MessageStore) -> None:
    thread = thread_of(["a", "b", "c"])
    await store.save(thread)
    assert await store.get("m1") == thread[1]
    assert await store.get("nowhere") is None


async def test_a_path_is_newest_first(store: MessageStore) -> None:
    await store.save(thread_of(["a", "b", "c"]))
    assert [message.text for message in await store.path("m2")] == ["c", "b", "a"]
    assert [message.text for message in await store.path("m2", 2)] == ["c", "b"]
    assert await store.path("m2", 0) == []
    assert await store.path("nowhere") == []


async def test_a_circle_ends(store: MessageStore) -> None:
    await store.save(
        [
            ChatMessage(id="a", text="", parent_message_id="b"),
            ChatMessage(id="b", text="", parent_message_id="a"),
        ]
    )
    assert [message.id for message in await store.path("a")] == ["a", "b"]


async def test_a_conversation_in_a_store(
    store: MessageStore, chatgpt_server: ChatGPTServer
) -> None:
    async with ChatGPTAPI(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, message_store=store
    ) as client:
        first = await client.send_message("hi")
        second = await client.send_message("again", parent_message_id=first.id)
        assert [message.role for message in await client.thread(second.id)] == [
            "user",
            "assistant",
        ] * 2


async def test_a_store_of_plain_methods_does_not_block_the_loop(
    chatgpt_server: ChatGPTServer,
) -> None:
    threads: set[int] = set()
    go_on = threading.Event()

    class Slow(chatgpt.MemoryStore):
        def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
            threads.add(threading.get_ident())
            assert go_on.wait(5), "the loop is blocked"
            return super().path(message_id, limit)

        def save(self, messages: Sequence[ChatMessage]) -> None:
            threads.add(threading.get_ident())
            super().save(messages)

    async with ChatGPTAPI(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, message_store=Slow()
    ) as client:
        first = await client.send_message("hi")
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: client.send_message("again", parent_message_id=first.id))
            await anyio.sleep(0.05)
            go_on.set()
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("is_async", [False, True])
async def test_functions_may_be_plain_or_async(
    chatgpt_server: ChatGPTServer, is_async: bool
) -> None:
    """All three, in the order in which they are asked and told."""
    log: list[tuple[str, str | None]] = []
    messages: dict[str, ChatMessage] = {}

    def get_message_by_id(message_id: str) -> ChatMessage | None:
        log.append(("get", message_id))
        return messages.get(message_id)

    def upsert_message(message: ChatMessage) -> None:
        log.append(("upsert", message.text))
        messages[message.id] = message

    def on_progress(part: ChatMessage) -> None:
        log.append(("part", part.delta))

    async def get_later(message_id: str) -> ChatMessage | None:
        await anyio.lowlevel.checkpoint()
        return get_message_by_id(message_id)

    async def upsert_later(message: ChatMessage) -> None:
        await anyio.lowlevel.checkpoint()
        upsert_message(message)

    async def on_progress_later(part: ChatMessage) -> None:
        await anyio.lowlevel.checkpoint()
        on_progress(part)

    chatgpt_server.replies = ["one two"]
    async with ChatGPTAPI(
        api_key="sk-test",
        api_base_url=chatgpt_server.base_url,
        get_message_by_id=get_later if is_async else get_message_by_id,
        upsert_message=upsert_later if is_async else upsert_message,
    ) as client:
        reply = await client.send_message(
            "hi", on_progress=on_progress_later if is_async else on_progress
        )
        assert [message.text for message in await client.thread(reply.id)] == ["hi", "one two"]
    assert log[:5] == [
        ("part", "one"),
        ("part", " two"),
        ("get", reply.id),
        ("upsert", "hi"),
        ("upsert", "one two"),
    ]


async def test_async_methods_behind_a_plain_decorator(chatgpt_server: ChatGPTServer) -> None:
    """They look plain; what they return is awaited all the same."""

    def logged(method: Any) -> Any:
        def call(*given: Any) -> Any:
            return method(*given)

        return call

    class Decorated(Minimal):
        get = logged(Minimal.get)
        save = logged(Minimal.save)
        path = logged(Minimal.path)

    store = Decorated()
    async with ChatGPTAPI(
        api_key="sk-test", api_base_url=chatgpt_server.base_url, message_store=store
    ) as client:
        first = await client.send_message("hi")
        await client.send_message("again", parent_message_id=first.id)
    assert len(store.messages) == 4


async def test_what_an_async_callback_raises_comes_out(
    client: ChatGPTAPI, chatgpt_server: ChatGPTServer
) -> None:
    error = RuntimeError("mine")

    async def on_progress(_: ChatMessage) -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    with pytest.raises(RuntimeError) as caught:
        await client.send_message("hi", on_progress=on_progress)
    assert caught.value is error
    store = client._store
    assert isinstance(store, MemoryStore)
    assert len(store) == 0


def test_a_store_must_be_one() -> None:
    class Half(chatgpt.MessageStore):
        async def get(self, message_id: str) -> ChatMessage | None:  # type: ignore[override] # the mistake
            return None

        async def save(self, messages: Sequence[ChatMessage]) -> None: ...  # type: ignore[override] # the mistake

    for store, message in (
        ({}, "has no method path, save. Derive it from chatgpt_async.MessageStore"),
        (MemoryStore, "make one of the class MemoryStore"),
        (
            Half(),
            "Half has both. Async: get, save; plain: path. Derive it from chatgpt_async.Mess",
        ),
    ):
        with pytest.raises(TypeError, match=message):
            ChatGPTAPI(api_key="sk-test", message_store=store)  # type: ignore[arg-type] # that is the point
    with pytest.raises(ConfigurationError, match="the store has nothing to do"):
        ChatGPTAPI(
            api_key="sk-test",
            message_store=MemoryStore(),
            get_message_by_id=Minimal().get,
            upsert_message=print,
        )
    with pytest.raises(TypeError, match="get_message_by_id must be a function, not str"):
        ChatGPTAPI(api_key="sk-test", get_message_by_id="x")  # type: ignore[arg-type] # that is the point


async def test_a_function_that_returns_something_else(chatgpt_server: ChatGPTServer) -> None:
    async def get_message_by_id(message_id: str) -> ChatMessage | None:
        return {"id": message_id}  # type: ignore[return-value] # that is the point

    async with ChatGPTAPI(
        api_key="sk-test",
        api_base_url=chatgpt_server.base_url,
        get_message_by_id=get_message_by_id,
    ) as client:
        with pytest.raises(TypeError, match="must return a ChatMessage or None, not dict"):
            await client.send_message("hi", parent_message_id="x")


def test_memory_pickles_as_its_capacity() -> None:
    store = MemoryStore(capacity=3)
    assert repr(pickle.loads(pickle.dumps(store))) == "<MemoryStore with 0 of at most 3 messages>"
    with pytest.raises(ValueError, match="at least 2 messages"):
        MemoryStore(capacity=1)


# --- the sync twin refuses what it cannot await --------------------------------------------------


def test_the_sync_twin_takes_no_async_functions() -> None:
    async def function(*_: object) -> None: ...

    class Callable:
        async def __call__(self, *_: object) -> None: ...

    for given in (function, Callable()):
        for name in ("get_message_by_id", "upsert_message"):
            with pytest.raises(TypeError, match=f"{name} must be a plain function.*chatgpt_async"):
                chatgpt.ChatGPTAPI(api_key="sk-test", **{name: given})  # type: ignore[arg-type] # that is the point
        with chatgpt.ChatGPTAPI(api_key="sk-test") as client:
            with pytest.raises(TypeError, match="on_progress must be a plain function"):
                client.send_message("hi", on_progress=given)
        for twin in (chatgpt.ChatGPTAPI, ChatGPTAPI):
            with pytest.raises(TypeError, match="tokenizer .* not an async function"):
                twin(api_key="sk-test", tokenizer=given)  # type: ignore[arg-type] # that is the point
    with pytest.raises(TypeError, match="message_store .* those of MemoryStore are async"):
        chatgpt.ChatGPTAPI(api_key="sk-test", message_store=MemoryStore())  # type: ignore[arg-type] # that is the point
