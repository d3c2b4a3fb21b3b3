"""Which store a client uses, of what it is given."""

from __future__ import annotations

from chatgpt.core.errors import ConfigurationError
from chatgpt.stores.functions import FunctionStore, GetMessageByIdFunction, UpsertMessageFunction
from chatgpt.stores.memory import MemoryStore
from chatgpt.stores.protocol import MessageStore, check_store


def store_of(
    message_store: MessageStore | None,
    get_message_by_id: GetMessageByIdFunction | None,
    upsert_message: UpsertMessageFunction | None,
) -> MessageStore:
    """The store that is given, or memory; with the two functions in place of its own ways.

    Raises:
        TypeError: one of them is not what it should be.
        ConfigurationError: the functions leave nothing for the store to do.
    """
    if None not in (message_store, get_message_by_id, upsert_message):
        raise ConfigurationError(
            "Give message_store, or get_message_by_id and upsert_message: with both functions the store has "
            "nothing to do."
        )
    store = MemoryStore() if message_store is None else message_store
    check_store(store)
    if get_message_by_id is None and upsert_message is None:
        return store
    return FunctionStore(store, get_message_by_id, upsert_message)
