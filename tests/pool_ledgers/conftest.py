"""A server that counts the calls of accounts, pools of them that share a Redis, and what is in their books."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from chatgpt import ChatGPTPool
from chatgpt.testing import ChatGPTServer
from tests import redis_server as servers
from tests.pool_ledgers.accounts import Accounts, Books, MakePool, settings_of_accounts
from tests.redis_server import RedisServer

raw_redis = servers.raw_redis


@pytest.fixture
def accounts() -> Accounts:
    """What the server answers, and what it has counted."""
    return Accounts()


@pytest.fixture
def server(accounts: Accounts) -> Iterator[ChatGPTServer]:
    with ChatGPTServer(accounts, api_key=None) as started:
        yield started
        accounts.go_on.set()


@pytest.fixture
def make_local_pool(server: ChatGPTServer) -> Iterator[MakePool]:
    """Makes pools of so many accounts, each of which takes one call at once; they are closed after the test."""
    with ExitStack() as made:

        def make(number: int = 2, **options: Any) -> ChatGPTPool:
            given = {"max_concurrent": 1, "failover": False, "timeout": 20.0, **options}
            settings = given.pop("accounts", None) or settings_of_accounts(server.base_url, number)
            return made.enter_context(ChatGPTPool(settings, **given))

        yield make


@pytest.fixture
def make_pool(make_local_pool: MakePool, redis_server: RedisServer, key_prefix: str) -> MakePool:
    """The same, of pools that share their accounts."""

    def make(number: int = 2, **options: Any) -> ChatGPTPool:
        given = {"redis_url": redis_server.url, "key_prefix": key_prefix, **options}
        return make_local_pool(number, **given)

    return make


@pytest.fixture
def books(raw_redis: Any, key_prefix: str) -> Books:
    return Books(raw_redis, key_prefix)
