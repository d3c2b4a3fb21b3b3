"""The clients of a pool's accounts, for both twins: made of options, and looked at for what the pool must know of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final, cast

from chatgpt.base_client import BaseClient
from chatgpt.core.errors import ConfigurationError
from chatgpt.core.pool.options import ClientName, client_name
from chatgpt.core.secrets import Secret

_STORES: Final = ("message_store", "get_message_by_id", "upsert_message")


def made_client(
    types: Mapping[ClientName, type[BaseClient]], account_id: str, given: object
) -> BaseClient:
    """Make the client of an account.

    Args:
        types: the clients of the twin.
        account_id: the account, for errors.
        given: its options, which are a mapping with names of text.

    Raises:
        ConfigurationError, TypeError: an option is wrong, or there is none of this name.
    """
    options = cast("Mapping[str, Any]", given)
    name = client_name(options)
    unknown = options.keys() - inspect.signature(types[name]).parameters.keys()
    if unknown:
        raise TypeError(f"The account {account_id!r}: {name} has no option {min(unknown)!r}.")
    try:
        return types[name](**options)
    except (ConfigurationError, TypeError) as error:
        problem = type(error)(f"The account {account_id!r}: {error}")
    # Not within `except`: the frames of the failure are no business of the caller.
    raise problem


def stores_of(client: BaseClient) -> list[object] | None:
    """The store that a client was given, or the functions in its place; `None` where it has its own."""
    given = [client._given.get(name) for name in _STORES]  # noqa: SLF001 - a client of this package
    return None if given == [None, None, None] else given


def check_recall(clients: Mapping[str, BaseClient]) -> None:
    """Check that each account finds its own secrets when it is unpickled.

    Raises:
        TypeError: two would find theirs in the same variable of the environment.
    """
    found: dict[str, tuple[str, Secret]] = {}
    for account_id, client in clients.items():
        for name, value in client._given.items():  # noqa: SLF001 - a client of this package
            if isinstance(value, Secret) and value.variable is not None:
                other, known = found.setdefault(value.variable, (account_id, value))
                if known != value:
                    raise TypeError(
                        f"A pool cannot be pickled whose accounts {other!r} and {account_id!r} both read {name} in "
                        f"{value.variable} then: give each a variable of its own, Secret(value, 'VARIABLE')."
                    )
