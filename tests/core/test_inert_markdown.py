"""Markdown that runs nothing: attacks, what must stay as it was written, and any combination of pieces.

Strategy: what a reader makes of the Markdown counts, so most tests read it with markdown-it, HTML allowed. Where
JupyterLab 4.6 reads otherwise (marked, formulas taken out before and put back behind), the table holds what is to be
written: as it stood, each of these became a tag, an attribute or a link to a script.
"""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from chatgpt import ChatMessage
from chatgpt.core.inert_markdown import inert

IMAGE = '<img src=x onerror="run()">'
LINK = "[x](javascript:run())"


class _Reader(MarkdownIt):
    """What reads Markdown, and does not drop what is dangerous itself."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 - its name there
        return True


_READER = _Reader("commonmark", {"html": True}).enable("table")


def dangers(text: str) -> list[str]:
    """The HTML of a text, and where its links lead that may run something."""

    def of(tokens: list[Token]) -> list[str]:
        found = [token.content for token in tokens if token.type.startswith("html")]
        targets = [str(each.attrs.get(name, "")) for each in tokens for name in ("href", "src")]
        found += [target for target in targets if _runs(target)]
        return found + [each for token in tokens for each in of(token.children or [])]

    return of(_READER.parse(text))


def _runs(target: str) -> bool:
    address = re.sub(r"[\x00-\x20]", "", target).casefold()
    harmless = r"https?:|mailto:|data:image/(?:png|jpe?g|gif|webp)[;,]"
    return bool(re.match(r"[a-z][a-z0-9+.-]*:", address)) and not re.match(harmless, address)


def shown(text: str) -> str:
    """What somebody reads: the words and the code, without Markdown."""

    def of(tokens: list[Token]) -> str:
        return "".join(of(each.children) if each.children else each.content for each in tokens)

    return of(_READER.parse(text))


# --- attacks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        IMAGE,
        "<script>run()</script>",
        "<svg/onload=run()>",
        "<details open ontoggle=run()>",
        "<iframe src=javascript:run()>",
        "<img\nsrc=x onerror=run()>",
        "<!-- -->",
        "<?php ?>",
        "<![CDATA[x]]>",
        "<!DOCTYPE html>",
        "</p>",
        "<b",
        f"a\n{IMAGE}",
        f"> {IMAGE}",
        f"- {IMAGE}",
        f"1. a\n   {IMAGE}",
        f"| a |\n|---|\n| {IMAGE} |",
        f"# {IMAGE}",
        f"{IMAGE}\n===",
        f"\\\\{IMAGE}",
        f"``` {IMAGE}\n\n```",
        f"```\ncode\n```\n{IMAGE}",
        f"~~~\ncode\n~~~~~\n{IMAGE}",
        f"````\n```\n````\n{IMAGE}",
        f"- ```\n  code\n{IMAGE}",
        f"> ```\n> code\n{IMAGE}",
        f"1. ```\n{IMAGE}\n   ```",
        f"a\n    ```\n{IMAGE}\n",
        f"  ```\ncode\n```\n{IMAGE}",
        f"```\ncode\n\t```\n```\n{IMAGE}",
        f"~~~\n~~~\x1c\n~~~\n{IMAGE}",
        f"```a`b\n{IMAGE}\n```",
        f"`a\n\n{IMAGE}`",
        f"``a` {IMAGE}",
        f"\\`{IMAGE}`",
        f"`a\\` {IMAGE}`",
        f"| `a | {IMAGE}` |\n|---|---|\n| `b | {IMAGE}` |",
        "```||\n-|-\n<p",
        f"`a\n`{IMAGE}`",
        f"[x](```){IMAGE} ```",
        f'[x](y "`"){IMAGE}`"',
        f"[x]:\n```\n{IMAGE}",
        f"\r```\r\ncode\r```\r{IMAGE}",
        f"a\u2028```\n{IMAGE}",
        LINK,
        "[x](JaVaScript:run())",
        "[x](java\\script:run())",
        "[x](javascript&colon;run())",
        "[x](&#106;avascript:run())",
        "[x](&#x0000006a;avascript:run())",
        "[x](\tjavascript:run())",
        "[x](\njavascript:run())",
        "[x](<javascript:run()>)",
        "[x](<java\tscript:run()>)",
        "[x](&#1;javascript:run())",
        f"[x]({'&Tab;' * 40}javascript:run())",
        "[x](vbscript:run())",
        "[x](data:text/html,run)",
        "[x](data:image/svg+xml,run)",
        "[x](blob:a)",
        "![x](javascript:run())",
        "[x]\n\n[x]: javascript:run()",
        "[x]\n\n[x]:\njavascript:run()",
        "[x]\n\n> [x]:\n> javascript:run()",
        "[x]\n\n- [x]: <javascript:run()>",
        "[x`]: javascript:run()//`\n\n[x`]",
        "<javascript:run()>",
        "<data:text/html,run>",
    ],
)
def test_an_attack_is_text(text: str) -> None:
    assert dangers(inert(text)) == []


@pytest.mark.parametrize(
    ("text", "written"),
    [
        # what stands behind a fence is an attribute
        ('```x" onfocus="run()\n1\n```', "```x&quot; onfocus=&quot;run()\n1\n```"),
        ('- ~~~x" onfocus="run()', "- ~~~x&quot; onfocus=&quot;run()"),
        (' ```x$\n" onfocus=run() $\n', ' ```x&#36;\n" onfocus=run() $\n'),
        # so is what describes a picture
        ('![" onerror="run()](x)', '&#33;[" onerror="run()](x)'),
        ('![$"onerror=run() $](x)', '&#33;[$"onerror=run() $](x)'),
        ('![x](a:b)" onerror="run()](x)', '&#33;[x&#93;(a:b)" onerror="run()](x)'),
        # and an address, where a formula is put back
        ('[x](http://a/$"onclick=run()$)', '[x](http://a/&#36;"onclick=run()&#36;)'),
        ('https://a/$"onclick=run()$', 'https://a/&#36;"onclick=run()&#36;'),
        ('[a]: x$"onclick=run() $', '[a]: x&#36;"onclick=run() &#36;'),
        ('www.a.b/\\\\("onclick=run()\\\\)', 'www.a.b/&#92;\\("onclick=run()\\\\)'),
        ('[x](\\begin{a}"onclick=run()\\end{a})', '[x](&#92;begin{a}"onclick=run()\\end{a})'),
        ('<mailto:a$>" onclick=run() $>', '<mailto:a&#36;>" onclick=run() $>'),
        # or a formula of elsewhere, by its mark
        ('$"onclick=run()$\n\n[x](@\\@0@@)', '$"onclick=run()$\n\n[x](&#64;\\&#64;0&#64;&#64;)'),
        ("![@**@0@@**](x)", "&#33;[@**@0@@**](x)"),
        # what is read before code
        ("http://a/`<b>`", "http://a/`&lt;b>`"),
        ("~a`b~<b>`", "~a`b~&lt;b>`"),
        ("~``<b>``", "~``&lt;b>``"),
        ("*`a```b*<b>`", "*`a```b*&lt;b>`"),
        ("[a`b]<b>`\n\n[a`b]: x", "[a`b]&lt;b>`\n\n[a`b]: x"),
        ("[``](javascript:run())``", "[``&#93;(javascript:run())``"),
        ("[``a``\n`](d:)`", "[``a``\n`&#93;(d:)`"),
        # what ends a fence, a tag or an address
        ("~~~\n~~~`\n<b>", "~~~\n~~~`\n&lt;b>"),
        ("a <b_>", "a &lt;b_>"),
        ("a <b \ufeff>", "a &lt;b \ufeff>"),
        ("[x](\ufeffjavascript:1)", "[x&#93;(\ufeffjavascript:1)"),
        # formulas, which take marks of code out
        ("$`$ `<b>`", "$`$ `&lt;b>`"),
        ("$ a\n\x1c\n```\n$ <b>\n```", "$ a\n\x1c\n```\n$ &lt;b>\n```"),
        ("$\\href{javascript:run()}{x}$", "$&#92;href{javascript:run()}{x}$"),
    ],
)
def test_what_runs_in_jupyterlab_is_written_otherwise(text: str, written: str) -> None:
    assert inert(text) == written


# --- what people and models write --------------------------------------------------------------

HARMLESS = [
    "",
    "# Title\n\nA *word*, a **word**, 1 < 2, a <= b, x <- y, i <3 you, a<=b and b>a.",
    "Use `std::vector<std::string>`, `Map<K, V>`, `<div>` and `` a`<b>` ``.",
    "```html\n<p class='a'>x</p>\n```\n\n~~~~\n<script>\n~~~~\n",
    "- item\n\n  ```cpp\n  template <typename T>\n  T least(T a, T b) { return a < b ? a : b; }\n  ```\n\n- next",
    "1. Step:\n   ```html\n   <b>x</b>\n   ```\n2. Then `<b>`.",
    "- a\n    ```js\n    if (a<b) {}\n    ```",
    "If $a < b$ and $x<y$.\n\n$$\n\\begin{aligned} a &< b \\\\ c &< d \\end{aligned}\n$$",
    "| a | b |\n|---|---|\n| 1 < 2 | `x` |",
    "See [a](https://x.org/@user), <https://x.org/?a=1&b=2>, [b](#part), [c](other.md), <mailto:a@b.com>.",
    '![logo](https://x.org/a.png "The logo") and ![](data:image/png;base64,AAAA)',
    "[1]: https://x.org 'title'",
    "- [ ] use `a[0]`\n- [x] done",
    "[see](x): `a[0]` and `b<c>`",
    '`println!("{}")`, `vec![1]`, `[](std::string s)` and `d[k]: int`',
    "~~struck~~, ~5 ms, `~/x`",
    "a@b.com, @me, wait! [this](x)",
    "Costs $5.",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    assert inert(text) == text


@pytest.mark.parametrize("text", ["", "Hello, *you*.", 'He said "yes" & left > 1 `a`!', "a\r\nb"])
def test_without_a_sign_it_is_the_same_object(text: str) -> None:
    assert inert(text) is text


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Generics such as List<String> are text.", "Generics such as List<String> are text."),
        ("a <b>bold</b> word", "a <b>bold</b> word"),
        (LINK, "[x](javascript:run())"),
        ('![say "a"](x)', '!say "a"'),
        ("<details>\n<summary>x</summary>\n</details>", "<details><summary>x</summary></details>"),
    ],
)
def test_what_is_taken_away_is_read_as_it_was_written(text: str, read: str) -> None:
    assert shown(inert(text)) == read


@pytest.mark.parametrize(
    "text",
    [
        "| `List<String>` |\n|---|\n",  # the border of a cell may end the code
        "> ```\n> <b>\n> ```\n",  # a line without `>` would end it
        "$x$ and `<b>`",  # the formula may take the first mark out
    ],
)
def test_where_code_is_in_doubt_a_reference_is_shown(text: str) -> None:
    assert "&lt;" in shown(inert(text))


def test_a_reply_shows_inert() -> None:
    reply = ChatMessage(id="1", text=f"{IMAGE} {LINK}", role="assistant")
    assert reply._repr_markdown_() == inert(reply.text) != reply.text


# --- any combination ---------------------------------------------------------------------------

PIECES = (
    "` `` ``` ```` ~~~ ~~~~ ```js ~ * ** _ - + > # | \\ \\` $ $$ \\begin{a} \\end{a} \\\\( @@0@@ [ ] ( ) ![ ][ ]( ]: "
    "](javascript:1) [x](javascript:1) [x]:javascript:1 <javascript:1> (<javascript:1>) &#106;avascript: &lt; &amp; "
    "<b> </p> <b <!-- --> <?x ?> <![CDATA[ <a/ <x:y> < > <http://a> http://a/ www.a.b ''' =\" 1. [x] |-| |a|b| --- ==="
).split()
SPACES = [
    " ",
    "  ",
    "    ",
    "\n",
    "\n\n",
    "\n- ",
    "\n> ",
    "\n    ",
    "\t",
    "\r",
    "\0",
    "\x1c",
    "\u2028",
    "\xa0",
]
TEXTS = st.lists(st.sampled_from([*PIECES, *SPACES, *SPACES, "a", "word"]), max_size=24).map(
    "".join
)


@given(TEXTS)
def test_no_combination_runs(text: str) -> None:
    assert dangers(inert(text)) == []


@given(st.text())
def test_no_text_runs(text: str) -> None:
    assert dangers(inert(text)) == []


@given(TEXTS)
def test_nothing_is_left_out(text: str) -> None:
    """What was written as a reference is all that changed."""
    lines = re.sub(r"\r\n?", "\n", text)
    written = re.sub(r"\r\n?", "\n", inert(text))
    at = 0
    for letter in lines:
        forms = [letter, f"&#{ord(letter)};", {"<": "&lt;", '"': "&quot;"}.get(letter, letter)]
        form = next(each for each in reversed(forms) if written.startswith(each, at))
        at += len(form)
    assert at == len(written)


@pytest.mark.parametrize("text", [*HARMLESS, f"a `b` {IMAGE} {LINK}\n\n```\n{IMAGE}\n```\n\n> <b>"])
def test_each_beginning_of_a_stream_is_harmless(text: str) -> None:
    for end in range(len(text) + 1):
        assert dangers(inert(text[:end])) == []


@given(TEXTS)
def test_what_is_inert_stays_harmless(text: str) -> None:
    assert dangers(inert(inert(text))) == []


@pytest.mark.parametrize("text", [*HARMLESS, IMAGE, LINK, f"> ```\n> {IMAGE}", '```x"y\n<b>\n```'])
def test_what_is_inert_stays_as_it_is(text: str) -> None:
    assert inert(inert(text)) == inert(text)


# --- how long it takes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "piece",
    ["<", "> <", "<a ", "`", "``a`", "[`]`", "~`", "](", "](&#97;", "\\href{", "![", "http://a", "$", "- ```\n", "[x]:\n"],
)  # fmt: skip
def test_it_takes_as_long_as_the_text_is(piece: str) -> None:
    """Eight times the text takes about eight times as long; each step for all that was before would be 64 times."""

    def seconds(count: int) -> float:
        text = ">" * count + piece * count
        times = []
        for _ in range(3):
            begun = time.process_time()
            inert(text)
            times.append(time.process_time() - begun)
        return min(times)

    assert seconds(16_000) < 30 * max(seconds(2_000), 0.0005)
