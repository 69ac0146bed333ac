"""The devices that one run at a time works on: which run of the record holds each.

A row of ``device_holds`` names the run that holds a device, or held it last. The device is free
when that run is over, and so is its work there: the nodes of the run tell. So the end of a run
frees its devices in the transaction that holds the end, and a run that was killed keeps them
until it was recovered. Time alone frees nothing.

Threads: any thread may call :meth:`DeviceHolds.hold`, :meth:`DeviceHolds.forget` and
:meth:`DeviceHolds.stop`. ``_lock`` guards the runs that wait; one thread of its own asks the
record, and calls the runs without a lock.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from taskgrove.clock import Clock
from taskgrove.commands.device_names import device_key
from taskgrove.commands.exclusive import ExclusiveDevice
from taskgrove.commands.run_recorder import TakeDevices
from taskgrove.control_model import TaskStatus
from taskgrove.events.device_holder import DeviceHolder, HolderState
from taskgrove.loops.loop import Loop
from taskgrove.store.database.cursor import Cursor
from taskgrove.store.recording import statements as sql
from taskgrove.store.recording.node_rows import NodeRow, facts_of
from taskgrove.store.store import Store
from taskgrove.story.open_work import open_work

_LOGGER = logging.getLogger(__name__)

#: How often the record is asked for devices that another run holds, in seconds.
ASK_S: Final = 0.25
#: The same after a failure, and for a device that waits for a person, in seconds.
_AGAIN_S: Final = 1.0

_RUN_KEY: Final = "SELECT run_key FROM runs WHERE run_id = ?"
_HOLD: Final = (
    "SELECT r.run_key, r.run_id, r.command, r.state, h.since_ns, h.name FROM device_holds h"
    " JOIN runs r ON r.run_key = h.run_key WHERE h.device_key = ?"
)
_COLUMNS: Final = ", ".join(f"n.{name}" for name in NodeRow._fields[1:])
_NODES: Final = (
    f"SELECT p.path, {_COLUMNS} FROM nodes n"  # noqa: S608 - our own names
    " JOIN paths p ON p.path_key = n.path_key WHERE n.run_key = ? AND n.execution = 'DEVICE'"
    f" AND (n.status IS NULL OR n.status <> {int(TaskStatus.COMPLETED)})"
)


class _Waiting:
    """A run that wants devices."""

    __slots__ = ("devices", "holder", "take")

    def __init__(self, devices: Sequence[ExclusiveDevice], take: TakeDevices) -> None:
        self.devices = tuple(devices)
        self.take = take
        self.holder: DeviceHolder | None = None


class DeviceHolds:
    """Has runs of this process hold devices; see the module.

    Args:
        store_of: Returns the record, or None while it is not open.
        clock: The wall clock.
    """

    def __init__(self, store_of: Callable[[], Store | None], clock: Clock) -> None:
        self._store_of = store_of
        self._clock = clock
        self._loop = Loop("taskgrove-devices")
        self._lock = threading.Lock()
        self._runs: dict[str, _Waiting] = {}

    def hold(self, run_id: str, devices: Sequence[ExclusiveDevice], take: TakeDevices) -> None:
        """Have a run hold its devices; see :class:`~taskgrove.commands.run_recorder.DeviceKeeper`.

        Args:
            run_id: The run; it is in the record.
            devices: Its devices.
            take: Hears of each other run that holds one, and at last None.
        """
        with self._lock:
            self._runs[run_id] = _Waiting(devices, take)
        self._loop.post(self._ask, run_id)

    def forget(self, run_id: str) -> None:
        """Ask no more for a run."""
        with self._lock:
            self._runs.pop(run_id, None)

    def stop(self, timeout_s: float) -> None:
        """End the thread, waiting at most so long (in seconds)."""
        with self._lock:
            self._runs.clear()
        self._loop.stop(timeout_s)

    def _ask(self, run_id: str) -> None:
        with self._lock:
            waiting = self._runs.get(run_id)
        if waiting is None:
            return
        again_s = ASK_S
        try:
            store = self._store_of()
            if store is not None and self._try(store, run_id, waiting):
                self.forget(run_id)
                waiting.take(None)
                return
            if waiting.holder is not None and waiting.holder.state == "left":
                again_s = _AGAIN_S
        except Exception as exc:
            _LOGGER.info("run %s: its devices cannot be asked for", run_id, exc_info=exc)
            again_s = _AGAIN_S
        self._loop.after(again_s, lambda: self._ask(run_id))

    def _take(
        self,
        cursor: Cursor,
        before: dict[ExclusiveDevice, tuple[Any, ...] | None],
        run_key: int,
    ) -> None:
        """Write the rows of a run in the place of those that were seen free.

        Where another run has taken a device since, its row stands in the way, and that is an error.
        """
        now_ns = self._clock.wall_ns()
        for device, row in before.items():
            if row is not None:
                cursor.execute(sql.DROP_HOLD, (device.key, row[0]))
            cursor.execute(sql.ADD_HOLD, (device.key, device.name, run_key, now_ns))

    def _try(self, store: Store, run_id: str, waiting: _Waiting) -> bool:
        """Take every device, or none and tell who holds one."""
        with store.writing() as cursor:
            own = cursor.row(_RUN_KEY, (run_id,))
            if own is None:  # its row is still to be written
                return False
            holder = None
            before: dict[ExclusiveDevice, tuple[Any, ...] | None] = {}
            for device in waiting.devices:
                before[device] = row = cursor.row(_HOLD + cursor.held("h"), (device.key,))
                holder = None if row is None else _holder(cursor, device.key, row, own[0])
                if holder is not None:
                    holder = holder._replace(device=device.name)  # as the run that asks spells it
                    break
            else:
                self._take(cursor, before, own[0])
        if holder is not None and holder != waiting.holder:
            waiting.holder = holder
            waiting.take(holder)
        return holder is None


def holder_of(cursor: Cursor, key: str) -> DeviceHolder | None:
    """Return the run that holds a device; None: the device is free.

    Args:
        cursor: In a transaction that writes, where the answer is to last.
        key: The key of the device.
    """
    row = cursor.row(_HOLD + cursor.held("h"), (key,))
    return None if row is None else _holder(cursor, key, row)


def _holder(
    cursor: Cursor, key: str, row: tuple[Any, ...], own: int | None = None
) -> DeviceHolder | None:
    """Return the run of a row, unless the device is free, or held by the run that asks."""
    run_key, run_id, command, state, since_ns, name = row
    if run_key == own:
        return None
    held_as: HolderState = "lost" if state == "lost" else "runs"
    if state == "final":
        if not _is_at_work(cursor, run_key, key):
            return None
        held_as = "left"
    return DeviceHolder(name, run_id, command, since_ns, held_as)


def _is_at_work(cursor: Cursor, run_key: int, key: str) -> bool:
    """Return whether work of a run that is over may still go on at a device."""
    for row in cursor.rows(_NODES, (run_key,)):
        node: Any = facts_of(row)
        composed = node.composed
        target = None if composed is None else composed.address or composed.target
        if target is not None and device_key(target) == key and open_work(node) is not None:
            return True
    return False
