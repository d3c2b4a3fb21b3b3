"""`examples/scaling_out.py`: threads that move between the workers of a Dask cluster, kept in a real Redis."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chatgpt import RedisStore
from chatgpt.testing import ChatGPTServer
from tests.cli.processes import environment
from tests.examples.programs import run
from tests.redis_server import RedisServer

TOPICS = ("rivers", "mountains", "islands", "deserts")


@pytest.mark.parametrize("keys", [[], ["ALICE_KEY", "BOB_KEY"]], ids=["client", "pool"])
def test_threads_move_from_worker_to_worker(
    keys: list[str], tmp_path: Path, redis_server: RedisServer
) -> None:
    redis_server.ask("FLUSHALL")
    with ChatGPTServer(api_key=None) as server:
        env = environment(
            tmp_path,
            server,
            REDIS_URL=redis_server.url,
            OPENAI_API_KEY=None if keys else "sk-one",
            **{name: f"sk-{name}" for name in keys},
        )
        options = ["--keys", *keys] if keys else []

        done = run("scaling_out.py", *options, folder=tmp_path, env=env)

        requests = list(server.requests)
    assert (done.returncode, done.stderr) == (0, "")

    # Each thread is whole, in what is printed and in Redis, and each step was made by another worker.
    walks = re.findall(
        r"# asked by worker (\d), then (\d), then (\d)\n((?:\w+: .*\n){6})", done.stdout
    )
    assert sorted(walk[:3] for walk in walks) == [("0", "1", "0")] * 2 + [("1", "0", "1")] * 2
    for topic, walk in zip(TOPICS, walks, strict=True):
        said = walk[3].splitlines()
        assert said[0] == f"user: Name one of the {topic} of Europe."
        assert said[-1].endswith(f"it began with: Name one of the {topic} of Europe.")
    with RedisStore(redis_server.url, key_prefix="scaling-out") as store:
        messages = list(store.all_messages())
        last = [message for message in messages if "message 3 of our" in message.text]
        threads = [store.path(message.id) for message in last]
    assert sorted(len(thread) for thread in threads) == [6] * 4
    assert len(messages) == 24
    assert all("sk-" not in repr(message) for message in messages)

    # Both workers asked, each over connections that it kept: two threads, and with a pool one set for each account.
    assert len(requests) == 12
    ports = {request.client_port for request in requests}
    assert 2 <= len(ports) <= 4 * max(1, len(keys))
    assert {request.api_key for request in requests} == {f"sk-{name}" for name in keys or ["one"]}
    if keys:
        assert {message.account_id for message in messages if message.role == "assistant"} == set(
            keys
        )


def test_an_error_of_a_worker_is_said_as_it_is(tmp_path: Path, redis_server: RedisServer) -> None:
    with ChatGPTServer() as server:
        env = environment(
            tmp_path, server, REDIS_URL=redis_server.url, OPENAI_API_KEY="sk-no-such-key"
        )

        done = run("scaling_out.py", folder=tmp_path, env=env)

    assert (done.returncode, done.stdout) == (1, "")
    assert "AuthenticationError: 401 Unauthorized: Incorrect API key provided." in done.stderr
    assert "sk-no-such-key" not in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--keys", "ALICE_KEY", "BOB_KEY"], "set in the environment: REDIS_URL, BOB_KEY"),
        (["--workers", "0"], "--workers is at least 1"),
    ],
    ids=["keys", "workers"],
)
def test_what_is_missing_is_said_at_once(options: list[str], says: str, tmp_path: Path) -> None:
    done = run(
        "scaling_out.py", *options, folder=tmp_path, env=environment(tmp_path, ALICE_KEY="sk-alice")
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"error: {says}\n")
