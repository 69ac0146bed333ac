"""The steps of a run on which a person may decide, its pause, and its clean-up to come.

Threads: an :class:`OpenSteps` belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from taskgrove.commands.task import Task
from taskgrove.events import ComposedDetail, NoteDetail, TaskEvent
from taskgrove.story.node_wait import TURNING_TOPICS, NodeWait, RunPause, pause_in
from taskgrove.story.run_node import RunNode


class OpenStep(NamedTuple):
    """A step on which a decision is open.

    Attributes:
        path: Its path.
        wait: Its wait.
    """

    path: str
    wait: NodeWait

    @property
    def is_held(self) -> bool:
        """Whether a decision is awaited."""
        return self.wait.how == "held"

    @property
    def words(self) -> str:
        """Why its last attempt failed."""
        return "" if self.wait.failure is None else self.wait.failure.words

    @property
    def attempt(self) -> int:
        """The number of that attempt, from 1."""
        failure = self.wait.failure
        cause = None if failure is None else failure.cause
        return (None if cause is None else cause.attempt) or 1

    def is_same(self, wait: NodeWait) -> bool:
        """Return whether a later look at the step finds no other wait."""
        return self.wait.how == wait.how and self.wait.failure is wait.failure


class OpenSteps:
    """What a person may decide in a run, folded from its events in order.

    Attributes:
        steps: The steps on which a decision is open, by path, the oldest first.
        pause: The pause that lasts, or None.
        aborting: Whether the run is being aborted.
    """

    def __init__(self) -> None:
        self.steps: dict[str, OpenStep] = {}
        self.pause: RunPause | None = None
        self.aborting = False
        self._clean_up: set[str] = set()
        #: The root, and the steps that waited and have not ended, with what was heard since.
        self._nodes: dict[str, RunNode] = {}

    @property
    def has_clean_up(self) -> bool:
        """Whether a clean-up has not ended yet: it is to come, or at work."""
        return bool(self._clean_up)

    def know(self, nodes: Iterable[RunNode]) -> None:
        """Take in what was composed before the events that will come, in a run that goes on."""
        for node in nodes:
            if node.composed is not None and node.composed.is_finally and not node.is_final:
                self._clean_up.add(node.path)

    def know_tree(self, tree: Task) -> None:
        """Take in a tree that begins, so that no clean-up is unknown before its event comes."""
        tasks = [tree]
        for task in tasks:
            for node in task.subtasks:
                if isinstance(node, Task):
                    tasks.append(node)
                    if node.is_finally:
                        self._clean_up.add(node.path)

    def take(self, events: Iterable[TaskEvent]) -> list[OpenStep]:
        """Take in further events; return the steps on which a decision is newly open."""
        new: dict[str, OpenStep] = {}
        for event in events:
            if event.kind == "progress":
                continue
            if event.kind == "composed":
                if isinstance(event.detail, ComposedDetail) and event.detail.is_finally:
                    self._clean_up.add(event.path)
                continue
            if event.kind == "finished":
                self._clean_up.discard(event.path)
                self._nodes.pop(event.path, None)
                self.steps.pop(event.path, None)
                continue
            step = self._heard(event)
            if step is not None:
                new[step.path] = step
        return [step for step in new.values() if self.steps.get(step.path) is step]

    def _heard(self, event: TaskEvent) -> OpenStep | None:
        """Take in an event of a node; return the step where it is newly open."""
        path, is_root = event.path, "/" not in event.path
        topic = event.detail.topic if isinstance(event.detail, NoteDetail) else ""
        node = self._nodes.get(path)
        if node is None:
            if topic not in TURNING_TOPICS and not (is_root and topic):
                return None
            node = self._nodes[path] = RunNode(path)
        node.apply(event)
        if is_root:
            self.pause = pause_in(node.notes)
            self.aborting = self.aborting or topic == "abort-asked"
        before, wait = self.steps.get(path), node.wait
        if wait is None or not wait.is_open:
            self.steps.pop(path, None)
            return None
        if before is not None and before.is_same(wait):
            return None
        self.steps[path] = step = OpenStep(path, wait)
        return step
