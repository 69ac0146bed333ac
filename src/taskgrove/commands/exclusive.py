"""Devices that one run at a time works on, as the map and the run know them."""

from __future__ import annotations

from typing import NamedTuple


class ExclusiveDevice(NamedTuple):
    """A device that a run works on alone.

    Attributes:
        key: The same for every spelling of its name.
        name: Its name, for people.
        wait_s: How long a run waits for it, in seconds; 0: not at all; None: without a limit.
    """

    key: str
    name: str
    wait_s: float | None = None
