"""Every name in the tables of `docs/coming-from` that is said to be ours is one.

Strategy: what stands between backticks in a column "here" is read as Python, and each name in it is looked up in the
package. So an option, a method or an attribute that is renamed fails here.

Rules:

1. `name=...` alone is a keyword of the call that the head of the column names (`here: ChatGPTAPI`); where it names none,
   of a client or of one of its calls.
2. A variable stands for an object of ours (`OBJECTS`), and what is asked of it is looked up step by step, through the
   annotations: `reply.usage.estimated`.
3. Words of the command line (`chatgpt list`, `-c`, `--yes`, `/undo`) are those of the command; capitals are variables of
   the environment that the package reads.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import pytest

import chatgpt
from chatgpt.cli.chat_commands import COMMANDS
from chatgpt.cli.commands import root

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted((ROOT / "docs" / "coming-from").glob("*.md"))

OBJECTS: Final[dict[str, type]] = {
    "chat": chatgpt.Conversation,
    "client": chatgpt.ChatGPTAPI,
    "part": chatgpt.ChatMessage,
    "reply": chatgpt.ChatMessage,
    "store": chatgpt.SQLiteStore,
    "stream": chatgpt.MessageStream,
    "web": chatgpt.ChatGPTSessionAPI,
}
"""What the variables of the pages are. `error` is any of ours: an attribute of the error named beside it."""

WORDS: Final = {"with", "await", "chatgpt_async", "httpx2.AsyncClient", "requests.Session"}
"""What is neither a name of ours nor one that is looked up."""


# --- reading the pages -----------------------------------------------------------------------


def ours(page: str) -> Iterator[tuple[str, str, str]]:
    """What a page says is ours: the name that the head of the column gives, the whole cell, and the code in it."""
    heads: list[str] = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        if not cells:
            heads = []
        elif not heads:
            heads = cells
        elif not set(line) <= set("|-: "):
            for head, cell in zip(heads, cells, strict=True):
                if head.startswith("here"):
                    owner = re.sub(r"here:? ?|`", "", head)
                    for code in re.findall(r"`([^`]+)`", cell):
                        yield owner, cell, code


# --- looking names up ------------------------------------------------------------------------


def check(code: str, owner: str, cell: str) -> None:
    """Look up whatever a piece of code names.

    Raises:
        LookupError: there is no such thing.
    """
    if code in WORDS:
        return
    if code.startswith(("chatgpt ", "-", "/")):
        check_command(code)
    elif re.fullmatch(r"[A-Z][A-Z_]+", code):
        check_variable(code)
    elif re.match(r"\w+=[^=]", code):
        check_keyword(ast.parse(f"call({code})", mode="eval").body, owner)
    else:
        check_expression(ast.parse(code, mode="eval").body, cell)


def check_command(code: str) -> None:
    """Look up a command line, an option, or a command of the chat."""
    names = set(COMMANDS)
    for command in (root, *root.commands.values()):
        names.update([command.name or "", *(o for p in command.params for o in options_of(p))])
    for word in code.removeprefix("chatgpt ").split():
        if not word.startswith('"') and word not in names:
            raise LookupError(word)


def options_of(parameter: click.Parameter) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts]


def check_variable(name: str) -> None:
    """Look up a variable of the environment."""
    if not any(f'"{name}"' in file.read_text() for file in (ROOT / "chatgpt").rglob("*.py")):
        raise LookupError(name)


def check_keyword(call: ast.expr, owner: str) -> None:
    """Look up keywords of a call that the head of the column names."""
    assert isinstance(call, ast.Call)
    client = chatgpt.ChatGPTAPI
    calls: list[object] = [client, client.send_message, client.conversation]
    if owner:
        class_name, _, method = owner.partition(".")
        kind = getattr(chatgpt, class_name)
        calls = [getattr(kind, method)] if method else [kind, kind.send_message]
    for keyword in call.keywords:
        if not any(keyword.arg in parameters(function) for function in calls):
            raise LookupError(keyword.arg)


def check_expression(code: ast.expr, cell: str) -> None:
    """Look up the names of an expression."""
    match code:
        case ast.Name(name):
            value = getattr(chatgpt, name, None) or getattr(builtins, name, None)
            if value is None:
                raise LookupError(name)
        case ast.Call(function, _, keywords):
            check_expression(function, cell)
            for keyword in keywords:
                if keyword.arg not in parameters(value_of(function)):
                    raise LookupError(keyword.arg)
        case ast.Attribute(ast.Name("error"), name):
            named = [getattr(chatgpt, each, None) for each in re.findall(r"\w+Error\b", cell)]
            errors = [*filter(inspect.isclass, named), chatgpt.ChatGPTError]
            if not any(has_attribute(each, name) for each in errors):
                raise LookupError(name)
        case ast.Attribute():
            value_of(code)
        case ast.Constant():
            pass
        case _:
            raise LookupError(ast.unparse(code))


def value_of(code: ast.expr) -> Any:
    """What an expression stands for: a class or a function of ours, or the type of an object."""
    match code:
        case ast.Name(name):
            return OBJECTS.get(name) or getattr(chatgpt, name)
        case ast.Attribute(owner, name):
            kind = value_of(owner)
            if not has_attribute(kind, name):
                raise LookupError(ast.unparse(code))
            member = inspect.getattr_static(kind, name, None)
            getter = member.fget if isinstance(member, property) else None
            if getter is None and inspect.isfunction(member):
                return member
            return class_of(typing.get_type_hints(getter or kind).get("return" if getter else name))
    raise LookupError(ast.unparse(code))


def class_of(annotation: object) -> object:
    """The class of `X | None`."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        kinds = [kind for kind in typing.get_args(annotation) if kind is not types.NoneType]
        return kinds[0]
    return annotation


def has_attribute(kind: type, name: str) -> bool:
    annotated = any(name in vars(each).get("__annotations__", {}) for each in kind.__mro__)
    return annotated or hasattr(kind, name)


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


# --- the tests -------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_name_of_ours_exists(page: Path) -> None:
    found = list(ours(page.read_text()))
    assert len(found) > 50
    unknown = []
    for owner, cell, code in found:
        try:
            check(code, owner, cell)
        except (LookupError, AttributeError, SyntaxError) as problem:
            unknown.append(f"{code}: {type(problem).__name__} {problem}")
    assert not unknown


@pytest.mark.parametrize(
    "code",
    [
        "api_keys=...",
        "ChatGPTAPIs",
        "ChatGPTAPI(apikey=...)",
        "client.ask()",
        "client.conversation(system=...)",
        "reply.texts",
        "reply.usage.tokens",
        "error.partials",
        "error.tokens",
        "OPENAI_KEY",
        "chatgpt lists",
        "--forever",
        "/redo",
        "web.send_message(system_message=...)",
    ],
)
def test_a_name_that_is_not_ours_is_found(code: str) -> None:
    with pytest.raises((LookupError, AttributeError)):
        check(code, "", f"`{code}`")


def test_a_keyword_is_one_of_the_call_that_the_column_names() -> None:
    check("session_token=...", "ChatGPTSessionAPI", "")
    check("parent_message_id=...", "ChatGPTAPI.send_message", "")
    with pytest.raises(LookupError):
        check("session_token=...", "ChatGPTAPI", "")
    with pytest.raises(LookupError):
        check("max_retries=2", "ChatGPTAPI.send_message", "")


def test_an_attribute_of_an_error_is_one_of_the_error_beside_it() -> None:
    check("error.limit", "", "`APITimeoutError`; `error.limit`")
    with pytest.raises(LookupError):
        check("error.limit", "", "`StreamError`; `error.limit`")
