"""Executes the notebooks of the documentation anew.

    python docs/notebooks/execute.py            # write them, with their outputs
    python docs/notebooks/execute.py --check    # say which outputs are not those that are committed

Strategy: the notebooks name no server and no key, so that whoever has a key runs them as they are. Here both come through
the environment of the kernel and lead to the server of `chatgpt.testing`, which gives the answers below, word by word.

Rules:

1. Executing again changes no byte. What differs from run to run is replaced: ids that the client makes up, addresses in
   memory, and the server's port, in whose place stands what a reader with a key sees. Times and versions are left out.
2. A question that has no answer here fails the cell: nothing is shown that makes no sense.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient

from chatgpt.testing import Answer, ChatGPTServer, Fault, RecordedRequest

FOLDER: Final = Path(__file__).parent

SECONDS_PER_PART: Final = 0.012
"""How fast the server writes."""

SHOWS: Final = ("display_data", "update_display_data")
"""The messages of a kernel by which a cell shows something."""

LISBON: Final = """\
Start low and walk up, a day each:

1. **Belém**: the tower, the monastery of Jerónimos, and a custard tart.
2. **Alfama**: the cathedral, the lanes, and the castle at sunset.
3. **Baixa and Chiado**: the squares, a bookshop, and the lift of Santa Justa.
"""

ANSWERS: Final[Mapping[str, str]] = {
    "I have three days in Lisbon. What should I see?": LISBON,
    "And if it rains?": "Then **museums**: the *Gulbenkian* for art, the *Azulejo* museum for tiles, the *Oceanário* for fish.",
    "Describe the Alfama to somebody who has never been there.": """\
The Alfama is the oldest quarter of Lisbon. It climbs from the river to the castle, and no street in it is straight.

* **What you see:** white walls, tiles, laundry, and between two houses a piece of the Tagus.
* **What you hear:** the tram on its way up, a radio, and in the evening *fado* behind a door.
* **What you need:** shoes, and no plan. Whoever is lost walks down until there is water.
""",
    "Where do I eat?": "Time Out Market, by the river: many small kitchens under one roof.",
    "I like fish.": "*Ramiro*, for shellfish. Go early, there is a queue.",
    "I like meat.": "A *tasca* in the Mouraria: order the pork with clams.",
    "Name a river.": "The Tagus.",
    "Name a hill.": "São Jorge.",
    "Name a tram.": "Line 28.",
    "Write one line about the Tagus.": "The river has *time*; the bridge has only its red.",
    "Say it in five words.": "Belém, Alfama, Chiado; then rest.",
    "What did we plan?": "Three days: **Belém**, **Alfama**, then **Baixa and Chiado**.",
    "Is the castle worth it?": "Yes, for the view at sunset.",
    "What is a stack?": "A stack is a list with one open end: what was put on it last is taken from it first.",
}

IN_OTHER_WORDS: Final[Mapping[tuple[str, str], str]] = {
    (
        "Explain with an example of everyday life.",
        "What is a stack?",
    ): "Plates in a cupboard. You put a plate **on top**, and the next one that you take is the same plate.",
    (
        "Explain in one line of Python.",
        "What is a stack?",
    ): "```python\nstack: list[int] = []; stack.append(1); stack.append(2); stack.pop()  # 2: last in, first out\n```",
}
"""Where the instructions change the answer."""


DATE: Final = re.compile(rb"Current date: \d{4}-\d{2}-\d{2}")
"""What the default instructions say of the day."""


def answer(request: RecordedRequest) -> Answer:
    """The answer to a request; its id follows from what was sent, whatever the day is."""
    said = [str(message.get("content")) for message in request.messages]
    text = IN_OTHER_WORDS.get((said[0], said[-1])) or ANSWERS[said[-1]]
    sent = DATE.sub(b"Current date: 2026-11-26", request.body)
    return Answer(text=text.rstrip(), id=f"chatcmpl-{hashlib.sha256(sent).hexdigest()[:24]}")


class RecordingClient(NotebookClient):
    """Executes a notebook, and notes when its cells show something.

    Attributes:
        shown: by the id of a cell, the kind and the time, in seconds, of each message that showed something.
    """

    def __init__(self, notebook: nbformat.NotebookNode, **options: Any) -> None:
        super().__init__(notebook, **options)
        self.shown: dict[str, list[tuple[str, float]]] = {}

    def process_message(
        self, msg: dict[str, Any], cell: nbformat.NotebookNode, cell_index: int
    ) -> nbformat.NotebookNode | None:
        """Take a message of the kernel."""
        if msg["msg_type"] in SHOWS:
            self.shown.setdefault(cell["id"], []).append((msg["msg_type"], time.monotonic()))
        return super().process_message(msg, cell, cell_index)


async def execute(path: Path, folder: Path) -> RecordingClient:
    """Execute a notebook; `nb` of what is returned is the notebook with its outputs, as it is to be committed.

    Args:
        path: the notebook.
        folder: an empty one, in which it is executed.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    with ChatGPTServer(answer) as server:
        server.inject(*[Fault(part_delay=SECONDS_PER_PART)] * 100)
        client = RecordingClient(
            notebook,
            timeout=60,
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        )
        await client.async_execute(env=environment(folder, server))
        clean(notebook, server.base_url)
    return client


def environment(folder: Path, server: ChatGPTServer) -> dict[str, str]:
    """The environment of a kernel that talks to a server, and in which nothing of the machine's own is set up."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {
        "HOME": str(folder / "home"),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "jupyter"),
        "OPENAI_API_KEY": server.api_key,
        "OPENAI_BASE_URL": server.base_url,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # a warning of the debugger's
    }


def clean(notebook: nbformat.NotebookNode, server_url: str) -> None:
    """Replace what differs from run to run."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python", "pygments_lexer": "ipython3"},
        }
    )
    plain = _replacement(server_url)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                output.text = plain(output.text)
            for kind, content in output.get("data", {}).items():
                output.data[kind] = plain(content)


def _replacement(server_url: str) -> Callable[[str], str]:
    known: dict[str, str] = {}

    def stand_in(found: re.Match[str]) -> str:
        # A tree shows the beginning of an id, a message the whole of it.
        name = known.setdefault(found[0][:8], hashlib.sha256(str(len(known)).encode()).hexdigest())
        return "".join(
            "-" if letter == "-" else other for letter, other in zip(found[0], name, strict=False)
        )

    def plain(text: str) -> str:
        text = text.replace(server_url, "https://api.openai.com/v1")
        text = re.sub(r" at 0x[0-9a-f]+>", ">", text)
        return re.sub(r"(?<![\w-])[0-9a-f]{8}(?:-?[0-9a-f]+)*(?:-)?(?![\w])", stand_in, text)

    return plain


def notebooks() -> Sequence[Path]:
    """The notebooks of the documentation."""
    return sorted(FOLDER.glob("*.ipynb"))


def main() -> None:
    """Execute the notebooks, one after the other."""
    parser = argparse.ArgumentParser(description="Execute the notebooks of the documentation.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where one differs"
    )
    is_check = parser.parse_args().check
    differing = []
    for path in notebooks():
        with tempfile.TemporaryDirectory() as folder:
            done = asyncio.run(execute(path, Path(folder)))
        text = written(done.nb)
        if text != path.read_text(encoding="utf-8"):
            differing.append(path.name)
            if not is_check:
                path.write_text(text, encoding="utf-8")
    if differing:
        print(f"{'not as committed' if is_check else 'written'}: {', '.join(differing)}")
    sys.exit(bool(is_check and differing))


def written(notebook: nbformat.NotebookNode) -> str:
    """The text of a notebook's file."""
    return f"{nbformat.writes(notebook)}\n"


if __name__ == "__main__":
    main()
