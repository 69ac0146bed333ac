"""The steps that a composition leaves out: as data, as notes, as reasons to refuse.

Threads: an :class:`Omissions` belongs to the thread that composes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from taskgrove.commands.aggregation.tally import device_kind
from taskgrove.commands.command_map.map_base import StepEntry
from taskgrove.commands.composition.branches import tasks_with_leaves
from taskgrove.commands.composition.context import Component
from taskgrove.commands.composition.guards import Objection
from taskgrove.commands.leaf_runner import Refusal
from taskgrove.commands.task import Task
from taskgrove.events import LeftOut

_CORRELATOR = "a correlator is left out only where its entry says 'reject_missing: false'"


class Omissions:
    """The steps that one composition leaves out.

    Attributes:
        notes: The notes of the tree, for people.
        refusals: Why the command is rejected; empty: it is not.
        refused: The same of the leaves on devices that stand in the way.
        by_faults: Whether a fault left out a step, or rejects the command.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.refusals: list[str] = []
        self.refused: list[Refusal] = []
        self.by_faults = False
        #: The steps that are left out, by the path of the task that would hold them.
        self._items: defaultdict[str, list[LeftOut]] = defaultdict(list)
        #: Paths of the steps that were left out for a reason of their own.
        self._explained: set[str] = set()

    def note(self, path: str, note: str) -> None:
        """Add a note about a node, unless it is empty."""
        if note:
            self.notes.append(f"{path}: {note}")

    def add(
        self,
        entry: StepEntry,
        path: str,
        objection: Objection,
        component: Component | None = None,
    ) -> None:
        """Leave out a step, or take note that the command is rejected because of it.

        Args:
            entry: The entry of the step in the map.
            path: The path that the step would have.
            objection: The reason; a ``selection`` never rejects.
            component: The component of the step, or None.
        """
        device = None if component is None else component.name
        self.by_faults = self.by_faults or objection.kind == "fault"
        if self.rejects(entry, objection, component):
            because = "" if entry.reject_missing else f"; {_CORRELATOR}"
            self.refusals.append(f"{device or entry.subject}: {objection}{because}")
            if component is not None:
                self.refused.append(Refusal(str(objection), objection.cause(device), path))
            return
        if objection.kind != "selection":
            self._explained.add(path)
        self._leave_out(path, objection, device)

    @staticmethod
    def rejects(entry: StepEntry, objection: Objection, component: Component | None = None) -> bool:
        """Return whether an objection rejects the command; the arguments are those of `add`."""
        if objection.kind == "selection":
            return False
        silent = _is_correlator(component) and "reject_missing" not in entry.model_fields_set
        return entry.reject_missing or silent

    def no_component(self, entry: StepEntry, path: str) -> None:
        """Leave out an entry for which the context has nothing."""
        reason = f"the context has no component for {entry.subject}"
        if entry.reject_missing:
            self.refusals.append(f"{entry.subject}: {reason}")
            return
        self._explained.add(path)
        self._leave_out(path, Objection("selection", reason), None)

    def _leave_out(self, path: str, objection: Objection, device: str | None) -> None:
        where = f"{path} ({device})" if device else path
        self.notes.append(f"{where}: left out: {objection}")
        parent, _, name = path.rpartition("/")
        item = LeftOut(name, device, objection.kind, objection.reason, path, objection.said)
        self._items[parent].append(item)

    def hand_over(self, root: Task) -> None:
        """Give each task the steps that are left out of it.

        The steps of a branch without a leaf go to the branch above. A fault that empties a branch
        counts once above it, for the branch.
        """
        filled = tasks_with_leaves(root)
        nodes = [(path, node) for path, node in root.walk() if isinstance(node, Task)]
        for path, node in reversed(nodes):  # children before parents
            items = self._items.pop(path, [])
            if node is root or node in filled:
                node.left_out = tuple(items)
                continue
            if path not in self._explained:
                self.notes.append(f"{path}: left out: nothing in it to run")
            above = self._items[path.rpartition("/")[0]]
            faults = [item for item in items if item.counts]
            if faults:
                above.append(LeftOut(node.name, None, "fault", _reason_of(faults), path))
            for item in items:
                branch = f"{node.name}/{item.branch}" if item.branch else node.name
                above.append(msgspec.structs.replace(item, branch=branch))


def _is_correlator(component: Component | None) -> bool:
    if component is None:
        return False
    return component.keyword == "cbf" or device_kind(component.name) == "CBF"


def _reason_of(faults: Sequence[LeftOut]) -> str:
    """Return the one reason of all, or each with how many have it."""
    counted = Counter(item.reason for item in faults)
    if len(counted) == 1:
        return faults[0].reason
    return ", ".join(f"{count} {reason}" for reason, count in counted.items())
