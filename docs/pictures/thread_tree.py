"""A thread as a path in a tree, drawn from a conversation that was held with the embedded server.

Strategy: a chat asks, takes another reply, edits, goes on; then `preview` says what the next question would
send. What is drawn is what the store holds, and what is highlighted is what `preview` would send.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from textwrap import wrap
from typing import Final

from attrs import frozen
from drawing import AMBER, AMBER_LINE, FAINT, GREEN_LINE, LINE, WHITE, Box, Drawing

from chatgpt import ChatGPTAPI, ChatMessage, MemoryStore
from chatgpt.testing import ChatGPTServer

_REPLIES: Final = [
    "Lisbon, for the light.",
    "Bergen, between two rains.",
    "Seville, before the heat.",
    "Porto, with a sea wind.",
    "Granada, for the gardens.",
]

_NEXT: Final = "How many days?"

_WIDTH, _HEIGHT, _GAP, _STEP = 158, 58, 30, 76


@frozen
class _Talk:
    """What was said, what the next question would send, and what it replies to."""

    messages: Sequence[ChatMessage]
    sent: Sequence[ChatMessage]
    parent_id: str


def draw() -> str:
    """Draw it."""
    talk = _talk()
    rows = count()
    places: dict[str, tuple[int, float]] = {}
    first = next(message for message in talk.messages if message.parent_message_id is None)
    _place(talk, first, 0, rows, places)
    height = round(max(row for _, row in places.values()) * _STEP + _HEIGHT + 118)
    drawing = Drawing(
        974, height, "A conversation with branches; one path of it is sent with the next question."
    )
    texts = {message.id: message.text for message in talk.messages}
    sent = {message.text for message in talk.sent if message.role != "system"}
    shown = [*talk.messages, _next_message(talk)]
    boxes = {
        message_id: Box(28 + depth * (_WIDTH + _GAP + 2), 44 + row * _STEP, _WIDTH, _HEIGHT)
        for message_id, (depth, row) in places.items()
    }
    # The lines first, because boxes lie upon them; and of these the path last, upon the others.
    for message in sorted(shown, key=lambda message: message.text in sent):
        if message.parent_message_id is None:
            continue
        parent, child = boxes[message.parent_message_id], boxes[message.id]
        is_sent = message.text in sent
        turn = parent.right + _GAP / 2
        drawing.path(
            [
                (parent.right, parent.centre),
                (turn, parent.centre),
                (turn, child.centre),
                (child.x, child.centre),
            ],
            colour=GREEN_LINE if is_sent else FAINT,
            thick=2.6 if is_sent else 1.2,
        )
    for message in shown:
        box, is_sent = boxes[message.id], message.text in sent
        is_next = message.id not in texts
        line = (AMBER_LINE if is_next else GREEN_LINE) if is_sent else LINE
        drawing.box(
            box,
            fill=AMBER if is_next else "#dcfce7" if is_sent else WHITE,
            line=line,
            thick=2.2 if is_sent else 1,
            dashes="6 4" if is_next else "",
        )
        speaker = "you, next" if is_next else "you" if message.role == "user" else "the model"
        drawing.text(box.x + 11, box.y + 18, speaker, size=11, colour=FAINT, anchor="start")
        for number, words in enumerate(wrap(message.text, 22)):
            y = box.y + 36 + number * 15
            drawing.text(box.x + 11, y, words, size=12.5, anchor="start")
    for column, what in enumerate(["question", "replies", "questions", "replies", "question"]):
        middle = 28 + column * (_WIDTH + _GAP + 2) + _WIDTH / 2
        drawing.text(middle, 28, what, size=12, colour=FAINT)
    _explain(drawing, height - 34)
    return drawing.svg()


def _talk() -> _Talk:
    """Hold the conversation."""
    store = MemoryStore()
    with (
        ChatGPTServer(_REPLIES) as server,
        ChatGPTAPI(
            api_key=server.api_key,
            api_base_url=server.base_url,
            message_store=store,
            system_message="You are terse.",
        ) as client,
    ):
        chat = client.conversation()
        first = chat.send("Where to in May?")
        chat.regenerate()
        warm = client.conversation(parent_message_id=first.id)
        warm.send("Warmer, please.")
        cool = warm.edit(warm.parent_message_id or "", "By the sea?")
        client.send_message("And inland?", parent_message_id=first.id)
        preview = client.preview(_NEXT, parent_message_id=cool.id)
    return _Talk(list(store.all_messages()), preview.messages, cool.id)


def _next_message(talk: _Talk) -> ChatMessage:
    """The question that was not asked yet."""
    return ChatMessage(id="next", text=_NEXT, parent_message_id=talk.parent_id)


def _place(
    talk: _Talk,
    message: ChatMessage,
    depth: int,
    rows: count[int],
    places: dict[str, tuple[int, float]],
) -> float:
    """Give a message and all that follow it a column and a row; the row of the message."""
    replies = [
        reply
        for reply in [*talk.messages, _next_message(talk)]
        if reply.parent_message_id == message.id
    ]
    below = [_place(talk, reply, depth + 1, rows, places) for reply in replies]
    row = (below[0] + below[-1]) / 2 if below else float(next(rows))
    places[message.id] = depth, row
    return row


def _explain(drawing: Drawing, y: float) -> None:
    """What the colours mean."""
    drawing.path([(28, y), (76, y)], colour=GREEN_LINE, thick=2.6)
    drawing.text(
        88,
        y + 4,
        "the thread that the next question is sent with: a path",
        size=12.5,
        anchor="start",
    )
    drawing.path([(520, y), (568, y)], thick=1.2)
    drawing.text(580, y + 4, "branches: kept, and not sent", size=12.5, anchor="start")
