"""TaskTracker: takes in the updates of many subtasks and tells one outcome.

A tracker consists of its course (state and counters: ``tracking.course``), its judgement (policy,
outcome: ``tracking.judgement``), its outbox (``tracking.delivery``), its tie to the event bus
(``tracking.tracker_events``) and its log. An update is read and decided on by pure functions
(``tracking.updates``) and committed by the course; ``tracking.update_intake`` does all three.

Threads and locks. Any thread may call any public method. ``_lock`` guards the state, the records,
the counters and the outbox. A thread holds the lock for a few operations per update and never
while foreign code runs: results are parsed before, callbacks and observers are called after. There
are few calls under the lock, because a thread that loses the interpreter there stops all others.

An update costs the same whatever the number of subtasks: counters are kept, and the policy is
asked once, at completion.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from logging import Logger
from types import MethodType
from typing import Any, Final

from taskgrove.commands.aggregation.base import AggregationOutcome, SubtaskResult
from taskgrove.commands.aggregation.policy import TaskAggregationPolicy
from taskgrove.commands.aggregation.rules import AggregationRule
from taskgrove.commands.tracking.course import (
    BEGIN,
    CLOSE,
    CLOSED,
    COMPLETE,
    DECIDED,
    RUNNING,
    Course,
)
from taskgrove.commands.tracking.delivery import Deliverer, Delivery, deliver, publish
from taskgrove.commands.tracking.judgement import Judgement, Payload
from taskgrove.commands.tracking.self_wait import waits_for_itself
from taskgrove.commands.tracking.task_callback import as_task_callback
from taskgrove.commands.tracking.tracker_events import TrackerEvents
from taskgrove.commands.tracking.tracker_log import TrackerLog
from taskgrove.commands.tracking.update_intake import UpdateIntake
from taskgrove.commands.tracking.updates import (
    UpdateContext,
    checked_progress,
    extract_context,
    write_context,
)
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import SelfWaitError
from taskgrove.events import (
    Cause,
    EventBus,
    LeftOut,
    Observer,
    SteeringRequest,
    Subscription,
    cause_of,
)
from taskgrove.foreign_code import is_interrupt

__all__ = ["TaskTracker", "as_task_callback"]

_LOGGER: Final = logging.getLogger(__name__)
_IN_PROGRESS: Final = TaskStatus.IN_PROGRESS
#: A wait for two events at once notices the second one after this time at most, in seconds.
_TWO_EVENTS_WAIT_S: Final = 0.025
#: The documented name of the value that ``_extract_context`` returns.
_UpdateContext = UpdateContext


class TaskTracker:
    """Track the subtasks of one task, and aggregate them into one outcome.

    Args:
        task_name: Logical name of the task.
        total_subtasks: How many subtasks must be final before the task is; 0 or less means
            that the task is complete from the start.
        completed_callback: Called with the completion payload as keyword arguments, and
            before it with progress payloads.
        logger: A logger; None takes the module's.
        operation: Handed to the policy.
        obs_mode: Handed to the policy.
        is_root: Whether messages begin with a summary line.
        progress_updates: Whether progress payloads are sent at all.
        rule: An explicit rule for the policy.
        pst_group: Whether this is a group of PST beams; None decides by the name.
        left_out: The steps that the composer left out of the task: part of its outcome.
        parent: The tracker that this one reports to, as a subtask of this task's name.
        finally_name: The name of the subtask that is the clean-up of the others, or None.

    Attributes:
        subtasks: The latest SubtaskResult of each subtask, by name.
        progress_updates: As given.
        beside: The tracker that the own tracker of a leaf stands beside: that of the parent.
        owner: Returns the node of a tree that the tracker was made for; or None.
    """

    #: Progress payloads are sent when the percentage, rounded down to this, changes.
    PROGRESS_STEP: int = 10

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
        finally_name: str | None = None,
    ) -> None:
        self.task_name = task_name
        self.progress_updates = progress_updates
        self.beside: TaskTracker | None = None
        self.owner: Callable[[], object] | None = None
        self._lock = threading.Lock()
        self._log = TrackerLog(task_name, _LOGGER if logger is None else logger)
        policy = TaskAggregationPolicy(
            task_name,
            operation,
            obs_mode,
            bool(is_root),
            rule=rule,
            pst_group=pst_group,
            left_out=left_out,
            finally_name=finally_name,
        )
        self._judgement = Judgement(policy, self._log)
        self.subtasks = self._judgement.subtasks
        self._delivery = Delivery(parent)
        self._released = threading.Event()
        self._when_closed: tuple[Callable[[], object], ...] = ()
        self._course = Course(
            task_name, total_subtasks, self.PROGRESS_STEP, self._judgement, self._delivery.outbox
        )
        self._intake = UpdateIntake(self._lock, self._course, self._judgement, self._log)
        if total_subtasks <= 0:
            self._judgement.aggregate()
            self._released.set()
        self.completed_callback = completed_callback

    # -- facts ----------------------------------------------------------------------------

    @property
    def total_subtasks(self) -> int:
        """How many subtasks must be final before the task is."""
        return self._course.total

    @property
    def completed_subtasks(self) -> int:
        """How many subtasks are in a final state."""
        return self._course.completed

    @property
    def logger(self) -> Logger:
        """The logger."""
        return self._log.logger

    @property
    def operation(self) -> str | None:
        """The operation that the policy knows."""
        return self._judgement.policy.operation

    @property
    def obs_mode(self) -> str | None:
        """The observation mode that the policy knows."""
        return self._judgement.policy.obs_mode

    @property
    def is_root(self) -> bool:
        """Whether messages begin with a summary line."""
        return self._judgement.policy.is_root

    @property
    def progress(self) -> int:
        """Percent done, 0..100: the mean over ``total_subtasks``, rounded down."""
        return self._course.percent

    @property
    def overall_status(self) -> TaskStatus:
        """The task's status; QUEUED or IN_PROGRESS until all subtasks are final."""
        return self.outcome().status

    @property
    def overall_result(self) -> ResultCode:
        """The task's result code; QUEUED or STARTED until all subtasks are final."""
        return self.outcome().result

    @property
    def overall_resultcode(self) -> tuple[ResultCode, str]:
        """The task's result code and message."""
        outcome = self.outcome()
        return outcome.result, outcome.message

    @property
    def overall_health(self) -> str | None:
        """``DEGRADED``, ``FAILED`` or None."""
        return self.outcome().health_state

    @property
    def is_complete(self) -> bool:
        """True once the outcome is decided; the completion callback may still be running."""
        return self._course.state >= DECIDED

    @property
    def is_released(self) -> bool:
        """True once the waiters of the task are released."""
        return self._released.is_set()

    @property
    def is_observed_here(self) -> bool:
        """True on a thread that an observer of this task holds just now."""
        return self._intake.events is not None and self._intake.events.bus.is_calling_here

    @property
    def above(self) -> Deliverer | None:
        """The tracker of the task above, or None."""
        return self._delivery.parent or self.beside

    @property
    def is_pst_group(self) -> bool:
        """Whether this is a group of PST beams: as told, else by its name."""
        return self._judgement.policy.is_pst_group

    def outcome_if(
        self, ends: Mapping[str, tuple[TaskStatus, Any, Mapping[str, Any]]]
    ) -> AggregationOutcome:
        """Return the outcome that the task would have if further subtasks ended so.

        Args:
            ends: The status, the result and further fields of each end, by the subtask's name.
        """
        subs = [copy.copy(record) for record in list(self.subtasks.values())]
        for record in subs:
            if record.name in ends:
                status, result, fields = ends[record.name]
                record.update(status=status, result=result)
                write_context(record, extract_context(dict(fields)))
        return self._judgement.policy.aggregate(subs)

    def get_status(self) -> TaskStatus:
        """Return the current aggregated status."""
        return self.overall_status

    def get_result(self) -> ResultCode:
        """Return the current aggregated result code."""
        return self.overall_result

    def progress_of(self, task_name: str) -> int:
        """Return the percentage that a subtask reported, 0 when it has not."""
        record = self.subtasks.get(task_name)
        return 0 if record is None else record.progress

    def outcome(self) -> AggregationOutcome:
        """Return the outcome; while the task runs, a preliminary one."""
        judgement = self._judgement
        if judgement.outcome is None and not self.is_complete:
            return judgement.preliminary(is_running=self._course.state is RUNNING)
        return judgement.decided()

    @property
    def errors(self) -> tuple[Any, ...]:
        """Errors (TANGO DevErrors) that came with updates, at most 100 of them."""
        with self._lock:
            return tuple(self._judgement.errors)

    def set_context(self, operation: str | None = None, obs_mode: str | None = None) -> None:
        """Update the policy's context; None leaves a value as it is.

        Args:
            operation: New operation.
            obs_mode: New observation mode.
        """
        with self._lock:
            self._judgement.change_context(operation, obs_mode)

    def become_root(self) -> None:
        """Make this the tracker of a root: its message then begins with a summary line."""
        with self._lock:
            if not self.is_complete:
                self._judgement.change_context(None, None, is_root=True)

    # -- observers, callbacks, waiters ------------------------------------------------------

    def bind(self, bus: EventBus, path: str | None = None) -> None:
        """Publish this tracker's changes on ``bus``, under ``path`` (None: the task's name)."""
        events = TrackerEvents(bus, path or self.task_name)
        parent = self._delivery.parent
        if parent is not None and self.total_subtasks > 0:
            # An empty task is complete from the start; only its parent can tell of its end.
            parent._intake.leave_to_itself(self.task_name)
        with self._lock:
            if self._intake.events is not None:
                if self._intake.events.bus.active or self._intake.events.before_run:
                    events.forward_to(self._intake.events.bus)  # observers that came before the run
                for record in self.subtasks.values():
                    record.facts = None
            self._intake.events = events
            self._arm_progress()

    def subscribe(self, observer: Observer) -> Subscription:
        """Have ``observer`` called with an event for each accepted change.

        The observer is called synchronously and must only enqueue.
        """
        with self._lock:
            if self._intake.events is None:
                bus = EventBus(self.task_name)
                self._intake.events = TrackerEvents(bus, self.task_name, before_run=True)
                self._arm_progress()
            bus = self._intake.events.bus
        return bus.subscribe(observer)

    @property
    def completed_callback(self) -> Callable[..., object] | None:
        """The function that is called on progress and completion, or None."""
        return self._delivery.given_callback

    @completed_callback.setter
    def completed_callback(self, callback: Callable[..., object] | None) -> None:
        tracker = _tracker_of(callback)
        self._delivery.set_callback(callback, None if tracker is self else tracker)
        self._arm_progress()

    def wait_for_task_completion(self, timeout_event: threading.Event | None = None) -> bool:
        """Block until the task is complete and its completion callback has returned.

        Args:
            timeout_event: When it is set first, waiting ends.

        Returns:
            True when the task completed, False when ``timeout_event`` was set first.

        Raises:
            SelfWaitError: The calling thread is in a callback of this tracker or of one below it,
                or in a step of its tree, and no ``timeout_event`` was given: the wait would never
                end.
        """
        if timeout_event is None:
            if not self.is_released and waits_for_itself(self):
                raise SelfWaitError(
                    f"a callback or step of task {self.task_name!r} waits for that task",
                    hint="return first, or give a timeout_event",
                )
            return self._released.wait()
        while not self._released.wait(_TWO_EVENTS_WAIT_S):
            if timeout_event.is_set():
                return self.is_released  # both may have come at once: the completion counts
        return True

    def signal_task_completion(self) -> None:
        """Release all waiting threads."""
        self._released.set()

    def when_closed(self, function: Callable[[], object]) -> None:
        """Call ``function`` once, after the completion callback and after waiters were released.

        The function is called at once when the task is already complete.
        """
        with self._lock:
            if self._course.state is not CLOSED:
                self._when_closed = (*self._when_closed, function)
                return
        function()

    def hold(self) -> None:
        """Deliver nothing before :meth:`release`: the tasks below are told first."""
        self._delivery.is_held = True

    def release(self) -> None:
        """Deliver the payloads that were held back."""
        self._delivery.is_held = False
        deliver(self)

    def tell_completion(self) -> None:
        """Publish the completion for observers that came after it; does nothing before it."""
        if self.is_complete:
            publish(self, self._judgement.payload_of_the_end(), complete=True)

    # -- updates --------------------------------------------------------------------------

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
        """Take in an update of one subtask; never raises.

        Only an interrupt of the main thread (Ctrl-C, ``SystemExit``) in a callback is raised, after
        everything is delivered.

        Args:
            task_name: The subtask.
            status: Its status; an equal integer or a foreign enum will do.
            progress: Its progress, percent done, 0..100; it never goes back.
            result: Its result in any form that ``parse_result`` takes; None keeps an earlier one.
            error: TANGO errors, kept for the completion payload.
            **kwargs: ``device_name``, ``devices``, ``failed_devices``, ``operation``,
                ``obs_mode``, ``source``, ``health_state``, ``severe``, ``skipped``,
                ``attempt``, ``cause``, ``result_value``, ``left_out``, ``begun``,
                ``accepted``, ``accepted_by``, ``request``; anything else is ignored.
        """
        try:
            record = self.subtasks.get(task_name)
            if (
                # The common case, plain progress of a running subtask, without a detour.
                progress.__class__ is int
                and record is not None
                and record.status is _IN_PROGRESS
                and (status is None or status is _IN_PROGRESS)
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
                due = self._intake.take_in_progress(record, progress)
            else:
                due = self._intake.take_in(task_name, status, progress, result, error, kwargs)
        except BaseException as exc:
            self._fail(exc)
            if is_interrupt(exc):
                deliver(self)
                raise
            due = True
        if due:
            deliver(self)

    _plain_update = update_task

    def expect(self, names: Iterable[str]) -> None:
        """Make the records of subtasks that are to come, in this order.

        Causes are then told in the order of composition, not in that of arrival: the same tree
        with the same ends always tells the same. From then on an update of any other name is told,
        and counts nowhere.
        """
        with self._lock:
            for name in names:
                self._course.record_of(name)
                self._course.names_known = True

    def adopt(self, record: SubtaskResult) -> None:
        """Take over the record that another tracker has of a subtask."""
        result = None if record.result_code is None else (record.result_code, record.message)
        self.update_task(
            task_name=record.name,
            status=record.status,
            progress=record.progress or None,
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
            accepted=record.accepted,
            accepted_by=record.accepted_by,
        )

    def _arm_progress(self) -> None:
        delivery = self._delivery
        receivers = delivery.callback is not None or delivery.parent is not None
        heard = (self.progress_updates and receivers) or self._intake.events is not None
        self._course.arm(heard=heard)

    def _close(self) -> tuple[Callable[[], object], ...]:
        """Close the tracker, release the waiters and return the hooks that are to be called."""
        with self._lock:
            self._course.moves(CLOSE)
            self._released.set()
            hooks, self._when_closed = self._when_closed, ()
            return hooks

    def conclude(
        self,
        status: TaskStatus,
        result: ResultCode,
        message: str,
        *,
        skipped: bool = False,
        health_state: str | None = None,
        cause: Cause | None = None,
        left_out: Iterable[LeftOut] = (),
        request: SteeringRequest | None = None,
    ) -> None:
        """End the task with a verdict from outside; does nothing when it is complete.

        The executor uses it for a composite that was never begun.

        Args:
            status: A final status.
            result: The result code.
            message: The cause.
            skipped: Whether the task is a casualty: not run because an earlier step failed.
            health_state: ``DEGRADED``, ``FAILED`` or None.
            cause: The same as data, or None.
            left_out: The task itself, where an operator left it out.
            request: The request of an operator that ends it so, or None.
        """
        all_left_out = (*left_out, *self._judgement.left_out)
        outcome = AggregationOutcome(status, result, message, health_state, left_out=all_left_out)
        with self._lock:
            self._course.conclude(outcome, cause, skipped=skipped, request=request)
        deliver(self)

    def fail(self, exc: BaseException) -> None:
        """End the task FAILED because of an error inside; does nothing when it is complete."""
        self._fail(exc)
        deliver(self)

    def _fail(self, exc: BaseException) -> None:
        """Turn an error inside into a FAILED outcome; the caller delivers."""
        failure, cause = self._judgement.failure(exc), cause_of(exc)
        with self._lock:
            self._course.conclude(failure, cause, skipped=False)
        self._log.error("an update could not be taken in", exc)

    # -- the documented helpers ---------------------------------------------------------------

    def _extract_context(self, kwargs: dict[str, Any]) -> UpdateContext:
        """Extract a normalized context from the keyword arguments of an update."""
        return extract_context(kwargs)

    def _upsert_subtask(
        self, task_name: str, status: TaskStatus | None, result: Any | None, ctx: UpdateContext
    ) -> None:
        """Insert a subtask, or update the one that is there (lock held)."""
        record = self._course.record_of(task_name)
        record.facts = None
        record.update(status=status, result=result, device_name=ctx.device_name)
        write_context(record, ctx)
        self._recompute_completion()
        self._recompute_progress()

    def _aggregate(self) -> None:
        """Aggregate the records with the policy; keep the outcome when the task is complete."""
        if self._is_done_locked():
            self._judgement.aggregate()
            self._course.moves(COMPLETE)
        elif any((sub.status or 0) > TaskStatus.QUEUED for sub in list(self.subtasks.values())):
            self._course.moves(BEGIN)

    def _recompute_completion(self) -> None:
        """Recompute the number of subtasks that are in a final state (lock held)."""
        self._course.recompute_completed()

    @property
    def _subtask_progress(self) -> dict[str, int]:
        """The percentage that each subtask reported, by name."""
        return {name: record.progress for name, record in list(self.subtasks.items())}

    def _record_subtask_progress(self, task_name: str, progress: int | None) -> None:
        """Record the progress of one subtask, clamped to 0..100, never back (lock held).

        Args:
            task_name: The subtask.
            progress: Percent done; None and garbage are ignored.
        """
        checked = checked_progress(progress)
        if checked is not None:
            record = self._course.record_of(task_name)
            record.progress = max(record.progress, checked)
            self._recompute_progress()

    def _recompute_progress(self) -> None:
        """Recompute the progress: 100 for a final subtask, else as reported (lock held)."""
        self._course.recompute_progress()

    def _is_done_locked(self) -> bool:
        """Return True when the task is complete (lock held)."""
        return self.is_complete or self._course.is_done

    def _build_progress_payload(self) -> Payload | None:
        """Return a progress payload when the quantized progress changed, else None (lock held)."""
        return self._course.progress_payload()

    def _build_completion_payload(self, ctx: UpdateContext) -> Payload:
        """Return the completion payload, as a parent's ``update_task`` takes it."""
        payload = self._judgement.completion_payload(self.outcome(), skipped=ctx.skipped)
        return payload if self.is_complete else {**payload, "progress": self.progress}

    def _chain_message(self) -> str:
        """Return the aggregated message."""
        return self.overall_resultcode[1]

    def _is_task_already_completed(self, task_name: str, device_name: str | None = None) -> bool:
        """Return True when a subtask is in a final state, so that a late update is ignored.

        Args:
            task_name: The subtask.
            device_name: Where the update came from; for the log.
        """
        record = self.subtasks.get(task_name)
        done = record is not None and record.status is not None and record.status.is_final
        if done:
            self._log.already_final(task_name, device_name)
        return done

    def _collect_devices_for_completion(self) -> tuple[list[str], list[str]]:
        """Return all devices involved and those that failed, sorted."""
        return self._judgement.devices(self.outcome())


def _tracker_of(callback: Callable[..., object] | None) -> TaskTracker | None:
    """Return the tracker whose ``update_task`` a callback is, or None."""
    # Asked of a method only: any other callable may answer, or raise, what it likes.
    if type(callback) is not MethodType:
        return None
    owner: Any = callback.__self__
    plain = issubclass(type(owner), TaskTracker) and callback.__func__ is type(owner)._plain_update
    return owner if plain else None
