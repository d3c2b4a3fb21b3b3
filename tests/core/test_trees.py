"""The tree of a conversation: any shape, ids that tell messages apart, and nothing of a text that acts."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt import ChatMessage, MessageNotFoundError
from chatgpt.core.needs import LoadReplies, LoadThread
from chatgpt.core.trees import MOST_STEPS, SHORTEST_ID, ConversationTree, read_tree
from chatgpt.stores import MemoryStore
from tests.stepping import Stepper, thread_of


def said(id: str, parent: str | None = None, **fields: Any) -> ChatMessage:  # noqa: A002 - as the message has it
    return ChatMessage(id=id, text=fields.pop("text", id), parent_message_id=parent, **fields)


def drawn(tree: ConversationTree) -> list[str]:
    """The rows, as steps to the right, `+` where a branch begins, the id, and `*` where it stands."""
    return [
        f"{'.' * row.depth}{'+' if row.begins_branch else ''}{row.message.id}{'*' if row.is_here else ''}"
        for row in tree.rows()
    ]


# --- shapes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "here", "rows"),
    [
        ([], None, []),
        ([said("a")], None, ["a"]),
        ([said("a"), said("b", "a"), said("c", "b")], "c", ["a", "b", "c*"]),
        ([said("a"), said("b", "a"), said("c", "b")], "gone", ["a", "b", "c"]),
        # the line on which it stands is straight; without one the newest replies are
        ([said("a"), said("b", "a"), said("c", "a")], "b", ["a", ".+c", "b*"]),
        ([said("a"), said("b", "a"), said("c", "a")], "c", ["a", ".+b", "c*"]),
        ([said("a"), said("b", "a"), said("c", "a")], None, ["a", ".+b", "c"]),
        ([said("a"), said("b", "a"), said("c", "a"), said("d", "c")], "a", ["a*", ".+b", "c", "d"]),
        # branches of branches, in the order in which they were made
        (
            [said("a"), *(said(each, "a") for each in "bcd"), said("e", "b"), said("f", "b")],
            "d",
            ["a", ".+b", "..+e", ".f", ".+c", "d*"],
        ),
        # several first messages, and parents that are not there
        ([said("a"), said("b")], "b", [".+a", "b*"]),
        ([said("a", "gone"), said("b", "a"), said("c", "lost")], "b", [".+c", "a", "b*"]),
        # hidden ones are passed over, wherever they are
        ([said("h", is_hidden=True), said("a", "h"), said("b", "a")], "b", ["a", "b*"]),
        ([said("a"), said("h", "a", is_hidden=True), said("b", "h")], "h", ["a", "b"]),
        ([said("a"), said("h", "a", is_hidden=True), said("b", "h"), said("c", "a")], "b", ["a", ".+c", "b*"]),
        # circles, which an import may bring
        ([said("a", "a")], "a", ["a*"]),
        ([said("a", "b"), said("b", "a")], "a", ["a*", "b"]),
        ([said("a", "h"), said("h", "i", is_hidden=True), said("i", "h", is_hidden=True)], "a", ["a*"]),
        ([said("x"), said("a", "c"), said("b", "a"), said("c", "b")], "x", ["x*", "a", "b", "c"]),
    ],
)  # fmt: skip
def test_shapes(messages: list[ChatMessage], here: str | None, rows: list[str]) -> None:
    assert drawn(ConversationTree(messages, here)) == rows


def test_a_deep_conversation_is_a_line() -> None:
    deep = [said(str(n), str(n - 1) if n else None) for n in range(10_000)]
    tree = ConversationTree(deep, "9999")
    assert drawn(tree) == [*(str(n) for n in range(9_999)), "9999*"]
    assert str(tree).count("\n") == 9_999
    assert tree._repr_html_().count("<summary>") == 10_000


def test_a_wide_conversation_goes_one_step_to_the_right() -> None:
    wide = [said("root"), *(said(str(n), "root") for n in range(2_000))]
    rows = drawn(ConversationTree(wide, "7"))
    assert rows[:2] == ["root", ".+0"]
    assert rows[-1] == "7*"
    assert len(rows) == 2_001


def test_branches_of_branches_do_not_leave_the_screen() -> None:
    messages = [said("n0")]
    for n in range(1, 40):
        messages += [said(f"n{n}", f"n{n - 1}"), said(f"l{n}", f"n{n - 1}")]
    lines = str(ConversationTree(messages)).splitlines()
    assert max(line.index(" n") if " n" in line else 0 for line in lines) <= 3 * MOST_STEPS + 10
    assert max(row.depth for row in ConversationTree(messages).rows()) == MOST_STEPS


SHAPES = st.lists(
    st.tuples(st.none() | st.integers(0, 11), st.booleans()), min_size=1, max_size=12
).map(
    lambda shape: [
        said(str(n), None if parent is None else str(parent), is_hidden=hidden)
        for n, (parent, hidden) in enumerate(shape)
    ]
)


@given(SHAPES, st.none() | st.integers(0, 12).map(str))
def test_each_visible_message_is_shown_once(messages: list[ChatMessage], here: str | None) -> None:
    rows = ConversationTree(messages, here).rows()
    visible = [message.id for message in messages if not message.is_hidden]
    assert sorted(row.message.id for row in rows) == sorted(visible)
    assert [row.message.id for row in rows if row.is_here] == [
        each for each in visible if each == here
    ]
    assert all(row.depth > 0 for row in rows if row.begins_branch)


# --- ids ---------------------------------------------------------------------------------------


def ids(*given: str) -> dict[str, str]:
    return dict(ConversationTree([said(each) for each in given]).ids())


def test_an_id_is_as_short_as_tells_it_apart_and_a_little_longer() -> None:
    assert ids("a" * 36, "b" * 36) == {"a" * 36: "a" * 8, "b" * 36: "b" * 8}
    assert ids("conversation-10", "conversation-11") == {
        "conversation-10": "conversation-10",
        "conversation-11": "conversation-11",
    }
    long = "0123456789" + "x" * 26, "0123456789" + "y" * 26
    assert ids(*long) == {each: each[:14] for each in long}
    assert ids("m", "mm", "mmm") == {"m": "m", "mm": "mm", "mmm": "mmm"}


@given(st.sets(st.text("ab-", min_size=1, max_size=20), max_size=12))
def test_ids_are_told_apart(given_ids: set[str]) -> None:
    shown = ids(*given_ids)
    assert set(shown) == given_ids
    assert len(set(shown.values())) == len(given_ids)
    for each, short in shown.items():
        assert each.startswith(short)
        assert len(short) >= min(len(each), SHORTEST_ID)


def test_hidden_messages_count_where_ids_are_told_apart() -> None:
    hidden = said("0123456789-b", is_hidden=True)
    tree = ConversationTree([said("0123456789-a"), hidden])
    assert tree.ids()["0123456789-a"] == "0123456789-a"


# --- as text -----------------------------------------------------------------------------------


def test_a_tree_as_text() -> None:
    messages = [
        said("question", text="What is\n  it?"),
        said("answer-1", "question", role="assistant", text="x" * 61),
        said("answer-2", "question", role="assistant", text="y" * 60),
        said("thanks", "answer-2", name="ada", text=""),
    ]
    tree = ConversationTree(messages, "thanks")
    assert str(tree).splitlines() == [
        "question user: What is it?",
        f"├─ answer-1 assistant: {'x' * 59}…",
        f"answer-2 assistant: {'y' * 60}",
        "* thanks ada: ",
    ]
    assert repr(tree) == "<ConversationTree of 4 messages, at thanks>"
    assert str(ConversationTree(())) == ""


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J", "\x1b]0;title\x07", "a\x08b", "\x9b31m", "\u202eabc", "\u2066a\u2069", "\ufeff", "\u200b", "\ud800", "\x7f"],
)  # fmt: skip
def test_a_terminal_obeys_nothing(text: str) -> None:
    tree = ConversationTree(
        [said(f"id{text}", text=f"text{text}", name=f"name{text}")], f"id{text}"
    )
    shown = str(tree)
    assert shown.isprintable()
    assert shown.count("\ufffd") >= 3


@given(st.text(), st.text(min_size=1), st.text(min_size=1))
def test_a_message_is_one_line(text: str, name: str, message_id: str) -> None:
    assert str(ConversationTree([said(message_id, text=text, name=name)])).isprintable()


def test_ipython_prints_the_text() -> None:
    class Printer:
        written = ""

        def text(self, text: str) -> None:
            self.written += text

    printer = Printer()
    tree = ConversationTree([said("a")], "a")
    tree._repr_pretty_(printer, False)
    assert printer.written == str(tree) == "* a user: a"


# --- as HTML -----------------------------------------------------------------------------------


class Read(HTMLParser):
    """The tags, the attributes and the text of a piece of HTML."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.pieces: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def handle_comment(self, data: str) -> None:
        self.tags.append(f"<!--{data}")

    def handle_decl(self, decl: str) -> None:
        self.tags.append(f"<!{decl}")

    def handle_pi(self, data: str) -> None:
        self.tags.append(f"<?{data}")

    def unknown_decl(self, data: str) -> None:
        self.tags.append(f"<![{data}")


MARKUP = st.lists(
    st.sampled_from(["<", ">", '"', "'", "&", "<b>", "</div>", "</summary>", "<!--", "-->", "<?x", "<![CDATA[", "&lt;",
                     "<script>", " onclick=1 ", "a", "\n", "\0", "</details>"]) | st.text(max_size=3), max_size=8,
).map("".join)  # fmt: skip


@given(text=MARKUP, name=MARKUP, message_id=MARKUP.filter(bool))
def test_no_tag_comes_from_what_was_said(text: str, name: str, message_id: str) -> None:
    messages = [
        said(message_id, text=text, name=name),
        said(f"{message_id}1", message_id, text=text, name=name),
        said(f"{message_id}2", message_id),
    ]
    page = Read(ConversationTree(messages, messages[0].id)._repr_html_())
    line = ["details", "summary", "code", "b", "div"]
    assert page.tags == ["div", *line[:2], "b", *line[2:], *line, *line]
    assert page.attributes == {"style"}
    assert text in "".join(page.pieces)


def test_the_whole_message_is_in_the_page() -> None:
    text = f"first line\n\n{'word ' * 40}<b>&amp;"
    page = Read(ConversationTree([said("a", text=text)])._repr_html_())
    assert text in page.pieces


# --- reading it from a store -------------------------------------------------------------------


def branched() -> list[ChatMessage]:
    line = thread_of(["a", "b", "c"])
    return [*line, said("x", "m0"), said("y", "x")]


def test_a_conversation_that_has_not_begun_asks_for_nothing() -> None:
    stepper = Stepper()
    tree = stepper.run(read_tree(None))
    assert (tree.messages, tree.last_message_id) == ((), None)
    assert stepper.needs == []


def test_all_that_replies_to_the_first_message_is_read() -> None:
    stepper = Stepper()
    stepper.store.save(branched())
    tree = stepper.run(read_tree("y"))
    assert drawn(tree) == ["m0", ".+m1", ".m2", "x", "y*"]
    assert stepper.of(LoadThread) == [LoadThread("y", None)]
    asked = sorted(need.message_id for need in stepper.of(LoadReplies))
    assert asked == ["m0", "m1", "m2", "x", "y"], "each once"


def test_where_a_parent_is_missing_the_tree_begins_there() -> None:
    stepper = Stepper()
    stepper.store.save(branched()[1:])
    assert drawn(stepper.run(read_tree("m2"))) == ["m1", "m2*"]


def test_an_unknown_message_raises() -> None:
    with pytest.raises(MessageNotFoundError, match="'nowhere'"):
        Stepper().run(read_tree("nowhere"))


def test_a_circle_is_read_once() -> None:
    stepper = Stepper()
    stepper.store.save([said("a", "b"), said("b", "a")])
    tree = stepper.run(read_tree("a"))
    assert sorted(message.id for message in tree.messages) == ["a", "b"]


class Odd(MemoryStore):
    """A store that returns what it was given, whatever was asked."""

    def __init__(self, path: Sequence[object], replies: Sequence[object]) -> None:
        super().__init__()
        self._path, self._replies = path, replies

    def path(self, message_id: str, limit: int | None = None) -> list[ChatMessage]:
        return cast("list[ChatMessage]", self._path)

    def replies(self, message_id: str) -> list[ChatMessage]:
        return cast("list[ChatMessage]", self._replies)


@pytest.mark.parametrize(
    ("path", "replies"),
    [([None], []), (["m"], []), ([said("m")], [None]), ([said("m")], [{"id": "m"}]), ([said("m")], [5])],
)  # fmt: skip
def test_what_is_no_message_is_refused(path: list[object], replies: list[object]) -> None:
    with pytest.raises(TypeError, match="where a ChatMessage is needed"):
        Stepper(store=Odd(path, replies)).run(read_tree("m"))


def test_replies_that_are_none_end_with_the_messages_there_are() -> None:
    """A store that names the same replies to each message would otherwise never be done."""
    store = Odd([said("m")], [said("m"), said("a", "elsewhere"), said("a", "elsewhere")])
    tree = Stepper(store=store).run(read_tree("m"))
    assert drawn(tree) == [".+a", "m*"]
