"""Which store a client uses, of what it is given, for both twins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from chatgpt.core.errors import ConfigurationError

StoreT = TypeVar("StoreT")
GetMessageT = TypeVar("GetMessageT")
UpsertMessageT = TypeVar("UpsertMessageT")


def choose_store(
    message_store: object,
    get_message_by_id: GetMessageT | None,
    upsert_message: UpsertMessageT | None,
    *,
    default: Callable[[], StoreT],
    checked: Callable[[object], StoreT],
    combined: Callable[[StoreT, GetMessageT | None, UpsertMessageT | None], StoreT],
) -> StoreT:
    """The store that is given, or memory; with the two functions in place of its own ways.

    Args:
        message_store: what the client is given, as a store,
        get_message_by_id: as a function that looks up,
        upsert_message: and as a function that saves.
        default: makes the store in memory.
        checked: checks a store that is given, and makes of it what the twin can use.
        combined: joins a store and the functions.

    Raises:
        TypeError: one of them is not what it should be.
        ConfigurationError: the functions leave nothing for the store to do.
    """
    if None not in (message_store, get_message_by_id, upsert_message):
        raise ConfigurationError(
            "Give message_store, or get_message_by_id and upsert_message: with both functions the store has "
            "nothing to do."
        )
    store = default() if message_store is None else checked(message_store)
    if get_message_by_id is None and upsert_message is None:
        return store
    return combined(store, get_message_by_id, upsert_message)
