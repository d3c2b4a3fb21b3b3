"""What a caller gives to a pool: its options, and its accounts.

Rules:

1. What may be a secret is wrapped before anything is checked (`given_accounts`): a traceback shows the names of every
   frame. A secret of an account names no variable of the environment, unless the caller names one: all accounts
   would find the same there when they are unpickled.
2. Whatever is wrong with an account is said with its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Final, Literal, TypeAlias

from attrs import evolve, field, frozen

from chatgpt.core.errors import ConfigurationError
from chatgpt.core.secrets import Secret, is_credential, wrap, wrap_headers, wrap_url
from chatgpt.core.validation import (
    kind_of,
    optional_number,
    required_identifier,
    seconds_of,
    truth_of,
)

ClientName: TypeAlias = Literal["ChatGPTAPI", "ChatGPTSessionAPI", "ChatGPTUnofficialProxyAPI"]

SHORTEST_LEASE: Final = 1.0
LONGEST_LEASE: Final = 3600.0

_URLS: Final = ("proxy", "api_base_url", "api_reverse_proxy_url", "backend_api_base_url")
_CREDENTIALS: Final = ("email", "password")
_OF_PROXY: Final = ("access_token", "get_access_token", "session_token", *_CREDENTIALS)
_OPTIONS_OF_ONE: Final = frozenset({"api_key", "model", "headers", *_OF_PROXY, *_URLS})


@frozen(kw_only=True)
class PoolOptions:
    """The options of a pool, checked.

    Attributes:
        cooldown, timeout, lease_seconds: seconds.
        max_concurrent: how many calls an account takes at once, where it is not said for itself.
        failover: whether a failed call moves on.
        key_prefix: what the keys in Redis begin with.
    """

    cooldown: float
    max_concurrent: int | None
    failover: bool
    timeout: float
    key_prefix: str
    lease_seconds: float


def pool_options(
    *,
    cooldown: object,
    max_concurrent: object,
    failover: object,
    timeout: object,
    key_prefix: object,
    lease_seconds: object,
) -> PoolOptions:
    """Check the options of a pool.

    Raises:
        TypeError, ValueError: one is wrong.
    """
    lease = seconds_of("lease_seconds", lease_seconds)
    if not SHORTEST_LEASE <= lease <= LONGEST_LEASE:
        raise ConfigurationError(
            f"lease_seconds must be from {SHORTEST_LEASE:g} to {LONGEST_LEASE:g} seconds, not {lease:g}."
        )
    return PoolOptions(
        cooldown=_cooldown_of(cooldown),
        max_concurrent=optional_number("max_concurrent", max_concurrent),
        failover=truth_of("failover", failover),
        timeout=seconds_of("timeout", timeout),
        key_prefix=required_identifier("key_prefix", key_prefix),
        lease_seconds=lease,
    )


def _cooldown_of(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"cooldown must be a number of seconds, not {kind_of(value)}.")
    if not 0 <= value < inf:
        raise ConfigurationError(
            f"cooldown must be 0 (for none) or a number of seconds, not {value!r}."
        )
    return float(value)


# --- accounts --------------------------------------------------------------------------------


@frozen
class GivenAccount:
    """An account as it is given, its secrets wrapped, and nothing checked.

    Attributes:
        account: a client, a mapping of options, or something that is wrong.
        account_id, max_concurrent: what was given beside it.
    """

    account: object = field(repr=False)
    account_id: object = None
    max_concurrent: object = None


def given_account(
    account: object, account_id: object = None, max_concurrent: object = None
) -> GivenAccount:
    """Wrap the secrets of an account, before anything can fail."""
    if isinstance(account, Mapping):
        account = hidden_options(account)
    elif isinstance(account, (str, bytes)):  # perhaps a key in the wrong place
        account = Secret(account)  # type: ignore[arg-type] # bytes are refused later, too
    return GivenAccount(account, account_id, max_concurrent)


def given_accounts(accounts: object) -> list[GivenAccount] | str:
    """Wrap the secrets of all accounts; where they are no collection, return what they are."""
    if isinstance(accounts, Mapping):
        return [given_account(account, account_id) for account_id, account in accounts.items()]
    if isinstance(accounts, (str, bytes)) or not isinstance(accounts, Iterable):
        return kind_of(accounts)
    return [given_account(account) for account in accounts]


def given_defaults(defaults: object) -> object:
    """Wrap the secrets of what all accounts have in common, before anything can fail."""
    return hidden_options(defaults) if isinstance(defaults, Mapping) else defaults


def hidden_options(options: Mapping[Any, object]) -> dict[Any, object]:
    """A copy of a client's options, the secrets among them wrapped."""
    return {name: _hidden(name, value) for name, value in options.items()}


def _hidden(name: object, value: object) -> object:
    if name == "headers":
        return wrap_headers(value)
    if name in _URLS:
        return wrap_url(value)
    is_secret = isinstance(name, str) and (name in _CREDENTIALS or is_credential(name))
    return wrap(value) if is_secret and isinstance(value, str) else value


def checked_accounts(given: list[GivenAccount] | str) -> list[GivenAccount]:
    """Check that a collection of accounts was given.

    Raises:
        TypeError: it is something else, or one account in place of several.
    """
    if isinstance(given, str):
        raise TypeError(
            f"accounts must be a list of accounts, or a mapping of ids to them, not {given}."
        )
    for account in given:
        is_option = isinstance(account.account_id, str) and not isinstance(account.account, Mapping)
        if is_option and (account.account_id in _OPTIONS_OF_ONE):
            raise TypeError(
                f"accounts has {account.account_id!r}, an option of one account: give a list, [{{...}}], or a mapping "
                "of ids to accounts."
            )
    return given


def account_options(given: GivenAccount, defaults: Mapping[str, object]) -> GivenAccount:
    """Take an account apart that is no client: its options, with what all have in common, and what is the pool's.

    Raises:
        TypeError: it is no mapping of options.
        ConfigurationError: something is given twice.
    """
    account = given.account
    if not isinstance(account, Mapping) or not all(isinstance(name, str) for name in account):
        kind = "str" if isinstance(account, Secret) else kind_of(account)
        raise TypeError(
            f"An account must be a client of this twin or a mapping of its options, not {kind}."
        )
    options = {**defaults, **account}
    beside = {
        name: _given_once(name, getattr(given, name), options.pop(name, None))
        for name in ("account_id", "max_concurrent")
    }
    return evolve(given, account=options, **beside)


def _given_once(name: str, beside: object, within: object) -> object:
    """An option of an account that may be given beside it or within it."""
    if None not in (beside, within) and beside != within:
        raise ConfigurationError(f"{name} of an account is given twice: {beside!r} and {within!r}.")
    return within if beside is None else beside


def default_options(defaults: object) -> dict[str, object]:
    """Check the options that all accounts have in common, whose secrets are wrapped.

    Raises:
        TypeError: they are no mapping of options.
    """
    if defaults is None:
        return {}
    if not isinstance(defaults, Mapping) or not all(isinstance(name, str) for name in defaults):
        raise TypeError(
            f"defaults must be a mapping of the options of accounts, not {kind_of(defaults)}."
        )
    return dict(defaults)


def client_name(options: Mapping[str, object]) -> ClientName:
    """Which client the options of an account are for."""
    if options.get("clearance_token") is not None:
        return "ChatGPTSessionAPI"
    if any(options.get(name) is not None for name in _OF_PROXY):
        return "ChatGPTUnofficialProxyAPI"
    return "ChatGPTAPI"
