"""Secrets that are easy to find, and a search through everything that a program may show.

Strategy: every secret holds one marker, which nothing else holds. So the search need not know what it looks for:
it looks for the marker, as it is and in the forms in which HTTP, URLs and dumps write it, in whatever a caller,
a log, a debugger, an error tracker or a file may get hold of.

Rules:

1. A value is shown in all ways: repr, str, format, its attributes and slots, those of attrs, its properties, its
   pickle and copies. What the SDK made is searched attribute by attribute, as a debugger opens it; what others
   made, and what derives from that, as it shows itself: a pool of connections has to hold what it sends.
2. An error is searched with all that led to it, and with the locals of every frame but the tests' own.
3. A log record is searched as it is when a handler gets it: message, arguments, error.
4. Finds are gathered, so that a failing test names all of them.
"""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import re
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import attrs
import pytest

from chatgpt import Secret
from chatgpt.core.streaming import StreamState
from tests.reliability.report import Report

MARKER: Final = "c4n4ry"

API_KEY: Final = f"sk-{MARKER}-key-0123456789abcdef"
ORGANIZATION: Final = f"org-{MARKER}-organization-0123"
PLAIN_HEADER: Final = f"{MARKER}-header-0123456789"
SECRET_HEADER: Final = f"{MARKER}-wrapped-0123456789"
PROXY_PASSWORD: Final = f"{MARKER}-proxy-0123456789"
URL_PASSWORD: Final = f"{MARKER}-url-0123456789"
REDIS_PASSWORD: Final = f"{MARKER}-redis-0123456789"
ACCESS_TOKEN: Final = f"eyJhbGciOiJSUzI1.{MARKER}-access-0123456789.signature"
MADE_TOKEN: Final = f"eyJhbGciOiJSUzI1.{MARKER}-made-9876543210.signature"
SESSION_TOKEN: Final = f"{MARKER}-session-0123456789"
CLEARANCE_TOKEN: Final = f"{MARKER}-clearance-0123456789"
MADE_COOKIE: Final = f"{MARKER}-cookie-0123456789"
EMAIL: Final = f"{MARKER}-email-1@example.com"
PASSWORD: Final = f"pass word {MARKER}-password-1"

_NAMED: Final = re.compile(rf"{MARKER}-([a-z]+)-")
_TESTS: Final = str(Path(__file__).parents[1])
_SHOWN_AROUND: Final = 70
_MOST_SHOWN: Final = 20
_OURS: Final = {"chatgpt", "chatgpt_async", "abc", "collections", "typing"}


def _forms() -> Iterator[str]:
    raw = MARKER.encode()
    yield MARKER
    yield raw.hex()
    # In base64 a text looks different at each of three places; the outermost letters mix with what is around.
    for before, first, last in ((0, 0, 8), (1, 2, 9), (2, 3, 10)):
        yield base64.b64encode(bytes(before) + raw).decode()[first:last]


_FORMS: Final = tuple(form.lower() for form in _forms())


def names_in(text: str) -> set[str]:
    """Which secrets a text holds, as they are: `{"key"}`."""
    return set(_NAMED.findall(text))


class Search:
    """Looks for secrets, and gathers what it finds.

    Attributes:
        finds: where something was found, with what is around it; each once.
    """

    def __init__(self) -> None:
        self.finds: list[str] = []

    def text(self, where: str, *texts: str | bytes) -> None:
        """Look through texts, and through bytes."""
        for text in texts:
            whole = text.decode("latin-1") if isinstance(text, bytes) else text
            lowered = whole.lower()
            for form in _FORMS:
                position = lowered.find(form)
                if position < 0:
                    continue
                begin, end = position - _SHOWN_AROUND, position + _SHOWN_AROUND
                find = f"{where}: ...{whole[max(begin, 0) : end]!r}..."
                if find not in self.finds:
                    self.finds.append(find)

    def value(self, where: str, value: object) -> None:
        """Look through a value, however it is shown."""
        seen: dict[int, object] = {}
        for how, text in _shown(value, seen, "value"):
            self.text(f"{where}: {how}", text)
        for how, dump in _dumped(_behind(value)):
            self.text(f"{where}: {how}", dump)

    def request(
        self, where: str, path: str, headers: Mapping[str, str], body: bytes, meant: Meant
    ) -> None:
        """Look whether a server got each secret in the header that is meant for it, and nowhere else."""
        self.text(f"{where}: the URL", path)
        self.text(f"{where}: the body of a request", body)
        for name, value in headers.items():
            if name not in meant or names_in(value) - meant[name]:
                self.text(f"{where}: the header {name}", value)

    def files(self, where: str, folder: Path) -> None:
        """Look through all files of a folder, and their names."""
        for path in folder.rglob("*"):
            self.text(f"{where}: a file's name", path.name)
            if path.is_file():
                self.text(f"{where}: the file {path.name}", path.read_bytes())

    def finish(self, report: Report) -> None:
        """Fail if something was found."""
        if self.finds:
            report.count("secrets found", len(self.finds))
            shown = "\n".join(self.finds[:_MOST_SHOWN])
            pytest.fail(f"{len(self.finds)} secrets found:\n{shown}", pytrace=False)


Meant = Mapping[str, set[str]]
"""Which secrets a header may hold, by its name in lower case."""


class LoggedRecords(logging.Handler):
    """Everything that anything logs, at DEBUG, searched when it is logged.

    Attributes:
        count: how many records there were.
        names: the loggers that they came from.
    """

    def __init__(self, search: Search) -> None:
        super().__init__(logging.DEBUG)
        self.count = 0
        self.names: set[str] = set()
        self._search = search

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        self.names.add(record.name)
        where = f"the log of {record.name}"
        self._search.text(where, record.getMessage(), repr(record.args), repr(vars(record)))
        if record.exc_info is not None and record.exc_info[1] is not None:
            for how, text in _shown(record.exc_info[1], {}, "error"):
                self._search.text(f"{where}: {how}", text)


def search_warnings(search: Search, seen: Iterable[warnings.WarningMessage]) -> None:
    """Look through warnings that were recorded, and through what they are about."""
    for each in seen:
        search.text("a warning", str(each), str(each.message))
        search.value("a warning's source", each.source)


# --- all ways to show a value ----------------------------------------------------------------


def _behind(value: Any) -> Any:
    """What is of the async twin, whose face the tests see; and so in a tuple or list of results."""
    if type(value) in (tuple, list):
        return type(value)(map(_behind, value))
    return getattr(value, "__dict__", {}).get("_behind", value)


def _shown(value: Any, seen: dict[int, object], how: str) -> Iterator[tuple[str, str]]:
    value = _behind(value)
    if id(value) in seen or isinstance(value, (type(None), bool, int, float, type)):
        return
    seen[id(value)] = value  # kept, so that no other value gets its id
    if isinstance(value, (str, bytes)):
        yield how, value if isinstance(value, str) else repr(value)
        return
    yield f"repr of {how}", repr(value)
    yield f"str of {how}", f"{value!s} {value}"
    if isinstance(value, Secret):
        return
    if isinstance(value, BaseException):
        yield from _shown_error(value, seen, how)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _shown(key, seen, f"a key of {how}")
            yield from _shown(each, seen, f"{how}[{key!r}]")
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from _shown(each, seen, f"{how}[...]")
    elif all(base.__module__.partition(".")[0] in _OURS for base in type(value).__mro__[:-1]):
        yield from _shown_parts(value, seen, how)


def _shown_parts(value: Any, seen: dict[int, object], how: str) -> Iterator[tuple[str, str]]:
    """Attributes, slots and properties of what the SDK made."""
    yield f"vars of {how}", repr(getattr(value, "__dict__", ""))
    if attrs.has(type(value)):
        fields = attrs.asdict(value, recurse=False)
        yield f"asdict of {how}", repr(fields)
        yield from _shown(fields, seen, f"asdict of {how}")
    names = {*getattr(value, "__dict__", ())}
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        names |= {slots} if isinstance(slots, str) else {*slots}
        names |= {name for name, each in base.__dict__.items() if isinstance(each, property)}
    for name in sorted(names - {"__weakref__", "__dict__"}):
        try:
            part = getattr(value, name)
        except Exception as error:  # noqa: BLE001 - what a property says is shown, too
            part = error
        yield from _shown(part, seen, f"{how}.{name}")


def _shown_error(
    error: BaseException, seen: dict[int, object], how: str
) -> Iterator[tuple[str, str]]:
    kind = type(error).__name__
    # A traceback prints the lines of the tests, too, which hold no secret but its name.
    yield f"traceback of {kind}", "".join(traceback.format_exception(error))
    yield f"vars of {kind}", repr(vars(error))
    yield from _frames(error.__traceback__, kind)
    parts = [error.__cause__, error.__context__, *error.args, *vars(error).values()]
    if isinstance(error, BaseExceptionGroup):
        parts += error.exceptions
    for part in parts:
        yield from _shown(part, seen, f"a part of {kind}")


def _frames(trace: TracebackType | None, kind: str) -> Iterator[tuple[str, str]]:
    """The locals of all frames but the tests' own, as error trackers show them."""
    while trace is not None:
        code, names = trace.tb_frame.f_code, trace.tb_frame.f_locals
        if not code.co_filename.startswith(_TESTS):
            place = f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}"
            for name, value in names.items():
                try:
                    shown = f"{value!r}"
                except Exception as error:  # noqa: BLE001 - it is shown in its place
                    shown = f"{error!r}"
                yield f"{kind}, {place}, local {name}", shown
        trace = trace.tb_next


def _dumped(value: Any) -> Iterator[tuple[str, bytes]]:
    """What leaves the process: pickles and JSON; and the copies, by their pickles."""
    if isinstance(value, tuple):
        for each in value:
            yield from _dumped(each)
        return
    ways: dict[str, Callable[[Any], object]] = {"pickle": lambda itself: itself}
    if not isinstance(value, StreamState):  # a copy would have its connection, and close it
        ways |= {"copy": copy.copy, "deep copy": copy.deepcopy}
    for how, way in ways.items():
        try:
            yield how, pickle.dumps(way(value))
        except Exception as error:  # noqa: BLE001 - not all can be pickled; what is said of it is searched
            for _, text in _shown(error, {}, how):
                yield f"a failed {how}", text.encode("utf-8", "replace")
    try:
        dump = json.dumps(value, default=lambda each: getattr(each, "__dict__", None) or str(each))
    except (TypeError, ValueError) as error:
        dump = str(error)
    yield "json", dump.encode()
