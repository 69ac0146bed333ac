"""The view of a tree that is at hand, without the events of its run.

For a dry run, and for a tree or a handle that shows itself in a notebook. It reads
the trackers where they exist; it makes none, so a tree that is still being built stays
open. When things began and ended only events tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskgrove.commands.execution.composed_events import composed_detail, limit_note
from taskgrove.commands.leaf_runner import LeafRunner
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.events import FinishedDetail, TaskEvent
from taskgrove.view.snapshot import RunView


def view_of(
    task: BaseTask, *, runners: Mapping[TaskExecutionType, LeafRunner] | None = None
) -> RunView:
    """Return the view of ``task`` and all below it, as its trackers know them now.

    Args:
        task: The root of the tree, or of a part of it.
        runners: What will execute the leaves: they say which limits they cannot enforce.
    """
    run_id = ""
    view = RunView(run_id)
    nodes = task.walk() if isinstance(task, Task) else iter([(task.path, task)])
    sequence = 0
    for path, node in nodes:
        sequence += 1
        note = limit_note(node, runners or {}) if isinstance(node, LeafTask) else None
        detail = composed_detail(node, () if note is None else (note,))
        view.apply(_event(run_id, sequence, path, "composed", detail=detail))
        known = _known(node)
        if known is not None:
            sequence += 1
            status = known["status"]
            ended = status is not None and status.is_final
            view.apply(_event(run_id, sequence, path, "finished" if ended else "progress", **known))
    # No event told when: a time of 0 would be a lie.
    for shown in view.nodes.values():
        shown.started_s = shown.started_ns = shown.ended_s = shown.ended_ns = None
    return view


def _known(node: BaseTask) -> dict[str, Any] | None:
    if isinstance(node, LeafTask) and node.parent is not None:
        above = node.parent._tracker  # noqa: SLF001 - reading `tracker` would make it
        record = None if above is None else above.subtasks.get(node.name)
        if above is None or record is None:
            return None
        return {
            "status": record.status,
            "result_code": record.result_code,
            "progress": above.progress_of(node.name),
            "message": record.message,
            "devices": tuple(record.devices or ()),
            "failed_devices": tuple(record.failed_devices or ()),
            "health_state": record.health_state,
            "detail": FinishedDetail(skipped=record.skipped, severe=record.severe),
        }
    tracker = node._tracker  # noqa: SLF001 - see above
    if tracker is None:
        return None
    outcome = tracker.outcome()
    decision = outcome.decision
    return {
        "status": outcome.status,
        "result_code": outcome.result,
        "progress": tracker.progress,
        "message": outcome.message,
        "health_state": outcome.health_state,
        "detail": FinishedDetail(line=None if decision is None else decision.line),
    }


def _event(run_id: str, sequence: int, path: str, kind: Any, **fields: Any) -> TaskEvent:
    return TaskEvent(
        run_id=run_id,
        sequence=sequence,
        path=path,
        kind=kind,
        monotonic_s=0.0,
        wall_ns=0,
        **fields,
    )
