"""The conversations on the server, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

from chatgpt.core.web.conversations import ConversationPages, ConversationSummary


class ConversationListing(AsyncIterator[ConversationSummary]):
    """The conversations, one after the other; a page is read when it is come to.

    Made by `list_conversations`. It can be left at any time: nothing stays open between two pages.
    """

    def __init__(self, pages: ConversationPages, read: Callable[[], Awaitable[None]]) -> None:
        self._pages = pages
        self._read = read

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ConversationSummary:
        while self._pages.must_be_read:
            await self._read()
        summary = self._pages.take()
        if summary is None:
            raise StopAsyncIteration
        return summary
