"""The engines on which every conversation runs: the sync twin, and the async one on asyncio and trio.

An engine makes clients with the face of the sync twin, so that a test is written once. Behind that
face an async client works in an event loop, in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
        return self.adopt(self.package.ChatGPTAPI(**options))

    def adopt(self, client: Any) -> chatgpt.ChatGPTAPI:
        """Give a client of the twin the face of the sync one; it is closed after the test."""
        return cast("chatgpt.ChatGPTAPI", self._clients.enter_context(client))

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

    def adopt(self, client: Any) -> chatgpt.ChatGPTAPI:
        return super().adopt(_Client(client, self))

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._portal.call(function, *args)

    def stop(self) -> None:
        self.close_clients()
        self._loop.close()


def make_engine(name: str) -> Engine:
    return Engine() if name == "sync" else AsyncEngine(name)


class _Face:
    """What is common to the faces of a client and of a stream."""

    def __init__(self, behind: Any, engine: AsyncEngine) -> None:
        vars(self).update(_behind=behind, _engine=engine)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

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
    def send_message(self, *args: Any, **options: Any) -> Any:
        return self._wait_for(self._behind.send_message, *args, **options)

    def send_moderation(self, *args: Any, **options: Any) -> Any:
        return self._wait_for(self._behind.send_moderation, *args, **options)

    def thread(self, *args: Any, **options: Any) -> Any:
        return self._wait_for(self._behind.thread, *args, **options)

    def stream_message(self, *args: Any, **options: Any) -> Any:
        return _Stream(self._behind.stream_message(*args, **options), self._engine)


class _Stream(_Face, Iterator[ChatMessage]):
    def __next__(self) -> ChatMessage:
        try:
            return cast("ChatMessage", self._wait_for(self._behind.__anext__))
        except StopAsyncIteration:
            raise StopIteration from None


def stored_messages(client: chatgpt.ChatGPTAPI) -> Sequence[ChatMessage]:
    """What the default store of a client holds; nothing for another store."""
    store: Any = client._store
    plain = getattr(store, "_plain", getattr(store, "_store", store))
    return list(getattr(plain, "_messages", {}).values())
