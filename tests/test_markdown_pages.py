"""Markdown as HTML: nothing that was said has a say over the page."""

from __future__ import annotations

import pytest

from chatgpt.markdown_pages import LONGEST, markdown_renderer


def rendered(text: str) -> str:
    render = markdown_renderer()
    assert render is not None
    return render(text)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a\nb", "<p>a<br />\nb</p>\n"),
        ("*a* `<b>`", "<p><em>a</em> <code>&lt;b&gt;</code></p>\n"),
        ("<script>x</script>", "<p>&lt;script&gt;x&lt;/script&gt;</p>\n"),
        ("a <b onclick=x>", "<p>a &lt;b onclick=x&gt;</p>\n"),
        ("[x](javascript:alert)", "<p>[x](javascript:alert)</p>\n"),
        ("[x](https://a.example)", '<p><a href="https://a.example">x</a></p>\n'),
        ("![x](https://a.example/p.png)", '<p>!<a href="https://a.example/p.png">x</a></p>\n'),
        ("```\n</div>\n```", "<pre><code>&lt;/div&gt;\n</code></pre>\n"),
    ],
)
def test_markdown(text: str, html: str) -> None:
    assert rendered(text) == html


def test_tables() -> None:
    assert "<td>2</td>" in rendered("|a|\n|-|\n|2|")


def test_a_very_long_text_is_shown_as_it_was_written() -> None:
    assert rendered("*" * (LONGEST + 1)).startswith("<p>***")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatgpt.markdown_pages.find_spec", lambda _: None)
    assert markdown_renderer() is None
