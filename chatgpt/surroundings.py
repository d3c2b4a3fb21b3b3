"""The moment and the machine, as both twins hand them to the core."""

from __future__ import annotations

import random
import time
import uuid
from datetime import UTC, datetime
from functools import partial
from typing import Final

from chatgpt.core.needs import Surroundings
from chatgpt.tokenizer import load_tokenizer

SURROUNDINGS: Final = Surroundings(
    clock=time.monotonic,
    now=partial(datetime.now, UTC),
    new_id=lambda: str(uuid.uuid4()),
    chance=random.random,
    load_tokenizer=load_tokenizer,
)
