from __future__ import annotations

from uuid import RFC_4122, UUID

from chatgpt.surroundings import SURROUNDINGS, new_id


def test_new_ids_are_uuids_of_version_4() -> None:
    ids = [new_id() for _ in range(500)]
    assert len(set(ids)) == 500
    for text in ids:
        made = UUID(text)
        assert (str(made), made.version, made.variant) == (text, 4, RFC_4122)
    # All other bits are random: over so many, each is seen as 0 and as 1.
    numbers = [UUID(text).int for text in ids]
    fixed = 0xF000 << 64 | 0xC000 << 48
    every, any_ = -1, 0
    for number in numbers:
        every &= number
        any_ |= number
    assert (any_ & ~every) | fixed == (1 << 128) - 1
    assert SURROUNDINGS.new_id is new_id
