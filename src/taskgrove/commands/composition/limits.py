"""Notes on the limits and rules of a tree that cannot be kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from taskgrove.commands.aggregation import SubtaskResult, TaskAggregationPolicy
from taskgrove.commands.execution.internal_runner import InternalRunner
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import TaskStatus

_OK: Final = TaskStatus.COMPLETED


def limit_notes(root: Task) -> Iterator[str]:
    """Yield a line for each limit that can only be reported and each quorum out of reach."""
    runner = InternalRunner()
    for path, node in root.walk():
        if isinstance(node, Task):
            objection = _objection_of(node)
            if objection:
                yield f"{path}: {objection}"
        elif isinstance(node, LeafTask) and node.task_type is TaskExecutionType.INTERNAL:
            limit = _tightest_limit(node)
            if limit is not None and runner.limits(node).timeout == "reported":
                yield (
                    f"{path}: limit {limit} can only be reported, not enforced:"
                    f" {node.command_name} takes no task_abort_event"
                )


def _objection_of(node: Task) -> str | None:
    """Return why the rule of a composite cannot be met, or None."""
    if node.rule is None:
        return None
    faults = [item for item in node.left_out if item.counts]
    objection = node.rule.check(len(node.steps) + len(faults))
    if objection is not None or not faults:
        return objection
    policy = TaskAggregationPolicy(node.name, rule=node.rule, left_out=faults)
    best = policy.aggregate([SubtaskResult(child.name, _OK) for child in node.steps])
    if best.status is _OK or best.decision is None:
        return None
    return f"{best.decision.line}, though all that is left succeeds"


def _tightest_limit(leaf: LeafTask) -> str | None:
    """Return the shortest limit that holds for a leaf, with the node that sets it, or None."""
    limits = [] if leaf.timeout is None else [(leaf.timeout, "")]
    node = leaf.parent
    while isinstance(node, Task):
        if node.timeout is not None:
            limits.append((node.timeout, f" (set on {node.path})"))
        node = None if node.is_finally else node.parent  # limits from above do not reach it
    if not limits:
        return None
    seconds, setter = min(limits, key=lambda item: item[0])
    return f"{seconds:g} s{setter}"
