"""ChatGPT in Jupyter: streams that grow in their cell, and `%%chat`. Needs the extra `notebook`.

    %load_ext chatgpt

    %%chat --name trip
    Where to in May?

What else a notebook shows needs nothing of this: a reply is shown as Markdown, `usage`, `context` and a preview as tables, a
conversation and `chat.tree()` as a tree, and a stream that is the last line of a cell grows there.

    settings.py      what `%chat_config` sets, and the client that follows from it
    talks.py         the conversations of the notebook: which one goes on, and where it stands
    magics.py        `%chat_config`, `%%chat`, `%chat_tree`
    completion.py    their options and values, completed
"""

from __future__ import annotations

from chatgpt.growing_text import growing_text
from chatgpt.streams import MessageStream

__all__ = ["show"]


def show(stream: MessageStream) -> None:
    """Send the message of a stream, and show the reply as it grows; `stream.result()` is the reply then.

    In a notebook the cell shows it as Markdown, drawn anew at most ten times a second; elsewhere it is written to standard
    output. A stream that is the last line of a cell, or is given to `display`, does the same. What came stays there when
    the stream fails, or the cell is interrupted, which closes its connection; the client goes on.

    Args:
        stream: what `client.stream_message` or `chat.stream` returned. Of one that is partly read, the rest is shown, too.

    Raises:
        TypeError: it is no stream of `chatgpt`.
        StreamInterruptedError: it was left before.
        ChatGPTError: whatever ended it.
    """
    if not isinstance(stream, MessageStream):
        raise TypeError(
            f"show takes what stream_message of a client of chatgpt returned, not a {type(stream).__name__}. For a "
            "stream of chatgpt_async, write: from chatgpt_async.notebook import show; await show(stream)."
        )
    # The stream is left first: an interrupt stops the answer before anything else is done.
    with growing_text(stream.text) as text, stream:
        for part in stream:
            text.take(part)
