"""Where the conversations of an async client live.

`MessageStore` is what a client asks of a store; `MemoryStore` is the one that it has by default. A
store of the sync twin may be given, too: it works in a worker thread.
"""

from chatgpt_async.stores.functions import (
    FunctionStore,
    GetMessageByIdFunction,
    UpsertMessageFunction,
)
from chatgpt_async.stores.memory import MemoryStore
from chatgpt_async.stores.protocol import MessageStore, WorkerThreadStore

__all__ = [
    "FunctionStore",
    "GetMessageByIdFunction",
    "MemoryStore",
    "MessageStore",
    "UpsertMessageFunction",
    "WorkerThreadStore",
]
