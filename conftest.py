"""Every code block of the README runs in the tests, against the loopback server."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from chatgpt.testing import ChatGPTServer

EXPORTED = {
    "conversation_id": "6f1d",
    "title": "Monads",
    "current_node": "a",
    "mapping": {
        "q": {
            "id": "q",
            "parent": None,
            "message": {
                "author": {"role": "user"},
                "content": {"content_type": "text", "parts": ["What is a monad?"]},
            },
        },
        "a": {
            "id": "a",
            "parent": "q",
            "message": {
                "author": {"role": "assistant"},
                "content": {"content_type": "text", "parts": ["A burrito."]},
            },
        },
    },
}


@pytest.fixture(scope="module")
def documented_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The environment that a document assumes: a key, a server that answers, and a data export of ChatGPT."""
    folder = tmp_path_factory.mktemp("documented")
    with zipfile.ZipFile(folder / "chatgpt-export.zip", "w") as export:
        export.writestr("conversations.json", json.dumps([EXPORTED]))
    with ChatGPTServer() as server, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("OPENAI_API_KEY", server.api_key)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=["README.md"], fixtures=["documented_server"]
).pytest()
