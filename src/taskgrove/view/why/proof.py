"""The shortest tree that proves an explanation: from the root to each cause, the rest folded.

Pure. Names and words in it are harmless on a terminal already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.story.node_state import NodeState, state_of
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import RunStory
from taskgrove.view.terminal_text import safe_text
from taskgrove.view.tree_text import fold_text
from taskgrove.view.why.failed_leaf import Failed, device_of
from taskgrove.view.why.findings import Findings
from taskgrove.view.why.living_run import Wait
from taskgrove.view.why.lost_run import still_open
from taskgrove.view.why.phrases import counted, plain, seconds_between

#: How many causes the tree shows, and how many skipped steps and waits.
_CAUSES_SHOWN: Final = 5
_OTHERS_SHOWN: Final = 3

#: What a node's state is made of: its status, code and health, and whether it was skipped.
_Told: TypeAlias = tuple[TaskStatus | None, ResultCode | None, str | None, bool]
_UNKNOWN: Final[_Told] = (None, None, None, False)


@dataclass(frozen=True, slots=True)
class ProofLine:
    """One line of the tree.

    Attributes:
        ancestors: For each level above, whether a later line follows there.
        last: Whether it is the last line of its parent.
        is_root: Whether it is the root.
        path: The node's path; empty for a line that stands for several.
        name: The node's name; or the text of a line that stands for several.
        state: The node's state, or None for such a line.
        elapsed_s: How long the node ran, in seconds, or None.
        words: What is worth telling of it.
    """

    ancestors: tuple[bool, ...]
    last: bool
    is_root: bool
    path: str
    name: str
    state: NodeState | None
    elapsed_s: float | None = None
    words: str = ""


def proof_of(
    story: RunStory, findings: Findings, groups: Sequence[Sequence[Failed]], waits: Sequence[Wait]
) -> tuple[ProofLine, ...]:
    """Return the lines of the tree.

    Args:
        story: The run.
        findings: What became of its leaves.
        groups: The failed leaves by their cause.
        waits: What a living run waits for.
    """
    root = story.root
    if root is None:
        return ()
    told = _told(groups, findings, waits)
    if story.state in ("lost", "unknown"):
        for node in still_open(findings)[:_OTHERS_SHOWN]:
            where = f" ({safe_text(device)})" if (device := device_of(node)) else ""
            told.setdefault(node.path, f"its end was never heard of{where}")
    if not told:
        told = {root.path: ""}
        if root.status is not None and root.is_final:
            root = replace(root, composed=None)  # there is nothing below it to prove
    return tuple(_Proof(story, told).lines(root))


def _told(
    groups: Sequence[Sequence[Failed]], findings: Findings, waits: Sequence[Wait]
) -> dict[str, str]:
    """Return the nodes that must be shown, each with its words."""
    told: dict[str, str] = {}
    for number, group in enumerate(groups[:_CAUSES_SHOWN]):
        first = group[0]
        alike = f"({len(group) - 1:,} more alike) " if len(group) > 1 else ""
        mark = ""
        if number == 0 and len(findings.failed) > 1:
            mark = "DECIDED " if findings.before else "FIRST "
        device = device_of(first.node)
        where = f" ({safe_text(device)})" if device else ""
        told[first.node.path] = f"{mark}{alike}{plain(first.told)}{where}"
    for node in findings.blocked[:_OTHERS_SHOWN]:
        told[node.path] = plain(node.message) or "skipped"
    for node, note in findings.accepted[:_OTHERS_SHOWN]:
        told[node.path] = plain(note.text)
    if findings.stop is not None:
        stopped = [*findings.stop.abandoned, *findings.stop.running]
        for node in stopped[:_OTHERS_SHOWN]:
            told.setdefault(node.path, plain(node.message))
    for wait in waits[:_OTHERS_SHOWN]:
        told.setdefault(wait.path, safe_text(wait.device or ""))
    return told


class _Proof:
    def __init__(self, story: RunStory, told: Mapping[str, str]) -> None:
        self._told = told
        self._now_ns = story.now_ns if story.state == "running" else None
        self._nodes = {node.path: node for node in story.nodes}
        self._needed = set(told)
        for path in told:
            above = path.rpartition("/")[0]
            while above and above not in self._needed:
                self._needed.add(above)
                above = above.rpartition("/")[0]

    def lines(self, root: RunNode) -> Iterable[ProofLine]:
        """Yield the lines, parents before children, without recursion: trees may be deep."""
        stack: list[tuple[tuple[bool, ...], bool, RunNode | str]] = [((), True, root)]
        while stack:
            ancestors, last, item = stack.pop()
            if isinstance(item, str):
                yield ProofLine(ancestors, last, False, "", item, None)
                continue
            yield self._line(ancestors, last, item, is_root=item is root)
            below = self._below(item)
            levels = ancestors if item is root else (*ancestors, not last)
            for index in range(len(below) - 1, -1, -1):
                stack.append((levels, index == len(below) - 1, below[index]))

    def _line(
        self, ancestors: tuple[bool, ...], last: bool, node: RunNode, *, is_root: bool
    ) -> ProofLine:
        words = self._told.get(node.path, "")
        if not words and node.finished is not None and node.finished.line:
            words = safe_text(node.finished.line)
        return ProofLine(
            ancestors,
            last,
            is_root,
            node.path,
            safe_text(node.name),
            node.state,
            seconds_between(node.started_ns, node.ended_ns or self._now_ns),
            words,
        )

    def _below(self, node: RunNode) -> list[RunNode | str]:
        if node.composed is None or not node.composed.children:
            return []
        if node.skipped:
            return [counted(len(node.composed.children), "step") + " below it"]
        shown: list[RunNode | str] = []
        folded: Counter[_Told] = Counter()
        nodes, needed, prefix = self._nodes, self._needed, f"{node.path}/"
        for name in node.composed.children:
            path = prefix + name
            child = nodes.get(path)
            if child is None:
                folded[_UNKNOWN] += 1
            elif path in needed:
                shown.append(child)
            else:
                finished = child.finished
                skipped = finished is not None and finished.skipped
                folded[child.status, child.result_code, child.health_state, skipped] += 1
        if folded:
            states: Counter[NodeState] = Counter()
            for (status, code, health, skipped), count in folded.items():
                states[state_of(status, code, health, skipped=skipped)] += count
            shown.append(fold_text("others" if shown else "all", states))
        return shown
