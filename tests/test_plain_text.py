"""From Markdown to plain text: the cases that remark and strip-markdown were asked, and the edges."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt import ChatGPTSessionAPI, ConfigurationError
from chatgpt.plain_text import escaped, load_plain_text

plain_text = load_plain_text()


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
    assert plain_text(markdown) == text


@given(st.text(alphabet="ab *_`[]()!<>&#=~-+1.\\\n\t|", max_size=40))
def test_an_escaped_paragraph_reads_the_same(text: str) -> None:
    """Read as Markdown again, it says what it said: nothing was lost, nothing got a meaning."""
    text = " ".join(text.split())
    read_again = load_plain_text()(escaped(text))
    assert read_again == (f"{escaped(text)}\n" if text else "")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, *rest: Any) -> Any:
        return None if name == "markdown_it" else find_spec(name, *rest)

    monkeypatch.setattr("chatgpt.plain_text.find_spec", find)
    with pytest.raises(ConfigurationError, match=r"pip install 'chatgpt-sdk\[markdown\]'"):
        ChatGPTSessionAPI(session_token="s", clearance_token="c", markdown=False)
    ChatGPTSessionAPI(session_token="s", clearance_token="c")
