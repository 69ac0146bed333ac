"""A runner that observes with one device, and is killed as soon as its failed scan is held."""

from __future__ import annotations

import os
import signal
import sys

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.events import NoteDetail, TaskEvent
from taskgrove.store import Recorder
from taskgrove.tango import DeviceRunner

DEVICE = TaskExecutionType.DEVICE


def observe(trl: str) -> Task:
    """Configure, scan, and end in the clean-up."""
    return Task(
        "observe",
        is_root=True,
        skip_subtasks=True,
        subtasks=[
            LeafTask("configure", trl, "Configure", "{}"),
            LeafTask("scan", trl, "Scan", "{}"),
        ],
        finally_tasks=[LeafTask("end", trl, "End")],
    )


def is_held(event: TaskEvent) -> bool:
    return isinstance(event.detail, NoteDetail) and event.detail.topic == "held"


def main(database: str, run_id: str, trl: str) -> None:
    def die(event: TaskEvent) -> None:
        if is_held(event):
            os.kill(os.getpid(), signal.SIGKILL)

    with Recorder(database) as recorder, DeviceRunner() as runner:
        recorder.forward(run_id, die)
        with MainTaskExecutor(runners={DEVICE: runner}) as executor:
            handle = executor.submit_main_task(
                observe(trl), run_id=run_id, recorder=recorder, hold=True
            )
            handle.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
