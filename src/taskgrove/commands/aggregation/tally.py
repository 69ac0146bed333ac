"""Counting subtasks by their ends, in one pass, for the rules to judge.

Pure. A *problem* has ended badly; a *casualty* was not run because an earlier step failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from taskgrove.commands.aggregation.base import DEGRADED, SubtaskResult
from taskgrove.control_model import IS_FINAL, ResultCode, TaskStatus
from taskgrove.events import LeftOut, told_reasons

DeviceKind: TypeAlias = Literal["CBF", "PST", "PSS", "OTHER"]

#: The kinds, in the order in which they are tried.
DEVICE_KINDS: Final[tuple[DeviceKind, ...]] = ("CBF", "PST", "PSS", "OTHER")
_NAMED_KINDS: Final[tuple[tuple[str, DeviceKind], ...]] = (
    ("cbf", "CBF"),
    ("pst", "PST"),
    ("pss", "PSS"),
)
# Bound once: reading a member through its class costs several times as much.
_QUEUED: Final = TaskStatus.QUEUED
_IN_PROGRESS: Final = TaskStatus.IN_PROGRESS
_COMPLETED: Final = TaskStatus.COMPLETED
_ABORTED: Final = TaskStatus.ABORTED
_FAILED: Final = ResultCode.FAILED
_GOOD_ENDS: Final = (None, ResultCode.OK)
_FAILED_OR_REJECTED: Final = (TaskStatus.FAILED, TaskStatus.REJECTED)
#: Codes that make a COMPLETED subtask a problem, besides FAILED.
_BAD_ENDS: Final = frozenset(
    {ResultCode.REJECTED, ResultCode.NOT_ALLOWED, ResultCode.ABORTED, ResultCode.UNKNOWN}
)


def device_kind(device: str) -> DeviceKind:
    """Return the kind of a device, by a substring of its lower-cased name."""
    name = device.lower()
    for part, kind in _NAMED_KINDS:
        if part in name:
            return kind
    return "OTHER"


def failed_devices_of(sub: SubtaskResult) -> list[str]:
    """Return the devices to report as failed: ``failed_devices``, else ``device_name``."""
    if sub.failed_devices:
        return list(sub.failed_devices)
    return [sub.device_name] if sub.device_name else []


def is_final_problem(sub: SubtaskResult) -> bool:
    """Return whether the status is FAILED or REJECTED, or the code FAILED."""
    return sub.status in _FAILED_OR_REJECTED or sub.result_code == _FAILED


def is_problem(sub: SubtaskResult) -> bool:
    """Return whether ``aggregate`` counts it as a problem: a casualty is none."""
    if sub.skipped:
        return False
    return is_final_problem(sub) or (sub.status == _COMPLETED and sub.result_code in _BAD_ENDS)


def is_degraded(sub: SubtaskResult) -> bool:
    """Return whether the subtask ran to its end with health DEGRADED."""
    return sub.status == _COMPLETED and sub.health_state == DEGRADED


class Tally:
    """The ends of the subtasks of one task, counted.

    Args:
        subs: The subtasks.
        left_out: The steps that were left out of the task. A step that a fault left out counts as
            a problem that is never severe.

    Attributes:
        total: How many there are, with those that a fault left out.
        waiting: How many are STAGING, QUEUED or have not reported.
        running: How many others are not final.
        succeeded: How many are final, and neither problem, casualty nor aborted.
        degraded: How many of the problems are DEGRADED: neither success nor plain failure.
        problems: The problems, in order.
        casualties: The casualties, in order.
        aborted: The ABORTED ones, in order.
        faults: The steps that a fault left out, and that count, in order.
        below: The steps that were left out below, for each final subtask that tells of any.
    """

    __slots__ = (
        "aborted",
        "below",
        "casualties",
        "degraded",
        "faults",
        "problems",
        "running",
        "succeeded",
        "total",
        "waiting",
    )

    def __init__(self, subs: Iterable[SubtaskResult], left_out: Iterable[LeftOut] = ()) -> None:
        self.problems: list[SubtaskResult] = []
        self.casualties: list[SubtaskResult] = []
        self.aborted: list[SubtaskResult] = []
        self.faults = [item for item in left_out if item.counts]
        self.below: list[tuple[LeftOut, ...]] = []
        total = len(self.faults)
        waiting = running = succeeded = degraded = 0
        for sub in subs:
            total += 1
            status = sub.status
            if status is None:
                waiting += 1
                continue
            if status is _IN_PROGRESS:
                running += 1
                continue
            if not IS_FINAL[status]:
                if status <= _QUEUED:
                    waiting += 1
                else:
                    running += 1
                continue
            if sub.left_out:
                self.below.append(sub.left_out)
            if status is _COMPLETED and sub.result_code in _GOOD_ENDS and not sub.skipped:
                succeeded += 1  # by far the most frequent end
            elif status is _ABORTED:
                self.aborted.append(sub)
            elif sub.skipped:
                self.casualties.append(sub)
            elif is_problem(sub):
                self.problems.append(sub)
                degraded += is_degraded(sub)
            else:
                succeeded += 1
        self.total = total
        self.waiting = waiting
        self.running = running
        self.succeeded = succeeded
        self.degraded = degraded

    @property
    def unsuccessful(self) -> int:
        """How many are problems or casualties, or were left out by a fault."""
        return len(self.problems) + len(self.casualties) + len(self.faults)

    @property
    def faults_told(self) -> str:
        """The words of a sum for the steps that a fault left out: ``, 4 left out: no answer``."""
        return f", {told_reasons(self.faults)}" if self.faults else ""
