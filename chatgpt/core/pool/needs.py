"""What a call of a pool needs, beside what the call of one client needs; the rules are those of `core.needs`."""

from __future__ import annotations

from attrs import frozen

from chatgpt.core.needs import Need
from chatgpt.core.pool.failures import Verdict
from chatgpt.core.pool.members import Member


@frozen
class AwaitAccount(Need[None]):
    """Wait until there is news for a call, or for so long; it may be woken for nothing.

    It fails with `"aborted"` alone.

    Attributes:
        ticket_id: the id of the call's ticket.
        seconds: for how long.
    """

    ticket_id: int
    seconds: float


@frozen
class UseAccount(Need[Member | None]):
    """From now on, meet the needs of the call with the connections of an account.

    The answer is the account's client; `None` where it has been removed.

    Attributes:
        account_id: the account.
    """

    account_id: str


@frozen
class LeaveAccount(Need[bool]):
    """An attempt has failed: close what it has left open, and pass on its turn.

    The answer says whether it has handed a part of the reply to the caller.

    Attributes:
        account_id: the account.
        verdict: what it has to do with the failure; for the log.
    """

    account_id: str
    verdict: Verdict
