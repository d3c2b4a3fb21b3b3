"""What a `RedisStore` keeps in Redis, under which keys, and what is asked there, for both twins.

Strategy: what a store does is written once, as generators that yield commands and are sent the answers; a twin
sends them, waiting in its own way. Nearly every command is a script, so that what it does is atomic and one
round trip, and what comes back needs no second question.

Under a prefix, `chatgpt` say, there are

    {chatgpt}:message:<id>   a hash: `record` (JSON, see `core.records`), `origin` (`origin_of` the message),
                             `number` (of the first saving), and `parent` (its id), where there is one
    {chatgpt}:replies:<id>   a set: the ids of the messages that reply to one
    {chatgpt}:last-number    the number of the message that was saved last

Rules:

1. What is in braces is a key's hash tag: all keys of a prefix are in one slot of a cluster, as a script needs it.
2. Whatever can fail in a script fails before its first write: there is no undoing.
3. Records are read here and not by scripts. What cannot be read is passed over, and left as it is.
4. Ids travel as UTF-8. A lone surrogate has no valid form there: nothing is saved under such an id.
5. A script reads so many messages of a thread at most (`STEPS`), or of a list (`BATCH`): while it does, Redis serves
   nobody else. What is saved together is saved in one go, however much it is.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from math import isinf
from typing import Any, Final, TypeAlias, TypeVar

from chatgpt.core.errors import ConfigurationError, MessageIdTakenError
from chatgpt.core.messages import ChatMessage
from chatgpt.core.records import RecordError, from_json, origin_of, to_json
from chatgpt.core.validation import required_identifier, seconds_of, text_of
from chatgpt.stores.protocol import check_batch, oldest_first
from chatgpt.stores.unreadable import UnreadableMessage, readable, unreadable

T = TypeVar("T")

Command: TypeAlias = tuple[str | bytes | int, ...]
"""What is sent: the name of a command and what it is given."""

Asking: TypeAlias = Generator[Command, Any, T]
"""Yields commands, is sent the answers, and returns what they mean."""

Held: TypeAlias = tuple[bytes, bytes]
"""An id and a record, as Redis holds them."""

DEFAULT_PREFIX: Final = "chatgpt"

STEPS: Final = 10_000
"""How many messages of a thread one script goes through."""

BATCH: Final = 500
"""How many messages are fetched at a time where all are wanted."""

PAGE: Final = 1_000
"""How many keys of the database Redis looks at for one page of a listing."""

_LONGEST_LIFE: Final = 10**13
"""In milliseconds, three hundred years: Redis refuses what is far beyond."""

# KEYS: the last number; then of each message its own key and that of its parent's replies, or the last number
# again where it has no parent. ARGV: how long they live; then of each its id, origin, record, and parent.
# Answers which of them are taken, counted from 0.
_SAVE: Final = """
local life, count = ARGV[1], (#ARGV - 1) / 4
local taken = {}
for i = 0, count - 1 do
    local origin = redis.call('HGET', KEYS[2 * i + 2], 'origin')
    if origin ~= ARGV[4 * i + 3] and redis.call('EXISTS', KEYS[2 * i + 2]) == 1 then
        taken[#taken + 1] = i
    end
end
if #taken > 0 then
    return taken
end
local function keep(key)
    if life == '' then
        redis.call('PERSIST', key)
    else
        redis.call('PEXPIRE', key, life)
    end
end
local number = redis.call('INCRBY', KEYS[1], count) - count
for i = 0, count - 1 do
    if KEYS[2 * i + 3] ~= KEYS[1] then
        redis.call('SADD', KEYS[2 * i + 3], ARGV[4 * i + 2])
        keep(KEYS[2 * i + 3])
    end
end
for i = 0, count - 1 do
    local key = KEYS[2 * i + 2]
    redis.call('HSET', key, 'origin', ARGV[4 * i + 3], 'record', ARGV[4 * i + 4])
    redis.call('HSETNX', key, 'number', number + i + 1)
    if KEYS[2 * i + 3] ~= KEYS[1] then
        redis.call('HSET', key, 'parent', ARGV[4 * i + 5])
    end
    keep(key)
end
return taken
"""

# KEYS: the first message. ARGV: what stands before an id in the keys of messages, and of
# replies; the first id; how many messages are wanted (-1: all); how many are gone through at most; how long they
# live, where they do not live for ever: then those beyond the wanted ones are gone through, too.
# Answers the id of the one after those it returns, if they are not all; the id of the first one that it did not
# get to; then id and record of each.
_PATH: Final = """
local id, wanted, steps, life = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local seen, answer = {}, {false, false}
while id and not seen[id] do
    if wanted == 0 and not answer[1] then
        answer[1] = id
    end
    if steps == 0 or (wanted == 0 and life == '') then
        answer[2] = id
        break
    end
    local key = ARGV[1] .. id
    local found = redis.call('HMGET', key, 'parent', 'record')
    if not found[1] and not found[2] and redis.call('EXISTS', key) == 0 then
        break
    end
    if life ~= '' then
        redis.pcall('PEXPIRE', key, life)  -- a replica that is only read refuses
        if found[1] then
            redis.pcall('PEXPIRE', ARGV[2] .. found[1], life)
        end
    end
    if wanted ~= 0 then
        answer[#answer + 1] = id
        answer[#answer + 1] = found[2] or ''
        wanted = wanted - 1
    end
    seen[id] = true
    steps = steps - 1
    id = found[1]
end
return answer
"""

# KEYS: the set. ARGV: what stands before an id in the keys of messages; whether messages expire.
# Answers id, number and record of each.
_REPLIES: Final = """
local answer = {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    local found = redis.call('HMGET', ARGV[1] .. id, 'number', 'record')
    if found[1] or found[2] then
        answer[#answer + 1] = id
        answer[#answer + 1] = found[1] or ''
        answer[#answer + 1] = found[2] or ''
    elseif ARGV[2] ~= '' then
        redis.call('SREM', KEYS[1], id)
    end
end
return answer
"""

# KEYS: the last number, which leads to the right server of a cluster. ARGV: where to go on; what the keys look
# like; the size of a page. Answers where to go on, then key and number of each.
_LIST: Final = """
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local answer = {page[1]}
for _, key in ipairs(page[2]) do
    local number = redis.pcall('HGET', key, 'number')
    if type(number) ~= 'table' then
        answer[#answer + 1] = key
        answer[#answer + 1] = number or ''
    end
end
return answer
"""

# KEYS: messages. Answers the record of each.
_FETCH: Final = """
local answer = {}
for i, key in ipairs(KEYS) do
    answer[i] = redis.call('HGET', key, 'record') or (redis.call('EXISTS', key) == 1 and '')
end
return answer
"""


class RedisKeys:
    """The messages under a prefix.

    Args:
        key_prefix: what their keys begin with.
        time_to_live: seconds that they live, `None` for ever.

    Raises:
        ConfigurationError: one of them cannot be used.
        TypeError: one of them is of the wrong type.
    """

    def __init__(self, key_prefix: str, time_to_live: float | None) -> None:
        prefix = text_of("key_prefix", key_prefix)
        if not prefix or set(prefix) & set("{}"):
            raise ConfigurationError(
                f"key_prefix must not be empty and have no braces, not {prefix!r}."
            )
        self.key_prefix = prefix
        self.time_to_live = time_to_live
        self._life: str | int = ""
        if time_to_live is not None and not isinf(seconds_of("time_to_live", time_to_live)):
            self._life = max(1, min(round(time_to_live * 1_000), _LONGEST_LIFE))
        tag = f"{{{prefix}}}:".encode()
        self._messages = tag + b"message:"
        self._replies = tag + b"replies:"
        self._last_number = tag + b"last-number"
        self._pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", self._messages) + b"*"

    # --- what a client asks for --------------------------------------------------------------

    def get(self, message_id: str) -> Asking[ChatMessage | None]:
        """Find a message."""
        own = _utf8(message_id)
        record = yield "HGET", self._messages + own, "record"
        return None if record is None else next(read_messages([(own, record)]), None)

    def save(self, messages: Sequence[ChatMessage]) -> Asking[None]:
        """Save messages, all or none of them, in one round trip.

        Raises:
            MessageIdTakenError: others are held under some of the ids.
            TypeError: one holds what JSON has no form for.
            ValueError: an id is blank, or no valid Unicode.
        """
        check_batch(messages)
        keys = [self._last_number]
        given: list[str | bytes | int] = [self._life]
        for message in messages:
            own = required_identifier("id", message.id).encode()
            parent = message.parent_message_id
            held_parent = b"" if parent is None else _utf8(parent)
            above = self._last_number if parent is None else self._replies + held_parent
            keys += [self._messages + own, above]
            given += [own, origin_of(message), to_json(message), held_parent]
        if messages:
            taken = yield _script(_SAVE, keys, *given)
            if taken:
                raise MessageIdTakenError.of([messages[index].id for index in taken])

    def path(self, message_id: str, limit: int | None) -> Asking[list[ChatMessage]]:
        """Read a thread from one of its messages to the root, newest first.

        It takes one round trip, and another one where it is longer than `STEPS`, or where `limit` was reached
        with messages that cannot be read.
        """
        messages: list[ChatMessage] = []
        seen: set[bytes] = set()
        next_id: bytes | None = _utf8(message_id)
        left = -1 if limit is None else limit
        while next_id is not None and next_id not in seen and left != 0:
            answer = yield self._walk(next_id, left)
            held = [(own, record) for own, record in _grouped(answer[2:], 2) if own not in seen]
            seen.update(own for own, _ in held)
            messages += read_messages(held)
            left = -1 if limit is None else limit - len(messages)
            next_id, not_reached = answer[0] or answer[1], answer[1]
            if self._life and not left:
                yield from self._refresh(not_reached)
        return messages

    def _refresh(self, next_id: bytes | None) -> Asking[None]:
        """Let what is left of a very long thread live on."""
        begun: set[bytes] = set()
        while next_id is not None and next_id not in begun:
            begun.add(next_id)
            next_id = (yield self._walk(next_id, 0))[1]

    def _walk(self, first: bytes, wanted: int) -> Command:
        keys = [self._messages + first]
        return _script(_PATH, keys, self._messages, self._replies, first, wanted, STEPS, self._life)

    def replies(self, message_id: str) -> Asking[list[ChatMessage]]:
        """Find the replies to a message, oldest first, in one round trip."""
        answer = yield _script(
            _REPLIES, [self._replies + _utf8(message_id)], self._messages, self._life
        )
        found = sorted(_grouped(answer, 3), key=lambda held: _number(held[1]))
        return oldest_first(read_messages((own, record) for own, _, record in found))

    # --- all of them -------------------------------------------------------------------------

    def listing(self) -> Asking[list[bytes]]:
        """Find the keys of all messages, in the order in which they were first saved."""
        numbers: dict[bytes, int] = {}
        cursor: bytes = b"0"
        while True:
            cursor, *page = yield _script(_LIST, [self._last_number], cursor, self._pattern, PAGE)
            numbers.update((key, _number(number)) for key, number in _grouped(page, 2))
            if cursor == b"0":
                return sorted(numbers, key=lambda key: (numbers[key], key))

    def fetch(self, keys: Sequence[bytes]) -> Asking[list[Held]]:
        """Read the messages of some keys, in one round trip; those that are gone are left out."""
        records = yield _script(_FETCH, keys)
        start = len(self._messages)
        return [
            (key[start:], record)
            for key, record in zip(keys, records, strict=True)
            if record is not None
        ]


def batches(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Keys, so many that their messages may be fetched at a time."""
    return (keys[begin : begin + BATCH] for begin in range(0, len(keys), BATCH))


def _script(script: str, keys: Sequence[bytes], *given: str | bytes | int) -> Command:
    # EVAL and not EVALSHA, which takes a second round trip where the server does not know the script yet.
    return ("EVAL", script, len(keys), *keys, *given)


def _grouped(answer: Sequence[bytes], size: int) -> Iterator[tuple[bytes, ...]]:
    return zip(*[iter(answer)] * size, strict=True)


def _utf8(message_id: str) -> bytes:
    """An id, or what is given as one: it need not be valid, and then it is not found."""
    try:
        return message_id.encode()
    except UnicodeEncodeError:  # as JSON reads it: pairs of surrogates are joined
        joined = message_id.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return joined.encode("utf-8", "surrogatepass")


def _number(held: bytes) -> int:
    try:
        return int(held)
    except ValueError:
        return 0


# --- records ---------------------------------------------------------------------------------


def read_messages(held: Iterable[Held]) -> Iterator[ChatMessage]:
    """Make the messages that can be read; tell the log of the others."""
    return readable(held, _message, _described)


def read_unreadable(held: Iterable[Held]) -> Iterator[UnreadableMessage]:
    """Those that cannot be read, as they are."""
    return unreadable(held, _message, _described)


def _described(held: Held) -> tuple[str, bytes]:
    own, record = held
    return own.decode("utf-8", "replace"), record


def _message(held: Held) -> ChatMessage:
    own, record = held
    message = from_json(record)
    if _utf8(message.id) != own:
        raise RecordError("it is the record of another message")
    return message
