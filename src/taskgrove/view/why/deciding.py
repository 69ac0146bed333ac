"""Which failures decided that a command failed, and which it would have got over.

A leaf that failed below a composite which ended well or DEGRADED all the same (a quorum that was
reached, a group of beams) did not fail the command, even when it failed before the one that did;
unless the composite above it counts successes, of which a DEGRADED one is none.
Where the correlator dominates, beams and searches beside it do not decide. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from taskgrove.commands.aggregation.tally import DeviceKind, device_kind
from taskgrove.events import RuleKind
from taskgrove.story.legacy import rule_of
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import RunStory
from taskgrove.view.why.failed_leaf import Failed, device_of, is_below

_BAD: Final = ("failed", "rejected")
#: Rules that count successes, of which a DEGRADED child is none.
_COUNTING: Final[tuple[RuleKind, ...]] = ("all", "any", "quorum")
#: Devices whose failure alone does not fail a command.
_SOFT: Final[tuple[DeviceKind, ...]] = ("PST", "PSS")


class Deciding(NamedTuple):
    """Failed leaves, those that decided the outcome before the others.

    Attributes:
        failed: The leaves, each part in the order in which they ended.
        decided_count: How many of them decided; all, where nothing tells which did.
        before_count: How many of the others ended before the first that decided.
    """

    failed: list[Failed]
    decided_count: int
    before_count: int


def deciding_first(story: RunStory, failed: list[Failed]) -> Deciding:
    """Return the failed leaves with those that decided the outcome before the others.

    Args:
        story: The run.
        failed: The leaves that failed by themselves, in the order in which they ended.
    """
    root = story.root
    if story.state != "final" or root is None or root.state not in _BAD:
        return Deciding(failed, len(failed), 0)
    above = {node.path: node for node in story.nodes if not node.is_leaf}
    dominated = _dominated(above, failed)
    decided = [item for item in failed if _decided(item, above, dominated)]
    if not decided:
        return Deciding(failed, len(failed), 0)
    paths = {item.node.path for item in decided}
    others = [item for item in failed if item.node.path not in paths]
    before = next(n for n, item in enumerate(failed) if item is decided[0])
    return Deciding([*decided, *others], len(decided), before)


def _decided(item: Failed, above: Mapping[str, RunNode], dominated: Collection[str]) -> bool:
    if item.node.state == "degraded":
        return False
    path = item.node.path.rpartition("/")[0]
    if path in dominated and _kind_of(item) in _SOFT:
        return False
    while path:
        parent = path.rpartition("/")[0]
        if path in above and _got_over(above[path], above.get(parent)):
            return False
        path = parent
    return True


def _got_over(node: RunNode, parent: RunNode | None) -> bool:
    state = node.state
    if state != "degraded":
        return state == "completed"
    return parent is None or rule_of(parent.finished) not in _COUNTING


def _dominated(above: Mapping[str, RunNode], failed: Sequence[Failed]) -> set[str]:
    """Return the composites in which a correlator that is named among the leaves dominates."""
    return {
        path
        for path, node in above.items()
        if rule_of(node.finished) == "cbf"
        and any(_kind_of(item) == "CBF" and is_below(item.node.path, path) for item in failed)
    }


def _kind_of(item: Failed) -> DeviceKind:
    return device_kind(device_of(item.node) or "")
