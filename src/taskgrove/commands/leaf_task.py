"""LeafTask: one command of one device, one method, one analysis."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from logging import Logger
from typing import TYPE_CHECKING, Any

from taskgrove.commands.aggregation.default_rules import LeafRule
from taskgrove.commands.base_task import (
    BaseTask,
    CompletedCallback,
    HoldSetting,
    TaskExecutionType,
    checked_timeout,
    device_name_of,
)
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events.details import StepKind

if TYPE_CHECKING:
    from taskgrove.commands.arguments.step_results import KeptResult, PendingArgument


class LeafTask(BaseTask):
    """A leaf: one command of one device, one method, one analysis. Never a root.

    Args:
        name: Logical name.
        target: The object that it acts on: a device (its TANGO name, or an object that has one as
            ``name``), or the object whose method is called.
        command_name: The device's command, or the method's name.
        argin: Its argument; None means none.
        task_type: DEVICE, INTERNAL or ANALYSIS.
        skip_subtasks: Without meaning for a leaf; kept for the common signature.
        completed_callback: See :class:`BaseTask`.
        is_root: Must be False.
        logger: A logger for the tracker.
        timeout: Limit of each attempt, in seconds; None means no limit.
        retries: How often it may be tried again.
        abort_on_timeout: Whether an expired limit also sends the device's Abort, which
            stops everything on that device.
        settings: Further settings for its runner, such as the launcher of an analysis.
        retry_delay: The pause before each automatic further attempt, in seconds.
        retry_backoff: The factor by which each pause is longer than the one before, from 1.
        description: See :class:`BaseTask`; so are hold and hold_timeout.
        hold: See :class:`BaseTask`.
        hold_timeout: See :class:`BaseTask`.
        step: Of a device: ``command``, or what is done with the attribute whose name is in
            ``command_name``: ``write`` writes ``argin``; ``wait`` and ``expect`` have a condition
            there (:class:`~taskgrove.commands.attribute_condition.AttributeCondition`), as data.

    Raises:
        UsageError: A bad name, type, limit or number of retries, or ``is_root``.
    """

    __slots__ = (
        "abort_on_timeout",
        "argin",
        "command_name",
        "device_name",
        "function",
        "kept_result",
        "pending_argument",
        "retries",
        "retry_backoff",
        "retry_delay",
        "settings",
        "step",
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
        settings: Mapping[str, Any] | None = None,
        retry_delay: float = 0.0,
        retry_backoff: float = 1.0,
        description: str = "",
        hold: HoldSetting | None = None,
        hold_timeout: float | None = None,
        step: StepKind = "command",
    ) -> None:
        if is_root:
            raise UsageError(f"leaf {name!r} cannot be a root", hint="put it into a Task")
        super().__init__(
            name,
            task_type,
            skip_subtasks,
            completed_callback,
            False,
            logger,
            description=description,
            hold=hold,
            hold_timeout=hold_timeout,
        )
        if self.task_type.is_composite:
            raise UsageError(f"a leaf is not {self.task_type.name}", path=name)
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise UsageError(f"retries is a whole number from 0, not {retries!r}", path=name)
        self.target = target
        self.command_name = command_name
        self.argin = argin
        self.timeout = checked_timeout(timeout, name)
        self.retries = retries
        self.retry_delay = _at_least(retry_delay, 0.0, "retry_delay", name)
        self.retry_backoff = _at_least(retry_backoff, 1.0, "retry_backoff", name)
        self.abort_on_timeout = abort_on_timeout
        if step != "command" and self.task_type is not TaskExecutionType.DEVICE:
            raise UsageError(f"a {self.task_type.name} leaf is no {step!r} of a device", path=name)
        self.step: StepKind = step
        self.settings: Mapping[str, Any] = dict(settings or {})
        #: The device that updates are attributed to; None for a leaf that has no device.
        self.device_name: str | None = None
        if self.task_type is TaskExecutionType.DEVICE:
            self.device_name = device_name_of(target)
        #: The function of a leaf made by :meth:`from_callable`, else None.
        self.function: Callable[..., Any] | None = None
        #: The argument where it refers to results of earlier steps; ``argin`` is it once it starts.
        self.pending_argument: PendingArgument | None = None
        #: The result where a later step refers to it.
        self.kept_result: KeptResult | None = None

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
                ``task_abort_event`` when its signature names them.
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
        """Return the function that an internal leaf calls.

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
        parent = self._parent
        if self._tracker is None and (self.completed_callback is not None or parent is None):
            self._tracker = self.tracker  # made early: its callback takes every update
        if parent is not None:
            # Read directly where it can be: this is on the path of every update.
            tracker = parent._tracker or parent.tracker
            try:
                tracker.update_task(task_name=self._name, **fields)
            finally:  # an exit that a callback raised comes out of it
                self._report_own(fields)
        else:
            self._report_own(fields)

    def _report_own(self, fields: dict[str, Any]) -> None:
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
        otherwise pay for trackers that are not read; it then takes over what the
        parent's tracker already knows of the leaf.
        """
        if self._tracker is None:
            tracker = self._make_tracker()
            # Only then look at the record: an update in between reaches one or the other.
            if self._take_tracker(tracker) and self.parent is not None:
                record = self.parent.tracker.subtasks.get(self.name)
                if record is not None:
                    tracker.adopt(record)
        assert self._tracker is not None
        return self._tracker

    def _make_tracker(self) -> TaskTracker:
        # Not tied to the parent's tracker: report() updates both.
        tracker = self._new_tracker(1, rule=LeafRule())
        tracker.expect((self.name,))
        tracker.beside = self._tracker_above()
        return tracker


def _at_least(value: float, least: float, key: str, path: str) -> float:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not usable or not least <= value < math.inf:
        raise UsageError(f"{key} is a number from {least:g}, not {value!r}", path=path)
    return float(value)


def _name_of(fn: Callable[..., Any]) -> str:
    while isinstance(fn, functools.partial):
        fn = fn.func
    try:
        name = getattr(fn, "__name__", None) or type(fn).__name__
    except BaseException:  # noqa: BLE001 - the look-up is its own code
        name = type(fn).__name__
    return "lambda" if name == "<lambda>" else str(name)
