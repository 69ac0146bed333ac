"""The turn of a run on devices that one run at a time works on: the wait, and the end of it.

Threads: the recorder tells of the devices from a thread of its own; everything here hands on to
control threads of the executor. The machine of the run decides what comes too late.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from taskgrove.commands.device_names import device_key
from taskgrove.commands.exclusive import ExclusiveDevice
from taskgrove.commands.execution.composed_events import address_of
from taskgrove.commands.run_recorder import DeviceKeeper
from taskgrove.commands.task import LeafTask
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, NoteDetail
from taskgrove.events.device_holder import DeviceHolder
from taskgrove.foreign_code import guarded

if TYPE_CHECKING:
    from taskgrove.commands.execution.live_run import Run


class DeviceTurn:
    """Has a run hold its devices before its first step.

    Args:
        run: The run.
        keeper: Keeps which run holds a device.
        devices: The devices, in order.
    """

    def __init__(
        self, run: Run, keeper: DeviceKeeper, devices: tuple[ExclusiveDevice, ...]
    ) -> None:
        self._run = run
        self._keeper = keeper
        self._devices = devices
        self._limits = {device.name: device.wait_s for device in devices}
        self._holder: DeviceHolder | None = None
        self._began_at = 0.0

    def begin(self) -> None:
        """Ask for the devices."""
        self._began_at = time.monotonic()
        self._keeper.hold_devices(self._run.bus.run_id, self._devices, self._take)

    def _take(self, holder: DeviceHolder | None) -> None:
        control = self._run.engine.control
        if holder is None:
            control.submit(self._granted)
        else:
            control.submit(functools.partial(self._wait, holder))

    def _granted(self) -> None:
        names = ", ".join(device.name for device in self._devices)
        data = {"devices": names}
        self._run.granted(f"holds {names}", NoteDetail("devices-held", data))

    def _wait(self, holder: DeviceHolder) -> None:
        """Tell who holds a device, and give up in time."""
        self._holder = holder
        data = {
            "device": holder.device,
            "run": holder.run_id,
            "command": holder.command,
            "since_ns": str(holder.since_ns),
            "state": holder.state,
        }
        self._run.tell(holder.words, NoteDetail("waits", data))
        wait_s = self._limits.get(holder.device)
        if wait_s is None:
            return
        left_s = self._began_at + wait_s - time.monotonic()
        give_up = functools.partial(self._give_up, holder)
        if left_s <= 0:
            give_up()
        else:
            self._run.engine.at(time.monotonic() + left_s, give_up)

    def _give_up(self, holder: DeviceHolder) -> None:
        if self._holder is holder:  # else the wait for another device has a limit of its own
            self._run.give_up_turn(functools.partial(self._reject, holder))

    def _reject(self, holder: DeviceHolder) -> None:
        """End every leaf of the tree REJECTED: one that wants the device because of the holder."""
        text = f"not started: {holder.words}"
        key = next(it.key for it in self._devices if it.name == holder.device)
        first: str | None = None
        for path, leaf in self._run.root.walk():
            if isinstance(leaf, LeafTask) and _key_of(leaf) == key:
                first = first or path
                cause = Cause(kind="not_allowed", said=text, device=leaf.device_name)
                _end(leaf, text, cause)
        for _, leaf in self._run.root.walk():
            if isinstance(leaf, LeafTask) and _key_of(leaf) != key:
                cause = Cause(kind="skipped", because_of=first)
                _end(leaf, "skipped: the command was rejected", cause, skipped=True)


def _key_of(leaf: LeafTask) -> str | None:
    target = address_of(leaf) or leaf.device_name
    return None if target is None else device_key(target)


def _end(leaf: LeafTask, text: str, cause: Cause, *, skipped: bool = False) -> None:
    guarded(
        leaf.report,
        status=TaskStatus.REJECTED,
        result=(ResultCode.REJECTED, text),
        cause=cause,
        skipped=skipped,
        begun=False,
    )
