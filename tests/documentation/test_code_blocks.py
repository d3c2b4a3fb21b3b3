"""The code blocks of the documents: what is wrong with one fails, wherever it may hide (`tests/documents.py`).

Strategy: a page is written, and each of its blocks is evaluated as sybil does it in a run of the tests.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from textwrap import dedent

import pytest
from sybil import Document
from sybil.example import SybilFailure

from conftest import PAGES
from tests import documents
from tests.documents import code_blocks

ROOT = Path(__file__).parents[2]

WITHOUT_BLOCKS_THAT_RUN = ("reliability.md", "changelog.md", "contributing.md", "security.md")
"""Pages that are made, or included from above, and run elsewhere or not at all."""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def problems(text: str) -> list[str]:
    """What the blocks of a page fail with."""
    Path("page.md").write_text(dedent(text), encoding="utf-8")
    found = []
    for example in Document.parse("page.md", code_blocks).examples():
        try:
            example.evaluate()
        except SybilFailure as failure:
            found.append(failure.result)
    return found


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            """
            ```python
            print("one", 1.5)
            print("two")
            ```

            ```text
            one ...
            two
            ```
            """,
            id="what-is-printed",
        ),
        pytest.param(
            """
            ```python
            number = 7
            ```
            A word between, so this is no output:
            ```text
            8
            ```
            ```python
            assert number == 7
            ```
            """,
            id="one-namespace",
        ),
        pytest.param(
            """
            ```console
            $ number=7; \\
              echo "$number"
            7
            $ echo "to standard error" >&2
            to standard error
            $ echo anything; echo at all
            ...
            ```
            """,
            id="a-script",
        ),
        pytest.param("```console\n$ echo 'not compared'\n```\n", id="commands-alone"),
        pytest.param("```console\n$ sleep 300 & echo here\nhere\n```\n", id="what-is-left-running"),
        pytest.param("```console\n$ cat\n```\n", id="no-input"),
        pytest.param(
            """
            <!-- not run: it needs a network -->
            ```console
            $ false
            ```
            ```text
            what it would print
            ```
            """,
            id="not-run",
        ),
        pytest.param('```json\n{"a": [1]}\n```\n', id="json"),
        pytest.param("```toml\n[a]\n```\n```yaml\na: 1\n```\n```ini\n[a]\n```\n", id="data"),
        pytest.param("```{toctree}\n:hidden:\n\na\n```\n", id="a-directive"),
    ],
)
def test_a_page_that_is_right(page: str) -> None:
    assert problems(page) == []


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        pytest.param(
            "```python\nprint(1)\n```\n\n```text\n2\n```\n", r"-2\n\+1", id="other-output"
        ),
        pytest.param("```python\npass\n```\n```text\n2\n```\n", "-2", id="no-output"),
        pytest.param("```console\n$ echo 1\n2\n```\n", r"-2\n\+1", id="a-command's-other-output"),
        pytest.param("```console\n$ false\n$ echo 1\n```\n", "with the code 1", id="a-failure"),
        pytest.param("```console\n$ false | cat\n```\n", "with the code 1", id="within-a-pipe"),
        pytest.param("```console\necho 1\n```\n", "no command", id="a-prompt-is-missing"),
        pytest.param("```json\n{'a': 1}\n```\n", "no JSON", id="json"),
        pytest.param("```js\n1\n```\n", "A block of js would not be checked", id="a-language"),
        pytest.param("```\n1\n```\n", "no language", id="no-language"),
        pytest.param("```bash\n$ ls\n```\n", "A block of bash", id="the-shell's-other-name"),
        pytest.param(
            "```{code-block} python\n1/0\n```\n", "would not be checked", id="a-directive-of-code"
        ),
        pytest.param("<!-- not run -->\n```python\n1/0\n```\n", "Say why", id="no-reason"),
        pytest.param("<!-- not run: -->\n```python\n1/0\n```\n", "Say why", id="an-empty-reason"),
        pytest.param("<!-- not run: x -->\n```text\n1\n```\n", "not run anyway", id="data"),
        pytest.param(
            "<!-- not run: x -->\nA word.\n```python\npass\n```\n", "no block after", id="no-block"
        ),
    ],
)
def test_a_page_that_is_wrong(page: str, problem: str) -> None:
    (found,) = problems(page)
    assert re.search(problem, found)


def test_a_block_of_python_that_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        problems("```python\n1 / 0\n```\n")


def test_a_script_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LIMIT", 0.3)
    (found,) = problems("```console\n$ echo begun; sleep 300\n```\n")
    assert found == "The script took over 0.3 s. It printed:\nbegun\n"


def test_every_page_is_run() -> None:
    pages = [page.relative_to(ROOT) for page in (ROOT / "docs").rglob("*.md")]
    left_out = [
        page
        for page in pages
        if not any(page.match(pattern) for pattern in PAGES)
        and page.parts[1] not in ("_build", "reference", *WITHOUT_BLOCKS_THAT_RUN)
    ]
    assert pages
    assert left_out == []


def test_a_page_has_a_home_of_its_own(
    documented_server: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert Path(os.environ["HOME"]).is_relative_to(tmp_path_factory.getbasetemp())
    assert not problems(
        f"```console\n$ chatgpt ls-cache\n{os.environ['HOME']}/...conversations.db\n```\n"
    )
