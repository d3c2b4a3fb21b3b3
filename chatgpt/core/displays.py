"""Values as a notebook shows them: small tables, and the tree of a conversation, in HTML.

Rules:

1. Whatever comes from outside, a model's words among it, is escaped.
2. No colours and no scripts: a notebook has its theme, and a page that shows a notebook may run nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatgpt.core.messages import ContextReport, Usage
    from chatgpt.core.trees import ConversationTree, TreeRow

STEP: int = 2
"""How far to the right a branch is shown, in `em`."""


def usage_in_html(usage: Usage) -> str:
    """The tokens of an exchange, as a table."""
    return _table(
        "tokens, counted here" if usage.estimated else "tokens",
        (
            ("prompt", usage.prompt_tokens),
            ("of it cached", usage.cached_tokens),
            ("reply", usage.completion_tokens),
            ("of it reasoning", usage.reasoning_tokens),
            ("together", usage.total_tokens),
        ),
    )


def context_in_html(context: ContextReport) -> str:
    """What was sent for a reply, and what was left out, as a table."""
    reason = {"window": " (they did not fit)", None: ""}[context.left_out_reason]
    changes = ", ".join(
        f"{change.parameter} {change.change}{' (the server said so)' if change.is_learned else ''}"
        for change in context.changes
    )
    return _table(
        "what was sent",
        (
            ("messages", context.message_count),
            ("left out", f"{context.left_out:,}{reason}"),
            ("prompt", f"{context.prompt_tokens:,} tokens ({context.counting})"),
            ("room for the prompt", _tokens(context.prompt_limit)),
            ("kept free for the reply", _tokens(context.reserved_tokens)),
            ("missing before it", context.missing_message_id),
            ("unreadable", ", ".join(context.unreadable_message_ids) or None),
            ("otherwise than asked for", changes or None),
        ),
    )


def tree_in_html(tree: ConversationTree) -> str:
    """A conversation with its branches: a line for each message, which a click opens."""
    ids = tree.ids()
    return f"<div>{''.join(_line(row, ids[row.message.id]) for row in tree.rows())}</div>"


def _line(row: TreeRow, shown_id: str) -> str:
    mark = "<b>*</b> " if row.is_here else ""
    said = f"<b>{escape(row.speaker)}:</b> {escape(row.beginning)}"
    border = "border-left: 2px solid; padding-left: 0.5em; " if row.depth else ""
    return (
        f'<details style="{border}margin-left: {row.depth * STEP}em">'
        f"<summary>{mark}<code>{escape(shown_id)}</code> {said}</summary>"
        f'<div style="white-space: pre-wrap; margin-left: 1em">{escape(row.message.text)}</div></details>'
    )


def _tokens(number: int | None) -> str | None:
    return None if number is None else f"{number:,} tokens"


def _table(heading: str, rows: Iterable[tuple[str, int | str | None]]) -> str:
    """A table of two columns; rows that say nothing are left out."""
    shown = "".join(
        f"<tr><th style='text-align: left'>{escape(name)}</th>"
        f"<td style='text-align: right'>{escape(f'{value:,}' if isinstance(value, int) else value)}</td></tr>"
        for name, value in rows
        if value is not None
    )
    return f"<table><caption>{escape(heading)}</caption><tbody>{shown}</tbody></table>"
