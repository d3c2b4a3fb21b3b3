"""`chatgpt serve`: the embedded server, for other programs."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import click

from chatgpt.cli.exit_codes import say
from chatgpt.testing import DEFAULT_API_KEY, ChatGPTServer


def serve(*, port: int, is_any_key: bool, replies: Sequence[str]) -> None:
    """Serve until interrupted; the first line on standard output is the base URL."""
    key = None if is_any_key else DEFAULT_API_KEY
    try:
        made = ChatGPTServer(replies or None, api_key=key, port=port)
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error.strerror}") from None
    with made as server:
        click.echo(server.base_url)
        environment = f"OPENAI_BASE_URL={server.base_url}" + (
            f" OPENAI_API_KEY={key}" if key else ""
        )
        say(f"listening; Ctrl-C ends it. For clients: export {environment}")
        threading.Event().wait()
