"""From the options of a command to a client."""

from __future__ import annotations

from typing import TypedDict

import click

from chatgpt import ChatGPTAPI, ChatGPTUnofficialProxyAPI, MessageStore
from chatgpt.cli.client_options import ClientOptions


def official_client(options: ClientOptions, store: MessageStore | None = None) -> ChatGPTAPI:
    """The client of the official flow.

    Raises:
        ConfigurationError: an option is wrong, or the key is missing.
    """
    _check_host(options)
    return ChatGPTAPI(
        api_key=options["api_key"],
        api_org=options["api_org"],
        api_base_url=options["host"],
        model=options["model"],
        system_message=options["system"],
        completion_params=dict(options["params"]),
        message_store=store,
        debug=options["is_debugging"],
        **_limits(options),
    )


def web_client(options: ClientOptions) -> ChatGPTUnofficialProxyAPI:
    """The client of the web flow.

    Raises:
        click.UsageError: an option is the official flow's.
        ConfigurationError: an option is wrong, or the token is missing.
    """
    useless = {
        "--system": options["system"],
        "--param": options["params"],
        "--api-key": options["api_key"],
        "--api-org": options["api_org"],
    }
    for option, value in useless.items():
        if value:
            raise click.UsageError(f"{option} is for the official flow: leave it out, or --web.")
    _check_host(options)
    return ChatGPTUnofficialProxyAPI(
        api_reverse_proxy_url=options["host"],
        model=options["model"],
        debug=options["is_debugging"],
        **_limits(options),
    )


def _check_host(options: ClientOptions) -> None:
    if options["host"] is not None and not options["host"].strip():
        raise click.UsageError("--host is empty: give a URL, or leave it out.")


class _Limits(TypedDict, total=False):
    timeout: float


def _limits(options: ClientOptions) -> _Limits:
    return {} if options["timeout"] is None else {"timeout": options["timeout"]}
