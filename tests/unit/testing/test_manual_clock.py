"""ManualClock stands still until it is advanced."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.clock import Clock
from taskgrove.errors import UsageError
from taskgrove.testing import ManualClock
from taskgrove.testing.manual_clock import DEFAULT_WALL_NS


def test_it_is_a_clock_and_stands_still() -> None:
    clock: Clock = ManualClock()
    assert (clock.monotonic(), clock.wall_ns()) == (0.0, DEFAULT_WALL_NS)
    assert (clock.monotonic(), clock.wall_ns()) == (0.0, DEFAULT_WALL_NS)


def test_both_hands_advance_together() -> None:
    clock = ManualClock(monotonic_s=100.0, wall_ns=5)
    clock.advance(2.5)
    clock.advance(0)
    assert clock.monotonic() == 102.5
    assert clock.wall_ns() == 2_500_000_005


@pytest.mark.parametrize("seconds", [-1, -1e-12, math.nan, math.inf])
def test_it_never_goes_back(seconds: float) -> None:
    clock = ManualClock()
    with pytest.raises(UsageError, match="set_wall_ns"):
        clock.advance(seconds)
    assert clock.monotonic() == 0.0


def test_a_wall_clock_may_jump_and_goes_on_from_there() -> None:
    clock = ManualClock()
    clock.advance(10)
    clock.set_wall_ns(7)
    assert (clock.monotonic(), clock.wall_ns()) == (10.0, 7)
    clock.advance(1)
    assert (clock.monotonic(), clock.wall_ns()) == (11.0, 1_000_000_007)


@given(st.lists(st.integers(0, 10**6)))
def test_many_small_steps_add_up_exactly(milliseconds: list[int]) -> None:
    clock = ManualClock(wall_ns=0)
    for step in milliseconds:
        clock.advance(step / 1000)
    assert clock.wall_ns() == sum(milliseconds) * 1_000_000
