"""The options that several commands share: how a client is made, and which conversation is meant.

The words of the original's command are kept, but for `--timeout`, which is in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict, TypeVar

import click

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

DEBUG: str = "chatgpt.cli.debug"
"""Where a context notes that `--debug` was given."""


class ClientOptions(TypedDict):
    """How a client is made.

    Attributes:
        model, host, api_key, api_org, system: as given; `None` for the SDK's own.
        timeout: seconds.
        params: further fields of the request.
        is_web: whether it is the web flow's.
        is_debugging: whether the log of the SDK goes to standard error.
    """

    model: str | None
    host: str | None
    api_key: str | None
    api_org: str | None
    system: str | None
    timeout: float | None
    params: Sequence[tuple[str, object]]
    is_web: bool
    is_debugging: bool


class KeyValue(click.ParamType[tuple[str, object]]):
    """`key=value`, the value as JSON where it is some, and as text otherwise."""

    name = "key=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, object]:
        """Make a pair of the text of an option."""
        key, equals, text = str(value).partition("=")
        if not equals or not key.strip():
            self.fail(f"{value!r} is no key=value, such as temperature=0.2", param, ctx)
        import json

        try:
            return key.strip(), json.loads(text)
        except ValueError:
            return key.strip(), text


def _note_debugging(context: click.Context, _: click.Parameter, value: bool) -> bool:
    context.meta[DEBUG] = value
    return value


def _debug_option(*, is_told: bool) -> Callable[[FunctionT], FunctionT]:
    return click.option(
        "-d",
        "--debug",
        "is_debugging",
        is_flag=True,
        is_eager=True,
        expose_value=is_told,
        callback=_note_debugging,
        help="Log to standard error, and show the traceback of an error.",
    )


debug_option = _debug_option(is_told=False)
"""`--debug` of a command that makes no client."""

json_option = click.option("--json", "is_json", is_flag=True, help="Print JSON.")


def client_options(command: FunctionT) -> FunctionT:
    """Give a command the options that make a client (`ClientOptions`)."""
    options = (
        click.option("-m", "--model", metavar="NAME", help="The model.  [OPENAI_MODEL]"),
        click.option("--system", metavar="TEXT", help="The instructions; '' for none."),
        click.option(
            "-p",
            "--param",
            "params",
            type=KeyValue(),
            multiple=True,
            metavar="KEY=VALUE",
            help="A further field of the request, such as temperature=0.2.",
        ),
        click.option(
            "-t",
            "--timeout",
            type=float,
            metavar="SECONDS",
            help="For the whole answer.  [600]",
        ),
        click.option(
            "-k",
            "--api-key",
            metavar="KEY",
            help="Better in the environment, which no list of processes shows.  [OPENAI_API_KEY]",
        ),
        click.option("-o", "--api-org", metavar="ID", help="[OPENAI_ORG_ID]"),
        click.option("--host", metavar="URL", help="Another server.  [OPENAI_BASE_URL]"),
        click.option(
            "--web",
            "is_web",
            is_flag=True,
            help="ChatGPT's own backend (unofficial), with OPENAI_ACCESS_TOKEN.",
        ),
        _debug_option(is_told=True),
    )
    for option in reversed(options):
        command = option(command)
    return command


def complete_conversation(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """The names of conversations that begin so, for the shell."""
    from chatgpt.cli.kept import names_beginning_with

    return names_beginning_with(incomplete)


conversation_argument = click.argument(
    "conversation", metavar="[CONVERSATION]", required=False, shell_complete=complete_conversation
)
"""A conversation by its name or the beginning of its id; by default the one last used."""
