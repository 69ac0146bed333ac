"""A live run with devices that follow a script, for tests of steering."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.leaf_runner import LeafLimits
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import FinishedDetail, NoteDetail, TaskEvent
from taskgrove.events.steering_request import SteeringAnswer, SteeringReason
from taskgrove.testing import EventLog, FakeDeviceRunner, Script

SEQUENTIAL: Final = TaskExecutionType.SEQUENTIAL
PARALLEL: Final = TaskExecutionType.PARALLEL
DEVICE: Final = TaskExecutionType.DEVICE
GUARD_S: Final = 200.0
NO_LOCK: Final = Script.fails("no lock")
GOOD: Final = Script()
HANGS: Final = Script(hangs=True)
OK: Final = (TaskStatus.COMPLETED, ResultCode.OK, None)
DEGRADED: Final = (TaskStatus.COMPLETED, ResultCode.OK, "DEGRADED")


def leaf(name: str, **options: Any) -> LeafTask:
    return LeafTask(name, f"low-test/{name}/01", "Run", **options)


def tree(*children: Any, task_type: Any = SEQUENTIAL, **options: Any) -> Task:
    return Task("observe", task_type, is_root=True, subtasks=children, **options)


class Live:
    """A run, its devices and its events."""

    def __init__(self, handle: RunHandle, fake: FakeDeviceRunner, log: EventLog) -> None:
        self.handle, self.fake, self.log = handle, fake, log

    def note(self, topic: str, path: str, attempt: int = 1) -> NoteDetail:
        event = self.log.wait_for(
            topic=topic,
            path=path,
            where=lambda event: event.attempt == attempt,
            timeout_s=GUARD_S,
        )
        assert isinstance(event.detail, NoteDetail)
        return event.detail

    def end_of(self, path: str) -> tuple[TaskEvent, FinishedDetail]:
        event = self.log.wait_for(kind="finished", path=path, timeout_s=GUARD_S)
        assert isinstance(event.detail, FinishedDetail)
        return event, event.detail

    def ends(self) -> tuple[TaskStatus, ResultCode, str | None]:
        assert self.handle.wait(GUARD_S)
        outcome = self.handle.outcome
        assert outcome is not None
        return outcome.status, outcome.result, outcome.health_state


def why_not(answer: SteeringAnswer) -> tuple[str, list[SteeringReason]]:
    return answer.fate, [item.reason for item in answer.objections]


@contextmanager
def live(
    task: Task,
    scripts: Any = None,
    *,
    max_workers: int = 4,
    grace_s: float = 5.0,
    limits: LeafLimits | None = None,
    **options: Any,
) -> Iterator[Live]:
    """Run a tree; at the end of the block it is aborted, if it has not ended."""
    fake, log = FakeDeviceRunner(scripts, limits=limits), EventLog()
    observers = [log, *options.pop("observers", ())]
    with MainTaskExecutor(max_workers, {DEVICE: fake}, grace_s=grace_s) as executor:
        handle = executor.submit_main_task(task, observers=observers, **options)
        try:
            yield Live(handle, fake, log)
        finally:
            handle.abort("the test is over")
            fake.release_all()
