"""The one view model that every surface draws.

A :class:`RunView` folds the events of a run into nodes. It is pure: no clock, no
lock, no I/O. Events may come in any order and more than once: each field of a node
keeps the value of the newest event that set it (by ``sequence``), and an end is
never rewritten, so every permutation of a stream gives the same view.

Threads: a RunView belongs to one thread; an observer enqueues, and the thread that
draws applies what it finds in the queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from taskgrove.events import TaskEvent
from taskgrove.story.node_state import NodeState
from taskgrove.view.node_view import NodeView


class RunView:
    """The nodes of one run, folded from its events.

    Args:
        run_id: The run to follow; None takes the run of the first event.

    Attributes:
        run_id: The run followed; events of other runs are ignored.
        nodes: Every node by path.
        leaf_tally: How many leaves are in each state.
        last_sequence: Highest sequence number seen.
        last_monotonic_s: The latest monotonic time seen, in seconds.
    """

    def __init__(self, run_id: str | None = None) -> None:
        self.run_id = run_id
        self.nodes: dict[str, NodeView] = {}
        self.leaf_tally: Counter[NodeState] = Counter()
        self.last_sequence = 0
        self.last_monotonic_s = 0.0

    @property
    def root(self) -> NodeView | None:
        """The root of the tree, or None before the first event."""
        for node in self.nodes.values():
            if node.parent is None:
                return node
        return None

    def node(self, path: str) -> NodeView | None:
        """Return the node at ``path``, or None."""
        return self.nodes.get(path)

    def apply_all(self, events: Iterable[TaskEvent]) -> RunView:
        """Apply every event; return the view itself."""
        for event in events:
            self.apply(event)
        return self

    def apply(self, event: TaskEvent) -> NodeView | None:
        """Fold one event into the view; order and repetition do not matter.

        Returns:
            The node it concerns, or None for an event of another run.
        """
        if self.run_id is None:
            self.run_id = event.run_id
        elif event.run_id != self.run_id:
            return None
        self.last_sequence = max(self.last_sequence, event.sequence)
        self.last_monotonic_s = max(self.last_monotonic_s, event.monotonic_s)
        node = self.nodes.get(event.path) or self._add(event.path)
        was_leaf = node.is_leaf
        node.fold(event)
        if was_leaf and not node.is_leaf:
            self.leaf_tally[node.state] -= 1
        self._restate(node)
        return node

    def _add(self, path: str) -> NodeView:
        # From the known ancestor down, without recursion: trees may be hundreds deep.
        missing = [path]
        while "/" in missing[-1]:
            above = missing[-1].rpartition("/")[0]
            if above in self.nodes:
                break
            missing.append(above)
        for item in reversed(missing):
            parent = self.nodes.get(item.rpartition("/")[0])
            node = self.nodes[item] = NodeView(item, parent)
            self.leaf_tally["waiting"] += 1
            if parent is not None:
                if parent.is_leaf:
                    self.leaf_tally[parent.state] -= 1
                parent.adopt(node)
        return self.nodes[path]

    def _restate(self, node: NodeView) -> None:
        state = node.read_state()
        before = node.state
        if state == before:
            return
        node.state = state
        if node.is_leaf:
            self.leaf_tally[before] -= 1
            self.leaf_tally[state] += 1
        if node.parent is not None:
            node.parent.tally[before] -= 1
            node.parent.tally[state] += 1
        _mark_trouble(node)


def _mark_trouble(node: NodeView) -> None:
    """Tell the nodes above whether something below them must be seen."""
    parent = node.parent
    while parent is not None:
        troubled = node.is_problem or bool(node.troubled)
        if troubled == (node.name in parent.troubled):
            return
        if troubled:
            parent.troubled[node.name] = node
        else:
            del parent.troubled[node.name]
        node, parent = parent, parent.parent
