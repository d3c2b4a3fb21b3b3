"""An answer that was read is closed at once, whatever is cancelled; what waits after all, waits."""

from __future__ import annotations

import asyncio

import anyio
import anyio.lowlevel
import pytest

from chatgpt_async.closing import closed_at_once


def test_no_other_task_runs_and_no_cancellation_comes_in_between() -> None:
    seen: list[str] = []

    async def closing() -> None:
        async with anyio.Lock():
            seen.append("begun")
        await asyncio.sleep(0)
        seen.append("closed")

    async def converse() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(seen.append, "another")
        task.cancel()
        await closed_at_once(closing())
        assert seen == ["begun", "closed"]
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)

    asyncio.run(converse())
    assert seen == ["begun", "closed", "another"]


@pytest.mark.anyio
async def test_what_waits_is_waited_for() -> None:
    closed = anyio.Event()

    async def closing() -> None:
        await anyio.sleep(0.01)
        closed.set()

    await closed_at_once(closing())
    assert closed.is_set()


def test_a_wait_may_be_cancelled_and_the_closing_is_told() -> None:
    seen: list[str] = []

    async def closing() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            seen.append("told")

    async def converse() -> None:
        task = asyncio.ensure_future(closed_at_once(closing()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(converse())
    assert seen == ["told"]


@pytest.mark.anyio
async def test_an_error_passes_through() -> None:
    async def failing() -> None:
        await anyio.lowlevel.checkpoint()
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await closed_at_once(failing())
