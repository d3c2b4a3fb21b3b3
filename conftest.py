"""Every code block of the README runs in the tests, against the loopback server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from chatgpt.testing import ChatGPTServer


@pytest.fixture(scope="module")
def documented_server() -> Iterator[None]:
    """The environment that a document assumes: a key, and a server that answers."""
    with ChatGPTServer() as server, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("OPENAI_API_KEY", server.api_key)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=["README.md"], fixtures=["documented_server"]
).pytest()
