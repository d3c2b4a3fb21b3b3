"""The books as JSON: what is written is read again, and what is no books is refused."""

from __future__ import annotations

import json
from math import inf
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt.core.errors import ChatGPTErrorType, StoreError
from chatgpt.core.pool.documents import VERSION, from_document, to_document
from chatgpt.core.pool.state import FIRST, AccountRecord, Holder, PoolState, Ticket

names = st.text(st.characters(), max_size=6)  # lone surrogates, too: ids are the caller's
numbers = st.integers(0, 2**60)
times = st.floats(-1e12, 1e12)
records = st.builds(
    AccountRecord,
    cools_until=times | st.just(-inf),
    cools_since=times | st.just(-inf),
    is_out=st.booleans(),
    reason=st.none() | st.sampled_from(get_args(ChatGPTErrorType)),
    calls=numbers,
    failures=numbers,
    number=numbers,
    changed=times | st.just(-inf),
)
tickets = st.builds(
    Ticket,
    id=numbers,
    account_id=st.none() | names,
    excluded=st.frozensets(names, max_size=3),
    number=st.just(FIRST) | numbers,
)
holders = st.builds(
    Holder,
    accounts=st.dictionaries(names, st.none() | st.integers(1, 99), max_size=4),
    leases=st.dictionaries(numbers, names, max_size=4),
    tickets=st.lists(tickets, max_size=4).map(tuple),
    seen=times | st.just(-inf),
    until=times | st.just(inf),
)
states = st.builds(
    PoolState,
    accounts=st.dictionaries(names, records, max_size=4),
    holders=st.dictionaries(names, holders, max_size=3),
    last_number=numbers,
    opens=times | st.just(-inf),
)

BOOKS = PoolState(
    accounts={"a": AccountRecord(200.0, 100.0, is_out=True, reason="unknown", calls=3, number=9)},
    holders={
        "me": Holder(
            {"a": 1, "b": None},
            {1: "a", 4: "a", 5: "b"},
            (Ticket(2, "a", number=3), Ticket(3, None, frozenset("ab"), FIRST)),
            90.0,
            110.0,
        )
    },
    last_number=9,
    opens=95.0,
)


@given(states)
def test_what_is_written_is_read_again(state: PoolState) -> None:
    read = from_document(to_document(state))
    assert read == state
    for name, holder in state.holders.items():  # the order decides
        assert [*read.holders[name].accounts] == [*holder.accounts]
    assert [*read.holders] == [*state.holders]


def test_there_are_no_books_yet() -> None:
    assert from_document(None) == PoolState()
    assert from_document(to_document(PoolState())) == PoolState()


def test_it_is_plain_json() -> None:
    """Which every process reads, in whatever language."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    document = to_document(
        PoolState(accounts={"ä": AccountRecord()}, holders={"me": Holder({"ä": None})})
    )
    read = json.loads(document.decode("ascii"), parse_constant=refuse)
    assert read["version"] == VERSION
    assert read["accounts"]["ä"] == {
        "is_out": False,
        "reason": None,
        "calls": 0,
        "failures": 0,
        "number": 0,
    }


# --- what is no books ----------------------------------------------------------------------------

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)


@given(st.binary(max_size=40) | anything.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_refused(document: bytes) -> None:
    with pytest.raises(StoreError, match="not the books"):
        from_document(document)


@pytest.mark.parametrize(
    "document",
    [b"", b"null", b"[]", b"{}", b"1", b'"version"', b"\xff", b"[" * 100_000, b'{"version": 1}'],
)
def test_known_garbage_is_refused(document: bytes) -> None:
    with pytest.raises(StoreError, match="not the books") as caught:
        from_document(document)
    assert caught.value.__cause__ is None  # it may hold what nobody is to see


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_another_version_is_refused(version: object) -> None:
    document = {**json.loads(to_document(BOOKS)), "version": version}
    with pytest.raises(StoreError, match="another version"):
        from_document(json.dumps(document).encode())


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each place within a document: what holds it, and the key or the index."""
    if isinstance(value, dict):
        keys: list[Any] = [*value]
    else:
        keys = [*range(len(value))] if isinstance(value, list) else []
    return [place for key in keys for place in ((value, key), *places(value[key]))]


@given(st.data())
def test_books_that_were_tampered_with_are_read_or_refused(data: st.DataObject) -> None:
    """Nothing else is raised: the keeper of the books knows what to do with a `StoreError`."""
    document = json.loads(to_document(BOOKS))
    container, key = data.draw(st.sampled_from(places(document)))
    container[key] = data.draw(anything)
    try:
        read = from_document(json.dumps(document).encode())
    except StoreError:
        return
    assert isinstance(read, PoolState)


def test_infinity_where_a_number_is_due_is_refused() -> None:
    document = to_document(BOOKS).replace(b'"last_number":9', b'"last_number":1e999')
    with pytest.raises(StoreError):
        from_document(document)
