"""Where conversations live.

`MessageStore` is what a client asks of a store; `MemoryStore` is the one that it has by default, `SQLiteStore` keeps
conversations in a file, `RedisStore` on a server for many machines. To keep them elsewhere, write a class with `get`
and `save`, and run it through `chatgpt.testing.store_contract`; or give a client the two functions
`get_message_by_id` and `upsert_message`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from chatgpt.stores.functions import FunctionStore, GetMessageByIdFunction, UpsertMessageFunction
from chatgpt.stores.memory import MemoryStore
from chatgpt.stores.protocol import MessageStore

if TYPE_CHECKING:
    from chatgpt.stores.redis import RedisStore
    from chatgpt.stores.sqlite import SQLiteStore
    from chatgpt.stores.unreadable import UnreadableMessage

__all__ = [
    "FunctionStore",
    "GetMessageByIdFunction",
    "MemoryStore",
    "MessageStore",
    "RedisStore",
    "SQLiteStore",
    "UnreadableMessage",
    "UpsertMessageFunction",
]

# Loaded when they are first used: a client in memory has no use for a database.
_HOMES: Final = {
    "RedisStore": "chatgpt.stores.redis",
    "SQLiteStore": "chatgpt.stores.sqlite",
    "UnreadableMessage": "chatgpt.stores.unreadable",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'chatgpt.stores' has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)
