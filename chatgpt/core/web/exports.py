"""From a conversation of a data export to messages that a store can keep, and a client go on with.

An export holds conversations as ChatGPT's backend keeps them: `mapping` holds the nodes of a tree by id,
each `{id, parent, children, message}`, and `current_node` is the one that its reader saw last. A store keeps
a tree as well, so every branch is kept, and nothing that was told is lost.

Rules:

1. A conversation begins with its head: a hidden message that bears the conversation's id, and as its detail
   all fields but the mapping. What has no parent replies to it. It has no time of its own, so that it stays the same
   message in each export.
2. Every node that has a message becomes one, named by the node's key. What a reader does not see is hidden;
   it stays in its place, and is never sent. A node without a message is passed over: what follows it replies
   to the nearest message above. A message that a reader saw, and that is pictures or files and no words, has
   placeholders as its text, like `[image]`: else its turn were missing.
3. Parents come before children. Where a node names no parent, or one that is not there, the node that lists
   it among its children is its parent. Circles are cut open. Nothing is recursive, and the time is linear.
4. Whatever is malformed is passed over and noted, as a count: notes repeat nothing of what was said.
5. Ids are made of what the export holds and of nothing else: one that is read again gives the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from attrs import evolve, frozen

from chatgpt.core.messages import ChatMessage, Role
from chatgpt.core.surrogates import lenient
from chatgpt.core.web.mapping import current_node_of
from chatgpt.core.web.messages import ServerMessage

Node = dict[str, Any]

_READERS: Final = ("user", "assistant")
_ROLES: Final[Mapping[str | None, Role]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "function": "tool",
}

_NO_NODES: Final = "nodes that are no objects, passed over"
_NO_MESSAGES: Final = "nodes whose message is no object, passed over"
_NO_PARENTS: Final = "nodes whose parent is not there"
_CIRCLES: Final = "circles of parents, cut open"
_OTHER_IDS: Final = "nodes whose id is taken or empty, which got another"


class ExportError(ValueError):
    """What should be a conversation of an export cannot be read as one."""


@frozen(kw_only=True)
class ExportedConversation:
    """A conversation of an export.

    Attributes:
        id: its id, which all of its messages have as their `conversation_id`.
        title: its title, where it has one.
        current_node: the id of the message to go on with: what is given as `parent_message_id`.
        messages: its messages, parents before children. The first one is its head, which holds the fields of
            the conversation.
        problems: what could not be read of it.
        update_time: when it was last changed, in seconds of the server, where that is told.
    """

    id: str
    title: str | None
    current_node: str | None
    messages: tuple[ChatMessage, ...]
    problems: tuple[str, ...] = ()
    update_time: float | None = None

    def is_older_than(self, other: ExportedConversation) -> bool:
        """Whether both tell when they were changed, and this one was changed earlier."""
        mine, others = self.update_time, other.update_time
        return mine is not None and others is not None and mine < others

    def without_head(self, head_id: str) -> ExportedConversation:
        """Leave out the head, which is stored under an id that `renamed` may have given it."""
        conversation = self
        while len(conversation.messages[0].id) < len(head_id):
            conversation = conversation.renamed({conversation.messages[0].id})
        return evolve(conversation, messages=conversation.messages[1:])

    def renamed(self, message_ids: Collection[str]) -> ExportedConversation:
        """Give other ids to some messages, and to all that follow them: `<conversation>/<id>`.

        A message that keeps its id under a parent that does not would be another message than the one that
        was stored under this id before. So renaming reaches down to the leaves, and the same conversation
        gets the same ids again, however often it is imported.

        Args:
            message_ids: the ids that are to be changed.

        Returns:
            The conversation, whose parents and `current_node` bear the new ids, too.
        """
        chosen: set[str] = set()
        for message in self.messages:
            if message.id in message_ids or message.parent_message_id in chosen:
                chosen.add(message.id)
        taken = {message.id for message in self.messages} - chosen
        names: dict[str | None, str] = {}
        for message in self.messages:
            if message.id in chosen:
                names[message.id] = _free(f"{self.id}/{message.id}", self.id, taken)
        return evolve(
            self,
            current_node=names.get(self.current_node, self.current_node),
            messages=tuple(
                evolve(
                    message,
                    id=names[message.id],
                    parent_message_id=names.get(
                        message.parent_message_id, message.parent_message_id
                    ),
                )
                if message.id in chosen
                else message
                for message in self.messages
            ),
        )


def read_conversation(fields: Mapping[str, Any]) -> ExportedConversation:
    """Read one conversation of an export.

    Args:
        fields: its JSON object, parsed.

    Raises:
        ExportError: it has no mapping of nodes, or nothing that could name it.
    """
    mapping = fields.get("mapping")
    if not isinstance(mapping, dict):
        raise ExportError("it has no mapping of nodes, so it is no conversation")
    notes: dict[str, int] = {}
    nodes = {key: node for key, node in mapping.items() if isinstance(node, dict)}
    _note(notes, _NO_NODES, len(mapping) - len(nodes))
    parents = _parents(nodes, notes)
    order = _parents_first(parents, notes)
    conversation_id = _conversation_id(fields, mapping, order)

    head = ChatMessage(
        id=conversation_id,
        text="",
        role="system",
        is_hidden=True,
        conversation_id=conversation_id,
        detail={key: value for key, value in fields.items() if key != "mapping"},
    )
    messages = [head]
    taken = {head.id}
    nearest: dict[str | None, str] = {None: head.id}
    """The message that stands at a node, or above it."""
    for key in order:
        parent_id = nearest[parents[key]]
        message = nodes[key].get("message")
        if isinstance(message, dict):
            wanted = lenient(key)
            message_id = wanted if wanted and wanted not in taken else ""
            if not message_id:
                message_id = _free(f"{conversation_id}/{wanted}", conversation_id, taken)
                _note(notes, _OTHER_IDS)
            taken.add(message_id)
            messages.append(_chat_message(message, message_id, parent_id, conversation_id))
            nearest[key] = message_id
        else:
            _note(notes, _NO_MESSAGES, message is not None)
            nearest[key] = parent_id

    title, update_time = fields.get("title"), fields.get("update_time")
    current = fields.get("current_node")
    problems = [f"{what}: {count}" for what, count in notes.items()]
    if not isinstance(current, str) or current not in nodes:
        if current is not None:
            problems.append("the current node is not there: the newest leaf takes its place")
        tree = {key: {**nodes[key], "parent": parents[key]} for key in order}
        current = current_node_of(tree, None)
    return ExportedConversation(
        id=conversation_id,
        title=lenient(title) if isinstance(title, str) else None,
        current_node=nearest[current],
        messages=tuple(messages),
        problems=tuple(problems),
        update_time=update_time if type(update_time) in (int, float) else None,
    )


def _conversation_id(
    fields: Mapping[str, Any], mapping: Mapping[str, Any], order: list[str]
) -> str:
    """The id that it has, or one of its root and its first message.

    A root alone may bear the same name in many conversations: `client-created-root`.
    """
    for value in (fields.get("conversation_id"), fields.get("id")):
        if isinstance(value, str) and value:
            return lenient(value)
    root = next(filter(None, (*order, *mapping)), None)
    if root is None:
        raise ExportError("it has no id and no nodes")
    said = (key for key in order if key and isinstance(mapping[key].get("message"), dict))
    first = next(said, root)
    return lenient(root if first == root else f"{root}/{first}")


# --- the tree --------------------------------------------------------------------------------


def _parents(nodes: Mapping[str, Node], notes: dict[str, int]) -> dict[str, str | None]:
    """The parent of each node; it is one of the nodes, or there is none."""
    parents: dict[str, str | None] = {}
    orphans = []
    for key, node in nodes.items():
        parent = node.get("parent")
        if isinstance(parent, str) and parent in nodes:
            parents[key] = parent
        else:
            parents[key] = None
            orphans.append(key)
            _note(notes, _NO_PARENTS, isinstance(parent, str))
    listed = _listed_by(nodes) if orphans else {}
    for key in orphans:
        parents[key] = listed.get(key)
    return parents


def _listed_by(nodes: Mapping[str, Node]) -> dict[str, str]:
    """The first node that lists another one among its children, by the id of the child."""
    listed: dict[str, str] = {}
    for key, node in nodes.items():
        children = node.get("children")
        if isinstance(children, list):
            for child in children:
                if isinstance(child, str) and child != key:
                    listed.setdefault(child, key)
    return listed


def _parents_first(parents: dict[str, str | None], notes: dict[str, int]) -> list[str]:
    """All nodes, in the order of the export as far as parents can come first; circles are cut open."""
    order: list[str] = []
    walks: dict[str, int] = {}
    """The walk in which a node was met: the same one again is a circle, an earlier one is done."""
    for number, start in enumerate(parents):
        path: list[str] = []
        key: str | None = start
        while key is not None and key not in walks:
            walks[key] = number
            path.append(key)
            key = parents[key]
        if key is not None and walks[key] == number and path:
            parents[path[-1]] = None
            _note(notes, _CIRCLES)
        order.extend(reversed(path))
    return order


def _free(wanted: str, prefix: str, taken: set[str]) -> str:
    """A name that is not taken, made longer as often as it needs to be."""
    while wanted in taken:
        wanted = f"{prefix}/{wanted}"
    return wanted


def _note(notes: dict[str, int], what: str, count: int = 1) -> None:
    if count:
        notes[what] = notes.get(what, 0) + count


# --- messages --------------------------------------------------------------------------------


def _chat_message(
    fields: dict[str, Any], message_id: str, parent_id: str, conversation_id: str
) -> ChatMessage:
    message = ServerMessage(fields)
    role, reason, model = message.role, message.finish_reason, message.model
    is_seen = role in _READERS and message.is_shown
    text = message.text or _other_text(fields.get("content"))
    if is_seen and not text:
        text = _placeholders(message)
    return ChatMessage(
        id=message_id,
        text=lenient(text),
        role=_ROLES.get(role, "system"),
        is_hidden=not (text and is_seen),
        parent_message_id=parent_id,
        conversation_id=conversation_id,
        detail=fields,
        model=None if model is None else lenient(model),
        finish_reason=None if reason is None else lenient(reason),
        created_at=message.created_at,
    )


def _other_text(content: object) -> str:
    """The text of a message that does not have it as parts.

    Code and what it printed have a `text`, a page that was read has a `result`, a summary of thoughts a
    `content`, and thoughts have one each. What was spoken is a part that has a `text`.
    """
    if not isinstance(content, dict):
        return ""
    for name in ("text", "result", "content"):
        value = content.get(name)
        if isinstance(value, str) and value:
            return value
    thoughts = _texts_in(content.get("thoughts"), "content")
    return "\n\n".join(thoughts) or "".join(_texts_in(content.get("parts"), "text"))


def _placeholders(message: ServerMessage) -> str:
    """What stands for a message without words: its parts, or what was attached to it."""
    content = message.fields.get("content")
    parts = _objects_in(content.get("parts")) if isinstance(content, dict) else []
    kinds = [part.get("content_type") for part in parts if not isinstance(part.get("text"), str)]
    if not kinds:
        kinds = [item.get("mime_type") for item in _objects_in(message.metadata.get("attachments"))]
    return " ".join(f"[{_kind_named(kind)}]" for kind in kinds)


def _kind_named(name: object) -> str:
    """The kind of a part, or of a file, in the name of its type."""
    words = name if isinstance(name, str) else ""
    return next((kind for kind in ("image", "audio", "video") if kind in words), "file")


def _objects_in(items: object) -> list[dict[str, Any]]:
    values = cast("list[object]", items if isinstance(items, list) else [])
    return [value for value in values if isinstance(value, dict)]


def _texts_in(items: object, name: str) -> list[str]:
    values = (item.get(name) for item in _objects_in(items))
    return [value for value in values if isinstance(value, str) and value]
