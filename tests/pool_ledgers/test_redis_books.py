"""The books in Redis: who may write them, and what becomes of books that are lost; on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from chatgpt.core.pool.state import AccountRecord, Holder, PoolState
from chatgpt.core.secrets import Secret
from chatgpt.pool_ledgers.redis_books import TURN, RedisBooks
from chatgpt.stores.redis_address import RedisAddress
from tests.redis_server import RedisServer, until

GRACE = 7.0


@contextmanager
def opened(server: RedisServer, key_prefix: str) -> Iterator[RedisBooks]:
    address = RedisAddress(Secret(server.url), "redis")
    books = RedisBooks(address, key_prefix, GRACE)
    books.read()
    try:
        yield books
    finally:
        books.close()


def numbered(number: int) -> PoolState:
    return PoolState({"a": AccountRecord(calls=number)}, {"me": Holder({"a": 1})}, number)


def test_the_books_are_written_over_those_that_are_known(
    redis_server: RedisServer, key_prefix: str
) -> None:
    with opened(redis_server, key_prefix) as ours, opened(redis_server, key_prefix) as theirs:
        assert theirs.write(numbered(1), "them", has_lost=False) == "written"
        assert ours.write(numbered(2), "us", has_lost=False) == "changed"
        assert ours.state == numbered(1)
        assert ours.write(numbered(2), "us", has_lost=False) == "written"
        theirs.read()
        assert theirs.state == numbered(2)


def test_who_has_lost_a_race_takes_the_next_turn(
    redis_server: RedisServer, key_prefix: str
) -> None:
    """However slow it is: the others wait until it has written."""
    with opened(redis_server, key_prefix) as far, opened(redis_server, key_prefix) as near:
        assert near.write(numbered(1), "near", has_lost=False) == "written"
        assert far.write(numbered(2), "far", has_lost=True) == "changed"
        for _ in range(3):
            assert near.write(numbered(3), "near", has_lost=False) == "not yet"
        assert far.write(numbered(2), "far", has_lost=False) == "written"
        assert near.write(numbered(3), "near", has_lost=False) == "changed"
        assert near.state == numbered(2)
        assert near.write(numbered(3), "near", has_lost=False) == "written"


def test_a_turn_that_is_not_taken_is_over_soon(redis_server: RedisServer, key_prefix: str) -> None:
    """Whoever had it may be dead."""
    with opened(redis_server, key_prefix) as dead, opened(redis_server, key_prefix) as alive:
        assert alive.write(numbered(1), "alive", has_lost=False) == "written"
        assert dead.write(numbered(2), "dead", has_lost=True) == "changed"
        outcomes: list[str] = []

        def is_written() -> bool:
            outcomes.append(alive.write(numbered(2), "alive", has_lost=False))
            return outcomes[-1] == "written"

        until(is_written, TURN + 5)
        assert "not yet" in outcomes


def test_lost_books_are_begun_anew_and_give_nothing_for_a_while(
    redis_server: RedisServer, key_prefix: str
) -> None:
    """Whoever has accounts will say so; what was known of them is kept."""
    with opened(redis_server, key_prefix) as books:
        assert books.write(numbered(5), "us", has_lost=False) == "written"
        with redis.Redis(port=redis_server.port) as raw:
            raw.delete(f"{{{key_prefix}}}:pool")
        now = books.now()
        assert books.write(numbered(6), "us", has_lost=False) == "changed"
        assert (books.state.accounts, books.state.last_number) == (numbered(5).accounts, 5)
        assert books.state.holders == {}
        assert now + GRACE - 1 < books.state.opens < now + GRACE + 5
        assert books.write(numbered(6), "us", has_lost=True) == "written"


def test_older_books_give_nothing_for_a_while(redis_server: RedisServer, key_prefix: str) -> None:
    """A server was restored from a snapshot: who has accounts will say so."""
    key = f"{{{key_prefix}}}:pool"
    with opened(redis_server, key_prefix) as books, redis.Redis(port=redis_server.port) as raw:
        assert books.write(numbered(5), "us", has_lost=False) == "written"
        snapshot = raw.hgetall(key)
        assert books.write(numbered(6), "us", has_lost=False) == "written"
        raw.hset(key, mapping=snapshot)
        now = books.now()
        books.read()
        assert books.state.last_number == 5
        assert books.state.opens > now + GRACE - 1


def test_books_that_were_never_there_are_no_loss(
    redis_server: RedisServer, key_prefix: str
) -> None:
    with opened(redis_server, key_prefix) as books:
        assert books.state == PoolState()
        books.read()
        assert books.state == PoolState()


def test_the_account_of_a_conversation(redis_server: RedisServer, key_prefix: str) -> None:
    with opened(redis_server, key_prefix) as ours, opened(redis_server, key_prefix) as theirs:
        assert ours.account_of("c") is None
        ours.remember("c", "älice")
        assert theirs.account_of("c") == "älice"
