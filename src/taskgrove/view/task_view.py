"""The view of a tree that is at hand, without the events of its run.

For a dry run, and for a tree or a handle that shows itself in a notebook. It reads
the trackers where they exist; it makes none, so a tree that is still being built stays
open. When things began and ended only events tell.
"""

from __future__ import annotations

from collections.abc import Mapping

from taskgrove.commands.execution.composed_events import composed_detail, limit_note
from taskgrove.commands.leaf_runner import LeafRunner
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.events import FinishedDetail
from taskgrove.story.run_node import RunNode
from taskgrove.view.snapshot import RunView


def view_of(
    task: BaseTask, *, runners: Mapping[TaskExecutionType, LeafRunner] | None = None
) -> RunView:
    """Return the view of ``task`` and all below it, as its trackers know them now.

    Args:
        task: The root of the tree, or of a part of it.
        runners: What will execute the leaves: they say which limits they cannot enforce.
    """
    view = RunView("")
    for path, node in task.walk() if isinstance(task, Task) else [(task.path, task)]:
        note = limit_note(node, runners or {}) if isinstance(node, LeafTask) else None
        known = RunNode(path, composed_detail(node, () if note is None else (note,)))
        if isinstance(node, LeafTask):
            _fill_leaf(known, node)
        else:
            _fill(known, node)
        view.put(known)
    return view


def _fill_leaf(known: RunNode, leaf: LeafTask) -> None:
    parent = leaf.parent
    tracker = None if parent is None else parent._tracker  # noqa: SLF001 - `tracker` would make it
    record = None if tracker is None else tracker.subtasks.get(leaf.name)
    if tracker is None or record is None:
        return
    known.status, known.result_code = record.status, record.result_code
    known.progress, known.message = tracker.progress_of(leaf.name), record.message
    known.devices = tuple(record.devices or ())
    if known.is_final:
        known.failed_devices = tuple(record.failed_devices or ())
        known.health_state = record.health_state
        known.finished = FinishedDetail(
            skipped=record.skipped,
            severe=record.severe,
            left_out=record.left_out,
            accepted=record.accepted,
            accepted_by=record.accepted_by,
        )


def _fill(known: RunNode, node: BaseTask) -> None:
    tracker = node._tracker  # noqa: SLF001 - reading `tracker` would make it
    if tracker is None:
        return
    outcome = tracker.outcome()
    known.status, known.result_code = outcome.status, outcome.result
    known.progress, known.message = tracker.progress, outcome.message
    if known.is_final:
        line = None if outcome.decision is None else outcome.decision.line
        known.health_state = outcome.health_state
        known.finished = FinishedDetail(line=line, accepted=outcome.accepted)
