"""Times and limits of the long-running-command client, in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from taskgrove.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class LrcSettings:
    """Times of the client, all in seconds and all greater than zero.

    Attributes:
        poll_interval_s: Period of the poll that reconciles what events may have lost, of each
            device that has a command in flight.
        rpc_timeout_s: Limit of each call to a device.
        lost_after_s: How long a device that does not answer is waited for. A server whose
            address refuses connections is known to be gone at once.
        adopt_grace_s: How long a reachable device is searched for a command whose call broke.
        result_grace_s: How long a final status without a result waits for its result at least;
            longer, until polls have asked for it or the device is lost.
        not_found_grace_s: How long a command that the device does not know is searched for.
    """

    poll_interval_s: float = 1.0
    rpc_timeout_s: float = 3.0
    lost_after_s: float = 30.0
    adopt_grace_s: float = 3.0
    result_grace_s: float = 0.3
    not_found_grace_s: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            usable = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not usable or not 0 < value < math.inf:
                raise UsageError(f"{field.name} is a number of seconds above 0, not {value!r}")
