"""Counting subtasks by their ends, in one pass, for the rules to judge.

Pure. A *problem* has ended badly; a *casualty* was not run because an earlier step failed. A step
that an operator left out is neither, and no success. A failure that a person accepted is a success.
"""

from __future__ import annotations

from collections import Counter
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


def is_left_out(sub: SubtaskResult) -> bool:
    """Return whether an operator left the subtask out before it had begun."""
    # A casualty may tell of steps below it that were left out, too.
    own = sub.skipped and sub.left_out and sub.left_out[0]
    return bool(own and own.is_by_operator and own.name == sub.name)


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
        cleanup: The clean-up of the task, which is none of its steps, or None.

    Attributes:
        total: How many there are, with those that a fault or an operator left out.
        waiting: How many are STAGING, QUEUED or have not reported.
        running: How many others are not final.
        succeeded: How many are final, and neither problem, casualty nor aborted.
        degraded: How many of the problems are DEGRADED: neither success nor plain failure.
        problems: The problems, in order.
        casualties: The casualties, in order.
        aborted: The ABORTED ones, in order.
        faults: The steps that a fault left out, and that count, in order.
        below: The steps that were left out below, for each final subtask that tells of any.
        left_out: The subtasks that an operator left out, in order.
        marked: The successes that an act of an operator is a part of, in order.
        by_operator: The steps that operators left out of the task, and below it.
        cleanup: As given. It counts in none of the numbers; a problem of it is one of
            ``problems`` once :meth:`count_cleanup` was called.
    """

    __slots__ = (
        "aborted",
        "below",
        "by_operator",
        "casualties",
        "cleanup",
        "degraded",
        "faults",
        "left_out",
        "marked",
        "problems",
        "running",
        "succeeded",
        "total",
        "waiting",
    )

    def __init__(
        self,
        subs: Iterable[SubtaskResult],
        left_out: Iterable[LeftOut] = (),
        cleanup: SubtaskResult | None = None,
    ) -> None:
        self.problems: list[SubtaskResult] = []
        self.casualties: list[SubtaskResult] = []
        self.aborted: list[SubtaskResult] = []
        self.faults = [item for item in left_out if item.counts]
        self.below: list[tuple[LeftOut, ...]] = []
        self.by_operator = [item for item in left_out if item.is_by_operator]
        self.left_out: list[SubtaskResult] = []
        self.marked: list[SubtaskResult] = []
        total = len(self.faults)
        waiting = running = succeeded = degraded = 0
        for sub in subs:
            total += 1
            status = sub.status
            if status is None or not IS_FINAL[status]:
                is_waiting = status is None or status <= _QUEUED
                waiting += is_waiting
                running += not is_waiting
                continue
            touched = bool(sub.left_out) and self._look_below(sub)
            if status is _COMPLETED and sub.result_code in _GOOD_ENDS and not sub.skipped:
                succeeded += 1  # by far the most frequent end
                if sub.accepted or touched:
                    self.marked.append(sub)
            elif status is _ABORTED:
                self.aborted.append(sub)
            elif sub.skipped:
                (self.left_out if is_left_out(sub) else self.casualties).append(sub)
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
        self.cleanup = cleanup
        if cleanup is not None and cleanup.left_out:
            self._look_below(cleanup)

    def _look_below(self, sub: SubtaskResult) -> bool:
        """Keep what a subtask tells of steps left out; return whether an operator did it."""
        by_operator = [item for item in sub.left_out if item.is_by_operator]
        self.below.append(sub.left_out)
        self.by_operator += by_operator
        return bool(by_operator)

    @property
    def cleanup_is_pending(self) -> bool:
        """Whether there is a clean-up that has not ended."""
        cleanup = self.cleanup
        return cleanup is not None and (cleanup.status is None or not IS_FINAL[cleanup.status])

    @property
    def bad_cleanup(self) -> tuple[SubtaskResult, ...]:
        """The clean-up, where it has ended, and not well."""
        cleanup = self.cleanup
        if cleanup is None or self.cleanup_is_pending:
            return ()
        bad = cleanup.skipped or cleanup.status is _ABORTED or is_problem(cleanup)
        return (cleanup,) if bad else ()

    @property
    def cleanup_end(self) -> Literal["", "aborted", "failed", "rejected"]:
        """How the clean-up ended, where it ran and did not end well; else empty."""
        for cleanup in self.bad_cleanup:
            if cleanup.status is _ABORTED:
                return "aborted"
            if not cleanup.skipped:
                return "rejected" if cleanup.status is TaskStatus.REJECTED else "failed"
        return ""

    def count_cleanup(self) -> None:
        """Count a clean-up that failed among the problems."""
        if self.cleanup is not None:
            self.problems.append(self.cleanup)
            self.degraded += is_degraded(self.cleanup)

    @property
    def accepted_by(self) -> tuple[str, ...]:
        """The persons who accepted failures of the successes, in order of their names."""
        names = {name for sub in self.marked if sub.accepted for name in sub.accepted_by}
        return tuple(sorted(names))

    @property
    def acts_told(self) -> str:
        """The words of a sum for acts of operators: ``, 1 accepted by ann, 2 left out by bob``."""
        if not self.marked and not self.by_operator:
            return ""
        words: list[str] = []
        accepted = sum(sub.accepted for sub in self.marked)
        if accepted:
            persons = " and ".join(self.accepted_by)
            words.append(f"{accepted} accepted{f' by {persons}' if persons else ''}")
        reasons = Counter(item.reason or "left out" for item in self.by_operator)
        words += [f"{count} {reason}" for reason, count in reasons.items()]
        return "".join(f", {word}" for word in words)

    @property
    def unsuccessful(self) -> int:
        """How many are problems or casualties, or were left out by a fault."""
        return len(self.problems) + len(self.casualties) + len(self.faults)

    @property
    def faults_told(self) -> str:
        """The words of a sum for the steps that a fault left out: ``, 4 left out: no answer``."""
        return f", {told_reasons(self.faults)}" if self.faults else ""
