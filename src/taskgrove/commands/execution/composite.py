"""A Task while it runs: its counters, its deadline, and what breaks a sequence."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from taskgrove.commands.task import BaseTask, Task, TaskExecutionType
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus

#: Codes that name a problem of something that ran to its end (S3).
PROBLEM_CODES: Final = frozenset(
    {
        ResultCode.FAILED,
        ResultCode.UNKNOWN,
        ResultCode.REJECTED,
        ResultCode.NOT_ALLOWED,
        ResultCode.ABORTED,
    }
)


class Limit(NamedTuple):
    """A deadline, and who set it.

    Attributes:
        at: When it expires (``time.monotonic()``), in seconds.
        length_s: How long it was, in seconds.
        owner: Path of the node that set it.
    """

    at: float
    length_s: float
    owner: str


class Composite:
    """A Task while it runs."""

    __slots__ = ("is_sequence", "limit", "next_index", "parent", "path", "remaining", "task")

    def __init__(self, task: Task, parent: Composite | None, path: str) -> None:
        self.task = task
        self.parent = parent
        self.path = path
        self.remaining = len(task.subtasks)
        self.next_index = 0
        self.is_sequence = task.task_type is TaskExecutionType.SEQUENTIAL
        self.limit: Limit | None = None if parent is None else parent.limit
        if task.timeout is not None:
            own = Limit(time.monotonic() + task.timeout, task.timeout, path)
            if self.limit is None or own.at < self.limit.at:
                self.limit = own

    @property
    def tracker(self) -> TaskTracker:
        """The tracker of the task."""
        return self.task.tracker

    def broken_by(self, child: BaseTask, *, by_abort: bool = True) -> str | None:
        """Return the words for a child that breaks the sequence (S7.2), or None.

        Args:
            child: A child that has ended.
            by_abort: Whether a child that was aborted breaks it.
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
            return f"{child.name} aborted" if by_abort else None
        if status is TaskStatus.COMPLETED and (health == "DEGRADED" or code not in PROBLEM_CODES):
            return None
        word = "rejected" if status is TaskStatus.REJECTED else "failed"
        return f"{child.name} {word}"
