"""The moment and the machine, as both twins hand them to the core."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from functools import partial
from os import urandom
from typing import Final

from chatgpt.core.needs import Surroundings
from chatgpt.tokenizer import load_tokenizer

_VERSION_4: Final = 0x4000 << 64 | 0x8000 << 48
_RANDOM_BITS: Final = ~(0xF000 << 64 | 0xC000 << 48)


def new_id() -> str:
    """A new uuid4 (RFC 9562, section 5.4) as text: `uuid.uuid4` takes four times as long, and `uuid` 2 ms to load."""
    number = int.from_bytes(urandom(16)) & _RANDOM_BITS | _VERSION_4
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


SURROUNDINGS: Final = Surroundings(
    clock=time.monotonic,
    now=partial(datetime.now, UTC),
    new_id=new_id,
    chance=random.random,
    load_tokenizer=load_tokenizer,
)
