"""The architecture: one core, two shells, and what lies outside of them."""

from __future__ import annotations

from drawing import (
    AMBER,
    AMBER_LINE,
    BLUE,
    BLUE_LINE,
    FAINT,
    GREEN,
    GREEN_LINE,
    WHITE,
    Box,
    Drawing,
)

_DECISIONS = [
    ["threads", "prompts", "budgets"],
    ["wire formats", "streams", "errors"],
    ["retries", "deadlines", "the pool"],
]

_OUTSIDE = [
    ("message stores", ["MemoryStore, SQLiteStore,", "RedisStore, one of your own"]),
    ("the moment", ["clock, date, ids, chance,", "the tokenizer"]),
    (
        "servers",
        ["OpenAI, Azure, OpenRouter, Ollama,", "llama.cpp, vLLM; chatgpt.com;", "chatgpt.testing"],
    ),
]


def draw() -> str:
    """Draw it."""
    drawing = Drawing(960, 566, "One core makes every decision; two shells meet its needs.")
    core = Box(330, 112, 300, 278)
    shells = [
        (Box(40, 168, 190, 168), "chatgpt", ["the sync shell", "requests, urllib3", "threads"]),
        (
            Box(730, 168, 190, 168),
            "chatgpt_async",
            ["the async shell", "httpx2, anyio", "asyncio, trio"],
        ),
    ]
    callers = [
        (Box(40, 40, 190, 56), "scripts, notebooks,", "the command"),
        (Box(730, 40, 190, 56), "services,", "notebooks with await"),
    ]

    drawing.box(core, fill=BLUE, line=BLUE_LINE, thick=2)
    drawing.text(core.middle, core.y + 32, "chatgpt.core", size=17, is_bold=True, is_code=True)
    drawing.text(core.middle, core.y + 54, "every decision, no input or output", colour=FAINT)
    for row, decisions in enumerate(_DECISIONS):
        for column, decision in enumerate(decisions):
            chip = Box(core.x + 12 + column * 94, core.y + 74 + row * 40, 88, 32)
            drawing.box(chip, line=BLUE_LINE, thick=0.8)
            drawing.text(chip.middle, chip.centre + 4, decision, size=12)
    drawing.text(core.middle, core.bottom - 56, "an exchange is a generator:", size=12.5)
    drawing.text(core.middle, core.bottom - 37, "it yields needs, is sent the answers,", size=12.5)
    drawing.text(core.middle, core.bottom - 18, "and returns the reply", size=12.5)

    for (shell, name, lines), (caller, first, second) in zip(shells, callers, strict=True):
        drawing.box(caller)
        drawing.text(caller.middle, caller.centre - 5, first)
        drawing.text(caller.middle, caller.centre + 14, second)
        drawing.box(shell, fill=GREEN, line=GREEN_LINE, thick=1.8)
        drawing.text(shell.middle, shell.y + 38, name, size=15.5, is_bold=True, is_code=True)
        for number, line in enumerate(lines):
            drawing.text(shell.middle, shell.y + 68 + number * 24, line, colour=FAINT)
        drawing.path([(shell.middle - 30, caller.bottom), (shell.middle - 30, shell.y)])
        drawing.path([(shell.middle + 30, shell.y), (shell.middle + 30, caller.bottom)])
        drawing.text(shell.middle - 38, 136, "text", size=12, colour=FAINT, anchor="end")
        drawing.text(shell.middle + 38, 136, "reply", size=12, colour=FAINT, anchor="start")

        is_left = shell.right < core.x
        inner, edge = (shell.right, core.x) if is_left else (shell.x, core.right)
        drawing.path([(edge, 206), (inner, 206)], colour=BLUE_LINE)
        drawing.path([(inner, 318), (edge, 318)], colour=GREEN_LINE)
        between = (inner + edge) / 2
        drawing.text(between, 197, "needs", size=14, is_bold=True, colour=BLUE_LINE)
        drawing.text(between, 309, "answers", size=14, is_bold=True, colour=GREEN_LINE)
        for number, need in enumerate(["LoadThread", "SendRequest", "ReadChunk", "SaveMessages"]):
            drawing.text(between, 226 + number * 17, need, size=11.5, colour=FAINT, is_code=True)

    outside = Box(40, 412, 880, 132)
    drawing.box(outside, fill=AMBER, line=AMBER_LINE)
    drawing.text(
        outside.middle, outside.y + 23, "outside: only a shell touches it", colour=AMBER_LINE
    )
    for shell, _, _ in shells:
        drawing.path([(shell.middle, shell.bottom), (shell.middle, outside.y)])
        drawing.path([(shell.middle, outside.y), (shell.middle, shell.bottom)])
    for column, (name, lines) in enumerate(_OUTSIDE):
        cell = Box(outside.x + 14 + column * 288, outside.y + 36, 276, 84)
        drawing.box(cell, fill=WHITE, line=AMBER_LINE, thick=0.8)
        drawing.text(cell.middle, cell.y + 21, name, is_bold=True)
        for number, line in enumerate(lines):
            drawing.text(cell.middle, cell.y + 40 + number * 17, line, size=12, colour=FAINT)
    return drawing.svg()
