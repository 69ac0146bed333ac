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
