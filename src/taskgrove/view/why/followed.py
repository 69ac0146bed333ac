"""What belongs to a failure in a sentence: what it blocked, what came before it, what stopped.

Pure.
"""

from __future__ import annotations

from taskgrove.view.why.findings import Findings, Stop, order_of
from taskgrove.view.why.phrases import counted, listed, name_of


def blocked_clauses(findings: Findings) -> list[str]:
    """Return what was not run because of the first failure."""
    first = findings.failed[0].node.path
    followed = [item for item in findings.casualties if item.of == first]
    told = []
    blocked = []
    for node in findings.blocked:
        below = sum(1 for item in followed if item.path.startswith(f"{node.path}/"))
        size = f" ({counted(below, 'leaf', 'leaves')})" if below else ""
        blocked.append(f"{name_of(node)}{size}")
    if blocked:
        told.append(f"it blocked {listed(blocked)}")
    kinds = [item.kind for item in followed]
    if "not started" in kinds:
        word = counted(kinds.count("not started"), "leaf was", "leaves were")
        told.append(f"{word} not started any more")
    if "same device" in kinds:
        word = counted(kinds.count("same device"), "more command")
        told.append(f"{word} of that device could not run either")
    return told


def before_clauses(findings: Findings) -> list[str]:
    """Return what had failed before, and did not decide the outcome."""
    if not findings.before:
        return []
    others = findings.failed[findings.deciding :]
    earlier = sorted(others, key=lambda item: order_of(item.node))[: findings.before]
    names = listed([name_of(item.node) for item in earlier])
    return [f"before it {names} failed, but did not decide"]


def stopped_clauses(stop: Stop) -> list[str]:
    """Return what became of the leaves when the run was aborted."""
    told = []
    running = [node for node in stop.running if node not in stop.abandoned]
    if running:
        told.append(f"{listed([name_of(node) for node in running])} then stopped when asked")
    if stop.abandoned:
        names = listed([name_of(node) for node in stop.abandoned])
        told.append(f"{names} did not stop when asked and may still be running")
    if stop.not_started:
        told.append(f"{counted(stop.not_started, 'leaf', 'leaves')} had not begun")
    return told
