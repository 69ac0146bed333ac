"""Time, behind one small protocol, so that tests can turn the hands themselves."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where the library reads the time."""

    def monotonic(self) -> float:
        """Return seconds that never go back; for durations and deadlines."""
        ...

    def wall_ns(self) -> int:
        """Return nanoseconds since the epoch, UTC; for records."""
        ...


class SystemClock:
    """The clock of the machine."""

    def monotonic(self) -> float:
        """Return ``time.monotonic()``, in seconds."""
        return time.monotonic()

    def wall_ns(self) -> int:
        """Return ``time.time_ns()``, nanoseconds since the epoch."""
        return time.time_ns()


SYSTEM_CLOCK = SystemClock()
