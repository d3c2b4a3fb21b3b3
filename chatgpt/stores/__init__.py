"""Where conversations live.

`MessageStore` is what a client asks of a store; `MemoryStore` is the one that it has by default.
To keep conversations elsewhere, write a class with `get` and `save`, or give a client the two
functions `get_message_by_id` and `upsert_message`.
"""

from chatgpt.stores.functions import FunctionStore, GetMessageByIdFunction, UpsertMessageFunction
from chatgpt.stores.memory import MemoryStore
from chatgpt.stores.protocol import MessageStore

__all__ = [
    "FunctionStore",
    "GetMessageByIdFunction",
    "MemoryStore",
    "MessageStore",
    "UpsertMessageFunction",
]
