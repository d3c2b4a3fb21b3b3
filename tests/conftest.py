"""What every test has: a clean environment, and the fixture `chatgpt_server` of the package."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from chatgpt import ChatGPTAPI
from chatgpt.testing import ChatGPTServer

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


@pytest.fixture
def client(chatgpt_server: ChatGPTServer) -> Iterator[ChatGPTAPI]:
    """A client of the loopback server, without retries."""
    with ChatGPTAPI(
        api_key=chatgpt_server.api_key, api_base_url=chatgpt_server.base_url, max_retries=0
    ) as client:
        yield client
