"""The fixture `chatgpt_server`, which pytest finds by itself once the package is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from chatgpt.testing.server import ChatGPTServer


@pytest.fixture
def chatgpt_server() -> Iterator[ChatGPTServer]:
    """A fresh loopback server; `base_url` and `api_key` are what a client needs."""
    # Here, so that a test run that does not use the fixture does not load the server.
    from chatgpt.testing.server import ChatGPTServer

    with ChatGPTServer() as server:
        yield server
