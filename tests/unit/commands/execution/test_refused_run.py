"""A command of which all was refused before anything began is REJECTED, wherever it is told."""

from __future__ import annotations

from typing import Any

import pytest

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.replay import rebuild
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import TaskRejectedError
from taskgrove.events import decode_event, encode_event
from taskgrove.testing import CallbackRecorder, EventLog, FakeDeviceRunner, Script
from taskgrove.view.snapshot import RunView

HANG_GUARD_S = 200.0
DEVICE, INTERNAL = TaskExecutionType.DEVICE, TaskExecutionType.INTERNAL
REFUSES = Script.rejects("queue is full")
NOT_ALLOWED = Script(status=TaskStatus.REJECTED, result=(ResultCode.NOT_ALLOWED, "not in IDLE"))
REJECTED = (TaskStatus.REJECTED, ResultCode.REJECTED, None)
FAILED = (TaskStatus.FAILED, ResultCode.FAILED, "FAILED")


class Manager:
    """A component manager, as those of the field are."""

    def refuses(self) -> Any:
        return TaskStatus.REJECTED, "Queue is full"

    def begins_and_refuses(self, task_callback: Any) -> Any:
        task_callback(status=TaskStatus.IN_PROGRESS, progress=10)
        return TaskStatus.REJECTED, "Queue is full"


def leaf(name: str, device: str = "mid-dish/dish/0001") -> LeafTask:
    return LeafTask(name, device, "Configure")


def method(name: str) -> LeafTask:
    return LeafTask(name, Manager(), name, task_type=INTERNAL)


def told(root: Task, scripts: dict[str, Any]) -> tuple[Any, ...]:
    """Run a tree; check that callback, exception, view and replay tell what the outcome does."""
    log, done = EventLog(), CallbackRecorder()
    root.is_root = True
    root.set_completed_callback(done)
    with MainTaskExecutor(1, runners={DEVICE: FakeDeviceRunner(scripts)}) as executor:
        handle = executor.submit_main_task(root, observers=[log])
        assert handle.wait(HANG_GUARD_S)
    outcome = handle.outcome
    verdict = (outcome.status, outcome.result, outcome.health_state)
    payload = done.payloads[-1]
    assert (payload["status"], *payload["result"]) == (*verdict[:2], outcome.message)
    assert payload.get("health_state") == outcome.health_state
    if outcome.status is TaskStatus.REJECTED:
        with pytest.raises(TaskRejectedError):
            handle.result(HANG_GUARD_S)
    events = [decode_event(encode_event(event)) for event in log.events]
    assert rebuild(events).outcome == outcome
    shown = RunView().apply_all(events).node(root.name)
    assert shown is not None
    assert (shown.status, shown.result_code, shown.health_state) == verdict
    return verdict


def test_refusals_of_steps_and_groups_reject_the_command() -> None:
    group = Task("group", TaskExecutionType.PARALLEL, subtasks=[leaf("a"), leaf("b")])
    root = Task("root", subtasks=[group, leaf("c"), method("refuses")])
    assert told(root, dict.fromkeys("abc", REFUSES)) == REJECTED


def test_what_is_skipped_because_of_a_refusal_changes_nothing() -> None:
    rest = Task("rest", subtasks=[leaf("b"), leaf("c")])
    root = Task("root", skip_subtasks=True, subtasks=[leaf("a"), rest])
    assert told(root, {"a": NOT_ALLOWED}) == (TaskStatus.REJECTED, ResultCode.NOT_ALLOWED, None)


@pytest.mark.parametrize("deep", [False, True])
def test_what_began_before_it_was_refused_failed(deep: bool) -> None:
    began = Script(progress=(10,), status=TaskStatus.REJECTED, result=(5, "went away"))
    steps: list[Any] = [leaf("a"), leaf("b")]
    root = Task("root", subtasks=[Task("group", subtasks=steps)] if deep else steps)
    assert told(root, {"a": REFUSES, "b": began}) == FAILED


def test_a_group_whose_correlator_refused_may_have_begun() -> None:
    group = Task("group", subtasks=[leaf("cbf", "low-cbf/subarray/01"), leaf("a")])
    assert told(
        Task("root", subtasks=[group, leaf("b")]), dict.fromkeys(["cbf", "b"], REFUSES)
    ) == (
        REJECTED  # the correlator dominates above, too
    )


def test_an_earlier_attempt_that_began_counts() -> None:
    lost = Script(progress=(10,), status=TaskStatus.FAILED, result=(3, "went away"), may_retry=True)
    again = LeafTask("a", "mid-dish/dish/0001", "Configure", retries=1)
    assert told(Task("root", subtasks=[again]), {"a": (lost, REFUSES)})[0] is TaskStatus.FAILED


def test_a_method_that_failed_before_it_refused_had_begun() -> None:
    answers = iter([RuntimeError("went away"), (TaskStatus.REJECTED, "Queue is full")])

    def step() -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    root = Task("root", subtasks=[LeafTask.from_callable(step, name="step", retries=1)])
    assert told(root, {}) == FAILED


def test_a_method_that_began_before_it_refused_failed() -> None:
    assert told(Task("root", subtasks=[method("refuses")]), {}) == REJECTED
    assert told(Task("root", subtasks=[method("begins_and_refuses")]), {}) == FAILED


def test_work_that_was_under_way_when_the_log_ends_has_begun() -> None:
    began = Script(progress=(10,), status=TaskStatus.REJECTED, result=(5, "went away"))
    log = EventLog()
    root = Task("root", subtasks=[leaf("a")])
    with MainTaskExecutor(1, runners={DEVICE: FakeDeviceRunner({"a": began})}) as executor:
        assert executor.submit_main_task(root, observers=[log]).wait(HANG_GUARD_S)
    (end,) = log.select(path="root/a", kind="finished")
    assert end.detail.begun
    cut = [event for event in log.events if event.sequence < end.sequence]
    again = rebuild(cut).root
    assert again is not None
    again.tracker.update_task(task_name="a", status=TaskStatus.REJECTED, result=(5, "went away"))
    assert again.tracker.outcome().status is TaskStatus.FAILED
