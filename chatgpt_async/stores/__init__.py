"""Where the conversations of an async client live.

`MessageStore` is what a client asks of a store; `MemoryStore` is the one that it has by default, `SQLiteStore` keeps
conversations in a file, `RedisStore` on a server for many machines. A store of the sync twin may be given, too: it
works in a worker thread.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from chatgpt_async.stores.functions import (
    FunctionStore,
    GetMessageByIdFunction,
    UpsertMessageFunction,
)
from chatgpt_async.stores.memory import MemoryStore
from chatgpt_async.stores.protocol import MessageStore, WorkerThreadStore

if TYPE_CHECKING:
    from chatgpt.stores.unreadable import UnreadableMessage
    from chatgpt_async.stores.redis import RedisStore
    from chatgpt_async.stores.sqlite import SQLiteStore

__all__ = [
    "FunctionStore",
    "GetMessageByIdFunction",
    "MemoryStore",
    "MessageStore",
    "RedisStore",
    "SQLiteStore",
    "UnreadableMessage",
    "UpsertMessageFunction",
    "WorkerThreadStore",
]

# Loaded when they are first used: a client in memory has no use for a database.
_HOMES: Final = {
    "RedisStore": "chatgpt_async.stores.redis",
    "SQLiteStore": "chatgpt_async.stores.sqlite",
    "UnreadableMessage": "chatgpt.stores.unreadable",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'chatgpt_async.stores' has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)
