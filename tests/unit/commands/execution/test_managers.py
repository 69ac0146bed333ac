"""Component managers of the field: progress callbacks, and tasks that only they can abort."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.testing import EventLog

GUARD_S = 200.0
INTERNAL = TaskExecutionType.INTERNAL


class Manager:
    """Queues its tasks, as a TaskExecutorComponentManager does: its abort event is its own."""

    def __init__(self) -> None:
        self.begun, self._abort = threading.Semaphore(0), threading.Event()
        self.aborts = 0
        self.raises: BaseException | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def configure(self, task_callback: Any, task_abort_event: Any = None) -> Any:
        def work() -> None:
            self.begun.release()
            assert self._abort.wait(GUARD_S)
            task_callback(status=TaskStatus.ABORTED, result=(ResultCode.ABORTED, "aborted"))

        threading.Thread(target=work, daemon=True).start()
        return TaskStatus.QUEUED, "Task queued"

    def deaf(self, task_callback: Any) -> Any:
        return self.configure(task_callback)

    def abort_tasks(self, task_callback: Any = None) -> Any:
        self.aborts += 1
        assert self.go_on.wait(GUARD_S)
        self._abort.set()
        if self.raises is not None:
            raise self.raises
        return TaskStatus.IN_PROGRESS, "Aborting tasks"

    def scan(self, argin: int, *, progress_callback: Any, task_abort_event: Any) -> Any:
        assert not task_abort_event.is_set()
        for percent in (10, 40.5, None, "70", "garbage"):
            progress_callback(percent)
        progress_callback(progress=argin)
        return ResultCode.OK, "done"


def tree(manager: Any, *commands: str, **options: Any) -> Task:
    leaves = [
        LeafTask(f"{command}-{n}", manager, command, None, INTERNAL, **options)
        for n, command in enumerate(commands)
    ]
    return Task("root", TaskExecutionType.PARALLEL, is_root=True, subtasks=leaves)


def test_a_method_may_take_a_progress_callback() -> None:
    log = EventLog()
    step = LeafTask("scan", Manager(), "scan", 90, INTERNAL)
    with MainTaskExecutor() as executor:
        task = Task("root", is_root=True, subtasks=[step])
        handle = executor.submit_main_task(task, observers=[log])
        assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    assert handle.outcome.result is ResultCode.OK
    told = [event.progress for event in log.select(path="root/scan", kind="progress")]
    assert [percent for percent in told if percent] == [10, 40, 70, 90]


@pytest.mark.parametrize("command", ["configure", "deaf"])
@pytest.mark.parametrize("error", [None, SystemExit(3)])
def test_an_abort_reaches_the_tasks_of_a_manager(command: str, error: BaseException | None) -> None:
    manager, log = Manager(), EventLog()
    manager.raises = error
    with MainTaskExecutor(grace_s=GUARD_S) as executor:
        handle = executor.submit_main_task(tree(manager, command), observers=[log])
        assert manager.begun.acquire(timeout=GUARD_S)
        handle.abort("asked")
        assert handle.wait(GUARD_S)
        topic = "abort-acknowledged" if error is None else "abort-unheard"
        log.wait_for(kind="note", path=f"root/{command}-0", topic=topic, timeout_s=GUARD_S)
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.ABORTED
    assert handle.abandoned == ()


def test_a_manager_that_is_being_asked_is_asked_once_for_all() -> None:
    manager = Manager()
    manager.go_on.clear()
    log = EventLog()
    with MainTaskExecutor(grace_s=GUARD_S) as executor:
        handle = executor.submit_main_task(tree(manager, "deaf", "deaf", "deaf"), observers=[log])
        for _ in range(3):
            assert manager.begun.acquire(timeout=GUARD_S)
        waiting = executor._engine.runners[INTERNAL]._managers._waiting  # type: ignore[attr-defined]
        handle.abort("asked")
        while len(waiting.get(id(manager), ())) < 3:
            threading.Event().wait(0.01)
        manager.go_on.set()
        assert handle.wait(GUARD_S)
    assert manager.aborts == 1


@pytest.mark.parametrize("asks", [True, False])
def test_a_limit_ends_the_tasks_of_a_manager_only_where_the_leaf_says_so(asks: bool) -> None:
    manager = Manager()
    with MainTaskExecutor(grace_s=0.05 if not asks else GUARD_S) as executor:
        task = tree(manager, "deaf", timeout=0.2, abort_on_timeout=asks)
        handle = executor.submit_main_task(task)
        assert handle.wait(GUARD_S)
        assert handle.outcome is not None
        assert "timed out after 0.2 s" in handle.outcome.message
        assert manager.aborts == (1 if asks else 0)
        manager._abort.set()


def test_a_method_that_is_given_as_it_is_has_its_manager_asked() -> None:
    manager = Manager()
    with MainTaskExecutor(grace_s=GUARD_S) as executor:
        step = LeafTask.from_callable(manager.deaf, name="a")
        handle = executor.submit_main_task(Task("root", is_root=True, subtasks=[step]))
        assert manager.begun.acquire(timeout=GUARD_S)
        handle.abort("asked")
        assert handle.wait(GUARD_S)
    assert manager.aborts == 1
