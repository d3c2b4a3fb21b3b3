from __future__ import annotations

from math import inf

import pytest

from chatgpt.core.errors import APITimeoutError
from chatgpt.core.limits import LONGEST_WAIT, Limits
from tests.stepping import Clock


def limits(clock: Clock, total: float = 100, idle: float = 20, connect: float = 5) -> Limits:
    return Limits(clock, total=total, idle=idle, connect=connect)


def wait(bounds: Limits, clock: Clock, seconds: float) -> None:
    bounds.read_timeout()
    clock.seconds += seconds
    bounds.has_waited()


def test_the_nearest_limit_bounds_a_wait() -> None:
    clock = Clock()
    bounds = limits(clock)
    assert bounds.connect_timeout() == 5
    assert bounds.read_timeout() == 20
    wait(bounds, clock, 15)
    assert bounds.read_timeout() == 5
    bounds.progress()
    assert bounds.read_timeout() == 20
    clock.seconds += 82  # the consumer's own time is no silence
    assert bounds.read_timeout() == 3
    assert bounds.connect_timeout() == 3
    assert bounds.remaining == 3


def test_the_error_names_the_limit() -> None:
    clock = Clock()
    bounds = limits(clock)
    wait(bounds, clock, 20)
    with pytest.raises(APITimeoutError, match=r"silent for 20 s \(idle_timeout\)") as idle:
        bounds.read_timeout()
    assert idle.value.limit == "idle"
    clock.seconds += 80
    bounds.progress()
    for timeout in (bounds.connect_timeout, bounds.read_timeout):
        with pytest.raises(APITimeoutError, match=r"not done after 100 s \(timeout\)") as total:
            timeout()
        assert total.value.limit == "total"


def test_a_connection_that_was_not_made() -> None:
    clock = Clock()
    bounds = limits(clock)
    assert bounds.connect_passed().limit == "connect"
    clock.seconds += 100
    bounds.progress()
    assert bounds.connect_passed().limit == "total"


def test_no_limit() -> None:
    bounds = limits(Clock(), total=inf, idle=inf, connect=inf)
    bounds.progress()
    assert bounds.read_timeout() == bounds.connect_timeout() == LONGEST_WAIT
    huge = limits(Clock(), total=1e300, idle=1e300, connect=1e300)
    assert huge.read_timeout() == huge.connect_timeout() == LONGEST_WAIT


def test_the_end_can_be_brought_nearer_and_not_put_off() -> None:
    clock = Clock()
    bounds = limits(clock)
    bounds.end_within(2)
    assert bounds.read_timeout() == 2
    bounds.end_within(50)
    assert bounds.remaining == 2
