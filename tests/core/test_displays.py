"""Small tables: figures that can be read, nothing where nothing is known, and nothing but text from outside."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt import ContextReport, RequestChange, Usage


class Table(HTMLParser):
    """A table as it is read: its caption, its rows, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.caption = ""
        self.rows: dict[str, str] = {}
        self.tags: list[str] = []
        self._cells: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert all(name == "style" for name, _ in attrs)
        self.tags.append(tag)
        if tag in ("th", "td"):
            self._cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr":
            name, value = self._cells[-2:]
            self.rows[name] = value

    def handle_data(self, data: str) -> None:
        if self.tags[-1] == "caption":
            self.caption += data
        else:
            self._cells[-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(data)


def usage(prompt: int, reply: int, together: int, **fields: Any) -> Usage:
    return Usage(prompt_tokens=prompt, completion_tokens=reply, total_tokens=together, **fields)


def report(**fields: Any) -> ContextReport:
    given = {
        "oldest_message_id": "m",
        "message_count": 3,
        "prompt_tokens": 12_345,
        "counting": "exact",
        "prompt_limit": 1_234_567,
        "reserved_tokens": 1_000,
    }
    return ContextReport(**{**given, **fields})


def test_a_usage() -> None:
    table = Table(
        usage(1_234, 1_000_000, 1_001_234, reasoning_tokens=999, cached_tokens=0)._repr_html_()
    )
    assert table.caption == "tokens"
    assert table.rows == {
        "prompt": "1,234",
        "of it cached": "0",
        "reply": "1,000,000",
        "of it reasoning": "999",
        "together": "1,001,234",
    }


def test_what_a_server_did_not_tell_is_not_shown() -> None:
    table = Table(usage(1, 2, 3, estimated=True)._repr_html_())
    assert table.caption == "tokens, counted here"
    assert table.rows == {"prompt": "1", "reply": "2", "together": "3"}


def test_a_context_in_which_all_fitted() -> None:
    table = Table(report()._repr_html_())
    assert table.caption == "what was sent"
    assert table.rows == {
        "messages": "3",
        "left out": "0",
        "prompt": "12,345 tokens (exact)",
        "room for the prompt": "1,234,567 tokens",
        "kept free for the reply": "1,000 tokens",
    }


def test_a_context_without_a_window_says_nothing_of_it() -> None:
    assert "room for the prompt" not in Table(report(prompt_limit=None)._repr_html_()).rows


def test_a_context_in_which_much_was_otherwise() -> None:
    changes = (
        RequestChange("max_tokens", "renamed", False),
        RequestChange("temperature", "left out", True),
    )
    context = report(
        left_out=12_000,
        left_out_reason="window",
        missing_message_id="gone",
        unreadable_message_ids=("x", "y"),
        changes=changes,
    )
    rows = Table(context._repr_html_()).rows
    assert rows["left out"] == "12,000 (they did not fit)"
    assert rows["missing before it"] == "gone"
    assert rows["unreadable"] == "x, y"
    assert rows["otherwise than asked for"] == (
        "max_tokens renamed, temperature left out (the server said so)"
    )


@pytest.mark.parametrize("page", [usage(1, 2, 3)._repr_html_(), report()._repr_html_()])
def test_none_is_never_written(page: str) -> None:
    assert "None" not in page


MARKUP = st.lists(
    st.sampled_from(["<", ">", '"', "'", "&", "<b>", "</td>", "<!--", "<?x", "&lt;", "<script>", "a"]), max_size=6
).map("".join)  # fmt: skip


@given(MARKUP, MARKUP, MARKUP)
def test_what_comes_from_outside_is_text(missing: str, unreadable: str, parameter: str) -> None:
    context = report(
        missing_message_id=missing,
        unreadable_message_ids=(unreadable,),
        changes=(RequestChange(parameter, "added", False),),
    )
    table = Table(context._repr_html_())
    assert set(table.tags) == {"table", "caption", "tbody", "tr", "th", "td"}
    assert table.rows["missing before it"] == missing
    assert table.rows.get("unreadable", "") == unreadable
    assert table.rows["otherwise than asked for"] == f"{parameter} added"
