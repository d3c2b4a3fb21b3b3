"""Notebooks in JupyterLab, in a headless browser: what is rendered, that a stream is seen to grow, and that nothing in a reply runs.

JupyterLab runs as a process of its own, with folders of its own. The notebooks are opened without outputs and executed there:
JupyterLab trusts the outputs of what it has executed itself, and would run the scripts in them.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import nbformat
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from chatgpt.testing import Answer, ChatGPTServer, Fault, RecordedRequest
from tests.browser import LIMIT, browser, wait
from tests.cli.processes import environment
from tests.notebook.test_notebooks import EXECUTE, FOLDER
from tests.redis_server import until

__all__ = ["browser"]  # a fixture

SECONDS_PER_PART: Final = 0.012

MARK: Final = "document.body.dataset.pwned=1"
"""What every attack would do to the page."""

HOSTILE: Final[Mapping[str, str]] = {
    "a script": f"<script>{MARK}</script>",
    "a script in its line": f"see <script>{MARK}</script>",
    "a picture": f'<img src=x onerror="{MARK}">',
    "a picture without quotes": f"<img/src=x onerror={MARK}>",
    "a drawing": f"<svg onload={MARK}><circle/></svg>",
    "a frame": f'<iframe srcdoc="<script>parent.{MARK}</script>"></iframe>',
    "a frame of a script": f"<iframe src='javascript:parent.{MARK}'></iframe>",
    "details": f'<details open ontoggle="{MARK}"><summary>x</summary></details>',
    "over two lines": f'<img\nsrc=x\nonerror="{MARK}">',
    "behind a comment": f"<!-- --><img src=x onerror={MARK}>",
    "an instruction": f"<?x?><img src=x onerror={MARK}>",
    "behind a fence": f"```\ncode\n```\n<img src=x onerror={MARK}>",
    "behind a fence that is none": f"``` `\n<img src=x onerror={MARK}>\n```",
    "in a fence of a list": f"- ```\n  code\n<img src=x onerror={MARK}>\n  ```",
    "in a fence of a quotation": f"> ```\n<img src=x onerror={MARK}>\n```",
    "in code across two lines": f"a `b\n<img src=x onerror={MARK}>\n\nc` d",
    "in code of a cell": f"|a|b|\n|-|-|\n|`x|<img src=x onerror={MARK}>`|",
    "in escaped code": f"\\`<img src=x onerror={MARK}>`",
    "in a formula": f"$`$ <img src=x onerror={MARK}> `",
    "in a formula of two lines": f"$$\n<img src=x onerror={MARK}>\n$$",
    "in a formula with code": f"`$`<img src=x onerror={MARK}>`$`",
    "in a list": f"1. one\n\n   <img src=x onerror={MARK}>",
    "in a quotation": f"> <img src=x onerror={MARK}>",
    "in a heading": f"# <img src=x onerror={MARK}>",
    "in the words of a link": f"[<img src=x onerror={MARK}>](https://example.org)",
    "a link": f"[hostile](javascript:{MARK})",
    "a link with references": f"[hostile](&#106;avascript:{MARK})",
    "a link in angles": f"[hostile](<java\tscript:{MARK}>)",
    "a link elsewhere": f"[hostile][x]\n\n[x]: javascript:{MARK}",
    "an address": f"<javascript:{MARK}>",
    "a link of data": f"[hostile](data:text/html,<script>{MARK}</script>)",
    "a formula's link": f"$\\href{{javascript:{MARK}}}{{x}}$",
    "a button": f"<form action='javascript:{MARK}'><button autofocus onfocus={MARK}>hostile</button></form>",
    "a style": "<style>body { display: none }</style>",
}
"""Replies that would run something, or change the page."""

HARMLESS: Final = """\
# Plain

Text with **strong** words, `vector<int>`, `<b>` in code, and 1 < 2.

```html
<b>fenced</b> <script>fenced()</script>
```

- a list of `map<string, int>`
- [a link](https://example.org/page)

> a quotation

| a | b |
|---|---|
| `x<y` | 2 |

The formula $a<b$ and, in a line of its own,

$$\\sum_{i<n} i$$
"""

# JupyterLab shows fifty outputs of a cell.
HOSTILE_CELLS: Final = (
    """\
import json, pathlib
from chatgpt import ChatGPTAPI
from chatgpt.notebook import show
client = ChatGPTAPI()
texts = json.loads(pathlib.Path("hostile.json").read_text())""",
    """\
for text in texts:
    display(client.send_message(text))""",
    """\
for text in texts:
    show(client.stream_message(text))""",
    """\
chat = client.conversation()
for text in texts[:3]:
    chat.send(text)
display(chat, chat.tree())""",
    """client.stream_message(pathlib.Path("harmless.md").read_text())""",
    """print("that " + "is all")""",
)


def reply(request: RecordedRequest) -> Answer:
    """The answers of the documentation; to what is not among them, the same text again."""
    said = str(request.messages[-1]["content"])
    if said in EXECUTE["ANSWERS"]:
        answer: Answer = EXECUTE["answer"](request)
        return answer
    return Answer(text=said)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab, whose kernels talk to a server that gives the answers of the documentation."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("chromium or chromedriver is not installed")
    folder = tmp_path_factory.mktemp("lab")
    pages = folder / "notebooks"
    pages.mkdir()
    first_steps = nbformat.read(FOLDER / "first-steps.ipynb", as_version=4)
    for cell in first_steps.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(first_steps, pages / "first-steps.ipynb")
    (pages / "hostile.json").write_text(json.dumps(list(HOSTILE.values())), encoding="utf-8")
    (pages / "harmless.md").write_text(HARMLESS, encoding="utf-8")
    cells = [nbformat.v4.new_code_cell(source) for source in HOSTILE_CELLS]
    hostile = nbformat.v4.new_notebook(cells=cells, metadata=first_steps.metadata)
    nbformat.write(hostile, pages / "hostile.ipynb")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ServerApp.token=", "--ServerApp.password=", f"--ServerApp.port={port}"),
        *(f"--ServerApp.root_dir={pages}", "--ServerApp.port_retries=0", "--LabApp.news_url="),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.expose_app_in_browser=True",
    ]
    url = f"http://127.0.0.1:{port}"
    with ChatGPTServer(reply) as server, (folder / "log").open("wb") as log:
        server.inject(*[Fault(part_delay=SECONDS_PER_PART)] * 12)  # those of first-steps
        env = environment(
            folder,
            server,
            JUPYTER_CONFIG_DIR=str(folder / "config"),
            JUPYTER_DATA_DIR=str(folder / "data"),
            JUPYTER_RUNTIME_DIR=str(folder / "runtime"),
            IPYTHONDIR=str(folder / "ipython"),
        )
        process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            until(lambda: process.poll() is not None or _answers(f"{url}/api"), LIMIT)
            assert process.poll() is None, (folder / "log").read_text()
            yield url
        finally:
            process.terminate()  # it ends its kernels; sometimes it waits for one in vain
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()  # a kernel whose server is gone ends itself
                process.wait()


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=1):
            return True
    except OSError:
        return False


def run_all(page: Chrome, url: str, name: str) -> None:
    """Open a notebook, and execute its cells; the page notes what each display of Markdown went through."""
    # A workspace of its own: JupyterLab would open the notebook of the test before, too.
    page.get(f"{url}/lab/workspaces/{Path(name).stem}/tree/{name}")
    wait(page, lambda _: page.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-Cell"))
    wait(
        page,
        lambda _: page.execute_script(
            "const it = window.jupyterapp.shell.currentWidget;"
            "return it?.context?.path == arguments[0]"
            "  && it.sessionContext?.session?.kernel?.status == 'idle';",
            name,
        ),
    )
    page.execute_script(
        "window.lengths = []; new MutationObserver(() => {"
        "  const all = [...document.querySelectorAll('.jp-OutputArea-output.jp-RenderedMarkdown')]"
        "    .map(each => each.textContent);"
        "  const text = all.find(each => each.startsWith('The Alfama')) || '';"
        "  if (text.length && text.length != window.lengths.at(-1)) window.lengths.push(text.length);"
        "}).observe(document.body, {childList: true, subtree: true, characterData: true});"
        "window.jupyterapp.commands.execute('notebook:run-all-cells');"
    )


def in_outputs(page: Chrome, selector: str) -> list[str]:
    """The texts of what matches within the outputs of the notebook."""
    texts: list[str] = page.execute_script(
        "return [...document.querySelectorAll('.jp-OutputArea-output')].flatMap("
        "  each => [...each.querySelectorAll(arguments[0])].map(found => found.textContent));",
        selector,
    )
    return texts


def test_a_notebook_is_rendered_and_a_stream_is_seen_to_grow(
    browser: Chrome, lab: str, tmp_path: Path
) -> None:
    run_all(browser, lab, "first-steps.ipynb")
    wait(browser, lambda _: "Time Out Market" in " ".join(in_outputs(browser, "details")))
    wait(browser, lambda _: "The river has time" in " ".join(in_outputs(browser, "p")))
    strong = in_outputs(browser, "ol strong")
    assert strong == ["Belém", "Alfama", "Baixa and Chiado"]
    assert "tokens" in in_outputs(browser, "table caption")
    assert "what was sent" in in_outputs(browser, "table caption")
    stream_strong = in_outputs(browser, "ul strong")
    assert stream_strong == ["What you see:", "What you hear:", "What you need:"]
    lengths = browser.execute_script("return window.lengths;")
    assert len(lengths) >= 3, "the stream was not seen to grow"
    assert lengths == sorted(lengths)
    assert len(in_outputs(browser, "details")) == 6, "the tree has a line for each message"
    browser.execute_script("document.querySelector('.jp-OutputArea-output details').open = true")
    browser.execute_script(
        "document.querySelector('.jp-OutputArea-output details').scrollIntoView({block: 'center'})"
    )
    assert browser.save_screenshot(str(tmp_path / "first-steps.png"))


def test_nothing_in_a_reply_runs_and_what_is_harmless_shows_right(
    browser: Chrome, lab: str, tmp_path: Path
) -> None:
    run_all(browser, lab, "hostile.ipynb")
    wait(browser, lambda _: "that is all" in "".join(in_outputs(browser, "pre")))
    wait(browser, lambda _: len(in_outputs(browser, "mjx-container")) >= 2)
    shown: Any = browser.execute_script(
        "return {pwned: document.body.dataset.pwned || null,"
        " displayed: getComputedStyle(document.body).display,"
        " outputs: document.querySelectorAll('.jp-OutputArea-output.jp-RenderedMarkdown').length};"
    )
    assert shown["pwned"] is None
    assert shown["displayed"] != "none"
    assert shown["outputs"] == 2 * len(HOSTILE) + 1
    for selector in (
        *("script", "img", "svg[onload]", "iframe", "style", "form", "button:not([class])"),
        *("[onerror]", "[onload]", "[ontoggle]", "[onfocus]"),
        *("a[href^='javascript' i]", "a[href^='data:text' i]", "a[*|href^='javascript' i]"),
    ):
        assert in_outputs(browser, selector) == [], selector
    links = browser.execute_script(
        "return [...document.querySelectorAll('.jp-OutputArea-output a')].map(each => each.protocol);"
    )
    assert set(links) <= {"http:", "https:"}
    # A link that is clicked runs nothing, either.
    browser.execute_script(
        "for (const each of document.querySelectorAll('.jp-OutputArea-output a'))"
        " if (each.textContent.includes('hostile')) each.click();"
    )
    assert browser.execute_script("return document.body.dataset.pwned || null;") is None

    code = in_outputs(browser, "code")
    assert {"vector<int>", "<b>", "map<string, int>", "x<y"} <= set(code)
    assert "<b>fenced</b> <script>fenced()</script>" in [each.strip() for each in code]
    paragraphs = in_outputs(browser, "p")
    assert any("and 1 < 2." in each for each in paragraphs)
    assert any("a quotation" in each for each in in_outputs(browser, "blockquote"))
    assert "a link" in in_outputs(browser, "a[href='https://example.org/page']")
    browser.execute_script(
        "const all = document.querySelectorAll('.jp-OutputArea-output h1');"
        "all[all.length - 1].scrollIntoView();"
    )
    assert browser.save_screenshot(str(tmp_path / "hostile.png"))
