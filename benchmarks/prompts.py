"""Scenario: the prompt of a long thread, of which bytes do not prove that it fits, so that it has to be counted.

Strategy: `client.preview` over a store in memory that holds the thread. It builds the prompt as a message would, and sends
nothing. Cold, no message was ever counted; warm, a client has replied in the thread before, so its messages carry their
counts, and another client, which knows nothing of them, builds the prompt.

Rules:

1. The vocabulary is loaded before.
2. The window has 24 tokens for each message of the thread, one of them for the reply: everything fits, and a bound by bytes
   cannot prove it. A thread of less than 60 messages has no room for the instructions.
3. Cold messages are made anew each time: whatever is kept with a message is gone.
4. The text that is compared is that of all messages that would be sent, without the instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.peer_clients import KEY
from benchmarks.sizes import Sizes
from benchmarks.spending import Spent, costs, now, report, since

if TYPE_CHECKING:  # each is loaded when it is needed
    from chatgpt import ChatGPTAPI, MemoryStore

QUESTION = "And now?"
SENTENCE = "The quick brown fox jumps over the lazy dog, and message {} says so too."
WINDOW = 24
"""Tokens of the window for each message of the thread; for a reply, one for each."""
TIMES = 2
"""So many times as long as other work: the longest prompt takes a while."""


def thread_text(length: int) -> str:
    """The text of the messages that are sent for a thread of so many messages."""
    return "\n".join([*(SENTENCE.format(number) for number in range(length)), QUESTION])


def measure(name: str, origin: str, sizes: Sizes) -> None:
    """Measure `chatgpt`.

    Args:
        name: `"chatgpt"`.
        origin: of the server.
        sizes: how much is done.
    """
    assert name == "chatgpt"
    from chatgpt import ChatGPTAPI

    ChatGPTAPI(api_key=KEY).preview(QUESTION)
    works: dict[str, Callable[[], tuple[Spent, str]]] = {}
    for kind, length in (("", sizes["messages"]), ("_long", sizes["many_messages"])):
        thread = _Thread(f"{origin}/1/1/v1", length)
        works |= {f"prompt_cold{kind}": thread.cold, f"prompt_warm{kind}": thread.warm}
    report(*costs(works, TIMES * sizes["seconds"]))


class _Thread:
    """A long thread, and what its prompt costs.

    Args:
        url: where replies come from.
        length: how many messages it has.
    """

    def __init__(self, url: str, length: int) -> None:
        self._url = url
        self._length = length
        self._last_id = f"m{length - 1}"
        self._counted = self._store()
        self._client(self._counted).send_message(QUESTION, parent_message_id=self._last_id)

    def cold(self) -> tuple[Spent, str]:
        """What the prompt costs whose messages were never counted; and its text."""
        return self._previewed(self._store())

    def warm(self) -> tuple[Spent, str]:
        """The same where they carry their counts."""
        return self._previewed(self._counted)

    def _store(self) -> MemoryStore:
        from chatgpt import ChatMessage, MemoryStore

        store = MemoryStore(self._length + 2)
        store.save(
            [
                ChatMessage(
                    id=f"m{number}",
                    text=SENTENCE.format(number),
                    role="assistant" if number % 2 else "user",
                    parent_message_id=f"m{number - 1}" if number else None,
                    conversation_id="c",
                )
                for number in range(self._length)
            ]
        )
        return store

    def _client(self, store: MemoryStore) -> ChatGPTAPI:
        from chatgpt import ChatGPTAPI

        return ChatGPTAPI(
            api_key=KEY,
            api_base_url=self._url,
            message_store=store,
            max_model_tokens=WINDOW * self._length,
            max_response_tokens=self._length,
        )

    def _previewed(self, store: MemoryStore) -> tuple[Spent, str]:
        client = self._client(store)
        begin = now()
        prompt = client.preview(QUESTION, parent_message_id=self._last_id)
        spent = since(begin)
        return spent, "\n".join(message.text for message in prompt.messages[1:])
