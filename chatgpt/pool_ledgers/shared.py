"""The books of a pool in Redis, for all processes and machines that share its accounts.

Strategy: the books are one JSON document. One thread of the process, the keeper, reads it, applies what the calls of
this process have written meanwhile (`core.pool`), and puts it back if nobody else has changed it in between; or else
begins again with what is there now. So a call never waits for Redis but for an account, in both twins alike, and
many calls are one round trip.

Rules:

1. What this process holds is its own truth: its entry is written whole, whatever is there.
2. While calls use accounts, the keeper says so three times in `lease_seconds`; while they wait, twice a second, and
   it looks whether another process has given something back.
3. Redis may be away for `OUTAGE` seconds. Then the calls that wait fail; those that have an account go on, and what
   became of them is written when Redis is back.
4. The keeper ends when there is nothing to keep; with the process, it writes what is still to be written.
5. The time is that of Redis, measured with each answer: the clocks of the machines do not matter.
"""

from __future__ import annotations

import atexit
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final
from weakref import WeakSet

from attrs import evolve, frozen

from chatgpt.core.errors import StoreError
from chatgpt.core.pool.documents import from_document, to_document
from chatgpt.core.pool.events import AccountAdded, CallEnds, CallWaits, PoolEvent
from chatgpt.core.pool.state import NEW_HOLDER, PoolState, settled
from chatgpt.core.validation import required_identifier
from chatgpt.pool_ledgers.conversations import KnownConversations
from chatgpt.pool_ledgers.keeping import KeptLedger
from chatgpt.stores.forks import look_after
from chatgpt.stores.redis_address import RedisAddress
from chatgpt.stores.redis_connections import RedisConnections

POLL: Final = 0.02
LONGEST_POLL: Final = 0.2
"""Seconds after which the keeper looks again while calls wait; more and more while nothing happens."""

WAITING_BEAT: Final = 0.5
"""Seconds after which it says that they do; others believe it for `core.pool.state.PATIENCE`."""

BEATS: Final = 3
"""How often it says within `lease_seconds` that accounts are used."""

OUTAGE: Final = 3.0
"""Seconds for which Redis may be away before the calls that wait are told."""

RETRY: Final = 0.2
"""Seconds after which it is tried again meanwhile; ten times as long later on."""

LINGERING: Final = 2.0
"""Seconds after which the keeper ends when there is nothing to keep."""

CONVERSATION_SECONDS: Final = 90 * 24 * 3600
"""How long it is known in which account a conversation lives, after its last reply."""

# KEYS: the books. ARGV: the mark of the books that are known. Answers the mark, the document if it is another
# one, and the time.
_READ: Final = """
local mark = redis.call('HGET', KEYS[1], 'mark')
local document = false
if mark ~= ARGV[1] then
    document = redis.call('HGET', KEYS[1], 'document')
end
local time = redis.call('TIME')
return {mark, document, time[1], time[2]}
"""

# KEYS: the books. ARGV: the mark of the books that are known, or nothing; another mark, and a document. Writes it
# if nobody has written meanwhile. Answers as above.
_SWAP: Final = """
local mark = redis.call('HGET', KEYS[1], 'mark')
local time = redis.call('TIME')
if (mark or '') ~= ARGV[1] then
    return {mark, redis.call('HGET', KEYS[1], 'document'), time[1], time[2]}
end
redis.call('HSET', KEYS[1], 'mark', ARGV[2], 'document', ARGV[3])
return {ARGV[2], false, time[1], time[2]}
"""


@frozen
class _Remembered:
    """A conversation, and the account in which it lives."""

    conversation_id: str
    account_id: str


@frozen
class _Entry:
    """What is to be written, and who waits until it is."""

    event: PoolEvent | _Remembered | None
    written: Future[None] | None = None


class SharedLedger(KeptLedger):
    """The books in Redis.

    Args:
        accounts: the accounts of this process, as they are now, each with the number of calls that it takes at
            once, of all processes together; `None` for any.
        address: where Redis is.
        key_prefix: what the keys begin with; pools with other prefixes are others.
        lease_seconds: after how many seconds the accounts of a dead process are free.
    """

    def __init__(
        self,
        accounts: Mapping[str, int | None],
        address: RedisAddress,
        key_prefix: str,
        lease_seconds: float,
    ) -> None:
        super().__init__()
        self._accounts = accounts
        self._address = address
        self._books = f"{{{key_prefix}}}:pool"
        self._lease_seconds = lease_seconds
        self._begin_anew()
        look_after(self)
        _ledgers.add(self)

    # --- what `stores.forks` asks for --------------------------------------------------------

    def _before_fork(self) -> None: ...

    def _after_fork(self) -> None: ...

    def _begin_anew(self) -> None:
        self.holder_id = uuid.uuid4().hex
        self._state = PoolState()
        self._wakes = {}
        self._known = KnownConversations()
        self._connections = RedisConnections(self._address)
        self._inbox: SimpleQueue[_Entry] = SimpleQueue()
        self._starting = threading.RLock()
        self._keeping = threading.Lock()
        self._keeper: threading.Thread | None = None
        self._is_closing = False
        self._problems: dict[int, StoreError] = {}
        # What only the keeper touches.
        self._pending = [_Entry(AccountAdded(*account)) for account in [*self._accounts.items()]]
        self._own = NEW_HOLDER
        self._base = PoolState()
        self._mark = b""
        self._offset: float | None = None
        self._beaten = self._failing_since = -1.0
        self._has_given_up = False
        self._quiet_polls = 0

    # --- what calls ask for ------------------------------------------------------------------

    def now(self) -> float:
        """The time of Redis, as far as it is known."""
        return monotonic() + (self._offset or 0.0)

    def write(self, event: PoolEvent) -> None:
        """Have written into the books what happened, soon."""
        if isinstance(event, CallEnds):
            self._problems.pop(event.ticket_id, None)
        self._put(_Entry(event))

    def look_again(self) -> None:
        """The keeper does so by itself."""

    def problem_of(self, ticket_id: int) -> Exception | None:
        """Why the books could not be written for a call that waits; `None` where they could."""
        return self._problems.get(ticket_id)

    def remember(self, conversation_id: str, account_id: str) -> None:
        """Note in which account a conversation lives, for all who share the pool."""
        self._known.remember(conversation_id, account_id)
        self._put(_Entry(_Remembered(conversation_id, account_id)))

    def _has_news(self, ticket_id: int) -> bool:
        return super()._has_news(ticket_id) or ticket_id in self._problems

    def write_now(self, event: PoolEvent) -> None:
        """Write something, and wait until it is written.

        Raises:
            StoreError: Redis was away for too long.
        """
        written: Future[None] = Future()
        self._put(_Entry(event, written))
        written.result()

    def read_now(self) -> tuple[PoolState, float]:
        """The books as they are now, and the time by which they are kept.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        written: Future[None] = Future()
        self._put(_Entry(None, written))
        written.result()
        return self._state, self.now()

    def account_of(self, conversation_id: str) -> str | None:
        """The account in which a conversation lives; `None` where that is not known.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        found = self._known.get(conversation_id)
        if found is None:
            answer = self._connections.send(("GET", self._conversation_key(conversation_id)))
            if answer is not None:
                found = answer.decode("utf-8", "replace")
                self._known.remember(conversation_id, found)
        return found

    def close(self) -> None:
        """Write what is still to be written. The keeper ends, and closes the connections, when no call needs it."""
        keeper = self._keeper
        if keeper is None:
            self._connections.close()
            return
        self._is_closing = True
        with suppress(StoreError):
            self.read_now()
        if self._own.is_idle:
            keeper.join()

    # --- the keeper --------------------------------------------------------------------------

    def _put(self, entry: _Entry) -> None:
        self._inbox.put(entry)
        with self._starting:
            if self._keeper is None:
                self._is_closing = False
                keeper = threading.Thread(target=self._keep, name="chatgpt-pool", daemon=True)
                self._keeper = keeper
                with suppress(RuntimeError):  # the process ends: the lease will expire
                    keeper.start()

    def _keep(self) -> None:
        me = threading.current_thread()
        while self._keeper is me:  # a finalizer may have started another one at the same moment
            pause = self._pause()
            with self._keeping:
                entries = self._taken(pause)
                self._write(entries)
            if entries or not self._is_done:
                continue
            with self._starting:
                if not self._inbox.empty() or self._keeper is not me:
                    continue
                self._keeper = None
            self._connections.close()

    @property
    def _is_done(self) -> bool:
        """Whether there is nothing to keep, or nothing that can be."""
        return self._own.is_idle and (not self._pending or self._has_given_up)

    def _pause(self) -> float:
        """Seconds until there is something to do, if nothing comes before."""
        if self._failing_since >= 0:
            return RETRY if monotonic() - self._failing_since < OUTAGE else 10 * RETRY
        if self._own.tickets:
            return min(POLL * (1 + self._quiet_polls), LONGEST_POLL)
        if self._own.leases:
            return self._lease_seconds / BEATS
        return 0.0 if self._is_closing else LINGERING

    def _taken(self, seconds: float) -> list[_Entry]:
        """What came meanwhile, all of it; a wait of so long where nothing is there."""
        entries: list[_Entry] = []
        with suppress(Empty):
            entries.append(self._inbox.get(timeout=seconds))
            while True:
                entries.append(self._inbox.get_nowait())
        return entries

    def _write(self, entries: list[_Entry]) -> None:
        """Write what is to be written, or keep it until it can be."""
        self._pending += entries
        self._has_given_up = self._has_given_up and not entries
        if self._is_done:
            return
        try:
            self._exchange()
        except StoreError as error:
            self._bear(error)
        except Exception as error:  # noqa: BLE001 - nobody else would see it, and calls would wait for ever
            self._bear(StoreError(f"The books of the pool cannot be kept: {type(error).__name__}."))
        else:
            self._failing_since = -1.0
            written, self._pending = self._pending, []
            for entry in written:
                if entry.written is not None:
                    entry.written.set_result(None)

    def _exchange(self) -> None:
        """Bring together what is in Redis, what this process holds and what is to be written."""
        known_mark = self._mark
        wants_all = self._offset is None or any(entry.written for entry in self._pending)
        if wants_all or not self._pending:
            self._read()
        while True:
            now = self.now()
            before = state = self._base.with_holder(self.holder_id, self._own)
            for entry in self._pending:
                if isinstance(entry.event, PoolEvent):
                    state = entry.event.applied(state, self.holder_id, now)
            state = settled(state, self.holder_id, now)
            own = state.holder(self.holder_id)
            beat = WAITING_BEAT if own.tickets else self._lease_seconds / BEATS
            is_quiet = state == before and self._mark == known_mark
            is_due = not own.is_idle and monotonic() - self._beaten >= beat
            if state != before or is_due:
                own = evolve(own, seen=now, until=now + self._lease_seconds)
                state = state.with_holder(self.holder_id, own)
                if not self._swap(state):
                    continue
                self._beaten = monotonic()
            self._quiet_polls = self._quiet_polls + 1 if is_quiet else 0
            self._own, known = own, self._state
            self._state = state
            self._wake_given(known)
            break
        for entry in self._pending:
            if isinstance(entry.event, _Remembered):
                key = self._conversation_key(entry.event.conversation_id)
                self._connections.send(
                    ("SET", key, entry.event.account_id, "EX", CONVERSATION_SECONDS)
                )

    def _read(self) -> None:
        self._ask(_READ, self._mark)

    def _swap(self, state: PoolState) -> bool:
        """Write the books, if nobody has changed them meanwhile; whether it was done."""
        mark = uuid.uuid4().hex.encode()
        if self._ask(_SWAP, self._mark, mark, to_document(state)) != mark:
            return False
        self._base, self._mark = state, mark
        return True

    def _ask(self, script: str, *arguments: bytes) -> bytes:
        """Run a script; return the mark of what is in Redis then."""
        sent = monotonic()
        answer: Any = self._connections.send(("EVAL", script, 1, self._books, *arguments))
        mark, document, seconds, microseconds = answer
        self._offset = int(seconds) + int(microseconds) / 1e6 - (sent + monotonic()) / 2
        mark = mark or b""
        if document is not None or not mark:
            self._base, self._mark = from_document(document), mark
        return mark

    def _bear(self, error: StoreError) -> None:
        """Redis is away: those who wait are told when it has been so for too long."""
        now = monotonic()
        if self._failing_since < 0:
            self._failing_since = now
        self._mark = b""  # what was written may be there all the same
        if now - self._failing_since < OUTAGE:
            return
        waiting = [
            entry.event.ticket.id for entry in self._pending if isinstance(entry.event, CallWaits)
        ]
        waiting += [ticket.id for ticket in self._own.tickets]
        self._own = evolve(self._own, tickets=())
        kept: list[_Entry] = []
        told: list[_Entry] = []
        for entry in self._pending:
            is_kept = not isinstance(entry.event, (CallWaits, type(None))) and entry.written is None
            if isinstance(entry.event, CallEnds):
                is_kept = entry.event.ticket_id in self._own.leases
            (kept if is_kept else told).append(entry)
        self._pending = kept
        self._problems.update(dict.fromkeys(waiting, error))
        self._wake(waiting)
        for entry in told:
            if entry.written is not None:
                entry.written.set_exception(error)
        if self._own.is_idle:
            self._has_given_up, self._failing_since = True, -1.0

    def _conversation_key(self, conversation_id: str) -> str:
        return f"{self._books}:conversation:{conversation_id}"


def key_prefix_of(value: object) -> str:
    """Check what the keys begin with.

    Raises:
        TypeError, ValueError: it is no text, or blank.
    """
    return required_identifier("key_prefix", value)


_ledgers: WeakSet[SharedLedger] = WeakSet()


@atexit.register
def _close_all() -> None:
    """Give back what the process still holds: its keepers end with it."""
    for ledger in list(_ledgers):
        ledger.close()
