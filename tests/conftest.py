"""What every test has: a clean environment, and the fixture `chatgpt_server` of the package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings

from chatgpt import ChatGPTAPI
from chatgpt.testing import ChatGPTServer
from tests.engines import NAMES, Engine, make_engine
from tests.redis_server import key_prefix, redis_cluster, redis_server

__all__ = ["key_prefix", "redis_cluster", "redis_server"]  # fixtures

settings.register_profile(
    "project", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no base URL and no proxy of the machine reaches a test."""
    for name in os.environ:
        if name.startswith("OPENAI_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def engines() -> Iterator[dict[str, Engine]]:
    """The three engines; their event loops run as long as the tests."""
    with ExitStack() as stack:
        made = {name: make_engine(name) for name in NAMES}
        for each in made.values():
            stack.callback(each.stop)
        yield made


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> Iterator[Engine]:
    """One engine after the other. The clients that a test made are closed after it."""
    chosen = engines[request.param]
    yield chosen
    chosen.close_clients()


@pytest.fixture
def client(engine: Engine, chatgpt_server: ChatGPTServer) -> ChatGPTAPI:
    """A client of the loopback server, without retries, on each engine."""
    return engine.client(
        api_key=chatgpt_server.api_key, api_base_url=chatgpt_server.base_url, max_retries=0
    )


@pytest.fixture
def sync_client(chatgpt_server: ChatGPTServer) -> Iterator[ChatGPTAPI]:
    """The same, of the sync twin alone."""
    with ChatGPTAPI(
        api_key=chatgpt_server.api_key, api_base_url=chatgpt_server.base_url, max_retries=0
    ) as client:
        yield client
