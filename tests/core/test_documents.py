"""Documents for people: what stands in them, and that nothing that was said is markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chatgpt import ChatMessage
from chatgpt.core.documents import Document, HtmlDocument, MarkdownDocument, title_of


def said(text: str, message_id: str, parent_id: str | None = None, **more: Any) -> ChatMessage:
    return ChatMessage(
        id=message_id, text=text, parent_message_id=parent_id, conversation_id="c", **more
    )


def written(document: Document, *messages: ChatMessage) -> str:
    parts = [document.begin(), document.conversation(messages[0])]
    parts += [document.message(message) for message in messages]
    return "".join([*parts, document.end()])


BRANCHED = [
    ChatMessage(
        id="head", text="", role="system", is_hidden=True, conversation_id="c", detail={"title": "On\n *monads* "}
    ),
    said("What is a monad?", "q", "head", created_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
    said("Let me think.", "thought", "q", role="assistant", is_hidden=True),
    said("A burrito.", "a", "thought", role="assistant", model="gpt-5.4-mini"),
    said("Or: a monoid.", "b", "q", role="assistant"),
    said("Another beginning", "r", "head", name="Ann"),
]  # fmt: skip


def test_markdown() -> None:
    assert written(MarkdownDocument(), *BRANCHED) == (
        "# On *monads*\n\n"
        "## 1. User (2026-01-02 03:04 UTC)\n\nWhat is a monad?\n\n"
        "## 2. Assistant (gpt-5.4-mini)\n\nA burrito.\n\n"
        "## 3. Assistant\n\n*in reply to 1*\n\nOr: a monoid.\n\n"
        "## 4. Ann\n\n*from the beginning*\n\nAnother beginning\n\n"
    )


def test_html() -> None:
    page = written(HtmlDocument(), *BRANCHED)
    assert "<h1>On *monads*</h1>" in page
    assert '<article class="assistant" id="c1m2">\n<h2>2. Assistant (gpt-5.4-mini)</h2>' in page
    assert '<h2>3. Assistant &middot; <a href="#c1m1">in reply to 1</a></h2>' in page
    assert "<h2>4. Ann &middot; from the beginning</h2>\n<p>Another beginning</p>" in page
    assert "think" not in page


def test_numbers_and_anchors_begin_anew_with_a_conversation() -> None:
    document = HtmlDocument()
    page = document.begin()
    for name in ("x", "y"):
        page += document.conversation(said("t", name)) + document.message(said("t", name))
    assert re.findall('id="(.*?)"', page) == ["c1m1", "c2m1"]


class Seen(HTMLParser):
    """What a browser sees of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.paragraphs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "p":
            self.paragraphs.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "p" and data != "\n":
            self.paragraphs[-1] += data


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", "</p></article><b>", "&amp; &lt;", "\"'><img src=x>", "a\n b"],
)
def test_nothing_that_was_said_is_markup(text: str) -> None:
    seen = Seen()
    nasty = "<script>alert(2)</script>"
    head = ChatMessage(id="h", text="", is_hidden=True, detail={"title": nasty})
    seen.feed(written(HtmlDocument(), head, said(text, "m", "h", name=nasty, model=nasty)))
    assert seen.tags == [
        "html", "head", "meta", "meta", "title", "style", "body", "h1", "article", "h2", "p",
    ]  # fmt: skip
    assert seen.paragraphs == [text]


@given(st.text())
def test_any_text_is_a_document(text: str) -> None:
    for document in (HtmlDocument(), MarkdownDocument()):
        written(document, said(text, "m", name=text, model=text)).encode()


def test_lone_surrogates_are_replaced() -> None:
    assert "a\ufffdb" in written(MarkdownDocument(), said("a\ud800b", "m"))


@pytest.mark.parametrize(
    "text",
    [
        "```\nopen",
        "```python\na\n```\n~~~~\nopen",
        "````\n```\nopen",
        "~~~\n```\nopen",
        "   ```\nopen",
        "```\nclosed\n```",
        "```\nclosed\n`````",
        "```\nnot an end\n``` x",
        "```\nnot an end\n```\xa0",
        "``` in `line` ```",
        "- a\n  ```py\n  code",
        "1. a\n   ```\n   x",
        "- a\n  ```\n  x\n\n```",
        "> ```\n> x\n\nafter",
        "text\r```\rafter a lone CR",
        "<script>",
        "<pre>\n```",
        "<!--\n```\n",
        "<?php",
        "<![CDATA[",
        "<!X",
        "<div>\n```\n</div>",
        "    ```\nindented",
        "no code",
    ],
)
def test_a_block_that_was_left_open_does_not_swallow_the_next_message(text: str) -> None:
    tokens = MarkdownIt().parse(
        written(MarkdownDocument(), said(text, "m"), said("next", "n", "m"))
    )
    headings = [
        tokens[index + 1].content
        for index, token in enumerate(tokens)
        if token.type == "heading_open"
    ]
    assert headings[1:] == ["1. User", "2. User"]


@pytest.mark.parametrize(
    ("first", "title"),
    [
        (ChatMessage(id="m", text="", conversation_id="c"), "c"),
        (ChatMessage(id="m", text=""), "Conversation"),
        (ChatMessage(id="m", text="", is_hidden=True, detail={"title": "T"}), "T"),
        (ChatMessage(id="m", text="", is_hidden=True, detail={"title": " "}, conversation_id="c"), "c"),
        (ChatMessage(id="m", text="", is_hidden=True, detail={"title": 5}, conversation_id="c"), "c"),
        (ChatMessage(id="m", text="", detail={"title": "a reply's"}, conversation_id="c"), "c"),
        (ChatMessage(id="m", text=" Why\n is it? ", conversation_id="c"), "Why is it?"),
        (ChatMessage(id="m", text="SECRET", is_hidden=True, conversation_id="c"), "c"),
        (ChatMessage(id="m", text="word " * 100), "word " * 15 + "wo..."),
    ],
)  # fmt: skip
def test_titles(first: ChatMessage, title: str) -> None:
    assert title_of(first) == title


def test_replies_may_be_rendered() -> None:
    page = written(
        HtmlDocument(lambda text: f"<em>{len(text)}</em>"),
        said("*q*", "q"),
        said("*a*", "a", "q", role="assistant"),
    )
    assert "<p>*q*</p>" in page
    assert "<div><em>3</em></div>" in page


def test_code_that_is_closed_stands_as_it_was_written() -> None:
    text = "Run:\n\n```python\nprint(1)\n```\n\nDone."
    assert f"\n\n{text}\n\n" in written(MarkdownDocument(), said(text, "m"))
    quoted = written(MarkdownDocument(), said("```\nopen", "m"))
    assert quoted.endswith("## 1. User\n\n> ```\n> open\n\n")


def test_a_heading_is_one_line() -> None:
    text = written(MarkdownDocument(), said("t", "m", name="a\nb", model="c\n\n# d"))
    assert "## 1. a b (c # d)\n" in text


@given(
    st.lists(
        st.sampled_from(
            [
                "```",
                "~~~~",
                "- a",
                "  ",
                "1. x",
                "> ",
                "<!--",
                "-->",
                "<pre>",
                "text",
                "    ",
                "\n",
                "`",
                "\r",
            ]
        ),
        max_size=12,
    )
)
def test_no_text_swallows_the_next_message(pieces: list[str]) -> None:
    tokens = MarkdownIt().parse(
        written(MarkdownDocument(), said("".join(pieces), "m"), said("next", "n", "m"))
    )
    headings = [
        tokens[n + 1].content for n, token in enumerate(tokens) if token.type == "heading_open"
    ]
    assert headings[-1] == "2. User"
