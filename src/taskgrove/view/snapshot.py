"""The one view model that every surface draws: the nodes of a run, whatever order events come in.

Pure: no clock, no lock, no I/O. Events may come in any order and more than once; an early one is
held back until those before it have come (:mod:`taskgrove.story.reorder`).

Threads: a RunView belongs to one thread. An observer enqueues events; the thread that draws
applies them.
"""

from __future__ import annotations

from collections.abc import Iterable

from taskgrove.events import TaskEvent
from taskgrove.story.reorder import ReorderBuffer
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_tree import RunTree


class RunView(RunTree):
    """The nodes of one run, folded from its events, or taken as they are.

    Args:
        run_id: The run to follow; None takes the run of the first event.

    Attributes:
        run_id: The run followed; events of other runs are ignored.
        nodes: Every node by path.
        leaf_tally: How many leaves are in each state.
        last_sequence: Highest sequence number seen.
    """

    def __init__(self, run_id: str | None = None) -> None:
        super().__init__()
        self.run_id = run_id
        self._order = ReorderBuffer()
        self._newest: TaskEvent | None = None

    @classmethod
    def of(cls, run_id: str, nodes: Iterable[RunNode]) -> RunView:
        """Return the view of nodes that are known already, such as those of the record.

        Args:
            run_id: The run.
            nodes: Its nodes; they are drawn as they are.
        """
        view = cls(run_id)
        for node in sorted(nodes, key=lambda node: node.path.count("/")):
            view.put(node)
        return view

    @property
    def next_sequence(self) -> int:
        """The lowest number that has neither come nor been waited for long enough."""
        return self._order.expected

    def node(self, path: str) -> RunNode | None:
        """Return the node at ``path``, or None."""
        return self.nodes.get(path)

    def now_ns(self, monotonic_s: float) -> int:
        """Return an instant as the events of the run tell instants.

        Args:
            monotonic_s: The monotonic clock of the process that runs it, in seconds.

        Returns:
            UTC, nanoseconds since the epoch.
        """
        newest = self._newest
        if newest is None:
            return 0
        return newest.wall_ns + int((monotonic_s - newest.monotonic_s) * 1e9)

    def monotonic_s(self, wall_ns: int) -> float:
        """Return the reverse of :meth:`now_ns`: an instant on the clock of the run's process.

        Args:
            wall_ns: UTC, nanoseconds since the epoch.

        Returns:
            The monotonic clock of the process that runs it, in seconds.
        """
        newest = self._newest
        return 0.0 if newest is None else newest.monotonic_s + (wall_ns - newest.wall_ns) / 1e9

    def apply_all(self, events: Iterable[TaskEvent]) -> RunView:
        """Apply every event; return the view itself."""
        for event in events:
            self.apply(event)
        return self

    def apply(self, event: TaskEvent) -> list[TaskEvent]:
        """Take an event; order and repetition do not matter.

        Returns:
            The events that the nodes tell of now, in order; one that came early, or that belongs
            to another run, is not among them.
        """
        if self.run_id is None:
            self.run_id = event.run_id
        elif event.run_id != self.run_id:
            return []
        self._newest = event
        return self._fold_all(self._order.push(event))

    def settle(self, now_s: float | None = None) -> list[TaskEvent]:
        """Take in what came early and has waited long enough for the events before it.

        Args:
            now_s: The monotonic clock of this process; None takes in all there is.

        Returns:
            As :meth:`apply`.
        """
        return self._fold_all(self._order.settle(now_s))

    def _fold_all(self, events: list[TaskEvent]) -> list[TaskEvent]:
        for event in events:
            self.fold(event)
        return events
