"""One attempt at one leaf: what a runner sees of it, and its exactly one end.

Threads: every method may be called by any thread. The run's lock guards ``_over`` and
``_started``; it is released before anything is reported.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from msgspec.structs import replace

from taskgrove.commands.aggregation.base import AggregationOutcome, parse_result
from taskgrove.commands.aggregation.outside_results import outside_result
from taskgrove.commands.aggregation.plain_values import describe as describe_value
from taskgrove.commands.aggregation.told_cause import cause_of_result
from taskgrove.commands.execution.attempts import Attempt, told_of
from taskgrove.commands.execution.composite import Composite, Limit
from taskgrove.commands.execution.engine import Engine
from taskgrove.commands.execution.placing import placed
from taskgrove.commands.leaf_runner import LeafRunner, limits_of
from taskgrove.commands.task import LeafTask
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.commands.tracking.self_wait import AT_WORK
from taskgrove.control_model import (
    FINAL_STATUSES,
    IS_FINAL,
    PROBLEM_CODES,
    ResultCode,
    TaskStatus,
    as_task_status,
)
from taskgrove.errors import UsageError
from taskgrove.events import (
    AnalysisDetail,
    Cause,
    EventBus,
    NoteDetail,
    PageDetail,
    StartedDetail,
    cause_of,
    chain_of,
    exception_line,
    tango_errors_of,
)
from taskgrove.events.cause import NOTHING_RAN, AbortFate, CauseKind
from taskgrove.events.foreign_values import readable
from taskgrove.foreign_code import LOGGING
from taskgrove.loops.loop import TimerEntry
from taskgrove.loops.pool import Worker

_LOGGER = logging.getLogger(__name__)

#: Topics of the notes that tell how a request to abort was answered.
_ANSWERS: Final = ("abort-acknowledged", "abort-unheard")


def tell(function: Callable[..., object], *args: Any, **fields: Any) -> None:
    """Call what tells trackers, on a thread of the executor.

    An exit or an interrupt that a callback raises comes out of a tracker once everything was
    told. Here nobody waits for it, and what follows from the end must still be done.
    """
    try:
        function(*args, **fields)
    except BaseException:
        with LOGGING:
            _LOGGER.exception("a callback of a task raised what ends programs")


class LeafOwner(Protocol):
    """What an attempt needs of the run that it belongs to."""

    engine: Engine
    bus: EventBus
    lock: threading.Lock
    abort_reason: str | None

    def ended(self, leaf_run: LeafRun) -> None:
        """Go on after an attempt that has ended for good."""
        ...

    def remember(self, exc: BaseException) -> None:
        """Keep the first exception of the run."""
        ...

    def set_own_limit(self, leaf_run: LeafRun) -> None:
        """Begin the leaf's own limit, if it expires before the one from above."""
        ...

    def ask_attached(self, leaf_run: LeafRun) -> None:
        """Ask what was attached to while, or after, it was to be stopped."""
        ...

    def may_try_again(self, leaf_run: LeafRun) -> bool:
        """Return False when the run is being aborted, or its time is over."""
        ...

    def try_again(self, leaf_run: LeafRun, attempts: tuple[Attempt, ...]) -> None:
        """Launch the next attempt after those that were made."""
        ...


class LeafRun:
    """One attempt at one leaf (a ``LeafContext``)."""

    __slots__ = (
        "_abort_event",
        "_late_cause",
        "_over",
        "_silence",
        "_started",
        "_told_id",
        "_waiting",
        "abort_asked_at",
        "attempt",
        "began_ns",
        "composite",
        "earlier",
        "in_call",
        "leaf",
        "limit",
        "outside_id",
        "run",
        "runner",
        "started_at",
        "timer",
        "worker",
    )

    def __init__(
        self,
        run: LeafOwner,
        leaf: LeafTask,
        composite: Composite,
        runner: LeafRunner,
        attempt: int = 1,
        *,
        outside_id: str | None = None,
        began_ns: int | None = None,
    ) -> None:
        self.run = run
        self.leaf = leaf
        self.composite = composite
        self.runner = runner
        self.attempt = attempt
        #: Work that runs outside already: it is attached to, not started.
        self.outside_id = outside_id
        #: The attempts before this one, in order.
        self.earlier: tuple[Attempt, ...] = ()
        #: When that work began (UTC, nanoseconds): its limit is counted from there.
        self.began_ns = began_ns
        self.limit: Limit | None = composite.limit
        self.timer: TimerEntry | None = None
        self.worker: Worker | None = None
        self.in_call = False
        self.started_at: float | None = None
        self.abort_asked_at: float | None = None
        self._abort_event: threading.Event | None = None
        self._over = False
        self._started = False
        #: The id under which the work was told to run, and the silence of its target.
        self._told_id = outside_id
        self._silence: Cause | None = None
        #: Why the work ended after the end of the attempt was decided.
        self._late_cause: Cause | None = None
        #: Who waits for a sign that the work has stopped, and for which signs.
        self._waiting: tuple[frozenset[str], Callable[[str], object]] | None = None

    # -- what a runner reads --------------------------------------------------------------

    @property
    def path(self) -> str:
        """The path of the leaf in its tree."""
        return f"{self.composite.path}/{self.leaf.name}"

    @property
    def run_id(self) -> str:
        """The run that the leaf belongs to."""
        return self.run.bus.run_id

    @property
    def deadline(self) -> float | None:
        """When the limit expires (``time.monotonic()``, seconds), or None."""
        return None if self.limit is None else self.limit.at

    @property
    def abort_event(self) -> threading.Event:
        """Set when the leaf is asked to stop."""
        if self._abort_event is None:
            with self.run.lock:
                if self._abort_event is None:
                    event = threading.Event()
                    if self.abort_asked_at is not None:
                        event.set()
                    self._abort_event = event
        return self._abort_event

    @property
    def is_over(self) -> bool:
        """True once the attempt has ended."""
        return self._over

    @property
    def is_started(self) -> bool:
        """True once the runner was called."""
        return self._started

    # -- what a runner tells --------------------------------------------------------------

    def update(
        self,
        *,
        status: TaskStatus | int | None = None,
        progress: int | None = None,
        result: Any = None,
        **fields: Any,
    ) -> None:
        """Tell what is known of the leaf; a final status ends it."""
        known = None if status is None else as_task_status(status)
        if known is not None and IS_FINAL[known]:
            if progress is not None:
                fields["progress"] = progress
            self.finish(known, result, **fields)
        elif not self._over:
            if self.attempt > 1 and known in (TaskStatus.STAGING, TaskStatus.QUEUED):
                known = None  # the leaf has begun long ago; its record does not go back
            self._add_origin(fields)
            result = outside_result(result)
            tell(self.leaf.report, status=known, progress=progress, result=result, **fields)

    def finish(
        self,
        status: TaskStatus | int,
        result: Any = None,
        *,
        may_retry: bool = False,
        cause: Cause | None = None,
        exception: BaseException | None = None,
        **fields: Any,
    ) -> bool:
        """End the attempt; the first call counts."""
        with self.run.lock:
            first = not self._over
            self._over = True
        known = as_task_status(status)
        if known is None or not IS_FINAL[known]:
            known, told = TaskStatus.FAILED, describe_value(status)
            result = (ResultCode.FAILED, f"its runner ended it with {told}, which is no end")
            cause = Cause(kind="unreadable", said=told)
        given = result
        if type(result) is AggregationOutcome:  # of a tree of its own: its causes are ours
            given = result = (result.result, result.message)
        else:
            result = outside_result(result)
        if type(cause) is not Cause:
            cause = None  # it comes from a method's own call of its task_callback
        if not first:
            self._late_cause = cause = cause or cause_of_result(known, given)
            self._late(known, result, cause)
            self.sign("ended")
            return False
        if self.abort_asked_at is not None:
            took = time.monotonic() - self.abort_asked_at
            self.note(
                "abort-ended",
                f"ended {known.name} {took:.1f} s after it was asked to stop",
                after_s=f"{took:.3f}",
            )
        if not issubclass(type(exception), BaseException):
            exception = None  # so may this
        if exception is not None:
            fields.setdefault("error", tango_errors_of(exception))
            cause = cause or cause_of(exception)
        if known is not TaskStatus.COMPLETED or _is_problem(result):
            fields["cause"] = self._whole_cause(cause or cause_of_result(known, given))
        if may_retry and self.leaf.retries >= self.attempt and self._retry(known, result, fields):
            return True
        if exception is not None:
            self.run.remember(exception)
        tell(self._report_end, known, result, fields)
        self.run.ended(self)
        return True

    def _whole_cause(self, cause: Cause | None) -> Cause | None:
        """Return a cause with what is known here: the device, and why it was to stop."""
        if cause is None:
            return None
        asked = self.abort_asked_at is not None and cause.kind in ("aborted", "not_started")
        reason = self.run.abort_reason if asked else None
        if reason is not None:
            cause = replace(cause, said=reason)
        if cause.device is None and self.leaf.device_name is not None:
            cause = replace(cause, device=self.leaf.device_name)
        return placed(cause, self.leaf)

    def limit_cause(self, kind: CauseKind, abort: AbortFate | None = None) -> Cause:
        """Return the cause that the limit is, once it has expired."""
        limit, silence = self.limit, self._silence
        assert limit is not None
        # Work that was ended because of it has told what it had written until then.
        return replace(
            _output_of(self._late_cause),
            kind=kind,
            limit_s=limit.length_s,
            limit_owner=limit.owner,
            last_answer_ns=None if silence is None else silence.last_answer_ns,
            outside_id=self._told_id,
            device=self.leaf.device_name,
            abort=abort,
        )

    def started(self, outside_kind: str, outside_id: str) -> None:
        """Record the id under which the work runs outside."""
        self._told_id = outside_id
        bus = self.run.bus
        if bus.active:
            bus.emit(
                self.path,
                "started",
                attempt=self.attempt,
                message=f"{readable(outside_kind, 200)} {readable(outside_id, 1_000)}",
                devices=() if self.leaf.device_name is None else (self.leaf.device_name,),
                detail=StartedDetail(outside_kind=outside_kind, outside_id=outside_id),
            )

    def begin_limit(self) -> None:
        """Begin the leaf's own limit, where its runner made it wait."""
        if self.leaf.timeout is not None and not self._over:
            self.started_at = time.monotonic()
            self.run.set_own_limit(self)

    def note(self, topic: str, text: str, **data: str) -> None:
        """Publish a note about the leaf."""
        bus = self.run.bus
        if bus.active:
            bus.emit(
                self.path,
                "note",
                attempt=self.attempt,
                message=text,
                detail=NoteDetail(topic=topic, data=data),
            )
        if topic in _ANSWERS:
            self.sign(data.get("fate", topic))

    def tell(self, detail: AnalysisDetail | PageDetail | NoteDetail, text: str = "") -> None:
        """Publish a note that carries a typed fact."""
        if type(detail) is NoteDetail and detail.topic in ("silent", "answers"):
            self._silence = detail.cause
        bus = self.run.bus
        if bus.active:
            bus.emit(self.path, "note", attempt=self.attempt, message=text, detail=detail)

    def submit(self, function: Callable[[], object]) -> None:
        """Run ``function`` on a thread of the executor."""
        self.run.engine.control.submit(function)

    def trackers(self) -> Iterator[TaskTracker]:
        """Return the trackers of the leaf and of all above it that exist."""
        return self.leaf.known_trackers()

    # -- what the executor does with it -----------------------------------------------------

    def __call__(self) -> None:
        """Run the attempt; the executor's pool calls it on one of its threads."""
        with self.run.lock:
            if self._over:
                return
            self._started = True
            self.in_call = True
        self.worker = self.run.engine.pool.current_worker
        self.started_at = time.monotonic()
        at_work = AT_WORK.set(self)
        try:
            # What is attached to has begun long ago; what its runner queues begins later.
            if self.leaf.timeout is not None and (
                self.outside_id is not None or not limits_of(self.runner, self.leaf).queues
            ):
                self.run.set_own_limit(self)
            if self.outside_id is None:
                self.runner.start(self)
            else:
                self.note("reconciled", f"picked up again: {self.outside_id}")
                self.runner.attach(self, self.outside_id)
                if self.abort_asked_at is not None and not self._over:
                    self.run.ask_attached(self)
        except BaseException as exc:  # noqa: BLE001 - S7.6: whatever a runner does
            result = (ResultCode.FAILED, exception_line(exc))
            wrong = isinstance(exc, UsageError)  # the leaf is: its runner cannot take it
            cause = Cause(kind="misconfigured", chain=chain_of(exc)) if wrong else None
            self.finish(TaskStatus.FAILED, result, exception=exc, cause=cause)
        AT_WORK.reset(at_work)
        self.in_call = False
        if self._waiting is not None:
            self.sign("returned")

    def cut_off(
        self,
        status: TaskStatus,
        code: ResultCode,
        text: str,
        cause: Cause,
        *,
        if_not_started: bool = False,
    ) -> bool:
        """End the attempt from the executor's side, whatever its runner does; True: it did."""
        if not self.decide_end(if_not_started=if_not_started):
            return False
        self.tell_end(status, code, text, cause)
        return True

    def decide_end(self, *, if_not_started: bool = False) -> bool:
        """Take the attempt from its runner; True: this call did, and must see its end told."""
        with self.run.lock:
            if self._over or (if_not_started and self._started):
                return False
            self._over = True
            return True

    def tell_end(self, status: TaskStatus, code: ResultCode, text: str, cause: Cause) -> None:
        """Report the end that was decided; everything that belongs to it was told before."""
        tell(self._report_end, status, (code, text), {"cause": cause})

    def when_stopped(self, signs: frozenset[str], then: Callable[[str], object]) -> None:
        """Have ``then`` called once, with the first of these signs, on a control thread."""
        with self.run.lock:
            self._waiting = (signs, then)

    def sign(self, name: str) -> None:
        """Take a sign of the work: how an abort was answered, that its call returned, its end."""
        with self.run.lock:
            if self._waiting is None or name not in self._waiting[0]:
                return
            then, self._waiting = self._waiting[1], None
        self.run.engine.control.submit(lambda: then(name))

    def ask_to_stop(self, *, unless_over: bool = False) -> bool:
        """Set the abort event, now or when it is first asked for.

        Args:
            unless_over: Whether one that has ended, or was asked before, is left alone.

        Returns:
            False when it was left alone.
        """
        with self.run.lock:
            if unless_over and (self._over or self.abort_asked_at is not None):
                return False
            self.abort_asked_at = time.monotonic()
            event = self._abort_event
        if event is not None:
            event.set()
        return True

    def drop_timer(self) -> None:
        """Forget the limit's timer."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _add_origin(self, fields: dict[str, Any]) -> None:
        """Add the device and the attempt that an update is attributed to, never another name."""
        fields.pop("task_name", None)
        if self.leaf.device_name is not None:
            fields.setdefault("device_name", self.leaf.device_name)
        if self.attempt > 1:
            fields["attempt"] = self.attempt

    def _report_end(self, status: TaskStatus, result: Any, fields: dict[str, Any]) -> None:
        self.drop_timer()
        if self.earlier:
            last = self._ended_as(status, result, fields)
            told = told_of(self.earlier, last)
            if told is not last:  # the end is that of an earlier attempt, or of both
                self._tell_attempt("attempt", last)
            status, result, fields = told.status, told.result, dict(told.fields)
        self._add_origin(fields)
        self.leaf.report(status=status, result=result, **fields)

    def _ended_as(self, status: TaskStatus, result: Any, fields: dict[str, Any]) -> Attempt:
        cause = fields.get("cause")
        idle = (
            status is not TaskStatus.COMPLETED
            and isinstance(cause, Cause)
            and cause.kind in NOTHING_RAN
        )
        return Attempt(self.attempt, status, result, fields, self._started and not idle)

    def _retry(self, status: TaskStatus, result: Any, fields: dict[str, Any]) -> bool:
        """Start another attempt if this one failed and the run allows it."""
        if status is TaskStatus.ABORTED:
            return False
        parsed = parse_result(result)
        if status is TaskStatus.COMPLETED and parsed.code not in PROBLEM_CODES:
            return False
        if not self.run.may_try_again(self):
            return False
        ended = self._ended_as(status, result, fields)
        self._tell_attempt("retry", ended)
        self.run.try_again(self, (*self.earlier, ended))
        return True

    def _tell_attempt(self, topic: str, ended: Attempt) -> None:
        self.tell(
            NoteDetail(topic=topic, cause=ended.cause),
            f"attempt {ended.number} of {self.leaf.retries + 1} ended {ended.status.name}:"
            f" {ended.words}",
        )

    def _late(self, status: TaskStatus, result: Any, cause: Cause | None) -> None:
        if self.run.bus.active and status in FINAL_STATUSES:
            parsed = None if result is None else parse_result(result)
            text = f": {parsed.message}" if parsed is not None and parsed.message else ""
            self.tell(
                NoteDetail(topic="late", data={"status": status.name}, cause=cause),
                f"ended {status.name} after its end was decided{text}",
            )


def _output_of(cause: Cause | None) -> Cause:
    """Return what a cause says of a program and its output, of whatever kind."""
    if cause is None:
        return Cause(kind="timed_out")
    return Cause(
        kind="timed_out",
        output_file=cause.output_file,
        last_lines=cause.last_lines,
        program=cause.program,
        return_code=cause.return_code,
        signal=cause.signal,
    )


def _is_problem(result: Any) -> bool:
    """Return True for an understood result whose code is that of a problem."""
    return type(result) is tuple and len(result) == 2 and result[0] in PROBLEM_CODES
