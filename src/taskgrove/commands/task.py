"""The task tree: composites and leaves (seed 002, SPEC S5).

A tree is built by one thread. Once its trackers exist (when a tree is submitted,
or when ``tracker`` is first read) it is complete and its shape must not change;
from then on any thread may read it, and updates go through the trackers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from taskgrove.commands.aggregation.default_rules import LeafRule
from taskgrove.commands.aggregation.rules import AggregationRule, RuleLike, parse_rule
from taskgrove.commands.display import render_html
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError, nearest

if TYPE_CHECKING:
    from logging import Logger

CompletedCallback: TypeAlias = Callable[..., object]


class TaskExecutionType(Enum):
    """How a node is executed."""

    SEQUENTIAL = "sequential"
    """A composite: one child after the other, in order."""
    PARALLEL = "parallel"
    """A composite: all children at once."""
    INTERNAL = "internal"
    """A leaf: a method or function of this process."""
    DEVICE = "device"
    """A leaf: a long-running command of a TANGO device."""
    ANALYSIS = "analysis"
    """A leaf: an analysis program."""

    @property
    def is_composite(self) -> bool:
        """True for SEQUENTIAL and PARALLEL."""
        return self in _COMPOSITE


_COMPOSITE = (TaskExecutionType.SEQUENTIAL, TaskExecutionType.PARALLEL)


def device_name_of(target: Any) -> str | None:
    """Return the short TANGO name of a target (``mid-pst/beam/01``), or None.

    Args:
        target: A TANGO name in any form (``tango://host:port/a/b/c#dbase=no``), or an
            object that has one as ``name``, ``dev_name()`` or ``trl``.
    """
    name = target
    if not isinstance(target, str):
        name = getattr(target, "name", None)
        if callable(name):
            name = None
        if name is None:
            dev_name = getattr(target, "dev_name", None)
            name = dev_name() if callable(dev_name) else getattr(target, "trl", None)
    if not isinstance(name, str) or not name:
        return None
    name = name.split("#", 1)[0]
    if "://" in name:
        name = name.split("://", 1)[1]
    parts = [part for part in name.split("/") if part]
    if len(parts) > 3 and ":" in parts[0]:
        parts = parts[1:]
    return "/".join(parts) or None


class BaseTask:
    """What composites and leaves share.

    Attributes:
        name: Logical name, unique among its siblings.
        task_type: How the node is executed.
        skip_subtasks: In a sequence, whether a failure rejects the steps after it.
        completed_callback: Called with the completion payload, and with progress
            payloads before it (SPEC S4.2).
        is_root: Whether the node is the root of a command: its message then begins
            with a summary line.
        parent: The Task that holds this node, or None.
    """

    __slots__ = (
        "__weakref__",
        "_tracker",
        "completed_callback",
        "is_root",
        "logger",
        "name",
        "parent",
        "skip_subtasks",
        "task_type",
    )

    def __init__(
        self,
        name: str,
        task_type: TaskExecutionType = TaskExecutionType.SEQUENTIAL,
        skip_subtasks: bool | None = None,
        completed_callback: CompletedCallback | None = None,
        is_root: bool = False,
        logger: Logger | None = None,
    ) -> None:
        if not isinstance(name, str) or not name or "/" in name or not name.isprintable():
            raise UsageError(
                f"a task's name is a printable text without '/', not {name!r}",
                hint="paths are made of names joined by '/'",
            )
        self.name = name
        self.task_type = _checked_type(task_type, name)
        self.skip_subtasks = skip_subtasks
        self.completed_callback = completed_callback
        self.is_root = is_root
        self.logger = logger
        self.parent: Task | None = None
        self._tracker: TaskTracker | None = None

    @property
    def path(self) -> str:
        """Path of the node in its tree, such as ``configure/configure_pst/pst-beam-01``."""
        names = [self.name]
        node = self.parent
        while node is not None:
            names.append(node.name)
            node = node.parent
        return "/".join(reversed(names))

    @property
    def tracker(self) -> TaskTracker:
        """The tracker of this node; the tree is complete once it exists."""
        if self._tracker is None:
            # From the top down and without recursion: trees may be hundreds deep.
            missing: list[BaseTask] = []
            node: BaseTask | None = self
            while node is not None and node._tracker is None:
                missing.append(node)
                node = node.parent
            for node in reversed(missing):
                node._tracker = node._make_tracker()
        assert self._tracker is not None
        return self._tracker

    def parent_callback(self) -> Callable[..., None]:
        """Return what a child calls to update this node: ``tracker.update_task``."""
        return self.tracker.update_task

    def set_completed_callback(self, completed_callback: CompletedCallback | None) -> None:
        """Set the callback that the tracker calls; the tie to the parent stays."""
        self.completed_callback = completed_callback
        if self._tracker is not None:
            self._tracker.completed_callback = completed_callback

    def _make_tracker(self) -> TaskTracker:
        return self._new_tracker(1)

    def _new_tracker(
        self,
        total_subtasks: int,
        *,
        operation: str | None = None,
        obs_mode: str | None = None,
        rule: AggregationRule | None = None,
        pst_group: bool | None = None,
    ) -> TaskTracker:
        return TaskTracker(
            self.name,
            total_subtasks,
            self.completed_callback,
            self.logger,
            operation,
            obs_mode,
            self.is_root,
            rule=rule,
            pst_group=pst_group,
            parent=None if self.parent is None else self.parent.tracker,
        )

    def _repr_html_(self) -> str | None:
        return render_html(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path!r} {self.task_type.name}>"


class Task(BaseTask):
    """A composite: it holds subtasks, and its outcome is made of theirs.

    Args:
        name: Logical name.
        task_type: SEQUENTIAL or PARALLEL.
        skip_subtasks: In a sequence, whether a failure makes the rest casualties (SPEC S7.2).
        completed_callback: See :class:`BaseTask`.
        is_root: See :class:`BaseTask`.
        logger: A logger for the tracker; None takes the module's.
        subtasks: The children, in order.
        rule: An explicit rule (SPEC S3.9): ``all``, ``any``, ``quorum: 0.8``, ``{"quorum": 13}``.
        timeout: Limit for all that is below this node, in seconds; None means no limit.
        operation: Handed to the rules (SPEC S3.11).
        obs_mode: Handed to the rules (SPEC S3.11).
        pst_group: Whether this is a group of PST beams; None decides by the name (SPEC S3.4).

    Raises:
        UsageError: A bad name, type, rule or limit; two children of one name; a child
            that already has a parent.
    """

    __slots__ = (
        "composition_notes",
        "obs_mode",
        "operation",
        "pst_group",
        "rule",
        "submitted",
        "subtasks",
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
    ) -> None:
        super().__init__(name, task_type, skip_subtasks, completed_callback, is_root, logger)
        if not self.task_type.is_composite:
            raise UsageError(
                f"a Task is SEQUENTIAL or PARALLEL, not {self.task_type.name}", path=name
            )
        self.rule = parse_rule(rule)
        self.timeout = _checked_timeout(timeout, name)
        self.operation = operation
        self.obs_mode = obs_mode
        self.pst_group = pst_group
        #: True once the tree was handed to an executor: a tree runs once.
        self.submitted = False
        #: What the composer left out and why, and limits that cannot be enforced.
        self.composition_notes: list[str] = []
        self.subtasks: list[BaseTask] = list(subtasks)
        self._adopt(self.subtasks)

    def add(self, *subtasks: BaseTask) -> None:
        """Append children.

        Raises:
            UsageError: The tree is already complete, or a child does not fit.
        """
        if self._tracker is not None:
            raise UsageError(f"{self.path} is complete: its tracker exists", path=self.path)
        self._adopt([*self.subtasks, *subtasks])
        self.subtasks.extend(subtasks)

    def become_root(self) -> None:
        """Make this the root of a command: what is submitted is one, said so or not."""
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
                stack.extend((f"{path}/{child.name}", child) for child in reversed(node.subtasks))

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
            if child.name in names:
                raise UsageError(
                    f"two subtasks of {self.name!r} are named {child.name!r}",
                    path=self.path,
                    hint="names are unique among the children of one Task, because they key its"
                    " tracker",
                )
            names.add(child.name)
            if child.parent is self:
                continue
            if child.parent is not None:
                raise UsageError(f"{child.path!r} already has a parent", path=child.path)
            if child.is_root:
                raise UsageError(
                    f"{child.name!r} is a root; it cannot be a subtask", path=self.path
                )
            if child is self or child in self._ancestors():
                raise UsageError(f"{child.name!r} would be its own ancestor", path=self.path)
        for child in children:
            child.parent = self

    def _ancestors(self) -> Iterator[BaseTask]:
        node: BaseTask | None = self.parent
        while node is not None:
            yield node
            node = node.parent

    def _make_tracker(self) -> TaskTracker:
        self._adopt(self.subtasks)
        tracker = self._new_tracker(
            len(self.subtasks),
            operation=self.operation,
            obs_mode=self.obs_mode,
            rule=self.rule,
            pst_group=self.pst_group,
        )
        tracker.expect(child.name for child in self.subtasks)
        return tracker


class LeafTask(BaseTask):
    """A leaf: one command of one device, one method, one analysis. Never a root.

    Args:
        name: Logical name.
        target: What it acts on: a device (its TANGO name, or an object that has one as
            ``name``), or the object whose method is called.
        command_name: The device's command, or the method's name.
        argin: Its argument; None means none.
        task_type: DEVICE, INTERNAL or ANALYSIS.
        skip_subtasks: Without meaning for a leaf; kept for the common signature.
        completed_callback: See :class:`BaseTask`.
        is_root: Must be False.
        logger: A logger for the tracker.
        timeout: Limit of each attempt, in seconds; None means no limit.
        retries: How often it may be tried again (SPEC S7.4).
        abort_on_timeout: Whether an expired limit also sends the device's Abort, which
            stops everything on that device.

    Raises:
        UsageError: A bad name, type, limit or number of retries, or ``is_root``.
    """

    __slots__ = (
        "abort_on_timeout",
        "argin",
        "command_name",
        "device_name",
        "function",
        "retries",
        "target",
        "timeout",
    )

    def __init__(
        self,
        name: str,
        target: Any,
        command_name: str,
        argin: Any = None,
        task_type: TaskExecutionType = TaskExecutionType.DEVICE,
        skip_subtasks: bool | None = None,
        completed_callback: CompletedCallback | None = None,
        is_root: bool = False,
        logger: Logger | None = None,
        *,
        timeout: float | None = None,
        retries: int = 0,
        abort_on_timeout: bool = False,
    ) -> None:
        if is_root:
            raise UsageError(f"leaf {name!r} cannot be a root", hint="put it into a Task")
        super().__init__(name, task_type, skip_subtasks, completed_callback, False, logger)
        if self.task_type.is_composite:
            raise UsageError(f"a leaf is not {self.task_type.name}", path=name)
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise UsageError(f"retries is a whole number from 0, not {retries!r}", path=name)
        self.target = target
        self.command_name = command_name
        self.argin = argin
        self.timeout = _checked_timeout(timeout, name)
        self.retries = retries
        self.abort_on_timeout = abort_on_timeout
        #: The device that updates are attributed to; None for a leaf that has no device.
        self.device_name: str | None = None
        if self.task_type is TaskExecutionType.DEVICE:
            self.device_name = device_name_of(target)
        #: The function of a leaf made by :meth:`from_callable`, else None.
        self.function: Callable[..., Any] | None = None

    @classmethod
    def from_callable(
        cls,
        fn: Callable[..., Any],
        argin: Any = None,
        name: str | None = None,
        *,
        completed_callback: CompletedCallback | None = None,
        logger: Logger | None = None,
        timeout: float | None = None,
        retries: int = 0,
    ) -> LeafTask:
        """Return an internal leaf that calls a function or coroutine function.

        Args:
            fn: Called with ``argin`` unless that is None, and with ``task_callback`` and
                ``task_abort_event`` when its signature names them (SPEC S7.1).
            argin: Its argument; None means none.
            name: The leaf's name; None takes the function's.
            completed_callback: See :class:`BaseTask`.
            logger: A logger for the tracker.
            timeout: Limit of each attempt, in seconds; None means no limit.
            retries: How often it may be tried again.

        Raises:
            UsageError: ``fn`` cannot be called.
        """
        if not callable(fn):
            raise UsageError(f"{fn!r} cannot be called")
        own_name = _name_of(fn)
        leaf = cls(
            name or own_name,
            fn,
            own_name,
            argin,
            TaskExecutionType.INTERNAL,
            None,
            completed_callback,
            False,
            logger,
            timeout=timeout,
            retries=retries,
        )
        leaf.function = fn
        return leaf

    def resolve(self) -> Callable[..., Any]:
        """Return what an internal leaf calls.

        Raises:
            AttributeError: The target has no such method.
            TypeError: It has, but it cannot be called.
        """
        if self.function is not None:
            return self.function
        method = getattr(self.target, self.command_name)
        if not callable(method):
            raise TypeError(f"{self.command_name} of {type(self.target).__name__} is not callable")
        return method  # type: ignore[no-any-return]

    def report(self, **fields: Any) -> None:
        """Hand an update of this leaf to its parent's tracker, and to its own if that exists.

        Args:
            **fields: As ``TaskTracker.update_task`` takes them, without ``task_name``.
        """
        if self._tracker is None and (self.completed_callback is not None or self.parent is None):
            self._tracker = self.tracker  # made early: somebody wants the whole story
        if self.parent is not None:
            # Read directly where it can be: this is on the path of every update.
            tracker = self.parent._tracker or self.parent.tracker
            tracker.update_task(task_name=self.name, **fields)
        # Read after the parent's record was written: see the property ``tracker``.
        if self._tracker is not None:
            self._tracker.update_task(task_name=self.name, **fields)

    def tell_skipped(self, message: str) -> None:
        """Tell this leaf alone that it will not run; its parent has been told as a whole."""
        if self._tracker is not None or self.completed_callback is not None:
            self.tracker.update_task(
                task_name=self.name,
                status=TaskStatus.REJECTED,
                result=(ResultCode.REJECTED, message),
                skipped=True,
            )

    @property
    def tracker(self) -> TaskTracker:
        """The leaf's own tracker, with one subtask: the leaf itself.

        It is made when it is first asked for, because a tree of 100,000 leaves would
        otherwise pay for trackers that nobody reads; it then takes over what the
        parent's tracker already knows of the leaf.
        """
        if self._tracker is None:
            self._tracker = self._make_tracker()
            # Only then look at the record: an update in between reaches one or the other.
            record = None
            if self.parent is not None:
                record = self.parent.tracker.subtasks.get(self.name)
            if record is not None:
                self._tracker.adopt(record, self.parent.tracker.progress_of(self.name))  # type: ignore[union-attr]
        return self._tracker

    def _make_tracker(self) -> TaskTracker:
        # Not tied to the parent's tracker: report() updates both.
        return TaskTracker(self.name, 1, self.completed_callback, self.logger, rule=LeafRule())


def _checked_type(task_type: Any, path: str) -> TaskExecutionType:
    try:
        return TaskExecutionType(task_type)
    except ValueError:
        allowed = ", ".join(kind.name for kind in TaskExecutionType)
        raise UsageError(
            f"a task's type is one of {allowed}, not {task_type!r}", path=path
        ) from None


def _checked_timeout(timeout: float | None, path: str) -> float | None:
    if timeout is None:
        return None
    usable = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not usable or not timeout > 0 or math.isinf(timeout):
        raise UsageError(
            f"timeout is a positive number of seconds, not {timeout!r}",
            path=path,
            hint="leave it out for no limit",
        )
    return float(timeout)


def _name_of(fn: Callable[..., Any]) -> str:
    while isinstance(fn, functools.partial):
        fn = fn.func
    name = getattr(fn, "__name__", None) or type(fn).__name__
    return "lambda" if name == "<lambda>" else str(name)
