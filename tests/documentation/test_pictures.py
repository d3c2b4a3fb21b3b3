"""The pictures of the documentation: they load nothing, are shown, and are what their scripts draw.

Strategy: the scripts run as a person runs them, `python docs/pictures/draw.py`. What they draw is the same text each time,
but for the recording of the command: in that the ids are others, and so they are put out of sight here. (The plots of the
benchmarks are those of a run; `make bench` draws them.)
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest

from tests.documentation.conftest import ROOT

FOLDER: Final = ROOT / "docs" / "pictures"
PICTURES: Final = sorted(FOLDER.glob("*.svg"))
DRAWN: Final = {"architecture", "thread-tree", "command"}

COLUMN: Final = 12.2
"""The width of a character in a picture of rich."""


def test_the_drawn_ones_are_there() -> None:
    assert {picture.stem for picture in PICTURES} >= DRAWN


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_is_svg_that_loads_nothing(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("viewBox")
    assert "<?xml-stylesheet" not in text
    for metadata in root.findall("{*}metadata"):  # what matplotlib says of a plot: names, not links
        root.remove(metadata)
    for element in root.iter():
        assert element.tag.rpartition("}")[2] not in ("script", "image", "foreignObject", "iframe")
        for said in (element.text or "", *element.attrib.values()):
            assert "://" not in said
            assert "@import" not in said
            assert not re.search(r"url\(\s*[^#\s]", said)
        for attribute, value in element.items():
            assert not attribute.endswith(("href", "src")) or value.startswith("#")


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_is_shown_and_described(picture: Path) -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    shown = re.compile(rf"!\[[^\]]{{20,}}\]\([^)]*pictures/{picture.name}\)")
    assert any(shown.search(page.read_text(encoding="utf-8")) for page in pages)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures, drawn now."""
    folder = tmp_path_factory.mktemp("pictures")
    script = [sys.executable, str(FOLDER / "draw.py"), "--into", str(folder)]
    subprocess.run(script, check=True, capture_output=True, timeout=120)
    return folder


@pytest.mark.parametrize("name", ["architecture", "thread-tree"])
def test_a_picture_is_what_is_drawn_now(drawn: Path, name: str) -> None:
    assert (drawn / f"{name}.svg").read_text() == (FOLDER / f"{name}.svg").read_text()


def test_the_recording_shows_what_the_command_prints_now(drawn: Path) -> None:
    assert lines_of(drawn / "command.svg") == lines_of(FOLDER / "command.svg")


def test_the_recording_shows_a_conversation_and_its_tree() -> None:
    recorded = "\n".join(lines_of(FOLDER / "command.svg"))
    for said in (
        '$ chatgpt "What is a monad?"',
        "> /regenerate",
        "$ chatgpt show trip --tree",
        "├─ ",
    ):
        assert said in recorded


def lines_of(picture: Path) -> list[str]:
    """The lines of a terminal that was drawn by rich, without what differs from day to day."""
    rows: dict[str, str] = {}
    for element in ET.parse(picture).getroot().iter("{http://www.w3.org/2000/svg}text"):
        row = re.search(r"line-\d+", element.get("clip-path", ""))
        if row:  # rich leaves spaces out, and says where the next word begins
            column = round(float(element.get("x", "0")) / COLUMN)
            words = (element.text or "").replace("\xa0", " ")
            rows[row[0]] = rows.get(row[0], "").ljust(column) + words
    return [
        re.sub(r"\b[0-9a-f]{8,}\b|(?<=chatcmpl-)[0-9a-f]{4,}\b", "ID", row.rstrip())
        for row in rows.values()
    ]
