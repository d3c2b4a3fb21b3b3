"""What the tests of the async twin have: both event loops, a client, and a peer that says nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from chatgpt.testing import ChatGPTServer
from chatgpt_async import ChatGPTAPI
from tests.chatgpt_async.peers import Peer


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


@pytest.fixture
async def client(anyio_backend: str, chatgpt_server: ChatGPTServer) -> AsyncIterator[ChatGPTAPI]:
    """A client of the loopback server, without retries."""
    async with ChatGPTAPI(
        api_key=chatgpt_server.api_key, api_base_url=chatgpt_server.base_url, max_retries=0
    ) as client:
        yield client


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer
