"""The limit of a node: a deadline, and who set it."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from taskgrove.clock import SYSTEM_CLOCK

#: The least rest of a limit when work is picked up again, in seconds: long enough to connect
#: to a device and to read an end that has come meanwhile.
LEAST_LEFT_S: Final = 5.0


class Limit(NamedTuple):
    """A deadline, and who set it.

    Attributes:
        at: When the limit expires (``time.monotonic()``), in seconds.
        length_s: How long the limit was, in seconds.
        owner: Path of the node that set the limit.
    """

    at: float
    length_s: float
    owner: str

    @classmethod
    def from_now(cls, length_s: float, owner: str, began_ns: int | None) -> Limit:
        """Return a limit that begins now, or that began before this process took it up.

        Of a limit that began before, a part is used. A short while is always left, because the
        end of the work may have come meanwhile and has yet to be read.

        Args:
            length_s: How long the limit is, in seconds.
            owner: Path of the node that sets it.
            began_ns: When it began, UTC, nanoseconds since the epoch; None: it begins now.
        """
        left_s = length_s
        if began_ns is not None:
            # Only the wall clock is common to the process that began it and this one.
            used_s = max(0.0, (SYSTEM_CLOCK.wall_ns() - began_ns) / 1e9)
            left_s = max(length_s - used_s, min(length_s, LEAST_LEFT_S))
        return cls(time.monotonic() + left_s, length_s, owner)


class LimitClock:
    """The limit of a composite, and what goes on below it.

    The clock stands still while nothing below is at work and something below is held or parked.
    The lock of the run guards it.

    Attributes:
        limit: The composite's own limit; later by as long as the clock stood still.
        above: The clock of the nearest composite above that has a limit, or None.
        alone: Whether the limits from above do not count: it is the clock of a clean-up.
        at_work: How many attempts below are under way, or come after a delay.
        waiting: How many steps below are held or parked.
        still_since: Since when the clock stands still (``time.monotonic()``), or None.
    """

    __slots__ = ("above", "alone", "at_work", "limit", "still_since", "waiting")

    def __init__(self, limit: Limit, above: LimitClock | None, *, alone: bool = False) -> None:
        self.limit = limit
        self.above = above
        self.alone = alone
        self.at_work = 0
        self.waiting = 0
        self.still_since: float | None = None

    def first(self) -> Limit:
        """Return the limit that expires first, of this clock and of all above it."""
        clock, found = self, self.now()
        while clock.above is not None and not clock.alone:
            clock = clock.above
            limit = clock.now()
            if limit.at <= found.at:
                found = limit
        return found

    def count(self, at_work: int, waiting: int) -> None:
        """Count steps below, here and further up.

        Args:
            at_work: How many more attempts are under way, or come after a pause of their own.
            waiting: How many more steps are held or parked.
        """
        clock: LimitClock | None = self
        while clock is not None:
            clock.at_work += at_work
            clock.waiting += waiting
            stands = clock.waiting > 0 and not clock.at_work
            if stands and clock.still_since is None:
                clock.still_since = time.monotonic()
            elif not stands and clock.still_since is not None:
                clock.limit = clock.now()
                clock.still_since = None
            clock = clock.above

    def now(self) -> Limit:
        """Return the composite's own limit, as it would be if the clock went on now."""
        since = self.still_since
        if since is None:
            return self.limit
        return self.limit._replace(at=self.limit.at + time.monotonic() - since)
