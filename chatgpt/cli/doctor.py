"""`chatgpt doctor`: is everything there that a conversation needs?

Rules:

1. Every check is made, whatever the ones before it found. The exit code is 0 where all is well, else 1.
2. No secret is shown: of a key, where it comes from and how long it is.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Final, TypeAlias, Unpack

import click
from rich.text import Text

from chatgpt import ChatGPTAPI, ChatGPTUnofficialProxyAPI, Secret, SQLiteStore
from chatgpt.cli.client_options import ClientOptions
from chatgpt.cli.clients import official_client, web_client
from chatgpt.cli.conversation_store import store_file
from chatgpt.cli.exit_codes import line_of
from chatgpt.cli.terminal import console, counted, harmless

Client: TypeAlias = ChatGPTAPI | ChatGPTUnofficialProxyAPI

PACKAGES: Final = (
    "requests",
    "urllib3",
    "tiktoken",
    "click",
    "platformdirs",
    "rich",
    "httpx2",
    "anyio",
    "redis",
    "ijson",
)
PROMPT: Final = "Say OK."
"""What a round trip asks."""


def examine(*, is_offline: bool, **options: Unpack[ClientOptions]) -> None:
    """Make all checks, and print what they found.

    Raises:
        click.exceptions.Exit: with code 1, where something is wrong.
    """
    results = [_check("versions", _versions), _check("store", _store)]
    with ExitStack() as stack:
        clients: list[Client] = []

        def make_client() -> str:
            if options["is_web"]:
                web = stack.enter_context(web_client(options))
                clients.append(web)
                return f"{web.model}, access token {_described(web.access_token, None)}"
            official = stack.enter_context(official_client(options))
            clients.append(official)
            return f"{official.model}, key {_described(official.api_key, options['api_key'])}"

        results.append(_check("client", make_client))
        for client in clients:
            results.append(_check("route", partial(_route, client)))
            if not is_offline:
                results.append(_check("round trip", partial(_round_trip, client)))
    if not all(results):
        raise click.exceptions.Exit(1)


def _check(name: str, examined: Callable[[], str]) -> bool:
    """Make a check, and print what it found; whether that is well."""
    try:
        found, mark, style = examined(), "ok", "green"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
        found, mark, style = line_of(error), "FAIL", "red"
    line = Text(f"{mark:4}  ", style).append(f"{name:10}  ", "bold").append(harmless(found), "none")
    console().print(line, soft_wrap=True)
    return mark == "ok"


def _versions() -> str:
    found = [
        f"chatgpt-sdk {version('chatgpt-sdk')}",
        f"Python {platform.python_version()}",
        platform.platform(),
    ]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
    return ", ".join(found)


def _store() -> str:
    file = store_file()
    if not file.exists():
        return f"none yet; it will be {file}"
    with SQLiteStore(file) as store:
        store.save([])  # whether it can be written
        store.search(PROMPT, limit=1)  # and its index be read
        conversations = len(store.conversations())
        unreadable = sum(1 for _ in store.unreadable_messages())
    if unreadable:
        raise click.ClickException(f"{file}: {counted(unreadable, 'message')} cannot be read")
    return f"{file}: {counted(conversations, 'conversation')}"


def _described(secret: Secret | None, given: str | None) -> str:
    """Where a secret comes from, and how long it is; nothing else of it."""
    if secret is None:
        return "not there, and not needed by a server on this machine"
    origin = secret.variable if given is None else "the command line"
    return f"from {origin}, {len(secret.reveal())} characters"


def _route(client: Client) -> str:
    route = client.route()
    through = f"through {route.proxy}" if route.proxy else "directly"
    trusted = f", certificates of {route.certificates}" if route.certificates else ""
    return f"{through} to {route.url}{trusted}"


def _round_trip(client: Client) -> str:
    begun = perf_counter()
    reply = client.send_message(PROMPT)
    seconds = perf_counter() - begun
    return f"{' '.join(reply.text.split())[:60]!r} from {reply.model} in {seconds:.2f} s"
