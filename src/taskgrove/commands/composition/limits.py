"""Limits and rules of a tree that cannot do what they promise, said aloud (SPEC S6, S7.7)."""

from __future__ import annotations

from collections.abc import Iterator

from taskgrove.commands.execution.internal_runner import InternalRunner
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType


def limit_notes(root: Task) -> Iterator[str]:
    """Yield a line for each limit that can only be reported and each quorum out of reach."""
    runner = InternalRunner()
    for path, node in root.walk():
        if isinstance(node, Task):
            total = len(node.subtasks) + sum(item.counts for item in node.left_out)
            objection = node.rule.check(total) if node.rule is not None else None
            if objection:
                yield f"{path}: {objection}"
        elif isinstance(node, LeafTask) and node.task_type is TaskExecutionType.INTERNAL:
            limit = _tightest_limit(node)
            if limit is not None and runner.limits(node).timeout == "reported":
                yield (
                    f"{path}: limit {limit} can only be reported, not enforced:"
                    f" {node.command_name} takes no task_abort_event"
                )


def _tightest_limit(leaf: LeafTask) -> str | None:
    """Return the shortest limit that holds for a leaf, with who set it; None when none does."""
    limits = [] if leaf.timeout is None else [(leaf.timeout, "")]
    node = leaf.parent
    while isinstance(node, Task):
        if node.timeout is not None:
            limits.append((node.timeout, f" (set on {node.path})"))
        node = node.parent
    if not limits:
        return None
    seconds, setter = min(limits, key=lambda item: item[0])
    return f"{seconds:g} s{setter}"
