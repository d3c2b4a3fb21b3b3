"""The options that several commands share: how a client is made, and which conversation is meant.

The options of the npm package's command are kept as they are, but for `--timeout`, which is in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypedDict, TypeVar

import click

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

DEBUG: Final = "chatgpt.cli.debug"
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


class TalkOptions(ClientOptions):
    """Which conversation is meant, and how its client is made.

    Attributes:
        is_continued: whether one that is there goes on: the one of `name`, or else the one last used.
        name: the name of one that goes on, or begins; with `is_continued` also the beginning of an id.
        is_stored: whether it is kept.
    """

    is_continued: bool
    name: str | None
    is_stored: bool


def key_value(given: str) -> tuple[str, object]:
    """Part `key=value`: the value is taken as JSON where it is some, else as text."""
    import json

    key, equals, text = given.partition("=")
    if not equals or not key.strip():
        raise click.BadParameter(f"{given!r} is no KEY=VALUE, such as temperature=0.2")
    if key.strip() in ("messages", "prompt", "stream"):
        raise click.BadParameter(f"{key.strip()} is the command's own (--stream)")
    try:
        return key.strip(), json.loads(text)
    except (ValueError, RecursionError):
        return key.strip(), text


def complete_conversation(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """The names of conversations that begin so, for the shell."""
    from chatgpt.cli.conversation_store import labels_beginning_with

    return labels_beginning_with(incomplete)


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
        help="Log to standard error; show the traceback of an error.",
    )


debug_option = _debug_option(is_told=False)
"""`--debug` of a command that makes no client."""

raw_option = click.option(
    "--raw", "is_raw", is_flag=True, help="Print text as it is, not as Markdown."
)
json_lines_option = click.option(
    "--json", "is_json", is_flag=True, help="Print JSON Lines: an object for each."
)
limit_option = click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="How many, at most.",
)
sure_option = click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")

conversation_argument = click.argument(
    "conversation", metavar="[CONVERSATION]", required=False, shell_complete=complete_conversation
)
"""A conversation by its name or the beginning of its id; by default the one last used."""


def _all_of(
    options: Sequence[Callable[[FunctionT], FunctionT]],
) -> Callable[[FunctionT], FunctionT]:
    def give(command: FunctionT) -> FunctionT:
        for option in reversed(options):
            command = option(command)
        return command

    return give


client_options: Final = _all_of(
    (
        click.option("-m", "--model", metavar="NAME", help="The model.  [env: OPENAI_MODEL]"),
        click.option(
            "--system", metavar="TEXT", help="The instructions of this call; '' for none."
        ),
        click.option(
            "-p",
            "--param",
            "params",
            type=key_value,
            multiple=True,
            metavar="KEY=VALUE",
            help="A further field of the request, such as temperature=0.2.",
        ),
        click.option(
            "-t",
            "--timeout",
            type=float,
            metavar="SECONDS",
            help="For the whole answer.  [default: 600]",
        ),
        click.option(
            "-k",
            "--api-key",
            metavar="KEY",
            help="Better in the environment: lists of processes show arguments.  [env: OPENAI_API_KEY]",
        ),
        click.option(
            "-o", "--api-org", metavar="ID", help="The organization.  [env: OPENAI_ORG_ID]"
        ),
        click.option("--host", metavar="URL", help="Another server.  [env: OPENAI_BASE_URL]"),
        click.option(
            "--web",
            "is_web",
            is_flag=True,
            help="ChatGPT's own backend (unofficial); --host is a reverse proxy.  [env: OPENAI_ACCESS_TOKEN]",
        ),
        _debug_option(is_told=True),
    )
)
"""Gives a command the options that make a client (`ClientOptions`)."""

talk_options: Final = _all_of(
    (
        click.option(
            "-c",
            "--continue",
            "is_continued",
            is_flag=True,
            help="Go on with the conversation last used; with -n, with that one, by name or id.",
        ),
        click.option(
            "-n",
            "--conversation-name",
            "name",
            metavar="NAME",
            shell_complete=complete_conversation,
            help="Go on with the conversation of that name, or begin it.",
        ),
        click.option(
            "--store/--no-store",
            "is_stored",
            default=True,
            show_default=True,
            help="Keep the conversation.",
        ),
        client_options,
    )
)
"""Gives a command the options of a conversation (`TalkOptions`)."""
