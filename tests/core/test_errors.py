from __future__ import annotations

import pickle

import pytest

from chatgpt.core import errors

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.ChatGPTError)
]
ATTRIBUTES = [
    "message",
    "status_code",
    "status_text",
    "code",
    "param",
    "type",
    "body",
    "request_id",
    "retry_after",
    "partial",
    "is_final",
    "account_id",
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_every_attribute(kind: type[errors.ChatGPTError]) -> None:
    error = kind("What happened.")
    assert str(error) == error.message == "What happened."
    assert [getattr(error, name) for name in ATTRIBUTES[1:]] == [None] * (len(ATTRIBUTES) - 1)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_pickles(kind: type[errors.ChatGPTError]) -> None:
    error = kind(
        "What happened.",
        status_code=418,
        code="teapot",
        body={"a": [1]},
        partial="Hel",
        retry_after=1.5,
    )
    restored = pickle.loads(pickle.dumps(error))
    assert type(restored) is kind
    assert {name: getattr(restored, name) for name in ATTRIBUTES} == {
        name: getattr(error, name) for name in ATTRIBUTES
    }
    assert str(restored) == "What happened."


def test_what_is_specific_to_an_error_pickles_too() -> None:
    error = errors.APITimeoutError("Too late.")
    error.limit = "idle"
    assert pickle.loads(pickle.dumps(error)).limit == "idle"


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ConfigurationError, ValueError),
        (errors.MessageNotFoundError, LookupError),
        (errors.PromptTooLongError, ValueError),
        (errors.APITimeoutError, TimeoutError),
    ],
)
def test_errors_that_are_builtin_ones_too(kind: type, builtin: type) -> None:
    assert issubclass(kind, builtin)


def test_the_drawing_shows_the_tree() -> None:
    """Each class stands in the module's drawing, below its parent and further to the right."""
    lines = (errors.__doc__ or "").splitlines()
    place = {
        line.split()[0]: (number, len(line) - len(line.lstrip()))
        for number, line in enumerate(lines)
        if line.strip()
    }
    for kind in CLASSES:
        if kind is errors.ChatGPTError:
            continue
        number, column = place[kind.__name__]
        parent_number, parent_column = place[kind.__bases__[0].__name__]
        assert number > parent_number
        assert column == parent_column + 2
