"""A runner that configures three beams and is killed as soon as their command ids are kept."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.store import Recorder
from taskgrove.tango import DeviceRunner


def tree(trls: list[str]) -> Task:
    beams = [LeafTask(f"pst-0{n}", trl, "Configure", {}) for n, trl in enumerate(trls, 1)]
    return Task(
        "configure",
        is_root=True,
        subtasks=[
            Task("configure_pst", TaskExecutionType.PARALLEL, subtasks=beams),
            LeafTask("scan", trls[0], "Scan", {}),
        ],
        skip_subtasks=True,
    )


def main(database: str, run_id: str, trls: list[str]) -> None:
    ids: set[str] = set()

    def die(event: Any) -> None:
        if event.kind == "started" and getattr(event.detail, "outside_id", None):
            ids.add(event.detail.outside_id)
            if len(ids) == len(trls):
                os.kill(os.getpid(), signal.SIGKILL)

    with Recorder(database) as recorder, DeviceRunner() as runner:
        recorder.forward(run_id, die)
        with MainTaskExecutor(runners={TaskExecutionType.DEVICE: runner}) as executor:
            executor.submit_main_task(tree(trls), run_id=run_id, recorder=recorder).wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
