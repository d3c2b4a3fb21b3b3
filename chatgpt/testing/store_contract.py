"""What every message store has to do, as rules that a store can be run through: yours, too.

    from chatgpt.testing import store_contract

    store_contract.check(MyStore)                  # all rules, each with a new store

    @pytest.mark.parametrize("rule", store_contract.RULES)
    def test_my_store(rule):                       # each rule a test of its own
        rule.check(MyStore)

Strategy: a rule is a function of a store of plain methods; an async store gets such a face, and its methods are
called in an event loop of their own. What a store does not offer (`replies`, `all_messages`) is not asked of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias, get_args
from uuid import uuid4

from attrs import evolve, frozen

from chatgpt.core.errors import ConfigurationError, MessageIdTakenError
from chatgpt.core.messages import ChatMessage, ContextReport, RequestChange, Role, Usage
from chatgpt.stores.protocol import check_store, methods_of

Backend: TypeAlias = Literal["asyncio", "trio"]

MakeStore: TypeAlias = Callable[[], object]
"""Makes an empty store, of `chatgpt.MessageStore` or of `chatgpt_async.MessageStore`: a class without arguments, or a
function (`lambda: MyStore(path)`)."""

_MOMENT: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@frozen
class StoreRule:
    """One thing that a store has to do. Made by this module alone: `RULES` has them all.

    Attributes:
        name: what it is, in a few words.
    """

    name: str
    _body: Callable[[Any], None]

    def check(self, make_store: MakeStore, *, backend: Backend = "asyncio") -> None:
        """Run a new store through this rule.

        Args:
            make_store: makes an empty store.
            backend: the event loop of an async one.

        Raises:
            AssertionError: the store does something else.
            TypeError: it is no store.
        """
        with _plain(make_store, backend) as store:
            try:
                self._body(store)
            except AssertionError:
                raise
            except Exception as error:
                raise AssertionError(
                    f"{self.name[0].upper()}{self.name[1:]}: the store raised {type(error).__name__}: {error}"
                ) from error

    @property
    def __name__(self) -> str:
        """What pytest calls a test of this rule."""
        return self.name

    def __str__(self) -> str:
        return self.name


def check(make_store: MakeStore, *, backend: Backend = "asyncio") -> None:
    """Run new stores through all rules; the arguments are those of `StoreRule.check`.

    Raises:
        AssertionError: a store does something else.
    """
    for rule in RULES:
        rule.check(make_store, backend=backend)


# --- the rules -------------------------------------------------------------------------------


def _what_is_saved_is_found(store: Any) -> None:
    whole = _whole_message()
    store.save([whole])
    found = store.get(whole.id)
    _equal(found, whole, "a message that was saved")
    _equal(found.usage, whole.usage, "its usage")
    _equal(found.token_counts, whole.token_counts, "its token counts")
    _equal(found.created_at.utcoffset(), timedelta(0), "its time zone")


def _what_is_unknown_is_not_found(store: Any) -> None:
    for message_id in ("nowhere", "a b", "%", "*", "\0", "\ud800", "é" * 1_000):
        _equal(store.get(message_id), None, f"get({message_id!r}) of an empty store")
        _equal(list(store.path(message_id)), [], f"path({message_id!r}) of an empty store")
    store.save([])


def _a_path_is_newest_first(store: Any) -> None:
    thread = _thread(5)
    store.save(thread[:1])
    for message in reversed(thread[1:]):  # not in the order of the thread
        store.save([message])
    ids = [message.id for message in reversed(thread)]
    for limit, expected in ((None, ids), (0, []), (1, ids[:1]), (3, ids[:3]), (5, ids), (9, ids)):
        _equal(_ids(store.path(ids[0], limit)), expected, f"path(newest, {limit})")
    _equal(_ids(store.path(ids[2])), ids[2:], "the path from the middle")
    _equal(list(store.path(ids[0])), thread[::-1], "the messages of a path")


def _a_path_keeps_to_its_branch(store: Any) -> None:
    root, left, right = _message("root"), _message("left", "root"), _message("right", "root")
    leaf = _message("leaf", "left")
    store.save([root, left, right, leaf])
    _equal(_ids(store.path("leaf")), ["leaf", "left", "root"], "the path of one branch")
    _equal(_ids(store.path("right")), ["right", "root"], "the path of the other branch")


def _a_path_ends_where_a_parent_is_missing(store: Any) -> None:
    store.save([_message("b", "a"), _message("c", "b")])
    _equal(_ids(store.path("c")), ["c", "b"], "a path whose beginning is not there")


def _a_circle_ends(store: Any) -> None:
    store.save([_message("a", "b"), _message("b", "a"), _message("own", "own")])
    _equal(_ids(store.path("a")), ["a", "b"], "the path of a circle")
    _equal(_ids(store.path("own")), ["own"], "the path of a message that replies to itself")


def _saving_again_adds_counts(store: Any) -> None:
    first, second = _thread(2)
    store.save([first, second])
    counted = evolve(first, token_counts={"o200k_base": 7})
    store.save([counted])
    _equal(store.get(first.id).token_counts, {"o200k_base": 7}, "the counts that were saved later")
    store.save([evolve(counted, text="put otherwise by its owner")])
    _equal(store.get(first.id).text, "put otherwise by its owner", "the text that was saved later")
    _equal(_ids(store.path(second.id)), [second.id, first.id], "the path after it")
    listed = _listed(store)
    if listed is not None:
        _equal(_ids(listed), [first.id, second.id], "the order after it")


def _any_text_is_kept(store: Any) -> None:
    texts = [
        "",
        " ",
        "\0",
        "a\0b",
        "\r\n\u2028\x85",
        "🧑‍🚀 مرحبا 你好",
        "\ud83d alone",
        '"\\%_',
        "x" * 1_000_000,
    ]
    messages = [
        evolve(_message(f"m{number}"), text=text, detail={"said": [text, {"\udc00": None}]})
        for number, text in enumerate(texts)
    ]
    store.save(messages)
    for message in messages:
        _equal(store.get(message.id), message, f"a message that says {message.text[:20]!r}")


def _any_id_is_kept(store: Any) -> None:
    ids = ["é", "a b", "a:b/c", "{x}", "*", "%", "[a]", "a\0b", "🧑‍🚀", "'\"`", "x" * 500]
    for parent, message_id in zip([None, *ids], ids, strict=False):
        store.save([_message(message_id, parent)])
    _equal(_ids(store.path(ids[-1])), ids[::-1], "a path of unusual ids")


def _a_save_that_fails_saves_nothing(store: Any) -> None:
    good = _message("good")
    bad = evolve(_message("bad", "good"), detail={"no form in JSON": object()})
    try:
        store.save([good, bad])
    except Exception:  # noqa: BLE001 - whatever the store says of it
        _equal(store.get("good"), None, "the first message of a save that failed")
        _equal(store.get("bad"), None, "the last message of a save that failed")


def _an_id_that_is_taken(store: Any) -> None:
    first = _message("same")
    other = evolve(first, text="another one", created_at=_MOMENT + timedelta(days=1))
    store.save([first])
    try:
        store.save([_message("new"), other])
    except MessageIdTakenError as error:
        _equal(list(error.message_ids), ["same"], "the ids of the error")
        _equal(store.get("same"), first, "the message that was there")
        _equal(store.get("new"), None, "another message of the save that was refused")
        _refused(store, [_message("twice"), evolve(other, id="twice")])
        _equal(store.get("twice"), None, "one of two messages that were saved under one id")
    else:  # a store need not look
        _equal(store.get("same"), other, "the message that took the place of another one")


def _refused(store: Any, messages: Sequence[ChatMessage]) -> None:
    try:
        store.save(messages)
    except MessageIdTakenError:
        return
    raise AssertionError("Two messages were saved under one id, in one save.")


def _replies_are_oldest_first(store: Any) -> None:
    store.save([_message("root")])
    replies = _offered(store, "replies", "root")
    if replies is None:
        return
    _equal(replies, [], "the replies to a message that has none")
    second, third, first = (
        evolve(_message(f"reply {hour}", "root"), created_at=_MOMENT + timedelta(hours=hour))
        for hour in (2, 3, 1)
    )
    store.save([second])
    store.save([third, _message("below", third.id)])
    store.save([first])
    wanted = _ids([first, second, third])
    _equal(_ids(store.replies("root")), wanted, "the replies to a message, by `created_at`")
    _equal(list(store.replies("nowhere")), [], "the replies to a message that is not there")


def _all_messages_are_listed(store: Any) -> None:
    if _listed(store) is None:
        return
    _equal(_listed(store), [], "the messages of an empty store")
    thread = _thread(1_203)
    for begin in range(0, len(thread), 100):
        store.save(thread[begin : begin + 100])
    store.path(thread[600].id)
    _equal(_ids(_listed(store) or ()), _ids(thread), "all messages, in the order of their saving")


def _a_long_thread_is_read(store: Any) -> None:
    thread = _thread(2_000)
    store.save(thread)
    _equal(_ids(store.path(thread[-1].id)), _ids(thread)[::-1], "a thread of 2,000 messages")


def _many_threads_lose_nothing(store: Any) -> None:
    def work(worker: int) -> str:
        parent = None
        for turn in range(25):
            question = _message(f"{worker}.{turn}.q", parent)
            answer = _message(f"{worker}.{turn}.a", question.id, "assistant")
            store.save([question, answer])
            _equal(len(store.path(answer.id)), 2 * turn + 2, "the length of a growing thread")
            parent = answer.id
        return parent or ""

    with ThreadPoolExecutor(8) as pool:
        for leaf in pool.map(work, range(8)):
            _equal(len(store.path(leaf)), 50, "the length of a thread of 25 exchanges")


RULES: Final[Sequence[StoreRule]] = tuple(
    StoreRule(body.__name__.strip("_").replace("_", " "), body)
    for body in (
        _what_is_saved_is_found,
        _what_is_unknown_is_not_found,
        _a_path_is_newest_first,
        _a_path_keeps_to_its_branch,
        _a_path_ends_where_a_parent_is_missing,
        _a_circle_ends,
        _saving_again_adds_counts,
        _any_text_is_kept,
        _any_id_is_kept,
        _a_save_that_fails_saves_nothing,
        _an_id_that_is_taken,
        _replies_are_oldest_first,
        _all_messages_are_listed,
        _a_long_thread_is_read,
        _many_threads_lose_nothing,
    )
)
"""What every store has to do."""


# --- messages --------------------------------------------------------------------------------


def _message(message_id: str, parent_id: str | None = None, role: Role = "user") -> ChatMessage:
    return ChatMessage(
        id=message_id,
        text=f"the text of {message_id}",
        role=role,
        parent_message_id=parent_id,
        conversation_id="c",
        created_at=_MOMENT,
    )


def _thread(length: int) -> list[ChatMessage]:
    ids = [f"{number}-{uuid4()}" for number in range(length)]
    return [_message(own, parent) for own, parent in zip(ids, [None, *ids], strict=False)]


def _whole_message() -> ChatMessage:
    """A message that has something in every attribute."""
    return ChatMessage(
        id="whole",
        text="what was said",
        role="assistant",
        name="Ann",
        delta="said",
        rewritten=True,
        is_hidden=True,
        parent_message_id="before",
        conversation_id="c",
        detail={"choices": [{"index": 0, "logprobs": None}], "big": 2**60, "half": 0.5},
        model="gpt-5.4-mini",
        usage=Usage(
            prompt_tokens=5, completion_tokens=7, total_tokens=12, cached_tokens=1, estimated=True
        ),
        finish_reason="stop",
        reasoning="what was thought",
        context=ContextReport(
            oldest_message_id="before",
            message_count=2,
            prompt_tokens=5,
            counting="exact",
            prompt_limit=None,
            reserved_tokens=9,
            left_out=3,
            left_out_reason="window",
            missing_message_id="gone",
            unreadable_message_ids=("broken",),
            changes=(RequestChange("max_tokens", "renamed", is_learned=True),),
        ),
        created_at=_MOMENT,
        request_id="req_1",
        account_id="account",
        wire_fields={"tool_calls": [{"id": "call_1"}]},
        token_counts={"o200k_base": 3},
    )


# --- looking ---------------------------------------------------------------------------------


def _ids(messages: Sequence[ChatMessage]) -> list[str]:
    return [message.id for message in messages]


def _listed(store: Any) -> list[ChatMessage] | None:
    return _offered(store, "all_messages")


def _offered(store: Any, name: str, *given: object) -> list[ChatMessage] | None:
    """What a method lists that a store need not have; `None` where it has not."""
    method = getattr(store, name, None)
    if method is None:
        return None
    try:
        return list(method(*given))
    except ConfigurationError:
        return None


def _equal(found: object, expected: object, what: str) -> None:
    if found != expected:
        shown, wanted = (repr(value)[:300] for value in (found, expected))
        raise AssertionError(f"{what[0].upper()}{what[1:]}: {shown}, where {wanted} is right.")


@contextmanager
def _plain(make_store: MakeStore, backend: str) -> Iterator[Any]:
    """A new store as one of plain methods; it is closed in the end, if it can be."""
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be 'asyncio' or 'trio', not {backend!r}.")
    store: Any = make_store()
    _, awaited = methods_of(store, "chatgpt.MessageStore")
    if not awaited:
        try:
            yield check_store(store)
        finally:
            getattr(store, "close", bool)()
        return
    from anyio.from_thread import start_blocking_portal

    from chatgpt_async.stores.protocol import awaitable_store

    awaitable_store(store)
    with start_blocking_portal(backend) as portal:
        try:
            yield _PlainFace(store, portal.call)
        finally:
            if hasattr(store, "aclose"):
                portal.call(store.aclose)


class _PlainFace:
    """A store of async methods, whose methods are called in an event loop."""

    def __init__(self, store: Any, call: Callable[..., Any]) -> None:
        self._store = store
        self._call = call

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if inspect.iscoroutinefunction(method):
            return lambda *given: self._call(method, *given)
        return method

    @property
    def all_messages(self) -> Callable[[], list[ChatMessage]] | None:
        return self._all_messages if hasattr(self._store, "all_messages") else None

    def _all_messages(self) -> list[ChatMessage]:
        async def listed() -> list[ChatMessage]:
            return [message async for message in self._store.all_messages()]

        found: list[ChatMessage] = self._call(listed)
        return found
