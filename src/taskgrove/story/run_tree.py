"""The nodes of a run as a tree, and how many of them are in which state.

Pure; no recursion: trees may be thousands of nodes deep.

Threads: a :class:`RunTree` belongs to one thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from taskgrove.events import NoteDetail, TaskEvent
from taskgrove.story.node_state import OPEN_STATES, NodeState
from taskgrove.story.node_wait import TURNING_TOPICS
from taskgrove.story.run_node import RunNode, RunNodes


class Branch:
    """The nodes below one node.

    Attributes:
        tally: How many children are in each state.
        troubled: Children that a person must see, or with such a node below them, by name.
    """

    __slots__ = ("_children", "_common", "_node", "_ordered", "tally", "troubled")

    def __init__(self, node: RunNode) -> None:
        self._node = node
        self._children: dict[str, RunNode] = {}
        self._ordered: tuple[RunNode, ...] | None = None
        self._common: str | None = None
        self.tally: Counter[NodeState] = Counter()
        self.troubled: dict[str, RunNode] = {}

    @property
    def children(self) -> tuple[RunNode, ...]:
        """The children in their composed order; those that were not composed come last."""
        if self._ordered is None:
            names = () if self._node.composed is None else self._node.composed.children
            rank = {name: index for index, name in enumerate(names)}
            last = len(rank)
            named = sorted(
                self._children.items(), key=lambda item: (rank.get(item[0], last), item[0])
            )
            self._ordered = tuple(node for _, node in named)
        return self._ordered

    @property
    def common_name(self) -> str:
        """The common beginning of the names of all children; may be empty."""
        if self._common is None:
            first, last = min(self._children, default=""), max(self._children, default="")
            end = 0
            while end < min(len(first), len(last)) and first[end] == last[end]:
                end += 1
            self._common = first[:end]
        return self._common

    @property
    def done_count(self) -> int:
        """How many children have ended."""
        return len(self._children) - sum(self.tally[state] for state in OPEN_STATES)

    def adopt(self, child: RunNode) -> None:
        """Take a child that was not known before."""
        self._children[child.name] = child
        self._ordered = self._common = None
        self.tally[child.state] += 1

    def reorder(self) -> None:
        """Take note that the composed order is known now."""
        self._ordered = None


#: The branch of a leaf.
_NOTHING: Final = Branch(RunNode(""))


class RunTree(RunNodes):
    """The nodes of one run, as a tree; the nodes above one that is known are known too.

    Attributes:
        leaf_tally: How many leaves are in each state.
    """

    def __init__(self) -> None:
        super().__init__()
        self.leaf_tally: Counter[NodeState] = Counter()
        self._branches: dict[str, Branch] = {}

    def branch(self, node: RunNode) -> Branch:
        """Return the nodes below a node."""
        return self._branches.get(node.path, _NOTHING)

    def is_leaf(self, node: RunNode) -> bool:
        """Return True while nothing is known below a node, and it was not composed otherwise."""
        return node.is_leaf and node.path not in self._branches

    def walk(self) -> Iterator[RunNode]:
        """Yield every node, parents before their children, children in composed order."""
        stack = [] if self.root is None else [self.root]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(self.branch(node).children))

    def fold(self, event: TaskEvent) -> RunNode:
        """Take in one event and return the node that it changed; see :class:`RunNodes`."""
        node = self.nodes.get(event.path) or self.put(RunNode(event.path))
        kind = event.kind
        if (
            _turns_nothing(event)
            if kind == "note"
            else kind == "progress"
            and event.status is node.status
            and event.attempt == node.attempt
        ):
            return super().fold(event)  # by far the most; the state stays
        leaf, state = self.is_leaf(node), node.state
        super().fold(event)
        if kind == "composed":
            self.branch(node).reorder()
        self._restate(node, leaf, state)
        return node

    def put(self, node: RunNode) -> RunNode:
        """Add a node as it is, and those above it that are not known; return it."""
        missing = [node]
        while (above := missing[-1].parent_path) and above not in self.nodes:
            missing.append(RunNode(above))
        for item in reversed(missing):
            self.nodes[item.path] = item
            parent = self.nodes.get(item.parent_path)
            if parent is not None:
                if self.is_leaf(parent):
                    self.leaf_tally[parent.state] -= 1
                self._branches.setdefault(parent.path, Branch(parent)).adopt(item)
            if item.is_leaf:
                self.leaf_tally[item.state] += 1
        self._mark_trouble(node)
        return node

    def _restate(self, node: RunNode, was_leaf: bool, before: NodeState) -> None:
        leaf, state = self.is_leaf(node), node.state
        if state == before and leaf == was_leaf:
            return
        self.leaf_tally[before] -= was_leaf
        self.leaf_tally[state] += leaf
        branch = self._branches.get(node.parent_path)
        if branch is not None:
            branch.tally[before] -= 1
            branch.tally[state] += 1
        self._mark_trouble(node)

    def _mark_trouble(self, node: RunNode) -> None:
        """Tell the nodes above whether something below them must be seen."""
        while (branch := self._branches.get(node.parent_path)) is not None:
            troubled = node.is_problem or bool(self.branch(node).troubled)
            if troubled == (node.name in branch.troubled):
                return
            if troubled:
                branch.troubled[node.name] = node
            else:
                del branch.troubled[node.name]
            node = self.nodes[node.parent_path]


def _turns_nothing(note: TaskEvent) -> bool:
    """Return whether a note leaves the state of its node as it is."""
    return not (isinstance(note.detail, NoteDetail) and note.detail.topic in TURNING_TOPICS)
