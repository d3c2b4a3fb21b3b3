"""The search finds leaks of every kind: a search that cannot find would be worth nothing."""

from __future__ import annotations

import base64
import logging
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from attrs import define, field

from chatgpt import ChatMessage, Secret
from tests.reliability.canaries import (
    API_KEY,
    PASSWORD,
    LoggedRecords,
    Search,
    names_in,
    search_warnings,
)
from tests.reliability.report import Report


class _Shown:
    def __repr__(self) -> str:
        return f"<{API_KEY}>"


class _Printed:
    def __str__(self) -> str:
        return API_KEY


class _Formatted:
    def __format__(self, _: str) -> str:
        return API_KEY


class _Pickled:
    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (API_KEY,)


def _ours(kind: type[Any]) -> type[Any]:
    """A class that looks as if it were of the SDK: its attributes are opened."""
    kind.__module__ = "chatgpt.planted"
    return kind


@_ours
class _Holder:
    def __init__(self, value: object) -> None:
        self._value = value


@_ours
class _Slotted:
    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = API_KEY


@_ours
@define
class _Attrs:
    value: str = field(repr=False)


@_ours
class _WithProperty:
    @property
    def token(self) -> str:
        return API_KEY


@_ours
class _WithFailingProperty:
    @property
    def token(self) -> str:
        raise ValueError(API_KEY)


_SOURCE: Final = """
def leak(key):
    raise ValueError("x")

def chained(key):
    try:
        leak(key)
    except ValueError:
        raise RuntimeError("y") from None
"""


def _raised(name: str = "leak", argument: object = API_KEY) -> BaseException:
    """An error that went through a frame which is not the test's and holds the key."""
    namespace: dict[str, Any] = {}
    exec(compile(_SOURCE, "/elsewhere/planted.py", "exec"), namespace)
    try:
        namespace[name](argument)
    except Exception as error:  # noqa: BLE001 - it is what is asked for
        return error
    raise AssertionError("nothing was raised")


def _error(message: str = "x", **attributes: object) -> BaseException:
    error = ValueError(message)
    vars(error).update(attributes)
    return error


def _caused(*, hidden: bool = False) -> BaseException:
    error, cause = ValueError("x"), ValueError(API_KEY)
    if hidden:
        error.__context__, error.__suppress_context__ = cause, True
    else:
        error.__cause__ = cause
    return error


def _noted() -> BaseException:
    error = ValueError("x")
    error.add_note(API_KEY)
    return error


VALUES: Final[dict[str, Callable[[], object]]] = {
    "a text": lambda: API_KEY,
    "bytes": lambda: API_KEY.encode(),
    "another case": lambda: API_KEY.upper(),
    "a repr": _Shown,
    "a str": _Printed,
    "a format": _Formatted,
    "a pickle": _Pickled,
    "a list": lambda: [1, (2, {API_KEY})],
    "a value of a dictionary": lambda: {"a": {"b": _Holder(API_KEY)}},
    "a key of a dictionary": lambda: {API_KEY: 1},
    "an attribute": lambda: _Holder(API_KEY),
    "an attribute of an attribute": lambda: _Holder(_Holder([API_KEY])),
    "a slot": _Slotted,
    "a field that no repr shows": lambda: _Attrs(API_KEY),
    "a property": _WithProperty,
    "a property that fails": _WithFailingProperty,
    "a message": lambda: ChatMessage(id="m", text="x", detail={"a": [API_KEY]}),
    "an error": lambda: _error(API_KEY),
    "an attribute of an error": lambda: _error(body={"a": API_KEY}),
    "a cause": _caused,
    "a hidden context": lambda: _caused(hidden=True),
    "a note": _noted,
    "one of a group": lambda: ExceptionGroup("x", [ValueError(API_KEY)]),
    "a local of a frame": _raised,
    "a local of a hidden frame": lambda: _raised("chained"),
    "a local within a list": lambda: _raised(argument=[{"authorization": f"Bearer {API_KEY}"}]),
    "base64, first place": lambda: base64.b64encode(PASSWORD.encode()).decode(),
    "base64, second place": lambda: base64.b64encode(b"x" + PASSWORD.encode()).decode(),
    "base64, third place": lambda: base64.b64encode(b"xy" + PASSWORD.encode()).decode(),
    "basic authentication": lambda: base64.b64encode(f"user:{PASSWORD}".encode()).decode(),
    "a percent-encoded text": lambda: quote(PASSWORD, safe=""),
    "hexadecimal": lambda: API_KEY.encode().hex(),
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_shows_a_secret(kind: str) -> None:
    search = Search()
    search.value("planted", VALUES[kind]())
    assert search.finds


@contextmanager
def _logging(search: Search) -> Iterator[logging.Logger]:
    log, handler = logging.getLogger("planted"), LoggedRecords(search)
    log.addHandler(handler)
    log.propagate = False
    try:
        yield log
    finally:
        log.removeHandler(handler)


@pytest.mark.parametrize(
    "write",
    [
        lambda log: log.warning(API_KEY),
        lambda log: log.warning("%s", API_KEY),
        lambda log: log.warning("%s", [API_KEY]),
        lambda log: log.warning("%.0s", API_KEY),
        lambda log: log.warning("x", extra={"headers": API_KEY}),
        lambda log: log.warning("x", exc_info=ValueError(API_KEY)),
        lambda log: log.warning("x", exc_info=_raised()),
    ],
    ids=["message", "argument", "list", "cut argument", "extra", "error", "frame of an error"],
)
def test_a_log_that_shows_a_secret(write: Callable[[logging.Logger], None]) -> None:
    search = Search()
    with _logging(search) as log:
        write(log)
    assert search.finds


def test_a_warning_that_shows_a_secret() -> None:
    for message, source in ((API_KEY, None), ("x", _Holder(API_KEY))):
        search = Search()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            warnings.warn(message, ResourceWarning, stacklevel=1, source=source)
        search_warnings(search, seen)
        assert search.finds


def test_a_request_that_has_a_secret_where_none_belongs() -> None:
    meant = {"authorization": {"key"}, "x-api-key": {"header"}}
    right = {"authorization": f"Bearer {API_KEY}", "accept": "*/*"}
    search = Search()
    search.request("well", "/v1", right, b"{}", meant)
    assert not search.finds
    for path, headers, body in (
        (f"/v1?key={API_KEY}", right, b""),
        ("/v1", right, API_KEY.encode()),
        ("/v1", {"referer": f"http://x/?{API_KEY}"}, b""),
        ("/v1", {"x-api-key": API_KEY}, b""),
        ("/v1", {"user-agent": API_KEY}, b""),
    ):
        search = Search()
        search.request("planted", path, headers, body, meant)
        assert search.finds


def test_a_file_that_holds_a_secret(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x00" + pickle.dumps(API_KEY))
    search = Search()
    search.files("planted", tmp_path)
    assert search.finds


def test_values_without_a_secret() -> None:
    secret = Secret(API_KEY)
    search = Search()
    for value in (
        secret,
        [secret],
        {"a": secret},
        _Holder(secret),
        None,
        1.5,
    ):
        search.value("clean", value)
    assert not search.finds


def test_finds_fail_and_are_counted() -> None:
    report, search = Report(), Search()
    search.finish(report)
    search.text("planted", API_KEY)
    search.text("planted", API_KEY)
    with pytest.raises(pytest.fail.Exception, match="1 secrets found"):
        search.finish(report)
    assert report.failings["secrets found"] == 1


def test_names_of_what_is_found() -> None:
    assert names_in(f"{API_KEY} and {PASSWORD}") == {"key", "password"}
