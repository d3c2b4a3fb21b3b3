"""Zips that were cut, are damaged, or mean harm: what can be had of them is read."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

import chatgpt.export_files
from chatgpt.import_reports import ImportProblem
from chatgpt.imports import read_chatgpt_export
from tests.test_imports import FOUR, read, written, zipped

CUT = ("e.zip", "the zip has no table of contents: it was cut or is damaged")
PHOTO = bytes(range(256)) * 40


def streamed(files: dict[str, object], method: int) -> bytes:
    """A zip as it is written to where nobody can go back: sizes follow what they measure."""

    class Pipe(io.RawIOBase):
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", method) as archive:
        for name, value in files.items():
            archive.writestr(name, value if isinstance(value, bytes) else json.dumps(value))
    return pipe.data


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_zip_that_was_cut(tmp_path: Path, is_streamed: bool) -> None:
    method = zipfile.ZIP_DEFLATED
    files: dict[str, object] = {
        "photo.png": PHOTO,
        "conversations-000.json": FOUR[:2],
        "x/conversations-1.json": FOUR,
    }
    path = tmp_path / "e.zip"
    whole = streamed(files, method) if is_streamed else zipped(path, files).read_bytes()
    assert read(written(path, whole)) == (["a", "b", "a", "b", "c", "d"], [])
    directory = whole.index(b"PK\x01\x02")
    assert read(written(path, whole[:directory])) == (["a", "b", "a", "b", "c", "d"], [CUT])
    ids, problems = read(written(path, whole[: directory - 60]))
    assert ids[:3] == ["a", "b", "a"]
    assert problems[0] == CUT
    assert problems[1][0].startswith("conversations-1.json, conversation")
    assert problems[1][1] == "the zip was cut: it ends within this file"
    for end in range(4, directory, 97):
        try:
            ids, problems = read(written(path, whole[:end]))
        except ValueError as error:
            assert "holds no conversations" in str(error)  # noqa: PT017
        else:
            assert ids == ["a", "b", "a", "b", "c", "d"][: len(ids)]
            assert problems[0] == CUT


def test_a_zip_that_was_cut_and_holds_a_stored_entry_of_unknown_size(tmp_path: Path) -> None:
    whole = streamed({"conversations.json": FOUR}, zipfile.ZIP_STORED)
    assert read(written(tmp_path / "e.zip", whole)) == (["a", "b", "c", "d"], [])
    reason = "it is packed in a way that is not known here"
    problems = [CUT, ("conversations.json", reason)]
    assert read(written(tmp_path / "e.zip", whole[:-60])) == ([], problems)


def test_a_wrong_checksum(tmp_path: Path) -> None:
    path = zipped(tmp_path / "e.zip", {"conversations.json": FOUR}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"Talk a", b"Talk x"))
    reason = "its checksum is wrong: some of it is not what was packed"
    assert read(path) == (["a", "b", "c", "d"], [("conversations.json", reason)])


def test_damaged_data(tmp_path: Path) -> None:
    path = zipped(tmp_path / "e.zip", {"conversations-1.json": FOUR, "conversations-2.json": FOUR})
    data = bytearray(path.read_bytes())
    start = data.index(b"conversations-1.json") + 20
    for offset in range(start + 100, start + 200):
        data[offset] = 0xFF
    ids, problems = read(written(path, bytes(data)))
    assert ids[-4:] == ["a", "b", "c", "d"]
    assert len(problems) == 1
    assert problems[0][0].startswith("conversations-1.json")


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = zipped(tmp_path / "e.zip", {"conversations.json": FOUR})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    problems = [("conversations.json", "it is encrypted")]
    assert read(written(path, bytes(data))) == ([], problems)


def test_other_ways_to_pack(tmp_path: Path) -> None:
    path = zipped(tmp_path / "e.zip", {"conversations.json": FOUR}, zipfile.ZIP_LZMA)
    reason = "it is packed in a way that is not known here"
    assert read(path) == ([], [("conversations.json", reason)])


def test_a_table_of_contents_that_lies(tmp_path: Path) -> None:
    path = zipped(tmp_path / "e.zip", {"conversations.json": FOUR})
    data = path.read_bytes()
    offset = data.index(b"PK\x01\x02") + 42
    for lie in (7, 1 << 31):
        lying = data[:offset] + lie.to_bytes(4, "little") + data[offset + 4 :]
        reason = "the zip does not hold it where it says so"
        assert read(written(path, lying)) == ([], [("conversations.json", reason)])


def test_a_zip_that_inflates_beyond_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatgpt.export_files, "MAX_INFLATED", 1_000_000)
    bomb = json.dumps(FOUR[:1]).encode()[:-1] + b" " * 10_000_000 + b"]"
    path = zipped(tmp_path / "e.zip", {"conversations.json": bomb})
    ids, problems = read(path)
    assert ids == ["a"]
    assert problems[0][1].startswith("the zip inflates to more than 200 times its size")
    padded = zipped(tmp_path / "f.zip", {"conversations.json": bomb, "x": b"x" * 60_000}, 0)
    assert read(padded) == (["a"], [])
    # A cut one is unpacked to find what stands behind an entry.
    data = streamed({"a.txt": bomb, "conversations.json": FOUR}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="holds no conversations"):
        read(written(path, data[:-60]))


def test_backslashes_part_names_as_well(tmp_path: Path) -> None:
    files: dict[str, object] = {
        "folder\\conversations-1.json": FOUR[1:],
        "folder\\conversations-0.json": FOUR[:1],
        "folder\\x-conversations-2.json": FOUR,
    }
    path = zipped(tmp_path / "e.zip", files)
    assert read(path) == (["a", "b", "c", "d"], [])
    whole = path.read_bytes()
    cut = written(path, whole[: whole.index(b"PK\x01\x02")])
    assert read(cut) == (["a", "b", "c", "d"], [CUT])


# --- folders ---------------------------------------------------------------------------------


def test_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    zipped(tmp_path / "x.zip", {"conversations.json": FOUR})
    assert read(Path("~/x.zip")) == (["a", "b", "c", "d"], [])
    with pytest.raises(FileNotFoundError):
        read(Path("~nobody-of-this-name/x.zip"))


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    written(tmp_path / "conversations-000.json", FOUR)
    (tmp_path / "conversations-001.json").symlink_to(tmp_path / "gone.json")
    (tmp_path / "conversations-002.json").symlink_to(tmp_path / "conversations-002.json")
    (tmp_path / "conversations-003.json").mkdir()
    ids, problems = read(tmp_path)
    assert ids == ["a", "b", "c", "d"]
    assert [where for where, _ in problems] == ["conversations-001.json", "conversations-002.json"]
    assert problems[0][1] == "it cannot be read: No such file or directory"
    assert problems[1][1].startswith("it cannot be read: ")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "conversations-001.json")
    with pytest.raises(OSError, match="conversations-002"):
        read(tmp_path / "conversations-002.json")


def test_a_file_that_the_system_does_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        written(tmp_path / f"conversations-{number}.json", FOUR[number : number + 1])
    alone = written(tmp_path / "alone.json", FOUR)
    zipped(tmp_path / "e.zip", {"conversations.json": FOUR})
    really = Path.open

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() or (size or 0) > 4:
                raise OSError(5, "Input/output error")
            return super().read(size)

    def opened(path: Path, *args: Any, **options: Any) -> Any:
        if path.name in ("conversations-1.json", "alone.json"):
            return Broken(b"[" * 100)
        return really(path, *args, **options)

    monkeypatch.setattr(Path, "open", opened)
    reason = "it cannot be read: Input/output error"
    assert read(tmp_path) == (["a", "c"], [("conversations-1.json", reason)])
    assert read(alone) == ([], [("alone.json", reason)])


def test_a_file_that_vanishes(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"conversations-{n}.json", FOUR[n : n + 1]) for n in range(2)]
    reading = read_chatgpt_export(tmp_path)
    next(reading)
    paths[1].unlink()
    reason = "it cannot be read: No such file or directory"
    assert list(reading) == [ImportProblem("conversations-1.json", reason)]
    path = zipped(tmp_path / "e.zip", {"conversations.json": FOUR})
    reading = read_chatgpt_export(path)
    path.unlink()
    assert list(reading) == [ImportProblem("conversations.json", reason)]


def test_a_zip_where_json_should_be(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "conversations.json", {"conversations.json": FOUR})
    written(tmp_path / "conversations-1.json", FOUR)
    problem = ("conversations.json", "it is a zip")
    assert read(tmp_path) == (["a", "b", "c", "d"], [problem])
    outer = zipped(tmp_path / "e.zip", {"conversations.json": inner.read_bytes()})
    assert read(outer) == ([], [problem])
