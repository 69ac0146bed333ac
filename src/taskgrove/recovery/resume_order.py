"""The order of steps in a resume: which leaves run again because others do.

In a sequence a step that runs again makes every later step run again, because a later step stands
on the results of the earlier one. A step that would be taken over runs again when a later step
has worked on the same device since: its settings there may be gone (Configure after End). A
sequence whose clean-up has begun runs again from its first step. Pure.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from taskgrove.commands.device_names import device_key
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType

#: In no run that is known.
NEVER: Final = -1


@dataclass(frozen=True, slots=True)
class LeafPast:
    """In which of the earlier runs a leaf was at work; they are counted from the oldest, from 0.

    Attributes:
        worked: The run in which it reached the end that would be taken over.
        began: The last run in which it began at all.
    """

    worked: int = NEVER
    began: int = NEVER


class Demand(NamedTuple):
    """Why a leaf runs again, as words, and the path of the leaf that causes it."""

    why: str
    because: str


def demanded_by_order(
    task: Task,
    due: Mapping[str, object],
    pasts: Mapping[str, LeafPast],
    left_out: Container[str] = (),
) -> dict[str, Demand]:
    """Return the leaves that run again because of others, by path.

    Args:
        task: The tree.
        due: The leaves that run again anyway, by path.
        pasts: The past of each leaf, by path.
        left_out: The leaves that stay left out, whatever runs again, by path.
    """
    order = _Order(task, due, pasts, left_out)
    while order.look_again:
        order.look_again = False
        for steps, clean_up in order.sequences:
            order.look_at(steps)
            if clean_up is not None:
                order.look_at_clean_up(steps, clean_up)
    return order.demands


class _Order:
    """The leaves in a row; each composite covers a part of it."""

    def __init__(
        self,
        task: Task,
        due: Mapping[str, object],
        pasts: Mapping[str, LeafPast],
        left_out: Container[str],
    ) -> None:
        self.demands: dict[str, Demand] = {}
        self.look_again = True
        self._left_out = left_out
        self._paths: list[str] = []
        self._pasts: list[LeafPast] = []
        self._devices: list[tuple[str, str] | None] = []
        self._due: list[bool] = []
        #: The steps of each sequence, and that which is its clean-up, or None.
        self.sequences: list[tuple[list[range], range | None]] = []
        self._add(task, task.path, due, pasts)

    def _add(
        self,
        node: BaseTask,
        path: str,
        due: Mapping[str, object],
        pasts: Mapping[str, LeafPast],
    ) -> range:
        begin = len(self._paths)
        if isinstance(node, LeafTask):
            name = node.device_name
            self._paths.append(path)
            self._pasts.append(pasts.get(path, LeafPast()))
            where = node.target if isinstance(node.target, str) else name
            self._devices.append(None if name is None else (device_key(where or name), name))
            self._due.append(path in due)
        elif isinstance(node, Task):
            steps = [self._add(child, f"{path}/{child.name}", due, pasts)
                     for child in node.subtasks]  # fmt: skip
            if node.task_type is TaskExecutionType.SEQUENTIAL and len(steps) > 1:
                last = node.subtasks[-1]
                has_clean_up = isinstance(last, Task) and last.is_finally
                # Inner ones come first.
                self.sequences.append((steps, steps[-1] if has_clean_up else None))
        return range(begin, len(self._paths))

    def look_at_clean_up(self, steps: Sequence[range], clean_up: range) -> None:
        """Have the steps run again whose clean-up has begun since, as far as the sequence does."""
        last = max(clean_up, key=lambda leaf: self._pasts[leaf].began)
        began = self._pasts[last].began
        if began == NEVER or all(self._first_due(step) is None for step in steps):
            return
        because = self._paths[last]
        for leaf in range(steps[0].start, clean_up.start):
            if self._pasts[leaf].worked <= began:  # in one run the clean-up comes last
                self._demand(leaf, Demand(f"{because} has cleaned up since", because))

    def look_at(self, steps: Sequence[range]) -> None:
        """Have steps of a sequence run again, as far as its order demands it."""
        first = next((i for i, step in enumerate(steps) if self._first_due(step) is not None), None)
        if first is None:
            return
        later: dict[str, int] = {}  # by device: a leaf of a later step that was there last
        self._all_after(first, steps, len(steps), later)
        self._undone(steps[first], later)
        for at in range(first - 1, -1, -1):
            if self._undone(steps[at], later):
                self._all_after(at, steps, first + 1, later)
                first = at

    def _first_due(self, step: range) -> int | None:
        return next((leaf for leaf in step if self._due[leaf]), None)

    def _all_after(
        self, first: int, steps: Sequence[range], end: int, later: dict[str, int]
    ) -> None:
        """Have all steps after ``first``, and before ``end``, run again."""
        cause = self._first_due(steps[first])
        if cause is None:
            return  # what was to run again is left out
        because = self._paths[cause]
        for step in steps[first + 1 : end]:
            for leaf in step:
                self._demand(leaf, Demand(f"{because} runs again before it", because))
                device, began = self._devices[leaf], self._pasts[leaf].began
                if device is None or began == NEVER:
                    continue
                known = later.get(device[0])
                if known is None or self._pasts[known].began < began:
                    later[device[0]] = leaf

    def _undone(self, step: range, later: Mapping[str, int]) -> bool:
        """Have leaves run again on whose devices later steps worked since; True: there were."""
        found = False
        for leaf in step:
            device = self._devices[leaf]
            last = None if device is None or self._due[leaf] else later.get(device[0])
            if device is None or last is None:
                continue
            # In one run a later step works after an earlier one.
            if self._pasts[last].began >= self._pasts[leaf].worked:
                because = self._paths[last]
                self._demand(leaf, Demand(f"{because} has worked on {device[1]} since", because))
                found = True
        return found

    def _demand(self, leaf: int, demand: Demand) -> None:
        if not self._due[leaf] and self._paths[leaf] not in self._left_out:
            self._due[leaf] = self.look_again = True
            self.demands[self._paths[leaf]] = demand
