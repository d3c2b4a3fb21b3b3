"""The engines on which every conversation runs: the sync twin, and the async one on asyncio and trio.

An engine makes clients with the face of the sync twin, so that a test is written once. Behind that
face an async client works in an event loop, in a thread of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from anyio import from_thread

import chatgpt
import chatgpt_async
from chatgpt import ChatMessage

T = TypeVar("T")

NAMES = ["sync", "asyncio", "trio"]


class Engine:
    """The sync twin.

    Attributes:
        name: `"sync"`, `"asyncio"` or `"trio"`.
        package: the twin: `chatgpt` or `chatgpt_async`.
    """

    name = "sync"
    package: Any = chatgpt

    def __init__(self) -> None:
        self._clients = ExitStack()

    def client(self, **options: Any) -> chatgpt.ChatGPTAPI:
        """Make a client, which is closed after the test."""
        client: chatgpt.ChatGPTAPI = self.package.ChatGPTAPI(**options)
        return self.adopt(client)

    def proxy_client(self, **options: Any) -> chatgpt.ChatGPTUnofficialProxyAPI:
        """Make a client of a reverse proxy, which is closed after the test."""
        client: chatgpt.ChatGPTUnofficialProxyAPI = self.package.ChatGPTUnofficialProxyAPI(
            **options
        )
        return self.adopt(client)

    def session_client(self, **options: Any) -> chatgpt.ChatGPTSessionAPI:
        """Make a client with a session, which is closed after the test."""
        client: chatgpt.ChatGPTSessionAPI = self.package.ChatGPTSessionAPI(**options)
        return self.adopt(client)

    def pool(self, accounts: Any, **options: Any) -> chatgpt.ChatGPTPool:
        """Make a pool, which is closed after the test; its accounts may be clients of this engine."""
        if isinstance(accounts, Mapping):
            accounts = {name: behind(account) for name, account in accounts.items()}
        elif isinstance(accounts, list):
            accounts = [behind(account) for account in accounts]
        pool: chatgpt.ChatGPTPool = self.package.ChatGPTPool(accounts, **options)
        return self.adopt(pool)

    def adopt(self, client: T) -> T:
        """Give a client of the twin the face of the sync one; it is closed after the test."""
        return cast("T", self._clients.enter_context(cast("Any", client)))

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call what has to be awaited in the async twin."""
        return function(*args)

    def close_clients(self) -> None:
        self._clients.close()

    def stop(self) -> None:
        self.close_clients()


class AsyncEngine(Engine):
    """The async twin, in an event loop of its own."""

    package = chatgpt_async

    def __init__(self, backend: str) -> None:
        super().__init__()
        self.name = backend
        self._loop = ExitStack()
        self._portal = self._loop.enter_context(from_thread.start_blocking_portal(backend))

    def adopt(self, client: T) -> T:
        face = _Pool if isinstance(client, chatgpt_async.ChatGPTPool) else _Client
        return cast("T", super().adopt(face(client, self)))

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._portal.call(function, *args)

    def stop(self) -> None:
        self.close_clients()
        self._loop.close()


def behind(face: Any) -> Any:
    """The object of the async twin behind a face; anything else is returned as it is."""
    return getattr(face, "__dict__", {}).get("_behind", face)


def make_engine(name: str) -> Engine:
    return Engine() if name == "sync" else AsyncEngine(name)


class _Face:
    """What is common to the faces of a client and of a stream."""

    def __init__(self, behind: Any, engine: AsyncEngine) -> None:
        vars(self).update(_behind=behind, _engine=engine)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._behind, name)
        return partial(self._wait_for, value) if inspect.iscoroutinefunction(value) else value

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._behind, name, value)

    def __repr__(self) -> str:
        return repr(self._behind)

    def _wait_for(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return self._engine.run(partial(function, *args, **options))

    def __enter__(self) -> Self:
        self._wait_for(self._behind.__aenter__)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._wait_for(self._behind.__aexit__, kind, error, traceback)

    def close(self) -> None:
        self._wait_for(self._behind.aclose)


class _Client(_Face):
    def stream_message(self, *args: Any, **options: Any) -> Any:
        return _Stream(self._behind.stream_message(*args, **options), self._engine)

    def conversation(self, **options: Any) -> Any:
        return _Conversation(self._behind.conversation(**options), self._engine)

    def list_conversations(self, **options: Any) -> Any:
        return _Iterator(self._behind.list_conversations(**options), self._engine)


class _Pool(_Client):
    def add_account(self, account: Any, **options: Any) -> Any:
        return self._wait_for(self._behind.add_account, behind(account), **options)


class _Conversation(_Face):
    def branch(self, *args: Any) -> Any:
        return _Conversation(self._behind.branch(*args), self._engine)

    def stream(self, *args: Any, **options: Any) -> Any:
        return _Stream(self._behind.stream(*args, **options), self._engine)


class _Iterator(_Face, Iterator[Any]):
    def __next__(self) -> Any:
        try:
            return self._wait_for(self._behind.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None


class _Stream(_Iterator, Iterator[ChatMessage]):
    pass


def stored_messages(client: chatgpt.ChatGPTAPI) -> Sequence[ChatMessage]:
    """What the default store of a client holds; nothing for another store."""
    store: Any = client._store
    plain = getattr(store, "_plain", getattr(store, "_store", store))
    return list(getattr(plain, "_messages", {}).values())
