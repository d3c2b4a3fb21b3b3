"""The books of a pool as JSON, for the processes that share them.

Rules:

1. What is written is read again as it was. `math.inf` is no JSON, and is left out.
2. A document of an unknown version, or one that is none, is no books: it is refused, and never overwritten.
"""

from __future__ import annotations

import json
from math import inf
from typing import Any, Final, cast

from chatgpt.core.errors import ChatGPTErrorType, StoreError
from chatgpt.core.pool.state import AccountRecord, Holder, PoolState, Ticket

VERSION: Final = 1


def to_document(state: PoolState) -> bytes:
    """Write the books."""
    document = {
        "version": VERSION,
        "last_number": state.last_number,
        **_without_infinity({"opens": state.opens}),
        "accounts": {
            account_id: _without_infinity(
                {
                    "cools_until": record.cools_until,
                    "cools_since": record.cools_since,
                    "is_out": record.is_out,
                    "reason": record.reason,
                    "calls": record.calls,
                    "failures": record.failures,
                    "number": record.number,
                    "changed": record.changed,
                }
            )
            for account_id, record in state.accounts.items()
        },
        "holders": {
            holder_id: _without_infinity(
                {
                    "accounts": holder.accounts,
                    "leases": _ids_by_account(holder),
                    "tickets": [
                        [ticket.id, ticket.number, ticket.account_id, sorted(ticket.excluded)]
                        for ticket in holder.tickets
                    ],
                    "seen": holder.seen,
                    "until": holder.until,
                }
            )
            for holder_id, holder in state.holders.items()
        },
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def from_document(document: bytes | None) -> PoolState:
    """Read the books; there are none yet where there is no document.

    Raises:
        StoreError: it is something else, or of a version that is not known.
    """
    if document is None:
        return PoolState()
    try:
        read = json.loads(document)
        if read["version"] == VERSION:
            return _state(read)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise StoreError(
            "What is stored under the key of the pool is not the books of a pool."
        ) from None
    raise StoreError("The books of the pool were written by another version of this package.")


def _state(read: dict[str, Any]) -> PoolState:
    return PoolState(
        accounts={
            account_id: AccountRecord(
                cools_until=_time(record, "cools_until", -inf),
                cools_since=_time(record, "cools_since", -inf),
                is_out=bool(record["is_out"]),
                reason=cast("ChatGPTErrorType | None", record["reason"]),
                calls=int(record["calls"]),
                failures=int(record["failures"]),
                number=int(record["number"]),
                changed=_time(record, "changed", -inf),
            )
            for account_id, record in read["accounts"].items()
        },
        holders={
            holder_id: Holder(
                accounts=dict(holder["accounts"]),
                leases={
                    int(ticket_id): account_id
                    for account_id, ids in holder["leases"].items()
                    for ticket_id in ids
                },
                tickets=tuple(
                    Ticket(int(ticket_id), account_id, frozenset(excluded), number)
                    for ticket_id, number, account_id, excluded in holder["tickets"]
                ),
                seen=_time(holder, "seen", -inf),
                until=_time(holder, "until", inf),
            )
            for holder_id, holder in read["holders"].items()
        },
        last_number=int(read["last_number"]),
        opens=_time(read, "opens", -inf),
    )


def _ids_by_account(holder: Holder) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for ticket_id, account_id in holder.leases.items():
        found.setdefault(account_id, []).append(ticket_id)
    return found


def _without_infinity(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value not in (inf, -inf)}


def _time(fields: dict[str, Any], name: str, otherwise: float) -> float:
    return float(fields.get(name, otherwise))
