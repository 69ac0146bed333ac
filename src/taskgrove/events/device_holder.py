"""The run that holds a device which another run waits for, as notes and readers know it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, NamedTuple, TypeAlias

#: The state of a run that holds a device: it ``runs``; it was ``lost``, and is not recovered; it
#: has ended and ``left`` work behind that may still be going on.
HolderState: TypeAlias = Literal["runs", "lost", "left"]


class DeviceHolder(NamedTuple):
    """A run that holds a device which another run waits for.

    Attributes:
        device: The name of the device.
        run_id: The run that holds it.
        command: The command of that run.
        since_ns: Since when, UTC, nanoseconds since the epoch.
        state: The state of that run.
    """

    device: str
    run_id: str
    command: str
    since_ns: int
    state: HolderState

    @property
    def words(self) -> str:
        """The wait for the device: ``waits for run … (scan), which holds a/b/c since …``."""
        if self.state == "left":
            return f"waits for {self.device}: {self._whose} has ended, and its work there may go on"
        lost = " was lost, and" if self.state == "lost" else ""
        return f"waits for {self._whose}, which{lost} holds {self.device} since {self._since}"

    @property
    def held_words(self) -> str:
        """Who holds the device: ``a/b/c: held since … by run … (scan)``."""
        told = {"runs": "", "lost": ", which was lost", "left": ", which has ended"}[self.state]
        open_work = "; its work there may go on" if self.state == "left" else ""
        return f"{self.device}: held since {self._since} by {self._whose}{told}{open_work}"

    @property
    def _whose(self) -> str:
        return f"run {self.run_id} ({self.command})"

    @property
    def _since(self) -> str:
        return f"{datetime.fromtimestamp(self.since_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S UTC}"
