"""Streams that grow in the cell of a notebook, awaited. Needs the extra `notebook`."""

from __future__ import annotations

from chatgpt.growing_text import growing_text
from chatgpt_async.streams import MessageStream

__all__ = ["show"]


async def show(stream: MessageStream) -> None:
    """Send the message of a stream, and show the reply as it grows; `stream.result()` is the reply then.

    In a notebook the cell shows it as Markdown, drawn anew at most ten times a second; elsewhere it is written to standard
    output. What came stays there when the stream fails, or the cell is interrupted, which closes its connection; the
    client goes on.

    Args:
        stream: what `client.stream_message` or `chat.stream` returned. Of one that is partly read, the rest is shown, too.

    Raises:
        TypeError: it is no stream of `chatgpt_async`.
        StreamInterruptedError: it was left before.
        ChatGPTError: whatever ended it.
    """
    if not isinstance(stream, MessageStream):
        raise TypeError(
            f"show takes what stream_message of a client of chatgpt_async returned, not a {type(stream).__name__}. For a "
            "stream of chatgpt, write: from chatgpt.notebook import show; show(stream)."
        )
    # The stream is left first: an interrupt stops the answer before anything else is done.
    with growing_text(stream.text) as text:
        async with stream:
            async for part in stream:
                text.take(part)
