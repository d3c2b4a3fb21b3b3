"""What a pool is made of: options that are checked, and accounts whose secrets are hidden before that."""

from __future__ import annotations

import pickle
from datetime import timedelta
from math import inf, nan
from types import MappingProxyType
from typing import Any

import pytest

from chatgpt.core.errors import ConfigurationError
from chatgpt.core.pool.options import (
    LONGEST_LEASE,
    SHORTEST_LEASE,
    GivenAccount,
    PoolOptions,
    account_options,
    checked_accounts,
    client_name,
    default_options,
    given_account,
    given_accounts,
    hidden_options,
    pool_options,
)
from chatgpt.core.secrets import Secret

GIVEN: dict[str, Any] = {
    "cooldown": 60.0,
    "max_concurrent": None,
    "failover": True,
    "timeout": 600.0,
    "key_prefix": "chatgpt",
    "lease_seconds": 15.0,
}


def test_options_of_a_pool() -> None:
    assert pool_options(**GIVEN) == PoolOptions(**GIVEN)


@pytest.mark.parametrize("value", [0, 0.0, -0.0, 0.25, 60, 1e6])
def test_cooldowns(value: float) -> None:
    seconds = pool_options(**{**GIVEN, "cooldown": value}).cooldown
    assert isinstance(seconds, float)
    assert seconds == value


@pytest.mark.parametrize(
    "given",
    [
        *({"cooldown": value} for value in (-1, -0.5, inf, -inf, nan)),
        *({"lease_seconds": value} for value in (0.5, 3601, inf, 0, -1)),
        *({"timeout": value} for value in (0, -1, nan)),
        *({"max_concurrent": value} for value in (0, -1)),
        {"key_prefix": " "},
    ],
    ids=str,
)
def test_what_is_no_value_of_an_option(given: dict[str, Any]) -> None:
    [name] = given
    with pytest.raises(ValueError, match=name):
        pool_options(**{**GIVEN, **given})


@pytest.mark.parametrize(
    "given",
    [
        *({"cooldown": value} for value in ("60", None, True, False, [60], timedelta(60))),
        {"lease_seconds": "15"},
        {"timeout": None},
        {"max_concurrent": 1.5},
        {"max_concurrent": True},
        {"failover": 1},
        {"key_prefix": None},
    ],
    ids=str,
)
def test_what_has_not_the_type_of_an_option(given: dict[str, Any]) -> None:
    [name] = given
    with pytest.raises(TypeError, match=name):
        pool_options(**{**GIVEN, **given})


@pytest.mark.parametrize("value", [SHORTEST_LEASE, LONGEST_LEASE])
def test_the_shortest_and_the_longest_lease(value: float) -> None:
    assert pool_options(**{**GIVEN, "lease_seconds": value}).lease_seconds == value


def test_a_call_may_have_no_deadline() -> None:
    assert pool_options(**{**GIVEN, "timeout": inf}).timeout == inf


# --- secrets -------------------------------------------------------------------------------------

OPTIONS: dict[str, object] = {
    "api_key": "canary-1",
    "access_token": "canary-2",
    "session_token": "canary-3",
    "clearance_token": "canary-4",
    "email": "canary-5",
    "password": "canary-6",
    "proxy": "http://user:canary-7@proxy",
    "headers": {"authorization": "Bearer canary-8"},
}


def test_what_is_a_secret_is_hidden() -> None:
    hidden = hidden_options({**OPTIONS, "model": "gpt-5", "timeout": 3.0})
    assert "canary" not in repr(hidden)
    assert (hidden["model"], hidden["timeout"]) == ("gpt-5", 3.0)
    for name in ("api_key", "access_token", "email", "password"):
        secret = hidden[name]
        assert isinstance(secret, Secret)
        assert secret.reveal() == OPTIONS[name]


def test_what_the_caller_gave_is_not_changed() -> None:
    given = dict(OPTIONS)
    hidden_options(given)
    assert given == OPTIONS


@pytest.mark.parametrize(
    "accounts",
    [[OPTIONS], {"a": OPTIONS}, iter([MappingProxyType(OPTIONS)]), ["sk-canary"], [b"canary"]],
    ids=["list", "mapping", "iterator of mappings", "key", "bytes"],
)
def test_no_account_shows_its_secrets(accounts: object) -> None:
    taken = given_accounts(accounts)
    assert not isinstance(taken, str)
    [given] = taken
    assert "canary" not in repr(given)
    assert "canary" not in repr(given.account)


def test_functions_are_no_secrets() -> None:
    assert hidden_options({"get_access_token": print}) == {"get_access_token": print}


def test_a_secret_of_an_account_is_not_looked_up_in_the_environment() -> None:
    """All accounts would find the same there."""
    secret = hidden_options({"api_key": "canary"})["api_key"]
    with pytest.raises(ConfigurationError, match="give it again"):
        pickle.loads(pickle.dumps(secret)).reveal()


# --- accounts ------------------------------------------------------------------------------------


def test_accounts_with_and_without_ids() -> None:
    assert given_accounts([1, 2]) == [GivenAccount(1), GivenAccount(2)]
    assert given_accounts({"a": 1, "b": 2}) == [GivenAccount(1, "a"), GivenAccount(2, "b")]
    assert given_accounts([]) == []
    assert given_account(1, "a", 3) == GivenAccount(1, "a", 3)


@pytest.mark.parametrize("accounts", ["sk-canary", b"canary", None, 7])
def test_what_are_no_accounts(accounts: object) -> None:
    with pytest.raises(TypeError, match="accounts must be a list") as caught:
        checked_accounts(given_accounts(accounts))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["api_key", "email", "access_token", "model", "proxy"])
def test_one_account_in_place_of_several(name: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}', an option of one account") as caught:
        checked_accounts(given_accounts({name: "canary"}))
    assert "canary" not in str(caught.value)


def test_an_account_may_be_called_as_an_option_is() -> None:
    given = given_accounts({"model": {"api_key": "k"}})
    assert checked_accounts(given) is given


def test_an_account_has_its_own_options_before_those_that_all_have() -> None:
    given = given_account({"api_key": "k", "model": "own"}, "a", 2)
    taken = account_options(given, {"model": "all", "timeout": 3.0})
    assert isinstance(taken.account, dict)
    assert (taken.account["model"], taken.account["timeout"]) == ("own", 3.0)
    assert (taken.account_id, taken.max_concurrent) == ("a", 2)


def test_what_is_the_pools_may_stand_among_the_options_of_an_account() -> None:
    taken = account_options(given_account({"account_id": "a", "max_concurrent": 2}), {})
    assert taken == GivenAccount({}, "a", 2)
    assert account_options(given_account({"account_id": "a"}, "a"), {}).account_id == "a"
    assert account_options(given_account({}), {"max_concurrent": 3}).max_concurrent == 3


@pytest.mark.parametrize("name", ["account_id", "max_concurrent"])
def test_what_is_given_twice(name: str) -> None:
    given = given_account({name: 1}, account_id=2, max_concurrent=2)
    with pytest.raises(ConfigurationError, match=f"{name} of an account is given twice: 2 and 1"):
        account_options(given, {})


@pytest.mark.parametrize(
    ("account", "kind"), [("sk-canary", "str"), (None, "None"), (7, "int"), ({1: "canary"}, "dict")]
)
def test_what_is_no_account(account: object, kind: str) -> None:
    with pytest.raises(TypeError, match=f"a mapping of its options, not .*{kind}") as caught:
        account_options(given_account(account), {})
    assert "canary" not in str(caught.value)


def test_options_that_all_accounts_have() -> None:
    given = {"model": "m"}
    assert default_options(None) == {}
    assert default_options(given) == given
    assert default_options(given) is not given
    for wrong in (7, "canary", [("model", "m")], {1: "canary"}):
        with pytest.raises(TypeError, match="defaults must be a mapping") as caught:
            default_options(wrong)
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "ChatGPTAPI"),
        ({"api_key": "k"}, "ChatGPTAPI"),
        ({"access_token": None}, "ChatGPTAPI"),
        ({"access_token": "t"}, "ChatGPTUnofficialProxyAPI"),
        ({"get_access_token": print}, "ChatGPTUnofficialProxyAPI"),
        ({"email": "e", "password": "p"}, "ChatGPTUnofficialProxyAPI"),
        ({"session_token": "s"}, "ChatGPTUnofficialProxyAPI"),
        ({"session_token": "s", "clearance_token": "c"}, "ChatGPTSessionAPI"),
    ],
    ids=str,
)
def test_which_client_an_account_is(options: dict[str, object], name: str) -> None:
    assert client_name(options) == name
