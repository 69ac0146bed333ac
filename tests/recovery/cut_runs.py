"""Runs in a record that break off: as a killed recorder leaves them, without killing one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select, update

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.commands.task import Task, TaskExecutionType
from taskgrove.store import Recorder, Store
from taskgrove.store.recording.lease import LeaseHolder
from taskgrove.store.tables import events, leases, runs
from taskgrove.testing import FakeDeviceRunner, Script
from tests.recovery.doomed import Manager, build
from tests.store.by_sqlalchemy import tables_of

DEVICE = TaskExecutionType.DEVICE
#: A process that there is none of: numbers of processes end far below it.
NOBODY = 2**22 + 5


def record(
    store: Store,
    run_id: str,
    tree: Task | None = None,
    scripts: dict[str, Script] | None = None,
    about: RunAbout | None = None,
) -> Task:
    """Record a whole run of a tree on devices that do not exist; return the tree."""
    tree = tree or build(Manager(Path("/dev/null")))
    with (
        Recorder(store) as recorder,
        MainTaskExecutor(1, {DEVICE: FakeDeviceRunner(scripts)}) as executor,
    ):
        handle = executor.submit_main_task(tree, run_id=run_id, recorder=recorder, about=about)
        assert handle.wait(60)
    return tree


def cut(store: Store, run_id: str, after: int | None = None, **lease: Any) -> int:
    """Make a run break off after an event, under a lease; return its key.

    Args:
        store: The record.
        run_id: A run that has ended.
        after: The last event that is kept; None keeps all.
        **lease: Columns of its lease, over those of a process that is gone; ``lease=None``
            leaves it without one.
    """
    from taskgrove.store.recording.lease import this_process

    holder: LeaseHolder = this_process()
    row = {
        **holder._asdict(),
        "pid": NOBODY,
        "heartbeat_ns": SYSTEM_CLOCK.wall_ns(),
        "interval_s": 2.0,
    }
    with tables_of(store) as connection:
        key = connection.execute(select(runs.c.run_key).where(runs.c.run_id == run_id)).scalar_one()
        state = {"state": "running", "ended_ns": None, "status": None}
        if after is not None:
            connection.execute(
                delete(events).where(events.c.run_key == key, events.c.sequence > after)
            )
            state["last_sequence"] = after
        connection.execute(update(runs).where(runs.c.run_key == key).values(**state))
        if lease.pop("lease", True):
            connection.execute(insert(leases).values(run_key=key, **(row | lease)))
    return int(key)
