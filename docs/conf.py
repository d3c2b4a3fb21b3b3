"""How Sphinx makes the documentation: `make docs`, without the network.

Strategy: the pages of `reference/` say in which order things stand; what is said of them are the docstrings. The
names are public as `chatgpt.NAME`, though their homes are private modules, so this file teaches Sphinx four things:

1. What signatures have of private types and type variables is shown as what it means to a caller.
2. A word between backticks in a docstring is code, and a link where it is a public name, or one of the same class.
3. The attributes that a docstring lists have the types of the annotations, and stand there once.
4. The command, the magics, the tree of errors and the names that the twins share are made from the code.

Rules:

1. `-W` and `-n`: a reference, a link between pages or to a heading that leads nowhere fails the build. Links to other
   hosts are not followed: the build has no network.
2. No page loads anything of another host.
"""

# ruff: noqa: ARG001 - Sphinx calls the functions, and says with what

from __future__ import annotations

import argparse
import ast
import builtins
import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Final

import click
from docutils import nodes
from docutils.parsers.rst.states import Inliner
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata, stringify_annotation

import chatgpt
import chatgpt_async

logger = logging.getLogger(__name__)

project = "chatgpt-sdk"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
author = "The chatgpt-sdk authors"
version = release = chatgpt.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["**.ipynb_checkpoints"]
nitpicky = True
# What a session of the caller's own has to offer is said in the words of these packages, which have pages elsewhere.
nitpick_ignore_regex = [("py:class", r"(requests|httpx2)\..+")]

# Pages. Three levels of headings can be linked to, as GitHub names them.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
# Notebooks show the outputs that are in them: the tests execute them.
nb_execution_mode = "off"
# By default, scripts of two other hosts.
nb_ipywidgets_js: dict[str, dict[str, str]] = {}

# The reference.
default_role = "public"
autodoc_type_aliases = {"ArchivePath": "str | os.PathLike[str] | IO[bytes]"}  # a text itself
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring = False

# Options of a command begin with two dashes.
smartquotes = False

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False

PUBLIC_MODULES: Final = (
    "chatgpt",
    "chatgpt_async",
    "chatgpt.openai",
    "chatgpt.testing",
    "chatgpt.testing.store_contract",
    "chatgpt.notebook",
    "chatgpt_async.notebook",
)
"""Where public names are."""

PLAINER: Final = {
    " | ~collections.abc.Callable[[], ~chatgpt.core.messages.Usage]": "",
    " | tuple[~chatgpt.core.messages.TextBuffer, int]": "",
    " = NOTHING": " = ...",  # attrs makes it anew each time
    "~chatgpt.listing.ConversationListing": "~collections.abc.Iterator[~chatgpt.ConversationSummary]",
    "~chatgpt_async.listing.ConversationListing": "~collections.abc.AsyncIterator[~chatgpt.ConversationSummary]",
    "~chatgpt_async.stores.protocol.MessageStore | ~chatgpt.stores.protocol.MessageStore": (
        "~chatgpt_async.MessageStore | chatgpt.MessageStore"
    ),
    "~chatgpt.core.wire.web.MessageAuthor": "dict[str, object]",
    "~chatgpt.testing.web.ProxyOptions": "dict[str, str]",
    "~chatgpt.testing.web.SessionOptions": "dict[str, str]",
}
"""What private types in signatures are to a caller."""


# --- names -----------------------------------------------------------------------------------


def public_names(module_name: str) -> Sequence[str]:
    """The public names of a module."""
    if module_name == "chatgpt.testing.store_contract":
        return ["RULES", "StoreRule", "check"]
    names: Sequence[str] = import_module(module_name).__all__
    return names


@cache
def imports_of(module_name: str) -> dict[str, str]:
    """Where a module has its names from; those of a lazy one stand there for type checkers."""
    source = inspect.getsource(import_module(module_name))
    return {
        alias.name: node.module
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names
    }


def unlink_python(app: Sphinx, doctree: nodes.document) -> None:
    """Leave Python's own names as they are: there is no link to them without the network."""
    for node in list(doctree.findall(pending_xref)):
        first = node.get("reftarget", "").partition(".")[0]
        is_of_python = first in sys.stdlib_module_names or hasattr(builtins, first)
        if node.get("refdomain") == "py" and is_of_python and not node.get("is_word"):
            node.replace_self(node.children)


def leave_word(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.TextElement
) -> nodes.TextElement | None:
    """Leave a word of a docstring as it is where it is no name."""
    return shown if node.get("is_word") else None


def word(
    role: str,
    rawtext: str,
    text: str,
    lineno: int,
    inliner: Inliner,
    options: dict[str, Any] | None = None,
    content: Sequence[str] = (),
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """What stands between backticks in a docstring: code, and a link where it is a name."""
    shown = nodes.literal(rawtext, nodes.unescape(text), classes=["xref", "py"])
    name = text.partition("(")[0]
    if not re.fullmatch(r"[A-Za-z_][\w.]*", name):
        return [shown], []
    env = inliner.document.settings.env
    reference = pending_xref(
        rawtext,
        shown,
        refdomain="py",
        reftype="obj",
        reftarget=name,
        refexplicit=True,
        refdoc=env.docname,
        is_word=True,
    )
    reference["py:module"] = env.ref_context.get("py:module")
    reference["py:class"] = env.ref_context.get("py:class")
    return [reference], []


# --- docstrings ------------------------------------------------------------------------------


def rewrite(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Prepare a docstring for Napoleon."""
    if what == "data":
        lines[:] = comment_below(name)
    text = "\n".join(lines)
    if text.startswith("Method generated by attrs"):
        text = ""
    if inspect.isclass(value):
        listed = "".join(
            f"\n.. attribute:: {own}\n   :type: {shown}\n\n{textwrap.indent(said, '   ')}\n"
            for own, (shown, said) in attributes_of(value).items()
        )
        if typing.is_typeddict(value) and "Attributes:" not in text:
            text += "\nAttributes:\n    ...\n"
        text = re.sub(r"^Attributes:\n(?: .*\n?)+", lambda _: listed, text, flags=re.MULTILINE)
    elif what == "method":
        text += arguments_elsewhere(name, value)
    text = re.sub(r"`\w+\.__init__` describes the options\.", "The options stand below.", text)
    # Napoleon would take what stands before a colon for a type.
    text = re.sub(r"^Returns:\n +", ":returns: ", text, flags=re.MULTILINE)
    if what in ("property", "data"):
        text = f"\\ \n{text}"
    lines[:] = text.splitlines()


def arguments_elsewhere(name: str, method: object) -> str:
    """Where the arguments of a method are described that stands in the place of another one, and describes none."""
    owner, own = owner_of(name), name.rpartition(".")[2]
    is_described = "Args:" in (inspect.getdoc(method) or "")
    if owner is None or own not in vars(owner) or is_described or not inspect.isfunction(method):
        return ""
    bases = [
        base.__name__
        for base in owner.__mro__[1:]
        if own in vars(base) and base.__name__ in chatgpt.__all__
    ]
    has_arguments = len(inspect.signature(method).parameters) > 1
    return f"\n\nThe arguments are those of `{bases[0]}.{own}`." if bases and has_arguments else ""


def comment_below(name: str) -> list[str]:
    """The docstring that stands below a name in the module that defines it."""
    module_name, _, own = name.rpartition(".")
    analyzer = ModuleAnalyzer.for_module(imports_of(module_name).get(own, module_name))
    return list(analyzer.find_attr_docs().get(("", own), []))


def attributes_of(kind: type) -> dict[str, tuple[str, str]]:
    """What the section `Attributes:` of a class lists: its names, each with its type and what is said of it."""
    _, _, section = (inspect.getdoc(kind) or "").partition("\nAttributes:\n")
    found = {}
    for entry in re.findall(r"^    \S.*(?:\n {5}.*)*", section.partition("\n\n")[0], re.MULTILINE):
        name, _, said = entry.strip().partition(": ")
        typed = re.fullmatch(r"(\w+) \((.+)\)", name)
        for own in [typed[1]] if typed else name.split(", "):
            found[own] = typed[2] if typed else type_of(kind, own), re.sub(r"\n +", "\n", said)
    if not found and typing.is_typeddict(kind):  # one that refers to others for what its keys mean
        found = {own: (type_of(kind, own), "") for own in hints_of(kind)}
    return found


def type_of(kind: type, attribute: str) -> str:
    """The type of an attribute, as a signature would show it."""
    member = inspect.getattr_static(kind, attribute, None)
    if isinstance(member, property):
        annotation = hints_of(member.fget)["return"]
    else:
        known = {**hints_of(kind.__init__), **hints_of(kind)}  # type: ignore[misc] # of this very class
        if attribute not in known:
            logger.warning("%s.%s has no type: give one in its docstring", kind.__name__, attribute)
        annotation = known.get(attribute, object)
    return in_public(stringify_annotation(annotation, "smart"), kind)


@cache
def listed_properties() -> list[property]:
    """The properties that their classes list as attributes: they stand there, and nowhere else."""
    kinds = (
        value
        for module_name in PUBLIC_MODULES
        for name in public_names(module_name)
        if inspect.isclass(value := getattr(import_module(module_name), name))
    )
    members = (
        inspect.getattr_static(kind, name, None) for kind in kinds for name in attributes_of(kind)
    )
    return [member for member in members if isinstance(member, property)]


def is_listed(
    app: Sphinx, what: str, name: str, member: object, is_skipped: bool, options: object
) -> bool | None:
    """Leave out what stands among the attributes."""
    return True if any(member is each for each in listed_properties()) else None


def hints_of(value: object) -> dict[str, Any]:
    """The annotations of an object, with the names that its module imports for type checkers alone."""
    names = {name: getattr(chatgpt, name) for name in chatgpt.__all__}
    return typing.get_type_hints(value, None, names)


def plain_signature(
    app: Sphinx,
    what: str,
    name: str,
    value: object,
    options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None] | None:
    """A signature in the words of a caller; none where nobody calls it: classes that others make, protocols, errors."""
    if inspect.isclass(value):
        is_error = issubclass(value, BaseException) and "__init__" not in vars(value)
        is_protocol = vars(value).get("_is_protocol", False)
        if is_error or is_protocol or "Made by" in (inspect.getdoc(value) or ""):
            return "", None
    if signature is None and not returned:
        return None
    owner = value if inspect.isclass(value) else owner_of(name)
    return in_public(signature or "", owner), in_public(returned or "", owner)


def owner_of(name: str) -> type | None:
    """The class that a public name is a member of."""
    module_name, _, class_name = name.rpartition(".")[0].rpartition(".")
    found = getattr(sys.modules.get(module_name), class_name, None)
    return found if inspect.isclass(found) else None


def in_public(shown: str, owner: type | None) -> str:
    """A type or a signature in the words of a class that a caller knows."""
    for private, public in {**type_variables(owner), **PLAINER}.items():
        shown = shown.replace(private, public)
    return re.sub(r"<function \w+( at 0x\w+)?>", "...", shown)


def type_variables(owner: type | None) -> dict[str, str]:
    """What the variables of its generic bases mean in a class, as signatures show both."""
    found: dict[str, str] = {}
    for kind in reversed(owner.__mro__ if owner is not None else ()):
        for base in getattr(kind, "__orig_bases__", ()):
            origin = typing.get_origin(base)
            for variable, meant in zip(
                getattr(origin, "__parameters__", ()), typing.get_args(base), strict=False
            ):
                found[stringify_annotation(variable, "smart")] = stringify_annotation(
                    meant, "smart"
                )
    return found


# --- what is made from the code --------------------------------------------------------------


class SharedNames(SphinxDirective):
    """The names of `chatgpt_async` that are the same objects as in `chatgpt`."""

    def run(self) -> list[nodes.Node]:
        """Make a list that can be linked to."""
        shared = [name for name in chatgpt_async.__all__ if is_shared(name)]
        listed = self.parse_text_to_nodes(
            "\n".join(
                f"* `chatgpt_async.{name}`: the same as {{py:obj}}`chatgpt.{name}`"
                for name in shared
            )
        )
        python: Any = self.env.domains["py"]
        items = (item for each in listed for item in each.findall(nodes.list_item))
        for name, item in zip(shared, items, strict=True):
            item["ids"].append(f"chatgpt_async.{name}")
            python.note_object(f"chatgpt_async.{name}", "data", item["ids"][0], location=item)
        return listed


def is_shared(name: str) -> bool:
    """Whether a name is the same object in both twins."""
    return getattr(chatgpt, name) is getattr(chatgpt_async, name)


class ErrorTree(SphinxDirective):
    """The tree of errors, each with what it says."""

    def run(self) -> list[nodes.Node]:
        """Make nested lists."""
        return self.parse_text_to_nodes("\n".join(self.lines(chatgpt.ChatGPTError, "")))

    def lines(self, kind: type[Exception], indent: str) -> Iterator[str]:
        """The lines of an error and of those below it, in the order of their definition."""
        said, _, _ = (inspect.getdoc(kind) or "").partition("\n")
        others = [base.__name__ for base in kind.__bases__ if base.__module__ == "builtins"]
        also = f" (also `{others[-1]}`)" if others and others != ["Exception"] else ""
        yield f"{indent}* {{py:exc}}`~chatgpt.{kind.__name__}`{also}: {said}"
        for below in kind.__subclasses__():
            if below.__name__ in chatgpt.__all__:
                yield from self.lines(below, indent + "  ")


class Section(SphinxDirective):
    """A directive that makes sections of Markdown."""

    def section(self, title: str, text: Iterable[str]) -> nodes.Node:
        """A section."""
        section = nodes.section(ids=[nodes.make_id(title)], names=[title])
        section += nodes.title(title, title)
        section += self.parse_text_to_nodes("\n".join(text))
        return section

    def option(self, names: str, said: str) -> Iterator[str]:
        """The Markdown of an option, which can be linked to."""
        yield from (f":::{{option}} {names}", said, ":::", "")


class Command(Section):
    """The command line, from the declarations of click."""

    def run(self) -> list[nodes.Node]:
        """Make a section for each command; what begins with no command is `ask`."""
        from chatgpt.cli.commands import root

        context = click.Context(root, info_name="chatgpt", **root.context_settings)
        return [
            self.section("chatgpt", self.lines(root, context)),
            *(
                self.section(
                    f"chatgpt {name}", self.lines(command, click.Context(command, context, name))
                )
                for name, command in root.commands.items()
            ),
        ]

    def lines(self, command: click.Command, context: click.Context) -> Iterator[str]:
        """What a command says of itself."""
        usage = click.HelpFormatter(width=100)
        command.format_usage(context, usage)
        yield from ("```text", usage.getvalue().rstrip(), "```", "")
        for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
            is_kept = paragraph.startswith("\b\n")  # click's mark of lines that stay as they are
            yield from ["```text", paragraph[2:], "```", ""] if is_kept else [paragraph, ""]
        yield from (f":::{{program}} {context.command_path}", ":::", "")
        is_root = context.parent is None  # whose section tells of `--help`, for all
        for parameter in command.get_params(context) if is_root else command.params:
            record = parameter.get_help_record(context)
            if isinstance(parameter, click.Option) and record is not None:
                yield from self.option(*record)


class Magics(Section):
    """The magics of a notebook, from the declarations of argparse."""

    def run(self) -> list[nodes.Node]:
        """Make a section for each."""
        from chatgpt.notebook.magics import CHAT, CONFIG, ChatMagics

        return [
            self.section("%chat_config", self.lines("chat_config", CONFIG)),
            self.section("%%chat", self.lines("chat", CHAT)),
            self.section("%chat_tree", [inspect.getdoc(ChatMagics.chat_tree) or ""]),
        ]

    def lines(self, name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
        """What a magic says of itself."""
        yield from (str(parser.description), "", f":::{{program}} {name}", ":::", "")
        for action in parser._actions:  # noqa: SLF001 - argparse tells it in no other way
            value = f" {action.metavar or action.dest.upper()}" if action.nargs != 0 else ""
            names = ", ".join(f"{each}{value}" for each in action.option_strings)
            yield from self.option(names, action.help or "")


class ExitCodes(SphinxDirective):
    """The exit codes, and the errors that they are for."""

    def run(self) -> list[nodes.Node]:
        """Make a table."""
        from chatgpt.cli.exit_codes import EXIT_CODES

        rows = (
            f"| {code} | {meaning} | {', '.join(map(self.link, names))} |"
            for code, meaning, names in EXIT_CODES
        )
        return self.parse_text_to_nodes(
            "\n".join(["| code | what happened | errors |", "|---|---|---|", *rows])
        )

    def link(self, name: str) -> str:
        """An error, with a link if it is the SDK's."""
        return f"{{py:exc}}`~chatgpt.{name}`" if name in chatgpt.__all__ else f"`{name}`"


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connect the above."""
    pool = ModuleAnalyzer.for_module("chatgpt.base_pool")
    pool.analyze()
    pool.overloads.clear()  # its constructor has two for the sake of type checkers
    app.add_role("public", word)
    app.add_directive("shared-names", SharedNames)
    app.add_directive("error-tree", ErrorTree)
    app.add_directive("chatgpt-command", Command)
    app.add_directive("exit-codes", ExitCodes)
    app.add_directive("notebook-magics", Magics)
    app.connect("doctree-read", unlink_python)
    app.connect("missing-reference", leave_word)
    app.connect("autodoc-process-docstring", rewrite, priority=400)
    app.connect("autodoc-skip-member", is_listed)
    app.connect("autodoc-process-signature", plain_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
