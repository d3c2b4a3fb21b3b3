"""A caller's functions: plain or async, their result awaited where it has to be."""

from __future__ import annotations

from collections.abc import Awaitable
from inspect import isawaitable
from typing import TypeVar

T = TypeVar("T")


async def completed(result: T | Awaitable[T]) -> T:
    """What a function returned, or what becomes of it.

    A function is called where it stands, in the event loop; a plain one must not block.
    """
    if isawaitable(result):
        awaited: T = await result
        return awaited
    return result
