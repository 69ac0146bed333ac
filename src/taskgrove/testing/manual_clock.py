"""A clock whose hands are turned by the test.

Threads: every method may be called by any thread; ``_lock`` guards the time.
"""

from __future__ import annotations

import threading
from typing import Final

from taskgrove.errors import UsageError

#: 2001-09-09T01:46:40Z: a wall time that is easy to recognize in a failed test.
DEFAULT_WALL_NS: Final = 1_000_000_000_000_000_000


class ManualClock:
    """A :class:`~taskgrove.clock.Clock` that stands still until it is advanced.

    Args:
        monotonic_s: Where the monotonic hand begins, in seconds.
        wall_ns: Where the wall clock begins, in nanoseconds since the epoch, UTC.
    """

    __slots__ = ("_began_s", "_elapsed_ns", "_lock", "_wall_ns")

    def __init__(self, monotonic_s: float = 0.0, wall_ns: int = DEFAULT_WALL_NS) -> None:
        self._lock = threading.Lock()
        self._began_s = monotonic_s
        self._wall_ns = wall_ns
        self._elapsed_ns = 0

    def monotonic(self) -> float:
        """Return the monotonic time, in seconds."""
        with self._lock:
            return self._began_s + self._elapsed_ns / 1e9

    def wall_ns(self) -> int:
        """Return the wall time, in nanoseconds since the epoch, UTC."""
        with self._lock:
            return self._wall_ns + self._elapsed_ns

    def advance(self, seconds: float) -> None:
        """Turn both hands forward.

        Args:
            seconds: By how much, from 0; counted in whole nanoseconds.

        Raises:
            UsageError: ``seconds`` is negative or not a number: the monotonic hand
                never goes back; use :meth:`set_wall_ns` for a wall clock that jumps.
        """
        if not 0 <= seconds < float("inf"):
            raise UsageError(
                f"a clock advances by a number of seconds from 0, not {seconds!r}",
                hint="set_wall_ns() lets the wall clock jump",
            )
        with self._lock:
            self._elapsed_ns += round(seconds * 1e9)

    def set_wall_ns(self, wall_ns: int) -> None:
        """Let the wall clock jump, as an operator or a time server may; the other hand stays.

        Args:
            wall_ns: The new wall time, in nanoseconds since the epoch, UTC.
        """
        with self._lock:
            self._wall_ns = wall_ns - self._elapsed_ns
