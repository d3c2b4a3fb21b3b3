"""The books of a pool that many processes share.

Strategy: one thread of the process, the keeper, reads the books (`redis_books`), applies what the calls of this process
have written meanwhile (`core.pool.events`), and puts them back if nobody else has changed them in between; or else
begins again with what is there now. So a call never waits for Redis but for an account, in both twins alike, and
many calls are one round trip.

Rules:

1. What this process holds is its own truth: its entry is written whole, whatever is there.
2. While calls use accounts, the keeper says so three times in `lease_seconds`; while they wait, twice a second, and
   it looks whether another process has given something back.
3. Redis may be away for `OUTAGE` seconds. Then the calls that wait fail; those that have an account go on, and what
   became of them is written when Redis is back.
4. The keeper ends when there is nothing to keep. At the end of the process it writes what is still to be written.
"""

from __future__ import annotations

import atexit
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Final
from weakref import WeakSet

from attrs import evolve, frozen

from chatgpt.core.errors import ChatGPTError, StoreError
from chatgpt.core.pool.events import AccountAdded, CallEnds, CallWaits, PoolEvent
from chatgpt.core.pool.state import NEW_HOLDER, Holder, PoolState, settled
from chatgpt.pool_ledgers.conversations import KnownConversations
from chatgpt.pool_ledgers.keeping import KeptLedger
from chatgpt.pool_ledgers.redis_books import RedisBooks
from chatgpt.stores.forks import look_after
from chatgpt.stores.redis_address import RedisAddress

POLL: Final = 0.02
LONGEST_POLL: Final = 0.2
"""Seconds after which the keeper looks again while calls wait; more and more while nothing happens."""

PAUSE: Final = 0.005
"""Seconds after which it tries again to write where it is somebody else's turn."""

WAITING_BEAT: Final = 0.5
"""Seconds after which it says that calls wait; others believe it for `core.pool.state.PATIENCE`."""

BEATS: Final = 3
"""How often it says within `lease_seconds` that accounts are used."""

OUTAGE: Final = 3.0
"""Seconds for which Redis may be away before the calls that wait are told."""

RETRY: Final = 0.2
"""Seconds after which it is tried again meanwhile; ten times as long later on."""

LINGERING: Final = 2.0
"""Seconds after which the keeper ends when there is nothing to keep."""


@frozen
class Remembered:
    """A conversation, and the account in which it lives."""

    conversation_id: str
    account_id: str


@frozen
class LookedUp:
    """A call that wants to know in which account a conversation lives."""

    ticket_id: int
    conversation_id: str


@frozen
class Entry:
    """What the keeper is to do.

    Attributes:
        what: what is to be written, or looked up; `None` to look at the books.
        done: is told when it is done, or cannot be.
    """

    what: PoolEvent | Remembered | LookedUp | None
    done: Future[None] | None = None


@frozen
class _Tried:
    """A writing whose answer has not come: it may be there all the same.

    Attributes:
        own: what it said of this process; when it was seen tells one writing from another.
        entries: how many of the pending entries it held.
    """

    own: Holder
    entries: int


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
        self._place = address, key_prefix, lease_seconds / BEATS
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
        self._wakes, self._found = {}, {}
        self._problems: dict[int, StoreError] = {}
        self._known = KnownConversations()
        self._inbox: SimpleQueue[Entry] = SimpleQueue()
        self._starting = threading.RLock()
        self._keeping = threading.Lock()
        self._keeper: threading.Thread | None = None
        self._is_closing = False
        # What only the keeper touches.
        self._books = RedisBooks(*self._place)
        self._pending = [Entry(AccountAdded(*account)) for account in [*self._accounts.items()]]
        self._own = NEW_HOLDER
        self._beaten = self._failing_since = -1.0
        self._has_given_up = False
        self._quiet_polls = 0
        self._tried: _Tried | None = None
        self._is_exit_known = False

    # --- what calls ask for ------------------------------------------------------------------

    def now(self) -> float:
        """The time of Redis, as far as it is known."""
        return self._books.now()

    def write(self, event: PoolEvent) -> None:
        """Have written into the books what happened, soon."""
        self._put(Entry(event))

    def look_again(self) -> None:
        """The keeper does so by itself."""

    def problem_of(self, ticket_id: int) -> Exception | None:
        """Why the books could not be written for a call that waits; `None` where they could."""
        return self._problems.get(ticket_id)

    def look_up(self, ticket_id: int, conversation_id: str) -> None:
        """Look up in which account a conversation lives; a call is woken when it is known."""
        found = self._known.get(conversation_id)
        if found is not None:
            self._found[ticket_id] = found
        else:
            self._put(Entry(LookedUp(ticket_id, conversation_id)))

    def remember(self, conversation_id: str, account_id: str) -> None:
        """Note in which account a conversation lives, for all who share the pool."""
        self._known.remember(conversation_id, account_id)
        self._put(Entry(Remembered(conversation_id, account_id)))

    def _has_news(self, ticket_id: int) -> bool:
        return super()._has_news(ticket_id) or ticket_id in self._problems

    # --- what waits --------------------------------------------------------------------------

    def write_now(self, event: PoolEvent) -> None:
        """Write something, and wait until it is written.

        Raises:
            StoreError: Redis was away for too long.
        """
        self._asked(event).result()

    def read_now(self) -> tuple[PoolState, float]:
        """The books as they are now, and the time by which they are kept.

        Raises:
            StoreError: Redis was away for too long.
        """
        self._asked(None).result()
        return self._state, self.now()

    def _asked(self, event: PoolEvent | None) -> Future[None]:
        done: Future[None] = Future()
        self._put(Entry(event, done))
        return done

    def close(self) -> None:
        """Write what is still to be written. The keeper ends, and closes the connections, when no call needs it."""
        self.begin_close()
        self.finish_close(monotonic() + OUTAGE)

    def begin_close(self) -> None:
        """Have the keeper write what is to be written, and end."""
        self._is_closing = True
        if self._keeper is not None:
            self._inbox.put(Entry(None))

    def give_everything_back(self) -> None:
        """The process ends, and all of its calls with it."""
        own = self._state.holder(self.holder_id)
        for ticket_id in (*own.leases, *(ticket.id for ticket in own.tickets)):
            self._put(Entry(CallEnds(ticket_id)))

    def finish_close(self, end: float) -> None:
        """Wait until it has ended, at most until a moment of `time.monotonic`; not while calls have accounts."""
        keeper = self._keeper
        while keeper is not None and keeper.is_alive() and monotonic() < end:
            keeper.join(PAUSE)
            if self._inbox.empty() and not self._pending and not self._own.is_idle:
                return
        if self._keeper is None:
            self._books.close()

    # --- the keeper --------------------------------------------------------------------------

    def _put(self, entry: Entry) -> None:
        self._inbox.put(entry)
        with self._starting:
            if self._keeper is not None and self._keeper.is_alive():
                return
            self._is_closing = False
            self._close_at_exit()
            self._keeper = threading.Thread(target=self._keep, name="chatgpt-pool", daemon=True)
            try:
                self._keeper.start()
            except RuntimeError as error:  # there are too many threads, or the process ends
                self._keeper = None
                self._give_up(StoreError(f"The pool cannot be shared: {error}."), self._taken(0))

    def _close_at_exit(self) -> None:
        """A process of `multiprocessing` that was forked ends without `atexit`, and has a way of its own."""
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not self._is_exit_known:
            self._is_exit_known = True
            util.Finalize(None, _close_all, exitpriority=0)

    def _keep(self) -> None:
        me = threading.current_thread()
        while self._keeper is me:  # a finalizer may have started another one at the same moment
            with self._keeping:
                entries = self._taken(self._pause())
                self._write(entries)
            if entries or not self._is_done:
                continue
            with self._starting:
                if not self._inbox.empty() or self._keeper is not me:
                    continue
                self._keeper = None
            self._books.close()

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

    def _taken(self, seconds: float) -> list[Entry]:
        """What came meanwhile, all of it; a wait of so long where nothing is there."""
        entries: list[Entry] = []
        with suppress(Empty):
            entries.append(self._inbox.get(seconds > 0, seconds))
            while True:
                entries.append(self._inbox.get_nowait())
        return entries

    def _write(self, entries: Sequence[Entry]) -> None:
        """Write what is to be written, or keep it until it can be."""
        asked = [entry for entry in entries if entry.what is not None or entry.done is not None]
        self._pending += asked
        self._has_given_up = self._has_given_up and not asked
        if self._is_done:
            return
        began = monotonic()
        try:
            self._exchange()
        except StoreError as error:
            self._bear(error, began)
        except Exception as error:  # noqa: BLE001 - nobody else would see it, and calls would wait for ever
            # What is not ours may repeat a password.
            reason = error if isinstance(error, ChatGPTError) else type(error).__name__
            self._bear(StoreError(f"The pool cannot be shared: {reason}"), began)
        else:
            self._failing_since = -1.0
            written, self._pending = self._pending, []
            for entry in written:
                if entry.done is not None:
                    entry.done.set_result(None)

    def _exchange(self) -> None:
        """Bring together what is in Redis, what this process holds and what is to be written."""
        books, known_mark, has_lost = self._books, self._books.mark, False
        self._take_over_tried()
        if not books.is_timed or not self._pending or any(entry.done for entry in self._pending):
            books.read()
        while True:
            now = books.now()
            before = self._with_own(books.state)
            state = before
            for entry in self._pending:
                if isinstance(entry.what, PoolEvent):
                    state = entry.what.applied(state, self.holder_id, now)
            state = settled(state, self.holder_id, now)
            own = state.holder(self.holder_id)
            beat = WAITING_BEAT if own.tickets else self._lease_seconds / BEATS
            is_due = not own.is_idle and monotonic() - self._beaten >= beat
            is_quiet = state == before and books.mark == known_mark
            if state != before or is_due:
                own = evolve(own, seen=now, until=now + self._lease_seconds)
                state = state.with_holder(self.holder_id, own)
                self._tried = _Tried(own, len(self._pending))
                outcome = books.write(state, self.holder_id, has_lost=has_lost)
                self._tried = None
                if outcome != "written":
                    has_lost = has_lost or outcome == "changed"
                    sleep(PAUSE if outcome == "not yet" else 0)
                    self._pending += self._taken(0)
                    continue
                self._beaten = monotonic()
            break
        self._quiet_polls = self._quiet_polls + 1 if is_quiet else 0
        self._own, known, self._state = own, self._state, state
        self._wake_waiting(known, state)
        self._exchange_conversations()

    def _take_over_tried(self) -> None:
        """If what was tried last is there, do not do it again."""
        tried = self._tried
        if tried is None:
            return
        self._books.read()
        if self._books.state.holder(self.holder_id).seen == tried.own.seen:
            self._own = tried.own
            self._pending = [
                evolve(entry, what=None) if isinstance(entry.what, PoolEvent) else entry
                for entry in self._pending[: tried.entries]
            ] + self._pending[tried.entries :]
        self._tried = None

    def _with_own(self, state: PoolState) -> PoolState:
        """The books with what this process holds; what is numbered there is not numbered again."""
        last = max((ticket.number or 0 for ticket in self._own.tickets), default=0)
        state = state.with_holder(self.holder_id, self._own)
        return state if last <= state.last_number else evolve(state, last_number=last)

    def _exchange_conversations(self) -> None:
        """Write and look up in which accounts conversations live; forget what nobody waits for any more."""
        for entry in self._pending:
            match entry.what:
                case Remembered(conversation_id, account_id):
                    self._books.remember(conversation_id, account_id)
                case LookedUp(ticket_id, conversation_id):
                    found = self._books.account_of(conversation_id)
                    if found is not None:
                        self._known.remember(conversation_id, found)
                    self._found[ticket_id] = found or ""
                    self._wake([ticket_id])
                case CallEnds(ticket_id):  # it was asked for before, if at all
                    self._forget_news(ticket_id)

    def _forget_news(self, ticket_id: int) -> None:
        self._found.pop(ticket_id, None)
        self._problems.pop(ticket_id, None)

    # --- failures ----------------------------------------------------------------------------

    def _bear(self, error: StoreError, began: float) -> None:
        """Redis is away: those who wait are told when it has been so for too long."""
        if self._failing_since < 0:
            self._failing_since = began
        if monotonic() - self._failing_since < OUTAGE:
            return
        # What it held is given up, or stays pending; whatever came of it is written over.
        self._tried = None
        waiting = [Entry(CallWaits(ticket)) for ticket in self._own.tickets]
        self._own = evolve(self._own, tickets=())
        kept = [entry for entry in self._pending if _outlives_outage(entry, self._own)]
        told = [entry for entry in self._pending if not _outlives_outage(entry, self._own)]
        self._pending = kept
        self._give_up(error, [*waiting, *told])
        if self._own.is_idle:
            self._has_given_up, self._failing_since = True, -1.0

    def _give_up(self, error: StoreError, entries: Sequence[Entry]) -> None:
        """Tell those who wait that it cannot be done; each gets an error of his own."""
        ended = {entry.what.ticket_id for entry in entries if isinstance(entry.what, CallEnds)}
        waiting = {_ticket_id(entry) for entry in entries} - ended
        for ticket_id in waiting:
            if ticket_id is not None:
                self._problems[ticket_id] = _again(error)
                self._wake([ticket_id])
        for ticket_id in ended:
            self._forget_news(ticket_id)
        for entry in entries:
            if entry.done is not None:
                entry.done.set_exception(_again(error))


def _outlives_outage(entry: Entry, own: Holder) -> bool:
    """Whether something is still to be written once Redis is back, for whom nobody waits."""
    match entry.what:
        case CallEnds(ticket_id):
            return ticket_id in own.leases
        case CallWaits() | LookedUp() | None:
            return False
        case _:
            return entry.done is None


def _ticket_id(entry: Entry) -> int | None:
    """The ticket of the call that waits for something."""
    match entry.what:
        case CallWaits(ticket):
            return ticket.id
        case LookedUp(ticket_id):
            return ticket_id
        case _:
            return None


def _again(error: StoreError) -> StoreError:
    """The same error, for another caller: each gets a traceback of his own."""
    twin = StoreError(str(error))
    twin.__cause__ = error.__cause__
    return twin


_ledgers: WeakSet[SharedLedger] = WeakSet()


@atexit.register
def _close_all() -> None:
    """Give back what the process still holds: its keepers end with it."""
    ledgers, end = [*_ledgers], monotonic() + OUTAGE
    for ledger in ledgers:
        ledger.give_everything_back()
        ledger.begin_close()
    for ledger in ledgers:
        ledger.finish_close(end)
