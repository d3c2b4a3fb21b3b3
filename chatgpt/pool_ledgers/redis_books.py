"""The books of a pool as they lie in Redis.

Under a prefix, `chatgpt` say, there are

    {chatgpt}:pool                      a hash: `document` (`core.pool.documents`), `mark` (another one with each
                                        writing), and `turn` (who may write next, and until when), where it is somebody's
    {chatgpt}:pool:conversation:<id>    the account in which a conversation of the web flow lives

Rules:

1. The document is written only over the one that is known. Who has lost that race once takes the next turn: the
   others wait for it, at most `TURN` seconds, or a process that is far away would never win.
2. Books that are gone (a server that has restarted without them, or has dropped them) are begun anew with what is known
   here. They give no account until their holders have said which they have; nor do older ones, from a snapshot.
3. The time is that of Redis, measured with each answer: the clocks of the machines do not matter.
4. All that is sent may be done twice.
"""

from __future__ import annotations

import uuid
from time import monotonic
from typing import Any, Final, Literal

from attrs import evolve

from chatgpt.core.pool.documents import from_document, to_document
from chatgpt.core.pool.state import PoolState
from chatgpt.stores.redis_address import RedisAddress
from chatgpt.stores.redis_connections import RedisConnections

TURN: Final = 1
"""Seconds for which the next writing is kept for one process."""

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

# KEYS: the books. ARGV: the mark of the books that are known, or nothing; another mark, and a document; the holder,
# whether it has lost a race, and for how many seconds it gets the next turn then. Writes the document, if nobody
# has written meanwhile, and it is nobody else's turn. Answers as above; 1 at the end where it has to wait.
_SWAP: Final = """
local mark = redis.call('HGET', KEYS[1], 'mark')
local time = redis.call('TIME')
if mark == ARGV[2] then
    return {mark, false, time[1], time[2]}
end
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local turn = redis.call('HGET', KEYS[1], 'turn')
if turn then
    local holder, last = string.match(turn, '^(%S+) (%S+)$')
    if holder ~= ARGV[4] and tonumber(last) > now then
        return {mark, false, time[1], time[2], 1}
    end
end
if (mark or '') ~= ARGV[1] then
    if ARGV[5] == '1' then
        redis.call('HSET', KEYS[1], 'turn', ARGV[4] .. ' ' .. string.format('%.3f', now + ARGV[6]))
    end
    return {mark, redis.call('HGET', KEYS[1], 'document'), time[1], time[2]}
end
redis.call('HSET', KEYS[1], 'mark', ARGV[2], 'document', ARGV[3])
redis.call('HDEL', KEYS[1], 'turn')
return {ARGV[2], false, time[1], time[2]}
"""


class RedisBooks:
    """The books, as far as they are known here.

    Args:
        address: where Redis is.
        key_prefix: what the keys begin with; pools with other prefixes are others.
        grace: seconds for which books that were lost give no account.

    Attributes:
        state: what they were when they were read or written last.
        mark: of that state; `b""` before.
        is_timed: whether the time of Redis is known.
    """

    def __init__(self, address: RedisAddress, key_prefix: str, grace: float) -> None:
        self._connections = RedisConnections(address)
        self._key = f"{{{key_prefix}}}:pool"
        self._grace = grace
        self._offset = 0.0
        self.state = PoolState()
        self.mark = b""
        self.is_timed = False

    def now(self) -> float:
        """The time of Redis, in seconds, as far as it is known."""
        return monotonic() + self._offset

    def read(self) -> None:
        """Read the books.

        Raises:
            StoreError: Redis cannot be reached, or refuses; or something else lies there.
        """
        self._ask(_READ, self.mark)

    def write(
        self, state: PoolState, holder_id: str, *, has_lost: bool
    ) -> Literal["written", "changed", "not yet"]:
        """Write the books, if they are still those that are known here; read them otherwise.

        Args:
            state: what they are to be.
            holder_id: who writes.
            has_lost: whether somebody else was faster before.

        Returns:
            What came of it; `"not yet"` where it is somebody else's turn.

        Raises:
            StoreError: as `read`.
        """
        mark = uuid.uuid4().hex.encode()
        lost = b"01"[has_lost : has_lost + 1]
        rest = self._ask(
            _SWAP, self.mark, mark, to_document(state), holder_id.encode(), lost, b"%d" % TURN
        )
        if rest:
            return "not yet"
        if self.mark != mark:
            return "changed"
        self.state = state
        return "written"

    def _ask(self, script: str, *arguments: bytes) -> list[Any]:
        sent = monotonic()
        answer: list[Any] = self._connections.send(("EVAL", script, 1, self._key, *arguments))
        mark, document, seconds, microseconds, *rest = answer
        self._offset = int(seconds) + int(microseconds) / 1e6 - (sent + monotonic()) / 2
        self.is_timed = True
        if mark is None and self.mark:
            self.state = evolve(self.state, holders={}, opens=self.now() + self._grace)
        elif document is not None:
            found = from_document(document)
            is_older = found.last_number < self.state.last_number
            self.state = evolve(found, opens=self.now() + self._grace) if is_older else found
        if not rest:
            self.mark = mark or b""
        return rest

    def remember(self, conversation_id: str, account_id: str) -> None:
        """Note in which account a conversation lives.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        key = self._conversation_key(conversation_id)
        self._connections.send(("SET", key, account_id, "EX", CONVERSATION_SECONDS))

    def account_of(self, conversation_id: str) -> str | None:
        """The account in which a conversation lives; `None` where that is not known.

        Raises:
            StoreError: Redis cannot be reached, or refuses.
        """
        answer = self._connections.send(("GET", self._conversation_key(conversation_id)))
        return None if answer is None else answer.decode("utf-8", "replace")

    def close(self) -> None:
        """Close the connections. What is asked next opens new ones."""
        self._connections.close()

    def _conversation_key(self, conversation_id: str) -> str:
        return f"{self._key}:conversation:{conversation_id}"
