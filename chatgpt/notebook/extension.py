"""`%load_ext chatgpt`: the magics come, and go."""

from __future__ import annotations

from typing import Final

from IPython.core.interactiveshell import InteractiveShell

from chatgpt.notebook.completion import matcher_of_magics
from chatgpt.notebook.magics import ChatMagics

NAMES: Final = {"line": ("chat_config", "chat_tree"), "cell": ("chat",)}


def load(shell: InteractiveShell) -> None:
    """Add the magics to a shell."""
    magics = ChatMagics(shell)
    shell.register_magics(magics)
    magics.matcher = matcher_of_magics(shell, magics)
    shell.Completer.custom_matchers.append(magics.matcher)


def unload(shell: InteractiveShell) -> None:
    """Take the magics away, and close their client."""
    magics = shell.magics_manager.registry.pop(ChatMagics.__name__)
    shell.Completer.custom_matchers.remove(magics.matcher)
    magics.close()
    for kind, names in NAMES.items():
        for name in names:
            del shell.magics_manager.magics[kind][name]
