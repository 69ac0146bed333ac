"""A Task while it runs: its counters, its deadline, and the ends that break a sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from taskgrove.commands.execution.limit import Limit, LimitClock
from taskgrove.commands.task import BaseTask, Task, TaskExecutionType
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import PROBLEM_CODES, ResultCode, TaskStatus

if TYPE_CHECKING:
    from taskgrove.commands.execution.waiting_steps import WaitingStep


class Composite:
    """A Task while it runs.

    Attributes:
        clean_up: The clean-up of a sequence, its last child, or None.
        clock: The clock of the nearest limit, its own or from above; None: it has no limit.
        in_finally: Whether it belongs to a clean-up.
        watched: Whether it has a clean-up, or a task above it has one.
        begun: Whether work of a leaf below has begun; kept only where it is watched.
        forgiven: The names of children after which the later steps run, whatever became of them,
            because an operator wants that; None: there are none.
        undecided: The failed leaves of a group on which no decision was made, by name.
    """

    __slots__ = (
        "_unbegun",
        "begun",
        "clean_up",
        "clock",
        "forgiven",
        "in_finally",
        "is_sequence",
        "next_index",
        "parent",
        "path",
        "remaining",
        "task",
        "undecided",
        "watched",
    )

    def __init__(
        self, task: Task, parent: Composite | None, path: str, *, began_ns: int | None = None
    ) -> None:
        self.task = task
        self.parent = parent
        self.path = path
        self.remaining = len(task.subtasks)
        self.next_index = 0
        self._unbegun: set[str] | None = None
        self.forgiven: set[str] | None = None
        self.undecided: dict[str, WaitingStep] = {}
        self.is_sequence = task.task_type is TaskExecutionType.SEQUENTIAL
        self.clean_up = task.finally_task
        self.watched = self.clean_up is not None
        self.begun = False
        self.in_finally = task.is_finally
        above: LimitClock | None = None
        if parent is not None:
            self.watched = self.watched or parent.watched
            self.in_finally = self.in_finally or parent.in_finally
            above = parent.clock
        # Limits from above do not reach a clean-up.
        self.clock: LimitClock | None = None if task.is_finally else above
        if task.timeout is not None:
            limit = Limit.from_now(task.timeout, path, began_ns)
            self.clock = LimitClock(limit, above, alone=task.is_finally)

    @property
    def tracker(self) -> TaskTracker:
        """The tracker of the task."""
        return self.task.tracker

    @property
    def limit(self) -> Limit | None:
        """The limit that expires first, its own or one from above."""
        return None if self.clock is None else self.clock.first()

    @property
    def decides_together(self) -> bool:
        """True where a failure is judged only when all of its siblings have ended."""
        return not self.is_sequence and (self.task.rule is not None or self.tracker.is_pst_group)

    def mark_begun(self) -> None:
        """Remember that work of a leaf has begun, here and further up."""
        node: Composite | None = self
        while node is not None and node.watched and not node.begun:
            node.begun = True
            node = node.parent

    def leave_unbegun(self, child: BaseTask) -> None:
        """Remember that a leaf was never begun, for want of a runner, here and further up."""
        if self._unbegun is None:
            self._unbegun = set()
        self._unbegun.add(child.name)
        if self.parent is not None:
            self.parent.leave_unbegun(self.task)

    def forgive(self, child: BaseTask) -> None:
        """Remember that an operator wants the later steps to run whatever became of a child."""
        if self.forgiven is None:
            self.forgiven = set()
        self.forgiven.add(child.name)

    def forgive_above(self) -> None:
        """Forgive this composite, which has ended, where it failed by forgiven children only."""
        if (
            self.forgiven
            and self.parent is not None
            and not any(self.broken_by(child) for child in self.task.subtasks)
        ):
            self.parent.forgive(self.task)

    def broken_by(self, child: BaseTask) -> str | None:
        """Return the words for a child that breaks the sequence or None.

        Args:
            child: A child that has ended.
        """
        if self.forgiven is not None and child.name in self.forgiven:
            return None
        if isinstance(child, Task):
            outcome = child.tracker.outcome()
            status, code, health = outcome.status, outcome.result, outcome.health_state
        else:
            record = self.tracker.subtasks.get(child.name)
            if record is None or record.status is None:
                return None
            status, health = record.status, record.health_state
            code = record.result_code if record.result_code is not None else ResultCode.OK
        if status is TaskStatus.ABORTED:
            # A child that was aborted for want of a runner breaks nothing: nor is the rest begun.
            is_unbegun = self._unbegun is not None and child.name in self._unbegun
            return None if is_unbegun else f"{child.name} aborted"
        if status is TaskStatus.COMPLETED and (health == "DEGRADED" or code not in PROBLEM_CODES):
            return None
        word = "rejected" if status is TaskStatus.REJECTED else "failed"
        return f"{child.name} {word}"


def forgive_recorded(
    node: BaseTask, composite: Composite, is_skipped_over: Callable[[str], bool]
) -> None:
    """Forgive a child that ended on record, as it was forgiven when it ended.

    Args:
        node: The child.
        composite: The composite that holds it.
        is_skipped_over: Whether an operator wanted the later steps to run whatever became of the
            node at a path.
    """
    inner: list[Composite] = []
    open_nodes = [(node, composite)]
    while open_nodes:
        child, parent = open_nodes.pop()
        path = f"{parent.path}/{child.name}"
        if is_skipped_over(path):
            parent.forgive(child)
        elif isinstance(child, Task):
            inner.append(Composite(child, parent, path))
            open_nodes += [(below, inner[-1]) for below in child.subtasks]
    for ended in reversed(inner):
        ended.forgive_above()


class Step(NamedTuple):
    """A child that is to start, or that has ended."""

    child: BaseTask
    composite: Composite
    has_ended: bool = False
