"""From Markdown to plain text: the cases that remark and strip-markdown were asked, and the edges."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chatgpt import ChatGPTSessionAPI, ConfigurationError
from chatgpt.plain_text import PlainText, escaped, load_plain_text

new_converter = load_plain_text()


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("", ""),
        ("\n\n", ""),
        ("plain", "plain\n"),
        ("*i* and **b** and `c`", "i and b and c\n"),
        ("# H\ntext\n***\nmore", "H\n\ntext\n\nmore\n"),
        ("- a\n- b\n  1. c", "a\n\nb\n\nc\n"),
        ("> - a\n> - b", "a\n\nb\n"),
        ("```py\nx\n```", ""),
        ("x\n\n    code\n\ny", "x\n\ny\n"),
        ("<div>\n\nhello\n\n</div>", "hello\n"),
        ("a <b>c</b> d", "a c d\n"),
        ("[t](u) <http://a.b>", "t http://a.b\n"),
        ('![alt](u "t") ![](u "t") ![](u)', "alt t&#x20;\n"),
        ("[ref]: http://x\n\n[ref]", "ref\n"),
        ("a  \nb\\\nc\nd", "a\nb\nc\nd\n"),
        ("&copy; &amp;amp; &lt;b>", "© \\&amp; \\<b>\n"),
        ("snake_case 2 * 3", "snake\\_case 2 \\* 3\n"),
        ("`1. x`", "1\\. x\n"),
        ("`- x`", "\\- x\n"),
        ("`+ x`", "\\+ x\n"),
        ("`#x` and `#`", "\\#x and #\n"),
        ("`![x](y)`", "!\\[x]\\(y)\n"),
        ("`` `a` ``", "\\`a\\`\n"),
        ("a\\\\*b", "a\\\\\\*b\n"),
        ("| a | b |\n|---|---|", "| a | b |\n|---|---|\n"),
        ("Grüße 你好 👋", "Grüße 你好 👋\n"),
    ],
)
def test_cases(markdown: str, text: str) -> None:
    assert new_converter()(markdown) == text


@given(st.text(alphabet="ab *_`[]()!<>&#=~-+1.\\\n\t|", max_size=40))
def test_an_escaped_paragraph_reads_the_same(text: str) -> None:
    """Read as Markdown again, it says what it said: nothing was lost, nothing got a meaning."""
    text = " ".join(text.split())
    read_again = new_converter()(escaped(text))
    assert read_again == (f"{escaped(text)}\n" if text else "")


BLOCKS = ["- a\n", "- ", "-\n", "+ x\n", "2) two\n", "   more\n", "word ", "*i* ", "**b", "`c` ", "\n", "\n\n", "- item\n", "  - inner\n", "1. one\n", "# H\n", "> q\n", "```\n", "    code\n", "---\n", "===\n", "<div>\n", "</div>\n", "<!-- c\n", "-->\n", "\r\n", "\r", "\t", "é👍"]  # fmt: skip


@given(st.lists(st.sampled_from(BLOCKS), max_size=25), st.booleans())
def test_a_text_that_grows_is_read_as_when_it_is_whole(
    blocks: list[str], is_cut_small: bool
) -> None:
    growing, text = new_converter(), ""
    for piece in "".join(blocks) if is_cut_small else blocks:
        text += piece
        assert growing(text) == new_converter()(text)
    assert growing("other *text*") == "other text\n"


@pytest.mark.parametrize(
    "text",
    [
        "[Alice]: Hello there\n",
        "1. item\n**Bold** text",
        "> quote\n#tag",
        "- a\n-b",
        "a\n---b",
        "a\r\n\r\nb\r\nc",
    ],
)
def test_half_a_line_may_yet_become_anything(text: str) -> None:
    growing = new_converter()
    for end in range(len(text) + 1):
        assert growing(text[:end]) == new_converter()(text[:end]), text[:end]


def test_a_link_that_is_defined_later() -> None:
    growing = new_converter()
    assert growing("see [a]\n\nmore\n") == "see \\[a]\n\nmore\n"
    whole = "see [a]\n\nmore\n\n[a]: http://x\n"
    assert growing(whole) == "see \\[a]\n\nmore\n"
    assert new_converter()(whole) == "see a\n\nmore\n"


def test_a_link_that_was_defined_before() -> None:
    growing = new_converter()
    growing("[a]: http://x\n\ntext\n\n")
    assert growing("[a]: http://x\n\ntext\n\nsee [a]") == "text\n\nsee a\n"


@pytest.mark.parametrize(
    "pieces",
    [
        ("Some ", "*text* ", "here.\n\n"),
        ("- an ", "`item`, ", "and more\n"),
        ("one ", "paragraph ", "alone "),
        ("> a ", "long ", "quote\n"),
        ("Windows ", "lines\r", "\n\r\n"),
    ],
)
def test_the_work_grows_with_the_text(pieces: Sequence[str]) -> None:
    """Not with its square: what is closed is read once, what is long is not read at each step."""
    read = 0

    class Counting(MarkdownIt):
        def parse(self, src: str, env: Any = None) -> Any:
            nonlocal read
            read += len(src)
            return super().parse(src, env)

    growing, text = PlainText(Counting("commonmark")), ""
    for _ in range(1000):
        for piece in pieces:
            text += piece
            growing(text)
    assert read < 70 * len(text)  # the square would be a thousand times its length, and more


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, *rest: Any) -> Any:
        return None if name == "markdown_it" else find_spec(name, *rest)

    monkeypatch.setattr("chatgpt.plain_text.find_spec", find)
    with pytest.raises(ConfigurationError, match=r"pip install 'chatgpt-sdk\[markdown\]'"):
        ChatGPTSessionAPI(session_token="s", clearance_token="c", markdown=False)
    ChatGPTSessionAPI(session_token="s", clearance_token="c")
