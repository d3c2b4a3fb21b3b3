"""Closing that comes to its end, whatever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import anyio


async def completed_close(closing: Coroutine[Any, Any, None]) -> None:
    """Close something completely, whatever is cancelled meanwhile.

    A shield of anyio does not hold off `asyncio.Task.cancel` and `asyncio.timeout`. So on asyncio it is
    done in a task, which is waited for until it is done; the cancellation is raised after that.
    """
    with anyio.CancelScope(shield=True):
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # trio, whose shields hold
            await closing
            return
        task = asyncio.ensure_future(closing)
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
        problem = None if task.cancelled() else task.exception()
        if cancelled is not None:
            raise cancelled
        if problem is not None:
            raise problem
