"""One attempt at one leaf: the context that its runner works with, and its exactly one end.

Threads: every method may be called by any thread. The lock of the run guards the state
(``leaf_machine.py``); it is released before anything is reported.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from taskgrove.commands.aggregation.outside_results import cause_of_result, outside_result
from taskgrove.commands.arguments.template import UnresolvedError
from taskgrove.commands.execution.attempts import (
    Attempt,
    is_problem,
    late_note,
    proves_end,
    read_end,
    told_of,
)
from taskgrove.commands.execution.composite import Composite
from taskgrove.commands.execution.engine import Engine
from taskgrove.commands.execution.leaf_machine import (
    ABORTING_IN_CALL,
    ADOPT,
    CALL,
    CUT_OFF,
    ENDED,
    EXPIRED_IN_CALL,
    FINISH,
    RETURN,
    LeafMachine,
)
from taskgrove.commands.execution.placing import whole_cause
from taskgrove.commands.leaf_runner import LeafRunner, limits_of
from taskgrove.commands.prior import PriorWork
from taskgrove.commands.task import LeafTask
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.commands.tracking.self_wait import AT_WORK
from taskgrove.control_model import IS_FINAL, ResultCode, TaskStatus, as_task_status
from taskgrove.errors import UsageError
from taskgrove.events import (
    AnalysisDetail,
    Cause,
    EventBus,
    NoteDetail,
    PageDetail,
    StartedDetail,
    SteeringRequest,
    cause_of,
    chain_of,
    exception_line,
    tango_errors_of,
)
from taskgrove.events.foreign_values import readable
from taskgrove.foreign_code import log_exit
from taskgrove.loops.loop import TimerEntry
from taskgrove.loops.pool import Worker

#: Topics of the notes that tell how a request to abort was answered.
_ANSWERS: Final = ("abort-acknowledged", "abort-unheard")


class LeafOwner(Protocol):
    """The run that an attempt belongs to (``run.py`` and ``schedule.py`` describe each part)."""

    engine: Engine
    bus: EventBus
    lock: threading.Lock
    abort_reason: str | None
    ended: Callable[[LeafRun], None]
    take_failure: Callable[[LeafRun, Attempt, BaseException | None], bool]
    ended_late: Callable[[LeafRun], None]
    begin_own_limit: Callable[[LeafRun], None]
    call_abort: Callable[[LeafRun], None]

    def abandon(self, leaf_run: LeafRun) -> None: ...  # noqa: D102
    def pause(self, request: SteeringRequest | None, before: str = "") -> bool: ...  # noqa: D102
    def remember(self, exc: BaseException) -> None: ...  # noqa: D102
    def stop_reason(self, composite: Composite) -> str | None: ...  # noqa: D102


class LeafRun(LeafMachine):
    """One attempt at one leaf (a ``LeafContext``).

    Attributes:
        outside_id: Work that runs outside already: it is attached to, not started.
        began_ns: When that work began (UTC, nanoseconds): its limit is counted from there.
        earlier: The attempts before this one, in order.
        limit: The limit that expires first: the leaf's own, or one from above.
        told_id: The id under which its work is known outside.
        silence: Since when its target does not answer.
        late_cause: Why its work ended after the end of the attempt was decided.
        before_round: How many attempts there were before the last one that an operator asked for.
        may_retry: Whether its failure may be followed by an automatic further attempt.
        may_go_on: Whether its work may go on outside, although the attempt has ended.
    """

    __slots__ = (
        "attempt", "before_round", "began_ns", "composite", "earlier", "late_cause", "leaf",
        "limit", "may_go_on", "may_retry", "outside_id", "run", "runner", "silence", "timer",
        "told_id", "worker",
    )  # fmt: skip

    def __init__(
        self,
        run: LeafOwner,
        leaf: LeafTask,
        composite: Composite,
        runner: LeafRunner,
        *,
        earlier: tuple[Attempt, ...] = (),
        work: PriorWork | None = None,
        before_round: int = 0,
    ) -> None:
        super().__init__(run.lock)
        self.run = run
        self.leaf = leaf
        self.composite = composite
        self.runner = runner
        self.attempt = earlier[-1].number + 1 if earlier else 1
        self.earlier = earlier
        self.outside_id: str | None = None
        self.began_ns: int | None = None
        # Not by the property: most leaves have no limit.
        self.limit = None if composite.clock is None else composite.clock.first()
        self.timer: TimerEntry | None = None
        self.worker: Worker | None = None
        self.told_id: str | None = None
        self.silence: Cause | None = None
        self.late_cause: Cause | None = None
        self.before_round = before_round
        self.may_retry = False
        self.may_go_on = True
        if work is not None:
            self.attempt, self.began_ns = work.attempt, work.began_ns
            self.outside_id = self.told_id = work.outside_id or None
            if self.outside_id is not None:
                self.move(ADOPT)

    def __str__(self) -> str:
        return f"{self.path}, attempt {self.attempt}"

    # -- read by its runner ---------------------------------------------------------------

    @property
    def path(self) -> str:
        """The path of the leaf in its tree."""
        return f"{self.composite.path}/{self.leaf.name}"

    @property
    def run_id(self) -> str:
        """The run that the leaf belongs to."""
        return self.run.bus.run_id

    @property
    def stop_reason(self) -> str | None:
        """Why the run has it stopped, or None."""
        return self.run.stop_reason(self.composite)

    @property
    def last_attempt(self) -> int:
        """The number of the last attempt that comes by itself."""
        return self.before_round + self.leaf.retries + 1

    @property
    def deadline(self) -> float | None:
        """When the limit expires (``time.monotonic()``, seconds), or None."""
        return None if self.limit is None else self.limit.at

    # -- reported by its runner -----------------------------------------------------------

    def update(
        self,
        *,
        status: TaskStatus | int | None = None,
        progress: int | None = None,
        result: Any = None,
        **fields: Any,
    ) -> None:
        """Report a status, progress or a result of the leaf; a final status ends it."""
        if progress is not None:
            fields["progress"] = progress
        known = as_task_status(status)
        if known is not None and IS_FINAL[known]:
            self.finish(known, result, **fields)
        elif not self.is_over:
            if self.attempt > 1 and known in (TaskStatus.STAGING, TaskStatus.QUEUED):
                known = None  # the leaf has begun long ago; its record does not go back
            self._report(known, outside_result(result), fields)

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
        before = self.move(FINISH)
        known, result, cause, given = read_end(status, result, cause)
        if before is None or before >= EXPIRED_IN_CALL:
            cause = cause or cause_of_result(known, given)
            self._end_late(known, result, cause, may_retry=may_retry)
            return False
        if self.stop_asked_at is not None:
            took_s = time.monotonic() - self.stop_asked_at
            text = f"ended {known.name} {took_s:.1f} s after it was asked to stop"
            self.note("abort-ended", text, after_s=f"{took_s:.3f}")
        if not issubclass(type(exception), BaseException):
            exception = None  # of a method's own call, too
        if exception is not None:
            fields.setdefault("error", tango_errors_of(exception))
            cause = cause or cause_of(exception)
        if known is not TaskStatus.COMPLETED or is_problem(result):
            reason = self.stop_reason if self.stop_asked_at is not None else None
            cause = cause or cause_of_result(known, given)
            cause = None if cause is None else whole_cause(cause, self.leaf, reason)
            fields["cause"] = cause
            self.may_retry = may_retry
            self.may_go_on = not proves_end(cause, may_retry=may_retry)
            ended = Attempt(self.attempt, known, result, fields)
            if self.run.take_failure(self, ended, exception):
                return True
        elif (kept := self.leaf.kept_result) is not None:
            fields["result_value"] = kept.take(given, fields.get("result_value"))
        if exception is not None:
            self.run.remember(exception)
        self._report_end(known, result, fields)
        self.run.ended(self)
        return True

    def started(self, outside_kind: str, outside_id: str) -> None:
        """Record the id under which the work runs outside."""
        self.told_id = outside_id
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
        if self.leaf.timeout is not None and not self.is_over:
            self.run.begin_own_limit(self)

    def note(self, topic: str, text: str, **data: str) -> None:
        """Publish a note about the leaf."""
        self.tell(NoteDetail(topic=topic, data=data), text)
        if topic in _ANSWERS:
            self.sign(data.get("fate", topic))

    def tell(self, detail: AnalysisDetail | PageDetail | NoteDetail, text: str = "") -> None:
        """Publish a note that carries a typed fact."""
        if type(detail) is NoteDetail and detail.topic in ("silent", "answers"):
            self.silence = detail.cause
        bus = self.run.bus
        if bus.active:
            bus.emit(self.path, "note", attempt=self.attempt, message=text, detail=detail)

    def submit(self, function: Callable[[], object]) -> None:
        """Run ``function`` on a thread of the executor."""
        self.run.engine.control.submit(function)

    def trackers(self) -> Iterator[TaskTracker]:
        """Return the trackers of the leaf and of all above it that exist."""
        return self.leaf.known_trackers()

    # -- called by the executor -------------------------------------------------------------

    def __call__(self) -> None:
        """Run the attempt; the executor's pool calls it on one of its threads."""
        run = self.run
        if run.abort_reason is not None and self.outside_id is None and self.stop_reason:
            return  # the abort, which reaches every attempt, ends it: nothing begins meanwhile
        if self.move(CALL) is None:
            return
        self.worker = self.run.engine.pool.current_worker
        at_work = AT_WORK.set(self)
        try:
            # Work that is attached to has begun long ago; work that its runner queues begins later.
            if self.outside_id is not None or (
                self.leaf.timeout is not None and not limits_of(self.runner, self.leaf).queues
            ):
                self.run.begin_own_limit(self)
            if self.outside_id is None:
                if self.leaf.pending_argument is None or self._takes_argument():
                    self.runner.start(self)
            else:
                self.note("reconciled", f"picked up again: {self.outside_id}")
                self.runner.attach(self, self.outside_id)
        except BaseException as exc:  # noqa: BLE001 - whatever a runner does, the leaf has an end
            result = (ResultCode.FAILED, exception_line(exc))
            wrong = isinstance(exc, UsageError)  # the leaf is: its runner cannot take it
            cause = Cause(kind="misconfigured", chain=chain_of(exc)) if wrong else None
            self.finish(TaskStatus.FAILED, result, exception=exc, cause=cause)
        if self.state is not ENDED:
            before = self.move(RETURN)
            if before is ABORTING_IN_CALL and self.outside_id is not None:
                self.run.call_abort(self)  # its runner may not have known it the first time
            elif before is EXPIRED_IN_CALL:
                self.sign("returned")
        AT_WORK.reset(at_work)

    def _takes_argument(self) -> bool:
        """Give the leaf its argument, from results of earlier steps; False: it has none, and ended.

        Nothing else reads or writes the argument now: one attempt of a leaf is at work at a time.
        """
        pending = self.leaf.pending_argument
        assert pending is not None
        try:
            self.leaf.argin = pending.resolve()
        except UnresolvedError as exc:
            cause = Cause(
                kind="unresolved", said=str(exc), nearest=exc.nearest, because_of=exc.because_of
            )
            result = (ResultCode.REJECTED, str(exc))
            self.finish(TaskStatus.REJECTED, result, cause=cause, begun=False)
            return False
        bus = self.run.bus
        if bus.active:
            data = {"argin": json.dumps(self.leaf.argin, ensure_ascii=False)}
            # The words do not repeat it: an argument may be large, and stands in the data.
            self.tell(NoteDetail("argument", data), "the references of its argument have values")
        return True

    def cut_off(self, status: TaskStatus, code: ResultCode, text: str, cause: Cause) -> None:
        """End an attempt that is not launched: the run goes on by itself."""
        self.move(CUT_OFF)
        self._report_end(status, (code, text), {"cause": cause})

    def end(self, status: TaskStatus, code: ResultCode, text: str, cause: Cause) -> None:
        """Report an end that the executor decided, after everything that belongs to it."""
        ended = Attempt(self.attempt, status, (code, text), {"cause": cause})
        if status is not TaskStatus.FAILED or not self.run.take_failure(self, ended, None):
            self._report_end(*ended[1:])
            self.run.ended(self)

    def stand(self, attempts: tuple[Attempt, ...], request: SteeringRequest | None = None) -> None:
        """Report the failure of a leaf on which a decision was open.

        Args:
            attempts: How its attempts ended, in order.
            request: The request of an operator that decided it, or None.
        """
        self.attempt, self.earlier = attempts[-1].number, attempts[:-1]
        self._report_end(*attempts[-1][1:], request)
        self.run.ended(self)

    def decided(
        self,
        attempts: tuple[Attempt, ...],
        status: TaskStatus,
        result: tuple[ResultCode, str],
        fields: dict[str, Any],
    ) -> None:
        """Report another end than its failure for a leaf on which a decision was open."""
        self.attempt = attempts[-1].number
        self._mark_begun(attempts)
        self._report(status, result, fields)
        self.run.ended(self)

    def drop_timer(self) -> None:
        """Forget the limit's timer."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _report(self, status: TaskStatus | None, result: Any, fields: dict[str, Any]) -> None:
        """Report to the trackers, with the device and the attempt, never under another name."""
        fields.pop("task_name", None)
        if self.leaf.device_name is not None:
            fields.setdefault("device_name", self.leaf.device_name)
        if self.attempt > 1:
            fields["attempt"] = self.attempt
        try:  # in place, not by guarded(): this is on the path of every update
            self.leaf.report(status=status, result=result, **fields)
        except BaseException as exc:  # noqa: BLE001
            log_exit(exc)

    def _mark_begun(self, attempts: tuple[Attempt, ...]) -> None:
        """Let the clean-ups above run where an attempt has begun."""
        composite = self.composite
        if composite.watched and not composite.begun:
            record = composite.tracker.subtasks.get(self.leaf.name)
            told = record is not None and record.begun
            if told or any(attempt.has_begun for attempt in attempts):
                composite.mark_begun()

    def _report_end(
        self,
        status: TaskStatus,
        result: Any,
        fields: dict[str, Any],
        request: SteeringRequest | None = None,
    ) -> None:
        self.drop_timer()
        if self.composite.watched:
            self._mark_begun((*self.earlier, Attempt(self.attempt, status, result, fields)))
        if self.earlier:
            last = Attempt(self.attempt, status, result, fields)
            told = told_of(self.earlier, last)
            if told is not last:  # the end is that of an earlier attempt, or of both
                self.tell(*last.note("attempt", self.last_attempt))
            status, result, fields = told.status, told.result, dict(told.fields)
        if request is not None:
            fields["request"] = request
        self._report(status, result, fields)

    def _end_late(
        self, status: TaskStatus, result: Any, cause: Cause | None, *, may_retry: bool
    ) -> None:
        """Take an end that came after the end of the attempt was decided."""
        self.late_cause = cause
        self.tell(*late_note(status, result, cause))
        if proves_end(cause, may_retry=may_retry):
            self.may_go_on = False
            self.run.ended_late(self)
        self.sign("ended")
