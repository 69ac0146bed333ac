"""TaskTracker: takes in the updates of many subtasks and tells one outcome (seed 000, SPEC S4).

Threads and locks. Any thread may call any public method. ``_lock`` guards the
records, the counters and the outbox; it is held for a few operations per update and
never while foreign code runs: results are parsed before it is taken, callbacks and
observers are called after it was released. A call under the lock is avoided where it
can be, because a thread that loses the interpreter there makes all others queue up.

An update costs the same whatever the number of subtasks: counters are kept, and the
policy is asked once, at completion. Callbacks: see ``tracking.delivery``; records and
the helpers that recompute from them: see ``tracking.records``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from logging import Logger
from typing import Any, Final

from taskgrove.commands.aggregation.base import SubtaskResult, format_message, parse_result
from taskgrove.commands.aggregation.plain_values import describe, text_of
from taskgrove.commands.aggregation.rules import AggregationRule
from taskgrove.commands.tracking.delivery import NEVER, TrackerDelivery, deliver
from taskgrove.commands.tracking.task_callback import as_task_callback
from taskgrove.commands.tracking.tracker_events import SubtaskChange, TrackerEvents
from taskgrove.commands.tracking.update_context import NO_CONTEXT, UpdateContext, checked_progress
from taskgrove.control_model import IS_FINAL, LEGAL_MOVES, ResultCode, TaskStatus, as_task_status
from taskgrove.events import EventBus, LeftOut, Observer, Subscription, SubtaskFacts, loggable
from taskgrove.foreign_code import LOGGING, is_interrupt

__all__ = ["TaskTracker", "as_task_callback"]

_LOGGER: Final = logging.getLogger(__name__)
_IN_PROGRESS: Final = TaskStatus.IN_PROGRESS
#: What a subtask may have become although none of its work has begun: a refusal below it makes
#: a composite IN_PROGRESS too.
_MAY_BE_UNBEGUN: Final = (TaskStatus.IN_PROGRESS, TaskStatus.REJECTED)
#: Held while a tracker gets a bus: an observer and the run may come at once.
_BINDING: Final = threading.RLock()
#: The documented name of what ``_extract_context`` returns (seed 000).
_UpdateContext = UpdateContext


class TaskTracker(TrackerDelivery):
    """Track the subtasks of one task, and aggregate them into one outcome.

    Args:
        task_name: Logical name of the task.
        total_subtasks: How many subtasks must be final before the task is; 0 or less means
            that it is complete from the start (S4.5).
        completed_callback: Called with the completion payload as keyword arguments, and
            before it with progress payloads (S4.2).
        logger: A logger; None takes the module's.
        operation: Handed to the policy.
        obs_mode: Handed to the policy.
        is_root: Whether messages begin with a summary line.
        progress_updates: Whether progress payloads are sent at all.
        rule: An explicit rule for the policy (S3.9).
        pst_group: Whether this is a group of PST beams; None decides by the name.
        left_out: What the composer left out of the task: part of its outcome.
        parent: The tracker that this one reports to, as a subtask of this task's name.

    Attributes:
        subtasks: The latest SubtaskResult of each subtask, by name.
        total_subtasks: As given.
        completed_subtasks: How many subtasks are in a final state.
    """

    def __init__(
        self,
        task_name: str,
        total_subtasks: int,
        completed_callback: Callable[..., object] | None = None,
        logger: Logger | None = None,
        operation: str | None = None,
        obs_mode: str | None = None,
        is_root: bool | None = False,
        *,
        progress_updates: bool = True,
        rule: AggregationRule | None = None,
        pst_group: bool | None = None,
        left_out: Iterable[LeftOut] = (),
        parent: TaskTracker | None = None,
    ) -> None:
        super().__init__(
            task_name,
            total_subtasks,
            _LOGGER if logger is None else logger,
            operation,
            obs_mode,
            bool(is_root),
            rule,
            pst_group,
            left_out,
            progress_updates=progress_updates,
            parent=parent,
        )
        self.completed_callback = completed_callback
        if total_subtasks <= 0:  # S4.5
            self._is_over = True
            self._final_outcome = self._policy.aggregate([])
            self._event.set()
            self._is_closed = True

    @property
    def errors(self) -> tuple[Any, ...]:
        """Errors (TANGO DevErrors) that came with updates, at most 100 of them."""
        with self._lock:
            return tuple(self._errors)

    def set_context(self, operation: str | None = None, obs_mode: str | None = None) -> None:
        """Update the policy's context; None leaves a value as it is.

        Args:
            operation: New operation.
            obs_mode: New observation mode.
        """
        with self._lock:
            self._change_context(operation, obs_mode)

    def _change_context(self, operation: str | None, obs_mode: str | None) -> None:
        """Rebuild the policy when the context changes (lock held)."""
        changed = (operation is not None and operation != self.operation) or (
            obs_mode is not None and obs_mode != self.obs_mode
        )
        if not changed:
            return
        if operation is not None:
            self.operation = operation
        if obs_mode is not None:
            self.obs_mode = obs_mode
        self._policy = self._new_policy()

    def bind(self, bus: EventBus, path: str | None = None) -> None:
        """Publish this tracker's changes on ``bus``, under ``path`` (None: the task's name)."""
        with _BINDING:
            self._bind(bus, path)

    def _bind(self, bus: EventBus, path: str | None) -> None:
        events = TrackerEvents(bus, path or self.task_name)
        if (
            self._parent is not None
            and self._parent._events is not None
            and self.total_subtasks > 0
        ):
            # An empty task is complete from the start; only its parent can tell of its end.
            with self._parent._lock:
                self._parent._events.nested.add(self.task_name)
                self._parent._told[self.task_name] = None
        if self._events is not None and self._events.bus.active:
            events.forward_to(self._events.bus)  # observers that came before the run
        with self._lock:
            self._events = events
            self._told.clear()
            self._arm_progress()

    def subscribe(self, observer: Observer) -> Subscription:
        """Have ``observer`` called with an event for each accepted change (S4.9).

        It is called synchronously and must only enqueue.
        """
        with _BINDING:
            if self._events is None:
                self._bind(EventBus(self.task_name), None)
            assert self._events is not None
            return self._events.bus.subscribe(observer)

    def update_task(
        self,
        *,
        task_name: str,
        status: TaskStatus | None = None,
        progress: int | None = None,
        result: Any | None = None,
        error: tuple[Any, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take in an update of one subtask; never raises (S4.6).

        Only an interrupt of the main thread (Ctrl-C, ``SystemExit``) in a callback comes out, when
        all is delivered.

        Args:
            task_name: The subtask.
            status: Its status; an equal integer or a foreign enum will do.
            progress: Its progress, percent done, 0..100; it never goes back.
            result: Its result in any form of SPEC S2.1; None keeps an earlier one.
            error: TANGO errors, kept for the completion payload.
            **kwargs: ``device_name``, ``devices``, ``failed_devices``, ``operation``,
                ``obs_mode``, ``source``, ``health_state``, ``severe``, ``skipped``,
                ``attempt``, ``cause``, ``result_value``, ``left_out``, ``begun``;
                anything else is ignored.
        """
        try:
            record = self.subtasks.get(task_name)
            if (
                # The common case, a plain progress report, without a detour.
                progress.__class__ is int
                and record is not None
                and (status is None or status is record.status)
                and record.status is _IN_PROGRESS
                and result is None
                and error is None
                and (
                    not kwargs
                    or (
                        len(kwargs) == 1
                        and "device_name" in kwargs
                        and kwargs["device_name"] == record.device_name
                    )
                )
            ):
                if progress > 100:  # noqa: PLR1730 - `min` would be a call
                    progress = 100
                events = self._events
                if events is not None and events.bus.active:
                    due = self._take_in_progress(events, record, progress)
                else:
                    with self._lock:
                        earlier = self._subtask_progress[task_name]
                        if progress <= earlier or self._is_over or IS_FINAL[record.status]:
                            return
                        self._subtask_progress[task_name] = progress
                        self._progress_sum += progress - earlier
                        if self._progress_sum < self._next_step_sum:
                            return
                        due = self._post_progress()
            else:
                due = self._take_in(task_name, status, progress, result, error, kwargs)
        except BaseException as exc:
            self._fail(exc)
            if is_interrupt(exc):
                deliver(self)
                raise
            due = True
        if due:
            deliver(self)

    _plain_update = update_task

    def _take_in_progress(
        self, events: TrackerEvents, record: SubtaskResult, progress: int
    ) -> bool:
        """Take in plain progress of a running subtask and tell the observers."""
        name = record.name
        due = False
        bus, sequence = events.bus, 0
        with self._lock:
            # Subscripts, and no call but that for the number: see the module.
            earlier = self._subtask_progress[name]
            facts = self._told[name]
            if facts is None:
                facts = self._begin_to_tell(record)
            if (
                progress > earlier
                and facts is not None
                and record.status is _IN_PROGRESS
                and not self._is_over
                and events is self._events
            ):
                self._subtask_progress[name] = progress
                self._progress_sum += progress - earlier
                if self._progress_sum >= self._next_step_sum:
                    due = self._post_progress()
                sequence = next(bus.numbers)
        if not sequence or facts is None:
            return self._take_in(name, None, progress, None, None, {})
        try:
            bus.publish_progress(facts, sequence, progress)
        except BaseException as exc:  # noqa: BLE001 - logged
            self._log_untold(exc)
        return due

    def _begin_to_tell(self, record: SubtaskResult) -> SubtaskFacts | None:
        """Make what progress of a subtask tells until it changes (lock held); None: it does not."""
        name, events = record.name, self._events
        if events is None or name.__class__ is not str or name in events.nested:
            return None
        facts = self._told[name] = events.facts_of(record)
        return facts

    def become_root(self) -> None:
        """Make this the tracker of a root: its message then begins with a summary line."""
        with self._lock:
            if not self.is_root and not self._is_over:
                self.is_root = True
                self._policy = self._new_policy()

    def expect(self, names: Iterable[str]) -> None:
        """Make the records of subtasks that are to come, in this order.

        Causes are then told in the order of composition, not in that of arrival, so that
        the same tree with the same ends always tells the same. From then on an update of any
        other name is told, and counts nowhere.
        """
        with self._lock:
            for name in names:
                if name not in self.subtasks:
                    self._upsert_subtask(name, None, None, NO_CONTEXT)
                self._names_known = True

    def adopt(self, record: SubtaskResult, progress: int = 0) -> None:
        """Take over what another tracker knows of a subtask.

        Args:
            record: The other tracker's record.
            progress: The percentage reported so far.
        """
        result = None if record.result_code is None else (record.result_code, record.message)
        self.update_task(
            task_name=record.name,
            status=record.status,
            progress=progress or None,
            result=result,
            device_name=record.device_name,
            devices=record.devices or None,
            failed_devices=record.failed_devices or None,
            health_state=record.health_state,
            severe=record.severe,
            skipped=record.skipped,
            left_out=record.left_out,
            begun=record.begun,
            causes=record.causes,
        )

    def _take_in(  # noqa: PLR0912, PLR0915 - one critical section, kept free of calls
        self,
        task_name: str,
        status: Any,
        progress: Any,
        result: Any,
        error: Any,
        kwargs: dict[str, Any],
    ) -> bool:
        """Take in one update; return True when something is to be delivered."""
        if status is not None and status.__class__ is not TaskStatus:
            status = self._checked_status(task_name, status)
        if progress is not None:
            progress = checked_progress(progress)
        ctx = NO_CONTEXT
        device = kwargs.get("device_name") if kwargs else None
        if len(kwargs) > 1 or (kwargs and type(device) is not str):
            ctx = self._extract_context(kwargs)
            device = ctx.device_name
        if not device:
            device = None
        record = self.subtasks.get(task_name)
        if record is None and self._names_known:
            self._tell_unknown(text_of(task_name), kwargs.get("source"))
            return False
        code: ResultCode | None = None
        message = ""
        if result is not None:
            parsed = parse_result(result)
            code, message = parsed.code, parsed.message
            origin = device
            if origin is None and record is not None:
                origin = record.device_name
            if code is not None and origin is not None:
                message = format_message(origin, message)
        events = self._events
        observed = events is not None and events.bus.active and task_name not in events.nested
        change: SubtaskChange | None = None
        late = refused = False
        earlier: TaskStatus | None = None
        due = False

        with self._lock:
            if record is None:
                if task_name not in self.subtasks:
                    self._upsert_subtask(task_name, None, None, NO_CONTEXT)
                record = self.subtasks[task_name]
            earlier = record.status
            if self._is_over or (earlier is not None and IS_FINAL[earlier]):
                late = True
                if not self._is_over and self._is_done_locked():
                    # A helper has counted the last end; nobody has been told yet.
                    self._is_over = True
                    self._post_completion()
                    due = True
            elif status is not None and (earlier, status) not in LEGAL_MOVES:
                refused = True
            else:
                if events is not None and task_name in self._told:
                    self._told[task_name] = None
                if status is None and progress and (earlier is None or earlier < _IN_PROGRESS):
                    status = _IN_PROGRESS  # who makes progress has begun
                if device is not None:
                    if code is None and record.device_name is None and record.message:
                        record.message = format_message(device, record.message)
                    record.device_name = device
                if ctx is not NO_CONTEXT:
                    if ctx.devices is not None:
                        record.devices = ctx.devices
                    if ctx.failed_devices is not None:
                        record.failed_devices = ctx.failed_devices
                    if ctx.operation is not None or ctx.obs_mode is not None:
                        self._change_context(ctx.operation, ctx.obs_mode)
                        record.operation = ctx.operation or record.operation
                        record.obs_mode = ctx.obs_mode or record.obs_mode
                    if ctx.health_state is not None:
                        record.health_state = ctx.health_state
                    if ctx.severe:
                        record.severe = True
                    if ctx.skipped:
                        record.skipped = True
                    if ctx.left_out:
                        record.left_out = ctx.left_out
                    if ctx.begun is not None:
                        record.begun = ctx.begun
                    if ctx.causes:
                        record.causes = ctx.causes
                if code is not None:
                    record.result_code = code
                    record.message = message
                if error is not None:
                    self._keep_errors(error)
                done = self._subtask_progress[task_name]
                if progress is not None and progress > done:
                    self._subtask_progress[task_name] = progress
                    self._progress_sum += progress - done
                    done = progress
                if status is not None and status is not earlier:
                    record.status = status
                    if status is _IN_PROGRESS and ctx.begun is None:
                        record.begun = True
                    if IS_FINAL[status]:
                        if record.result_code is None and status is TaskStatus.COMPLETED:
                            record.result_code = ResultCode.OK  # S2.2
                        self._progress_sum += 100 - done
                        self.completed_subtasks += 1
                        if self.completed_subtasks >= self.total_subtasks:
                            self._is_over = True
                            self._completion_context = (
                                ctx if ctx is not NO_CONTEXT else UpdateContext(device)
                            )
                            self._post_completion()
                            due = True
                    if not self._started and status > TaskStatus.QUEUED:
                        self._started = True
                        if self._next_step_sum is not NEVER:
                            has_begun = record.begun or status not in _MAY_BE_UNBEGUN
                            due = self._post_progress(first=True, begun=has_begun)
                if self._started and self._progress_sum >= self._next_step_sum:
                    due = self._post_progress() or due
                if observed:
                    assert events is not None
                    change = SubtaskChange(
                        events.bus.next_sequence(),
                        earlier,
                        done,
                        ctx.attempt,
                        error,
                        ctx.cause,
                        ctx.result_value,
                        record.name,
                        record.status,
                        record.result_code,
                        record.message,
                        record.device_name,
                        record.devices,
                        record.failed_devices,
                        record.health_state,
                        record.severe,
                        record.skipped,
                        record.left_out,
                        record.begun,
                    )

        try:
            if late or refused:
                self._tell_ignored(record, status, code, message, ctx, late=late)
            elif change is not None:
                assert events is not None
                events.subtask(change)
            if ctx is not NO_CONTEXT and ctx.source and not (late or refused):
                self._log_update(record, "an update of %s", status, message, ctx)
        except BaseException as exc:  # noqa: BLE001 - logged
            self._log_untold(exc)
        return due

    def _tell_unknown(self, name: str, source: Any) -> None:
        """Note an update of something that is no subtask, and log it."""
        text = f"an update of {name!r}, which is no subtask of {self.task_name}, is ignored"
        if self._events is not None and self._events.bus.active:
            self._events.unknown(name, text)
        with LOGGING:
            origin = f" (from {source})" if source else ""
            self.logger.warning("task %s: %s%s", self.task_name, text, origin)

    def _log_untold(self, exc: BaseException) -> None:
        # The update itself is taken in, and what follows from it must be delivered.
        with LOGGING:
            self.logger.error(
                "task %s: an update could not be told", self.task_name, exc_info=loggable(exc)
            )

    def _checked_status(self, task_name: str, status: Any) -> TaskStatus | None:
        checked = as_task_status(status)
        if checked is None:
            with LOGGING:
                self.logger.warning(
                    "task %s: %s reported a status that is none: %s",
                    self.task_name,
                    text_of(task_name),
                    describe(status),
                )
        return checked

    def _tell_ignored(
        self,
        record: SubtaskResult,
        status: TaskStatus | None,
        code: ResultCode | None,
        message: str,
        ctx: UpdateContext,
        *,
        late: bool,
    ) -> None:
        """Note an update that changed nothing where it says something new, and log it."""
        news = (status is not None and status is not record.status) or (
            code is not None and code is not record.result_code
        )
        if self._events is not None and news and not ctx.skipped:
            self._events.ignored(record, status, code, message, late=late)
        self._log_update(
            record,
            "a late update of %s ignored" if late else "an illegal update of %s ignored",
            status,
            message,
            ctx,
        )

    def _log_update(
        self,
        record: SubtaskResult,
        words: str,
        status: TaskStatus | None,
        message: str,
        ctx: UpdateContext,
    ) -> None:
        with LOGGING:
            if self.logger.isEnabledFor(logging.DEBUG):
                self.logger.debug(
                    f"task %s: {words}: it is %s, the update says %s %s%s",
                    self.task_name,
                    record.name,
                    record.status.name if record.status is not None else "not begun",
                    status.name if status is not None else "nothing of its status",
                    message,
                    f" (from {ctx.source})" if ctx.source else "",
                )
