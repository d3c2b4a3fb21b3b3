"""The connections of the sync twin to a server of Redis.

Rules:

1. Connections are opened when they are used, kept for the next command, and shared by threads. A command whose
   connection was lost is sent again.
2. Closing waits for the commands that are running, and does not wait itself: the last of them closes what is left.
3. Whatever redis-py raises becomes a `StoreError`, without its frames (`redis_address`).
"""

from __future__ import annotations

import sys
from threading import Lock
from typing import Any

from chatgpt.stores.redis_address import (
    ClientAddress,
    RedisAddress,
    failures_of_redis,
    redis_package,
    store_error,
)
from chatgpt.stores.redis_keys import Command


class RedisConnections:
    """Connections to a server.

    Args:
        address: where it is.
        client: the caller's own client, which is his to close; `None` for one of ours.
    """

    def __init__(self, address: RedisAddress | ClientAddress, client: object = None) -> None:
        self._address = address
        self._client = client
        self._opened: _Opened | None = None
        self._opening = Lock()

    def close(self) -> None:
        """Close the connections, as soon as they are idle. The next command opens new ones."""
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def send(self, command: Command) -> Any:
        """Send Redis a command, and wait for the answer: bytes, or lists of them.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        handled = sys.exception()
        opened = self._enter()
        try:
            outcome = opened.client.execute_command(*command, NEVER_DECODE=[])
        except BaseException as error:  # noqa: BLE001 - raised below, where nothing holds a password
            outcome = error
        finally:
            opened.leave()
        if isinstance(outcome, failures_of_redis()):
            outcome = store_error(outcome, handled, self._address)
        if isinstance(outcome, BaseException):
            raise outcome.with_traceback(None)
        return outcome

    def _enter(self) -> _Opened:
        with self._opening:
            if self._opened is None:
                address = self._address
                pool = address.pool() if isinstance(address, RedisAddress) else None
                self._opened = _Opened(pool, self._client)
            self._opened.enter()
            return self._opened


class _Opened:
    """A client, and its connections.

    Args:
        pool: the connections, where they are to be closed.
        client: the client of the caller, where there is one.
    """

    def __init__(self, pool: Any, client: Any) -> None:
        self.client = redis_package().Redis(connection_pool=pool) if client is None else client
        self._pool = pool
        self._running = 0
        self._is_closing = False
        self._lock = Lock()

    def enter(self) -> None:
        """A call begins."""
        with self._lock:
            self._running += 1

    def leave(self) -> None:
        """A call has ended."""
        with self._lock:
            self._running -= 1
        self._close_if_idle()

    def close(self) -> None:
        """Close the connections when none is in use."""
        self._is_closing = True
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._is_closing and not self._running and self._pool is not None:
            self._pool.disconnect()
