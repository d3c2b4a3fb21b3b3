"""What is measured: who is compared with whom, in which scenarios, and what each client must have read there.

To compare one more, add it to `PEERS` and to the scenarios, and make it in `peer_clients.py`. To measure one thing more, report it
in a scenario; if it is to be shown, add it to `results.METRICS`, and if something is asked of it, to `targets.TARGETS`.

Rules:

1. Who is not installed is left out, and named. So is a scenario that this machine does not allow.
2. What takes long is measured in a few rounds, and not in the round that is not counted.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from attrs import field, frozen

from benchmarks.fast_server import REPLY, stream_text
from benchmarks.prompts import QUESTION, SENTENCE, WINDOW, thread_text
from benchmarks.sizes import Sizes, streams_of

HERE: Final = Path(__file__).parent


@frozen
class Peer:
    """A client that can be measured.

    Attributes:
        title: what it is called, in Markdown.
        baseline: which of ours it is compared with.
        packages: what must be installed.
        is_floor: whether it is the floor of those built on the same libraries.
    """

    title: str
    baseline: str
    packages: Sequence[str] = field(default=())
    is_floor: bool = False


NPM: Final = "npm"
PEERS: Final[Mapping[str, Peer]] = {
    "chatgpt": Peer("`chatgpt`", "chatgpt", ["chatgpt-sdk"]),
    "openai": Peer("`openai`", "chatgpt", ["openai"]),
    "litellm": Peer("`litellm`", "chatgpt", ["litellm"]),
    "floor": Peer(
        "floor: `requests`, `sseclient`", "chatgpt", ["requests", "sseclient-py"], is_floor=True
    ),
    "chatgpt_async": Peer("`chatgpt_async`", "chatgpt_async", ["chatgpt-sdk", "httpx2"]),
    "openai_async": Peer("`openai`, async", "chatgpt_async", ["openai"]),
    "litellm_async": Peer("`litellm`, async", "chatgpt_async", ["litellm"]),
    NPM: Peer("npm `chatgpt`", "chatgpt_async"),
    "floor_async": Peer("floor: `httpx2`", "chatgpt_async", ["httpx2"], is_floor=True),
    "floor_bounded": Peer(
        "floor: `httpx2`, 256 at once", "chatgpt_async", ["httpx2"], is_floor=True
    ),
}
"""In the order of the table."""


@frozen
class Scenario:
    """Something that clients do.

    Attributes:
        clients: those that do it, and in how many rounds at most; `None` for all, the one that is not counted included.
        texts: what a client has read in it, of its name and the sizes.
        files: how many files a process has open in it, of the sizes.
    """

    clients: Mapping[str, int | None]
    texts: Callable[[str, Sizes], Sequence[str]]
    files: Callable[[Sizes], int] = lambda _: 100


def _texts_of_calls(client: str, sizes: Sizes) -> Sequence[str]:
    streams = (stream_text(events) for events, _ in streams_of(client, sizes).values())
    return [REPLY, *streams, REPLY]


def _texts_of_prompts(client: str, sizes: Sizes) -> Sequence[str]:
    text = thread_text(sizes["messages"])
    if client == NPM:
        return [text]
    return [text, text, *[thread_text(sizes["many_messages"])] * 2]


_SOME: Final = 5
_FEW: Final = 3

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "calls": Scenario(
        {
            name: _SOME if name.startswith("litellm") else None
            for name in PEERS
            if name != "floor_bounded"
        },
        _texts_of_calls,
    ),
    "imports": Scenario(
        dict.fromkeys(("chatgpt", "openai", "chatgpt_async")),
        lambda *_: [],
    ),
    "prompts": Scenario({"chatgpt": None, NPM: 1}, _texts_of_prompts),
    "crowds": Scenario(
        dict.fromkeys(("chatgpt_async", "openai_async", "floor_async", "floor_bounded"), _FEW),
        lambda _, sizes: [stream_text(sizes["stream_events"])],
        lambda sizes: sizes["streams"] + 100,
    ),
    "runs": Scenario(dict.fromkeys(("chatgpt", "chatgpt_async"), _FEW), lambda *_: [REPLY]),
}
"""`client_process.py` says where each of them stands."""


def command(
    scenario: str, client: str, origin: str, sizes: Sizes, npm: Path | None
) -> Sequence[str]:
    """What a process is started with.

    Args:
        scenario: of `SCENARIOS`.
        client: of those that do it.
        origin: of the server.
        sizes: how much is done.
        npm: the folder where `npm install chatgpt` was run.
    """
    if client == NPM:
        thread = {"sentence": SENTENCE, "question": QUESTION, "window": WINDOW}
        given = json.dumps({**sizes, "thread": thread})
        return ["node", str(HERE / "npm_client.mjs"), str(npm), scenario, origin, given]
    if scenario == "imports":
        return [sys.executable, "-I", str(HERE / "imports.py"), client]
    program = str(HERE / "client_process.py")
    return [sys.executable, "-I", program, scenario, client, origin, json.dumps(sizes)]


def why_missing(client: str, npm: Path | None) -> str | None:
    """Why a client cannot be measured; `None` where it can.

    Args:
        client: of `PEERS`.
        npm: the folder where `npm install chatgpt` was run.
    """
    if client == NPM:
        if shutil.which("node") is None:
            return "there is no Node.js"
        return None if npm and npm_package(npm).is_file() else "not installed"
    try:
        for package in PEERS[client].packages:
            version(package)
    except PackageNotFoundError:
        return "not installed"
    return None


def npm_package(npm: Path) -> Path:
    """What describes npm `chatgpt` in a folder where it may have been installed."""
    return npm / "node_modules" / "chatgpt" / "package.json"
