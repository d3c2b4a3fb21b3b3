"""Work that asks a store for messages and gives it some: written once, for the stores of both twins.

Strategy: such work is a generator. It yields what it asks of a store, is suspended while a twin meets that in its
own way, and goes on with the answer; as an exchange of the core does, but between its questions it may read and write
files. So in the async twin its steps are taken in worker threads, and a store is asked in the event loop: no thread
ever waits for another one, and whatever is cancelled stops at the next question.

Rules:

1. What is told of the work is a question, too: so a caller's function runs where the caller is, and what it raises ends
   the work.
2. A `MessageIdTakenError` of a store is thrown into the work, which may know what to do. Whatever else a store raises
   ends it, and comes out as it is.
3. Work that is ended early is closed: what it began, it takes back.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice
from threading import Lock
from typing import Any, Final, Generic, TypeAlias, TypeVar

from attrs import field, frozen

from chatgpt.core.errors import MessageIdTakenError
from chatgpt.core.messages import ChatMessage
from chatgpt.import_reports import ArchiveProgress
from chatgpt.stores.protocol import MessageStore, conversation_method, listing_method

T = TypeVar("T")

BATCH: Final = 500
"""How many messages are asked for, or given, at a time."""


@frozen
class GetEach:
    """Look messages up, one by one; the answer has those that were found."""

    message_ids: Sequence[str]


@frozen
class ReadPath:
    """Read a thread from one of its messages to the root, newest first."""

    message_id: str


@frozen
class ReadConversation:
    """Read a conversation with all its branches; the answer is `None` where the store knows none apart."""

    conversation_id: str


@frozen
class NextMessages:
    """Go on with the list of all messages; the answer has the next ones, and none at the end."""


@frozen
class Save:
    """Save messages in one write; there is no answer."""

    messages: Sequence[ChatMessage] = field(repr=lambda messages: f"<{len(messages)}>")


@frozen
class Tell:
    """Tell a function of the caller how far the work is; there is no answer."""

    function: Callable[[ArchiveProgress], object]
    progress: ArchiveProgress


Question: TypeAlias = GetEach | ReadPath | ReadConversation | NextMessages | Save | Tell

Asking: TypeAlias = Generator[Question, Any, T]
"""Work that asks a store, and returns a `T`."""


def get_each(message_ids: Sequence[str]) -> Asking[list[ChatMessage]]:
    """Look messages up, one by one; those that are not there are left out."""
    found: list[ChatMessage] = yield GetEach(message_ids)
    return found


def read_path(message_id: str) -> Asking[list[ChatMessage]]:
    """Read a thread from one of its messages to the root, newest first."""
    thread: list[ChatMessage] = yield ReadPath(message_id)
    return thread


def read_conversation(conversation_id: str) -> Asking[list[ChatMessage] | None]:
    """Read a conversation, in the order of first saving; `None` where the store can only list everything."""
    messages: list[ChatMessage] | None = yield ReadConversation(conversation_id)
    return messages


def next_messages() -> Asking[list[ChatMessage]]:
    """Go on with the list of all messages; none at the end."""
    messages: list[ChatMessage] = yield NextMessages()
    return messages


def save(messages: Sequence[ChatMessage]) -> Asking[None]:
    """Save messages in one write.

    Raises:
        MessageIdTakenError: the store holds other messages under some of the ids.
    """
    yield Save(messages)


def tell(
    on_progress: Callable[[ArchiveProgress], object] | None,
    message_count: int,
    fraction: float | None,
) -> Asking[None]:
    """Tell how far the work is, where somebody wants to know."""
    if on_progress is not None:
        yield Tell(on_progress, ArchiveProgress(message_count, fraction))


class Steps(Generic[T]):
    """Takes the steps of such work, from whichever thread.

    Args:
        work: what is done.

    Attributes:
        result: what it returned, once a step has returned `None`.
    """

    result: T

    def __init__(self, work: Asking[T]) -> None:
        self._work = work
        self._lock = Lock()  # a step that is not waited for any more may still be on its way

    def next(self, answer: object = None) -> Question | None:
        """Go on with an answer, to the next question or to the end: `None`."""
        with self._lock:
            try:
                return self._work.send(answer)
            except StopIteration as end:
                self.result = end.value
                return None

    def refuse(self, error: MessageIdTakenError) -> Question | None:
        """Go on with the error of a store in place of an answer."""
        with self._lock:
            try:
                return self._work.throw(error)
            except StopIteration as end:
                self.result = end.value
                return None

    def close(self) -> None:
        """End the work where it stands."""
        with self._lock:
            self._work.close()


def ask_store(work: Asking[T], store: MessageStore) -> T:
    """Do some work with a store of plain methods."""
    steps, listing = Steps(work), _Listing(store)
    try:
        question = steps.next()
        while question is not None:
            try:
                answer = _answer(question, store, listing)
            except MessageIdTakenError as error:
                question = steps.refuse(error)
            else:
                question = steps.next(answer)
        return steps.result
    finally:
        steps.close()
        listing.close()


def _answer(question: Question, store: MessageStore, listing: _Listing) -> object:
    match question:
        case GetEach(message_ids):
            return [message for message in map(store.get, message_ids) if message is not None]
        case ReadPath(message_id):
            return store.path(message_id)
        case ReadConversation(conversation_id):
            method = conversation_method(store)
            return None if method is None else method(conversation_id)
        case NextMessages():
            return listing.next()
        case Save(messages):
            store.save(messages)
            return None
        case Tell(function, progress):
            function(progress)
            return None


class _Listing:
    """The list of all messages, on its way."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self._messages: Iterator[ChatMessage] | None = None

    def next(self) -> list[ChatMessage]:
        if self._messages is None:
            self._messages = iter(listing_method(self._store)())
        return list(islice(self._messages, BATCH))

    def close(self) -> None:
        if isinstance(self._messages, Generator):
            self._messages.close()
