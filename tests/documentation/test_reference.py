"""Every public name is in the reference, and its docstring says what a caller has to know.

Strategy: the inventory of the built pages tells what is in the reference; the docstrings are read by
`tests.documentation.docstrings`.

Rules of a docstring:

1. Each parameter, attribute and key is described, or the docstring refers to one that does, by name: "The options are
   those of `ChatGPTAPI.send_message`".
2. A number has a unit: seconds, tokens, bytes, a count; a moment has a time zone.
3. A parameter that may be left out as `None` says what happens then.
4. What may raise says what, in `Raises:`, or refers to one that does.
"""

from __future__ import annotations

import inspect
import re
import typing
import zlib
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from importlib import import_module
from typing import Final

import pytest

import chatgpt
from tests.documentation.conftest import Build
from tests.documentation.docstrings import (
    MODULES,
    Public,
    described,
    errors,
    everything,
    may_raise,
    public_names,
    section,
    with_references,
)

ANSWERS: Final = {
    f"{twin}.ChatGPTSessionAPI.get_is_authenticated" for twin in ("chatgpt", "chatgpt_async")
}
"""What answers with the error that it met."""

UNITS: Final = {
    float: r"\bseconds?\b|\bfrom -?\d+ to \d+\b",
    int: r"\btokens?\b|\bbytes?\b|\bseconds\b|\bhow (many|often)\b|\bHTTP status\b|\bport\b|\bnumber\b",
    datetime: r"\bUTC\b|\btime zone\b",
}
"""What the description of a value of a type has to say."""

UNITS_BY_NAME: Final = {
    r"timeout|seconds|delay|pause|cooldown|ttl|time_to_live|retry_after|stay_open": r"\bseconds?\b",
    r"tokens$": r"\btokens?\b|\btoken_counts\b",
    r"bytes$": r"\bbytes?\b",
}
"""What the description of a value of a name has to say."""

LEFT_OUT: Final = r"\bdefault\b|`None`|\bwithout\b"
"""How a description says what is done without a value."""


def inventory(built: Build) -> set[str]:
    """The names that the built reference has."""
    data = (built.html / "objects.inv").read_bytes()
    lines = zlib.decompress(data.split(b"\n", 4)[4]).decode().splitlines()
    return {line.split(" ")[0] for line in lines if line.split(" ")[1].startswith("py:")}


@pytest.mark.parametrize("module_name", MODULES)
def test_every_public_name_is_in_the_reference(built: Build, module_name: str) -> None:
    names = {f"{module_name}.{name}" for name in public_names(module_name)}
    assert names - inventory(built) == set()


def test_every_public_member_is_in_the_reference(built: Build) -> None:
    assert everything().keys() - inventory(built) == set()


def test_every_attribute_is_in_the_reference(built: Build) -> None:
    names = {
        f"{public.name}.{attribute}"
        for public in everything().values()
        for attribute in public.attributes()
    }
    assert names - inventory(built) == set()


def test_everything_has_a_docstring() -> None:
    assert [name for name, public in everything().items() if not public.docstring] == []


def test_every_other_name_is_explained(built: Build) -> None:
    everybody = (f"{module}.{name}" for module in MODULES for name in public_names(module))
    others = {name for name in everybody if name not in everything() and not is_shared(name)}
    pages = "".join(page.read_text("utf-8") for page in (built.html / "reference").glob("*.html"))
    said = dict(
        re.findall(r'id="([\w.]+)">(?:(?!</dt>).)*</dt>\s*<dd><p>(.+?)</p>', pages, re.DOTALL)
    )
    assert {name for name in others if said.get(name, "alias of").startswith("alias of")} == set()


def test_signatures_are_in_public_words(built: Build) -> None:
    pages = "".join(page.read_text("utf-8") for page in (built.html / "reference").glob("*.html"))
    signatures = re.findall(r'<dt class="sig [^>]*>(.*?)</dt>', pages, re.DOTALL)
    texts = [re.sub(r"<[^>]+>", "", each) for each in signatures]
    assert len(texts) > len(everything())
    private = (
        r"~|&lt;(?!\|)|chatgpt(_async)?\.(?!testing\b|openai\b|notebook\b|pytest_plugin\b)[a-z_]+\."
    )
    assert [each for each in texts if re.search(private, each)] == []


def is_shared(name: str) -> bool:
    """Whether a name is the same as in `chatgpt`, or is a module: a line of the reference links to it."""
    module_name, _, own = name.rpartition(".")
    value = getattr(import_module(module_name), own)
    is_same = module_name == "chatgpt_async" and value is getattr(chatgpt, own)
    return is_same or inspect.ismodule(value) or value is chatgpt.ChatMessage


def test_references_lead_somewhere() -> None:
    for public in everything().values():
        assert list(with_references(public))


def test_every_parameter_and_attribute_is_described() -> None:
    assert (
        not_empty(
            (name, {*public.parameters(), *public.attributes()} - described(public).keys())
            for name, public in everything().items()
        )
        == {}
    )


def test_what_is_described_exists() -> None:
    assert (
        not_empty(
            (name, section(public.docstring, "Args").keys() - {*public.parameters()})
            for name, public in everything().items()
        )
        == {}
    )


def test_a_number_has_a_unit() -> None:
    assert not_empty((name, without_unit(public)) for name, public in everything().items()) == {}


def without_unit(public: Public) -> dict[str, str]:
    """What it describes itself, without a unit."""
    own = section(public.docstring, "Args") | section(public.docstring, "Attributes")
    return {
        name: said
        for name, said in own.items()
        for unit in units_of(name, public.type_of(name))
        if not re.search(unit, said)
    }


def units_of(name: str, annotation: object) -> Iterator[str]:
    """What has to be said of a value, by its type and by its name."""
    kinds = typing.get_args(annotation) or (annotation,)
    yield from (unit for kind, unit in UNITS.items() if kind in kinds)
    yield from (unit for names, unit in UNITS_BY_NAME.items() if re.search(names, name))


def test_it_is_said_what_is_done_without_an_option() -> None:
    assert not_empty((name, unexplained(public)) for name, public in everything().items()) == {}


def unexplained(public: Public) -> dict[str, str]:
    """The options that may be `None`, and do not say what happens then."""
    parameters = inspect.signature(public.function).parameters if public.parameters() else {}
    return {
        name: said
        for name, said in section(public.docstring, "Args").items()
        if parameters[name].default is None and not re.search(LEFT_OUT, said)
    }


def test_what_may_raise_says_so() -> None:
    assert [
        name
        for name, public in everything().items()
        if may_raise(public) and not errors(public) and name not in ANSWERS
    ] == []


def not_empty(found: Iterable[tuple[str, Collection[str]]]) -> dict[str, Collection[str]]:
    """Of what was found, that which is something."""
    return {name: each for name, each in found if each}
