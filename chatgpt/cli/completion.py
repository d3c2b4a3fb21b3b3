"""`chatgpt completion`: click's own script for a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


def print_script(root: click.Command, shell: str) -> None:
    """Print the completion script of a shell that click knows."""
    completion = get_completion_class(shell)
    assert completion is not None, "its name was one of a choice"
    click.echo(completion(root, {}, "chatgpt", "_CHATGPT_COMPLETE").source())
