"""What belongs to a failure in a sentence: what it blocked, what came before it, what stopped.

Pure; each text begins with a semicolon, or is empty.
"""

from __future__ import annotations

from taskgrove.view.reasons.causes import Findings, Stop, order_of
from taskgrove.view.reasons.words import counted, listed, name_of


def blocked_words(findings: Findings) -> str:
    """Return what was not run because of the first failure."""
    first = findings.failed[0].node.path
    leaves = {item.path for item in findings.casualties if item.of == first}
    blocked = []
    for node in findings.blocked:
        below = sum(1 for path in leaves if path.startswith(f"{node.path}/"))
        size = f" ({counted(below, 'leaf', 'leaves')})" if below else ""
        blocked.append(f"{name_of(node)}{size}")
    told = f"; it blocked {listed(blocked)}" if blocked else ""
    kinds = [item.kind for item in findings.casualties if item.of == first]
    if "not started" in kinds:
        word = counted(kinds.count("not started"), "leaf was", "leaves were")
        told += f"; {word} not started any more"
    if "same device" in kinds:
        word = counted(kinds.count("same device"), "more command")
        told += f"; {word} of that device could not run either"
    return told


def before_words(findings: Findings) -> str:
    """Return what had failed before, and did not decide the outcome."""
    if not findings.before:
        return ""
    others = sorted(findings.failed[1:], key=lambda item: order_of(item.node))[: findings.before]
    names = listed([name_of(item.node) for item in others])
    return f"; before it {names} failed, which did not decide the outcome"


def stopped_words(stop: Stop) -> str:
    """Return what became of the leaves when the run was aborted."""
    told = ""
    running = [node for node in stop.running if node not in stop.abandoned]
    if running:
        told += f"; {listed([name_of(node) for node in running])} then stopped when asked"
    if stop.abandoned:
        names = listed([name_of(node) for node in stop.abandoned])
        told += f"; {names} did not stop when asked and may still be running"
    if stop.not_started:
        told += f"; {counted(stop.not_started, 'leaf', 'leaves')} had not begun"
    return told
