"""The facts known of leaves before a run begins: ends to take over, work to pick up again.

A resumed run takes over the ends of leaves that completed in an earlier run; a recovered one
takes over every end on record and attaches to what still runs.

Threads: everything here belongs to the thread that begins the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from taskgrove.commands.aggregation.recorded_rule import RecordedRule
from taskgrove.commands.task import LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, NoteDetail, SteeringRequest
from taskgrove.events.cause import NOTHING_RAN

_REUSED: Final = NoteDetail("reused")


@dataclass(frozen=True, slots=True)
class PriorEnd:
    """An end that is taken over: the leaf is not started.

    Attributes:
        status: The final status.
        result: The result, in any form that ``parse_result`` reads.
        note: Why, as a sentence for people (``reused from run 2026…``); empty: nothing is said.
        facts: The topic and the data of that note.
        fields: Further fields of ``TaskTracker.update_task``: ``devices``, ``failed_devices``,
            ``health_state``, ``skipped``, ...
        recorded: The end stands in this run's record already (recovery): it is taken over
            without an event. Only such an end may be given for a composite too, and that of one
            that an operator left out.
        by_verdict: Of a composite: no policy decided it, and the ends below do not change it.
    """

    status: TaskStatus
    result: Any = None
    note: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    recorded: bool = False
    by_verdict: bool = False
    facts: NoteDetail = _REUSED

    @property
    def has_begun(self) -> bool:
        """False where its work provably did nothing."""
        cause = self.fields.get("cause")
        idle = self.fields.get("skipped") or (
            isinstance(cause, Cause) and cause.kind in NOTHING_RAN
        )
        return self.status is TaskStatus.COMPLETED or not idle or bool(self.fields.get("begun"))

    @property
    def is_left_out(self) -> bool:
        """True where an operator left it out before it had begun."""
        return bool(self.fields.get("left_out")) and self.is_skipped_over

    @property
    def is_skipped_over(self) -> bool:
        """True where an operator wanted the later steps to run whatever became of this one."""
        request = self.fields.get("request")
        return isinstance(request, SteeringRequest) and request.verb == "skip"


@dataclass(frozen=True, slots=True)
class PriorWork:
    """Work that runs outside already: the leaf is attached to, not started.

    Attributes:
        outside_id: The id that was recorded when it started (a command id, ``pid:start``).
        outside_kind: ``command``, ``process`` or ``job``.
        attempt: The attempt that it belongs to, from 1.
        status: The status in the record, taken over without an event, or None.
        progress: Percent done on record, 0..100.
        began_ns: When that attempt began, UTC, nanoseconds since the epoch: its limit is counted
            from there; None: from now.
    """

    outside_id: str
    outside_kind: str = "command"
    attempt: int = 1
    status: TaskStatus | None = None
    progress: int = 0
    began_ns: int | None = None


@dataclass(frozen=True, slots=True)
class PriorStart:
    """A composite that had begun: its limit is counted from then.

    Attributes:
        began_ns: When, UTC, nanoseconds since the epoch.
    """

    began_ns: int


Prior: TypeAlias = PriorEnd | PriorWork | PriorStart


def take_over(root: Task, known: Mapping[str, Prior]) -> None:
    """Tell the trackers of a fresh tree the facts of the record, before they are observed.

    Ends that are not on record are left alone: they are news.

    Args:
        root: The tree; its trackers must not be bound to a bus yet.
        known: The known facts, by path.
    """
    nodes = list(root.walk())
    # Verdicts from outside come first: the ends below do not change them.
    for path, node in nodes:
        end = _recorded_end(known, path)
        if end is not None and isinstance(node, Task) and _is_verdict(node, end):
            _conclude(node, end)
    for path, node in nodes:
        if isinstance(node, LeafTask):
            _take_over_leaf(node, known.get(path))
    # The record may have lost a step's end, but not that the whole ended.
    for path, node in reversed(nodes):
        end = _recorded_end(known, path)
        if end is not None and isinstance(node, Task) and not node.tracker.is_complete:
            _conclude(node, end)


def report_end(leaf: LeafTask, end: PriorEnd) -> None:
    """Tell the trackers that a leaf ended, as ``end`` says."""
    fields = dict(end.fields)
    kept, value = leaf.kept_result, fields.get("result_value")
    if kept is not None and value is not None:
        kept.take(None, value)
    if leaf.device_name is not None and not fields.get("skipped"):
        fields.setdefault("device_name", leaf.device_name)
    leaf.report(status=end.status, result=end.result, **fields)


def _recorded_end(known: Mapping[str, Prior], path: str) -> PriorEnd | None:
    end = known.get(path)
    return end if isinstance(end, PriorEnd) and end.recorded else None


def _is_verdict(task: Task, end: PriorEnd) -> bool:
    """Return True for an end that no policy decided, or that this program could not decide."""
    return (
        end.by_verdict
        or bool(end.fields.get("skipped"))
        or not task.subtasks
        or isinstance(task.rule, RecordedRule)
    )


def _conclude(task: Task, end: PriorEnd) -> None:
    code, message = end.result if end.result is not None else (ResultCode.UNKNOWN, "")
    skipped = bool(end.fields.get("skipped"))
    if task.subtasks:
        health, left_out = end.fields.get("health_state"), end.fields.get("left_out", ())
        task.tracker.conclude(
            end.status, code, message, skipped=skipped, health_state=health, left_out=left_out
        )
    elif isinstance(task.parent, Task):  # complete from the start: only its parent can be told
        task.parent.tracker.update_task(
            task_name=task.name, status=end.status, result=(code, message), skipped=skipped
        )


def _take_over_leaf(leaf: LeafTask, prior: Prior | None) -> None:
    if isinstance(prior, PriorEnd):
        if prior.recorded:
            report_end(leaf, prior)
            if isinstance(leaf.parent, Task) and not _is_told(leaf, leaf.parent):
                _tell_alone(leaf, prior)
    elif isinstance(prior, PriorWork) and (prior.status is not None or prior.progress):
        fields = {} if leaf.device_name is None else {"device_name": leaf.device_name}
        leaf.report(status=prior.status, progress=prior.progress or None, **fields)


def _is_told(leaf: LeafTask, parent: Task) -> bool:
    record = parent.tracker.subtasks.get(leaf.name)
    return record is not None and record.status is not None and record.status.is_final


def _tell_alone(leaf: LeafTask, end: PriorEnd) -> None:
    """Tell a leaf's own tracker of an end that came after its parent's."""
    tracker = leaf.tracker
    if not tracker.is_complete:
        fields = dict(end.fields)
        tracker.update_task(task_name=leaf.name, status=end.status, result=end.result, **fields)
