"""The records of a task's subtasks, and the counters over them.

The tracker's lock guards a :class:`Records`. Counters are kept as updates come; the ``recompute``
methods count the same again, and a property test compares both.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Final

from taskgrove.commands.aggregation.base import SubtaskResult
from taskgrove.control_model import IS_FINAL, TaskStatus
from taskgrove.events import LeftOut

NEVER: Final = float("inf")


class Records:
    """The subtasks of one task, counted.

    Attributes:
        subtasks: The record of each subtask, by name.
        total: How many subtasks must be final before the task is.
        completed: How many subtasks are final.
        progress_sum: The sum of the percentages of all subtasks; a final one counts as 100.
        names_known: Whether the tracker was told the names of all subtasks: then no other counts.
        last_step: The last percentage that was posted, or None.
        next_step_sum: The sum at which the next percentage is posted.
    """

    __slots__ = (
        "completed", "last_step", "names_known", "next_step_sum", "progress_sum", "subtasks",
        "total",
    )  # fmt: skip

    def __init__(self, total: int) -> None:
        self.subtasks: dict[str, SubtaskResult] = {}
        self.total = total
        self.completed = 0
        self.progress_sum = 0
        self.names_known = False
        self.last_step: int | None = None
        self.next_step_sum: float = NEVER

    def of(self, name: str) -> SubtaskResult:
        """Return the record of a subtask; it is made where there is none."""
        record = self.subtasks.get(name)
        if record is None:
            record = self.subtasks[name] = SubtaskResult(name)
        return record

    def final(self) -> list[SubtaskResult]:
        """Return the records of the subtasks that have ended."""
        return [record for record in list(self.subtasks.values()) if _is_final(record)]

    @property
    def is_done(self) -> bool:
        """True once so many subtasks have ended as must end."""
        return self.total <= 0 or self.completed >= self.total

    @property
    def percent(self) -> int:
        """The mean percentage over ``total``, rounded down."""
        return min(100, self.progress_sum // self.total) if self.total > 0 else 100

    @property
    def has_begun(self) -> bool:
        """True when the work of a subtask has begun, as told or as its end tells."""
        return any(
            record.begun or record.status in (TaskStatus.COMPLETED, TaskStatus.FAILED)
            for record in list(self.subtasks.values())
        )

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The steps that were left out below the subtasks."""
        return tuple(chain.from_iterable(sub.left_out for sub in list(self.subtasks.values())))

    def recompute_completed(self) -> None:
        """Count again the subtasks that have ended."""
        self.completed = len(self.final())

    def recompute_progress(self) -> None:
        """Sum up the progress again."""
        self.progress_sum = sum(
            100 if _is_final(record) else record.progress for record in self.subtasks.values()
        )

    def devices(
        self, is_problem: Callable[[SubtaskResult], bool], *, aborted: bool
    ) -> tuple[list[str], list[str]]:
        """Return all devices involved and the failed ones, sorted.

        Args:
            is_problem: The policy's judgement of a subtask.
            aborted: Whether the task was aborted.
        """
        devices: set[str] = set()
        failed: set[str] = set()
        for record in list(self.subtasks.values()):
            involved = record.devices or ([record.device_name] if record.device_name else [])
            devices.update(involved)
            if is_problem(record):
                # Of a task below, a fault that left out a device may be all that is wrong.
                faulty = any(item.kind == "fault" for item in record.left_out)
                failed.update(record.failed_devices or (() if faulty else involved))
            elif aborted and record.status is TaskStatus.ABORTED:
                failed.update(record.failed_devices or ())  # they failed before the abort
        return sorted(devices), sorted(failed)


def _is_final(record: SubtaskResult) -> bool:
    return record.status is not None and bool(IS_FINAL[record.status])
