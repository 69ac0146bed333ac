"""The steps of a run on which a person may decide, its pause, and its clean-up to come.

Threads: an :class:`OpenSteps` belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from taskgrove.commands.task import Task
from taskgrove.events import ComposedDetail, NoteDetail, TaskEvent
from taskgrove.story.run_node import RunNode

#: The notes by which a decision on a step is open.
_OPEN: Final = frozenset(("held", "undecided", "delayed"))
_ENDS_PAUSE: Final = frozenset(("continued", "abort-asked"))


@dataclass(frozen=True, slots=True)
class OpenStep:
    """A step on which a decision is open.

    Attributes:
        path: Its path.
        topic: ``held``, ``undecided`` or ``delayed``.
        words: Why its last attempt failed.
        attempt: The number of that attempt.
        since_ns: Since when, UTC, nanoseconds since the epoch.
        until_ns: When its failure will stand, or its next attempt begins, likewise; None: never
            by itself.
    """

    path: str
    topic: str
    words: str
    attempt: int
    since_ns: int
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of a run.

    Attributes:
        who: Who asked for it; empty where nobody said so.
        why: The reason; may be empty.
        since_ns: Since when, UTC, nanoseconds since the epoch.
    """

    who: str
    why: str
    since_ns: int


class OpenSteps:
    """What a person may decide in a run, folded from its events in order.

    Attributes:
        steps: The steps on which a decision is open, by path, the oldest first.
        pause: The pause that lasts, or None.
        aborting: Whether the run is being aborted.
    """

    def __init__(self) -> None:
        self.steps: dict[str, OpenStep] = {}
        self.pause: Pause | None = None
        self.aborting = False
        self._clean_up: set[str] = set()

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
            kind = event.kind
            if kind == "progress":
                continue
            if kind == "note":
                step = self._take_note(event)
                if step is not None:
                    new[step.path] = step
            elif kind == "composed":
                if isinstance(event.detail, ComposedDetail) and event.detail.is_finally:
                    self._clean_up.add(event.path)
            else:
                self.steps.pop(event.path, None)
                if kind == "finished":
                    self._clean_up.discard(event.path)
        return [step for step in new.values() if self.steps.get(step.path) is step]

    def _take_note(self, event: TaskEvent) -> OpenStep | None:
        detail = event.detail
        if not isinstance(detail, NoteDetail):
            return None
        topic, path, request = detail.topic, event.path, detail.request
        if topic in _OPEN:
            said = "" if detail.cause is None else detail.cause.said
            until = detail.data.get("until_ns", "")
            step = OpenStep(
                path,
                topic,
                detail.data.get("words") or said or event.message,
                event.attempt,
                event.wall_ns,
                int(until) if until.isascii() and until.isdecimal() else None,
            )
            self.steps[path] = step
            return step
        if topic == "retry" or (topic == "parked" and request is not None):
            self.steps.pop(path, None)
        elif "/" not in path:
            if topic == "paused":
                who, why = (request.who, request.why) if request else ("", "")
                self.pause = Pause(who, why, event.wall_ns)
            elif topic in _ENDS_PAUSE:
                self.pause = None
                self.aborting = self.aborting or topic == "abort-asked"
        return None
