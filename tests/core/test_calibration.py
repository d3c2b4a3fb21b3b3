from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt.core.calibration import NOT_CALIBRATED, Calibration

counts = st.integers(0, 2_000_000)
comparisons = st.lists(st.tuples(counts, counts), max_size=6)


def calibrated(*pairs: tuple[int, int]) -> Calibration:
    calibration = NOT_CALIBRATED
    for counted, told in pairs:
        calibration = calibration.compared(counted, told)
    return calibration


def test_before_the_first_comparison_a_count_is_taken_as_it_is() -> None:
    assert NOT_CALIBRATED.corrected(100) == NOT_CALIBRATED.room(100) == 100


def test_the_first_comparison_gives_an_offset() -> None:
    calibration = calibrated((100, 117))
    assert calibration.corrected(100) == 117
    assert calibration.corrected(300) == 317
    assert calibration.room(317) == 300


def test_two_that_lie_apart_give_a_slope() -> None:
    calibration = calibrated((100, 130), (1_000, 1_210))
    assert calibration.slope == 1.2
    assert calibration.corrected(2_000) == 2_410


def test_two_that_lie_close_move_the_line_alone() -> None:
    assert calibrated((100, 130), (120, 152)) == Calibration(120, 152, 1.0)


@pytest.mark.parametrize(("counted", "told"), [(100, 0), (100, 49), (0, 10)])
def test_a_figure_that_is_none_is_ignored(counted: int, told: int) -> None:
    """A server that tells only what it had not in its cache."""
    assert calibrated((counted, told)) == NOT_CALIBRATED
    assert calibrated((200, 220), (counted, told)) == calibrated((200, 220))


@given(pairs=comparisons, limit=counts)
def test_what_has_room_is_within_the_limit_and_one_more_is_not(
    pairs: list[tuple[int, int]], limit: int
) -> None:
    calibration = calibrated(*pairs)
    room = calibration.room(limit)
    assert calibration.corrected(room) <= limit
    assert calibration.corrected(room + 2) > limit - 1


@given(pairs=comparisons, fewer=counts, more=counts)
def test_more_never_costs_less(pairs: list[tuple[int, int]], fewer: int, more: int) -> None:
    calibration = calibrated(*pairs)
    assert calibration.corrected(min(fewer, more)) <= calibration.corrected(max(fewer, more))


@given(pairs=comparisons, counted=counts, told=counts)
def test_what_a_server_took_it_is_trusted_to_take_again(
    pairs: list[tuple[int, int]], counted: int, told: int
) -> None:
    calibration = calibrated(*pairs).compared(counted, told)
    if calibration.counted == counted and calibration.told == told:
        assert calibration.corrected(counted) == told
        assert calibration.room(told) >= counted
