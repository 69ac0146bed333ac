"""Checked by mypy, never run: the public names as a user's typed program meets them."""

from __future__ import annotations

from typing import assert_type

import taskgrove
from taskgrove import (
    AggregationOutcome,
    LeafTask,
    MainTaskExecutor,
    ResultCode,
    RunHandle,
    SubtaskResult,
    Task,
    TaskAggregationPolicy,
    TaskEvent,
    TaskExecutionType,
    TaskStatus,
    TaskTracker,
    as_task_callback,
)
from taskgrove.clock import Clock
from taskgrove.commands.leaf_runner import LeafRunner
from taskgrove.errors import TaskFailedError
from taskgrove.events import EventBus, Observer
from taskgrove.testing import CallbackRecorder, EventLog, FakeDeviceRunner, ManualClock, Script


def add(argin: int) -> int:
    return argin + 1


def trees() -> None:
    leaf = LeafTask.from_callable(add, 1, timeout=2.5, retries=1)
    root = Task(
        "root", TaskExecutionType.PARALLEL, subtasks=[leaf], rule={"quorum": 0.8}, is_root=True
    )
    assert_type(root.path, str)
    assert_type(root.tracker, TaskTracker)
    assert_type(taskgrove.run(root), AggregationOutcome)
    Task("root", subtasks=["leaf"])  # type: ignore[list-item]


async def runs(root: Task) -> None:
    seen: list[TaskEvent] = []
    fake: LeafRunner = FakeDeviceRunner({"a": Script(hangs=True), "b": [Script(), Script()]})
    with MainTaskExecutor(4, {TaskExecutionType.DEVICE: fake}, grace_s=1.0) as executor:
        handle = executor.submit_main_task(root, observers=[seen.append])
        assert_type(handle, RunHandle)
        assert_type(handle.wait(1.0), bool)
        assert_type(handle.status, TaskStatus)
        assert_type(handle.outcome, AggregationOutcome | None)
        assert_type(await handle, AggregationOutcome)
    try:
        handle.result(timeout_s=1.0)
    except TaskFailedError as error:
        assert_type(error.hint, str | None)


def outcomes() -> None:
    policy = TaskAggregationPolicy("configure", is_root=True)
    outcome = policy.aggregate([SubtaskResult("a", TaskStatus.COMPLETED, (ResultCode.OK, "ok"))])
    assert_type(outcome.status, TaskStatus)
    assert_type(outcome.result, ResultCode)
    assert_type(outcome.health_state, str | None)


def doubles() -> None:
    clock: Clock = ManualClock()
    log = EventLog()
    observer: Observer = log
    EventBus("run", clock).subscribe(observer)
    recorder = CallbackRecorder()
    TaskTracker("a", 1, completed_callback=recorder)
    as_task_callback(recorder)
    assert_type(log.wait_for(kind="finished"), TaskEvent)
    log.wait_for(kind="exploded")  # type: ignore[arg-type]
