"""Closing that comes to its end, whatever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from functools import partial
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


async def closed_at_once(closing: Coroutine[Any, Any, None]) -> None:
    """Close something that waits for nothing, completely: an answer that was read to its end.

    On asyncio, nothing is cancelled where nothing is waited for. What anyio's locks and streams do, give way to other
    tasks, is passed over; so it takes neither a task nor a turn of the loop, as `completed_close` does.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # trio
        await completed_close(closing)
    else:
        await _without_giving_way(closing)


@types.coroutine
def _without_giving_way(closing: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
    step: Callable[[], Any] = partial(closing.send, None)
    while True:
        try:
            waited_for = step()
        except StopIteration:
            return
        step = partial(closing.send, None)
        if waited_for is not None:  # it does wait for something
            try:
                yield waited_for
            except BaseException as error:  # noqa: BLE001 - it is the closing's
                step = partial(closing.throw, error)
