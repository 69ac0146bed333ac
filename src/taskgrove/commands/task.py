"""The task tree: composites and leaves.

A tree is built by one thread. Once its trackers exist (when a tree is submitted,
or when ``tracker`` is first read) it is complete and its shape must not change;
from then on any thread may read it, and updates go through the trackers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from logging import Logger
from typing import Final

from taskgrove.commands.aggregation.rules import RuleLike, parse_rule
from taskgrove.commands.base_task import (
    BaseTask,
    CompletedCallback,
    HoldSetting,
    NodePlaces,
    TaskExecutionType,
    checked_timeout,
    device_name_of,
)
from taskgrove.commands.exclusive import ExclusiveDevice
from taskgrove.commands.leaf_task import LeafTask
from taskgrove.commands.subtasks import Subtasks
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.errors import UsageError, nearest
from taskgrove.events import LeftOut

__all__ = ["BaseTask", "LeafTask", "NodePlaces", "Task", "TaskExecutionType", "device_name_of"]

#: The name of the clean-up of a sequence.
FINALLY: Final = "finally"
#: The limit of a clean-up, in seconds, unless another one is given.
FINALLY_TIMEOUT_S: Final = 60.0


class Task(BaseTask):
    """A composite: it holds subtasks, and its outcome is made of theirs.

    Args:
        name: Logical name.
        task_type: SEQUENTIAL or PARALLEL.
        skip_subtasks: In a sequence, whether a failure makes the rest casualties.
        completed_callback: See :class:`BaseTask`.
        is_root: See :class:`BaseTask`.
        logger: A logger for the tracker; None takes the module's.
        subtasks: The children, in order.
        rule: An explicit rule: ``all``, ``any``, ``quorum: 0.8``, ``{"quorum": 13}``.
        timeout: Limit for all that is below this node, in seconds; None means no limit.
        operation: Handed to the rules.
        obs_mode: Handed to the rules.
        pst_group: Whether this is a group of PST beams; None decides by the name.
        description: See :class:`BaseTask`; so are hold and hold_timeout.
        hold: See :class:`BaseTask`.
        hold_timeout: See :class:`BaseTask`.
        finally_tasks: The clean-up of a sequence: steps that run last, in order, once a step
            before them has begun, whatever its end. They are below a child named ``finally``,
            which stays the last one.
        finally_timeout: Limit for the clean-up, in seconds.

    Raises:
        UsageError: A bad name, type, rule or limit; two children of one name; a child
            that already has a parent; a clean-up of tasks that run at once.
    """

    __slots__ = (
        "_subtasks",
        "call",
        "composition_notes",
        "exclusive",
        "is_finally",
        "left_out",
        "obs_mode",
        "operation",
        "pst_group",
        "rule",
        "submitted",
        "timeout",
    )

    def __init__(
        self,
        name: str,
        task_type: TaskExecutionType = TaskExecutionType.SEQUENTIAL,
        skip_subtasks: bool | None = None,
        completed_callback: CompletedCallback | None = None,
        is_root: bool = False,
        logger: Logger | None = None,
        *,
        subtasks: Iterable[BaseTask] = (),
        rule: RuleLike | None = None,
        timeout: float | None = None,
        operation: str | None = None,
        obs_mode: str | None = None,
        pst_group: bool | None = None,
        description: str = "",
        hold: HoldSetting | None = None,
        hold_timeout: float | None = None,
        finally_tasks: Iterable[BaseTask] = (),
        finally_timeout: float = FINALLY_TIMEOUT_S,
    ) -> None:
        super().__init__(
            name,
            task_type,
            skip_subtasks,
            completed_callback,
            is_root,
            logger,
            description=description,
            hold=hold,
            hold_timeout=hold_timeout,
        )
        if not self.task_type.is_composite:
            raise UsageError(
                f"a Task is SEQUENTIAL or PARALLEL, not {self.task_type.name}", path=name
            )
        self.rule = parse_rule(rule)
        self.timeout = checked_timeout(timeout, name)
        self.operation = operation
        self.obs_mode = obs_mode
        self.pst_group = pst_group
        #: The command of the map that this node runs as a subtree, or None.
        self.call: str | None = None
        #: True for the clean-up of a sequence, which is its last child and always runs.
        self.is_finally = False
        #: True once the tree was handed to an executor: a tree runs once.
        self.submitted = False
        #: Notes of the composer: left-out steps with reasons, and limits that cannot be enforced.
        self.composition_notes: list[str] = []
        #: Of a root: the devices that its run works on alone, in order; a map says so.
        self.exclusive: tuple[ExclusiveDevice, ...] = ()
        #: The steps that the composer left out of this task: part of its outcome.
        self.left_out: tuple[LeftOut, ...] = ()
        self._subtasks = Subtasks(subtasks)
        clean_up = list(finally_tasks)
        if clean_up:
            self._subtasks.append(finally_of(clean_up, finally_timeout, logger))
        self._adopt(self._subtasks)

    @property
    def subtasks(self) -> list[BaseTask]:
        """The children, in order; no change is taken once the tracker exists."""
        return self._subtasks

    @subtasks.setter
    def subtasks(self, subtasks: Iterable[BaseTask]) -> None:
        self._subtasks.check()
        self._subtasks = Subtasks(subtasks)

    @property
    def finally_task(self) -> Task | None:
        """The clean-up of this sequence, or None."""
        last = self._subtasks[-1] if self._subtasks else None
        return last if isinstance(last, Task) and last.is_finally else None

    @property
    def steps(self) -> list[BaseTask]:
        """The children without the clean-up: the rule of the task judges these."""
        return self._subtasks if self.finally_task is None else self._subtasks[:-1]

    def add(self, *subtasks: BaseTask) -> None:
        """Append children; the clean-up stays the last one.

        Raises:
            UsageError: The tree is already complete, or a child does not fit.
        """
        if self._tracker is not None:
            raise UsageError(f"{self.path} is complete: its tracker exists", path=self.path)
        end = len(self.steps)
        children = [*self._subtasks[:end], *subtasks, *self._subtasks[end:]]
        self._adopt(children)
        self._subtasks[end:end] = subtasks

    def complete(self) -> None:
        """Take no further change of the children; raise UsageError if they are not its own.

        Those of a copied node belong to another tree, and a list may have been changed behind
        the back of its tracker.
        """
        self.check_own_tracker()
        if self.finally_task is not None and not self.steps:
            raise UsageError(
                f"{self.path!r} has nothing but a clean-up",
                path=self.path,
                hint="add the steps that it cleans up after",
            )
        tracker = self._tracker
        above = None if self.parent is None else self.parent._tracker
        if tracker is None:
            self._adopt(self._subtasks)
        elif self.parent is not None and (above is None or tracker.above is not above):
            raise UsageError(
                f"{self.path!r} was put into a tree after its tracker was made",
                path=self.path,
                hint="complete the tree before a tracker or parent_callback() of it is read",
            )
        elif [child.name for child in self._subtasks] != list(tracker.subtasks) or any(
            child.parent is not self for child in self._subtasks
        ):
            raise UsageError(
                f"the subtasks of {self.path!r} were changed after its tracker was made",
                path=self.path,
                hint="complete the tree before its tracker or parent_callback() is read",
            )
        self._subtasks.owner = self

    def become_root(self) -> None:
        """Make this the root of a command: every submitted task is one."""
        self.is_root = True
        if self._tracker is not None:
            self._tracker.become_root()

    def walk(self) -> Iterator[tuple[str, BaseTask]]:
        """Yield ``(path, node)`` for this node and all below it, parents first."""
        stack: list[tuple[str, BaseTask]] = [(self.path, self)]
        while stack:
            path, node = stack.pop()
            yield path, node
            if isinstance(node, Task):
                stack.extend((f"{path}/{child._name}", child) for child in reversed(node._subtasks))

    def find(self, path: str) -> BaseTask:
        """Return the node at ``path`` (``configure/configure_pst/pst-beam-01``).

        Args:
            path: As :meth:`walk` tells it, or beginning with the name of this node.

        Raises:
            UsageError: There is no such node.
        """
        own = self.path
        if path == own or path.startswith(f"{own}/"):
            path = f"{self.name}{path[len(own) :]}"
        parts = path.split("/")
        node: BaseTask = self
        known = [self.name]
        for depth, part in enumerate(parts):
            if depth == 0:
                found: BaseTask | None = self if part == self.name else None
            else:
                children = node.subtasks if isinstance(node, Task) else []
                known = [child.name for child in children]
                found = next((child for child in children if child.name == part), None)
            if found is None:
                close = nearest(part, known)
                raise UsageError(
                    f"no node {path!r} in the tree of {self.name!r}",
                    path="/".join(parts[:depth]) or None,
                    hint=f"did you mean {close!r}?" if close else None,
                )
            node = found
        return node

    def _adopt(self, children: list[BaseTask]) -> None:
        """Become the parent of all children, or of none when one does not fit."""
        names: set[str] = set()
        for child in children:
            if not isinstance(child, BaseTask):
                raise UsageError(
                    f"a subtask is a Task or a LeafTask, not {child!r}", path=self.name
                )
            if child._name in names:
                raise UsageError(
                    f"two subtasks of {self.name!r} are named {child.name!r}",
                    path=self.path,
                    hint="names are unique among the children of one Task, because they key its"
                    " tracker",
                )
            names.add(child._name)
            if isinstance(child, Task) and child.is_finally:
                self._check_finally(child, children)
            if child._parent is self:
                continue
            if child._parent is not None:
                raise UsageError(
                    f"{child.path!r} already has a parent",
                    path=child.path,
                    hint="a copied task does not own its subtasks: compose them again",
                )
            if child.is_root:
                raise UsageError(
                    f"{child.name!r} is a root; it cannot be a subtask", path=self.path
                )
            if child is self or child in self._ancestors():
                raise UsageError(f"{child.name!r} would be its own ancestor", path=self.path)
        for child in children:
            child._parent = self  # one that has a tracker already is refused when this is complete

    def _check_finally(self, child: Task, children: list[BaseTask]) -> None:
        if self.task_type is not TaskExecutionType.SEQUENTIAL:
            raise UsageError(
                f"{self.name!r} runs its steps at once, so no step is its {FINALLY}",
                path=self.path,
                hint="put the task into a sequence, and the clean-up into that",
            )
        if child is not children[-1] or child.task_type is not TaskExecutionType.SEQUENTIAL:
            raise UsageError(
                f"{child.name!r} is the clean-up of {self.name!r}: a sequence, and the last child",
                path=self.path,
                hint="give it as finally_tasks",
            )

    def _ancestors(self) -> Iterator[BaseTask]:
        node: BaseTask | None = self.parent
        while node is not None:
            yield node
            node = node.parent

    def _make_tracker(self) -> TaskTracker:
        self._adopt(self._subtasks)
        self._subtasks.owner = self
        tracker = self._new_tracker(
            len(self._subtasks),
            operation=self.operation,
            obs_mode=self.obs_mode,
            rule=self.rule,
            pst_group=self.pst_group,
            left_out=self.left_out,
            parent=self._tracker_above(),
            finally_name=None if self.finally_task is None else FINALLY,
        )
        tracker.expect(child._name for child in self._subtasks)
        return tracker


def finally_of(
    subtasks: Iterable[BaseTask],
    timeout: float | None = FINALLY_TIMEOUT_S,
    logger: Logger | None = None,
) -> Task:
    """Return the clean-up of a sequence: its last child, which holds ``subtasks``.

    Args:
        subtasks: The steps of the clean-up, in order.
        timeout: Limit for all of them, in seconds; None means no limit.
        logger: A logger for the tracker; None takes the module's.
    """
    task = Task(FINALLY, logger=logger, subtasks=subtasks, timeout=timeout)
    task.is_finally = True
    return task
