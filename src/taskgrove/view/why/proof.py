"""The shortest tree that proves an explanation: from the root to each cause, the rest folded.

Pure. Names and words in it are harmless on a terminal already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.story.node_state import NodeState, state_of
from taskgrove.story.run_node import RunNode
from taskgrove.view.phrases import counted, plain, seconds_between
from taskgrove.view.terminal_text import safe_text
from taskgrove.view.tree_lines import TreeLine, fold_line, fold_text, untold_target, walk
from taskgrove.view.why.findings import Findings
from taskgrove.view.why.living_run import Wait
from taskgrove.view.why.naming import device_of

#: How many causes the tree shows, and how many skipped steps and waits.
_CAUSES_SHOWN: Final = 5
_OTHERS_SHOWN: Final = 3

#: The parts of the state of a plain node: its status, code and health.
_Told: TypeAlias = tuple[TaskStatus | None, ResultCode | None, str | None]
_UNKNOWN: Final[_Told] = (None, None, None)


def proof_of(found: Findings, waits: Sequence[Wait]) -> tuple[TreeLine, ...]:
    """Return the lines of the tree."""
    story, root = found.story, found.story.root
    if root is None:
        return ()
    words = _words(found, waits)
    # Below a run that ended well there is nothing to prove.
    proves = bool(words) or root.status is None or not root.is_final
    nodes = {node.path: node for node in story.nodes}
    needed = set(words)
    for path in words:
        above = path.rpartition("/")[0]
        while above and above not in needed:
            needed.add(above)
            above = above.rpartition("/")[0]
    now_ns = story.now_ns if story.state == "running" else None

    def below(node: RunNode) -> list[RunNode | str]:
        return _below(node, nodes, needed) if proves else []

    return tuple(
        fold_line(ancestors, last, item)
        if isinstance(item, str)
        else TreeLine(
            ancestors,
            last,
            item is root,
            item.path,
            safe_text(item.name),
            item.state,
            seconds_between(item.started_ns, item.ended_ns or now_ns),
            words.get(item.path) or safe_text(item.decision or ""),
            item.is_leaf,
            target=untold_target(item, words.get(item.path, "")),
        )
        for ancestors, last, item in walk(root, below)
    )


def _words(found: Findings, waits: Sequence[Wait]) -> dict[str, str]:
    """Return the nodes that must be shown, each with its words."""
    told: dict[str, str] = {}
    for number, group in enumerate(found.groups[:_CAUSES_SHOWN]):
        first = group[0]
        alike = f"({len(group) - 1:,} more alike) " if len(group) > 1 else ""
        mark = ""
        if number == 0 and len(found.failed) > 1:
            mark = "DECIDED " if found.before else "FIRST "
        told[first.node.path] = f"{mark}{alike}{plain(first.told)}{_where(first.node)}"
    for node in found.blocked[:_OTHERS_SHOWN]:
        told[node.path] = plain(node.message) or "skipped"
    for node, note in found.accepted[:_OTHERS_SHOWN]:
        told[node.path] = plain(note.text)
    for node in [*found.signed[:_OTHERS_SHOWN], *found.dropped[:_OTHERS_SHOWN]]:
        told[node.path] = plain(node.message)
    for held in found.waiting[:_CAUSES_SHOWN]:
        leaf = held[0].failed
        alike = f"({len(held) - 1:,} more alike) " if len(held) > 1 else ""
        told[leaf.node.path] = f"{alike}{plain(leaf.told)}{_where(leaf.node)}"
    for node in found.parked[:_OTHERS_SHOWN]:
        told[node.path] = "its start waits for the end of the pause"
    if found.abort is not None:
        for node in [*found.abort.abandoned, *found.abort.running][:_OTHERS_SHOWN]:
            told.setdefault(node.path, plain(node.message))
    for wait in waits[:_OTHERS_SHOWN]:
        told.setdefault(wait.path, safe_text(wait.device or ""))
    if found.story.state in ("lost", "unknown"):
        for node in found.running[:_OTHERS_SHOWN]:
            told.setdefault(node.path, f"its end is not known{_where(node)}")
    return told


def _where(node: RunNode) -> str:
    device = device_of(node)
    return f" ({safe_text(device)})" if device else ""


def _below(node: RunNode, nodes: Mapping[str, RunNode], needed: set[str]) -> list[RunNode | str]:
    """Return the lines below a node: the nodes that are needed, the others as one text."""
    if node.composed is None or not node.composed.children:
        return []
    if node.skipped:
        return [counted(len(node.composed.children), "step") + " below it"]
    shown: list[RunNode | str] = []
    folded: dict[_Told, int] = {}
    states: dict[NodeState, int] = {}
    prefix = f"{node.path}/"
    for name in node.composed.children:
        path = prefix + name
        child = nodes.get(path)
        if child is None:
            folded[_UNKNOWN] = folded.get(_UNKNOWN, 0) + 1
        elif path in needed:
            shown.append(child)
        elif child.notes or child.skipped or child.is_accepted:
            states[child.state] = states.get(child.state, 0) + 1
        else:
            told = (child.status, child.result_code, child.health_state)
            folded[told] = folded.get(told, 0) + 1
    for (status, code, health), count in folded.items():
        state = state_of(status, code, health)
        states[state] = states.get(state, 0) + count
    if states:
        shown.append(fold_text("others" if shown else "all", states))
    return shown
