"""Every code block of the README and of the documentation runs in the tests, against the loopback server.

`tests/documents.py` says how. A page has an environment of its own: an empty folder, a home, a key, a server that answers
whoever asks, and nothing of the machine's but the rest of its `PATH`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from unittest.mock import patch

import pytest
from sybil import Sybil

from chatgpt.testing import ChatGPTServer
from tests.documents import code_blocks, show_foreign_tracebacks

PAGES: Final = (
    "README.md",
    "docs/index.md",
    "docs/tutorial.md",
    "docs/how-to/*.md",
    "docs/explanation/*.md",
    "docs/coming-from/*.md",
)

FOREIGN_VARIABLES: Final = re.compile(
    r"(?:OPENAI|CHATGPT|XDG|REDIS)_.*|.*_PROXY|.*_CA_BUNDLE|SSL_CERT_.*|NO_COLOR|FORCE_COLOR|COLUMNS|LINES",
    re.IGNORECASE,
)
"""What would change what a page shows."""

EXPORTED: Final = {
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
    """The environment that a page assumes, with a data export of ChatGPT's in its folder."""
    folder, home = tmp_path_factory.mktemp("documented"), tmp_path_factory.mktemp("home")
    with zipfile.ZipFile(folder / "chatgpt-export.zip", "w") as export:
        export.writestr("conversations.json", json.dumps([EXPORTED]))
    with ChatGPTServer(api_key=None) as server, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        with patch.dict(os.environ):  # what a page changes is undone, too
            for name in filter(FOREIGN_VARIABLES.fullmatch, list(os.environ)):
                del os.environ[name]
            os.environ |= {
                "HOME": str(home),
                "LANG": "C.UTF-8",
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
                "OPENAI_API_KEY": server.api_key,
                "OPENAI_BASE_URL": server.base_url,
            }
            yield


show_foreign_tracebacks()
pytest_collect_file = Sybil(
    parsers=[code_blocks], patterns=PAGES, fixtures=["documented_server"]
).pytest()
