"""How a tracker delivers: callbacks in order and outside the lock, waiting, closing (S4.1).

Payloads go through an outbox. The updating thread delivers what is in it, unless another
thread is delivering, then that one does; so no progress is ever delivered after the
completion, and the completion once. A payload for a parent that is a tracker too is
taken in by it without recursion: trees may be hundreds deep.
"""

from __future__ import annotations

import inspect
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from logging import Logger
from threading import get_ident
from types import MethodType
from typing import Any, ClassVar, Final

from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.aggregation.rules import AggregationRule
from taskgrove.commands.tracking.records import Payload, TrackerRecords
from taskgrove.commands.tracking.self_wait import DELIVERING, waits_for_itself
from taskgrove.commands.tracking.tracker_events import TrackerEvents
from taskgrove.commands.tracking.update_context import NO_CONTEXT, UpdateContext
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import SelfWaitError
from taskgrove.events import Cause, LeftOut, cause_of, loggable
from taskgrove.foreign_code import LOGGING, is_interrupt

#: How long a wait for two events at once may miss the second one, in seconds (S4.7).
_TWO_EVENTS_WAIT_S: Final = 0.025
#: Stands in the outbox for the completion, whose payload is built when it is delivered.
_COMPLETION: Final[Payload] = {}
NEVER: Final = float("inf")
#: What a callback must take; more is handed to one that takes it.
_FOR_EVERYBODY: Final = frozenset(
    {
        "task_name", "status", "progress", "result",
        "devices", "failed_devices", "health_state", "error",
    }
)  # fmt: skip
#: Progress has these alone; the first one may also say that nothing has begun.
_PROGRESS_KEY_COUNT: Final = 4


class TrackerDelivery(TrackerRecords):
    """Outbox, callbacks and waiters of one tracker.

    ``_lock`` guards everything of the records and of the outbox.
    """

    def __init__(
        self,
        task_name: str,
        total_subtasks: int,
        logger: Logger,
        operation: str | None,
        obs_mode: str | None,
        is_root: bool,
        rule: AggregationRule | None,
        pst_group: bool | None,
        left_out: Iterable[LeftOut],
        *,
        progress_updates: bool,
        parent: TrackerDelivery | None,
    ) -> None:
        super().__init__(
            task_name,
            total_subtasks,
            logger,
            operation,
            obs_mode,
            is_root,
            rule,
            pst_group,
            left_out,
        )
        self.progress_updates = progress_updates
        self._lock = threading.Lock()
        self._event = threading.Event()
        #: Unlike the event, which anybody may set, it tells of the end alone.
        self._is_closed = False
        self._completion_context = NO_CONTEXT
        #: Why the task ended as it did, where no policy decided.
        self._verdict_cause: Cause | None = None
        self._outbox: deque[Payload] = deque()
        self._deliverer: int | None = None
        self._held = False
        self._on_closed: tuple[Callable[[], object], ...] = ()
        self._events: TrackerEvents | None = None
        self._given_parent = parent
        self._parent = parent
        self._given_callback: Callable[..., object] | None = None
        self._callback: Callable[..., object] | None = None
        self._next_step_sum: float = NEVER
        #: The tracker that a leaf's own one stands beside: that of the leaf's parent.
        self.beside: TrackerDelivery | None = None
        #: The node of a tree that it was made for.
        self.owner: Callable[[], object] | None = None

    @property
    def above(self) -> TrackerDelivery | None:
        """The tracker of the task above, or None."""
        return self._parent or self.beside

    #: ``TaskTracker.update_task``, to know a callback that is just that.
    _plain_update: ClassVar[Callable[..., None]]

    @abstractmethod
    def _take_in(
        self,
        task_name: str,
        status: Any,
        progress: Any,
        result: Any,
        error: Any,
        kwargs: dict[str, Any],
    ) -> bool:
        """Take in one update; return True when something is to be delivered."""

    @property
    def completed_callback(self) -> Callable[..., object] | None:
        """What is called on progress and completion."""
        return self._given_callback

    @completed_callback.setter
    def completed_callback(self, callback: Callable[..., object] | None) -> None:
        self._given_callback = callback
        self._parent = self._given_parent
        # Asked of a method only: any other callable may answer, or raise, what it likes.
        method: Any = callback if type(callback) is MethodType else None
        owner: Any = None if method is None else method.__self__
        if (
            issubclass(type(owner), TrackerDelivery)
            and owner is not self
            and self._given_parent in (None, owner)
            and method.__func__ is type(owner)._plain_update
        ):
            # Another tracker's update_task: a parent. Reported to without recursion.
            self._parent, callback = owner, None
        self._callback = callback
        self._arm_progress()

    def wait_for_task_completion(self, timeout_event: threading.Event | None = None) -> bool:
        """Block until the task is complete and its completion callback has returned.

        Args:
            timeout_event: When it is set first, waiting ends.

        Returns:
            True when the task completed, False when ``timeout_event`` was set first.

        Raises:
            SelfWaitError: The calling thread is in a callback of this tracker or of one below it,
                or in a step of its tree, and no ``timeout_event`` was given: it would wait for
                ever.
        """
        if timeout_event is None:
            if not self._event.is_set() and waits_for_itself(self):
                raise SelfWaitError(
                    f"a callback or step of task {self.task_name!r} waits for that task",
                    hint="return first, or give a timeout_event",
                )
            self._event.wait()
            return True
        while not self._event.wait(_TWO_EVENTS_WAIT_S):
            if timeout_event.is_set():
                # Both may have come at once: the completion is the better news.
                return self._event.is_set()
        return True

    @property
    def is_observed_here(self) -> bool:
        """True on a thread that an observer of this task holds just now."""
        return self._events is not None and self._events.bus.is_calling_here

    @property
    def is_released(self) -> bool:
        """True once nobody waits for the task any more."""
        return self._event.is_set()

    def signal_task_completion(self) -> None:
        """Release all waiting threads."""
        self._event.set()

    def when_closed(self, function: Callable[[], object]) -> None:
        """Call ``function`` once, after the completion callback and after waiters were released.

        It is called at once when the task is already complete.
        """
        with self._lock:
            if not self._is_closed:
                self._on_closed = (*self._on_closed, function)
                return
        function()

    # -- updates ----------------------------------------------------------------------

    def conclude(
        self,
        status: TaskStatus,
        result: ResultCode,
        message: str,
        *,
        skipped: bool = False,
        health_state: str | None = None,
        cause: Cause | None = None,
    ) -> None:
        """End the task with a verdict from outside; does nothing when it is complete.

        The executor uses it for a composite that was never begun.

        Args:
            status: A final status.
            result: The result code.
            message: The cause.
            skipped: Whether the task is a casualty (S3: not run because an earlier step failed).
            health_state: ``DEGRADED``, ``FAILED`` or None.
            cause: The same as data, or None.
        """
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            self._final_outcome = AggregationOutcome(
                status, result, message, health_state, left_out=self._all_left_out()
            )
            self._completion_context = UpdateContext(skipped=skipped)
            self._verdict_cause = cause
            self._post_completion()
        deliver(self)

    def hold(self) -> None:
        """Deliver nothing before :meth:`release`, so that what is below can be told first."""
        with self._lock:
            self._held = True

    def release(self) -> None:
        """Deliver what was held back."""
        with self._lock:
            self._held = False
        deliver(self)

    def tell_completion(self) -> None:
        """Publish the completion for observers that came after it; does nothing before it."""
        if self._is_over:
            self._publish(self._completion_payload_safely(), complete=True)

    def fail(self, exc: BaseException) -> None:
        """End the task FAILED because of an error inside; does nothing when it is complete."""
        self._fail(exc)
        deliver(self)

    def _post_progress(self, *, first: bool = False, begun: bool = True) -> bool:
        """Put a progress payload into the outbox (lock held); False: there is none.

        Args:
            first: Whether it is the first one.
            begun: Whether any work has begun; the first end may be a refusal.
        """
        payload: Payload | None
        if first:
            self._last_step = 0
            payload = self._progress_payload(0)
            if not begun:
                payload["begun"] = False
        else:
            payload = self._build_progress_payload()
        self._arm_progress()
        if payload is None:
            return False
        self._outbox.append(payload)
        return True

    def _post_completion(self) -> None:
        """Put the completion into the outbox (lock held)."""
        self._next_step_sum = NEVER
        self._outbox.append(_COMPLETION)

    def _arm_progress(self) -> None:
        """Compute the sum at which the next progress payload is due."""
        heard = self.progress_updates and (self._callback is not None or self._parent is not None)
        if self._is_over or not (heard or self._events is not None):
            self._next_step_sum = NEVER
            return
        step = 0 if self._last_step is None else self._last_step + self.PROGRESS_STEP
        # Percentages are rounded down before they are quantized; 100 is never announced.
        self._next_step_sum = step * self.total_subtasks if step < 100 else NEVER

    # -- completion -------------------------------------------------------------------

    def _fail(self, exc: BaseException) -> None:
        """Turn an error inside into a FAILED outcome (S4.6); the caller delivers."""
        failure = self._internal_failure(exc)
        with self._lock:
            if not self._is_over:
                self._is_over = True
                self._verdict_cause = cause_of(exc)
                self._final_outcome = failure
                self._post_completion()
        with LOGGING:
            self.logger.error(
                "task %s: an update could not be taken in", self.task_name, exc_info=loggable(exc)
            )

    def _completion_payload_safely(self) -> Payload:
        self.outcome()
        try:
            return self._build_completion_payload(self._completion_context)
        except BaseException as exc:
            self._final_outcome = outcome = self._internal_failure(exc)
            with LOGGING:
                self.logger.error(
                    "task %s: its payload could not be built",
                    self.task_name,
                    exc_info=loggable(exc),
                )
            return {
                "task_name": self.task_name,
                "status": outcome.status,
                "progress": 100,
                "result": (outcome.result, outcome.message),
                "health_state": outcome.health_state,
            }

    def _begin_delivery(self) -> bool:
        """Return True when the caller delivers from now on, until the outbox is empty.

        Only here a thread takes that on, never when it posts: an error in between would
        leave the outbox to a thread that went away.
        """
        with self._lock:
            if self._deliverer is not None or self._held or not self._outbox:
                return False
            self._deliverer = get_ident()
            return True

    def _next_delivery(self) -> tuple[Payload, bool] | None:
        """Return the next payload and whether it is the completion; None: nothing is left."""
        with self._lock:
            if self._held or not self._outbox:
                self._deliverer = None
                return None
            payload = self._outbox.popleft()
        if payload is not _COMPLETION:
            return payload, False
        return self._completion_payload_safely(), True

    def _publish(self, payload: Payload, *, complete: bool) -> None:
        """Tell the observers of one payload."""
        events = self._events
        if events is None or not events.bus.active:
            return
        try:
            if complete:
                events.task_finished(self.outcome(), payload, self._verdict_cause)
            else:
                events.task_progress(payload)
        except BaseException as exc:
            with LOGGING:
                self.logger.error(
                    "task %s: an event could not be made", self.task_name, exc_info=loggable(exc)
                )

    def _call_back(self, payload: Payload, *, complete: bool) -> None:
        callback = self._callback
        if callback is None or not (complete or self.progress_updates):
            return
        try:
            if complete or len(payload) > _PROGRESS_KEY_COUNT:
                payload = _taken_by(callback, payload)
            callback(**payload)
        except BaseException as exc:
            if is_interrupt(exc):
                raise
            with LOGGING:
                self.logger.error(
                    "task %s: its callback raised", self.task_name, exc_info=loggable(exc)
                )

    def _tell_parent(self, payload: Payload, *, complete: bool) -> TrackerDelivery | None:
        """Hand one payload up; return the parent when it has to deliver in turn."""
        parent = self._parent
        if parent is None or not (complete or self.progress_updates):
            return None
        try:
            rest = dict(payload)
            if complete and (causes := self.outcome().causes):
                rest["causes"] = causes
            due = parent._take_in(
                rest.pop("task_name"),
                rest.pop("status"),
                rest.pop("progress"),
                rest.pop("result"),
                rest.pop("error", None),
                rest,
            )
        except BaseException as exc:  # noqa: BLE001 - S4.6
            parent._fail(exc)
            due = True
        return parent if due and parent._begin_delivery() else None

    def _close(self) -> None:
        """Release the waiters, then call the hooks, exactly once each."""
        with self._lock:
            self._event.set()
            self._is_closed = True
            hooks, self._on_closed = self._on_closed, ()
        for hook in hooks:
            try:
                hook()
            except BaseException as exc:
                with LOGGING:
                    self.logger.error(
                        "task %s: a closing hook raised", self.task_name, exc_info=loggable(exc)
                    )


def _taken_by(callback: Callable[..., object], payload: Payload) -> Payload:
    """Return a payload without what only a task above needs, unless the callback takes it."""
    if payload.keys() <= _FOR_EVERYBODY:
        return payload
    more = payload.keys() - _FOR_EVERYBODY
    try:
        taken = inspect.signature(callback).parameters.values()
    except Exception:  # noqa: BLE001 - a callable may have none, or be asked in vain
        return payload
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
        return payload
    more -= {parameter.name for parameter in taken}
    return {key: value for key, value in payload.items() if key not in more}


def deliver(first: TrackerDelivery) -> None:
    """Deliver what the outboxes hold, from ``first`` upwards, without recursion.

    Does nothing when somebody is delivering for ``first`` already. An interrupt of the main
    thread (KeyboardInterrupt) in a callback is raised when all is delivered: what is left in the
    outbox may be other threads' news, and nobody else would come for it.
    """
    if not first._begin_delivery():
        return
    stack = [first]
    interrupt: BaseException | None = None
    before = DELIVERING.stacks
    DELIVERING.stacks = (*before, stack)
    try:
        while stack:
            tracker = stack[-1]
            delivery = tracker._next_delivery()
            if delivery is None:
                stack.pop()
                continue
            payload, complete = delivery
            if tracker._events is not None:
                tracker._publish(payload, complete=complete)
            try:
                tracker._call_back(payload, complete=complete)
            except BaseException as exc:  # noqa: BLE001 - raised below
                interrupt = interrupt or exc
            if tracker._parent is not None:
                parent = tracker._tell_parent(payload, complete=complete)
                if parent is not None:
                    stack.append(parent)
            if complete:
                tracker._close()
    except BaseException:
        # An interrupt outside of a callback: whoever updates next delivers the rest.
        for tracker in stack:
            tracker._deliverer = None
        raise
    finally:
        DELIVERING.stacks = before
    if interrupt is not None:
        raise interrupt
