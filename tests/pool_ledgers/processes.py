"""What the processes of the tests run: `python -m tests.pool_ledgers.processes CASE BASE_URL REDIS_URL KEY_PREFIX ...`.

Each makes a pool of 8 accounts, says "ready", and begins when a line comes on standard input. What it has to tell is a
line of JSON on standard output; whatever goes wrong is an exception here.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from chatgpt import ChatGPTPool
from tests.pool_ledgers.accounts import keepers, settings_of_accounts

ACCOUNTS: Final = 8
CALLERS: Final = 16


def ready() -> None:
    """Say that all is loaded, and wait until the others are, too."""
    print("ready", flush=True)
    sys.stdin.readline()


def tell(what: object) -> None:
    print(json.dumps(what), flush=True)


def callers(pool: ChatGPTPool, messages: int, held_after: int) -> None:
    """So many callers send so many messages each; each of them a held one in the end, where it is wanted."""

    def work(caller: int) -> list[str | None]:
        texts = [f"{os.getpid()}, {caller}, {number}" for number in range(messages)]
        texts[held_after:] = ["held"] * len(texts[held_after:])
        return [pool.send_message(text, stream=text == "held" or None).account_id for text in texts]

    ready()
    with ThreadPoolExecutor(CALLERS) as threads:
        done = [account for each in threads.map(work, range(CALLERS)) for account in each]
    tell(Counter(done))


def one_call(pool: ChatGPTPool) -> None:
    """End right after a call."""
    ready()
    tell(pool.send_message("hi").account_id)


def left_stream(pool: ChatGPTPool) -> None:
    """End in the midst of a stream that nobody closes."""
    ready()
    stream = pool.stream_message("held")
    stream.__enter__()
    next(stream)
    tell(stream.text)
    globals()["kept"] = stream  # so the interpreter collects it, late


def held_stream(pool: ChatGPTPool) -> None:
    """Hold an account until the server says otherwise."""
    ready()
    with pool.stream_message("held", account_id="a0") as stream:
        next(stream)
        tell("held")
        for _ in stream:
            pass
    tell("done")
    sys.stdin.readline()


def forks(pool: ChatGPTPool) -> None:
    """Fork in the midst of a call: the child calls, too."""
    ready()
    ours = pool._ledger
    with pool.stream_message("held") as stream:
        next(stream)
        parent_id = ours.holder_id
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                before = len(keepers())
                known = pool.status()
                reply = pool.send_message("of the child")
                told = {
                    "is_another_holder": ours.holder_id != parent_id,
                    "keepers": [before, len(keepers())],
                    "running": sum(each.running for each in known.values()),
                    "accounts": list(known),
                    "account_id": reply.account_id,
                }
                pool.close()
                os.write(writing, json.dumps(told).encode())
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            told = json.loads(pipe.read() or b"null")
        _, status = os.waitpid(child, 0)
        sent = pool.send_message("of the parent")
        held = [name for name, each in pool.status().items() if each.running]
    tell({"status": status, "child": told, "parent": sent.account_id, "held": held})


def workers(pool: ChatGPTPool) -> None:
    """A forked worker of `multiprocessing` ends right after a call."""
    ready()
    worker = multiprocessing.get_context("fork").Process(target=pool.send_message, args=("hi",))
    worker.start()
    worker.join(20)
    tell(worker.exitcode)


CASES: Final[dict[str, Callable[..., None]]] = {
    function.__name__: function
    for function in (callers, one_call, left_stream, held_stream, forks, workers)
}


def main(
    case: str, base_url: str, redis_url: str, key_prefix: str, seconds: str, *numbers: str
) -> None:
    threading.excepthook = lambda _: os._exit(3)
    options: Any = {"timeout": 30.0, "failover": False, "max_concurrent": 1}
    pool = ChatGPTPool(
        settings_of_accounts(base_url, ACCOUNTS),
        redis_url=redis_url,
        key_prefix=key_prefix,
        lease_seconds=float(seconds),
        **options,
    )
    CASES[case](pool, *map(int, numbers))


if __name__ == "__main__":
    _arguments: list[Any] = sys.argv[1:]
    main(*_arguments)
