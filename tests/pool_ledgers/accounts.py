"""Accounts on a loopback server that counts the calls of each, and pools of them.

Strategy: every account is a key of its own. The server counts how many calls a key has at once, and refuses those
beyond its limit; pools that are tested here do not repeat a call, so that each refusal is seen.

Rules:

1. A call that begins with "held" lasts until the server is told to go on, or until its client is gone; others last
   `seconds`.
2. "limit", "quota" and "failure" are answered with a 429, a 429 that says so, and a 500.
"""

from __future__ import annotations

import json
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import redis

from chatgpt import ChatGPTPool
from chatgpt.core.pool.documents import from_document
from chatgpt.core.pool.state import PoolState
from chatgpt.testing import Answer, ChatGPTServer, RawAnswer, RecordedRequest
from chatgpt.testing.responders import Reply

PATIENCE: Final = 20.0

_REFUSALS: Final = {
    "limit": ("429 Too Many Requests", "rate_limit_exceeded"),
    "quota": ("429 Too Many Requests", "insufficient_quota"),
    "failure": ("500 Internal Server Error", "server_error"),
}

MakePool = Callable[..., ChatGPTPool]


class Accounts:
    """What the server answers.

    Args:
        limit: how many calls an account takes at once.
        seconds: how long a call takes.

    Attributes:
        limit, seconds: what was given; can be set at any time.
        calls: how many calls each key had that were not refused.
        order: the messages, as they came.
        most: the most calls that a key had at once.
        refused: how many calls were refused because the account was at its limit.
        running: how many calls each key has now.
        held: how many of them are held.
        go_on: set to let the held calls end.
    """

    def __init__(self, limit: int = 1, seconds: float = 0.0) -> None:
        self.limit = limit
        self.seconds = seconds
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.order: list[str] = []
        self.most = 0
        self.refused = 0
        self.running: Counter[str] = Counter()
        self.held = 0
        self.go_on = threading.Event()

    def __call__(self, request: RecordedRequest) -> Reply:
        key, text = str(request.api_key), _text_of(request)
        if text in _REFUSALS:
            return _refusal(*_REFUSALS[text])
        is_held = text.startswith("held")
        with self._lock:
            if self.running[key] >= self.limit:
                self.refused += 1
                return _refusal(*_REFUSALS["limit"])
            self.running[key] += 1
            self.most = max(self.most, self.running[key])
            self.held += is_held
            self.calls[key] += 1
            self.order.append(text)
        if is_held:
            return self._held(key)
        time.sleep(self.seconds)
        self._end(key, is_held=False)
        return f"answered {text}"

    def _held(self, key: str) -> Answer:
        go_on = self.go_on

        class Held(Answer):
            @property
            def deltas(self) -> Any:
                yield "first "
                while not go_on.wait(0.01):
                    yield "."  # so it is seen that the client is gone
                is_over()
                yield " last"

        answer = Held()
        # It is over, too, where not a part of it could be sent.
        is_over = weakref.finalize(answer, self._end, key, is_held=True)
        return answer

    def _end(self, key: str, *, is_held: bool) -> None:
        with self._lock:
            self.running[key] -= 1
            self.held -= is_held


def _text_of(request: RecordedRequest) -> str:
    content = request.messages[-1].get("content")
    if isinstance(content, Mapping):  # of the web flow
        content = content["parts"][0]
    return str(content)


def _refusal(status: str, code: str) -> RawAnswer:
    body = json.dumps({"error": {"message": "On demand.", "type": code, "code": code}})
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close"
    return RawAnswer([f"{head}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()])


def settings_of_accounts(base_url: str, number: int) -> dict[str, Mapping[str, object]]:
    """The options of so many accounts: `a0` has the key `k0`, and so on."""
    return {
        f"a{index}": {"api_key": f"k{index}", "api_base_url": base_url, "max_retries": 0}
        for index in range(number)
    }


def web_settings_of_accounts(server: ChatGPTServer, number: int) -> dict[str, Mapping[str, object]]:
    """The same of the web flow; the tokens are the keys."""
    for index in range(number):
        server.web.accept(f"k{index}")
    url = server.proxy_options["api_reverse_proxy_url"]
    return {
        f"a{index}": {"access_token": f"k{index}", "api_reverse_proxy_url": url}
        for index in range(number)
    }


class Books:
    """What is in Redis of a pool.

    Args:
        client: a client of the server.
        key_prefix: that of the pool.
    """

    def __init__(self, client: redis.Redis, key_prefix: str) -> None:
        self.client: Any = client
        self.key = f"{{{key_prefix}}}:pool"

    @property
    def state(self) -> PoolState:
        """The books, as they are now."""
        return from_document(self.client.hget(self.key, "document"))

    @property
    def leases(self) -> list[str]:
        """The accounts that are in use, by all processes."""
        holders = self.state.holders.values()
        return sorted(account_id for each in holders for account_id in each.leases.values())

    @property
    def waiting(self) -> int:
        """How many calls wait, of all processes."""
        return sum(len(each.tickets) for each in self.state.holders.values())


def keepers() -> list[threading.Thread]:
    """The threads of this process that keep books in Redis."""
    return [thread for thread in threading.enumerate() if thread.name == "chatgpt-pool"]
