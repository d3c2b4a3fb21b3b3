"""What a file may hold, well-formed and not: conversations are read, one at a time, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chatgpt.export_files
import chatgpt.json_elements
from chatgpt import MemoryStore
from chatgpt.export_files import DamagedFileError
from chatgpt.import_reports import ImportProblem
from chatgpt.imports import import_chatgpt_export
from chatgpt.json_elements import JSONElements
from tests.test_imports import FOUR, Nodes, conversation, measured, read, said, written, zipped

pytest.importorskip("ijson")

NO_JSON = "it is no valid JSON from here on: the rest was not read"
CUT = "it was cut: the file ends too early"
LONE = "it holds lone surrogates; U+FFFD replaces them"
TOO_MANY = "it has too many values; a larger max_conversation_bytes reads it"


def elements(
    data: bytes, size: int = 1000, max_bytes: int = 10**6
) -> tuple[list[object], list[str]]:
    """The elements of bytes that come in pieces of a size, and the problems."""
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    reading = JSONElements(pieces, max_bytes)
    return list(reading.read()), reading.problems


def too_large(max_bytes: int) -> str:
    return f"it is larger than max_conversation_bytes ({max_bytes})"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", CUT),
        (b"5", "it holds no list of conversations"),
        (b"{}", "it holds no list of conversations"),
        (b'{"other": [{}]}', "it holds no list of conversations"),
        (b'{"other": [{}', CUT),
        (b'{"other": 5, x', NO_JSON),
        (b"<html>", NO_JSON),
        (b'{"id": "a", "text": "x"}\n{"id": "b"}', NO_JSON),
        ("[{}]".encode("utf-16"), "it is UTF-16, not UTF-8"),
        ("[{}]".encode("utf-16-be"), "it is UTF-16, not UTF-8"),
        ("{}".encode("utf-16-le"), "it is UTF-16, not UTF-8"),
        ("[{}]".encode("utf-32"), "it is UTF-32, not UTF-8"),
        ("[{}]".encode("utf-32-be"), "it is UTF-32, not UTF-8"),
    ],
)
def test_what_holds_no_list(tmp_path: Path, data: bytes, reason: str) -> None:
    """Where it was named itself, it is a mistake; in an export, other files may be well."""
    with pytest.raises(ValueError, match="holds no conversations.*import_messages") as caught:
        read(written(tmp_path / "e.json", data))
    assert reason in str(caught.value)
    path = zipped(tmp_path / "e.zip", {"conversations-1.json": data, "conversations-2.json": FOUR})
    ids, problems = read(path)
    assert ids == ["a", "b", "c", "d"]
    assert problems[-1] == ("conversations-1.json", reason)


def test_an_empty_list(tmp_path: Path) -> None:
    assert read(written(tmp_path / "e.json", b"[]")) == ([], [])
    assert read(written(tmp_path / "e.json", b"[]\\")) == ([], [("e.json", NO_JSON)])
    assert read(written(tmp_path / "e.json", b"[]]")) == ([], [("e.json", NO_JSON)])
    assert read(written(tmp_path / "e.json", b'{"conversations": []}')) == ([], [])


def test_a_file_that_cannot_be_read_to_its_list() -> None:
    """This tells nothing of what it holds."""

    def pieces() -> Iterator[bytes]:
        yield b" "
        raise DamagedFileError("it cannot be read: x")

    reading = JSONElements(pieces(), 1000)
    assert list(reading.read()) == []
    assert (reading.has_list, reading.is_damaged) == (False, True)
    assert reading.problems == ["it cannot be read: x"]


def test_one_conversation_without_a_list(tmp_path: Path) -> None:
    path = written(tmp_path / "e.json", {**FOUR[0], "more": [1], "last": "x"})
    report = import_chatgpt_export(path, store := MemoryStore())
    assert (report.problems, len(report.conversations)) == ((), 1)
    head = store.get("a")
    assert head is not None
    assert head.detail == {
        "id": "a", "title": "Talk a", "current_node": "a-2", "more": [1], "last": "x"
    }  # fmt: skip
    first = ("e.json, conversation 1", "")
    whole = json.dumps(FOUR[0]).encode()
    for end in (-1, -30, -300):
        assert read(written(path, whole[:end])) == ([], [(first[0], CUT)])
    assert read(written(path, whole[:-1] + b", x")) == ([], [(first[0], NO_JSON)])
    assert read(written(path, {**FOUR[0], "mapping": 5}))[1][0][0] == first[0]
    # The bound is that of the whole, wherever the most of it stands.
    for large in ({"x": "y" * 80_000}, {"x": ["y" * 20_000] * 9}, {str(n): n for n in range(9000)}):
        for value in (FOUR[0] | large, large | FOUR[0]):
            found = read(written(path, value), max_conversation_bytes=40_000)
            assert found == ([], [(first[0], too_large(40_000))])
            found = read(
                written(path, value | {"conversations": FOUR}), max_conversation_bytes=40_000
            )
            assert found == (["a", "b", "c", "d"], [])
    with pytest.raises(ValueError, match="it holds no list"):
        read(written(path, {"x": ["y" * 20_000] * 9}), max_conversation_bytes=40_000)


# --- surrogates ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rb"cut \ude00 emoji", "cut \ufffd emoji"),
        (rb"a\ud800b", "a\ufffdb"),
        (rb"\ud83d\u0041", "\ufffdA"),
        (rb"\uD83D", "\ufffd"),
        (rb"\ud83d\ud83d\ude00\ude00", "\ufffd\U0001f600\ufffd"),
        (rb"\ud83d\n\ude00", "\ufffd\n\ufffd"),
        (rb"\ud83d\\\ude00", "\ufffd\\\ufffd"),
        (rb"\\ud800 \\\ud800 \\\\ud800", "\\ud800 \\\ufffd \\\\ud800"),
        (rb"\\ud83d\ude00", "\\ud83d\ufffd"),
    ],
)
def test_lone_surrogates(text: bytes, expected: str) -> None:
    data = b'["' + text + b'", "\\ud83d\\ude00 \\\\ud800 \\u00eb", "' + text + b'"]'
    for size in (*range(1, 30), 1000):
        found = elements(data, size)
        assert found == ([expected, "\U0001f600 \\ud800 ë", expected], [LONE])


def test_pairs_are_no_lone_surrogates() -> None:
    data = json.dumps(["\U0001f600", "\\ud800", "\\", "\\\U0001f600", "\ufffd", "\ud7ff\ue000"])
    for size in range(1, 40):
        assert elements(data.encode(), size) == (json.loads(data), [])


escapes = st.sampled_from([
    rb"\ud83d", rb"\uDE00", rb"\\", rb"\"", rb"\u0041", rb"\uD7FF", rb"\ue000", b"u", b"d800", b" "
])  # fmt: skip


@given(st.lists(st.lists(escapes, max_size=12).map(b"".join), max_size=3), st.integers(1, 40))
def test_the_text_is_that_of_another_parser(texts: list[bytes], size: int) -> None:
    data = b"[" + b",".join(b'"' + text + b'"' for text in texts) + b"]"
    expected = [
        t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in json.loads(data)
    ]
    is_changed = any(
        t.encode("utf-8", "replace") != t.encode("utf-8", "surrogatepass") for t in json.loads(data)
    )
    assert elements(data, size) == (expected, [LONE] * is_changed)


@pytest.mark.parametrize("bad", [rb"\ud8", rb"\ud8zz", rb"\u12", rb"\x", rb"\ud83d\ud"])
def test_what_is_no_escape_is_no_json(bad: bytes) -> None:
    for size in range(1, 20):
        found, problems = elements(b'[5, "' + bad + b'", 6]', size)
        assert found == [5]
        assert problems[-1] == NO_JSON
        found, problems = elements(b'[5, "' + bad, size)
        assert problems[-1] in (CUT, NO_JSON)


def test_lone_surrogates_in_an_export(tmp_path: Path) -> None:
    value = [{**FOUR[0], "title": "cut \ud83d"}, *FOUR[1:]]
    report = import_chatgpt_export(written(tmp_path / "e.json", value), MemoryStore())
    assert [c.title for c in report.conversations][:2] == ["cut \ufffd", "Talk b"]
    assert report.problems == (ImportProblem("e.json", LONE),)


# --- faults ----------------------------------------------------------------------------------


def test_a_file_that_was_cut(tmp_path: Path) -> None:
    whole = json.dumps(FOUR).encode()
    for end in range(2, len(whole), 37):
        ids, problems = read(written(tmp_path / "e.json", whole[:end]))
        assert ids == ["a", "b", "c", "d"][: len(ids)]
        assert len(ids) >= 4 * end // len(whole) - 1
        assert [reason for _, reason in problems] == [CUT]


@pytest.mark.parametrize("bad", [b"NaN", b"Infinity", b"1e999", b"9" * 5000, b"'x'", b"[}", b"\0"])
def test_what_is_no_json_ends_the_file(tmp_path: Path, bad: bytes) -> None:
    first, second = json.dumps(FOUR[0]).encode(), json.dumps(FOUR[1]).encode()
    broken = b"[" + first + b', {"title": ' + bad + b"}, " + second + b"]"
    ids, problems = read(written(tmp_path / "e.json", broken))
    assert (ids, problems) == (["a"], [("e.json, conversation 2", NO_JSON)])
    behind = read(written(tmp_path / "e.json", b"[" + first + b"] x"))
    assert behind == (["a"], [("e.json", NO_JSON)])


def test_what_is_no_utf_8_is_replaced(tmp_path: Path) -> None:
    data = json.dumps(FOUR, ensure_ascii=False).encode()
    broken = data.replace("ë".encode(), b"\xeb").replace("👋".encode(), b"\xed\xa0\xbd")
    report = import_chatgpt_export(written(tmp_path / "e.json", broken), store := MemoryStore())
    assert len(report.conversations) == 4
    assert report.problems == (
        ImportProblem("e.json", "it holds bytes that are no UTF-8; U+FFFD replaces them"),
    )
    message = store.get("a-0")
    assert message is not None
    assert message.text == "Good morning, Zo\ufffd \ufffd\ufffd\ufffd"
    cut = read(written(tmp_path / "e.json", b'["' + "ë".encode()[:1]))
    assert [reason for _, reason in cut[1]][-1] == CUT


# --- bounds ----------------------------------------------------------------------------------


def test_one_that_is_too_large(tmp_path: Path) -> None:
    large = conversation("large", text="long " * 40_000)
    values = [FOUR[0], large, FOUR[1]]
    path = written(tmp_path / "e.json", values)
    assert read(path, max_conversation_bytes=1_000_000)[0] == ["a", "large", "b"]
    problem = ("e.json, conversation 2", too_large(100_000))
    assert read(path, max_conversation_bytes=100_000) == (["a", "b"], [problem])
    written(path, {"conversations": values})
    assert read(path, max_conversation_bytes=100_000) == (["a", "b"], [problem])


def test_one_that_has_too_many_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chatgpt.json_elements, "MIN_MEMORY", 1_000_000)
    small: list[Nodes] = [{}] * 30_000
    nodes: Nodes = {str(number): {} for number in range(1200)}
    problem = ("e.json, conversation 2", TOO_MANY)
    for value in ({"mapping": small}, {"id": "x", "mapping": nodes}):
        path = written(tmp_path / "e.json", [FOUR[0], value, FOUR[1]])
        assert read(path, max_conversation_bytes=150_000) == (["a", "b"], [problem])
    assert read(path, max_conversation_bytes=300_000) == (["a", "x", "b"], [])


def test_a_hundred_thousand_small_nodes_pass(tmp_path: Path) -> None:
    nodes: Nodes = {}
    for number in range(100_000):
        nodes |= said(
            f"n{number}", f"n{number - 1}", "hi", create_time=1.5, weight=1.0, end_turn=True
        )
    path = written(tmp_path / "e.json", [{"id": "c", "mapping": nodes, "current_node": "n99999"}])
    conversations, _, size = measured(path)
    assert conversations == 1
    assert size < 270


@pytest.mark.parametrize("place", ["between", "within", "around"])
def test_white_space_without_number(tmp_path: Path, place: str) -> None:
    space, one = b" \n" * 300_000, json.dumps(FOUR[0] | {"x": "y" * 50_000}).encode()
    data = {
        "between": b"[" + one + space + b"," + space + one + b"," + space + one + space + b"]",
        "within": b"["
        + one
        + b", {"
        + space
        + b'"id"'
        + space
        + b":"
        + space
        + b"5},"
        + one
        + b"]",
        "around": space + b'{"conversations"' + space + b":" + space + b"[" + one + b"]}" + space,
    }[place]
    ids, problems = read(written(tmp_path / "e.json", data), max_conversation_bytes=100_000)
    assert ids == {"between": ["a"] * 3, "within": ["a", "a"], "around": ["a"]}[place]
    found = [("e.json, conversation 2", too_large(100_000))] if place == "within" else []
    assert problems == found


def test_what_stands_between_conversations_is_no_part_of_them(tmp_path: Path) -> None:
    path = written(tmp_path / "e.json", [FOUR[0], *[1] * 60_000, FOUR[1]])
    ids, problems = read(path, max_conversation_bytes=100_000)
    assert (ids, len(problems)) == (["a", "b"], 60_000)


def test_a_long_text_is_read_in_growing_pieces() -> None:
    """The parser reads a text that is not whole from its beginning again."""
    piece = b"x" * chatgpt.export_files.PIECE
    reading = JSONElements(iter([piece] * 1000), 100_000_000)
    assert [len(reading._next_piece(silence, 0)) for silence in (0, 65_000, 4_000_000)] == [
        len(piece),
        len(piece),
        62 * len(piece),
    ]


def test_one_that_is_nested_too_deeply(tmp_path: Path) -> None:
    first, second = json.dumps(FOUR[0]).encode(), json.dumps(FOUR[1]).encode()
    for levels, ids in ((90, ["a", "a", "b"]), (101, ["a", "b"]), (50_000, ["a", "b"])):
        deep = b'{"x": ' + b"[" * levels + b"]" * levels + b"," + first[1:]
        data = b"[" + first + b", " + deep + b", " + second + b"]"
        found, problems = read(written(tmp_path / "e.json", data))
        assert found == ids
        assert problems == [("e.json, conversation 2", "it is nested too deeply")] * (levels > 100)
    without_end = b"[" + first + b', {"x": ' + b"[" * 1_100_000
    assert read(written(tmp_path / "e.json", without_end)) == (
        ["a"],
        [("e.json", "it is nested without end: the rest was not read")],
    )


@pytest.mark.parametrize(
    "filler",
    [b"long ", rb"a\"b\\c and so on ", rb"\\\\", rb"\n", rb"\u4e2d", rb"\ud83d\ude00", b" ", b", "],
)
def test_a_text_beyond_the_bound(tmp_path: Path, filler: bytes) -> None:
    """The parser keeps a text whole; so it is not given all of it."""
    first, second = json.dumps(FOUR[0]).encode(), json.dumps(FOUR[1]).encode()
    long = b'{"title": "' + filler * (4_000_000 // len(filler)) + b'", "id": 5}'
    data = b"[" + first + b", " + long + b", " + second + b"]"
    ids, problems = read(written(tmp_path / "e.json", data), max_conversation_bytes=100_000)
    assert (ids, problems) == (["a", "b"], [("e.json, conversation 2", too_large(100_000))])
    ids, problems = read(tmp_path / "e.json")
    assert ids == ["a", "b"]
    assert problems[0][1].startswith("it has no mapping")


@given(st.lists(st.binary(max_size=8), max_size=6), st.integers(0, 2000), st.integers(0, 40))
def test_whatever_a_file_holds(parts: list[bytes], start: int, length: int) -> None:
    """What stands before the first fault is read, and nothing is raised."""
    whole = json.dumps(FOUR[:2]).encode()
    data = whole[:start] + b"".join(parts) + whole[start + length :]
    found, _ = elements(data, 500, 10_000)
    if start > len(json.dumps(FOUR[0])):
        assert found[0] == FOUR[0]


@pytest.mark.parametrize(
    ("beginning", "filler"),
    [
        (b"[", b"["),
        (b'[{"mapping": [', b"{},"),
        (b'[{"mapping": "', b"long "),
        (b"[", b'{"k":'),
        (b'[{"mapping": [', b"1,"),
        (b'[{"mapping": [', '"👋",'.encode()),
        (b'{"mapping": {"x": [', b"{},"),
        (b'[{"mapping": "', rb"\ud83d"),
    ],
)
def test_hostile_input_takes_little_memory(tmp_path: Path, beginning: bytes, filler: bytes) -> None:
    path = written(tmp_path / "e.json", beginning + filler * (25_000_000 // len(filler)))
    conversations, problems, size = measured(path)
    assert conversations == 0
    assert problems in (1, 2)
    assert size < 500
