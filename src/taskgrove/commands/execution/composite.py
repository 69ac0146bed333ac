"""A Task while it runs: its counters, its deadline, and the ends that break a sequence."""

from __future__ import annotations

from taskgrove.commands.execution.limit import Limit
from taskgrove.commands.task import BaseTask, Task, TaskExecutionType
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import PROBLEM_CODES, ResultCode, TaskStatus


class Composite:
    """A Task while it runs."""

    __slots__ = (
        "_unbegun",
        "is_sequence",
        "limit",
        "next_index",
        "parent",
        "path",
        "remaining",
        "task",
    )

    def __init__(
        self, task: Task, parent: Composite | None, path: str, *, began_ns: int | None = None
    ) -> None:
        self.task = task
        self.parent = parent
        self.path = path
        self.remaining = len(task.subtasks)
        self.next_index = 0
        self._unbegun: set[str] = set()
        self.is_sequence = task.task_type is TaskExecutionType.SEQUENTIAL
        self.limit: Limit | None = None if parent is None else parent.limit
        if task.timeout is not None:
            own = Limit.from_now(task.timeout, path, began_ns)
            if self.limit is None or own.at < self.limit.at:
                self.limit = own

    @property
    def tracker(self) -> TaskTracker:
        """The tracker of the task."""
        return self.task.tracker

    def leave_unbegun(self, child: BaseTask) -> None:
        """Remember that a leaf was never begun, for want of a runner, here and further up."""
        self._unbegun.add(child.name)
        if self.parent is not None:
            self.parent.leave_unbegun(self.task)

    def broken_by(self, child: BaseTask) -> str | None:
        """Return the words for a child that breaks the sequence or None.

        Args:
            child: A child that has ended.
        """
        if isinstance(child, Task):
            outcome = child.tracker.outcome()
            status, code, health = outcome.status, outcome.result, outcome.health_state
        else:
            record = self.tracker.subtasks.get(child.name)
            if record is None or record.status is None:
                return None
            status, health = record.status, record.health_state
            code = record.result_code if record.result_code is not None else ResultCode.OK
        if status is TaskStatus.ABORTED:
            # A child that was aborted for want of a runner breaks nothing: nor is the rest begun.
            return None if child.name in self._unbegun else f"{child.name} aborted"
        if status is TaskStatus.COMPLETED and (health == "DEGRADED" or code not in PROBLEM_CODES):
            return None
        word = "rejected" if status is TaskStatus.REJECTED else "failed"
        return f"{child.name} {word}"
