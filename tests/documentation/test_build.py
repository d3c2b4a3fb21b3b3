"""The pages are built without a warning, can all be reached, and load nothing of another host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest

from tests.documentation.conftest import ROOT, Build, build

BROKEN: Final = {
    "[a page](missing.md)": "target not found: 'missing.md'",
    "[a heading of this page](#nowhere)": "target not found: 'nowhere'",
    "[a heading of another page](other.md#nowhere)": "'nowhere'",
    "![a picture](missing.svg)": "image file not readable: missing.svg",
    "{py:obj}`chatgpt.Nothing`": "reference target not found: chatgpt.Nothing",
    "{py:class}`attrs.Nothing`": "reference target not found: attrs.Nothing",
    "{option}`chatgpt ask --nothing`": "--nothing",
}
"""Links that lead nowhere, and what is said of each."""

SOURCES: Final = {"src", "srcset", "poster", "data"}
"""The attributes of elements whose values a browser loads; of `link`, it is `href`."""


def test_there_are_no_warnings(built: Build) -> None:
    assert built.warnings == ""


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said of a page whose links lead nowhere."""
    folder = tmp_path_factory.mktemp("broken")
    source = folder / "source"
    source.mkdir()
    toctree = "```{toctree}\nother\n```"
    (source / "index.md").write_text("\n\n".join(["# Links", *BROKEN, toctree]), encoding="utf-8")
    (source / "other.md").write_text("# Other", encoding="utf-8")
    return build(source, folder).warnings


@pytest.mark.parametrize("link", BROKEN)
def test_a_link_that_leads_nowhere_is_a_warning(complaints: str, link: str) -> None:
    assert BROKEN[link] in complaints


def test_each_of_them_is_one_warning(complaints: str) -> None:
    assert complaints.count("WARNING") == len(BROKEN), complaints


def test_every_page_is_in_the_sidebar(built: Build) -> None:
    pages = {
        page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        for suffix in (".md", ".ipynb")
        for page in (ROOT / "docs").rglob(f"*{suffix}")
        if ".ipynb_checkpoints" not in page.parts
    }
    index = (built.html / "index.html").read_text(encoding="utf-8")
    _, _, sidebar = index.partition('class="sidebar-tree"')
    listed = set(re.findall(r'href="([^"#]+\.html)"', sidebar.partition("</aside>")[0]))
    assert pages - listed == {"index.html"}


def test_nothing_comes_from_another_host(built: Build) -> None:
    found = {
        (path.relative_to(built.html).as_posix(), address)
        for path in built.html.rglob("*")
        for address in loaded(path)
    }
    assert ("index.html", "_static/styles/furo.css") in {
        (page, address.partition("?")[0]) for page, address in found
    }
    foreign = re.compile(r"(?:[a-z]+:)?//", re.IGNORECASE)
    assert {each for each in found if foreign.match(each[1])} == set()


def loaded(path: Path) -> Iterator[str]:
    """The addresses that a browser loads with a file: scripts, styles, fonts, pictures."""
    if path.suffix not in (".html", ".css", ".svg"):
        return
    text = path.read_text(encoding="utf-8")
    yield from re.findall(r"""url\(\s*["']?((?!data:)[^"')]+)""", text)
    yield from re.findall(r"""@import\s+["']([^"']+)""", text)
    if path.suffix != ".css":
        elements = _Elements()
        elements.feed(text)
        yield from elements.addresses


class _Elements(HTMLParser):
    """What the elements of a page load."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        is_loaded = {
            "link": {"href"},
            "use": {"href", "xlink:href"},
            "image": {"href", "xlink:href"},
        }
        names = is_loaded.get(tag, SOURCES)
        self.addresses += [value for name, value in attrs if name in names and value]
