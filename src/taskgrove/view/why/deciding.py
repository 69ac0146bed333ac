"""Which failures decided that a command failed, and which it would have got over.

A leaf that failed below a composite which ended well or DEGRADED all the same (a quorum that was
reached, a group of beams) did not fail the command, even when it failed before the one that did;
unless the composite above it counts successes, of which a DEGRADED one is none. Where the
correlator dominates, beams and searches beside it do not decide. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from taskgrove.commands.aggregation.tally import DeviceKind, device_kind
from taskgrove.events import RuleKind
from taskgrove.story.legacy import rule_of
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import RunStory
from taskgrove.view.why.failed_leaf import FailedLeaf
from taskgrove.view.why.naming import device_of, is_below

#: Rules that count successes, of which a DEGRADED child is none.
_COUNTING: Final[tuple[RuleKind, ...]] = ("all", "any", "quorum")
#: Devices whose failure alone does not fail a command.
_SOFT: Final[tuple[DeviceKind, ...]] = ("PST", "PSS")


def deciding_first(story: RunStory, failed: list[FailedLeaf]) -> tuple[list[FailedLeaf], int, int]:
    """Return the failed leaves with those that decided the outcome before the others.

    Args:
        story: The run.
        failed: The leaves that failed by themselves, in the order in which they ended.

    Returns:
        The leaves, each part in the order in which they ended; how many of them decided (all,
        where nothing tells which did); how many of the others ended before the first of these.
    """
    root = story.root
    if story.state != "final" or root is None or root.state not in ("failed", "rejected"):
        return failed, len(failed), 0
    above = {node.path: node for node in story.nodes if not node.is_leaf}
    dominated = _dominated(above, failed)
    decided: list[FailedLeaf] = []
    others: list[FailedLeaf] = []
    before = 0
    for item in failed:
        (decided if _has_decided(item, above, dominated) else others).append(item)
        before += not decided
    if not decided:
        return failed, len(failed), 0
    return [*decided, *others], len(decided), before


def _has_decided(
    item: FailedLeaf, above: Mapping[str, RunNode], dominated: Collection[str]
) -> bool:
    if item.node.state == "degraded":
        return False
    path = item.node.parent_path
    if path in dominated and device_kind(device_of(item.node) or "") in _SOFT:
        return False
    while path:
        parent = path.rpartition("/")[0]
        if path in above and _was_got_over(above[path], above.get(parent)):
            return False
        path = parent
    return True


def _was_got_over(node: RunNode, parent: RunNode | None) -> bool:
    """Return whether a composite ended well enough for its parent, although a leaf failed."""
    if node.state != "degraded":
        return node.state == "completed"
    return parent is None or rule_of(parent.finished) not in _COUNTING


def _dominated(above: Mapping[str, RunNode], failed: Sequence[FailedLeaf]) -> set[str]:
    """Return the composites in which a correlator that is named among the leaves dominates."""
    ruled = [path for path, node in above.items() if rule_of(node.finished) == "cbf"]
    cbf = [it.node.path for it in failed if device_kind(device_of(it.node) or "") == "CBF"]
    return {path for path in ruled if any(is_below(leaf, path) for leaf in cbf)}
