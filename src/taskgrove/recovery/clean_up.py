"""The clean-up of a lost run: which sequences still need it, and how a recovery can run it.

The record holds what was run, and not the arguments of its steps: they come from a tree that is
composed again. Pure.
"""

from __future__ import annotations

from typing import Final

from taskgrove.commands.task import LeafTask, Task
from taskgrove.errors import UsageError
from taskgrove.recovery.earlier_runs import has_begun
from taskgrove.recovery.recovery_plan import RecoveryPlan
from taskgrove.recovery.resume_plan import change_of

#: What a step of the record lacks.
_LACKING: Final = ("argin", "abort_on_timeout", "function", "retries", "settings", "target")


def pending_clean_up(plan: RecoveryPlan) -> tuple[str, ...]:
    """Return the steps of clean-ups that have not begun although a step before them has.

    Args:
        plan: The plan of a recovery.
    """
    return tuple(
        path for sequence in _begun_sequences(plan) for path in _pending_below(plan, sequence)
    )


def run_clean_up(plan: RecoveryPlan, tree: Task) -> None:
    """Have a recovery run the pending steps of clean-ups.

    Args:
        plan: The plan; it is changed.
        tree: The same command, composed again; it gives the arguments of the steps.

    Raises:
        UsageError: The tree does not have a step, or has another one in its place.
    """
    for path in pending_clean_up(plan):
        step, own = plan.root.find(path), tree.find(path)
        assert isinstance(step, LeafTask)
        changed = "it is no leaf now"
        if isinstance(own, LeafTask):
            changed = change_of(own, plan.nodes[path])
        if changed or not isinstance(own, LeafTask):
            raise UsageError(
                f"the clean-up cannot be run: {path} has changed: {changed}",
                path=path,
                hint="recover the run without its clean-up, and run what is needed by hand",
            )
        for name in _LACKING:
            setattr(step, name, getattr(own, name))
        plan.prior.pop(path, None)
        plan.fates[path] = "clean_up"


def _begun_sequences(plan: RecoveryPlan) -> list[str]:
    found = []
    for path, node in plan.root.walk():
        if not isinstance(node, Task) or node.finally_task is None:
            continue
        last = node.finally_task
        steps = [f"{path}/{child.name}/" for child in node.subtasks if child is not last]
        begun = any(
            has_begun(facts) and any(f"{facts.path}/".startswith(step) for step in steps)
            for facts in plan.nodes.values()
            if facts.is_leaf
        )
        if begun:
            found.append(f"{path}/{last.name}")
    return found


def _pending_below(plan: RecoveryPlan, clean_up: str) -> list[str]:
    whole = plan.nodes.get(clean_up)
    if whole is not None and whole.is_final:
        return []
    return [
        path
        for path, fate in plan.fates.items()
        if fate == "not_started" and path.startswith(f"{clean_up}/")
    ]
