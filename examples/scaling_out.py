"""Conversations that move from worker to worker: Dask, and a Redis in which all workers see the same threads.

The client is made once, here, and pickled to the workers. A pickle holds no secret: each worker reads the key, and
the URL of Redis, from its own environment. Each thread is begun by one worker, and each of its further questions
is asked by the next one, which needs nothing but the id of the reply before.

How to run it, with the server that comes with the package, and a Redis on this machine:

    python -m chatgpt.testing --port 8080 &     # `pip install 'chatgpt-sdk[redis]' 'dask[distributed]'`
    export OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=sk-test REDIS_URL=redis://localhost:6379
    python scaling_out.py

With OpenAI, and with two keys whose limits all workers share (`python -m chatgpt.testing --any-key` takes any):

    REDIS_URL=redis://... OPENAI_API_KEY=sk-... python scaling_out.py
    REDIS_URL=redis://... ALICE_KEY=sk-... BOB_KEY=sk-... python scaling_out.py --keys ALICE_KEY BOB_KEY
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from attrs import frozen
from distributed import Client, Future, LocalCluster, get_worker

from chatgpt import ChatGPTAPI, ChatGPTError, ChatGPTPool, ChatMessage, RedisStore, Secret

TOPICS = ("rivers", "mountains", "islands", "deserts")
QUESTIONS = ("Name one of the {topic} of Europe.", "Another one.", "Which of the two is larger?")


@frozen
class Answered:
    """A reply, and which worker asked for it."""

    reply: ChatMessage
    worker: str


def ask(chatgpt: ChatGPTAPI | ChatGPTPool, question: str, before: Answered | None) -> Answered:
    """Ask a question, in a worker; errors travel back as they are, with their type."""
    parent_message_id = None if before is None else before.reply.id
    reply = chatgpt.send_message(question, parent_message_id=parent_message_id)
    return Answered(reply, worker=str(get_worker().name))


def ask_all(dask: Client, chatgpt: ChatGPTAPI | ChatGPTPool) -> list[list[Answered]]:
    """Ask all questions of all threads, each by another worker than the one before."""
    workers = sorted(dask.ncores())  # their addresses
    # One copy for each worker: its connections are shared by all that it asks.
    client = dask.scatter(chatgpt, broadcast=True, hash=False)
    threads: list[list[Future[Answered]]] = []
    for first, topic in enumerate(TOPICS):
        answers: list[Future[Answered]] = []
        for place, question in enumerate(QUESTIONS, start=first):
            answer = dask.submit(
                ask,
                client,
                question.format(topic=topic),
                answers[-1] if answers else None,  # Dask waits for it
                workers=[workers[place % len(workers)]],
                pure=False,  # the same question may be asked twice
            )
            answers.append(answer)
        threads.append(answers)
    gathered: list[list[Answered]] = dask.gather(threads)
    return gathered


def make_client(store: RedisStore, variables: Sequence[str]) -> ChatGPTAPI | ChatGPTPool:
    """Make a client; or, of several keys, a pool whose limits and cooldowns hold for all workers together.

    Args:
        store: where the messages are.
        variables: the environment variables that hold the keys of a pool.
    """
    if not variables:
        return ChatGPTAPI(message_store=store)
    return ChatGPTPool(
        {name: {"api_key": Secret(os.environ[name], name)} for name in variables},
        max_concurrent=2,  # calls at once, of each key
        message_store=store,
        redis_url=Secret(os.environ["REDIS_URL"], "REDIS_URL"),
        key_prefix="scaling-out",
    )


def main() -> None:
    """Start a cluster on this machine, ask, and show what the store holds in the end."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    parser.add_argument(
        "--keys", nargs="+", default=(), metavar="VARIABLE", help="make a pool of these"
    )
    options = parser.parse_args()
    if options.workers < 1:
        parser.error("--workers is at least 1")
    if missing := [name for name in ("REDIS_URL", *options.keys) if not os.environ.get(name)]:
        parser.error(f"set in the environment: {', '.join(missing)}")
    try:
        with (
            RedisStore(key_prefix="scaling-out", time_to_live=86_400) as store,  # at REDIS_URL
            make_client(store, options.keys) as chatgpt,
            LocalCluster(
                n_workers=options.workers, threads_per_worker=2, dashboard_address=None
            ) as cluster,
            Client(cluster) as dask,
        ):
            for answers in ask_all(dask, chatgpt):
                print("# asked by worker", ", then ".join(answer.worker for answer in answers))
                for message in reversed(store.path(answers[-1].reply.id)):
                    print(f"{message.role}: {message.text}")
    except ChatGPTError as error:  # a worker's, too
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
