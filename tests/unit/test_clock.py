"""The machine's clock, and the protocol it fulfils."""

from __future__ import annotations

import time

from taskgrove.clock import SYSTEM_CLOCK, Clock, SystemClock


def test_the_system_clock_reads_the_machine() -> None:
    clock: Clock = SystemClock()
    before = time.monotonic(), time.time_ns()
    read = clock.monotonic(), clock.wall_ns()
    after = time.monotonic(), time.time_ns()
    assert before[0] <= read[0] <= after[0]
    assert before[1] <= read[1] <= after[1]


def test_the_units_are_seconds_and_nanoseconds() -> None:
    assert isinstance(SYSTEM_CLOCK.monotonic(), float)
    assert isinstance(SYSTEM_CLOCK.wall_ns(), int)
