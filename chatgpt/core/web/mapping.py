"""From the mapping of a stored conversation to its thread.

A conversation of the server is a tree: `mapping` holds its nodes by id, each `{id, parent, children,
message}`, and `current_node` is the one that its reader sees last.

Rules:

1. The thread runs from `current_node` from parent to parent, never from child to child: abandoned
   branches would get into it. Where that node is missing, the newest leaf takes its place.
2. Cycles and parents that are not there end it; nothing here is recursive.
3. A thread has what a reader sees: what user and assistant say. A message whose parent is not seen
   replies to the nearest one that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, Final, cast

from chatgpt.core.messages import ChatMessage, Role
from chatgpt.core.surrogates import lenient
from chatgpt.core.web.messages import ServerMessage

_SPEAKERS: Final = ("user", "assistant")

Nodes = Mapping[str, Any]


def current_node_of(mapping: Nodes, current_node: object) -> str | None:
    """The node at which a conversation stands: the one that is named, or the newest leaf."""
    if isinstance(current_node, str) and isinstance(mapping.get(current_node), dict):
        return current_node
    nodes = {key: node for key, node in mapping.items() if isinstance(node, dict)}
    parents = {node.get("parent") for node in nodes.values() if isinstance(node.get("parent"), str)}
    leaves = [key for key in nodes if key not in parents] or list(nodes)
    # Of leaves of the same age the last counts: servers write them in the order of their making.
    return max(reversed(leaves), key=lambda key: _made_at(nodes[key]), default=None)


def thread_to(mapping: Nodes, node_id: str, conversation_id: str) -> list[ChatMessage]:
    """The thread that leads to a node, oldest first.

    Args:
        mapping: the nodes.
        node_id: the last one.
        conversation_id: what all messages get.
    """
    path: list[Mapping[str, Any]] = []
    seen: set[str] = set()
    key: object = node_id
    while isinstance(key, str) and key not in seen:
        seen.add(key)
        node = mapping.get(key)
        if not isinstance(node, dict):
            break
        if isinstance(node.get("message"), dict):
            path.append({**node["message"], "id": ServerMessage(node["message"]).id or key})
        key = node.get("parent")
    thread: list[ChatMessage] = []
    for fields in reversed(path):
        message = ServerMessage(fields)
        if message.role in _SPEAKERS and message.is_shown and message.text:
            parent_id = thread[-1].id if thread else None
            thread.append(_chat_message(message, parent_id, conversation_id))
    return thread


def _chat_message(
    message: ServerMessage, parent_id: str | None, conversation_id: str
) -> ChatMessage:
    reason, model = message.finish_reason, message.model
    return ChatMessage(
        id=lenient(message.id or ""),
        text=lenient(message.text),
        role=cast("Role", message.role),
        parent_message_id=parent_id,
        conversation_id=conversation_id,
        detail=message.fields,
        model=None if model is None else lenient(model),
        finish_reason=None if reason is None else lenient(reason),
        created_at=message.created_at,
    )


def _made_at(node: Mapping[str, Any]) -> float:
    message = node.get("message")
    created_at = ServerMessage(message).created_at if isinstance(message, dict) else None
    return -inf if created_at is None else created_at.timestamp()
