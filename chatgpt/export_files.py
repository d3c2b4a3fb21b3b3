"""The files of a data export that hold conversations, as pieces of bytes.

An export comes as a zip. It may have been unpacked, its `conversations.json` may be split, and a download
may have been cut.

Rules:

1. Only what is named `conversations.json` or `conversations-<number>.json` is read, in the order of the
   numbers; a file that is named itself is read whatever its name.
2. Nothing is written, and no path of a zip is followed: entries are told apart by their last name. Some programs
   part names with backslashes.
3. A zip gives its table of contents through `zipfile`; its entries are inflated here, so that all that comes
   before a fault is had. Where the table is missing, the entries are found one after the other.
4. What is wrong with a file is a `DamagedFileError`, raised where its bytes end. A zip that inflates beyond
   any measure is damaged; so is a file that the system does not read. Only what `path` names itself must be there.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from attrs import define, field, frozen

PIECE: Final = 16 * 1024
MAX_INFLATED: Final = 100 * 1024 * 1024
MAX_RATIO: Final = 200
"""A zip may inflate to `MAX_INFLATED` bytes, or to so many times its size, whatever is more."""

_NAME: Final = re.compile(r"conversations(?:-([0-9]{1,9}))?\.json")
_LOOKED_FOR: Final = "conversations.json, or conversations-000.json, conversations-001.json, ..."

_LOCAL_HEADER: Final = struct.Struct("<4s5H3I2H")
_LOCAL_SIGNATURE: Final = b"PK\x03\x04"
_EMPTY_SIGNATURE: Final = b"PK\x05\x06"
_DESCRIPTOR_ROOM: Final = 64
"""Behind an entry whose size was not known in advance, at most so many bytes tell it."""
_ENCRYPTED: Final = 1 << 0
_SIZE_FOLLOWS: Final = 1 << 3
_SIZE_ELSEWHERE: Final = 0xFFFFFFFF


class DamagedFileError(Exception):
    """A file cannot be read from here on; the words say why, and repeat nothing of it."""


@frozen
class ExportFile:
    """A file of an export.

    Attributes:
        name: its last name.
        pieces: begins to read it. The pieces are small; `DamagedFileError` is raised where they end too early.
        size: how many bytes the pieces have, if that is told in advance; it need not be true.
        is_named: whether it was asked for itself, and not found in a zip or a folder.
    """

    name: str
    pieces: Callable[[], Iterator[bytes]]
    size: int | None
    is_named: bool = False


def export_files(
    path: str | os.PathLike[str],
) -> tuple[list[ExportFile], list[tuple[str, str]]]:
    """Find the files of an export that hold conversations.

    Args:
        path: a zip, a folder, or one file. A `~` at its beginning is expanded.

    Returns:
        The files in their order, and what is wrong with the export as a whole: where, and why.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it holds no conversations.
        OSError: what is at `path` itself cannot be read.
    """
    path = Path(path)
    with suppress(RuntimeError):  # nobody has that name, so it may be the name of a file
        path = path.expanduser()
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        names = _ordered(child.name for child in path.iterdir())
        found = [path / name for name in names if _may_be_file(path / name)]
        files = [_plain_file(child) for child in found]
        if not files:
            raise ValueError(f"The folder {str(path)!r} holds no conversations: no {_LOOKED_FOR}")
        return files, []
    if not stat.S_ISREG(mode):
        raise ValueError(f"{str(path)!r} is neither a file nor a folder.")
    with path.open("rb") as file:
        beginning = file.read(4)
    if beginning not in (_LOCAL_SIGNATURE, _EMPTY_SIGNATURE):
        return [_plain_file(path, is_named=True)], []
    return _files_of_zip(path)


def _plain_file(path: Path, *, is_named: bool = False) -> ExportFile:
    try:
        size = path.stat().st_size
    except OSError:  # reading it tells why, and gives nothing
        size = 0
    return ExportFile(path.name, partial(_pieces_of, path), size, is_named)


def _ordered(names: Iterable[str]) -> list[str]:
    """The names that hold conversations, by folder and number."""
    keys = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        match = _NAME.fullmatch(last)
        if match is not None:
            keys[name] = (folder, int(match[1] or -1), last)
    return sorted(keys, key=keys.__getitem__)


def _may_be_file(path: Path) -> bool:
    """Whether something is a file, or cannot be looked at, like a link to nowhere: reading it tells why."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _pieces_of(path: Path) -> Iterator[bytes]:
    with _opened(path) as file:
        while piece := file.read(PIECE):
            yield piece


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file whose loss is a problem of this file alone."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DamagedFileError(f"it cannot be read: {reason}") from error


# --- zip -------------------------------------------------------------------------------------


@frozen
class _Entry:
    """An entry of a zip. What only its end would tell is `None`."""

    name: str
    offset: int
    method: int
    flags: int
    packed_size: int | None
    size: int | None
    checksum: int | None


@define
class _Measure:
    """How much of a zip was inflated, against its size."""

    size: int
    inflated: int = field(default=0, init=False)

    def add(self, count: int) -> None:
        self.inflated += count
        if self.inflated > max(MAX_INFLATED, MAX_RATIO * self.size):
            raise DamagedFileError(
                f"the zip inflates to more than {MAX_RATIO} times its size: it was not read to its end"
            )


def _files_of_zip(path: Path) -> tuple[list[ExportFile], list[tuple[str, str]]]:
    measure = _Measure(path.stat().st_size)
    problems = []
    try:
        entries = _listed_entries(path)
    except (BadZipFile, NotImplementedError, struct.error, ValueError, OSError, EOFError):
        entries = list(_found_entries(path, measure))
        problems.append((path.name, "the zip has no table of contents: it was cut or is damaged"))
    by_name: dict[str, list[_Entry]] = {}
    for entry in entries:
        by_name.setdefault(entry.name, []).append(entry)
    files = [
        ExportFile(name.rpartition("/")[2], partial(_inflated, path, entry, measure), entry.size)
        for name in _ordered(by_name)
        for entry in by_name[name]
    ]
    if not files:
        raise ValueError(f"The zip {str(path)!r} holds no conversations: no {_LOOKED_FOR}")
    return files, problems


def _with_slashes(name: str) -> str:
    return name.replace("\\", "/")


def _listed_entries(path: Path) -> list[_Entry]:
    with ZipFile(path) as listed:
        return [
            _Entry(
                _with_slashes(info.filename),
                info.header_offset,
                info.compress_type,
                info.flag_bits,
                info.compress_size,
                info.file_size,
                info.CRC,
            )
            for info in listed.infolist()
        ]


def _found_entries(path: Path, measure: _Measure) -> Iterator[_Entry]:
    """The entries of a zip without a table of contents, read from its beginning as far as it goes."""
    with path.open("rb") as file:
        offset = 0
        while (entry := _entry_at(file, offset)) is not None:
            yield entry
            if entry.packed_size is not None:
                offset = file.tell() + entry.packed_size
                continue
            try:
                for _ in _unpacked(file, entry, measure):
                    pass
            except DamagedFileError:
                return
            end = file.tell()
            gap = file.read(_DESCRIPTOR_ROOM).find(_LOCAL_SIGNATURE)
            if gap < 0:
                return
            offset = end + gap


def _entry_at(file: BinaryIO, offset: int) -> _Entry | None:
    """Read the header of an entry; then the file stands where the entry's data begins."""
    if offset < 0:
        return None
    file.seek(offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(_LOCAL_SIGNATURE):
        return None
    _, _, flags, method, _, _, checksum, packed_size, size, name_size, extra_size = (
        _LOCAL_HEADER.unpack(header)
    )
    name = _with_slashes(file.read(name_size).decode("utf-8", "replace"))
    file.seek(extra_size, os.SEEK_CUR)
    if flags & _SIZE_FOLLOWS or packed_size == _SIZE_ELSEWHERE:
        return _Entry(name, offset, method, flags, None, None, None)
    return _Entry(name, offset, method, flags, packed_size, size, checksum)


def _inflated(path: Path, entry: _Entry, measure: _Measure) -> Iterator[bytes]:
    """Read an entry from its header on."""
    with _opened(path) as file:
        if _entry_at(file, entry.offset) is None:
            raise DamagedFileError("the zip does not hold it where it says so")
        yield from _unpacked(file, entry, measure)


def _unpacked(file: BinaryIO, entry: _Entry, measure: _Measure) -> Iterator[bytes]:
    """Read the data of an entry, which begins where the file stands; then the file stands behind it.

    Raises:
        DamagedFileError: all that could be read of it was given.
    """
    if entry.flags & _ENCRYPTED:
        raise DamagedFileError("it is encrypted")
    if entry.method == ZIP_DEFLATED:
        pieces = _deflated(file, entry.packed_size)
    elif entry.method == ZIP_STORED and entry.packed_size is not None:
        pieces = _stored(file, entry.packed_size)
    else:
        raise DamagedFileError("it is packed in a way that is not known here")
    checksum = 0
    for piece in pieces:
        measure.add(len(piece))
        checksum = zlib.crc32(piece, checksum)
        yield piece
    if entry.checksum is not None and checksum != entry.checksum:
        raise DamagedFileError("its checksum is wrong: some of it is not what was packed")


def _stored(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        piece = file.read(min(PIECE, size))
        if not piece:
            raise _cut()
        size -= len(piece)
        yield piece


def _deflated(file: BinaryIO, packed_size: int | None) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    left = packed_size
    data = b""
    while not inflater.eof:
        if not data:
            data = file.read(PIECE if left is None else min(PIECE, left))
            if left is not None:
                left -= len(data)
        is_end = not data
        try:
            piece = inflater.flush() if is_end else inflater.decompress(data, PIECE)
        except zlib.error:
            raise DamagedFileError("it is damaged: it cannot be unpacked any further") from None
        data = inflater.unconsumed_tail
        if piece:
            yield piece
        if is_end and not inflater.eof:
            raise _cut()
    file.seek(-len(inflater.unused_data), os.SEEK_CUR)


def _cut() -> DamagedFileError:
    return DamagedFileError("the zip was cut: it ends within this file")
