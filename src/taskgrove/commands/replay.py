"""From the record back to a tree: the events of a run, fed to fresh trackers.

The event log is the truth: a rebuilt tree has the same nodes, statuses and outcome as the one
that ran. A log that was cut off gives the facts that were told by then.

Threads: everything here belongs to the thread that calls it; nothing is started.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.aggregation.recorded_rule import RecordedRule
from taskgrove.commands.aggregation.rules import AggregationRule, parse_rule
from taskgrove.commands.prior import Prior, PriorEnd, PriorStart, PriorWork, take_over
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.control_model import TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events import ComposedDetail, TaskEvent
from taskgrove.story.run_node import RunNode, RunNodes

#: The rule of a composite that was refused before a step was started.
REFUSED_RULE: Final = "refused"


@dataclass(frozen=True, slots=True)
class ReplayedRun:
    """A run, rebuilt from its record.

    Attributes:
        run_id: The run; empty when no event told it.
        root: The tree, with its trackers fed; None when no event told of any node.
        facts: The facts that the events tell of each node.
        uncomposed: Paths of nodes that their parent names and that the log never composed; in
            the tree they are leaves without a target.
        unplaced: Paths of nodes for which the log names no place in the tree.
    """

    run_id: str
    root: Task | None
    facts: RunNodes
    uncomposed: tuple[str, ...] = ()
    unplaced: tuple[str, ...] = ()

    @property
    def outcome(self) -> AggregationOutcome | None:
        """The outcome; None while some step has not ended."""
        if self.root is None or not self.root.tracker.is_complete:
            return None
        return self.root.tracker.outcome()

    @property
    def statuses(self) -> dict[str, TaskStatus | None]:
        """The status of each node of the tree, by path; None: nothing was heard of it."""
        if self.root is None:
            return {}
        found: dict[str, TaskStatus | None] = {}
        for path, node in self.root.walk():
            if isinstance(node, Task) and (node.subtasks or node is self.root):
                found[path] = node.tracker.overall_status
            else:  # an empty task is complete from the start, but was not always begun
                facts = self.facts.nodes.get(path)
                found[path] = None if facts is None else facts.status
        return found


def rebuild(source: Iterable[TaskEvent] | RunNodes) -> ReplayedRun:
    """Return the run that the events tell of, whether it ended or the log was cut off.

    Args:
        source: Events of one run in any order, or the facts folded from them.
    """
    run_id = ""
    if isinstance(source, RunNodes):
        facts = source
    else:
        events = sorted(source, key=lambda event: event.sequence)
        run_id = events[0].run_id if events else ""
        facts = RunNodes(events)
    root, uncomposed = _build(facts)
    if root is None:
        return ReplayedRun(run_id, None, facts, unplaced=tuple(facts.nodes))
    known: dict[str, Prior] = {}
    for path, node in facts.nodes.items():
        prior = recorded_prior(node)
        if prior is not None:
            known[path] = prior
    take_over(root, known)
    placed = {path for path, _ in root.walk()}
    unplaced = tuple(path for path in facts.nodes if path not in placed)
    return ReplayedRun(run_id, root, facts, tuple(uncomposed), unplaced)


def recorded_prior(node: RunNode) -> Prior | None:
    """Return the facts that the record tells of a node, in the form that a run takes over.

    Args:
        node: The node's facts.

    Returns:
        Its end, if it has ended; for a leaf in flight its status, progress, outside id
        (empty when none is known) and when its attempt began; for a composite in flight when
        it began; None when nothing of it was heard.
    """
    result = None if node.result_code is None else (node.result_code, node.message)
    if node.is_final:
        assert node.status is not None
        refused = node.finished is not None and node.finished.rule == REFUSED_RULE
        fields = _fields_of(node)
        return PriorEnd(node.status, result, fields=fields, recorded=True, by_verdict=refused)
    heard = (node.status, node.outside_id, node.started_ns)
    if not node.is_leaf:
        return None if node.started_ns is None else PriorStart(node.started_ns)
    if heard == (None, None, None):
        return None
    return PriorWork(
        node.outside_id or "",
        node.outside_kind or "",
        node.attempt,
        status=node.status,
        progress=node.progress,
        began_ns=node.attempt_started_ns,
    )


def _fields_of(node: RunNode) -> dict[str, Any]:
    fields: dict[str, Any] = {"health_state": node.health_state}
    if not node.skipped:  # a step that was skipped never reached its device
        fields["devices"] = node.devices or None
        fields["failed_devices"] = node.failed_devices or None
    if node.finished is not None:
        fields["severe"] = node.finished.severe
        fields["skipped"] = node.finished.skipped
        fields["begun"] = node.finished.begun
        fields["cause"] = node.finished.cause
        fields["accepted"] = node.finished.accepted
        fields["accepted_by"] = node.finished.accepted_by
        fields["request"] = node.finished.request
        # What else was left out of a node is known of its tree.
        own = (item for item in node.finished.left_out if item.is_by_operator)
        fields["left_out"] = tuple(item for item in own if node.skipped and item.name == node.name)
    if node.attempt > 1:
        fields["attempt"] = node.attempt
    return {name: value for name, value in fields.items() if value}


# -- building -----------------------------------------------------------------------------


def _build(facts: RunNodes) -> tuple[Task | None, list[str]]:
    """Return the tree that the composed events tell of, and the paths that they only name."""
    top = next((node for node in facts.nodes.values() if _is_root(node)), None)
    if top is None:
        return None, []
    assert top.composed is not None
    root = _composite(top.name, top.composed)
    root.is_root = True
    uncomposed: list[str] = []
    still_open = [(root, top.path, top.composed)]
    while still_open:
        task, path, detail = still_open.pop()
        children: list[BaseTask] = []
        for name in detail.children:
            child_path = f"{path}/{name}"
            node = facts.nodes.get(child_path)
            composed = None if node is None else node.composed
            if composed is None:
                uncomposed.append(child_path)
                children.append(LeafTask(name, "", "", task_type=TaskExecutionType.INTERNAL))
            elif composed.execution in ("SEQUENTIAL", "PARALLEL"):
                child = _composite(name, composed)
                children.append(child)
                still_open.append((child, child_path, composed))
            else:
                children.append(_leaf(name, composed))
        task.add(*children)
    return root, uncomposed


def _is_root(node: RunNode) -> bool:
    return node.composed is not None and not node.is_leaf and "/" not in node.path


def _composite(name: str, detail: ComposedDetail) -> Task:
    task = Task(
        name,
        TaskExecutionType[detail.execution],
        detail.skip_subtasks,
        rule=_rule(detail.rule),
        timeout=detail.timeout_s,
        operation=detail.operation,
        obs_mode=detail.obs_mode,
        pst_group=detail.pst_group,
        description=detail.description,
    )
    task.call, task.is_finally = detail.call, detail.is_finally
    task.composition_notes.extend(detail.notes)
    task.left_out = detail.left_out
    return task


def _leaf(name: str, detail: ComposedDetail) -> LeafTask:
    return LeafTask(
        name,
        detail.address or detail.target or "",
        detail.command_name or "",
        task_type=TaskExecutionType[detail.execution],
        timeout=detail.timeout_s,
        retries=detail.retries,
        retry_delay=detail.retry_delay_s,
        retry_backoff=detail.retry_backoff,
        description=detail.description,
        hold="on_failure" if detail.hold else None,
        hold_timeout=detail.hold_timeout_s,
        step=detail.step,
    )


def _rule(label: str | None) -> AggregationRule | None:
    try:
        return parse_rule(label)
    except UsageError:
        return RecordedRule(label or "")
