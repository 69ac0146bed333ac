"""A Task while it runs: its counters, its deadline, and what breaks a sequence."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.commands.task import BaseTask, Task, TaskExecutionType
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import PROBLEM_CODES, ResultCode, TaskStatus

#: What is left of a limit at least when work is picked up again, in seconds: long enough to
#: connect to a device and to read an end that has come meanwhile.
LEAST_LEFT_S: Final = 5.0


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


def limit_from(now_s: float, length_s: float, began_ns: int | None) -> float:
    """Return when a limit expires (``time.monotonic()``, seconds).

    What had begun before this process took it up has used a part of its limit. A short while is
    always left: its end may have come meanwhile, and has yet to be read.

    Args:
        now_s: The monotonic time at which it begins here, in seconds.
        length_s: How long the limit is, in seconds.
        began_ns: When it had begun before, UTC, nanoseconds since the epoch; None: it begins now.
    """
    if began_ns is None:
        return now_s + length_s
    # Only the wall clock is common to the process that began it and this one.
    used_s = max(0.0, (SYSTEM_CLOCK.wall_ns() - began_ns) / 1e9)
    return now_s + max(length_s - used_s, min(length_s, LEAST_LEFT_S))


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
            own = Limit(limit_from(time.monotonic(), task.timeout, began_ns), task.timeout, path)
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
        """Return the words for a child that breaks the sequence (S7.2), or None.

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
