"""Runs that are killed: a nursery that forks a recording process for each, and what it runs.

The nursery has imported everything, so that a hundred processes cost seconds. Each child records
a run into SQLite and kills itself with SIGKILL when event ``k`` is handed to the recorder
(``enqueued``: those before it are kept) or when it was committed (``committed``); by then it has
written to its pipe what it had reported, and to a file what had truly happened.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode
from taskgrove.testing import FakeDeviceRunner, Script

DEVICE = TaskExecutionType.DEVICE
PARALLEL = TaskExecutionType.PARALLEL

#: What the devices that do not exist do; the truth about the outside work, also for recovery.
SCRIPTS = {
    "pst-01": Script(progress=(30, 60)),
    "pst-02": Script.fails("no lock"),
    "pst-03": Script(result=(ResultCode.OK, "locked")),
    "late": Script.rejects("queue is full"),
}


class Manager:
    """Internal steps that leave a trace of what truly happened."""

    def __init__(self, truth: Path) -> None:
        self._truth = truth

    def trace(self, word: str) -> None:
        with self._truth.open("a") as file:
            file.write(f"{word}\n")

    def check(self) -> tuple[ResultCode, str]:
        self.trace("began check")
        self.trace("ended check")
        return ResultCode.OK, "all checked"

    def tidy(self) -> tuple[ResultCode, str]:
        self.trace("began tidy")
        self.trace("ended tidy")
        return ResultCode.FAILED, "the table is locked"


def build(manager: Manager) -> Task:
    """A tree with every shape that matters: internal, outside, failing, skipped, nested."""

    def internal(name: str) -> LeafTask:
        return LeafTask(name, manager, name, task_type=TaskExecutionType.INTERNAL)

    beams = [LeafTask(f"pst-0{n}", f"low-pst/beam/0{n}", "Configure") for n in (1, 2, 3)]
    after = Task("after", subtasks=[LeafTask("x", "low-cbf/x/1", "On"), Task("empty")])
    return Task(
        "configure",
        is_root=True,
        subtasks=[
            internal("check"),
            Task("configure_pst", PARALLEL, subtasks=beams),
            Task(
                "end",
                skip_subtasks=True,
                subtasks=[internal("tidy"), LeafTask("late", "low-cbf/y/1", "On"), after],
            ),
        ],
    )


def truth_runner() -> FakeDeviceRunner:
    """What the outside work does, whoever asks."""
    return FakeDeviceRunner(SCRIPTS)


def doom(database: str, run_id: str, truth: str, kill_at: int, when: str) -> None:
    """Record a run, and die at event ``kill_at``; 0 lives."""
    from taskgrove.store import Recorder

    out = os.fdopen(os.dup(1), "wb", 0)

    def say(*words: Any) -> None:
        out.write((json.dumps(words) + "\n").encode())

    kept = threading.Event()
    held = kill_at - 1 if when == "enqueued" else kill_at

    def die(event: Any) -> None:
        if event.sequence == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def hold(event: Any) -> None:
        # The run waits there for the record, so that this breaks off where it should.
        if event.sequence == held:
            kept.wait(60)

    def watch(event: Any) -> None:
        if event.sequence == held:
            kept.set()

    def report(event: Any) -> None:  # as a surface: it shows what is kept
        if event.kind == "finished":
            say("finished", event.path, event.status.name, event.message)

    recorder = Recorder(database)
    recorder.forward(run_id, report)
    observers = [hold]
    if when == "enqueued":
        observers.append(die)
    else:
        recorder.forward(run_id, die)
    recorder.forward(run_id, watch)
    with MainTaskExecutor(1, {DEVICE: truth_runner()}) as executor:
        handle = executor.submit_main_task(
            build(Manager(Path(truth))), run_id=run_id, recorder=recorder, observers=observers
        )
        handle.wait()
        assert handle.outcome is not None
        say("exit", handle.outcome.status.name, handle.outcome.message)
    recorder.close()


class Nursery:
    """A process that forks doomed ones; a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.recovery.doomed"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, database: Path, run_id: str, truth: Path, kill_at: int = 0, when: str = "enqueued"
    ) -> tuple[int, list[list[str]]]:
        """Run one; return how its process ended (negative: by a signal) and what it reported."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = [str(database), run_id, str(truth), kill_at, when]
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        told: list[list[str]] = []
        while True:
            line = self._process.stdout.readline()
            assert line, "the nursery has ended"
            words = json.loads(line)
            if words[0] == "ended":
                return int(words[1]), told
            told.append(words)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def _serve() -> None:
    import taskgrove.store.recorder
    import taskgrove.store.recording.writer
    import taskgrove.store.tables  # noqa: F401

    for line in sys.stdin:
        database, run_id, truth, kill_at, when = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                doom(database, run_id, truth, kill_at, when)
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(json.dumps(["ended", os.waitstatus_to_exitcode(status)]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
