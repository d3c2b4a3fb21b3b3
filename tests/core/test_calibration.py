from __future__ import annotations

from fractions import Fraction

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
    assert calibration.slope == Fraction(12, 10)
    assert calibration.corrected(2_000) == 2_410


def test_two_that_lie_close_move_the_line_alone() -> None:
    assert calibrated((100, 130), (120, 152)) == Calibration(
        120, 152, Fraction(1), is_confirmed=False
    )


@pytest.mark.parametrize(("counted", "told"), [(100, 0), (100, 49), (0, 10)])
def test_a_figure_that_is_none_is_ignored(counted: int, told: int) -> None:
    """A server that tells only what it had not in its cache."""
    assert calibrated((counted, told)) == NOT_CALIBRATED
    assert calibrated((200, 220), (counted, told)) == calibrated((200, 220))


@given(pairs=comparisons, limit=st.integers(1, 2_000_000))
def test_what_has_room_is_within_the_limit(pairs: list[tuple[int, int]], limit: int) -> None:
    calibration = calibrated(*pairs)
    room = calibration.room(limit)
    assert room <= limit
    if calibration.is_confirmed:
        assert calibration.corrected(room) <= limit
    else:
        assert calibration.corrected(room) <= limit or room == limit // 2


def test_a_server_that_counts_less_gets_no_more_than_the_window() -> None:
    """Some tell only what they had not in their cache."""
    assert calibrated((100, 60), (1_000, 600)).room(500) == 500


def test_figures_of_any_size() -> None:
    """A window may be given that holds anything, or be smaller than the room for the reply."""
    calibration = calibrated((100, 130), (1_000, 1_210))
    room = calibration.room(10**30)
    assert calibration.corrected(room) <= 10**30 < calibration.corrected(room + 1)
    assert calibration.room(-(10**30)) == -(10**30)
    assert calibrated((100, 10**30), (1_000, 9 * 10**30)).room(10**400) > 0


def test_a_single_figure_costs_at_most_half_of_the_room() -> None:
    assert calibrated((100, 9_000)).room(10_000) == 5_000
    assert NOT_CALIBRATED.compared(100, 9_000, is_refused=True).room(10_000) == 1_100
    assert calibrated((100, 700), (1_000, 7_000)).room(10_000) == 1_428


def test_figures_that_are_on_no_line_confirm_nothing() -> None:
    odd = calibrated((100, 130), (200, 127_000))
    assert (odd.is_confirmed, odd.slope) == (False, Fraction(1))
    again = odd.compared(300, 330)
    assert (again.is_confirmed, again.corrected(400)) == (False, 430)
    assert not calibrated((100, 130), (200, 240), (201, 9_000)).is_confirmed
    assert calibrated((100, 130), (200, 240), (201, 241)).is_confirmed


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
        assert calibration.room(max(told, counted)) >= counted
