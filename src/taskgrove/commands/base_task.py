"""The common part of composites and leaves: names, paths, trackers, callbacks.

Threads: any thread may be the first that asks for a tracker, without a lock. Where two threads
make a tracker of one node at once, the first that is put into ``_made`` is the node's tracker.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from enum import Enum
from logging import Logger
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from taskgrove.commands.display import render_html
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.errors import UsageError
from taskgrove.events import Place

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

    __hash__ = object.__hash__  # that of Enum is a Python function: runners are looked up by kind

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


class NodePlaces(NamedTuple):
    """The places where a user wrote a node and its parts; None: the place is not known.

    Attributes:
        own: The node.
        timeout: Its limit.
        argin: The argument of a leaf.
        command: The command of a leaf.
        target: The name of a leaf's device.
    """

    own: Place | None = None
    timeout: Place | None = None
    argin: Place | None = None
    command: Place | None = None
    target: Place | None = None


NO_PLACES: Final = NodePlaces()

#: ``on_failure``: a leaf that fails waits for a decision; ``never``: its failure stands at once.
HoldSetting: TypeAlias = Literal["on_failure", "never"]
HOLD_SETTINGS: Final[tuple[HoldSetting, ...]] = get_args(HoldSetting)


class BaseTask:
    """The common part of composites and leaves.

    Attributes:
        task_type: How the node is executed.
        skip_subtasks: In a sequence, whether a failure rejects the steps after it.
        completed_callback: Called with the completion payload, and with progress
            payloads before it.
        is_root: Whether the node is the root of a command: its message then begins
            with a summary line.
        places: Where the map defines the node; nowhere for a tree that a program makes.
        description: A sentence about the node; may be empty.
        hold: Whether a leaf that fails waits for a decision: ``on_failure``, ``never``, or None
            for the setting of the node above.
        hold_timeout: How long it waits before the failure stands, in seconds; None: the setting
            of the node above, and without one for ever.
    """

    __slots__ = (
        "__weakref__",
        "_made",
        "_name",
        "_parent",
        "_tracker",
        "completed_callback",
        "description",
        "hold",
        "hold_timeout",
        "is_root",
        "logger",
        "places",
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
        *,
        description: str = "",
        hold: HoldSetting | None = None,
        hold_timeout: float | None = None,
    ) -> None:
        if not isinstance(name, str) or not name or "/" in name or not name.isprintable():
            raise UsageError(
                f"a task's name is a printable text without '/', not {name!r}",
                hint="paths are made of names joined by '/'",
            )
        self._name = name
        self._parent: BaseTask | None = None
        self._tracker: TaskTracker | None = None
        self._made: list[TaskTracker] = []
        self.task_type = _checked_type(task_type, name)
        self.skip_subtasks = skip_subtasks
        self.completed_callback = completed_callback
        self.is_root = is_root
        self.logger = logger
        self.places = NO_PLACES
        self.description = description
        self.hold = _checked_hold(hold, name)
        self.hold_timeout = checked_timeout(hold_timeout, name, "hold_timeout")

    @property
    def name(self) -> str:
        """Logical name; it takes no change once a tracker knows the node by it."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._check_change("name")
        self._name = name

    @property
    def parent(self) -> BaseTask | None:
        """The Task that holds this node, or None; it takes no change once a tracker exists."""
        return self._parent

    @parent.setter
    def parent(self, parent: BaseTask | None) -> None:
        if parent is not self._parent:
            self._check_change("parent")
            self._parent = parent

    def _check_change(self, what: str) -> None:
        above = self._parent
        if self._tracker is not None or (above is not None and above._tracker is not None):
            raise UsageError(
                f"the {what} of {self.path!r} takes no change: its tracker exists",
                path=self.path,
                hint="complete the tree before its tracker or parent_callback() is read",
            )

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
                node._take_tracker(node._make_tracker())
        assert self._tracker is not None
        return self._tracker

    def _take_tracker(self, tracker: TaskTracker) -> bool:
        """Make it the node's tracker; False: another thread was first."""
        self._made.append(tracker)  # atomic; a copy of a node shares the list
        self._tracker = next(made for made in self._made if made.owner and made.owner() is self)
        return self._tracker is tracker

    def known_trackers(self) -> Iterator[TaskTracker]:
        """Yield the trackers of this node and of all above it, of those that exist."""
        node: BaseTask | None = self
        while node is not None:
            if node._tracker is not None:
                yield node._tracker
            node = node.parent

    def check_own_tracker(self) -> None:
        """Raise UsageError where the tracker is another node's."""
        tracker = self._tracker
        if tracker is not None and (tracker.owner is None or tracker.owner() is not self):
            raise UsageError(
                f"{self.path!r} is a copy: its tracker belongs to another task",
                path=self.path,
                hint="compose the tree again",
            )

    def check_nothing_ended(self) -> None:
        """Raise UsageError where the tracker has taken in ends already."""
        if self._tracker is not None and self._tracker.completed_subtasks:
            # Ended subtasks would count as done, and would not run.
            raise UsageError(
                f"updates have ended subtasks of {self.path!r} before it was submitted",
                path=self.path,
                hint="compose the tree again",
            )

    def parent_callback(self) -> Callable[..., None]:
        """Return the callback for the updates of a child: ``tracker.update_task``."""
        return self.tracker.update_task

    def set_completed_callback(self, completed_callback: CompletedCallback | None) -> None:
        """Set the callback that the tracker calls; the tie to the parent stays."""
        self.completed_callback = completed_callback
        if self._tracker is not None:
            self._tracker.completed_callback = completed_callback

    def _make_tracker(self) -> TaskTracker:
        return self._new_tracker(1, parent=self._tracker_above())

    def _tracker_above(self) -> TaskTracker | None:
        return None if self.parent is None else self.parent.tracker

    def _new_tracker(self, total_subtasks: int, **options: Any) -> TaskTracker:
        """Return a tracker of this node; ``options`` are further arguments of TaskTracker."""
        tracker = TaskTracker(
            self.name,
            total_subtasks,
            self.completed_callback,
            self.logger,
            is_root=self.is_root,
            **options,
        )
        tracker.owner = weakref.ref(self)
        return tracker

    def _repr_html_(self) -> str:
        return render_html(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path!r} {self.task_type.name}>"


def _checked_type(task_type: Any, path: str) -> TaskExecutionType:
    try:
        return TaskExecutionType(task_type)
    except ValueError:
        allowed = ", ".join(kind.name for kind in TaskExecutionType)
        raise UsageError(
            f"a task's type is one of {allowed}, not {task_type!r}", path=path
        ) from None


def _checked_hold(hold: HoldSetting | None, path: str) -> HoldSetting | None:
    if hold is not None and hold not in HOLD_SETTINGS:
        raise UsageError(f"hold is one of {', '.join(HOLD_SETTINGS)}, not {hold!r}", path=path)
    return hold


def checked_timeout(timeout: float | None, path: str, key: str = "timeout") -> float | None:
    """Return a limit in seconds, or None for no limit; raise UsageError for any other value."""
    if timeout is None:
        return None
    usable = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not usable or not timeout > 0 or math.isinf(timeout):
        raise UsageError(
            f"{key} is a positive number of seconds, not {timeout!r}",
            path=path,
            hint="leave it out for no limit",
        )
    return float(timeout)
