"""What was typed in earlier chats: the bounds of its file, and files that are damaged."""

from __future__ import annotations

import json
from pathlib import Path

from chatgpt.cli.line_history import MOST_LINES, MOST_OF_A_LINE, LineHistory


def test_it_has_the_newest_lines(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "history"
    written = [f"line {number}\n東京" for number in range(MOST_LINES)]
    file.parent.mkdir()
    file.write_text("".join(f"{json.dumps(text)}\n" for text in written))
    history = LineHistory(file, is_written=True)
    assert history.texts() == written
    LineHistory(file, is_written=True).add("another chat")
    history.add("one more")
    assert history.texts() == [*written[2:], "another chat", "one more"]
    assert len(file.read_text().splitlines()) == MOST_LINES
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_what_nobody_types_is_not_kept(tmp_path: Path) -> None:
    history = LineHistory(tmp_path / "history", is_written=True)
    history.add("x" * MOST_OF_A_LINE)
    history.add("x" * (MOST_OF_A_LINE + 1))
    assert history.texts() == ["x" * MOST_OF_A_LINE]


def test_what_is_no_line_of_it_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "history"
    file.write_bytes(b'"kept"\nplain\n{}\n"zero\\u0000"\n\xff\xfe\n\n"cut')
    assert LineHistory(file, is_written=False).texts() == ["kept"]


def test_nothing_is_written_where_nothing_is_to_be_kept(tmp_path: Path) -> None:
    LineHistory(tmp_path / "history", is_written=False).add("secret")
    assert list(tmp_path.iterdir()) == []
