"""From Markdown to HTML, for the pages of conversations.

Strategy: markdown-it-py (extra `markdown`) reads CommonMark and tables. Where it is not installed, replies are shown as
they were written.

Rules:

1. What was said has no say over a page: HTML in it is shown as text, and a link leads to the web or nowhere
   (markdown-it's own rule). A picture is a link: a page that is opened must not tell others of it.
2. A text that is very long is shown as it was written: reading it could take minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from importlib.util import find_spec
from typing import Final

LONGEST: Final = 200_000
"""Characters of a text that is read as Markdown."""


def markdown_renderer() -> Callable[[str], str] | None:
    """What turns Markdown into HTML; `None` where the extra `markdown` is not installed."""
    if find_spec("markdown_it") is None:
        return None
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "breaks": True})
    parser.enable("table").disable(["image", "html_block", "html_inline"])

    def rendered(text: str) -> str:
        if len(text) > LONGEST:
            return f"<p>{escape(text)}</p>"
        html: str = parser.render(text)
        return html

    return rendered
